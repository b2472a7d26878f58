"""Files of samples as frames: tables in text, parquet, libsvm's format, MATLAB's files."""

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lagc_jax._files import check_levels, read_table

if TYPE_CHECKING:
    import pandas as pd

LIBSVM = re.compile(r"[-+\d.eE,]+(\s+\d+:\S+)*\s*(#.*)?")
LOOKED_AT = 100  # lines of a file that tell its format
TARGET = "target"  # the name of labels that a file does not name
LARGEST = 2**32  # bytes of a matrix


def read_samples(
    paths: Sequence[str | Path], target: str | None, header: bool | None, worker: str | None
) -> list[tuple["pd.DataFrame", str]]:
    """A frame a file, and the name of its target, by default the last column but `worker`.

    Raises:
        ValueError: where a file is missing or no table, columns have no name, the same one or
            others than those of the first file, or the target is none of them.
    """
    if not paths:
        raise ValueError("path names no file; give one or more")
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise ValueError(
                f"path is a {type(path).__name__}; give files, and arrays to the problem itself, "
                f"cut by lagc_jax.problems.shard"
            )
    if all(_is_libsvm(path) for path in paths):
        if (target, worker) != (None, None):
            raise ValueError(f"{paths[0]} is in libsvm's format; it has no columns to name")
        return _read_libsvm(paths)
    samples = []
    for path in paths:
        frame, found = _read(path, target, header)
        names = list(frame.columns)
        _check_names(path, names)
        if samples and names != list(samples[0][0].columns):
            raise ValueError(
                f"{path} has the columns {names} but {paths[0]} has "
                f"{list(samples[0][0].columns)}; give files of the same columns"
            )
        if found is None:
            found = next((name for name in reversed(names) if name != worker), names[-1])
        for role, name in (("target", found), ("worker", worker)):
            if name is not None and name not in names:
                raise ValueError(f"{role}={name!r} is not a column of {path}; give one of {names}")
        if worker == found:
            raise ValueError(f"worker={worker!r} is the target, too; give two columns")
        samples.append((frame, found))
    return samples


def _read(
    path: str | Path, target: str | None, header: bool | None
) -> tuple["pd.DataFrame", str | None]:
    import pandas as pd

    suffix = Path(path).suffix.lower()
    if suffix == ".mat":
        return _read_mat(path, target)
    if suffix == ".parquet":
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"parquet={path} cannot be read as a table ({error})") from None
        check_levels(path, frame)
        frame = frame.rename(columns=str)
    else:
        frame = read_table(path, header=header)
    return frame, target


def _is_libsvm(path: str | Path) -> bool:
    """Whether lines are a label and pairs of a feature's number and its value, or none of them."""
    if {".libsvm", ".svm", ".svmlight"} & {suffix.lower() for suffix in Path(path).suffixes}:
        return True
    try:
        with open(path, encoding="utf-8") as file:
            lines = (line.strip() for line in file if line.strip() and line[0] != "#")
            first = list(islice(lines, LOOKED_AT))
    except (OSError, UnicodeDecodeError):
        return False
    pairs = any(":" in line.split("#")[0] for line in first)
    return pairs and all(LIBSVM.fullmatch(line) for line in first)


def _read_libsvm(paths: Sequence[str | Path]) -> list[tuple["pd.DataFrame", str]]:
    import pandas as pd

    try:
        from sklearn.datasets import load_svmlight_files
    except ImportError:
        raise ValueError(
            f"{paths[0]} is in libsvm's format, which scikit-learn reads, and that is not "
            f"installed; pip install 'lagc_jax[data]'"
        ) from None
    try:
        loaded: Any = load_svmlight_files([str(path) for path in paths])
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename} does not exist; give a file of samples") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{paths[0]} cannot be read as libsvm's format ({error})") from None
    frames = []
    for path, X, y in zip(paths, loaded[::2], loaded[1::2], strict=True):
        frame = pd.DataFrame(_dense(path, X), columns=_numbered(X.shape[1]))
        frames.append((frame.assign(**{TARGET: y}), TARGET))
    return frames


def _dense(path: str | Path, matrix: Any) -> np.ndarray:
    """A sparse matrix in full, if that fits."""
    if 8 * np.prod(matrix.shape, dtype=float) > LARGEST:
        raise ValueError(
            f"{path} holds {matrix.shape[0]} samples of {matrix.shape[1]} features, which take "
            f"more than {LARGEST / 2**30:.0f} GiB in full; give fewer"
        )
    return matrix.toarray()


def _read_mat(path: str | Path, target: str | None) -> tuple["pd.DataFrame", str]:
    """The matrix of a MATLAB file and the vector of as many entries as it has rows (or columns)."""
    import pandas as pd
    from scipy.io import loadmat

    if not Path(path).exists():
        raise ValueError(f"{path} does not exist; give the path of a .mat file")
    try:
        loaded = loadmat(path, chars_as_strings=True)
    except NotImplementedError:
        raise ValueError(f"{path} is of MATLAB's version 7.3; save it with '-v7'") from None
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a MATLAB file ({error})") from None
    arrays = {
        name: _dense(path, value) if hasattr(value, "toarray") else np.asarray(value)
        for name, value in loaded.items()
        if not name.startswith("__")
    }
    shapes = {name: array.shape for name, array in arrays.items()}
    vectors = {n: a.ravel() for n, a in arrays.items() if max(a.shape, default=0) == a.size > 1}
    matrices = {n: a for n, a in arrays.items() if a.ndim == 2 and min(a.shape) > 1}
    if len(matrices) == 1 and not vectors:
        (matrix,) = matrices.values()
        names = _numbered(matrix.shape[1])
        return pd.DataFrame(matrix, columns=names), names[-1] if target is None else target
    chosen = [n for n in vectors if target in (None, n)]
    by_axis = (
        [(m, v) for m in matrices for v in chosen if vectors[v].size == matrices[m].shape[axis]]
        for axis in (0, 1)
    )
    pairs = next((found for found in by_axis if found), [])
    if len(pairs) != 1:
        raise ValueError(
            f"{path} holds {shapes}; give a file with one matrix of samples, and target= the name "
            f"of the vector with as many entries as it has rows"
        )
    (matrix, vector), labels = pairs[0], vectors[pairs[0][1]]
    X = matrices[matrix]
    if X.shape[0] != labels.size:
        X = X.T
    if labels.dtype == object:
        labels = np.array([str(np.squeeze(label)) for label in labels])
    return pd.DataFrame(X, columns=_numbered(X.shape[1])).assign(**{vector: labels}), vector


def _numbered(count: int) -> list[str]:
    return [str(place + 1) for place in range(count)]


def _check_names(path: str | Path, names: list[str]) -> None:
    """Raise ValueError where a column has no name, or two have the same."""
    for name in names:
        if name.startswith("Unnamed: "):
            raise ValueError(
                f"{path} has a column without a name (a table's row numbers, perhaps), which would "
                f"be a feature; name it or leave it out"
            )
        original = re.sub(r"\.\d+$", "", name)
        if name != original and original in names:
            raise ValueError(f"{path} has two columns {original!r}; give every column its own name")
