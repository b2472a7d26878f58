"""Families of computing times beyond the exponential and the Pareto ones, and all by name.

Where the inverse hazard has no closed form it is found by Newton's method on the hazard, so that
its precision in the far tail is that of the logarithm of the survival probability.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammainc, gammaincc, gammaln, log_ndtr, ndtr, ndtri
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, concrete, finite, not_negative, positive, probability
from lagc_jax._modes import float_dtype
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import Delays, Exponential, Pareto


def _positive_part(t: ArrayLike) -> Array:
    return jnp.maximum(jnp.asarray(t), 0)


def _iterate(step: Callable[[Array, Any], Array], start: Array, inputs: Any) -> Array:
    """Repeat a step of Newton's or Halley's method until it moves by half of the digits at most.

    A last step then gives the other half. It alone carries derivatives, by the inputs: to first
    order it is the implicit function theorem, forwards and in reverse.
    """
    tolerance = math.sqrt(jnp.finfo(start.dtype).eps)
    start, still = jax.lax.stop_gradient((start, inputs))

    def moves(carry: tuple[Array, Array, Array]) -> Array:
        point, last, count = carry
        settled = jnp.abs(point - last) <= tolerance * jnp.maximum(jnp.abs(point), 1)
        return (count < 60) & ~jnp.all(settled)

    def advance(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        point, _, count = carry
        return step(point, still), point, count + 1

    first = (start, jnp.full_like(start, jnp.inf), jnp.zeros((), jnp.int32))
    return step(jax.lax.while_loop(moves, advance, first)[0], inputs)


@pytree()
class ShiftedExponential(Delays):
    """Low tail after a fixed start-up: `P(tau > t) = exp(-rate (t - shift))` for `t >= shift`.

    Args:
        shift: smallest possible time, shape () or (M,); may be 0.
        rate: inverse of the mean excess over it, shape () or (M,).

    Raises:
        ValueError: if a shift is negative, a rate is not positive, or either is not finite.

    >>> float(ShiftedExponential(shift=1.0, rate=2.0).quantile(0.0))
    1.0
    """

    shift: ArrayLike
    rate: ArrayLike

    def __post_init__(self) -> None:
        self._check_parameters(shift=not_negative)

    @property
    def tail_index(self) -> ArrayLike:
        return jnp.inf

    def hazard(self, t: ArrayLike) -> Array:
        return _positive_part(jnp.asarray(t) - self.shift) * self.rate

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.asarray(x) / self.rate + self.shift

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.log(self.inverse_hazard(x))


@pytree()
class Weibull(Delays):
    """`P(tau > t) = exp(-(t / scale)^shape)`; the tail is stretched for `shape < 1`.

    Args:
        scale: time that is exceeded with probability `1/e`, shape () or (M,).
        shape: power of the hazard, shape () or (M,).

    Raises:
        ValueError: if a scale or a shape is not positive and finite.

    >>> float(Weibull(scale=2.0, shape=3.0).hazard(4.0))
    8.0
    """

    scale: ArrayLike
    shape: ArrayLike

    def __post_init__(self) -> None:
        self._check_parameters()

    @property
    def tail_index(self) -> ArrayLike:
        return jnp.inf

    def hazard(self, t: ArrayLike) -> Array:
        return (_positive_part(t) / self.scale) ** self.shape

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.asarray(x) ** (1 / jnp.asarray(self.shape)) * self.scale

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.log(jnp.asarray(x)) / self.shape + jnp.log(self.scale)


def _normal_inverse(x: ArrayLike) -> Array:
    """Value that a standard normal exceeds with probability `exp(-x)`.

    Either tail is inverted from its own probability, which is the precise one. Where `exp(-x)`
    underflows, Newton's method solves for its logarithm, nearly quadratic in the value: from the
    first two terms of the expansion three steps reach rounding.
    """
    x = jnp.asarray(x, float_dtype(x))
    largest = jnp.asarray(-0.9 * jnp.log(jnp.finfo(x.dtype).tiny), x.dtype)
    low, high = jnp.minimum(x, math.log(2)), jnp.clip(x, math.log(2), largest)
    body = jnp.where(x < math.log(2), ndtri(-jnp.expm1(-low)), -ndtri(jnp.exp(-high)))
    beyond = jnp.maximum(x, largest)
    z = jnp.sqrt(2 * beyond - jnp.log(4 * math.pi * beyond))
    for _ in range(3):
        log_survival = log_ndtr(-z)
        log_rate = -(z**2) / 2 - math.log(2 * math.pi) / 2 - log_survival
        z = z + (beyond + log_survival) * jnp.exp(-log_rate)
    return jnp.where(x > largest, z, body)


@pytree()
class Lognormal(Delays):
    """`log tau` is normal: all moments are finite, yet the tail looks heavy for a large scale.

    Args:
        location: mean of `log tau`, any real number, shape () or (M,).
        scale: standard deviation of `log tau`, shape () or (M,).

    Raises:
        ValueError: if a location is not finite or a scale is not positive and finite.

    >>> float(Lognormal(location=0.0, scale=1.5).quantile(0.5))
    1.0
    """

    location: ArrayLike
    scale: ArrayLike

    def __post_init__(self) -> None:
        self._check_parameters(location=finite)

    @property
    def tail_index(self) -> ArrayLike:
        return jnp.inf

    def hazard(self, t: ArrayLike) -> Array:
        z = (jnp.log(_positive_part(t)) - self.location) / self.scale
        # Near zero the survival probability is 1 to rounding, and log_ndtr has lost the rest.
        return jnp.where(z < 0, -jnp.log1p(-ndtr(jnp.minimum(z, 0))), -log_ndtr(-z))

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.exp(self.log_inverse_hazard(x))

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return _normal_inverse(x) * self.scale + self.location


def _gamma_hazard(s: Array, shape: ArrayLike) -> Array:
    """Cumulative hazard of the gamma law of scale 1.

    Where the survival probability underflows, its leading asymptotic term stands for it: it is
    good to `1 / s`, relative, at hazards that weigh nothing in a moment.
    """
    s, shape = jnp.broadcast_arrays(s, jnp.asarray(shape, s.dtype))
    below, above = gammainc(shape, s), gammaincc(shape, s)
    tiny = jnp.finfo(s.dtype).tiny ** 0.9
    large = jnp.maximum(s, jnp.maximum(shape, 1))
    beyond = large - (shape - 1) * jnp.log(large) + gammaln(shape)
    beyond = beyond + jnp.log1p(-(shape - 1) / (large + 1))
    body = jnp.where(
        below < 0.5, -jnp.log1p(-jnp.minimum(below, 0.5)), -jnp.log(jnp.maximum(above, tiny))
    )
    return jnp.where((above < tiny) & (below > 0.5), beyond, body)


@pytree()
class Gamma(Delays):
    """Density proportional to `t^(shape - 1) exp(-t / scale)`; Erlang for a whole shape.

    Args:
        scale: unit of time, `mean / shape`, shape () or (M,).
        shape: inverse of the squared coefficient of variation, shape () or (M,).

    Raises:
        ValueError: if a scale or a shape is not positive and finite.

    >>> f"{float(Gamma(scale=2.0, shape=1.0).survival(2.0)):.4f}"
    '0.3679'
    """

    scale: ArrayLike
    shape: ArrayLike

    def __post_init__(self) -> None:
        self._check_parameters()

    @property
    def tail_index(self) -> ArrayLike:
        return jnp.inf

    def hazard(self, t: ArrayLike) -> Array:
        return _gamma_hazard(jnp.asarray(_positive_part(t) / self.scale, self.dtype), self.shape)

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.exp(self.log_inverse_hazard(x))

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        """Halley's method for the logarithm of the hazard as a function of that of the time.

        `jax.scipy.special` has no inverse of the incomplete gamma function, and each evaluation of
        the latter is dear, hence three orders a step. The function is close to a line of slope
        `shape` near zero and of slope 1 far out, and concave or convex in between. The start is the
        nearer line or, for `shape >= 1`, Wilson and Hilferty's normal law of the cube root.
        """
        shape = jnp.asarray(self.shape, self.dtype)
        x, shape = jnp.broadcast_arrays(jnp.asarray(x, self.dtype), shape)
        usual = (x > 0) & (x < jnp.inf)
        log_x = jnp.log(jnp.where(usual, x, 1))

        def step(u: Array, inputs: tuple[Array, Array]) -> Array:
            log_x, shape = inputs
            s = jnp.exp(u)
            hazard = _gamma_hazard(s, shape)
            underflows = hazard < jnp.finfo(s.dtype).tiny
            series = shape * u - s - gammaln(shape + 1) - jnp.log1p(-s / (shape + 1 + s))
            log_hazard = jnp.where(underflows, series, jnp.log(jnp.where(underflows, 1, hazard)))
            slope = jnp.exp(shape * u - s - gammaln(shape) + hazard - log_hazard)
            curvature = shape - s + (hazard - 1) * slope  # second over first derivative
            newton = (log_x - log_hazard) / slope
            return u + newton / jnp.clip(1 + newton * curvature / 2, 0.5, 2)

        near = (log_x + gammaln(shape + 1)) / shape
        root = 1 - 1 / (9 * shape) + _normal_inverse(jnp.exp(log_x)) / (3 * jnp.sqrt(shape))
        cube = jnp.log(shape) + 3 * jnp.log(jnp.maximum(root, 1e-3))
        above = jnp.maximum(jnp.maximum(near, log_x), cube)
        start = jnp.where(shape < 1, jnp.minimum(near, log_x), above)
        beyond = jnp.where(x > 0, jnp.inf, -jnp.inf)
        u = jnp.where(usual, _iterate(step, start, (log_x, shape)), beyond)
        return u + jnp.log(self.scale)


@pytree()
class Hyperexponential(Delays):
    """A share of slow draws: `P(tau > t) = (1 - q) exp(-rate t) + q exp(-slow_rate t)`.

    Every worker is slow in an iteration with probability `q = slow_share`, independently.

    Args:
        rate: of the usual times, shape () or (M,).
        slow_rate: of the slow times, at most `rate`, shape () or (M,).
        slow_share: `q` in [0, 1], shape () or (M,).

    Raises:
        ValueError: if a rate is not positive and finite, `slow_rate > rate`, or a share lies
            outside [0, 1].

    >>> float(Hyperexponential(rate=1.0, slow_rate=0.1, slow_share=0.2).survival(0.0))
    1.0
    """

    rate: ArrayLike
    slow_rate: ArrayLike
    slow_share: ArrayLike

    # Where the slow draws take over, the time rises steeply with the hazard.
    smooth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._check_parameters(slow_share=probability)
        fast, slow = concrete(self.rate), concrete(self.slow_rate)
        if fast is not None and slow is not None and (slow > fast).any():
            raise ValueError(
                f"slow_rate={self.slow_rate} exceeds rate={self.rate}; give slow_rate <= rate"
            )

    @property
    def tail_index(self) -> ArrayLike:
        return jnp.inf

    def _log_parts(self, t: ArrayLike) -> tuple[Array, Array]:
        """Logarithms of the two terms of the survival probability."""
        t, q = jnp.asarray(t), jnp.asarray(self.slow_share)
        return jnp.log1p(-q) - t * self.rate, jnp.log(q) - t * self.slow_rate

    def hazard(self, t: ArrayLike) -> Array:
        t = _positive_part(t)
        fast, slow = self._log_parts(t)
        # Near zero the sum of the parts is 1 to rounding; the terms that it rounds off are these.
        q = jnp.asarray(self.slow_share)
        below = -(1 - q) * jnp.expm1(-t * self.rate) - q * jnp.expm1(-t * self.slow_rate)
        near = below < 0.5
        return jnp.where(near, -jnp.log1p(-jnp.minimum(below, 0.5)), -jnp.logaddexp(fast, slow))

    def inverse_hazard(self, x: ArrayLike) -> Array:
        """Newton's method from below: the hazard is concave, so that no step overshoots.

        It starts from the tangent at zero or where one term alone would have that hazard.
        """
        rate, slow_rate, q = (
            jnp.asarray(leaf, self.dtype) for leaf in (self.rate, self.slow_rate, self.slow_share)
        )
        mean_rate = (1 - q) * rate + q * slow_rate
        x = jnp.asarray(x, self.dtype)
        unit = 1 / mean_rate

        def step(t: Array, inputs: tuple) -> Array:
            delays, x, rate, slow_rate, mean_rate = inputs
            unit = 1 / mean_rate
            fast, slow = delays._log_parts(t * unit)
            total = jnp.logaddexp(fast, slow)
            slope = rate * jnp.exp(fast - total) + slow_rate * jnp.exp(slow - total)
            return t + (x - delays.hazard(t * unit)) * mean_rate / slope

        finite_x = jnp.where(x < jnp.inf, x, 0)
        single = jnp.maximum((finite_x + jnp.log1p(-q)) / rate, (finite_x + jnp.log(q)) / slow_rate)
        start = jnp.maximum(finite_x, single * mean_rate)
        inputs = (self, finite_x, rate, slow_rate, mean_rate)
        return jnp.where(x < jnp.inf, _iterate(step, start, inputs) * unit, jnp.inf)

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.log(self.inverse_hazard(x))


@pytree()
class Discrete(Delays):
    """Finitely many times, such as measured ones; a single one is deterministic.

    Args:
        values: positive times, shape () for a deterministic time, (J,) or, with one support a
            worker, (M, J).
        probabilities: of the values, of the same shape; equal ones by default.

    Raises:
        ValueError: if a value is not positive and finite, a probability lies outside [0, 1], the
            shapes differ, or the probabilities of a support do not add up to 1.

    >>> Discrete([1.0, 3.0], [0.9, 0.1]).quantile(jnp.array([0.5, 0.95])).tolist()
    [1.0, 3.0]
    """

    values: ArrayLike
    probabilities: ArrayLike | None = None

    support_ndim: ClassVar[int] = 1
    smooth: ClassVar[bool] = False
    jumps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive("values", self.values)
        values = as_leaf(self.values)
        values = (np if concrete(values) is not None else jnp).atleast_1d(values)
        if not values.size:
            raise ValueError(f"values={self.values} is empty; give at least one time")
        weights = self.probabilities
        if weights is None:
            share = 1 / values.shape[-1]
            weights = np.full(values.shape, share, float_dtype(values))
        probability("probabilities", weights)
        weights = as_leaf(weights)
        if np.shape(weights) != values.shape:
            raise ValueError(
                f"probabilities has shape {np.shape(weights)} but values has shape "
                f"{values.shape}; give one probability a value"
            )
        known = concrete(weights)
        if known is not None and not (np.abs(known.sum(-1) - 1) < 1e-5).all():
            raise ValueError(
                f"probabilities={weights} add up to {known.sum(-1)}, not 1; divide by the sum"
            )
        library: Any = jnp if known is None or concrete(values) is None else np
        order = library.argsort(values, axis=-1)
        object.__setattr__(self, "values", library.take_along_axis(values, order, -1))
        object.__setattr__(self, "probabilities", library.take_along_axis(weights, order, -1))

    @property
    def tail_index(self) -> ArrayLike:
        return jnp.inf

    @property
    def kinks(self) -> Array:
        return jnp.asarray(self.values, self.dtype)

    def _levels(self) -> Array:
        """Hazard from each value on, of the shape of the values; `inf` from the last."""
        weights = jnp.asarray(self.probabilities, self.dtype)
        below = jnp.cumsum(weights, axis=-1)
        above = jnp.flip(jnp.cumsum(jnp.flip(weights, -1), axis=-1), -1)
        below, above = below / below[..., -1:], above / above[..., :1]
        above = jnp.concatenate([above[..., 1:], jnp.zeros_like(above[..., :1])], axis=-1)
        # Each sum is precise where it is the smaller one.
        low = below < 0.5
        some = above > 0
        late = jnp.where(some, -jnp.log(jnp.where(some, above, 1)), jnp.inf)
        return jnp.where(low, -jnp.log1p(-jnp.where(low, below, 0)), late)

    def hazard(self, t: ArrayLike) -> Array:
        levels = self._levels()
        after = jnp.concatenate([jnp.zeros_like(levels[..., :1]), levels], axis=-1)
        # A time that was scaled by the load and back may miss its value by a rounding.
        slack = 1 + 4 * float(jnp.finfo(self.dtype).eps)
        query = jnp.asarray(t, self.dtype) * slack
        return _look_up(jnp.asarray(self.values, self.dtype), query, after, "right")

    def inverse_hazard(self, x: ArrayLike) -> Array:
        # A hazard of zero asks for the smallest value that has any probability.
        x = jnp.maximum(jnp.asarray(x, self.dtype), jnp.finfo(self.dtype).tiny)
        return _look_up(self._levels(), x, jnp.asarray(self.values, self.dtype), "left")

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.log(self.inverse_hazard(x))


def _look_up(grid: Array, query: Array, table: Array, side: str) -> Array:
    """Entries of `table` at the places of `query` in the rising `grid`, by worker if (M, J)."""
    if grid.ndim == 1:
        found = table[jnp.searchsorted(grid, query, side=side)]
        return jnp.where(jnp.isnan(query), jnp.nan, found)
    query = jnp.broadcast_to(query, jnp.broadcast_shapes(query.shape, grid.shape[:1]))
    by_worker = jax.vmap(_look_up, in_axes=(0, -1, 0, None), out_axes=-1)
    return by_worker(grid, query, table, side)


FAMILIES: dict[str, type[Delays]] = {
    "exponential": Exponential,
    "pareto": Pareto,
    "shifted_exponential": ShiftedExponential,
    "weibull": Weibull,
    "lognormal": Lognormal,
    "gamma": Gamma,
    "hyperexponential": Hyperexponential,
    "discrete": Discrete,
}
