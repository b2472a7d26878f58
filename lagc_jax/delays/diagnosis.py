"""Whether measured times are what a family takes them for: independent, of one law, for ever.

All is said of logarithms of times (of ranks, where one is zero): any unit will do, and no single
slow one decides.
"""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from lagc_jax._checks import whole_number
from lagc_jax._display import readable
from lagc_jax.delays.traces import Trace, time_table

NUM_SHUFFLES, NUM_BLOCKS = 199, 8


@readable
class Diagnosis(NamedTuple):
    """What tells measured times, iterations x workers, from independent draws of one law.

    p-values are the chance of as much, were it not so; NaN marks what too few times cannot say.

    Attributes:
        lag: correlation of a worker's consecutive times, 0 without any.
        lag_p: of shuffles of every worker's times.
        between: share of the variance that lies between workers, 0 where they are alike.
        between_p: of shuffles of all times.
        together: share of the rest that lies between iterations, in which workers are slow
            together.
        together_p: of shuffles of every worker's times.
        drift: median time of the second half of the iterations over that of the first.
        drift_p: of Welch's test for means over blocks of iterations, 8 a half.
        labels: the group of every column, those with the same label are alike; 0 is the fastest, -1
            a worker without an entry. `fit` takes them for its `groups`.
        medians: median time of every group.
    """

    lag: float
    lag_p: float
    between: float
    between_p: float
    together: float
    together_p: float
    drift: float
    drift_p: float
    labels: tuple[int, ...]
    medians: tuple[float, ...]

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Columns of the workers of every group."""
        every = range(len(self.medians))
        return tuple(tuple(m for m, g in enumerate(self.labels) if g == i) for i in every)

    def __str__(self) -> str:
        """What was found, in a few lines."""
        sizes = ", ".join(
            f"{len(group)} of median {median:.4g}"
            for group, median in zip(self.groups, self.medians, strict=True)
        )
        alike = "all alike" if len(self.groups) == 1 else f"in {len(self.groups)} groups ({sizes})"
        return (
            f"lag-1 correlation within workers {self.lag:.2f} (p {self.lag_p:.3g}); share of "
            f"variance between workers {self.between:.2f} (p {self.between_p:.3g}), between "
            f"iterations {self.together:.2f} (p {self.together_p:.3g})\n"
            f"second half over first half {self.drift:.3f} (p {self.drift_p:.2g}); workers {alike}"
        )


def diagnose(times: ArrayLike | Trace, seed: int = 0) -> Diagnosis:
    """Say how far measured times are from independent draws of one law.

    Workers are put into groups by Ward's method on their means, joined as long as the Bayesian
    information criterion falls, with as many observations a worker as the lag-1 correlation leaves
    (`n (1 - rho) / (1 + rho)`): 15 workers at 19 s and one at 45 s are two groups, and no Pareto
    law.

    Args:
        times: a `Trace`, or (T, W) iterations x workers; NaN or `inf` where missing.
        seed: of the shuffles.

    Raises:
        ValueError: unless times are a table of numbers, not negative, that holds two distinct ones,
            and the seed a whole number of at least 0.

    >>> found = diagnose(np.array([[1.0, 1.1, 5.0], [1.2, 1.0, 5.5], [1.1, 1.2, 5.2]]))
    >>> found.groups
    ((0, 1), (2,))
    """
    whole_number("seed", seed, 0)
    table = time_table(times)
    table = np.where(np.isfinite(table), table, np.nan)
    known = table[np.isfinite(table)]
    if known.size < 2 or known.min() == known.max():
        raise ValueError("times has fewer than two distinct values; give more")
    values = np.log(table) if known.min() > 0 else _ranks(table)
    rng = np.random.default_rng(seed)
    centred = values - _means(values)
    lag, between, together = _lag(values), _between(values), _between(centred.T)
    alone = (_shuffled(centred, rng) for _ in range(NUM_SHUFFLES))
    within = np.array([(_lag(one), _between(one.T)) for one in alone])
    apart = np.array([_between(_mixed(values, rng)) for _ in range(NUM_SHUFFLES)])
    half = len(table) // 2
    first, second = (np.median(_known(part)) for part in (table[:half], table[len(table) - half :]))
    excess = float(lag - within[:, 0].mean()) if np.isfinite(lag) else 0.0
    labels = _labels(values, excess)
    medians = [np.median(_known(table[:, labels == g])) for g in range(labels.max() + 1)]
    return Diagnosis(
        lag=float(lag - within[:, 0].mean()),
        lag_p=_share(within[:, 0], lag, two_sided=True),
        between=max(between, 0.0),
        between_p=_share(apart, between),
        together=max(together, 0.0),
        together_p=_share(within[:, 1], together),
        drift=float(second / first) if first > 0 else np.nan,
        drift_p=_drift(values),
        labels=tuple(labels.tolist()),
        medians=tuple(float(median) for median in medians),
    )


def _known(table: np.ndarray) -> np.ndarray:
    """Entries that are there, NaN if none is."""
    known = table[np.isfinite(table)]
    return known if known.size else np.array([np.nan])


def _ranks(table: np.ndarray) -> np.ndarray:
    """Ranks among all entries from 0 to 1, the mean one in a tie; NaN where missing."""
    known = np.isfinite(table)
    _, place, count = np.unique(table[known], return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2
    rank = np.full(table.shape, np.nan)
    rank[known] = (middle[place] - 0.5) / known.sum()
    return rank


def _lag(values: np.ndarray) -> float:
    """Correlation of consecutive values around their workers' means; NaN without variance."""
    centred = values - _means(values)
    product = centred[1:] * centred[:-1]
    pairs = np.isfinite(product).sum()
    variance = np.nansum(centred**2) / max(np.isfinite(centred).sum(), 1)
    return float(np.nansum(product) / pairs / variance) if pairs and variance > 0 else np.nan


def _means(values: np.ndarray) -> np.ndarray:
    """Means of the columns, NaN where one has no entry."""
    count = np.isfinite(values).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def _between(values: np.ndarray) -> float:
    """Share of the variance between columns, by the analysis of variance; may be below 0."""
    n = np.isfinite(values).sum(axis=0)
    n, kept = n[n > 0], values[:, n > 0]
    W, N = n.size, n.sum()
    if W < 2 or N <= W:
        return np.nan
    means = _means(kept)
    total = np.nansum(kept) / N
    inside = np.nansum((kept - means) ** 2) / (N - W)
    outside = (n * (means - total) ** 2).sum() / (W - 1)
    size = (N - (n**2).sum() / N) / (W - 1)
    component = (outside - inside) / size
    return float(component / (component + inside)) if component + inside > 0 else np.nan


def _shuffled(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every worker's entries in a random order, missing ones where they are."""
    known = np.isfinite(values)
    if known.all():
        return rng.permuted(values, axis=0)
    order = np.argsort(np.where(known, rng.random(values.shape), np.inf), axis=0)
    mixed = np.take_along_axis(values, order, axis=0)  # missing entries come last
    place = np.maximum(np.cumsum(known, axis=0) - 1, 0)
    return np.where(known, np.take_along_axis(mixed, place, axis=0), np.nan)


def _mixed(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All entries in a random order, missing ones where they are."""
    mixed = np.full(values.shape, np.nan)
    known = np.isfinite(values)
    mixed[known] = rng.permutation(values[known])
    return mixed


def _share(shuffled: np.ndarray, value: float, two_sided: bool = False) -> float:
    """Share of the shuffles, the value itself among them, that lie as far out."""
    if not np.isfinite(value):
        return np.nan
    if two_sided:
        shuffled, value = abs(shuffled - shuffled.mean()), abs(value - shuffled.mean())
    return float((1 + (shuffled >= value).sum()) / (1 + shuffled.size))


def _drift(values: np.ndarray) -> float:
    """p-value of a difference between the halves, in means of blocks of iterations."""
    from scipy import special

    level = _means((values - _means(values)).T)
    level = level[np.isfinite(level)]
    half = level.size // 2
    count = min(NUM_BLOCKS, half // 2)
    if count < 2:
        return np.nan
    halves = level[:half], level[level.size - half :]
    means = np.array([[block.mean() for block in np.array_split(x, count)] for x in halves])
    variance = means.var(axis=1, ddof=1) / count
    if not variance.sum() > 0:
        return np.nan
    t = abs(means[1].mean() - means[0].mean()) / np.sqrt(variance.sum())
    freedom = variance.sum() ** 2 * (count - 1) / (variance**2).sum()
    return float(2 * special.stdtr(freedom, -t))


def _labels(values: np.ndarray, lag: float) -> np.ndarray:
    """Groups of columns (W,): neighbours among their means, joined while a criterion falls."""
    n, means = np.isfinite(values).sum(axis=0).astype(float), _means(values)
    order = np.array([m for m in np.argsort(means, kind="stable") if n[m] > 0])
    count, mean = n[order], means[order]
    spread = float(np.nansum((values - means) ** 2))
    total = n.sum()
    observations = total * np.clip((1 - lag) / (1 + lag), 1 / n.max(), 1)
    sizes = np.ones(order.size, int)
    best, chosen = np.inf, sizes
    while True:
        criterion = observations * np.log(max(spread / total, 1e-300))
        criterion += 2 * sizes.size * np.log(max(observations, 2))
        if criterion < best:
            best, chosen = criterion, sizes
        if sizes.size == 1:
            break
        costs = count[:-1] * count[1:] / (count[:-1] + count[1:]) * np.diff(mean) ** 2
        i = int(costs.argmin())
        spread += costs[i]
        mean[i] = (count[i] * mean[i] + count[i + 1] * mean[i + 1]) / (count[i] + count[i + 1])
        count[i] += count[i + 1]
        sizes = np.concatenate([sizes[:i], [sizes[i] + sizes[i + 1]], sizes[i + 2 :]])
        count, mean = np.delete(count, i + 1), np.delete(mean, i + 1)
    labels = np.full(values.shape[1], -1)
    labels[order] = np.repeat(np.arange(chosen.size), chosen)
    return labels
