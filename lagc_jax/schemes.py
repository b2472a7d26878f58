"""The family of schemes: worker groups, gradient coding and adaptive selection as one point each.

Every scheme is a `Scheme`: its sizes, its rule of selection and its server's optimiser. The
constructors name the points that the paper compares and those of later papers.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, not_negative, whole_number
from lagc_jax._pytree import pytree
from lagc_jax.rules import RULES, Laq, Rule

TRIGGERS = tuple(RULES)


@pytree("num_workers", "num_groups", "redundancy", "memory", "trigger", "optimizer")
class Scheme:
    """`M` workers in `G` groups of `n = M/G`; each stores `r` of its group's `n` partitions.

    Args:
        num_workers: `M`.
        num_groups: `G`, a divisor of `M`.
        redundancy: `r`, partitions a worker stores and computes, `1 <= r <= n`.
        xi: weights of the trigger, () or (D,); the only array, so it may be traced and batched.
        memory: `D`, number of past differences in the trigger.
        trigger: "always" (no adaptive selection), "server" (LAG-PS), "worker" (LAG-WK), another
            name of `rules.RULES`, or a `Rule` of one's own; static.
        optimizer: function from the step size to the server's optax transformation; static.

    Raises:
        ValueError: for sizes that are not whole numbers or do not fit each other, a negative or
            undefined `xi`, a rule in which workers need their group's gradient with `r < n` (they
            never see it), or an unknown trigger.

    >>> lagc(num_workers=12, num_groups=4, redundancy=2).num_waited
    2
    """

    num_workers: int
    num_groups: int
    redundancy: int
    xi: ArrayLike = 0.0
    memory: int = 1
    trigger: str | Rule = "always"
    optimizer: Callable[[Array], optax.GradientTransformation] = optax.sgd

    def __post_init__(self) -> None:
        workers = whole_number("num_workers", self.num_workers)
        groups = whole_number("num_groups", self.num_groups)
        redundancy = whole_number("redundancy", self.redundancy)
        memory = whole_number("memory", self.memory)
        if workers % groups:
            raise ValueError(f"num_groups={groups} does not divide num_workers={workers}; give one")
        if redundancy > workers // groups:
            raise ValueError(
                f"redundancy={redundancy} exceeds the {workers // groups} partitions of a group; "
                f"give 1 <= redundancy <= num_workers / num_groups"
            )
        if isinstance(self.trigger, str) and self.trigger not in RULES:
            raise ValueError(f"trigger={self.trigger!r} is unknown; give one of {TRIGGERS}")
        if self.rule.everyone_works and redundancy < workers // groups:
            raise ValueError(
                f"trigger={self.trigger!r} needs workers that know their group's gradient, but "
                f"redundancy={redundancy} is less than the {workers // groups} partitions of a "
                f"group; give trigger='server' or redundancy={workers // groups}"
            )
        object.__setattr__(self, "xi", as_leaf(self.xi))
        if np.shape(self.xi) not in ((), (memory,)):
            raise ValueError(
                f"xi has shape {np.shape(self.xi)}; give a scalar or a vector of length "
                f"memory={memory}, and batch with jax.vmap"
            )
        not_negative("xi", self.xi)
        for name, size in (
            ("num_workers", workers),
            ("num_groups", groups),
            ("redundancy", redundancy),
            ("memory", memory),
        ):
            object.__setattr__(self, name, size)

    @property
    def group_size(self) -> int:
        """`n = M/G`, workers (and partitions) in a group."""
        return self.num_workers // self.num_groups

    @property
    def num_waited(self) -> int:
        """`F = n - r + 1`, fastest workers of a group that the server waits for."""
        return self.group_size - self.redundancy + 1

    @property
    def rule(self) -> Rule:
        """What the trigger stands for."""
        return RULES[self.trigger] if isinstance(self.trigger, str) else self.trigger

    @property
    def load(self) -> int:
        """Partition gradients that a working worker computes in an iteration."""
        return self.rule.gradients * self.redundancy

    @property
    def adaptive(self) -> bool:
        """Whether the scheme may leave groups out."""
        return self.trigger != "always"

    @property
    def xi_vector(self) -> Array:
        """`xi` as a vector of shape (D,), newest difference first."""
        return jnp.broadcast_to(jnp.asarray(self.xi), (self.memory,))

    def working(self, uploaded: Array) -> Array:
        """Groups that download, compute and are waited for, given those that upload, (..., G).

        With a rule like the worker trigger all groups compute before each decides.
        """
        return jnp.ones_like(uploaded) if self.rule.everyone_works else uploaded


def gd(num_workers: int) -> Scheme:
    """Distributed gradient descent: no redundancy, waits for all workers (the baseline of LAGC)."""
    return Scheme(num_workers, num_workers, 1)


def gc(num_workers: int, redundancy: int) -> Scheme:
    """Gradient coding: waits for the fastest `M - r + 1` workers (GC, section 3)."""
    return Scheme(num_workers, 1, redundancy)


def grouping(num_workers: int, num_groups: int) -> Scheme:
    """Worker grouping: waits for the fastest worker of every group (LAGC)."""
    return Scheme(num_workers, num_groups, _whole_group(num_workers, num_groups))


def lag(
    num_workers: int, xi: ArrayLike = 1.0, memory: int = 10, trigger: str | Rule = "server"
) -> Scheme:
    """Lazily aggregated gradients, one worker a group (LAG, eq. 15)."""
    return Scheme(num_workers, num_workers, 1, xi, memory, trigger)


def lagc(
    num_workers: int,
    num_groups: int,
    redundancy: int,
    xi: ArrayLike = 1.0,
    memory: int = 10,
    trigger: str | Rule = "server",
) -> Scheme:
    """Lazily aggregated gradient coding: groups, coding and selection (LAGC)."""
    return Scheme(num_workers, num_groups, redundancy, xi, memory, trigger)


def g_lag(
    num_workers: int,
    num_groups: int,
    xi: ArrayLike = 1.0,
    memory: int = 10,
    trigger: str | Rule = "server",
) -> Scheme:
    """Grouped LAG: the fastest worker of every selected group (LAGC)."""
    redundancy = _whole_group(num_workers, num_groups)
    return Scheme(num_workers, num_groups, redundancy, xi, memory, trigger)


def lasg(
    num_workers: int, xi: ArrayLike, memory: int = 10, trigger: str | Rule = "lasg-worker"
) -> Scheme:
    """Lazily aggregated stochastic gradients, for problems with minibatches (LASG).

    Args:
        num_workers: `M`.
        xi: weights of the squared steps, `c/D` in LASG. They are weighed against squared changes of
            gradients as they are, so the right size depends on the scale of the loss.
        memory: `D`, also the longest silence of a worker.
        trigger: "lasg-worker" (rule WK2) or "lasg-server".

    >>> lasg(4, xi=0.1).load
    2
    """
    return Scheme(num_workers, num_workers, 1, xi, memory, trigger)


def cada(
    num_workers: int, xi: ArrayLike, memory: int = 10, trigger: str | Rule = "cada2"
) -> Scheme:
    """Communication-adaptive distributed Adam: LASG's workers, AMSGrad at the server (CADA).

    Args:
        num_workers: `M`.
        xi: as for `lasg`.
        memory: `D`, also the longest silence of a worker and the life of a snapshot.
        trigger: "cada2" (two points, the same samples) or "cada1" (against a snapshot).

    >>> cada(4, xi=0.1, trigger="cada1").num_groups
    4
    """
    return g_cada(num_workers, num_workers, xi, memory, trigger)


def g_cada(
    num_workers: int,
    num_groups: int,
    xi: ArrayLike,
    memory: int = 10,
    trigger: str | Rule = "lasg-server",
) -> Scheme:
    """Grouped CADA: the server selects groups and waits for the fastest worker of each.

    The workers of a group hold the same data; a selected group costs `n` messages down and one up
    (Zhu, Zhang, Simeone and Wang, "Adaptive Worker Grouping for Communication-Efficient and
    Straggler-Tolerant Distributed SGD", 2022, arXiv 2201.04301).

    Args:
        num_workers: `M`.
        num_groups: `G`, a divisor of `M`.
        xi: as for `lasg`.
        memory: as for `cada`.
        trigger: "lasg-server", the paper's, or a rule of `cada`, with which all groups work.

    >>> g_cada(12, 4, xi=0.1).num_waited
    1
    """
    redundancy = _whole_group(num_workers, num_groups)
    return Scheme(num_workers, num_groups, redundancy, xi, memory, trigger, optax.amsgrad)


def laq(num_workers: int, bits: int = 4, xi: ArrayLike = 0.08, memory: int = 10) -> Scheme:
    """Lazily aggregated quantised gradients, one worker a group (LAQ; its defaults).

    Args:
        num_workers: `M`.
        bits: `b`, of a coordinate of a message.
        xi: as for `lag`.
        memory: `D`, also the longest silence of a worker.

    >>> laq(4, bits=3).rule.message_bits(num_parameters=10)
    62
    """
    return Scheme(num_workers, num_workers, 1, xi, memory, Laq(bits))


def _whole_group(num_workers: int, num_groups: int) -> int:
    """Redundancy `r = n` of plain replication in a group."""
    workers = whole_number("num_workers", num_workers)
    return max(workers // whole_number("num_groups", num_groups), 1)
