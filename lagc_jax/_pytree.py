"""Frozen dataclasses that JAX transforms see through, and the precision of products."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")

# TPUs and some GPUs shorten float32 products unless asked not to.
EXACT = jax.lax.Precision.HIGHEST


@dataclass_transform(frozen_default=True)
def pytree(*static: str) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass and a pytree whose fields named in `static` are metadata.

    Unlike `jax.tree_util.register_dataclass`, rebuilding from leaves skips `__post_init__`: the
    leaves may then be tracers, `in_axes` or shardings, which no check of values should meet.
    """

    def register(cls: type[T]) -> type[T]:
        cls = dataclass(frozen=True, eq=False)(cls)
        data = tuple(f.name for f in fields(cls) if f.name not in static)  # type: ignore[arg-type]

        def flatten_with_keys(obj: T) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
            children = [(jax.tree_util.GetAttrKey(name), getattr(obj, name)) for name in data]
            return children, tuple(getattr(obj, name) for name in static)

        def unflatten(metadata: tuple[Any, ...], leaves: Any) -> T:
            obj = object.__new__(cls)
            for name, value in zip(data + static, (*leaves, *metadata), strict=True):
                object.__setattr__(obj, name, value)
            return obj

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten)
        return cls

    return register
