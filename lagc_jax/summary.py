"""Moments and quantiles of realisations, a block at a time."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from lagc_jax._blocks import block_size, largest_result
from lagc_jax._display import readable
from lagc_jax._keys import fold_each
from lagc_jax._loops import scan
from lagc_jax._modes import lenient
from lagc_jax._programs import compiled
from lagc_jax.costs import Spent, column
from lagc_jax.times import DirectTimes, Times, WorkerTimes

# Realisations drawn together on a CPU, always padded to this number, so that results do not depend
# on how many are asked for. Fewer leave vector units idle, more do not fit into cache (measured).
BLOCK: dict[type, int] = {DirectTimes: 1024, WorkerTimes: 64}


@readable
class Summary(NamedTuple):
    """Sample statistics of R realisations of A wall-clock times.

    Attributes:
        mean, variance: (A,) sample mean and unbiased variance, `inf` for a single realisation, of
            which it is not known, and 0 for what all realisations share.
        standard_error: (A,) of the mean, likewise.
        quantiles: (A, Q) sample quantiles.
        quantile_bounds: (A, Q, 2) order statistics that enclose the true quantile with 95 %
            confidence whatever the distribution (normal limit of the binomial ranks; OS, section
            7.1), 0 or `inf` where there are too few realisations.
        samples: (A, R) the realisations themselves, None unless asked for.
    """

    mean: Array
    variance: Array
    standard_error: Array
    quantiles: Array
    quantile_bounds: Array
    samples: Array | None

    _shown = ("mean", "standard_error", "quantiles")


@readable
class Costs(NamedTuple):
    """What realisations took to reach each of A levels; `inf` where not reached.

    Attributes:
        time, iterations, communication, computation, bits: as in `Complexity`.
        timeouts: times that a group was given up.
    """

    time: Summary
    iterations: Summary
    communication: Summary
    computation: Summary
    bits: Summary
    timeouts: Summary


def constant(values: Any, num_quantiles: int) -> Summary:
    """The summary of realisations that all have the same values (A,), NumPy's or JAX's."""
    xp = values.__array_namespace__()
    shape = values.shape[0], num_quantiles
    spread = xp.where(xp.isinf(values), values, 0)  # of what was not reached none is known
    quantiles = xp.broadcast_to(values[:, None], shape)
    bounds = xp.broadcast_to(values[:, None, None], (*shape, 2))
    return Summary(values, spread, spread, quantiles, bounds, None)


def along_path(time: Summary, spent: Spent, reached: Any, num_quantiles: int) -> Costs:
    """Costs of realisations that share a path: all but the time are constant."""
    where = reached.__array_namespace__().where
    never = where(reached, 0.0, np.inf)
    fixed = (constant(values, num_quantiles) for values in (*spent, never))
    return Costs(time, *fixed)


@lenient
def summarise_moments(
    moments: tuple, samples: Array | None, levels: Array, num_realisations: int, keep: bool
) -> Summary:
    """Put together moments of `merge_moments` and quantiles of samples (R, A), if any."""
    _, mean, squares = moments
    known = num_realisations > 1
    variance = squares / (num_realisations - 1) if known else jnp.full_like(squares, jnp.inf)
    error = jnp.sqrt(variance / num_realisations)
    if samples is None:
        values = jnp.zeros((mean.shape[0], 0), mean.dtype)
        return Summary(mean, variance, error, values, values[..., None].repeat(2, -1), None)
    kept = samples.T if keep else None
    return Summary(mean, variance, error, *sample_quantiles(samples, levels), kept)


def summarise(drawn: Array, levels: Array, num_realisations: int, keep: bool) -> Summary:
    """Put together blocks of realisations (B, size, A), of which the first R count."""
    samples = drawn.reshape(-1, drawn.shape[-1])[:num_realisations]
    everyone = jnp.ones(num_realisations, bool)
    moments = merge_moments(_no_moments(samples.shape[1:], samples.dtype), samples, everyone)
    return summarise_moments(moments, samples, levels, num_realisations, keep)


def take_apart(together: Summary) -> Costs:
    """Costs that have been summarised side by side, in their order, (6 A, ...)."""
    count = len(Costs._fields)
    parts = jax.tree.map(lambda leaf: jnp.split(leaf, count), together)
    return Costs(*jax.tree.transpose(jax.tree.structure(together), None, parts))


def _no_moments(shape: tuple[int, ...], dtype: DTypeLike) -> tuple[Array, Array, Array]:
    """Moments for `merge_moments` before the first block."""
    return jnp.zeros((), dtype), jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)


@lenient
def merge_moments(moments: tuple, drawn: Array, valid: Array) -> tuple:
    """Update count, mean and sum of squared deviations with a block (Chan, Golub, LeVeque 1983).

    An infinite time makes both moments infinite.
    """
    count, mean, squares = moments
    new = valid.sum().astype(mean.dtype)
    block_mean = jnp.sum(jnp.where(valid[:, None], drawn, 0), axis=0) / new
    deviations = jnp.where(valid[:, None], drawn - block_mean, 0)
    total = count + new
    shift = block_mean - mean
    between = jnp.where(count > 0, shift**2 * count * new / total, 0)
    squares = squares + jnp.sum(deviations**2, axis=0) + between
    # Times that overflow have an infinite mean and variance, not an undefined one.
    either = mean + block_mean
    mean = jnp.where(jnp.isinf(either), either, mean + shift * new / total)
    return total, mean, jnp.where(jnp.isinf(either), either, squares)


def sample_quantiles(samples: Array, levels: Array) -> tuple[Array, Array]:
    """Sample quantiles (A, Q) of (R, A), and order statistics that bound the true ones."""
    R = samples.shape[0]
    ordered = jnp.sort(samples, axis=0)
    place = levels * (R - 1)
    below, share = jnp.floor(place), (place - jnp.floor(place)).astype(samples.dtype)[:, None]
    lower, upper = (ordered[each.astype(int)] for each in (below, jnp.ceil(place)))
    # Costs are not negative: the maxima keep compilers from rounding a product and the sum at once.
    values = jnp.maximum(lower * (1 - share), 0) + jnp.maximum(upper * share, 0)
    values = jnp.where(jnp.isinf(upper), upper, values).T  # times may overflow
    margin = 1.96 * jnp.sqrt(R * levels * (1 - levels))
    low = jnp.floor(R * levels - margin).astype(int) - 1
    high = jnp.ceil(R * levels + margin).astype(int)
    bounds = jnp.stack(
        [
            jnp.where(low[:, None] >= 0, ordered[jnp.maximum(low, 0)], 0),
            jnp.where(high[:, None] < R, ordered[jnp.minimum(high, R - 1)], jnp.inf),
        ],
        axis=-1,
    )
    return values, bounds.swapaxes(0, 1)


@compiled("num_realisations", "keep_samples")
def realise(
    times: Times,
    key: Array,
    iterates: Array,
    reached: ArrayLike,
    quantiles: Array,
    num_realisations: int,
    keep_samples: bool = False,
) -> Summary:
    """Draw R realisations of the time to given iterates and summarise them.

    Realisation `i` uses `fold_in(key, i)`. The iterates are (A,) numbers of iterations, and where
    `reached`, () or (A,), is False the time is `inf`.
    """
    order = jnp.argsort(iterates)
    rising = iterates[order]
    draw_each = jax.vmap(lambda own: times.until(own, rising))

    def bytes_each() -> int:
        return largest_result(draw_each, fold_each(key, jnp.arange(1)))

    size = block_size(BLOCK[type(times)], bytes_each, num_realisations)
    blocks = -(-num_realisations // size)
    keep = keep_samples or quantiles.shape[0] > 0

    def add_block(moments: tuple, block: Array) -> tuple[tuple, Array | None]:
        numbers = block * size + jnp.arange(size)
        drawn = draw_each(fold_each(key, numbers))
        return merge_moments(moments, drawn, numbers < num_realisations), drawn if keep else None

    start = _no_moments(iterates.shape, times.delays.dtype)
    moments, drawn = scan(add_block, start, jnp.arange(blocks))
    back = jnp.argsort(order)
    if drawn is not None:
        drawn = drawn.reshape(-1, iterates.shape[0])[:num_realisations]
    by_iterate = summarise_moments(moments, drawn, quantiles, num_realisations, keep_samples)

    def unsort(leaf: Array) -> Array:
        return jnp.where(column(jnp.asarray(reached), leaf), leaf[back], jnp.inf)

    return jax.tree.map(unsort, by_iterate)
