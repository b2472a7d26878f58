"""How long messages to the server are, in vectors (d,) of numbers of 32 bits: what a link carries.

A scheme whose messages are all alike has one size. Where their bits depend on the iteration, so
does the size, and a link holds `Sizes` in place of a number.
"""

from dataclasses import replace

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._pytree import pytree
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.contract import message_bits
from lagc_jax.schemes.rules import FLOAT_BITS


@pytree("num_parameters")
class Sizes:
    """Sizes that depend on the number of the iteration; made by `upload_size`.

    Attributes:
        scheme: whose messages they are, without its weights.
        num_parameters: `d`; static.
    """

    scheme: Scheme
    num_parameters: int

    def at(self, k: ArrayLike) -> Array:
        """Sizes (...,) of the messages of iterations `k` (...,)."""
        k = jnp.asarray(k)
        bits = message_bits(self.scheme, self.num_parameters, k.ravel()).reshape(k.shape)
        whole = FLOAT_BITS * self.num_parameters
        # Compilers divide by one number through its inverse, which makes no 1 of all vectors.
        return jnp.where(bits == whole, 1.0, bits / whole)


def upload_size(scheme: Scheme, num_parameters: int | None) -> float | Sizes:
    """Size of a message of a scheme.

    Raises:
        ValueError: if it depends on a number of parameters that is not known, or varies with the
            iteration where workers have none in common.
    """
    tried = (num_parameters,) if num_parameters else (1, 2**20)
    sizes = {message_bits(scheme, d) / (FLOAT_BITS * d) for d in tried}
    size = sizes.pop()
    if not sizes and size >= 0:
        return float(size)
    if num_parameters and not scheme.event_driven:
        return Sizes(replace(scheme, xi=0.0), num_parameters)
    why = "depends on the number of parameters" if sizes else "varies with the iteration"
    raise ValueError(
        f"upload_size=None, but the size of a message of trigger={str(scheme.trigger)!r} {why}; "
        f"give upload_size"
    )
