"""Which schemes advice considers whose path no time changes, and the user's own of every kind.

Those of the catalogue whose path depends on the times are in `contest`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optax

from lagc_jax.cluster import Cluster
from lagc_jax.experiments.entries import flat
from lagc_jax.experiments.experiment import Vary
from lagc_jax.problems.base import Problem
from lagc_jax.problems.stochastic import MinibatchProblem
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import CATALOGUE, laq
from lagc_jax.schemes.rules import Rule
from lagc_jax.schemes.servers import amsgrad
from lagc_jax.schemes.sizes import Sizes

LAQ_BITS = 4  # of the paper
ALL_SIZES = 16  # redundancies up to which all are candidates; then each is by a fifth larger
# Learning rates of AMSGrad, whose step moves a parameter by about so much: shares of the largest.
RATES = (0.003, 0.01, 0.03, 0.1)


class Family(NamedTuple):
    """Schemes with one program of paths: they differ in redundancy, weight and step alone.

    Attributes:
        names: of each redundancy.
        make: from redundancy and `xi`.
        redundancies: that fit.
        lazy: whether there is a weight `xi` to choose.
        steps: its own steps in units of 1/L; None where they are searched as those of the others.
    """

    names: tuple[str, ...]
    make: Callable[..., Scheme]
    redundancies: tuple[int | None, ...]
    lazy: bool
    steps: tuple[float, ...] | None = None

    @property
    def num_groups(self) -> int:
        """`G` of them all."""
        return getattr(self.make, "scheme", self.make).num_groups  # type: ignore[attr-defined]

    def varied(self, xi: float, step: float) -> Iterator[tuple[str, Vary]]:
        """Names, and the schemes with a weight and a step."""
        sizes: dict[str, list[int | None]] = {}
        for name, r in zip(self.names, self.redundancies, strict=True):
            sizes.setdefault(name, []).append(r)
        for name, some in sizes.items():
            given: dict[str, Any] = {} if some == [None] else dict(redundancy=some)
            given |= dict(xi=[xi]) if isinstance(self.make, _Sized) else {}
            yield name, Vary(self.make, **given, step_size=[step])


class _Sized(NamedTuple):
    """A constructor of schemes with given groups and rule."""

    num_workers: int
    num_groups: int
    memory: int
    trigger: str | Rule
    optimizer: Callable = optax.sgd
    fixed_load: int | None = None

    def __call__(self, redundancy: int, xi: float) -> Scheme:
        sizes = self.num_workers, self.num_groups, redundancy
        server = self.optimizer, None, self.fixed_load
        return Scheme(*sizes, xi, self.memory, self.trigger, *server)


class Same(NamedTuple):
    """A scheme of the user's, as a constructor of itself."""

    scheme: Scheme

    def __call__(self) -> Scheme:
        return self.scheme


class Own(NamedTuple):
    """A scheme of the user's.

    Attributes:
        name: in the table.
        scheme: itself.
        steps: in units of 1/L; None for those searched.
        apart: whether it is simulated by itself: who arrives when decides its path, or its messages
            differ in length from one iteration to the next.
    """

    name: str
    scheme: Scheme
    steps: tuple[float, ...] | None
    apart: bool


def families(
    num_workers: int, storage: int, memory: int, bits_priced: bool, problem: Problem
) -> list[Family]:
    """What is searched.

    The six of the paper with every number of groups and redundancy (of more than 16, some); the
    worker trigger, which knows the change of a gradient, where a worker can hold its group's data;
    LAQ where bits have a price, for elsewhere it is LAG with rounding; LASG, CADA and G-CADA, which
    are made for minibatches, on a problem of such. The first decodable set of fractional repetition
    is grouping.
    """
    M, found = num_workers, []
    for G in [G for G in range(1, M + 1) if M % G == 0]:
        n = M // G
        # A weight of zero leaves no group out before the path stands still: one program for both.
        base = _Sized(M, G, memory, "server")
        for lazy in (False, True):
            least = 1 if lazy or n == 1 else 2
            sizes = tuple(r for r in _some(min(storage, n)) if r >= least)
            if sizes:
                found.append(Family(tuple(_name(G, n, r, lazy) for r in sizes), base, sizes, lazy))
        if n <= storage:
            name = "LAG-WK" if n == 1 else "G-LAG-WK"
            found.append(Family((name,), base._replace(trigger="worker"), (n,), True))
    if bits_priced:
        rule = laq(M, LAQ_BITS).trigger
        found.append(Family(("LAQ",), _Sized(M, M, memory, rule), (1,), True))
    if isinstance(problem, MinibatchProblem):
        found += _stochastic(M, storage, memory, problem)
    return found


def _some(largest: int) -> list[int]:
    """Redundancies from 1 to the largest: all, or where they are many each by a fifth larger."""
    sizes = list(range(1, min(largest, ALL_SIZES) + 1))
    while sizes[-1] < largest:
        sizes.append(min(-(-sizes[-1] * 6 // 5), largest))
    return sizes


def _stochastic(num_workers: int, storage: int, memory: int, problem: Problem) -> Iterator[Family]:
    """LASG by the server's and the workers' rule, CADA, and its groups."""
    M = num_workers
    for name, rule in (("LASG-PS", "lasg-server"), ("LASG-WK2", "lasg-worker")):
        yield Family((name,), _Sized(M, M, memory, rule), (1,), True)
    largest = float(np.max(np.abs(np.asarray(problem.minimizer))))
    rates = tuple(rate * largest * float(problem.total_smoothness) for rate in RATES)
    if largest > 0:
        base = _Sized(M, M, memory, "cada2", amsgrad)
        yield Family(("CADA",), base, (1,), True, rates)
        for G in [G for G in range(1, M) if M % G == 0 and storage >= M // G]:
            made = _Sized(M, G, memory, "lasg-server", amsgrad, M // G)
            yield Family(("G-CADA",), made, (M // G,), True, rates)


def own_schemes(
    num_workers: int, own: Mapping[str, Any] | None, cluster: Cluster | None
) -> list[Own]:
    """The user's schemes, one by one."""
    if not isinstance(own, Mapping | None):
        raise ValueError(f"schemes={own!r} is no dict; give one from names to schemes")
    found = []
    for name, thing in flat(own or {}):
        if name in CATALOGUE:
            raise ValueError(f"schemes[{name!r}] has the name of a candidate; give it its own")
        made: dict[Scheme, list[float]] = {}
        if isinstance(thing, Vary):
            for each in thing:
                sizes = {k: v for k, v in each.items() if k != "step_size"}
                some = made.setdefault(thing.make(**sizes), [])
                some += [float(each["step_size"])] if "step_size" in each else []
        else:
            made[thing] = []
        for scheme, steps in made.items():
            if not isinstance(scheme, Scheme) or scheme.num_workers != num_workers:
                raise ValueError(
                    f"schemes[{name!r}]={scheme!r} is no scheme of {num_workers} workers; give one"
                )
            apart = not scheme.decoder.anonymous or _varies(scheme, cluster)
            found.append(Own(name, scheme, tuple(steps) or None, apart))
    return found


def _varies(scheme: Scheme, cluster: Cluster | None) -> bool:
    """Whether a link carries messages of different lengths."""
    if cluster is None or cluster.link is None:
        return False
    known = cluster.sized(scheme, 1).link  # any number of parameters shows it
    return known is not None and isinstance(known.upload_size, Sizes)


def as_families(own: Sequence[Own]) -> list[Family]:
    """Those of the user's schemes that are measured with the others."""
    return [
        Family((each.name,), Same(each.scheme), (None,), False, each.steps)
        for each in own
        if not each.apart
    ]


def _name(groups: int, size: int, redundancy: int, adaptive: bool) -> str:
    """The paper's name of a point of the family of schemes."""
    if adaptive:
        return "LAG" if size == 1 else "G-LAG" if redundancy == size else "LAGC"
    if redundancy == 1:
        return "GD"
    return "grouping" if redundancy == size and groups > 1 else "GC"
