"""Checks made once, at the public door: each names the argument, its value and the remedy."""

import contextlib
import inspect
import math
import operator
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

T = TypeVar("T")
INSIDE = (
    *(os.path.dirname(path) + os.sep for path in (__file__, jax.__file__)),
    contextlib.__file__,
)


def warn(message: str) -> None:
    """Give a RuntimeWarning at the user's line: the first caller outside of the package and JAX."""
    level, frame = 1, sys._getframe()
    while frame.f_code.co_filename.startswith(INSIDE) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)


def concrete(value: Any) -> np.ndarray | None:
    """Return `value` as a NumPy array, or None where any of it is traced and so unknown."""
    return None if _is_traced(value) else np.asarray(value)


def _is_traced(value: Any) -> bool:
    leaves = jax.tree.leaves(value) if isinstance(value, list | tuple) else [value]
    return any(isinstance(leaf, Tracer) for leaf in leaves)


def as_leaf(value: Any) -> Any:
    """A list or tuple as one array, not a pytree of its entries; anything else as it is.

    Half precision becomes float32: its random words would round to 0 and 1.
    """
    if isinstance(value, list | tuple):
        value = (jnp if _is_traced(value) else np).asarray(value)
    dtype = getattr(value, "dtype", None)
    half = (
        isinstance(dtype, np.dtype) and jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4
    )
    return value.astype(np.float32) if half else value


def whole_number(name: str, value: Any, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`; raise ValueError if it is not one."""
    try:
        size = operator.index(value)
    except TypeError:
        raise ValueError(f"{name}={value!r} is not a whole number; give an int") from None
    if isinstance(value, bool | np.bool_) or size < minimum:
        raise ValueError(f"{name}={value!r} is too small; give a whole number >= {minimum}")
    return size


def whole_numbers(name: str, values: Any, minimum: int = 1) -> list[int]:
    """Return a list's entries as ints of at least `minimum`; raise ValueError if they are none."""
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise ValueError(f"{name}={values!r} is no list; give one of whole numbers")
    return [whole_number(name, value, minimum) for value in values]


def truth(name: str, value: Any) -> bool:
    """Return `value` as a bool; raise ValueError unless it is one: "no" would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}={value!r} is no truth; give True or False")
    return bool(value)


def one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Raise ValueError unless `value` is one of some words."""
    words = tuple(known)
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name}={value!r} is unknown; give one of {words}")


def file_path(name: str, value: Any) -> None:
    """Raise ValueError unless `value` may be the path of a file."""
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{name}={value!r} is no path; give that of a file, as text or a Path")


def an_array(name: str, value: Any) -> np.ndarray | None:
    """Return a concrete `value` as an array, None if traced; raise ValueError where it is none."""
    if np.ma.is_masked(value):
        raise ValueError(
            f"{name} has masked entries; give an array without, NaN where one is missing"
        )
    try:
        return concrete(value)
    except ValueError:
        raise ValueError(
            f"{name} is ragged; give rows of equal lengths, padded if need be"
        ) from None
    except TypeError as error:  # random keys, say
        raise ValueError(f"{name} is no array of numbers ({error}); give floats") from None


def real_array(name: str, value: Any) -> np.ndarray | None:
    """Return a concrete `value` as a real array, None if traced; raise ValueError for text etc."""
    array = an_array(name, value)
    known = (jnp.floating, jnp.integer)
    kind = None if array is None else array.dtype
    if kind is not None and (kind.kind == "m" or not any(jnp.issubdtype(kind, k) for k in known)):
        raise ValueError(f"{name}={value!r} is not a real number or an array of them; give floats")
    return array


def positive(name: str, value: Any) -> None:
    """Raise ValueError unless every known entry of `value` is positive and finite."""
    array = real_array(name, value)
    if array is not None and not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(f"{name}={value} must be positive and finite; give {name} > 0")


def positive_number(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is one number that, if known, is positive and finite."""
    positive(name, value)
    scalar(name, value)


def not_negative_number(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is one number that, if known, is finite and not negative."""
    not_negative(name, value)
    scalar(name, value)


def finite(name: str, value: Any) -> np.ndarray | None:
    """Return a concrete `value` as an array, None if traced; raise ValueError if not finite."""
    array = real_array(name, value)
    if array is not None and not _large_and_finite(array):
        good = np.isfinite(array)
        if not good.all():
            where = tuple(int(i) for i in np.argwhere(~good)[0])
            place = list(where) if where else ""
            raise ValueError(
                f"{name}{place}={array[where]} is not finite; remove or replace such entries"
            )
    return array


def _large_and_finite(array: np.ndarray) -> bool:
    """Whether many numbers have a finite sum (of squares), so that each is: without a mask."""
    if array.size <= 2**20:
        return False
    array = array.T if array.flags.f_contiguous else array
    with np.errstate(all="ignore"):  # a product of what lies apart would copy it
        total = np.vdot(array, array) if array.flags.c_contiguous else array.sum()
    return bool(np.isfinite(total))


def one_axis(name: str, value: Any, minimum: int = 0) -> None:
    """Raise ValueError unless `value` is a number or a list of at least `minimum` of them."""
    shape = _shape(name, value)
    if len(shape) > 1 or math.prod(shape) < minimum:
        raise ValueError(f"{name} has shape {shape}; give a list of at least {minimum} numbers")


def not_negative(name: str, value: Any) -> None:
    """Raise ValueError unless every known entry of `value` is finite and not negative."""
    array = real_array(name, value)
    if array is not None and not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{name}={value} must be finite and not negative; give {name} >= 0")


def probability(name: str, value: Any) -> None:
    """Raise ValueError unless every known entry of `value` lies in [0, 1]."""
    array = real_array(name, value)
    if array is not None and not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name}={value} must lie in [0, 1]; give a probability")


def shaped(name: str, value: Any, shapes: Sequence[tuple[int, ...]], remedy: str) -> None:
    """Raise ValueError, with what to give, unless `value` has one of some shapes."""
    if (shape := _shape(name, value)) not in shapes:
        raise ValueError(f"{name} has shape {shape}; give {remedy}")


def _shape(name: str, value: Any) -> tuple[int, ...]:
    """The shape of a value; raise ValueError for a ragged list."""
    if isinstance(value, list | tuple):
        an_array(name, value)
    return np.shape(as_leaf(value))


def scalar(name: str, value: Any) -> None:
    """Raise ValueError unless `value` has shape ()."""
    shaped(name, value, [()], "a scalar, and batch with jax.vmap")


def one_or_each(name: str, value: Any, num_workers: int) -> None:
    """Raise ValueError unless `value` has shape () or (M,)."""
    remedy = f"() or ({num_workers},), one value a worker, and batch with jax.vmap"
    shaped(name, value, [(), (num_workers,)], remedy)


def code_sizes(group_size: Any, redundancy: Any) -> tuple[int, int]:
    """Return `n` and `r` as ints; raise ValueError unless `1 <= r <= n`."""
    n, r = whole_number("group_size", group_size), whole_number("redundancy", redundancy)
    if r > n:
        raise ValueError(f"redundancy={r} exceeds group_size={n}; give 1 <= redundancy <= n")
    return n, r


def finite_data(name: str, value: Any) -> np.ndarray:
    """Return data as a float64 array; raise ValueError where they are not finite numbers."""
    return known_data(name, value).astype(np.float64)


def known_data(name: str, value: Any) -> np.ndarray:
    """Return data as they are, in an array; raise ValueError where they are not finite numbers."""
    array = finite(name, value)
    if array is None:
        raise ValueError(f"{name} is traced; build the problem outside jit and vmap")
    return array.astype(np.float64) if array.dtype == np.longdouble else array


def check_part(name: str, part: Any, kind: type, remedy: str) -> None:
    """Raise ValueError unless `part` is an object that has everything that `kind` declares."""
    declared = (key for key in vars(kind) if not key.startswith("_"))
    missing = next((key for key in declared if not hasattr(part, key)), None)
    if isinstance(part, type) or missing is not None:
        why = "a class, no object" if isinstance(part, type) else f"it has no `{missing}`"
        raise ValueError(f"{name}={part!r} is no {kind.__name__} ({why}); give {remedy}")


def takes(name: str, function: Callable, *arguments: str) -> None:
    """Raise ValueError unless a function of the user's own can be called with these arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        if callable(function):
            return  # compiled code does not tell
        raise ValueError(f"{name}={function!r} is no function; give one") from None
    try:
        signature.bind(*arguments)
    except TypeError:
        wanted = ", ".join(arguments)
        raise ValueError(f"{name} takes {signature}; let it take ({wanted})") from None


def takes_as(name: str, own: Any, kind: type, *methods: str) -> None:
    """Raise ValueError unless an object's methods take what those of its protocol do."""
    for method in methods:
        promised = list(inspect.signature(getattr(kind, method)).parameters.values())[1:]
        needed = (each.name for each in promised if each.default is each.empty)
        takes(f"`{method}` of {name}", getattr(own, method), *needed)


def hashable(name: str, value: T, remedy: str) -> T:
    """Return `value`, on which programs are keyed; raise ValueError if it has no hash."""
    try:
        hash(value)
    except TypeError:
        raise ValueError(f"{name}={value!r} cannot be hashed; {remedy}") from None
    return value


def check_iterates(name: str, value: Any, num_iterations: float) -> None:
    """Raise ValueError unless every known entry of `value` is a whole number from 0 to K."""
    k = real_array(name, value)
    if k is not None and not ((k >= 0) & (k <= num_iterations) & (k % 1 == 0)).all():
        raise ValueError(f"{name}={value} must be whole numbers from 0 to {num_iterations}")


def check_record(record: Any) -> None:
    """Raise ValueError unless `record` is a function, or None."""
    if record is not None and not callable(record):
        raise ValueError(f"record={record!r} is no function; give one of an iterate to arrays")
    if record is not None:
        takes("record", record, "theta")
    hashable("record", record, "give a function")
