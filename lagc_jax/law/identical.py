"""The time of one iteration: its law, its exact moments and those of order statistics.

An iteration with `s` working groups takes `T = r tau`, `tau` the maximum over the groups of the
`F`-th smallest of `n` computing times, `F = n - r + 1`. For identical delays `tau` is the inverse
hazard at `Z`, the same statistic of unit exponentials, whatever the family. Hence every moment is
one fixed quadrature over the law of `Z`, which depends on sizes alone (OS, chapters 2 and 3).
"""

import math
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import betainc, logsumexp
from jax.typing import ArrayLike

from lagc_jax._checks import (
    as_leaf,
    code_sizes,
    concrete,
    one_axis,
    real_array,
    warn,
    whole_number,
)
from lagc_jax._modes import lenient
from lagc_jax._programs import compiled
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import Delays
from lagc_jax.delays.contract import check_source
from lagc_jax.law.binomial import log_binomial, log_density, log_probabilities
from lagc_jax.law.unequal import log_distance, moments

NUM_NODES = 2048


@pytree()
class _Law:
    """The law of one group's statistic `Z` at the nodes of a quadrature."""

    node: ArrayLike  # (Q,) values of Z; the last stands for everything beyond it
    log_mass: ArrayLike  # (Q,) of weight times density
    log_cdf: ArrayLike  # (Q,)
    redundancy: ArrayLike  # () `r`


@lru_cache(maxsize=256)
def _law(group_size: int, redundancy: int, dtype: Any) -> _Law:
    """Gauss-Legendre panels that resolve the law of Z for one group and for up to 1e6 of them.

    Panels are half a standard deviation wide around the bulk of one group's statistic, then grow
    geometrically up to where its density is a pure exponential `exp(-r x)` to machine precision and
    times that grow like `exp(sqrt(x))` or a power of x weigh nothing. Towards 0, where a time may
    start like any power of x, they shrink geometrically. Nodes without mass fill up to a fixed
    number, so that all sizes share one compiled function.
    """
    n, r = group_size, redundancy
    inverse = 1.0 / np.arange(r, n + 1)
    mean, deviation = inverse.sum(), math.sqrt((inverse**2).sum())
    end = 256.0 + math.log(n)
    edges = list(np.arange(max(0.0, mean - 15 * deviation), mean + 15 * deviation, deviation / 2))
    if edges[0] == 0:
        # Below 6^-depth of the first panel lies a mass of 1e-12 at most.
        depth = math.ceil(16 / (n - r + 1))
        edges[1:1] = [edges[1] / 6.0**k for k in range(depth, 0, -1)]
    while edges[-1] < end:
        edges.append(min(end, edges[-1] + max(0.25 * (edges[-1] - mean), deviation / 2)))
    lower, width = np.array(edges[:-1]), np.diff(edges)
    point, weight = np.polynomial.legendre.leggauss(20)
    node = (lower[:, None] + width[:, None] * (point + 1) / 2).ravel()
    log_mass = np.log(width[:, None] * weight / 2).ravel() + log_density(node, n, r)
    values = (
        np.append(node, end),
        np.append(log_mass, log_binomial(n, r) - r * end),
        np.append(log_probabilities(node, n, r)[0], 0.0),
    )
    missing = (-node.size - 1) % NUM_NODES
    fill = (1.0, -np.inf, 0.0)
    padded = [np.pad(v, (missing, 0), constant_values=c) for v, c in zip(values, fill, strict=True)]
    node, log_mass, log_cdf = (v.astype(dtype) for v in padded)
    return _Law(node, log_mass, log_cdf, np.asarray(r, dtype))


def _log_law(delays: Delays, law: _Law, s: Array) -> tuple[Array, Array]:
    """Log masses of Z over `s` groups (S, Q) and log times of its nodes (Q,)."""
    log_mass = jnp.log(s)[:, None] + law.log_mass + (s - 1)[:, None] * law.log_cdf
    return log_mass, delays.log_inverse_hazard(law.node)


def _log_moment(delays: Delays, law: _Law, order: int, log_terms: Array) -> Array:
    """Log of the sum of mass times value^order, (S,); `inf` where the moment is infinite.

    Beyond the last node the density falls like `exp(-r x)` and the time grows like
    `exp(x / tail_index)`, so the tail is the last term times a known factor.
    """
    r = jnp.asarray(law.redundancy)
    rate = r - order / jnp.asarray(delays.tail_index, log_terms.dtype)
    factor = jnp.where(rate > 0, r / jnp.where(rate > 0, rate, 1), jnp.inf)
    return logsumexp(log_terms.at[:, -1].add(jnp.log(factor)), axis=-1)


def _log_mean(delays: Delays, law: _Law, s: Array) -> Array:
    log_mass, log_time = _log_law(delays, law, s)
    return _log_moment(delays, law, 1, log_mass + log_time)


@compiled()
@lenient
def _mean(delays: Delays, law: _Law, num_groups: ArrayLike, load: ArrayLike) -> Array:
    """Means of `load` times the maximum over `s` groups, (S,); 0 for none."""
    s = jnp.asarray(num_groups, delays.dtype)
    mean = load * jnp.exp(_log_mean(delays, law, jnp.maximum(s, 1)))
    return jnp.where(s > 0, mean, 0)


@compiled()
@lenient
def _variance(delays: Delays, law: _Law, num_groups: ArrayLike, load: ArrayLike) -> Array:
    """Variances of the same, as central moments: also precise far below the squared mean."""
    s = jnp.asarray(num_groups, delays.dtype)
    at_least_one = jnp.maximum(s, 1)
    log_mean = _log_mean(delays, law, at_least_one)
    infinite = jnp.isinf(log_mean)
    log_mean = jnp.where(infinite, 0, log_mean)
    log_mass, log_time = _log_law(delays, law, at_least_one)
    log_deviation = log_distance(log_time - log_mean[:, None])
    log_square = _log_moment(delays, law, 2, log_mass + 2 * log_deviation)
    variance = load**2 * jnp.exp(2 * log_mean + log_square)
    return jnp.where(s > 0, jnp.where(infinite, jnp.inf, variance), 0)


def order_statistic_mean(delays: Delays, rank: int, num_samples: int) -> Array:
    """Exact mean of the `rank`-th smallest of `num_samples` computing times, shape ().

    Args:
        delays: identical delays (parameters of shape ()).
        rank: `k`, 1 for the fastest.
        num_samples: `n`.

    Returns:
        It is exact to a relative 1e-12 in float64; `inf`, with a RuntimeWarning if known, unless
        `(n - k + 1) * tail_index > 1` (OS, section 3.1).

    Raises:
        ValueError: for sizes that are not whole numbers with `k <= n`, or worker-dependent delays.

    >>> from lagc_jax import Exponential
    >>> f"{order_statistic_mean(Exponential(rate=1.0), rank=2, num_samples=2):.4f}"
    '1.5000'
    """
    n, r = _check_order(delays, rank, num_samples, order=1)
    return _moment(1, delays, n, r, np.ones(1), 1.0)[0]


def order_statistic_variance(delays: Delays, rank: int, num_samples: int) -> Array:
    """Exact variance of the `rank`-th smallest of `num_samples` computing times, shape ().

    Arguments and errors as for `order_statistic_mean`; `inf` unless
    `(n - k + 1) * tail_index > 2` (OS, section 3.1).

    >>> from lagc_jax import Exponential
    >>> f"{order_statistic_variance(Exponential(rate=1.0), rank=2, num_samples=2):.4f}"
    '1.2500'
    """
    n, r = _check_order(delays, rank, num_samples, order=2)
    return _moment(2, delays, n, r, np.ones(1), 1.0)[0]


def iteration_mean(
    delays: Delays, group_size: int, redundancy: int, num_selected: ArrayLike
) -> Array:
    """Exact mean of the time of an iteration with `s` working groups.

    Args:
        delays: identical delays (parameters of shape ()).
        group_size: `n`.
        redundancy: `r`; also a worker's load, by which its times are multiplied.
        num_selected: numbers of working groups `s`, shape (S,) or ().

    Returns:
        `E[T]`, of the shape of `num_selected`, to a relative 1e-12 in float64; 0 where `s = 0`,
        `inf`, with a RuntimeWarning if known, unless `r * tail_index > 1`. For `r = n` it equals
        `H_s / rate` or
        `n scale Gamma(s+1) Gamma(1-1/(n shape)) / Gamma(s+1-1/(n shape))` (OS, section 3.1).

    Raises:
        ValueError: for sizes that are not whole numbers with `r <= n`, or worker-dependent delays.

    >>> from lagc_jax import Exponential
    >>> [f"{mean:.4f}" for mean in iteration_mean(Exponential(1.0), 3, 3, jnp.arange(3))]
    ['0.0000', '1.0000', '1.5000']
    """
    n, r = check_iteration(delays, group_size, redundancy, order=1)
    return _iteration_moment(1, delays, n, r, num_selected)


def _moment(
    order: int, delays: Delays, n: int, r: int, num_groups: ArrayLike, load: float
) -> Array:
    """Mean (order 1) or variance (2) of `load` times the maximum over `s` groups, (S,)."""
    if delays.smooth:
        function = {1: _mean, 2: _variance}[order]
        return function(delays, _law(n, r, delays.dtype), num_groups, load)
    counts = jnp.asarray(num_groups)[:, None]
    return (load / r) ** order * moments(delays, counts, n, r)[order - 1]


def _iteration_moment(order: int, delays: Delays, n: int, r: int, num_selected: ArrayLike) -> Array:
    """A moment for every entry of `num_selected`, of its shape."""
    counts = _counts(num_selected)
    one_axis("num_selected", num_selected)
    groups = jnp.atleast_1d(num_selected) if counts is None else np.atleast_1d(counts)
    values = _moment(order, delays, n, r, groups, float(r))
    return values.reshape(np.shape(num_selected))


def _counts(num_selected: ArrayLike) -> np.ndarray | None:
    """Known numbers of groups; raise ValueError where they are none."""
    counts = real_array("num_selected", num_selected)
    if counts is not None and not ((counts >= 0) & (counts % 1 == 0)).all():
        raise ValueError(f"num_selected={num_selected} must be whole numbers >= 0")
    return counts


def iteration_variance(
    delays: Delays, group_size: int, redundancy: int, num_selected: ArrayLike
) -> Array:
    """Exact variance of the time of an iteration with `s` working groups.

    Arguments and errors as for `iteration_mean`; `inf` unless `r * tail_index > 2`.

    >>> from lagc_jax import Exponential
    >>> [f"{v:.4f}" for v in iteration_variance(Exponential(1.0), 3, 3, jnp.arange(3))]
    ['0.0000', '1.0000', '1.2500']
    """
    n, r = check_iteration(delays, group_size, redundancy, order=2)
    return _iteration_moment(2, delays, n, r, num_selected)


def iteration_cdf(
    delays: Delays, time: ArrayLike, group_size: int, redundancy: int, num_selected: ArrayLike
) -> Array:
    """`P(T <= t) = I_{Phi(t/r)}(F, n-F+1)^s`, `T` the time of an iteration (OS, section 2.1).

    Arguments and errors are those of `iteration_mean`; `time`, `t >= 0`, and `num_selected` are
    broadcast.
    """
    n, r = check_iteration(delays, group_size, redundancy)
    known = real_array("time", time)
    if known is not None and not (known >= 0).all():
        raise ValueError(f"time={time} must not be negative; give t >= 0")
    _counts(num_selected)
    time, num_selected = as_leaf(time), as_leaf(num_selected)
    return _cdf(delays, time, n - r + 1, r, num_selected)


@compiled()
@lenient
def _cdf(
    delays: Delays, time: ArrayLike, rank: int, redundancy: int, num_groups: ArrayLike
) -> Array:
    phi = -jnp.expm1(-delays.hazard(jnp.asarray(time, delays.dtype) / redundancy))
    a, b = jnp.asarray(rank, phi.dtype), jnp.asarray(redundancy, phi.dtype)
    return betainc(a, b, phi) ** jnp.asarray(num_groups)


def _check_order(delays: Delays, rank: int, num_samples: int, order: int) -> tuple[int, int]:
    """Check an order statistic's arguments; return `n` and `r = n - k + 1`."""
    k, n = whole_number("rank", rank), whole_number("num_samples", num_samples)
    if k > n:
        raise ValueError(f"rank={k} exceeds num_samples={n}; give 1 <= rank <= num_samples")
    return check_iteration(delays, n, n - k + 1, order)


def check_iteration(
    delays: Delays, group_size: int, redundancy: int, order: int | None = None
) -> tuple[int, int]:
    """Check an iteration's arguments, and warn where the moment asked for is infinite."""
    check_source(delays, family=True)
    n, r = code_sizes(group_size, redundancy)
    if not delays.identical:
        raise ValueError(
            f"delays={delays} differ between workers, so exact moments of identical delays do not "
            f"apply; give parameters of shape (), or sample worker by worker"
        )
    tail_index = concrete(delays.tail_index)
    if order is not None and tail_index is not None and not r * tail_index > order:
        name = {1: "mean", 2: "variance"}[order]
        warn(
            f"the {name} of an iteration's time is infinite: r * shape = "
            f"{r * tail_index:g} <= {order}, where r = n - F + 1 = {r}"
        )
    return n, r
