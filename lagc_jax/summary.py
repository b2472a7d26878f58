"""Moments and quantiles of realisations, a block at a time."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array


class Summary(NamedTuple):
    """Sample statistics of R realisations of A wall-clock times.

    Attributes:
        mean, variance: (A,) sample mean and unbiased variance (NaN for a single realisation).
        standard_error: (A,) of the mean.
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


def summarise_moments(
    moments: tuple, samples: Array | None, levels: Array, num_realisations: int, keep: bool
) -> Summary:
    """Put together moments of `merge_moments` and quantiles of samples (R, A), if any."""
    _, mean, squares = moments
    variance = squares / (num_realisations - 1)
    error = jnp.sqrt(variance / num_realisations)
    values, bounds = _no_quantiles(mean.shape[0], mean.dtype)
    if samples is not None:
        values, bounds = sample_quantiles(samples, levels)
    kept = samples.T if keep and samples is not None else None
    return Summary(mean, variance, error, values, bounds, kept)


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


def _no_quantiles(num_times: int, dtype: Any) -> tuple[Array, Array]:
    return jnp.zeros((num_times, 0), dtype), jnp.zeros((num_times, 0, 2), dtype)


def sample_quantiles(samples: Array, levels: Array) -> tuple[Array, Array]:
    """Sample quantiles (A, Q) of (R, A), and order statistics that bound the true ones."""
    R = samples.shape[0]
    ordered = jnp.sort(samples, axis=0)
    values = jnp.quantile(ordered, levels, axis=0).astype(samples.dtype)
    upper = ordered[jnp.ceil(levels * (R - 1)).astype(int)]
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
