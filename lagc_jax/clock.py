"""Time, messages and gradients along a path, sampled and exact. It knows no loss."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from lagc_jax import unequal
from lagc_jax._checks import concrete
from lagc_jax._pytree import pytree
from lagc_jax.delays import Delays, check_delays
from lagc_jax.order_stats import iteration_mean, iteration_variance
from lagc_jax.sampling import CHUNK, DirectTimes, Times, count_working, make_inverse
from lagc_jax.schemes import Scheme

Count = TypeVar("Count", Array, np.ndarray)

SAMPLERS = ("direct", "workers")


def choose_sampler(scheme: Scheme, delays: Delays, sampler: str | None) -> str:
    """Check the delays' shapes and return the sampler to use.

    Args:
        scheme: its number of workers is the only other shape that parameters may have.
        delays: distribution of the computing times.
        sampler: "direct" draws one iteration's time from its law, "workers" draws every worker's;
            None is "direct" for identical delays and "workers" for worker-dependent ones.

    Raises:
        ValueError: for parameters of a shape other than () or (M,), an unknown sampler, or direct
            sampling of worker-dependent delays.
    """
    check_delays(delays, scheme.num_workers)
    if sampler is None:
        return "direct" if delays.identical else "workers"
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler={sampler!r} is unknown; give one of {SAMPLERS} or None")
    if sampler == "direct" and not delays.identical:
        raise ValueError("sampler='direct' needs identical delays; give sampler='workers'")
    return sampler


def sample_worker_times(delays: Delays, key: Array, num_iterations: int, num_workers: int) -> Array:
    """Draw `tau_m^k`, the times for one partition gradient, (K, M); consumes `key`."""
    chunks = jnp.arange(-(-num_iterations // CHUNK))
    times = jax.vmap(lambda chunk: _chunk_of_worker_times(delays, key, chunk, num_workers))(chunks)
    return times.reshape(-1, num_workers)[:num_iterations]


def _chunk_of_worker_times(delays: Delays, key: Array, chunk: ArrayLike, num_workers: int) -> Array:
    return delays.sample(jax.random.fold_in(key, chunk), (CHUNK, num_workers))


@pytree("num_iterations")
class WorkerTimes(Times):
    """Times along a path, drawn worker by worker; made by `times_along`.

    Attributes:
        scheme: sizes.
        delays: distribution of the computing times.
        working: (C, CHUNK, G) bool, groups that compute; none beyond the path.
        num_iterations: `K`.
    """

    scheme: Scheme
    delays: Delays
    working: Array
    num_iterations: int

    def seed(self, key: Array) -> Array:
        return key

    def draw(self, seed: Array, chunk: ArrayLike) -> tuple[Array, ...]:
        times = _chunk_of_worker_times(self.delays, seed, chunk, self.scheme.num_workers)
        return (iteration_times(self.scheme, times, self.working[chunk]),)


def times_along(scheme: Scheme, delays: Delays, selected: Array, sampler: str) -> Times:
    """Times of the iterations along a path.

    Args:
        scheme: sizes and trigger.
        delays: distribution of the computing times.
        selected: groups that upload, bool (K, G).
        sampler: as `choose_sampler` returns it.
    """
    chunks = chunk_path(scheme, selected, sampler, delays.dtype)
    return times_of_chunks(scheme, delays, chunks, selected.shape[0], sampler)


def chunk_path(scheme: Scheme, selected: Array, sampler: str, dtype: DTypeLike) -> Array:
    """What a sampler needs of a path, by chunk of iterations; redundancy does not change it.

    Working groups are bool (C, CHUNK, G) for "workers", and their numbers (C, CHUNK) of type
    `dtype` for "direct".
    """
    working = scheme.working(selected)
    if sampler == "direct":
        return count_working(working, dtype)
    K, G = working.shape
    return jnp.pad(working, ((0, -K % CHUNK), (0, 0))).reshape(-1, CHUNK, G)


def times_of_chunks(
    scheme: Scheme, delays: Delays, chunks: Any, num_iterations: int, sampler: str
) -> Times:
    """`times_along` a path of K iterations whose `chunk_path` is known."""
    if sampler == "workers":
        return WorkerTimes(scheme, delays, chunks, num_iterations)
    inverse = make_inverse(scheme.group_size, scheme.redundancy, delays.dtype)
    return DirectTimes(inverse, delays, chunks, num_iterations)


def fastest(scheme: Scheme, times: Array) -> Array:
    """Mark the `F` workers of every group that answer first: bool (..., G, n) from (..., M)."""
    grouped = times.reshape(*times.shape[:-1], scheme.num_groups, scheme.group_size)
    rank = jnp.argsort(jnp.argsort(grouped, axis=-1), axis=-1)
    return rank < scheme.num_waited


def iteration_times(scheme: Scheme, times: Array, working: Array) -> Array:
    """Time of iterations from the workers' times: `max_g` of the `F`-th smallest `r tau_m`.

    Args:
        scheme: sizes.
        times: `tau_m`, (..., M).
        working: groups that compute, bool (..., G).

    Returns:
        (...,) times; 0 where no group works.
    """
    grouped = times.reshape(*times.shape[:-1], scheme.num_groups, scheme.group_size)
    group_times = jnp.sort(grouped, axis=-1)[..., scheme.num_waited - 1]
    return scheme.redundancy * jnp.max(jnp.where(working, group_times, 0), axis=-1)


def accumulate(per_iteration: Array) -> Array:
    """Cumulative cost of having every iterate, (K+1,) from (K,): entry 0 is 0."""
    return jnp.concatenate([jnp.zeros_like(per_iteration[:1]), jnp.cumsum(per_iteration)])


def expected_wall_clock(scheme: Scheme, delays: Delays, selected: ArrayLike) -> Array:
    """Exact mean of the cumulative wall-clock time along a path, without sampling.

    Args:
        scheme: sizes and trigger.
        delays: distribution of the computing times, parameters () or (M,).
        selected: groups that upload in every iteration, bool (K, G).

    Returns:
        (K+1,) means in the unit of the delays; `inf` from the first iteration whose mean is
        infinite, with a RuntimeWarning that names `r * shape`, or for worker-dependent delays the
        sum of tail indices that takes its place, if that is known.

    Raises:
        ValueError: if `selected` is not (K, G), or parameters have another shape.

    >>> from lagc_jax import Exponential, grouping
    >>> clock = expected_wall_clock(grouping(4, 2), Exponential(1.0), [[True, True]])
    >>> [f"{mean:.4f}" for mean in clock]
    ['0.0000', '1.5000']
    """
    return accumulate(moment_along(scheme, delays, selected, order=1))


def wall_clock_variance(scheme: Scheme, delays: Delays, selected: ArrayLike) -> Array:
    """Exact variance of the cumulative wall-clock time along a path, (K+1,).

    Iterations are independent, so their variances add up. Arguments and errors as for
    `expected_wall_clock`; `inf` unless `r * tail_index > 2`.

    >>> from lagc_jax import Exponential, grouping
    >>> variance = wall_clock_variance(grouping(4, 2), Exponential(1.0), [[True, True]])
    >>> [f"{v:.4f}" for v in variance]
    ['0.0000', '1.2500']
    """
    return accumulate(moment_along(scheme, delays, selected, order=2))


def moment_along(scheme: Scheme, delays: Delays, selected: ArrayLike, order: int) -> Array:
    """Mean (order 1) or variance (2) of the time of every iteration of a path, (K,).

    For identical delays it is looked up by the number of working groups, otherwise integrated once
    for every set of working groups that occurs.
    """
    selected = jnp.asarray(selected, bool)
    if selected.ndim != 2 or selected.shape[1] != scheme.num_groups:
        raise ValueError(
            f"selected has shape {selected.shape}; give (K, {scheme.num_groups}), one column a "
            f"group of the scheme"
        )
    choose_sampler(scheme, delays, None)
    working, n, r = scheme.working(selected), scheme.group_size, scheme.redundancy
    if delays.identical:
        moment = {1: iteration_mean, 2: iteration_variance}[order]
        return moment(delays, n, r, np.arange(scheme.num_groups + 1))[working.sum(-1)]
    unequal.warn_if_infinite(delays, scheme.num_workers, working, r, order)
    known = concrete(working)
    if known is None:
        return unequal.moments(delays, working, n, r)[order - 1]
    rows, row = np.unique(known, axis=0, return_inverse=True)
    return unequal.moments(delays, rows, n, r)[order - 1][row.ravel()]


def count_costs(scheme: Scheme, selected: Array) -> tuple[Array, Array, Array]:
    """Downlink messages, uplink messages and partition gradients along a path, (K+1,) each.

    Counts are exact integers; `price` says what a group takes.

    Raises:
        ValueError: if the counts could exceed the default integer type.
    """
    n, r = scheme.group_size, scheme.redundancy
    integer = jnp.result_type(int)
    largest = selected.shape[0] * scheme.num_groups * r * n
    if largest > jnp.iinfo(integer).max:
        raise ValueError(
            f"num_iterations={selected.shape[0]} can cost {largest} gradients, more than "
            f"{integer} counts; enable jax_enable_x64 or use fewer iterations"
        )
    working = accumulate(jnp.sum(scheme.working(selected), axis=-1, dtype=integer))
    uploaded = accumulate(jnp.sum(selected, axis=-1, dtype=integer))
    return price(scheme, working, uploaded)


def price(scheme: Scheme, working: Count, uploaded: Count) -> tuple[Count, Count, Count]:
    """Downlink messages, uplink messages and gradients of numbers of groups (LAGC, Table I).

    A working group takes `n` downlink messages and `r n` gradients, an uploading one `F` uplink
    messages.
    """
    n, r = scheme.group_size, scheme.redundancy
    return n * working, scheme.num_waited * uploaded, r * n * working
