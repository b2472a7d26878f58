"""Any law of positive times, through a table of its quantiles: scipy's distributions, say."""

import math
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, positive
from lagc_jax._entries import by_product, entries
from lagc_jax._modes import float_dtype, lenient, range_of
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import Delays

# Logarithms of the hazards in the table: survival probabilities of 1 - 1e-18 to 1e-300.
KNOTS = np.linspace(math.log(1e-18), math.log(690.0), 8192)
STEP = KNOTS[1] - KNOTS[0]
ENOUGH = 25.0  # the quantiles must be known for hazards between its inverse and itself
# From a hazard on, quantiles whose logarithms are rougher than this are noise: rounded
# probabilities, of which so many knots in a row tell, one kink does not.
FAR, ROUGH, MANY = 8.0, 1e-9, 64
FLAT = 1e-12  # least slope of the logarithm of a time by that of the hazard


def cubic(values: Array, slopes: Array, place: Array, part: Array) -> tuple[Array, Array]:
    """Value and derivative in a cell at a part in [0, 1] of it (Hermite); tables (N,) or (M, N)."""

    def at(table: Array, place: Array) -> Array:
        return table[place] if table.ndim == 1 else table[jnp.arange(len(table)), place]

    if values.ndim == 1 and by_product(values[None]):
        ends = jnp.stack([values[:-1], values[1:], slopes[:-1], slopes[1:]])
        low, high, left, right = entries(ends, place)
    else:
        low, high = at(values, place), at(values, place + 1)
        left, right = at(slopes, place), at(slopes, place + 1)
    left, right = STEP * left, STEP * right
    rise = high - low
    a, b = left + right - 2 * rise, 3 * rise - 2 * left - right
    return low + part * (left + part * (b + part * a)), left + part * (2 * b + part * 3 * a)


def log_excess(values: ArrayLike, slopes: ArrayLike, x: Array) -> Array:
    """`log(t - start)` at a hazard `x`, (...) from tables (N,) or (..., M) from (M, N)."""
    values, slopes = (jnp.asarray(each, x.dtype) for each in (values, slopes))
    x = jnp.maximum(x, range_of(x.dtype).tiny)
    u = (jnp.log(x) - KNOTS[0]) / STEP
    inside = jnp.clip(u, 0, KNOTS.size - 1)
    place = jnp.minimum(inside.astype(int), KNOTS.size - 2)
    value, _ = cubic(values, slopes, place, inside - place)
    below = jnp.minimum(u, 0) * STEP * slopes[..., 0]
    return value + below + jnp.maximum(x / math.exp(KNOTS[-1]) - 1, 0) * slopes[..., -1]


@pytree()
class Tabulated(Delays):
    """A law by its quantiles, tabulated once; made by `tabulate`.

    Between the knots `log(t - start)` is a cubic in the logarithm of the hazard. Beyond the last,
    at a survival probability of 1e-300, it is linear in the hazard.

    Attributes:
        scale: factor of all times, shape () or (M,).
        start: () the smallest time.
        values: (N,) `log(t - start)` at the knots.
        slopes: (N,) its derivatives by the logarithm of the hazard.
        tail: () tail index.

    Raises:
        ValueError: if a scale is not positive and finite.
    """

    scale: ArrayLike
    start: ArrayLike
    values: ArrayLike
    slopes: ArrayLike
    tail: ArrayLike

    def __post_init__(self) -> None:
        positive("scale", self.scale)
        object.__setattr__(self, "scale", as_leaf(self.scale))

    @property
    def tail_index(self) -> ArrayLike:
        return self.tail

    @property
    def dtype(self) -> Any:
        return float_dtype(self.scale)

    @property
    def identical(self) -> bool:
        return np.ndim(self.scale) == 0

    def check(self, num_workers: int, draws: int = 1) -> None:
        if np.shape(self.scale) not in ((), (num_workers,)):
            raise ValueError(
                f"delays.scale has shape {np.shape(self.scale)}; give () or {(num_workers,)}, one "
                f"value a worker"
            )

    @lenient
    def inverse_hazard(self, x: ArrayLike) -> Array:
        x = jnp.asarray(x, self.dtype)
        excess = jnp.exp(log_excess(self.values, self.slopes, x))
        return jnp.asarray((self.start + jnp.where(x > 0, excess, 0)) * self.scale)

    @lenient
    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        x = jnp.asarray(x, self.dtype)
        excess = log_excess(self.values, self.slopes, x)
        return jnp.logaddexp(excess, jnp.log(jnp.asarray(self.start, x.dtype))) + jnp.log(
            self.scale
        )

    @lenient
    def hazard(self, t: ArrayLike) -> Array:
        t = jnp.asarray(t, self.dtype) / self.scale
        tiny = range_of(t.dtype).tiny
        excess = jnp.log(jnp.maximum(t - self.start, tiny))
        values, slopes = (jnp.asarray(each, t.dtype) for each in (self.values, self.slopes))
        place = jnp.clip(jnp.searchsorted(values, excess) - 1, 0, KNOTS.size - 2)
        part = jnp.clip((excess - values[place]) / (values[place + 1] - values[place]), 0, 1)
        for _ in range(3):  # nearly linear in a cell
            value, slope = cubic(values, slopes, place, part)
            part = jnp.clip(part + (excess - value) / slope, 0, 1)
        below = jnp.minimum(excess - values[0], 0) / slopes[0]
        beyond = 1 + jnp.maximum(excess - values[-1], 0) / slopes[-1]
        return jnp.where(
            t > self.start, jnp.exp(KNOTS[0] + STEP * (place + part) + below) * beyond, 0
        )


def tabulate(distribution: Any, scale: ArrayLike = 1.0) -> Tabulated:
    """A family of times from anything with `ppf` and `isf`, as scipy's frozen distributions have.

    Its quantiles are read once, in float64; the simulator's doors do so by themselves. Between
    knots times have a relative error of some 1e-9 where the law is smooth (1e-5 in float32); where
    scipy's quantiles fail or are noise, far out, a power law goes on. The tail index is read off
    the far tail: what the hazard gains for each unit of `log t`, infinite where that grows, and a
    little less, so that a mean that may be infinite counts as infinite.

    Args:
        distribution: of positive times, continuous: `ppf(q)` the time with `P(tau <= t) = q`,
            `isf(q)` that with `P(tau > t) = q`.
        scale: factor of all times, shape () or (M,): slow workers, say.

    Raises:
        ValueError: for no such object, negative times, or a law with jumps or gaps.

    >>> from types import SimpleNamespace
    >>> unit = SimpleNamespace(ppf=lambda q: -np.log1p(-q), isf=lambda q: -np.log(q))
    >>> f"{float(tabulate(unit).survival(2.0)):.6f}", f"{np.exp(-2):.6f}"
    ('0.135335', '0.135335')
    """
    if not is_distribution(distribution):
        raise ValueError(
            f"distribution is a {type(distribution).__name__} without ppf and isf; give a frozen "
            f"one, as scipy.stats.fisk(2.0) is"
        )
    start, values, good = _read(distribution)
    slopes = np.gradient(values[good], STEP, edge_order=2)
    v = values[good]
    slopes[2:-2] = (8 * (v[3:-1] - v[1:-3]) - (v[4:] - v[:-4])) / (12 * STEP)
    slopes = np.maximum(slopes, FLAT)  # rounding may turn the end of a bounded law down
    # Where quantiles cannot be told from the start, or from each other, a power law goes on.
    values = np.interp(KNOTS, KNOTS[good], v)
    before, after = np.arange(KNOTS.size) < good.start, np.arange(KNOTS.size) >= good.stop
    values[before] = v[0] + (KNOTS[before] - KNOTS[good][0]) * slopes[0]
    values[after] = v[-1] + (KNOTS[after] - KNOTS[good][-1]) * slopes[-1]
    slopes = np.interp(KNOTS, KNOTS[good], slopes)
    return Tabulated(scale, start, values, slopes, _tail_index(slopes, good.stop - 3))


def _tail_index(slopes: np.ndarray, last: int) -> float:
    """What the hazard gains for each unit of `log t` in the end, `inf` where that grows on.

    Seen at a hazard, its half and its quarter: what grows as a power does so by the same factor
    twice, what converges by less. A mean that may be infinite is, so that it is lessened by what
    it is not known by: 1e-7, and what is left of a convergence as of an exponential.
    """
    places = last - np.round(np.log([4, 2, 1]) / STEP).astype(int)
    gains = np.exp(KNOTS[places]) / slopes[places]
    before, growth = gains[1:] / gains[:-1] - 1
    if growth >= max(0.01, before / 2):
        return math.inf
    return float(gains[-1]) * (1 - 1e-7 - 2 * growth**2)


def quantiles(distribution: Any, hazards: np.ndarray) -> np.ndarray:
    """Times at which hazards are reached, each read from its smaller probability."""
    early = distribution.ppf(-np.expm1(-hazards))
    return np.where(hazards < math.log(2), early, distribution.isf(np.exp(-hazards)))


def _read(distribution: Any) -> tuple[float, np.ndarray, slice]:
    """The start, `log(t - start)` at the knots, and the knots at which these are known."""
    hazards = np.exp(KNOTS)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what fails far out is cut off
        try:
            start = float(distribution.ppf(0.0))
        except TypeError as error:
            raise ValueError(
                f"distribution is not one frozen law ({error}); give scipy.stats.fisk(2.0), say, "
                f"and tabulate(law, scale=..) for a scale a worker"
            ) from error
        times = quantiles(distribution, hazards)
        # Times so near the start that the difference is lost in rounding do not count.
        known = np.isfinite(times) & (times > start + 1e-6 * abs(start))
        values = np.log(np.where(known, times - start, 1.0))
    rising = known[1:] & known[:-1] & (np.diff(values) > 0)
    middle = int(np.searchsorted(hazards, math.log(2)))
    holes = np.flatnonzero(~rising)
    first = int(holes[holes < middle].max(initial=-1)) + 1
    last = int(holes[holes >= middle].min(initial=KNOTS.size - 1)) + 1
    if not start >= 0:
        raise ValueError(f"distribution has times from {start:g} on; give one of positive times")
    noise = _noise(values[:last], int(np.searchsorted(hazards, FAR)))
    too_few = hazards[last - 1] < ENOUGH or hazards[first] > 1 / ENOUGH
    last = min(last, noise)
    if last - first < 5 or too_few:
        raise ValueError(
            "distribution has jumps or gaps; give a Discrete or a Trace for such times"
        )
    return start, values, slice(first, last)


def _noise(values: np.ndarray, begin: int) -> int:
    """The first knot from one on after which values are mostly noise; their number if none is.

    A fifth difference of noise is some 16 times the noise, that of a smooth law `STEP^4` times a
    step.
    """
    steps, rough = np.abs(np.diff(values)), np.abs(np.diff(values, 5))
    bad = rough > 16 * ROUGH + 1e-7 * steps[: rough.size]
    if bad.size < begin + MANY:
        return values.size
    often = np.convolve(bad, np.ones(MANY), "valid") > MANY / 2
    found = np.flatnonzero(bad[: often.size] & often & (np.arange(often.size) >= begin))
    return int(found[0]) if found.size else values.size


def is_distribution(thing: Any) -> bool:
    """Whether a thing answers as scipy's frozen distributions do."""
    return callable(getattr(thing, "ppf", None)) and callable(getattr(thing, "isf", None))
