"""Frozen dataclasses that JAX transforms see through, and the precision of products."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lagc_jax._checks import truth
from lagc_jax._display import readable

T = TypeVar("T")

# TPUs and some GPUs shorten float32 products unless asked not to.
EXACT = jax.lax.Precision.HIGHEST
SMALL = 64  # entries of an array that still count for a hash


def converted(*, converter: Callable[[Any], Any], default: Any) -> Any:
    """A field of a `pytree` that passes through `converter` before any check of the class."""
    return dataclasses.field(default=default, metadata={"converter": converter})


@dataclass_transform(frozen_default=True, field_specifiers=(converted,))
def pytree(*static: str) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass and a pytree whose fields named in `static` are metadata.

    Unlike `jax.tree_util.register_dataclass`, rebuilding from leaves skips `__post_init__`: the
    leaves may then be tracers, `in_axes` or shardings, which no check of values should meet. Two
    are equal, and have the same hash, if their metadata are and their leaves have the same values;
    a traced leaf equals itself alone. Metadata that are truths are checked to be.
    """

    def register(cls: type[T]) -> type[T]:
        check: Callable[[T], None] = getattr(cls, "__post_init__", lambda self: None)

        def convert(self: T) -> None:
            for name, converter in converters.items():
                object.__setattr__(self, name, converter(getattr(self, name)))
            for name in truths:
                object.__setattr__(self, name, truth(name, getattr(self, name)))
            check(self)

        cls.__post_init__ = convert  # type: ignore[attr-defined]
        cls.__eq__ = _equal  # type: ignore[method-assign]
        cls.__hash__ = _hash  # type: ignore[method-assign]
        cls._static = static  # type: ignore[attr-defined]
        cls = readable(dataclass(frozen=True, eq=False, repr=False)(cls))
        known = {field.name: field.metadata for field in fields(cls)}  # type: ignore[arg-type]
        converters = {n: meta["converter"] for n, meta in known.items() if "converter" in meta}
        truths = [f.name for f in fields(cls) if f.name in static and f.type in (bool, "bool")]  # type: ignore[arg-type]
        data = tuple(name for name in known if name not in static)
        keys = tuple(map(jax.tree_util.GetAttrKey, data))

        def flatten(obj: T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            return tuple(getattr(obj, n) for n in data), tuple(getattr(obj, n) for n in static)

        def flatten_with_keys(obj: T) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
            children, metadata = flatten(obj)
            return list(zip(keys, children, strict=True)), metadata

        def unflatten(metadata: tuple[Any, ...], leaves: Any) -> T:
            obj = object.__new__(cls)
            for name, value in zip(data + static, (*leaves, *metadata), strict=True):
                object.__setattr__(obj, name, value)
            return obj

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
        return cls

    return register


def _equal(self: Any, other: Any) -> bool:
    if type(self) is not type(other):
        return NotImplemented
    (mine, structure), (others, same) = jax.tree.flatten(self), jax.tree.flatten(other)
    return structure == same and all(map(_same_leaf, mine, others))


def _same_leaf(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, Tracer) or isinstance(other, Tracer):
        return False
    mine, others = _value(one), _value(other)
    unknown = mine.dtype.kind in "fc" and others.dtype.kind in "fc"  # NaN stands for it
    return np.array_equal(mine, others, equal_nan=unknown)


def _hash(self: Any) -> int:
    return hash(tuple(_content(self)))


def _content(thing: Any) -> Iterator[Any]:
    """What a hash is made of; JAX's own of a structure leaves metadata out."""
    if isinstance(thing, int | float):
        yield _named(thing)
    elif hasattr(thing, "_static"):
        yield type(thing)
        for name in (field.name for field in fields(thing)):
            value = getattr(thing, name)
            yield from (value,) if name in thing._static else _content(value)
    else:
        for leaf in jax.tree.leaves(thing):
            if isinstance(leaf, Tracer):
                yield id(leaf)
            elif np.size(leaf) <= SMALL:
                yield from map(_named, _value(leaf).ravel().tolist())


def _named(number: Any) -> Any:
    """A number, and NaN as a word, for its hash is that of the object."""
    return number if number == number else "NaN"


def _value(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(leaf))
    return np.asarray(leaf)
