"""Families of computing times beyond the exponential and the Pareto ones, and all by name."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln, log_ndtr, ndtr
from jax.typing import ArrayLike

from lagc_jax._checks import concrete, finite, not_negative, probability
from lagc_jax._modes import range_of
from lagc_jax._pytree import pytree
from lagc_jax.delays._inverses import gamma_hazard, iterate, normal_inverse
from lagc_jax.delays.base import Delays, Exponential, Family, Pareto
from lagc_jax.delays.discrete import Discrete


def _positive_part(t: ArrayLike) -> Array:
    return jnp.maximum(jnp.asarray(t), 0)


@pytree()
class ShiftedExponential(Family):
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

    checks: ClassVar[Mapping[str, Callable[[str, Any], Any]]] = {"shift": not_negative}

    def hazard(self, t: ArrayLike) -> Array:
        return _positive_part(jnp.asarray(t) - self.shift) * self.rate

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.asarray(x) / self.rate + self.shift


@pytree()
class Weibull(Family):
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

    def hazard(self, t: ArrayLike) -> Array:
        return (_positive_part(t) / self.scale) ** self.shape

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.asarray(x) ** (1 / jnp.asarray(self.shape)) * self.scale

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.log(jnp.asarray(x)) / self.shape + jnp.log(self.scale)


@pytree()
class Lognormal(Family):
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

    checks: ClassVar[Mapping[str, Callable[[str, Any], Any]]] = {"location": finite}

    def hazard(self, t: ArrayLike) -> Array:
        z = (jnp.log(_positive_part(t)) - self.location) / self.scale
        # Near zero the survival probability is 1 to rounding, and log_ndtr has lost the rest.
        return jnp.where(z < 0, -jnp.log1p(-ndtr(jnp.minimum(z, 0))), -log_ndtr(-z))

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.exp(self.log_inverse_hazard(x))

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return normal_inverse(x) * self.scale + self.location


@pytree()
class Gamma(Family):
    """Density proportional to `t^(shape - 1) exp(-t / scale)`; Erlang for a whole shape.

    Args:
        scale: unit of time, `mean / shape`, shape () or (M,).
        shape: inverse squared coefficient of variation, () or (M,); drawn to 1e-9 (float32 1e-5).

    Raises:
        ValueError: if a scale or a shape is not positive and finite.

    >>> f"{float(Gamma(scale=2.0, shape=1.0).survival(2.0)):.4f}"
    '0.3679'
    """

    scale: ArrayLike
    shape: ArrayLike

    def hazard(self, t: ArrayLike) -> Array:
        return gamma_hazard(jnp.asarray(_positive_part(t) / self.scale, self.dtype), self.shape)

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
            hazard = gamma_hazard(s, shape)
            underflows = hazard < range_of(s.dtype).tiny
            series = shape * u - s - gammaln(shape + 1) - jnp.log1p(-s / (shape + 1 + s))
            log_hazard = jnp.where(underflows, series, jnp.log(jnp.where(underflows, 1, hazard)))
            slope = jnp.exp(shape * u - s - gammaln(shape) + hazard - log_hazard)
            curvature = shape - s + (hazard - 1) * slope  # second over first derivative
            newton = (log_x - log_hazard) / slope
            return u + newton / jnp.clip(1 + newton * curvature / 2, 0.5, 2)

        near = (log_x + gammaln(shape + 1)) / shape
        root = 1 - 1 / (9 * shape) + normal_inverse(jnp.exp(log_x)) / (3 * jnp.sqrt(shape))
        cube = jnp.log(shape) + 3 * jnp.log(jnp.maximum(root, 1e-3))
        above = jnp.maximum(jnp.maximum(near, log_x), cube)
        start = jnp.where(shape < 1, jnp.minimum(near, log_x), above)
        beyond = jnp.where(x > 0, jnp.inf, -jnp.inf)
        u = jnp.where(usual, iterate(step, start, (log_x, shape)), beyond)
        return u + jnp.log(self.scale)


@pytree()
class Hyperexponential(Family):
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
    checks: ClassVar[Mapping[str, Callable[[str, Any], Any]]] = {"slow_share": probability}

    def __post_init__(self) -> None:
        super().__post_init__()
        fast, slow = concrete(self.rate), concrete(self.slow_rate)
        try:
            np.broadcast_shapes(np.shape(self.rate), np.shape(self.slow_rate))
        except ValueError:
            raise ValueError(
                f"slow_rate has shape {np.shape(self.slow_rate)} but rate has shape "
                f"{np.shape(self.rate)}; give one number or one a worker"
            ) from None
        if fast is not None and slow is not None and (slow > fast).any():
            raise ValueError(
                f"slow_rate={self.slow_rate} exceeds rate={self.rate}; give slow_rate <= rate"
            )

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
        return jnp.where(x < jnp.inf, iterate(step, start, inputs) * unit, jnp.inf)


class Shifted(Family):
    """A family of times that are another one's, `excess`, after a smallest time `shift`."""

    excess: ClassVar[type[Family]]
    shift: ArrayLike

    checks: ClassVar = {"shift": not_negative, "location": finite}

    @property
    def over(self) -> Family:
        """The family of the excess over the shift."""
        return self.excess(**{name: leaf for name, leaf in vars(self).items() if name != "shift"})

    def hazard(self, t: ArrayLike) -> Array:
        return self.over.hazard(jnp.asarray(t) - self.shift)

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return self.over.inverse_hazard(x) + self.shift

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        # Either form where its exponential does not overflow.
        log_excess = self.over.log_inverse_hazard(x)
        small, large = jnp.minimum(log_excess, 0), jnp.maximum(log_excess, 0)
        above = large + jnp.log1p(self.shift * jnp.exp(-large))
        return jnp.where(log_excess > 0, above, jnp.log(self.shift + jnp.exp(small)))


@pytree()
class ShiftedWeibull(Shifted):
    """A Weibull time after a start-up: `P(tau > t) = exp(-((t - shift) / scale)^shape)`.

    Args:
        shift: smallest possible time, shape () or (M,); may be 0.
        scale: excess over it that is exceeded with probability `1/e`, shape () or (M,).
        shape: power of the hazard, shape () or (M,).

    Raises:
        ValueError: if a shift is negative, a scale or a shape not positive, or one is not finite.

    >>> float(ShiftedWeibull(shift=1.0, scale=2.0, shape=3.0).hazard(5.0))
    8.0
    """

    shift: ArrayLike
    scale: ArrayLike
    shape: ArrayLike

    excess: ClassVar[type[Family]] = Weibull


@pytree()
class ShiftedLognormal(Shifted):
    """A lognormal time after a start-up: `log(tau - shift)` is normal.

    Args:
        shift: smallest possible time, shape () or (M,); may be 0.
        location: mean of the logarithm of the excess over it, any real number, shape () or (M,).
        scale: its standard deviation, shape () or (M,).

    Raises:
        ValueError: if a shift is negative, a scale not positive, or one is not finite.

    >>> float(ShiftedLognormal(shift=1.0, location=0.0, scale=1.5).quantile(0.5))
    2.0
    """

    shift: ArrayLike
    location: ArrayLike
    scale: ArrayLike

    excess: ClassVar[type[Family]] = Lognormal


@pytree()
class ShiftedGamma(Shifted):
    """A gamma time after a start-up, of density as `(t - shift)^(shape - 1) exp(-t / scale)`.

    Args:
        shift: smallest possible time, shape () or (M,); may be 0.
        scale: unit of the excess over it, shape () or (M,).
        shape: mean excess in that unit, shape () or (M,).

    Raises:
        ValueError: if a shift is negative, a scale or a shape not positive, or one is not finite.

    >>> f"{float(ShiftedGamma(shift=1.0, scale=2.0, shape=1.0).survival(3.0)):.4f}"
    '0.3679'
    """

    shift: ArrayLike
    scale: ArrayLike
    shape: ArrayLike

    excess: ClassVar[type[Family]] = Gamma


FAMILIES: dict[str, type[Delays]] = {
    "exponential": Exponential,
    "pareto": Pareto,
    "shifted_exponential": ShiftedExponential,
    "weibull": Weibull,
    "lognormal": Lognormal,
    "gamma": Gamma,
    "hyperexponential": Hyperexponential,
    "discrete": Discrete,
    "shifted_weibull": ShiftedWeibull,
    "shifted_lognormal": ShiftedLognormal,
    "shifted_gamma": ShiftedGamma,
}
