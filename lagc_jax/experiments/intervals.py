"""What a stretch of measured rows says of the next one: an interval of its mean, and drift.

The rows of a log depend on each other over unknown times. Means of few long batches know of it what
there is to know: intervals from them hold where those of a block bootstrap are too short by half.
"""

import math
from typing import NamedTuple

import numpy as np

NORMAL = 1.645  # quantile of the normal distribution for the 90 % of every interval of the advice
BATCHES = (4, 6, 10)  # the widest counts: which is long enough depends on the memory of the rows
TREND_BATCHES = 8
# A line of so many standard errors leads the interval on. In a third of the cases it is there by
# chance, and widens; one that is missed shifts what comes by more than intervals hold.
SUSPECTED = 1.0


class Outlook(NamedTuple):
    """Intervals of means over a further stretch of as many rows, (N,) each.

    Attributes:
        low, high: of nominal 90 %.
        drifts: whether the rows rise or fall, so that the interval reaches on in their direction.
    """

    low: np.ndarray
    high: np.ndarray
    drifts: np.ndarray


def outlook(series: np.ndarray, general: np.ndarray) -> Outlook:
    """Where the means of further stretches lie.

    The uncertainty of a mean is twice in it, for this stretch and for the next one. Where batches
    follow a line, be it those of a series or those of all workers' times, the interval also holds
    where the line leads, and reaches about as far back: measured levels return as often as they go
    on, and an interval that was led one way alone missed those.

    Args:
        series: (N, T) what each row brings for N candidates.
        general: (T,) mean times of all workers, that tell drift from noise sooner.

    >>> rows = np.random.default_rng(0).exponential(size=(1, 400))
    >>> found = outlook(rows, rows[0])
    >>> bool(found.low[0] < 1 < found.high[0]), found.drifts.tolist()
    (True, [False])
    """
    mean = series.mean(-1)
    margin = np.max([_margin(series, batches) for batches in BATCHES], axis=0)
    own, common = _trend(series), _trend(general[None])
    scale = mean / max(general.mean(), np.finfo(float).tiny)
    low, high = mean - margin, mean + margin
    for line in (own, common.scaled(scale)):
        led = np.where(line.ratio > SUSPECTED, line.shift, 0)
        reach = np.hypot(margin, line.error)
        back = np.maximum(margin, np.abs(led))
        low = np.minimum(low, mean - np.where(led < 0, reach - led, back))
        high = np.maximum(high, mean + np.where(led > 0, reach + led, back))
    floor = np.where((series >= 0).all(-1), 0.0, -np.inf)  # times are, differences need not be
    return Outlook(np.maximum(low, floor), high, own.flagged | common.flagged)


class Trend(NamedTuple):
    """A line through batches, (N,) each.

    Attributes:
        shift: by how much it leads on in as many rows.
        error: standard error of that.
        ratio: of the two without signs, a Student's t.
        flagged: whether that is above its quantile of 90 %.
    """

    shift: np.ndarray
    error: np.ndarray
    ratio: np.ndarray
    flagged: np.ndarray

    def scaled(self, factor: np.ndarray) -> "Trend":
        """The line of series that are so many times as large."""
        return self._replace(shift=self.shift * factor, error=self.error * factor)


def _batch_means(series: np.ndarray, batches: int) -> np.ndarray:
    """Means of consecutive rows, (N, B), with as many batches as there can be."""
    count = min(batches, series.shape[-1])
    return np.stack([part.mean(-1) for part in np.array_split(series, count, axis=-1)], axis=-1)


def _margin(series: np.ndarray, batches: int) -> np.ndarray:
    """Half the interval of the mean of a further stretch, (N,); `inf` from a single row."""
    means = _batch_means(series, batches)
    count = means.shape[-1]
    if count < 2:
        return np.full(len(series), np.inf)
    return student(count - 1) * means.std(-1, ddof=1) * math.sqrt(2 / count)


def _trend(series: np.ndarray) -> Trend:
    """The line through eight batches; none of fewer than four."""
    means = _batch_means(series, TREND_BATCHES)
    count = means.shape[-1]
    if count < 4:
        nothing = np.zeros(len(series))
        return Trend(nothing, nothing, nothing, nothing > 0)
    place = np.arange(count) - (count - 1) / 2
    slope = means @ place / (place @ place)
    rest = means - means.mean(-1, keepdims=True) - slope[:, None] * place
    error = np.sqrt((rest**2).sum(-1) / (count - 2) / (place @ place))
    ratio = np.abs(slope) / np.maximum(error, np.finfo(float).tiny)
    flagged = ratio > student(count - 2)
    return Trend(slope * count, error * count, ratio, flagged)


def block_length(series: np.ndarray) -> int:
    """Rows that a block needs for what a circular block bootstrap should keep, of series (T,).

    (Politis and White, "Automatic Block-Length Selection for the Dependent Bootstrap", 2004, as
    corrected by Patton, Politis and White, 2009; at most a third of the rows.)

    >>> block_length(np.random.default_rng(0).normal(size=300)) < 5
    True
    >>> walk = np.cumsum(np.random.default_rng(0).normal(size=300))
    >>> block_length(walk) > 10
    True
    """
    T = len(series)
    centred = series - series.mean()
    if T < 6 or not centred.any():
        return 1
    window = max(5, round(math.sqrt(math.log10(T))))
    longest = min(math.ceil(math.sqrt(T)) + window, T - 1)
    covariance = np.array([centred[: T - k] @ centred[k:] / T for k in range(longest + 1)])
    small = np.abs(covariance / covariance[0]) < 2 * math.sqrt(math.log10(T) / T)
    quiet = [k for k in range(1, longest - window + 2) if small[k : k + window].all()]
    last = quiet[0] - 1 if quiet else int(np.flatnonzero(~small)[-1])
    reach = min(2 * max(last, 1), longest)
    lag = np.arange(-reach, reach + 1)
    # The flat-top window of Politis and Romano.
    weighted = np.clip(2 * (1 - np.abs(lag) / reach), 0, 1) * covariance[np.abs(lag)]
    total, spread = weighted.sum(), (np.abs(lag) * weighted).sum()
    if not total > 0:
        return 1
    length = math.ceil((1.5 * (spread / total) ** 2 * T) ** (1 / 3))
    return int(np.clip(length, 1, max(T // 3, 1)))


def student(freedom: int) -> float:
    """Student's quantile for the 90 % of an interval; 1.645 of many degrees of freedom."""
    from scipy import special

    return float(special.stdtrit(freedom, 0.95))


def means(samples: np.ndarray, tails: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means and 90 % bounds (N,), infinite where the tail is known to have no other."""
    infinite = ~np.isfinite(samples).all(-1) | (tails <= 1)
    known = np.where(infinite[:, None], 0, samples)
    R = samples.shape[1]
    mean, margin = known.mean(-1), student(R - 1) * known.std(-1, ddof=1) / math.sqrt(R)
    return tuple(np.where(infinite, np.inf, x) for x in (mean, mean - margin, mean + margin))


def medians(samples: np.ndarray) -> tuple[np.ndarray, ...]:
    """Medians with 90 % bounds that need no moment, (N,)."""
    R, ordered = samples.shape[1], np.sort(samples, axis=-1)
    reach = math.ceil(R / 2 + NORMAL * math.sqrt(R) / 2)  # normal limit of the binomial ranks
    low, high = np.zeros(len(samples)), np.full(len(samples), np.inf)
    if reach < R:
        low, high = ordered[:, R - 1 - reach], ordered[:, reach]
    return np.median(ordered, axis=-1), low, high
