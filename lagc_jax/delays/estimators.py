"""Maximum-likelihood estimates of every family from independent times, on the host."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lagc_jax.delays._laws import quantile
from lagc_jax.delays.base import Delays, Exponential, Pareto
from lagc_jax.delays.families import (
    Gamma,
    Hyperexponential,
    Lognormal,
    Shifted,
    ShiftedExponential,
    ShiftedGamma,
    ShiftedLognormal,
    ShiftedWeibull,
    Weibull,
)

# A family's estimate and its log-likelihood, from positive times (N,) in rising order.
Fit = tuple[Delays, float]
Estimator = Callable[[np.ndarray], Fit]
# Distances of a shift to the smallest time and rates of a second exponential that are tried first.
NUM_GAPS, NUM_RATES = 16, 40


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
    # The difference of the logarithms of two means, to the last digits of a small one.
    beside = times / mean - 1
    gap = max(float(np.mean(beside - np.log1p(beside))), 1e-32)

    def equation(shape: float) -> tuple[float, float]:
        excess, slope = _polygamma_excess(shape)
        return gap + excess, slope

    # Minka's start, good to 1.5 %.
    shape = _root(equation, (3 - gap + math.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap))
    scale = mean / shape
    # `log Gamma(shape)` less `shape log(shape) - shape`, which is most of it.
    rest = _stirling(shape)
    likelihood = -times.size * (shape * gap + rest) - logs.sum()
    return Gamma(float(scale), shape), float(likelihood)


def _stirling(x: float) -> float:
    """`log Gamma(x) - x log(x) + x`."""
    if x < 1e3:
        return math.lgamma(x) - x * math.log(x) + x
    return 0.5 * math.log(2 * math.pi / x) + 1 / (12 * x) - 1 / (360 * x**3)


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


def _polygamma_excess(x: float) -> tuple[float, float]:
    """Digamma less `log(x)`, and trigamma less `1/x`: recurrence, then Stirling."""
    first, digamma, trigamma = x, 0.0, 0.0
    while x < 12:
        digamma, trigamma, x = digamma - 1 / x, trigamma + 1 / x**2, x + 1
    y = 1 / x**2
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y / 132))))
    derivative = 1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - y * 5 / 66)))
    return (
        digamma + math.log(x / first) - 1 / (2 * x) - series,
        trigamma + (1 / x - 1 / first) + y / 2 + y / x * derivative,
    )


def _hyperexponential(times: np.ndarray) -> Fit:
    """Expectation-maximisation from several starts; the most likely end is kept.

    Where no term of another rate makes the single exponential more likely to first order, no
    mixture is more likely (Lindsay, "The geometry of mixture likelihoods", Ann. Stat. 11, 1983):
    both rates are then the same.
    """
    mean, N = float(times.mean()), times.size
    rates = np.geomspace(1 / times[-1], 1 / max(times[0], 1e-6 * mean), NUM_RATES)
    gain = np.array([np.exp(times * (1 / mean - rate)).mean() * rate * mean - 1 for rate in rates])
    if gain.max() <= 1e-9:
        return Hyperexponential(1 / mean, 1 / mean, 0.5), N * (-math.log(mean) - 1)
    starts = []
    for share in (0.5, 0.1, 0.01):  # the slow times are the largest ones
        count = min(max(round(share * N), 1), N - 1)
        starts.append((1 / max(times[:-count].mean(), 1e-300), 1 / times[-count:].mean(), share))
    for side, share in ((rates > 1 / mean, 0.95), (rates < 1 / mean, 0.05)):
        if (gain[side] > 0).any():
            other = rates[side][gain[side].argmax()]
            starts.append((max(other, 1 / mean), min(other, 1 / mean), share))
    fits = [_mixture(times, *start) for start in starts]
    (rate, slow_rate, share), likelihood = max(fits, key=lambda found: found[1])
    return Hyperexponential(float(rate), float(slow_rate), float(share)), likelihood


def _mixture(
    times: np.ndarray, rate: float, slow_rate: float, share: float
) -> tuple[tuple[float, float, float], float]:
    """Rates and slow share from a start, and their likelihood.

    Two steps of expectation-maximisation are extrapolated, which shortens its linear convergence
    by an order of magnitude (Varadhan and Roland, "Simple and globally convergent methods", Scand.
    J. Stat. 35, 2008, scheme S3); where that is less likely, the plain steps stand.
    """
    point = np.array([math.log(rate), math.log(slow_rate), math.log(share / (1 - share))])
    found = _em_step(times, point)
    for _ in range(500):
        once, before = found
        twice, _ = _em_step(times, once)
        move, bend = once - point, twice - 2 * once + point
        length = math.sqrt(move @ move / max(bend @ bend, 1e-300))
        leap = point + 2 * length * move + length**2 * bend if length > 1 else twice
        point = leap if np.abs(leap - twice).max() < 5 else twice
        found = _em_step(times, point)
        if not found[1] >= before:
            point = twice
            found = _em_step(times, point)
        if found[1] - before <= 1e-10 * times.size:
            break
    rate, slow_rate = np.exp(point[:2])
    share = 1 / (1 + math.exp(-point[2]))
    if slow_rate > rate:
        rate, slow_rate, share = slow_rate, rate, 1 - share
    return (rate, slow_rate, share), found[1]


def _em_step(times: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, float]:
    """A step from logarithms of both rates and the logit of the slow share; their likelihood."""
    log_rate, log_slow, logit = point
    fast = log_rate - math.exp(log_rate) * times - np.logaddexp(0, logit)
    odds = log_slow - math.exp(log_slow) * times - np.logaddexp(0, -logit) - fast
    weight = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
    likelihood = float((fast + np.logaddexp(0, odds)).sum())
    slow, N = float(np.clip(weight.sum(), 1e-12, times.size * (1 - 1e-12))), times.size
    late = float(weight @ times)
    early = max(float(times.sum()) - late, 1e-300)
    updated = [math.log((N - slow) / early), math.log(slow / max(late, 1e-300))]
    return np.array([*updated, math.log(slow / (N - slow))]), likelihood


def _after_shift(estimate: Estimator, kind: Callable[..., Shifted]) -> Estimator:
    """An estimator of a family after a shift, from that of the family of the excess."""

    def shifted(times: np.ndarray) -> Fit:
        shift, (excess, likelihood) = profile(
            lambda shift: estimate(times - shift), float(times[0]), float(np.median(times))
        )
        rest = times[times > times[0]]
        if shift is None and rest[0] < rest[-1]:
            over, _ = estimate(rest - times[0])
            shift = max(float(times[0] - quantile(over, 1 / (times.size + 1))), 0.0)
            excess, likelihood = estimate(times - shift)
        return kind(shift=shift or 0.0, **vars(excess)), likelihood

    return shifted


def profile(
    fit_at: Callable[[float], Fit], least: float, middle: float
) -> tuple[float | None, Fit]:
    """The shift in `[0, least)` of the likeliest inner maximum, and the fit there.

    Towards the smallest time the likelihood may rise without bound, which is no estimate (Hill,
    "The three-parameter lognormal distribution", JASA 58, 1963; Smith, "Maximum likelihood
    estimation in a class of nonregular cases", Biometrika 72, 1985); the shift is None if it has no
    maximum before. It is looked for on a logarithmic scale of the distance to that time.
    """
    from scipy import optimize

    nearest = max(1e-4 * (middle - least), 1e-12 * least)
    if not least > nearest:
        return 0.0, fit_at(0.0)
    gaps = np.geomspace(least, nearest, NUM_GAPS)
    gaps[0] = least
    likelihood = [fit_at(least - gap)[1] for gap in gaps]
    peaks = [
        i
        for i in range(NUM_GAPS - 1)
        if likelihood[i] > likelihood[i + 1] and (i == 0 or likelihood[i] >= likelihood[i - 1])
    ]
    if not peaks:
        return None, fit_at(0.0)
    i = max(peaks, key=lambda i: likelihood[i])
    found: Any = optimize.minimize_scalar(
        lambda log_gap: -fit_at(least - math.exp(log_gap))[1],
        bounds=(math.log(gaps[i + 1]), math.log(gaps[max(i - 1, 0)])),
        method="bounded",
        options={"xatol": 1e-4},
    )
    shift = least - math.exp(found.x) if -found.fun > likelihood[i] else least - gaps[i]
    return float(shift), fit_at(shift)


# Families and their estimators; a time of zero has a likelihood in the first ones alone.
WITH_ZEROS = ("exponential", "shifted_exponential")
ESTIMATORS: dict[str, Estimator] = {
    "exponential": _exponential,
    "pareto": _pareto,
    "shifted_exponential": _shifted_exponential,
    "weibull": _weibull,
    "lognormal": _lognormal,
    "gamma": _gamma,
    "hyperexponential": _hyperexponential,
    "shifted_weibull": _after_shift(_weibull, ShiftedWeibull),
    "shifted_lognormal": _after_shift(_lognormal, ShiftedLognormal),
    "shifted_gamma": _after_shift(_gamma, ShiftedGamma),
}
