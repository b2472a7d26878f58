"""Distribution functions and draws of the fitted families on the host, in float64.

Nothing is compiled, so that a fit of any number of times costs what its arithmetic does.
"""

from typing import Any

import numpy as np
from jax.typing import ArrayLike

from lagc_jax.delays.base import Exponential, Pareto
from lagc_jax.delays.families import (
    Gamma,
    Hyperexponential,
    Lognormal,
    Shifted,
    ShiftedExponential,
    Weibull,
)


def cdf(delays: Any, times: np.ndarray) -> np.ndarray:
    """`P(tau <= t)` of a family with parameters of shape (), of the shape of the times."""
    from scipy import special

    t: Any = np.maximum(np.asarray(times, np.float64), 0)
    values: Any = [*vars(delays).values()]
    match delays:
        case Shifted():
            return cdf(delays.over, t - values[0])
        case Exponential():
            (rate,) = values
            return -np.expm1(-rate * t)
        case ShiftedExponential():
            shift, rate = values
            return -np.expm1(-rate * np.maximum(t - shift, 0))
        case Pareto():
            scale, shape = values
            return -np.expm1(-shape * np.log(np.maximum(t / scale, 1)))
        case Weibull():
            scale, shape = values
            return -np.expm1(-((t / scale) ** shape))
        case Lognormal():
            location, scale = values
            with np.errstate(divide="ignore"):
                return special.ndtr((np.log(t) - location) / scale)
        case Gamma():
            scale, shape = values
            return special.gammainc(shape, t / scale)
        case Hyperexponential():
            rate, slow, q = values
            return -(1 - q) * np.expm1(-rate * t) - q * np.expm1(-slow * t)
    raise TypeError(type(delays))


def draw(delays: Any, rng: np.random.Generator, size: int) -> np.ndarray:
    """Independent times of a family with parameters of shape (), (size,)."""
    values: Any = [*vars(delays).values()]
    match delays:
        case Shifted():
            return draw(delays.over, rng, size) + values[0]
        case Exponential():
            (rate,) = values
            return rng.exponential(size=size) / rate
        case ShiftedExponential():
            shift, rate = values
            return rng.exponential(size=size) / rate + shift
        case Pareto():
            scale, shape = values
            return np.exp(rng.exponential(size=size) / shape) * scale
        case Weibull():
            scale, shape = values
            return rng.exponential(size=size) ** (1 / shape) * scale
        case Lognormal():
            location, scale = values
            return np.exp(rng.normal(location, scale, size))
        case Gamma():
            scale, shape = values
            return rng.gamma(shape, scale, size)
        case Hyperexponential():
            rate, slow, q = values
            return rng.exponential(size=size) / np.where(rng.random(size) < q, slow, rate)
    raise TypeError(type(delays))


def quantile(delays: Any, levels: ArrayLike) -> np.ndarray:
    """Times `t` with `P(tau <= t)` equal to levels in (0, 1), of their shape."""
    from scipy import special

    level = np.asarray(levels, np.float64)
    hazard: Any = -np.log1p(-level)
    values: Any = [*vars(delays).values()]
    match delays:
        case Shifted():
            return quantile(delays.over, level) + values[0]
        case Exponential():
            (rate,) = values
            return hazard / rate
        case ShiftedExponential():
            shift, rate = values
            return hazard / rate + shift
        case Pareto():
            scale, shape = values
            return np.exp(hazard / shape) * scale
        case Weibull():
            scale, shape = values
            return hazard ** (1 / shape) * scale
        case Lognormal():
            location, scale = values
            return np.exp(location + scale * special.ndtri(level))
        case Gamma():
            scale, shape = values
            return special.gammaincinv(shape, level) * scale
        case Hyperexponential():
            rate, slow, _ = values
            low, high = hazard / rate, hazard / slow
            for _ in range(60):
                middle = (low + high) / 2
                below = cdf(delays, middle) < level
                low, high = np.where(below, middle, low), np.where(below, high, middle)
            return (low + high) / 2
    raise TypeError(type(delays))
