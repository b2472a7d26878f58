"""A name for what a thing is: the same for equal things, whatever process asks."""

import argparse
import dataclasses
import functools
import hashlib
import re
import sys
import types
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

DIGITS = 24
INSTALLED = {"site-packages", "dist-packages"}
KNOWN = {"lagc_jax", *sys.stdlib_module_names - {"__main__"}}
# Told apart by how they are written.
WRITTEN = (bool, int, float, complex, str, bytes, range, slice, np.dtype, PurePath)
DEPTH = 8  # of objects within objects that a global is followed to


def identity(thing: Any) -> str:
    """Hash of a thing's content, for keys of results.

    Numbers and arrays count by value and type, objects by class and fields (of a user's own, all
    that they hold), functions by name, code, defaults and what they close over. Of a user's own
    code, which is no installed package's, the methods of classes count as well, and the globals
    that it names, also as `module.name`: functions, classes, numbers, arrays and tables, and lists,
    sets, namespaces and objects of a user's own of these; other objects there count by their type
    alone.

    Raises:
        ValueError: for an object whose content cannot be told.

    >>> identity({"xi": 0.1}) == identity({"xi": 0.1}), identity(1) == identity(1.0)
    (True, False)
    """
    digest = hashlib.sha256()
    _feed(digest, thing, set())
    return digest.hexdigest()[:DIGITS]


def traced_identity(function: Callable[[Any], Any], argument: Any) -> str:
    """As `identity`, of the operations and numbers that a function is traced to.

    What it reads meanwhile counts as well: a file, say.
    """
    traced = jax.make_jaxpr(function)(argument)
    numbers = [one if isinstance(one, jax.Array) else np.asarray(one) for one in traced.consts]
    return identity([re.sub("0x[0-9a-fA-FX]+", "", str(traced.jaxpr)), numbers])


def _feed(digest: Any, thing: Any, seen: set[int], around: tuple[int, ...] = ()) -> None:
    """Add a thing to a digest, code of a user's own once, for it may name itself.

    Of a thing that is part of itself, one `around` it, only how far it lies outside counts.
    """
    kind = type(thing)
    digest.update(f"<{kind.__module__}.{kind.__qualname__}".encode())
    if id(thing) in around:
        digest.update(f"{len(around) - around.index(id(thing))}>".encode())
        return
    around = (*around, id(thing))
    for code in (kind, thing):
        if isinstance(code, type | types.FunctionType) and is_own(code) and id(code) not in seen:
            seen.add(id(code))
            for part in _methods(code) if isinstance(code, type) else _globals(code):
                _feed(digest, part, seen, around)
    if isinstance(thing, jax.Array) and jnp.issubdtype(thing.dtype, jax.dtypes.prng_key):
        thing = (str(jax.random.key_impl(thing)), np.asarray(jax.random.key_data(thing)))
    if thing is None or isinstance(thing, WRITTEN):
        digest.update(repr(thing).encode())
    elif isinstance(thing, np.ndarray | np.generic | jax.Array) and thing.dtype != object:
        array = np.ascontiguousarray(thing)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    elif kind is not object:  # which has no content
        for part in _parts(thing):
            _feed(digest, part, seen, around)
    digest.update(b">")


def is_own(code: Any) -> bool:
    """Whether a function or class is a user's, of no installed package and not Python's."""
    return _own_module(code.__module__ or "")


def _own_module(name: str) -> bool:
    if name.partition(".")[0] in KNOWN:
        return False
    module = sys.modules.get(name)
    if module is None or name == "__main__":
        return True
    source = getattr(module, "__file__", None)  # none where Python has it built in
    return source is not None and not INSTALLED & set(Path(source).parts)


def _methods(kind: type) -> list[Any]:
    """What a class defines itself, and its own bases."""
    found: list[Any] = [base for base in kind.__bases__ if is_own(base)]
    for name, value in sorted(vars(kind).items()):
        function = value
        if isinstance(value, staticmethod | classmethod):
            function = value.__func__
        elif isinstance(value, property | functools.cached_property):
            function = value.fget if isinstance(value, property) else value.func
        if isinstance(function, types.FunctionType):
            # What `dataclass` writes has no file, and follows from the fields.
            found += [] if function.__code__.co_filename == "<string>" else [name, function]
        elif not name.startswith("__"):
            found += [name, _followed(value)]
    return found


def _globals(function: types.FunctionType) -> list[Any]:
    """Names of globals in a function's code, and what they stand for."""
    return _named(_names(function.__code__), function.__globals__)


def _named(names: set[str], scope: Mapping[str, Any]) -> list[Any]:
    """Those of the names that a scope has, and what they stand for, also in a user's modules."""
    found: list[Any] = []
    for name in sorted(names & set(scope)):
        value = scope[name]
        found += [name, _followed(value)]
        if isinstance(value, types.ModuleType) and _own_module(value.__name__):
            found += _named(names - {name}, vars(value))
    return found


def _names(code: types.CodeType) -> set[str]:
    inner = (_names(one) for one in code.co_consts if isinstance(one, types.CodeType))
    return set(code.co_names).union(*inner)


def _followed(value: Any, depth: int = 0) -> Any:
    """A global as far as it is followed, else the name of its type."""
    if depth == DEPTH:
        return type(value)
    if isinstance(value, dict):
        return {key: _followed(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_followed(each, depth + 1) for each in _parts(value)]
    data = np.ndarray | np.generic | jax.Array | pd.DataFrame | pd.Series | pd.Index
    code = type | types.ModuleType | types.BuiltinFunctionType | types.FunctionType | np.ufunc
    if value is None or isinstance(value, (*WRITTEN, data, code, functools.partial)):
        return value
    own = is_own(type(value))
    if own and dataclasses.is_dataclass(value):
        return value
    wrapped = getattr(value, "__wrapped__", None)  # as by jax.jit
    held = isinstance(value, types.SimpleNamespace | argparse.Namespace) or own
    parts = [_followed(vars(value), depth)] if held and hasattr(value, "__dict__") else []
    wrapped = [wrapped] if isinstance(wrapped, types.FunctionType) else []
    return [type(value), *wrapped, *parts] if parts else wrapped[0] if wrapped else type(value)


def _parts(thing: Any) -> list[Any]:
    """What a thing is made of."""
    if isinstance(thing, Mapping):
        return [part for item in thing.items() for part in item]
    if isinstance(thing, list | tuple | set | frozenset):
        return sorted(thing, key=repr) if isinstance(thing, set | frozenset) else list(thing)
    if isinstance(thing, np.ndarray):  # of objects
        return [thing.shape, thing.ravel().tolist()]
    if isinstance(thing, pd.DataFrame | pd.Series | pd.Index):
        table = thing if isinstance(thing, pd.DataFrame) else thing.to_frame()
        kinds = [str(kind) for kind in table.dtypes]
        return [table.columns.tolist(), kinds, pd.util.hash_pandas_object(table).to_numpy()]
    if isinstance(thing, type | types.ModuleType | types.BuiltinFunctionType | np.ufunc):
        return [getattr(thing, "__module__", ""), getattr(thing, "__qualname__", thing.__name__)]
    if dataclasses.is_dataclass(thing):
        own = is_own(type(thing))  # where a field may count that is not compared, or is none
        named = [f.name for f in dataclasses.fields(thing) if own or f.compare]
        return [*(getattr(thing, name) for name in named), _held(thing, named) if own else {}]
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
            thing.__kwdefaults__,
            closed,
        ]
    if hasattr(thing, "__wrapped__"):
        return [thing.__wrapped__, *([_held(thing)] if is_own(type(thing)) else [])]
    if hasattr(thing, "__dict__"):
        return [_held(thing)]
    raise ValueError(
        f"{thing!r} cannot be told from others of its type, as results that are kept need; make "
        f"its class a dataclass"
    )


def _held(thing: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """What an object holds beside some names, less what its class computes once and keeps there."""
    kept = {
        name
        for kind in type(thing).__mro__
        for name, value in vars(kind).items()
        if isinstance(value, functools.cached_property)
    }
    held = getattr(thing, "__dict__", {})
    return {name: value for name, value in held.items() if name not in kept.union(without)}


def _code(code: types.CodeType) -> list[Any]:
    inner = [_code(one) if isinstance(one, types.CodeType) else one for one in code.co_consts]
    return [code.co_code, code.co_names, inner]
