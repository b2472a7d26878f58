"""The law of the `F`-th smallest of n unit exponentials, in NumPy and float64.

At most x are as many as a binomial count of `n` trials. Up to `LARGEST_SUM` workers its terms are
added up as they stand. Beyond, logarithms of binomial coefficients would lose digits to their own
size, and a sum over all terms takes too long: a term is then computed by Loader's saddle point
("Fast and accurate computation of binomial probabilities", 2000), and its neighbours follow from
their ratios until they weigh nothing, which takes some `sqrt(n)` terms.
"""

import math
from collections.abc import Iterator

import numpy as np

LARGEST_SUM = 128


def log_density(x: np.ndarray, n: int, r: int) -> np.ndarray:
    """Log density at x of the F-th smallest of n unit exponentials."""
    if n > LARGEST_SUM and r < n:
        return math.log(r) + _log_term(x, n, r)
    return math.log(r) + log_binomial(n, r) - r * x + (n - r) * np.log(-np.expm1(-x))


def log_probabilities(x: np.ndarray, n: int, r: int) -> tuple[np.ndarray, np.ndarray]:
    """Log P(Z <= x) and log P(Z > x), `Z` the F-th smallest of n unit exponentials.

    At most x are `n - j` of them, `j < r` for the first event and `j >= r` for the second.
    """
    if n > LARGEST_SUM and r in (1, n):
        # 1 - exp(-x) rounds to 1 where x is large, and its logarithm must not be 0 there.
        near, far = np.minimum(x, 0.5), np.maximum(x, 0.5)
        below = np.where(x > 0.5, np.log1p(-np.exp(-far)), np.log(-np.expm1(-near)))
        one = -n * x if r == n else n * below
        other = np.log(-np.expm1(one))
        return (other, one) if r == n else (one, other)
    cdf, survival = _add_terms(x, n, r) if n <= LARGEST_SUM else _add_neighbours(x, n, r)

    def complement(log_probability: np.ndarray) -> np.ndarray:
        return np.log1p(-np.exp(np.minimum(log_probability, -0.5)))

    # Either sum is of positive terms; the smaller of the two probabilities is the precise one.
    smaller = cdf < survival
    return (
        np.where(smaller, cdf, complement(survival)),
        np.where(smaller, complement(cdf), survival),
    )


def log_binomial(n: int, k: int) -> float:
    """Logarithm of a binomial coefficient."""
    return math.log(math.comb(n, k))


def _add_terms(x: np.ndarray, n: int, r: int) -> tuple[np.ndarray, np.ndarray]:
    log_above, log_below = -x, np.log(-np.expm1(-x))

    def log_sum(counts: range) -> np.ndarray:
        terms = [log_binomial(n, j) + j * log_above + (n - j) * log_below for j in counts]
        return np.logaddexp.reduce(terms, axis=0)

    return log_sum(range(r)), log_sum(range(r, n + 1))


def _add_neighbours(x: np.ndarray, n: int, r: int) -> tuple[np.ndarray, np.ndarray]:
    """The smaller of both sums, from its end at `r` outwards; 0, a log of 1, for the larger one."""
    odds = np.exp(-x) / -np.expm1(-x)  # of exceeding x
    low = (n + 1 / 3) * np.exp(-x) > r - 1 / 3  # about the median of the count
    fewer = ((r - 1 - k) / (n - r + 2 + k) for k in range(r - 1))
    more = ((n - r - k) / (r + 1 + k) for k in range(n - r))
    cdf, survival = np.zeros_like(x), np.zeros_like(x)
    cdf[low] = _log_term(x[low], n, r - 1) + _log_series(1 / odds[low], fewer)
    survival[~low] = _log_term(x[~low], n, r) + _log_series(odds[~low], more)
    return cdf, survival


def _log_series(ratio: np.ndarray, factors: Iterator[float]) -> np.ndarray:
    """Log of 1 + the sum of the products of the first factors, each times `ratio`."""
    term, total = np.ones_like(ratio), np.ones_like(ratio)
    for count, factor in enumerate(factors):
        term *= factor * ratio
        total += term
        if count % 16 == 0 and (term <= 1e-18 * total).all():
            break
    return np.log(total)


def _log_term(x: np.ndarray, n: int, j: int) -> np.ndarray:
    """Log probability that j of n unit exponentials exceed x, `0 < j < n`."""
    constant = _stirling_error(n) - _stirling_error(j) - _stirling_error(n - j)
    constant += 0.5 * math.log(n / (2 * math.pi * j * (n - j)))
    log_below = np.log(-np.expm1(-x))
    return constant - _deviance(j, n, -x) - _deviance(n - j, n, log_below)


def _stirling_error(n: int) -> float:
    """`log n!` less Stirling's formula."""
    if n < 16:
        return math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - 0.5 * math.log(2 * math.pi)
    m = float(n) ** 2
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / m) / m) / m) / m) / n


def _deviance(j: int, n: int, log_share: np.ndarray) -> np.ndarray:
    """`j log(j / m) + m - j >= 0` for the mean `m = n share`, without cancellation."""
    excess = (n * np.exp(log_share) - j) / j
    close = np.abs(excess) < 0.5
    small = np.where(close, excess, 0)
    s = small / (2 + small)
    series = np.zeros_like(s)
    for k in range(17, 0, -1):  # the first term left out is (1/9)^17 of the first
        series = 1 / (2 * k + 1) + s**2 * series
    far = excess - (math.log(n / j) + log_share)
    return j * np.where(close, s * small - 2 * s**3 * series, far)
