"""A scan that stops where a path has come within its accuracy."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._loops import scan, while_loop

# Most iterations between two looks at whether a path has reached its accuracy: fewer stop sooner,
# more copy the record of a batch less often.
STRETCH = 32


def scan_until(
    iterate: Callable, start: Any, num_iterations: int, accuracy: ArrayLike
) -> tuple[Any, Any, Array]:
    """Scan in stretches, and stop after the one in which the gap came within the accuracy."""
    size = _stretch(num_iterations)
    stretches, rest = divmod(num_iterations, size)
    iterate = jax.jit(iterate)  # traced once for the shapes and both scans

    def blank(leaf: jax.ShapeDtypeStruct) -> Array:
        return jnp.full((stretches, size, *leaf.shape), _not_run(leaf.dtype), leaf.dtype)

    def unfinished(carry: tuple) -> Array:
        return (carry[0] < stretches) & ~carry[3]

    def run(carry: tuple) -> tuple:
        i, state, kept, _ = carry
        state, made = scan(iterate, state, None, length=size)
        gap = made[0][0]
        done = jnp.any(gap <= accuracy) | ~jnp.isfinite(gap[-1])
        return i + 1, state, jax.tree.map(lambda old, new: old.at[i].set(new), kept, made), done

    kept = jax.tree.map(blank, jax.eval_shape(iterate, start, None)[1])
    carry = (0, start, kept, jnp.zeros((), bool))
    _, state, kept, done = while_loop(unfinished, run, carry)
    if rest:
        last, made = scan(iterate, state, None, length=rest)
        last = jax.tree.map(lambda old, new: jnp.where(done, old, new), state, last)
    else:
        last, made = state, jax.tree.map(lambda leaf: leaf[0, :0], kept)

    def join(old: Array, new: Array) -> Array:
        new = jnp.where(done, _not_run(new.dtype), new)
        return jnp.concatenate([old.reshape(-1, *old.shape[2:]), new])

    seen, selected = jax.tree.map(join, kept, made)
    overflowed = ~jnp.all(jnp.isfinite(last.theta))
    return last, seen, selected | (jnp.isnan(seen[0])[:, None] & overflowed)


def _stretch(num_iterations: int) -> int:
    """A divisor of K if there is one of a fair size: what is left over is a program of its own."""
    largest = min(STRETCH, num_iterations)
    divisors = (size for size in range(largest, 15, -1) if num_iterations % size == 0)
    return next(divisors, largest)


def _not_run(dtype: jnp.dtype) -> Array:
    """What stands for an iterate that was not run: NaN, or 0 where there is none."""
    return jnp.asarray(jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)
