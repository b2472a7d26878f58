"""Results as tables and files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def frame(columns: Mapping[str, Any], leading: bool, index: str) -> "pd.DataFrame":
    """A row an entry of the last axis, and of the leading axes of vmapped runs, counted in `run`.

    Columns are arrays of one shape, or of its leading axes.
    """
    import pandas as pd

    arrays = {name: np.asarray(values) for name, values in columns.items()}
    shape = max((values.shape for values in arrays.values()), key=len)
    size = shape[-1]

    def spread(values: np.ndarray) -> np.ndarray:
        full = values[..., None] if values.ndim < len(shape) else values
        return np.broadcast_to(full, shape).ravel()

    runs = np.repeat(np.arange(np.prod(shape[:-1], dtype=int)), size)
    numbers = {"run": runs} if leading else {}
    numbers[index] = np.tile(np.arange(size), np.prod(shape[:-1], dtype=int))
    return pd.DataFrame(numbers | {name: spread(values) for name, values in arrays.items()})


def path_frame(gap: Any, selected: Any) -> "pd.DataFrame":
    """A row an iterate: its gap (.., K+1), and how often groups (.., K, G) have uploaded.

    Of vmapped paths `run` counts.
    """
    sent = np.cumsum(np.asarray(selected).sum(-1), axis=-1)
    uploads = np.concatenate([np.zeros_like(sent[..., :1]), sent], axis=-1)
    return frame({"gap": gap, "uploads": uploads}, np.ndim(gap) > 1, "iterate")


def save(record: Any, path: str | Path) -> None:
    """Write a NamedTuple of arrays, and of nested dicts, lists and tuples of them, as `.npz`."""
    arrays: dict[str, np.ndarray] = {}
    shape = {name: _take_apart(name, value, arrays) for name, value in record._asdict().items()}
    with Path(path).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, _structure=json.dumps(shape), **arrays)


def load(kind: type, path: str | Path) -> Any:
    """Read what `save` has written; arrays are NumPy's.

    Raises:
        ValueError: for a file that holds no such record.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            shape = json.loads(str(file["_structure"]))
            fields = {name: _put_together(part, file) for name, part in shape.items()}
            return kind(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"path={str(path)!r} holds no {kind.__name__} ({error}); give a file that its `save` "
            f"has written"
        ) from None


def _take_apart(name: str, value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The structure of a value in words of JSON; its arrays go into `arrays` under their names."""
    if value is None:
        return None
    if isinstance(value, dict):
        parts = {str(k): _take_apart(f"{name}.{k}", v, arrays) for k, v in value.items()}
        return {"dict": parts}
    if isinstance(value, list | tuple):
        parts = [_take_apart(f"{name}.{i}", part, arrays) for i, part in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": parts}
    array = np.asarray(value)
    if array.dtype == object:
        raise ValueError(f"{name} is a {type(value).__name__}; save arrays, or what holds them")
    while name in arrays:  # a key may read like a path
        name += "'"
    # Of the short floats of machine learning NumPy's files keep the bits alone.
    short = array.dtype.kind == "V"
    arrays[name] = array.view(f"u{array.dtype.itemsize}") if short else array
    return {array.dtype.name if short else "array": name}


def _put_together(part: Any, file: Mapping[str, np.ndarray]) -> Any:
    if part is None:
        return None
    ((kind, value),) = part.items()
    if kind == "array":
        return file[value]
    if kind == "dict":
        return {name: _put_together(each, file) for name, each in value.items()}
    if kind not in ("list", "tuple"):
        return file[value].view(np.dtype(kind))
    parts = [_put_together(each, file) for each in value]
    return parts if kind == "list" else tuple(parts)
