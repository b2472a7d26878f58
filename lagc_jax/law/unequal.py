"""Moments of an iteration's time where workers differ, or where the time jumps with the hazard.

`E[T^p] = int p t^(p-1) P(T > t) dt`, where `P(T > t)` is the product over the working groups of the
law of the `F`-th smallest of `n` independent times (OS, section 5.2), a Poisson-binomial recursion.
The integral runs over `y = log t` by Gauss-Legendre panels. Their edges are the kinks of the
survival functions, a ladder of quantiles of every worker and an even grid; beyond the last one all
hazards are linear in `y`, with the tail index as slope, and panels that double in width follow them
to where nothing is left. So a jump or a kink lies on an edge, and heavy tails lose nothing.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from lagc_jax._checks import concrete, warn
from lagc_jax._loops import scan
from lagc_jax._modes import lenient, range_of
from lagc_jax._programs import compiled
from lagc_jax.delays.base import Delays

LARGEST_HAZARD = 256.0
NUM_EVEN, NUM_TAIL, NUM_POINTS = 64, 32, 16
# Logarithm of a probability of zero. Finite, since infinite ones have no derivatives.
NEVER = -1e30


def _ladder(group_size: int) -> np.ndarray:
    """Hazards between whose quantiles the law of any order statistic of the group is smooth.

    Steps are a standard deviation of the number of workers that a time exceeds, geometric below
    and above where that number is within one of `n` or 0.
    """
    n = group_size
    angle = math.asin(1 / math.sqrt(n + 1))
    count = math.ceil((math.pi / 2 - 2 * angle) * 2 * math.sqrt(n)) + 2
    middle = -2 * np.log(np.sin(np.linspace(math.pi / 2 - angle, angle, count)))
    low = middle[0] / 6.0 ** np.arange(1, 24)
    steps = math.ceil(math.log(LARGEST_HAZARD / middle[-1]) / math.log(1.25))
    high = middle[-1] * (LARGEST_HAZARD / middle[-1]) ** (np.arange(1, steps + 1) / steps)
    return np.concatenate([low, middle, high])


def _decay(delays: Delays, shape: tuple[int, int], redundancy: int) -> Array:
    """Tail index of every group's statistic, (G,): the sum of the `r` smallest of its workers."""
    index = jnp.broadcast_to(jnp.asarray(delays.tail_index, delays.dtype), (math.prod(shape),))
    return jnp.sort(index.reshape(shape), axis=-1)[:, :redundancy].sum(-1)


def _edges(delays: Delays, group_size: int, decay: Array) -> tuple[Array, Array]:
    """Rising panel edges in log time (P+1,), and the edge from which hazards are linear ()."""
    if not delays.jumps:  # any edges that resolve the integrand will do
        delays, decay = jax.lax.stop_gradient((delays, decay))
    # One call: over a column of one row XLA's simplifier goes round in circles for gamma delays.
    column = np.append(0.01 / group_size, _ladder(group_size))[:, None]
    lowest, rungs = jnp.split(delays.log_inverse_hazard(jnp.asarray(column, delays.dtype)), [1])
    largest = 0.98 * jnp.log(range_of(delays.dtype).max)
    end = jnp.minimum(rungs[-1].max(), largest)
    start = lowest.min() - 40
    # Where the slowest decay cannot be integrated the moment is infinite, whatever the panels.
    excess = jnp.where(decay > 1, decay - 1, jnp.inf)
    excess = jnp.minimum(excess, jnp.where(decay > 2, decay - 2, jnp.inf)).min()
    tail = end + 45 / excess * 2.0 ** jnp.arange(1 - NUM_TAIL, 1).astype(end.dtype)
    body = [rungs.ravel(), jnp.log(delays.kinks).ravel(), jnp.linspace(start, end, NUM_EVEN)]
    edges = jnp.clip(jnp.concatenate(body), start, end)
    return jnp.concatenate([jnp.sort(edges), tail]), end


def _hazards(delays: Delays, y: Array, end: Array) -> Array:
    """Cumulative hazards at log times (N,): (N, M), or (N, 1) for identical workers."""
    column = y[:, None]
    inside = delays.hazard(jnp.exp(jnp.minimum(column, end)))
    index = jnp.asarray(delays.tail_index, y.dtype)
    return inside + jnp.maximum(column - end, 0) * jnp.where(jnp.isinf(index), -NEVER, index)


def _log_exceeding(hazard: Array, redundancy: int) -> tuple[Array, Array]:
    """Log probabilities that at least, and fewer than, `r` of a group are not done, by (n, N)."""

    def add_worker(counts: Array, hazard: Array) -> tuple[Array, None]:
        # counts: (r+1, N), log probabilities of 0, .., r-1 and of at least r unfinished workers.
        none = hazard <= 0
        busy, done = -hazard, jnp.log(-jnp.expm1(-jnp.where(none, 1, hazard)))
        stay = counts.at[:-1].add(jnp.where(none, NEVER, done))
        more = jnp.concatenate([jnp.full_like(counts[:1], NEVER), counts[:-1] + busy])
        return jnp.logaddexp(stay, more), None

    hazard = jnp.where(hazard > -NEVER, -NEVER, hazard)
    nobody = jnp.full((redundancy + 1, hazard.shape[1]), NEVER, hazard.dtype).at[0].set(0)
    counts, _ = scan(add_worker, nobody, hazard)
    return counts[-1], logsumexp(counts[:-1], axis=0)


@compiled("group_size", "redundancy")
@lenient
def moments(
    delays: Delays, group_counts: ArrayLike, group_size: int, redundancy: int
) -> tuple[Array, Array]:
    """Mean and variance of `r` times the slowest of groups' `F`-th smallest computing times.

    Args:
        delays: parameters of shape () or (G n,).
        group_counts: (S, G) how often each group's statistic enters the maximum; the columns are
            groups of consecutive workers, or one group of which all are copies.
        group_size: `n`; static.
        redundancy: `r`; static.

    Returns:
        (S,) means and (S,) variances, to a relative 1e-10 in float64 (tested); 0 where no group
        enters, `inf` where the tail indices of the `r` heaviest workers of a group that enters do
        not add up to more than 1 or 2. Both have derivatives by the parameters, save by single
        values of `Discrete` workers where those of two coincide.
    """
    counts = jnp.asarray(group_counts, delays.dtype)
    G, n = counts.shape[1], group_size
    decay = _decay(delays, (G, n), redundancy)
    edges, end = _edges(delays, n, decay)
    point, weight = np.polynomial.legendre.leggauss(NUM_POINTS)
    width = jnp.diff(edges)
    share = jnp.asarray((point + 1) / 2, edges.dtype)
    y = (edges[:-1, None] + width[:, None] * share).ravel()
    empty = width[:, None] <= 0
    size = jnp.where(empty, 1, width[:, None]) * jnp.asarray(weight / 2, edges.dtype)
    log_weight = jnp.where(empty, NEVER, jnp.log(size)).ravel()
    hazard = _hazards(delays, y, end).T
    hazard = jnp.broadcast_to(hazard, (G * n, y.size)).reshape(G, n, y.size)
    late, early = jax.lax.map(lambda h: _log_exceeding(h, redundancy), hazard)
    # log(-log P(group done)): a small probability of being late keeps all its digits, and the
    # product over the groups is a sum.
    minus_log_cdf = jnp.where(late < -1, -jnp.log1p(-jnp.exp(jnp.minimum(late, -1))), -early)
    rare = late < -40
    log_late = jnp.where(rare, late, jnp.log(jnp.where(rare, 1, minus_log_cdf)))

    def row(count: Array) -> tuple[Array, Array]:
        enters = count > 0
        log_count = jnp.log(jnp.where(enters, count, 1))[:, None]
        total = logsumexp(jnp.where(enters[:, None], log_late + log_count, NEVER), axis=0)
        rare = total < -40
        log_survival = jnp.log(-jnp.expm1(-jnp.exp(jnp.where(rare, 0, total))))
        log_survival = jnp.where(rare, total, log_survival)
        slowest = jnp.min(jnp.where(enters, decay, jnp.inf))
        terms = logsumexp(log_weight + y + log_survival)
        log_mean = jnp.logaddexp(terms, edges[0])
        log_mean = jnp.where(enters.any() & (slowest > 1), log_mean, 0)
        mean = jnp.where(slowest > 1, redundancy * jnp.exp(log_mean), jnp.inf)
        finite = slowest > 2
        log_survival = jnp.where(finite, log_survival, NEVER)
        square = _relative_variance(edges, y, log_weight, log_survival, -jnp.exp(total), log_mean)
        variance = jnp.where(finite, square * jnp.where(finite, mean, 1) ** 2, jnp.inf)
        return jnp.where(enters.any(), mean, 0), jnp.where(enters.any(), variance, 0)

    return jax.lax.map(row, counts)


def log_distance(log_ratio: Array) -> Array:
    """`log |ratio - 1|` of a ratio given by its logarithm, also where it overflows."""
    size = jnp.maximum(jnp.abs(log_ratio), range_of(log_ratio.dtype).tiny)
    return jnp.maximum(log_ratio, 0) + jnp.log(-jnp.expm1(-size))


def _relative_variance(
    edges: Array, y: Array, log_weight: Array, log_survival: Array, log_cdf: Array, log_mean: Array
) -> Array:
    """Variance over squared mean, without cancellation.

    `E (T - m)^2 = (e - m)^2 + int_0^e 2 (m - t) P(T <= t) dt + int_e^inf 2 (t - m) P(T > t) dt` for
    any `e`; it is the edge next above the mean `m`, so that panels stay smooth.
    """
    middle = (edges[1:] + edges[:-1]) / 2
    below = jnp.repeat(middle < log_mean, NUM_POINTS, total_repeat_length=y.size)
    cut = jnp.max(jnp.where(middle < log_mean, edges[1:], -jnp.inf))
    log_ratio = y - log_mean
    log_tail = jnp.where(below, log_cdf, log_survival)
    size = jnp.exp(log_weight + log_ratio + log_distance(log_ratio) + log_tail)
    sign = jnp.where(below, -1, 1) * jnp.sign(log_ratio)
    return jnp.expm1(cut - log_mean) ** 2 + 2 * jnp.sum(sign * size)


def warn_if_infinite(
    delays: Delays, num_workers: int, working: ArrayLike, redundancy: int, order: int
) -> None:
    """Warn where the mean (order 1) or variance (2) of an iteration's time is known infinite."""
    index, known = concrete(delays.tail_index), concrete(working)
    if index is None or known is None:
        return
    by_group = np.broadcast_to(np.asarray(index, float), (num_workers,)).reshape(known.shape[1], -1)
    total = np.sort(by_group, axis=-1)[:, :redundancy].sum(-1)
    smallest = total[known.any(0)].min(initial=np.inf)
    if not smallest > order:
        name = {1: "mean", 2: "variance"}[order]
        warn(
            f"the {name} of an iteration's time is infinite: the "
            f"tail indices of n - F + 1 = {redundancy} workers of a group add up to "
            f"{smallest:g} <= {order}"
        )
