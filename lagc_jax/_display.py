"""How results and objects are shown: a line each, a table in notebooks."""

import dataclasses
import html
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

T = TypeVar("T")
SHORT = 6  # entries of an array that are shown one by one
LONG = 200  # letters of anything else


def readable(cls: type[T]) -> type[T]:
    """Give a NamedTuple or dataclass a short repr, and a table in notebooks."""
    cls.__repr__ = _one_line  # type: ignore[method-assign, assignment]
    cls._repr_html_ = _table  # type: ignore[attr-defined]
    return cls


def _fields(thing: Any) -> dict[str, Any]:
    names = getattr(thing, "_shown", ()) or getattr(thing, "_fields", ())
    names = names or [f.name for f in dataclasses.fields(thing) if f.repr]
    return {name: getattr(thing, name) for name in names}


def _one_line(self: Any) -> str:
    parts = (f"{name}={brief(value)}" for name, value in _fields(self).items())
    return f"{type(self).__name__}({', '.join(parts)})"


def _table(self: Any) -> str:
    rows = "".join(
        f"<tr><td>{name}</td><td>{html.escape(brief(value))}</td></tr>"
        for name, value in _fields(self).items()
    )
    return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


def brief(value: Any) -> str:
    """A value in a few words: short arrays by their entries, long ones by shape and range."""
    if not isinstance(value, jax.Array | np.ndarray | np.generic):
        text = getattr(value, "__qualname__", None) or repr(value)
        return text if len(text) <= LONG else f"{text[: LONG - 2]}.."
    kind = f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, Tracer) or jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return kind
    if isinstance(value, jax.Array) and (value.is_deleted() or not value.is_fully_addressable):
        return kind
    known = np.asarray(value)
    if known.ndim == 0:
        return f"{known.item():.6g}" if known.dtype.kind == "f" else str(known.item())
    if known.size <= SHORT:
        return np.array2string(known, separator=", ", precision=6).replace("\n", "")
    if known.dtype.kind == "b":
        return f"{kind} {known.mean():.3g} true"
    if known.dtype.kind in "iuf":
        return f"{kind} from {known.min():.3g} to {known.max():.3g}"
    return kind
