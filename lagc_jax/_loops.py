"""Loops that also run in a `jax.shard_map` that checks what varies between its devices.

There, what a loop begins with has to vary like what it ends with: zeros that keys or delays are
added to are refused, since they are alike on all devices. `jax.lax` has no loop that sees to it.
"""

from collections.abc import Callable
from typing import Any

import jax


def scan(step: Callable, start: Any, given: Any, **options: Any) -> tuple[Any, Any]:
    """`jax.lax.scan`."""

    def ends(carry: Any) -> Any:
        return step(carry, jax.tree.map(lambda leaf: leaf[0], given))[0]

    def run(begun: Callable, start: Any) -> tuple[Any, Any]:
        def alike(carry: Any, item: Any) -> tuple[Any, Any]:
            carry, made = step(carry, item)
            return begun(carry), made

        return jax.lax.scan(alike, start, given, **options)

    return _loop(lambda: jax.lax.scan(step, start, given, **options), run, ends, start)


def fori_loop(first: Any, last: Any, step: Callable, start: Any) -> Any:
    """`jax.lax.fori_loop`."""

    def run(begun: Callable, start: Any) -> Any:
        return jax.lax.fori_loop(first, last, lambda i, carry: begun(step(i, carry)), start)

    return _loop(
        lambda: jax.lax.fori_loop(first, last, step, start), run, lambda c: step(first, c), start
    )


def while_loop(unfinished: Callable, step: Callable, start: Any) -> Any:
    """`jax.lax.while_loop`."""

    def run(begun: Callable, start: Any) -> Any:
        return jax.lax.while_loop(unfinished, lambda carry: begun(step(carry)), start)

    return _loop(lambda: jax.lax.while_loop(unfinished, step, start), run, step, start)


def _loop(
    plain: Callable[[], Any], run: Callable[[Callable, Any], Any], ends: Callable, start: Any
) -> Any:
    """A loop as it is, or in a `shard_map` that refuses it with a carry that varies as it ends.

    A leaf varies between those devices alone between which it does: one that is marked to without
    need could not leave the `shard_map` for all, and its gradient would be a sum over them.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return plain()
    try:
        return plain()
    except TypeError:
        pass
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
