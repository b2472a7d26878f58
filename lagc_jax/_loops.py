"""Loops that also run in a `jax.shard_map` that checks what varies between its devices.

There, what a loop begins with has to vary like what it ends with: zeros that keys or delays are
added to are refused, since they are alike on all devices. `jax.lax` has no loop that sees to it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def scan(step: Callable, start: Any, given: Any, **options: Any) -> tuple[Any, Any]:
    """`jax.lax.scan`."""
    return _loop(lambda step, start: jax.lax.scan(step, start, given, **options), step, start)


def fori_loop(first: Any, last: Any, step: Callable, start: Any) -> Any:
    """`jax.lax.fori_loop`."""
    return _loop(lambda step, start: jax.lax.fori_loop(first, last, step, start), step, start)


def while_loop(unfinished: Callable, step: Callable, start: Any) -> Any:
    """`jax.lax.while_loop`."""
    return _loop(lambda step, start: jax.lax.while_loop(unfinished, step, start), step, start)


def _loop(run: Callable[[Callable, Any], Any], step: Callable, start: Any) -> Any:
    """Run a loop, in which all varies between all devices only where JAX does not take it as it is.

    What need not vary does not then, and may leave the `shard_map` as one for all devices.
    """
    axes = tuple(jax.sharding.get_abstract_mesh().manual_axes)
    if not axes:
        return run(step, start)
    try:
        return run(step, start)
    except TypeError:
        never = jax.lax.axis_index(axes) < 0  # the compiler knows, too

        def spread(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: jnp.where(never, leaf, leaf), tree)

        return run(lambda *given: spread(step(*given)), spread(start))
