"""JAX's strict modes, which are for the user's code."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

P = ParamSpec("P")
R = TypeVar("R")


def lenient(function: Callable[P, R]) -> Callable[P, R]:
    """Broadcast and promote inside a function as NumPy does, whatever modes are switched on.

    It is for numerics that meet parameters of shape () or (M,); not for what calls a function of
    the user's, who switched them on to find errors there.
    """

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*arguments, **options)

    return call


@lenient
def float_dtype(*values: Any) -> Any:
    """Dtype of what is computed from values: their own, JAX's default float where they are none."""
    return jnp.result_type(jnp.result_type(*values), 0.0)


def range_of(dtype: Any, platform: str | None = None) -> Any:
    """`finfo` of what numbers of a dtype reach, on JAX's platform if None.

    On a TPU a float64 is a pair of float32, whose range it has: anything smaller is 0.

    >>> [f"{range_of('float64', platform).max:.0e}" for platform in ("cpu", "tpu")]
    ['2e+308', '3e+38']
    """
    return jnp.finfo(jnp.float32 if (platform or jax.default_backend()) == "tpu" else dtype)
