"""Which schemes advice considers: those of the catalogue that fit, and the user's own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lagc_jax.experiments.entries import flat
from lagc_jax.experiments.experiment import Vary
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import laq
from lagc_jax.schemes.rules import Rule

LAQ_BITS = 4  # of the paper


class Family(NamedTuple):
    """Schemes with one program of paths: they differ in redundancy, weight and step alone.

    Attributes:
        names: of each redundancy.
        make: from redundancy and `xi`.
        redundancies: that fit.
        lazy: whether there is a weight `xi` to choose.
    """

    names: tuple[str, ...]
    make: Callable[..., Scheme]
    redundancies: tuple[int | None, ...]
    lazy: bool

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

    def __call__(self, redundancy: int, xi: float) -> Scheme:
        sizes = self.num_workers, self.num_groups, redundancy
        return Scheme(*sizes, xi, self.memory, self.trigger)


class Same(NamedTuple):
    """A scheme of the user's, as a constructor of itself."""

    scheme: Scheme

    def __call__(self) -> Scheme:
        return self.scheme


def families(
    num_workers: int, storage: int, memory: int, bits_priced: bool, own: Mapping[str, Any] | None
) -> list[Family]:
    """What is searched.

    The six of the paper with every number of groups and redundancy; the worker trigger, which knows
    the change of a gradient, where a worker can hold its group's data; LAQ where bits have a price,
    for elsewhere it is LAG with rounding. The first decodable set of fractional repetition is
    grouping; LASG, CADA and G-CADA are made for minibatches.
    """
    M, found = num_workers, []
    for G in [G for G in range(1, M + 1) if M % G == 0]:
        n = M // G
        # A weight of zero leaves no group out before the path stands still: one program for both.
        base = _Sized(M, G, memory, "server")
        for lazy in (False, True):
            least = 1 if lazy or n == 1 else 2
            sizes = tuple(range(least, min(storage, n) + 1))
            if sizes:
                found.append(Family(tuple(_name(G, n, r, lazy) for r in sizes), base, sizes, lazy))
        if n <= storage:
            name = "LAG-WK" if n == 1 else "G-LAG-WK"
            found.append(Family((name,), base._replace(trigger="worker"), (n,), True))
    if bits_priced:
        rule = laq(M, LAQ_BITS).trigger
        found.append(Family(("LAQ",), _Sized(M, M, memory, rule), (1,), True))
    return [*found, *_own(M, own or {})]


def _own(num_workers: int, own: Mapping[str, Any]) -> Iterator[Family]:
    for name, thing in flat(own):
        if isinstance(thing, Vary):
            sized = [{k: v for k, v in each.items() if k != "step_size"} for each in thing]
            made: Sequence[Scheme] = list(dict.fromkeys(thing.make(**each) for each in sized))
        else:
            made = [thing]
        for scheme in made:
            if not isinstance(scheme, Scheme) or scheme.num_workers != num_workers:
                raise ValueError(
                    f"schemes[{name!r}]={scheme!r} is no scheme of {num_workers} workers; give one"
                )
            if not scheme.decoder.anonymous:
                raise ValueError(
                    f"schemes[{name!r}] takes other messages in every run, and its path with them; "
                    f"compare it with lagc_jax.run"
                )
            yield Family((name,), Same(scheme), (None,), False)


def _name(groups: int, size: int, redundancy: int, adaptive: bool) -> str:
    """The paper's name of a point of the family of schemes."""
    if adaptive:
        return "LAG" if size == 1 else "G-LAG" if redundancy == size else "LAGC"
    if redundancy == 1:
        return "GD"
    return "grouping" if redundancy == size and groups > 1 else "GC"
