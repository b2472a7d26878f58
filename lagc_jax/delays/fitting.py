"""Which family measured computing times follow: maximum likelihood and goodness of fit."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jax.typing import ArrayLike

from lagc_jax._checks import real_array
from lagc_jax.delays.base import Delays, Exponential, Pareto
from lagc_jax.delays.families import Gamma, Hyperexponential, Lognormal, ShiftedExponential, Weibull
from lagc_jax.delays.traces import Trace

if TYPE_CHECKING:
    import pandas as pd

# A family's estimate and its log-likelihood, from positive times (N,).
Fit = tuple[Delays, float]


def fit(times: ArrayLike | Trace) -> "pd.DataFrame":
    """Fit every family by maximum likelihood to measured times, best first.

    All times are taken as independent draws of one law. `Discrete` is not among the families: its
    fit is `Discrete(times)`, the data themselves, whose probabilities do not compare to densities.
    The smallest time is the estimate of a shift and of Pareto's scale: it exceeds the truth by a
    term of order `1/N`.

    Args:
        times: a `Trace`, or positive times of any shape, iterations x workers say; NaN, `inf` or
            masked where a worker never answered: such entries are left out.

    Returns:
        A frame indexed by family, sorted by rising AIC, with the columns `delays` (the fitted
        `Delays`), `parameters` (their number), `log-likelihood`, `AIC` (twice the number minus
        twice the log-likelihood) and `KS` (the Kolmogorov-Smirnov distance to the empirical
        distribution function).

    Raises:
        ValueError: for times that are not positive numbers (the entry is named), or fewer than two
            distinct ones.

    >>> table = fit([[1.0, 2.0, 4.0], [1.5, 8.0, float("nan")]])
    >>> table.columns.tolist()
    ['delays', 'parameters', 'log-likelihood', 'AIC', 'KS']
    """
    import pandas as pd

    sample = _sample(times)
    rows = []
    for name, estimate in ESTIMATORS.items():
        delays, likelihood = estimate(sample)
        size, distance = len(vars(delays)), _distance(delays, sample)
        rows.append((name, delays, size, likelihood, 2 * size - 2 * likelihood, distance))
    columns = ["family", "delays", "parameters", "log-likelihood", "AIC", "KS"]
    table = pd.DataFrame(rows, columns=columns).set_index("family")
    return table.sort_values("AIC", kind="stable")


def quantile_frame(times: ArrayLike | Trace, table: "pd.DataFrame") -> "pd.DataFrame":
    """Measured against fitted quantiles, in long form, for `lagc_jax.plots.paper.plot_quantiles`.

    From times and the table of `fit`, a frame with the columns `family`, `fitted` and `measured`:
    the `i`-th smallest of N times against the quantile of level `(i - 1/2) / N`, at most 200 a
    family.
    """
    import pandas as pd

    sample = _sample(times)
    chosen = np.unique(np.linspace(0, sample.size - 1, 200).round().astype(int))
    level = (chosen + 0.5) / sample.size
    measured = sample[chosen]
    fitted = {name: np.asarray(law.quantile(level), float) for name, law in table["delays"].items()}
    frames = [
        pd.DataFrame({"family": name, "fitted": values, "measured": measured})
        for name, values in fitted.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _sample(times: ArrayLike | Trace) -> np.ndarray:
    """The times that are not missing, sorted, (N,)."""
    if np.ma.isMaskedArray(times):
        times = np.ma.filled(times.astype(float), np.nan)
    array = real_array("times", times.times if isinstance(times, Trace) else times)
    if array is None:
        raise ValueError("times is traced; fit outside jit and vmap")
    bad = np.argwhere(~(np.isnan(array) | (array > 0)))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        place = f" (row {where[0] + 1} of column {where[1] + 1})" if len(where) == 2 else ""
        raise ValueError(
            f"times{list(where)}={array[where]}{place} is not a positive time; mend the entry, or "
            f"give NaN where one is missing"
        )
    sample = np.sort(array[np.isfinite(array)].astype(np.float64))
    if sample.size < 2 or sample[0] == sample[-1]:
        raise ValueError(
            f"times has fewer than two distinct values; give more, or use "
            f"Discrete({sample[:1].tolist()})"
        )
    return sample


def _distance(delays: Delays, sample: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of a law to a sorted sample."""
    cdf = -np.expm1(-np.asarray(delays.hazard(sample), np.float64))
    rank = np.arange(sample.size + 1) / sample.size
    return float(max(np.max(rank[1:] - cdf), np.max(cdf - rank[:-1])))


def _exponential(times: np.ndarray) -> Fit:
    rate = 1 / times.mean()
    return Exponential(float(rate)), float(times.size * (math.log(rate) - 1))


def _shifted_exponential(times: np.ndarray) -> Fit:
    shift = times[0]
    rate = 1 / (times - shift).mean()
    return ShiftedExponential(float(shift), float(rate)), times.size * (math.log(rate) - 1)


def _pareto(times: np.ndarray) -> Fit:
    logs = np.log(times)
    shape = 1 / (logs - logs[0]).mean()
    likelihood = times.size * (math.log(shape) - logs[0] - 1 - 1 / shape)
    return Pareto(float(times[0]), float(shape)), float(likelihood)


def _lognormal(times: np.ndarray) -> Fit:
    logs = np.log(times)
    location, scale = logs.mean(), logs.std()
    entropy = math.log(scale) + 0.5 * math.log(2 * math.pi) + 0.5
    return Lognormal(float(location), float(scale)), float(-logs.sum() - times.size * entropy)


def _weibull(times: np.ndarray) -> Fit:
    """Newton's method for the shape, whose equation is concave and rising: it has one root."""
    logs = np.log(times)
    centred = logs - logs[-1]  # so that no power overflows

    def equation(shape: float) -> tuple[float, float]:
        weight = np.exp(shape * centred)
        weight /= weight.sum()
        first = weight @ centred
        variance = weight @ (centred - first) ** 2
        return first - 1 / shape - centred.mean(), variance + 1 / shape**2

    shape = _root(equation, math.pi / math.sqrt(6) / logs.std())
    log_scale = logs[-1] + math.log(np.exp(shape * centred).mean()) / shape
    likelihood = times.size * (math.log(shape) - shape * log_scale - 1) + (shape - 1) * logs.sum()
    return Weibull(math.exp(log_scale), shape), float(likelihood)


def _gamma(times: np.ndarray) -> Fit:
    """Newton's method for the shape: `log(shape) - digamma(shape)` is a known gap of means."""
    mean, logs = times.mean(), np.log(times)
    gap = math.log(mean) - logs.mean()

    def equation(shape: float) -> tuple[float, float]:
        digamma, trigamma = _polygamma(shape)
        return gap - math.log(shape) + digamma, trigamma - 1 / shape

    # Minka's start, good to 1.5 %.
    shape = _root(equation, (3 - gap + math.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap))
    scale = mean / shape
    normaliser = math.lgamma(shape) + shape * math.log(scale)
    likelihood = (shape - 1) * logs.sum() - times.size * (shape + normaliser)
    return Gamma(float(scale), shape), float(likelihood)


def _root(equation: Callable[[float], tuple[float, float]], start: float) -> float:
    """Positive root of a rising function, given with its derivative, by Newton's method."""
    point = start
    for _ in range(100):
        value, slope = equation(point)
        updated = max(point - value / slope, point / 2)
        if abs(updated - point) <= 1e-14 * point:
            break
        point = updated
    return float(point)


def _polygamma(x: float) -> tuple[float, float]:
    """Digamma and trigamma in float64, whatever JAX's precision: recurrence, then Stirling."""
    digamma = trigamma = 0.0
    while x < 12:
        digamma, trigamma, x = digamma - 1 / x, trigamma + 1 / x**2, x + 1
    y = 1 / x**2
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y / 132))))
    derivative = 1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - y * 5 / 66)))
    return (
        digamma + math.log(x) - 1 / (2 * x) - series,
        trigamma + 1 / x + y / 2 + y / x * derivative,
    )


def _hyperexponential(times: np.ndarray) -> Fit:
    """Expectation-maximisation from three slow shares; the most likely end is kept.

    Less dispersed times than exponential ones end at two equal rates.
    """
    fits = [_mixture(times, share) for share in (0.5, 0.1, 0.01)]
    (rate, slow_rate, share), likelihood = max(fits, key=lambda found: found[1])
    return Hyperexponential(float(rate), float(slow_rate), float(share)), likelihood


def _mixture(times: np.ndarray, share: float) -> tuple[tuple[float, float, float], float]:
    """Rates and slow share from a start at which the slow ones are the largest times."""
    count = min(max(round(share * times.size), 1), times.size - 1)
    rate, slow_rate = 1 / times[:-count].mean(), 1 / times[-count:].mean()
    likelihood = -math.inf
    for _ in range(2000):
        fast = math.log1p(-share) + math.log(rate) - rate * times
        slow = math.log(share) + math.log(slow_rate) - slow_rate * times
        total = np.logaddexp(fast, slow)
        before, likelihood = likelihood, float(total.sum())
        if likelihood - before <= 1e-10 * times.size:
            break
        weight = np.exp(slow - total)
        share = float(np.clip(weight.mean(), 1e-12, 1 - 1e-12))
        slow_rate = weight.sum() / (weight @ times)
        rate = (1 - weight).sum() / ((1 - weight) @ times)
    if slow_rate > rate:
        rate, slow_rate, share = slow_rate, rate, 1 - share
    return (rate, slow_rate, share), likelihood


ESTIMATORS: dict[str, Callable[[np.ndarray], Fit]] = {
    "exponential": _exponential,
    "pareto": _pareto,
    "shifted_exponential": _shifted_exponential,
    "weibull": _weibull,
    "lognormal": _lognormal,
    "gamma": _gamma,
    "hyperexponential": _hyperexponential,
}
