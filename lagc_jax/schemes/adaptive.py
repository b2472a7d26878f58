"""Servers that learn from iteration to iteration how to wait.

Such a decoding keeps notes, and gives for every iteration the decoding that is used then.
"""

from typing import Any, ClassVar, NamedTuple, Protocol

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import whole_number
from lagc_jax._modes import lenient
from lagc_jax._pytree import pytree
from lagc_jax._sorting import first
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.decoding import Decoding


class Adaptive(Decoding, Protocol):
    """A decoding that changes with what the server has seen; a pytree.

    Attributes:
        learns: true, which tells it from a fixed one.
    """

    learns: ClassVar[bool] = True

    def begin(self, num_parameters: int, group_size: int) -> Any:
        """The notes before the first iteration, a pytree of arrays."""
        ...

    def now(self, notes: Any) -> Decoding:
        """The decoding of an iteration, given the notes before it."""
        ...

    def learn(self, notes: Any, arrival: Array, step: Array) -> Any:
        """The notes after an iteration.

        Given are when its messages would have arrived, (G, n), and the step that was made, (d,).
        """
        ...


@pytree()
class FirstOf(Decoding):
    """The sum of the `k` fastest messages times `n/k`, where `k` is a number of an iteration."""

    num_waited: Array

    def wait(self, arrival: Array) -> tuple[Array, Array]:
        return first(arrival, self.num_waited)

    @lenient
    def weights(self, taken: Array) -> Array:
        return taken.shape[-1] / self.num_waited * taken.astype(float)


class Progress(NamedTuple):
    """What `AdaptiveK` remembers: `k`, opposed less agreeing steps, iterations at `k`, the step."""

    k: Array
    opposed: Array
    iterations: Array
    step: Array


@pytree("start", "increment", "threshold", "burn_in")
class AdaptiveK(Adaptive):
    """Wait for the `k` fastest, and for more when progress stalls.

    Steps that oppose the step before them (a negative inner product) are counted, those that agree
    counted off; when more than `threshold` remain, and `k` has stood for more than `burn_in`
    iterations, `k` grows by `increment` and the counts begin anew. (Kas Hanna, Bitar, Parag, Dasari
    and El Rouayheb, "Adaptive Distributed Stochastic Gradient Descent for Minimizing Delay in the
    Presence of Stragglers", ICASSP 2020, arXiv 2002.11005. Of its algorithm the statistic was at
    hand, neither its text nor code: order and limits of the counts are ours.)

    Args:
        start: `k` at first; static.
        increment: by which it grows, to the number of workers at most; static.
        threshold: opposed steps, less agreeing ones, that count as a stall; static.
        burn_in: iterations that `k` stands for at least; static.
    """

    start: int
    increment: int = 1
    threshold: int = 1
    burn_in: int = 10

    def __post_init__(self) -> None:
        whole_number("start", self.start)
        whole_number("increment", self.increment)
        whole_number("threshold", self.threshold, 0)
        whole_number("burn_in", self.burn_in, 0)

    def check(self, group_size: int, redundancy: int) -> None:
        if self.start > group_size:
            raise ValueError(f"start={self.start} exceeds the {group_size} workers; give fewer")
        if redundancy != 1:
            raise ValueError(f"adaptive k has one partition a worker; give redundancy=1, "
                             f"not {redundancy}")  # fmt: skip

    def begin(self, num_parameters: int, group_size: int) -> Progress:
        zero = jnp.zeros((), jnp.int32)
        return Progress(zero + self.start, zero, zero, jnp.zeros(num_parameters))

    def now(self, notes: Progress) -> FirstOf:
        return FirstOf(notes.k)

    def learn(self, notes: Progress, arrival: Array, step: Array) -> Progress:
        step = step.astype(notes.step.dtype)
        product = jnp.sum(step * notes.step)
        opposed = notes.opposed - jnp.sign(product).astype(jnp.int32)
        iterations = notes.iterations + 1
        stalled = (opposed > self.threshold) & (iterations > self.burn_in)
        k = jnp.where(stalled, notes.k + self.increment, notes.k)
        opposed, iterations = (jnp.where(stalled, 0, each) for each in (opposed, iterations))
        return Progress(jnp.minimum(k, arrival.shape[-1]), opposed, iterations, step)


@pytree("num_clusters", "redundancy")
class Clustered(Decoding):
    """Gradient coding in clusters of workers in a given order; each waits for its `F` fastest."""

    order: ArrayLike
    num_clusters: int
    redundancy: int

    exact: ClassVar[bool] = True

    def wait(self, arrival: Array) -> tuple[Array, Array]:
        order = jnp.asarray(self.order)
        in_order = arrival[..., order]
        clusters = in_order.reshape(*arrival.shape[:-1], self.num_clusters, -1)
        known, taken = first(clusters, clusters.shape[-1] - self.redundancy + 1)
        return known.max(-1), taken.reshape(arrival.shape)[..., jnp.argsort(order)]


@pytree("num_clusters", "redundancy")
class DynamicClusters(Adaptive):
    """Gradient coding in clusters that are dealt anew, by who was slow in the iteration before.

    Workers are sorted by when they answered and dealt to the clusters in turn, so that slow ones
    are spread evenly. A worker computes `r` partitions of its cluster and the server decodes every
    cluster from any `M/P - r + 1` of its `M/P` workers. (Buyukates, Ozfatura, Ulukus and Gunduz,
    "Gradient Coding with Dynamic Clustering for Straggler Mitigation", 2021, arXiv 2011.01922,
    without its bound on what a worker stores, whose greedy algorithm was not at hand: every worker
    can join every cluster here, so times are no longer than under it.)

    Args:
        num_clusters: `P`; static.
        redundancy: `r`; static.
    """

    num_clusters: int
    redundancy: int

    exact: ClassVar[bool] = True

    def check(self, group_size: int, redundancy: int) -> None:
        size, rest = divmod(group_size, self.num_clusters)
        if rest:
            raise ValueError(
                f"num_clusters={self.num_clusters} does not divide the {group_size} workers; give "
                f"one that does"
            )
        if redundancy != self.redundancy or redundancy > size:
            raise ValueError(
                f"redundancy={redundancy} must be the decoding's {self.redundancy}, and at most "
                f"the {size} workers of a cluster"
            )

    def begin(self, num_parameters: int, group_size: int) -> Array:
        return jnp.arange(group_size)

    def now(self, notes: Array) -> Clustered:
        return Clustered(notes, self.num_clusters, self.redundancy)

    def learn(self, notes: Array, arrival: Array, step: Array) -> Array:
        ranked = jnp.argsort(arrival[0]).reshape(-1, self.num_clusters)
        return ranked.T.ravel().astype(notes.dtype)


def adaptive_k(
    num_workers: int, start: int, increment: int = 1, threshold: int = 1, burn_in: int = 10
) -> Scheme:
    """Wait for the `k` fastest, and raise `k` when progress stalls; see `AdaptiveK`.

    >>> adaptive_k(4, start=2).decoding.start
    2
    """
    decoding = AdaptiveK(start, increment, threshold, burn_in)
    return Scheme(num_workers, 1, 1, decoding=decoding)


def dynamic_clusters(num_workers: int, num_clusters: int, redundancy: int) -> Scheme:
    """Gradient coding in clusters dealt anew in every iteration; see `DynamicClusters`.

    >>> dynamic_clusters(6, num_clusters=2, redundancy=2).load
    2
    """
    whole_number("num_clusters", num_clusters)
    decoding = DynamicClusters(num_clusters, whole_number("redundancy", redundancy))
    return Scheme(num_workers, 1, redundancy, decoding=decoding)
