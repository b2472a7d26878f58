"""Loops that also run in a `jax.shard_map` that checks what varies between its devices.

There, what a loop begins with has to vary like what it ends with: zeros that keys or delays are
added to are refused, since they are alike on all devices. `jax.lax` has no loop that sees to it.
"""

from collections.abc import Callable
from typing import Any

import jax


def scan(step: Callable, start: Any, given: Any, **options: Any) -> tuple[Any, Any]:
    """`jax.lax.scan`."""

    def run(alike: Callable, start: Any) -> tuple[Any, Any]:
        def move(carry: Any, item: Any) -> tuple[Any, Any]:
            carry, made = step(carry, item)
            return alike(carry), made

        return jax.lax.scan(move, start, given, **options)

    def end(carry: Any) -> Any:
        return step(carry, jax.tree.map(lambda leaf: leaf[0], given))[0]

    return _loop(run, end, start)


def fori_loop(first: Any, last: Any, step: Callable, start: Any) -> Any:
    """`jax.lax.fori_loop`."""

    def run(alike: Callable, start: Any) -> Any:
        return jax.lax.fori_loop(first, last, lambda i, carry: alike(step(i, carry)), start)

    return _loop(run, lambda carry: step(first, carry), start)


def while_loop(unfinished: Callable, step: Callable, start: Any) -> Any:
    """`jax.lax.while_loop`."""

    def run(alike: Callable, start: Any) -> Any:
        return jax.lax.while_loop(unfinished, lambda carry: alike(step(carry)), start)

    return _loop(run, step, start)


def _loop(run: Callable[[Callable, Any], Any], ends: Callable, start: Any) -> Any:
    """A loop as it is, or in a `shard_map` that refuses it with a carry that varies as it ends.

    A leaf varies between those devices alone between which it does: one that is marked to without
    need could not leave the `shard_map` for all, and its gradient would be a sum over them.

    Args:
        run: the loop, of what makes a step's carry like the first, and of that.
        ends: a step, of a carry.
        start: the first carry.
    """
    try:
        return run(lambda carry: carry, start)
    except TypeError:
        if not jax.sharding.get_abstract_mesh().manual_axes:
            raise
    end = jax.eval_shape(ends, start)
    while any(jax.tree.leaves(jax.tree.map(_varies_less, start, end))):
        start = jax.tree.map(_vary_as, start, end)
        end = jax.eval_shape(ends, start)
    begun = jax.tree.map(jax.typeof, start)
    return run(lambda carry: jax.tree.map(_vary_as, carry, begun), start)


def _axes(value: Any) -> frozenset[str]:
    """The axes of a mesh that a value or its kind varies along."""
    kind = value if hasattr(value, "manual_axis_type") else jax.typeof(value)
    return kind.manual_axis_type.varying


def _varies_less(leaf: Any, kind: Any) -> bool:
    return not _axes(kind) <= _axes(leaf)


def _vary_as(leaf: Any, kind: Any) -> Any:
    """A leaf that varies also along the axes that a kind does."""
    missing = tuple(_axes(kind) - _axes(leaf))
    return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf
