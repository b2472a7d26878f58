"""A name for what a thing is: the same for equal things, whatever process asks."""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

DIGITS = 24


def identity(thing: Any) -> str:
    """Hash of a thing's content, for keys of results.

    Numbers and arrays count by value and type, objects by class and fields, functions by name, code
    and what they close over.

    Raises:
        ValueError: for an object whose content cannot be told.

    >>> identity({"xi": 0.1}) == identity({"xi": 0.1}), identity(1) == identity(1.0)
    (True, False)
    """
    digest = hashlib.sha256()
    _feed(digest, thing)
    return digest.hexdigest()[:DIGITS]


def _feed(digest: Any, thing: Any) -> None:
    kind = type(thing)
    digest.update(f"<{kind.__module__}.{kind.__qualname__}".encode())
    if isinstance(thing, jax.Array) and jnp.issubdtype(thing.dtype, jax.dtypes.prng_key):
        thing = (str(jax.random.key_impl(thing)), np.asarray(jax.random.key_data(thing)))
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
        digest.update(repr(thing).encode())
    elif isinstance(thing, np.ndarray | np.generic | jax.Array):
        array = np.ascontiguousarray(thing)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    else:
        for part in _parts(thing):
            _feed(digest, part)
    digest.update(b">")


def _parts(thing: Any) -> list[Any]:
    """What a thing is made of."""
    if isinstance(thing, Mapping):
        return [part for item in thing.items() for part in item]
    if isinstance(thing, list | tuple | set | frozenset):
        return sorted(thing, key=repr) if isinstance(thing, set | frozenset) else list(thing)
    if isinstance(thing, type | types.ModuleType | types.BuiltinFunctionType | np.ufunc):
        return [getattr(thing, "__module__", ""), getattr(thing, "__qualname__", thing.__name__)]
    if dataclasses.is_dataclass(thing):
        return [getattr(thing, f.name) for f in dataclasses.fields(thing) if f.compare]
    if isinstance(thing, jax.tree_util.PyTreeDef):
        return [thing.node_data(), thing.children()]
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, types.FunctionType):
        closed = [cell.cell_contents for cell in thing.__closure__ or ()]
        return [
            thing.__module__,
            thing.__qualname__,
            *_code(thing.__code__),
            thing.__defaults__,
            closed,
        ]
    if hasattr(thing, "__wrapped__"):
        return [thing.__wrapped__]
    if hasattr(thing, "__dict__"):
        return [vars(thing)]
    raise ValueError(
        f"{thing!r} cannot be told from others of its type, as results that are kept need; make "
        f"its class a dataclass"
    )


def _code(code: types.CodeType) -> list[Any]:
    inner = [_code(one) if isinstance(one, types.CodeType) else one for one in code.co_consts]
    return [code.co_code, code.co_names, inner]
