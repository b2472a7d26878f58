"""Cumulative hazards and their inverses where no closed form serves.

They are inverted by Newton's method on the hazard, so that their precision in the far tail is that
of the logarithm of the survival probability.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammainc, gammaincc, gammaln, log_ndtr, ndtri
from jax.typing import ArrayLike

from lagc_jax._loops import while_loop
from lagc_jax._modes import float_dtype, range_of


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def iterate(step: Callable[[Array, Any], Array], start: Array, inputs: Any) -> Array:
    """Repeat a step of Newton's or Halley's method until it moves by half of the digits at most.

    A last step then gives the other half. Derivatives, by the inputs and of any order, are those of
    the point where a step stays: the implicit function theorem.
    """
    tolerance = math.sqrt(jnp.finfo(start.dtype).eps)

    def moves(carry: tuple[Array, Array, Array]) -> Array:
        point, last, count = carry
        settled = jnp.abs(point - last) <= tolerance * jnp.maximum(jnp.abs(point), 1)
        return (count < 60) & ~jnp.all(settled)

    def advance(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        point, _, count = carry
        return step(point, inputs), point, count + 1

    first = (start, jnp.full_like(start, jnp.inf), jnp.zeros((), jnp.int32))
    return step(while_loop(moves, advance, first)[0], inputs)


@iterate.defjvp
def _iterate_jvp(
    step: Callable[[Array, Any], Array], given: tuple[Array, Any], moved: tuple[Array, Any]
) -> tuple[Array, Array]:
    """There a step does not depend on its point, to first order, but on the inputs alone."""
    start, inputs = given
    found = iterate(step, start, inputs)
    return found, jax.jvp(partial(step, found), (inputs,), (moved[1],))[1]


def normal_inverse(x: ArrayLike) -> Array:
    """Value that a standard normal exceeds with probability `exp(-x)`.

    Either tail is inverted from its own probability, which is the precise one. Where `exp(-x)`
    underflows, Newton's method solves for its logarithm, nearly quadratic in the value: from the
    first two terms of the expansion three steps reach rounding.
    """
    x = jnp.asarray(x, float_dtype(x))
    largest = jnp.asarray(-0.9 * jnp.log(range_of(x.dtype).tiny), x.dtype)
    low, high = jnp.minimum(x, math.log(2)), jnp.clip(x, math.log(2), largest)
    body = jnp.where(x < math.log(2), ndtri(-jnp.expm1(-low)), -ndtri(jnp.exp(-high)))
    beyond = jnp.maximum(x, largest)
    z = jnp.sqrt(2 * beyond - jnp.log(4 * math.pi * beyond))
    for _ in range(3):
        log_survival = log_ndtr(-z)
        log_rate = -(z**2) / 2 - math.log(2 * math.pi) / 2 - log_survival
        z = z + (beyond + log_survival) * jnp.exp(-log_rate)
    return jnp.where(x > largest, jnp.where(x < jnp.inf, z, x), body)


def gamma_hazard(s: Array, shape: ArrayLike) -> Array:
    """Cumulative hazard of the gamma law of scale 1.

    Where the survival probability underflows, its leading asymptotic term stands for it: it is
    good to `1 / s`, relative, at hazards that weigh nothing in a moment.
    """
    s, shape = jnp.broadcast_arrays(s, jnp.asarray(shape, s.dtype))
    below, above = gammainc(shape, s), gammaincc(shape, s)
    tiny = range_of(s.dtype).tiny ** 0.9
    large = jnp.maximum(s, jnp.maximum(shape, 1))
    beyond = large - (shape - 1) * jnp.log(large) + gammaln(shape)
    beyond = beyond + jnp.log1p(-(shape - 1) / (large + 1))
    body = jnp.where(
        below < 0.5, -jnp.log1p(-jnp.minimum(below, 0.5)), -jnp.log(jnp.maximum(above, tiny))
    )
    beyond = jnp.where(s < jnp.inf, beyond, s)
    return jnp.where((above < tiny) & (below > 0.5), beyond, body)
