"""Time, messages and gradients along a path, sampled and exact. It knows no loss."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from lagc_jax._checks import concrete
from lagc_jax._pytree import pytree
from lagc_jax.cluster import Cluster, chunk_of_work, collect
from lagc_jax.costs import accumulate
from lagc_jax.delays.base import Delays, Scaled, TimeSource
from lagc_jax.law import unequal
from lagc_jax.law.identical import iteration_mean, iteration_variance
from lagc_jax.law.inverse import CHUNK, Times, count_working, direct_times
from lagc_jax.schemes.base import Scheme

SAMPLERS = ("direct", "workers")


def choose_sampler(
    scheme: Scheme, delays: TimeSource, sampler: str | None, cluster: Cluster | None = None
) -> str:
    """Check the delays' and the cluster's shapes and return the sampler to use.

    Args:
        scheme: its number of workers is the only other shape that parameters may have.
        delays: distribution of the computing times.
        sampler: "direct" draws one iteration's time from its law, "workers" draws every worker's;
            None is "direct" where that is exact: for identical delays in a cluster that adds one
            constant to every answer, and a decoding that does not depend on who arrives.
        cluster: start-up, messages and timeout; None for the paper's.

    Raises:
        ValueError: for parameters of a shape other than () or (M,), an unknown sampler, or direct
            sampling where it is not exact.
    """
    draws = 1
    constant = True
    if cluster is not None:
        cluster.check(scheme.num_workers)
        draws = cluster.draws(scheme)
        constant = cluster.overhead(scheme) is not None
    delays.check(scheme.num_workers, draws)
    anonymous = scheme.decoder.anonymous
    if sampler is None:
        return "direct" if delays.identical and constant and anonymous else "workers"
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler={sampler!r} is unknown; give one of {SAMPLERS} or None")
    if sampler == "direct" and not delays.identical:
        raise ValueError("sampler='direct' needs identical delays; give sampler='workers'")
    if sampler == "direct" and not constant:
        raise ValueError(
            f"sampler='direct' needs a cluster that adds one constant to every answer, but cluster="
            f"{cluster} does not; give sampler='workers'"
        )
    if sampler == "direct" and not anonymous:
        raise ValueError(
            f"sampler='direct' does not say who arrives, as decoding="
            f"{type(scheme.decoding).__name__} needs; give sampler='workers'"
        )
    return sampler


def sample_worker_times(
    delays: TimeSource, key: Array, num_iterations: int, num_workers: int
) -> Array:
    """Draw `tau_m^k`, the times for one partition gradient, (K, M); consumes `key`."""
    chunks = jnp.arange(-(-num_iterations // CHUNK))
    shape = (CHUNK, 1, num_workers)
    times = jax.vmap(lambda chunk: delays.sample_chunk(key, chunk, shape))(chunks)
    return times.reshape(-1, num_workers)[:num_iterations]


@pytree("num_iterations")
class WorkerTimes(Times):
    """Times along a path, drawn worker by worker; made by `times_along`.

    Attributes:
        scheme: sizes and trigger.
        delays: distribution of the computing times.
        selected: (C, CHUNK, G) bool, groups that upload; none beyond the path.
        num_iterations: `K`.
        cluster: start-up and messages; None for the paper's.
    """

    scheme: Scheme
    delays: TimeSource
    selected: Array
    num_iterations: int
    cluster: Cluster | None = None

    def seed(self, key: Array) -> Array:
        return key

    def draw(self, seed: Array, chunk: ArrayLike) -> tuple[Array, ...]:
        work = chunk_of_work(self.scheme, self.delays, self.cluster, seed, chunk)
        return (collect(self.scheme, self.cluster, work, self.selected[chunk]).time,)


def times_along(
    scheme: Scheme,
    delays: TimeSource,
    selected: Array,
    sampler: str,
    cluster: Cluster | None = None,
) -> Times:
    """Times of the iterations along a path.

    Args:
        scheme: sizes and trigger.
        delays: distribution of the computing times.
        selected: groups that upload, bool (K, G).
        sampler: as `choose_sampler` returns it.
        cluster: start-up and messages, no timeout; None for the paper's.
    """
    dtype = cast(Delays, delays).dtype if sampler == "direct" else None
    chunks = chunk_path(scheme, selected, sampler, dtype)
    return times_of_chunks(scheme, delays, chunks, selected.shape[0], sampler, cluster)


def chunk_path(scheme: Scheme, selected: Array, sampler: str, dtype: DTypeLike | None) -> Array:
    """What a sampler needs of a path, by chunk of iterations; redundancy does not change it.

    For "workers" the groups that upload, bool (C, CHUNK, G); for "direct" the numbers of working
    groups (C, CHUNK) of type `dtype`.
    """
    if sampler == "direct":
        return count_working(scheme.working(selected), cast(DTypeLike, dtype))
    K, G = selected.shape
    return jnp.pad(selected, ((0, -K % CHUNK), (0, 0))).reshape(-1, CHUNK, G)


def times_of_chunks(
    scheme: Scheme,
    delays: TimeSource,
    chunks: Any,
    num_iterations: int,
    sampler: str,
    cluster: Cluster | None = None,
) -> Times:
    """`times_along` a path of K iterations whose `chunk_path` is known."""
    if sampler == "workers":
        return WorkerTimes(scheme, delays, chunks, num_iterations, cluster)
    overhead = None if cluster is None else cluster.overhead(scheme)
    law = order_law(scheme, cast(Delays, delays))
    return direct_times(*law, chunks, num_iterations, overhead)


def order_law(scheme: Scheme, delays: Delays) -> tuple[Delays, int, int]:
    """Delays, `n` and `r` under which a group's time is `r` times the `n - r + 1`-th smallest.

    That is what `order_stats`, `unequal` and `sampling` compute. Where a worker's load is not
    `n - F + 1`, the delays are scaled to make up for it.
    """
    n = scheme.group_size
    r = n - scheme.num_waited + 1
    return delays if scheme.load == r else Scaled(delays, scheme.load / r), n, r


def expected_wall_clock(
    scheme: Scheme, delays: Delays, selected: ArrayLike, cluster: Cluster | None = None
) -> Array:
    """Exact mean of the cumulative wall-clock time along a path, without sampling.

    Args:
        scheme: sizes and trigger.
        delays: distribution of the computing times, parameters () or (M,).
        selected: groups that upload in every iteration, bool (K, G).
        cluster: start-up and messages, as long as they add one constant to every answer.

    Returns:
        (K+1,) means in the unit of the delays; `inf` from the first iteration whose mean is
        infinite, with a RuntimeWarning that names `r * shape`, or for worker-dependent delays the
        sum of tail indices that takes its place, if that is known.

    Raises:
        ValueError: if `selected` is not (K, G), parameters have another shape, or for a cluster in
            which no exact mean is known (worker-dependent or shared parts, independent partitions,
            messages with the worker trigger, a timeout) or a decoding that does not wait for a
            fixed number of messages.

    >>> from lagc_jax import Exponential, grouping
    >>> clock = expected_wall_clock(grouping(4, 2), Exponential(1.0), [[True, True]])
    >>> [f"{mean:.4f}" for mean in clock]
    ['0.0000', '1.5000']
    """
    per_iteration = moment_along(scheme, delays, selected, order=1, cluster=cluster)
    if cluster is not None:
        overhead = jnp.asarray(cluster.overhead(scheme), per_iteration.dtype)
        working = scheme.working(jnp.asarray(selected, bool)).any(-1)
        per_iteration = per_iteration + jnp.where(working, overhead, 0)
    return accumulate(per_iteration)


def wall_clock_variance(
    scheme: Scheme, delays: Delays, selected: ArrayLike, cluster: Cluster | None = None
) -> Array:
    """Exact variance of the cumulative wall-clock time along a path, (K+1,).

    Iterations are independent, so their variances add up. Arguments and errors as for
    `expected_wall_clock`; `inf` unless `r * tail_index > 2`.

    >>> from lagc_jax import Exponential, grouping
    >>> variance = wall_clock_variance(grouping(4, 2), Exponential(1.0), [[True, True]])
    >>> [f"{v:.4f}" for v in variance]
    ['0.0000', '1.2500']
    """
    return accumulate(moment_along(scheme, delays, selected, order=2, cluster=cluster))


def moment_along(
    scheme: Scheme,
    delays: Delays,
    selected: ArrayLike,
    order: int,
    cluster: Cluster | None = None,
) -> Array:
    """Mean (order 1) or variance (2) of the computing in every iteration of a path, (K,).

    For identical delays it is looked up by the number of working groups, otherwise integrated once
    for every set of working groups that occurs. What a cluster adds is left out.
    """
    selected = jnp.asarray(selected, bool)
    if selected.ndim != 2 or selected.shape[1] != scheme.num_groups:
        raise ValueError(
            f"selected has shape {selected.shape}; give (K, {scheme.num_groups}), one column a "
            f"group of the scheme"
        )
    choose_sampler(scheme, delays, None, cluster)
    if not hasattr(delays, "hazard"):
        raise ValueError(
            f"delays of type {type(delays).__name__} have no exact moments; sample with "
            f"simulate_batch"
        )
    if cluster is not None and cluster.overhead(scheme) is None:
        raise ValueError(
            f"cluster={cluster} adds no constant to every answer, so exact moments do not apply; "
            f"sample with simulate_batch"
        )
    working = scheme.working(selected)
    delays, n, r = order_law(scheme, delays)
    if delays.identical:
        moment = {1: iteration_mean, 2: iteration_variance}[order]
        return moment(delays, n, r, np.arange(scheme.num_groups + 1))[working.sum(-1)]
    unequal.warn_if_infinite(delays, scheme.num_workers, working, r, order)
    known = concrete(working)
    if known is None:
        return unequal.moments(delays, working, n, r)[order - 1]
    rows, row = np.unique(known, axis=0, return_inverse=True)
    return unequal.moments(delays, rows, n, r)[order - 1][row.ravel()]
