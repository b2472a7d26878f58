"""Data to study: a user's table as a distributed regression, and digits to classify."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jax import Array

from lagc_jax._checks import finite, one_of, scalar, truth, whole_number
from lagc_jax._display import readable
from lagc_jax._files import natural
from lagc_jax.problems.base import Problem
from lagc_jax.problems.linear import linear_regression
from lagc_jax.problems.logistic import logistic_regression, multinomial_regression
from lagc_jax.problems.sharding import gather, generator
from lagc_jax.problems.tables import read_samples

if TYPE_CHECKING:
    import pandas as pd


@readable
class Data(NamedTuple):
    """A data set as M partitions of N rows, the shorter ones filled up with rows of zeros.

    Attributes:
        X: (M, N, d) features.
        y: (M, N) targets; -1 and 1, or classes from 0 to C-1, for a classification.
        weights: (M, N) 1 for a row, 0 for filling. A linear regression alone needs none.
        classes: the labels as the file has them, in the order of the values of `y`; empty for a
            regression.
    """

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    classes: tuple[Any, ...]


LOSSES = ("linear", "logistic", "multinomial")


def load_data(
    path: str | Path | Sequence[str | Path],
    num_workers: int | None = None,
    target: str | None = None,
    *,
    loss: str = "linear",
    worker: str | None = None,
    standardise: bool = True,
    header: bool | None = None,
) -> Data:
    """Read a data set and deal it to the workers.

    Files are tables in text (fields separated by commas, semicolons, tabs or blanks), parquet,
    libsvm's format (which scikit-learn reads) or MATLAB's (a matrix and a vector). Several files
    are one a worker; a column may name the worker of every row; otherwise row `i` goes to worker
    `i mod M`. Rows of zeros fill up the workers that have fewer.

    Features, and the target of a regression, are standardised to mean 0 and variance 1 over all
    rows, constant features are left out, and an intercept is added as the last feature.

    Args:
        path: the file, or one a worker; all columns but labels and workers hold finite numbers.
        num_workers: `M`; not needed where files or a column tell it.
        target: name of the column to regress on the others or of the labels, in MATLAB's files of
            the vector; the last column by default.
        loss: "linear", or "logistic" and "multinomial", whose labels may be any two numbers or
            words, or any number of them: in their order they become -1 and 1, or 0 to C-1.
        worker: name of a column that names the worker of every row; numbers are ordered by value.
        standardise: if False, features and target are the numbers of the file, without intercept.
        header: whether the first line of a text holds names; see `lagc_jax.Trace.from_csv`.

    Raises:
        ValueError: if a file is missing, empty or not a table, has no header or one with a name
            that is empty or there twice, lacks the target or any other column, holds text or
            missing numbers (the row is named), has fewer rows than workers, its target is constant
            or of more than two labels for "logistic", or the number of files or workers is not `M`.
    """
    _check_words(loss, standardise, target=target, worker=worker)
    paths: Any = list(path) if isinstance(path, list | tuple) else [path]
    M = None if num_workers is None else whole_number("num_workers", num_workers)
    files = [_File(*found) for found in read_samples(paths, target, header, worker)]
    where = str(paths[0]) if len(paths) < 2 else f"{paths[0]} and {len(paths) - 1} more"
    names, target = files[0].features(worker), files[0].target
    X, y = _numbers_of(paths, files, names, loss)
    owners = None if worker is None else files[0].frame[worker]
    parts = _parts(where, [len(one.frame) for one in files], M, owners)
    classes: tuple[Any, ...] = ()
    if loss != "linear":
        y, classes = _coded(where, target, y, loss)
    elif y.min() == y.max():
        raise ValueError(f"target={target!r} is constant in {where}; give a column that varies")
    if standardise and loss == "linear":
        table = _standardised(where, [*names, target], np.column_stack([X, y]))
        X, y = table[:, :-1], table[:, -1]
    elif standardise:
        X = _standardised(where, names, X)
    if standardise:
        X = np.column_stack([X[:, X.any(axis=0)], np.ones(len(X))])
    return Data(gather(X, parts), gather(y, parts), gather(np.ones(len(y)), parts), classes)


def _check_words(loss: Any, standardise: Any, **names: Any) -> None:
    one_of("loss", loss, LOSSES)
    truth("standardise", standardise)
    for role, name in names.items():
        if not isinstance(name, str | None):
            raise ValueError(f"{role}={name!r} is no name of a column; give text")


class _File(NamedTuple):
    """What was read from a file, and which column is the target."""

    frame: "pd.DataFrame"
    target: str

    def features(self, worker: str | None) -> list[str]:
        return [name for name in self.frame.columns if name not in (self.target, worker)]


def _numbers_of(
    paths: Sequence[str | Path], files: Sequence[_File], names: Sequence[str], loss: str
) -> tuple[np.ndarray, np.ndarray]:
    """Features (S, d) and targets (S,) of all files, labels as they are."""
    features, targets = [], []
    for path, (frame, target) in zip(paths, files, strict=True):
        if not names:
            raise ValueError(
                f"csv={path} has no column but target={target!r}; give features as well"
            )
        features.append(np.column_stack([_numbers(path, name, frame[name]) for name in names]))
        linear = loss == "linear"
        labels = _numbers(path, target, frame[target]) if linear else np.asarray(frame[target])
        targets.append(labels)
    return np.concatenate(features), np.concatenate(targets)


def load_csv(
    path: str | Path, num_workers: int, target: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """X (M, N, d) and y (M, N) of `load_data` for a linear regression."""
    return load_data(path, whole_number("num_workers", num_workers), target)[:2]


def problem_of(data: Data, loss: str, l2: float) -> Problem:
    """The regression of a data set that was read for one of `LOSSES`; a linear one has no `l2`."""
    if loss == "linear":
        return linear_regression(data.X, data.y)
    make = {"logistic": logistic_regression, "multinomial": multinomial_regression}[loss]
    return make(data.X, data.y, l2=l2, weights=data.weights)


def _standardised(where: str, names: Sequence[str], numbers: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and variance 1, of zeros where a column is constant."""
    varies = numbers.max(axis=0) > numbers.min(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is looked for below
        deviation = np.where(varies, numbers.std(axis=0), 1.0)
    for name, spread in zip(names, deviation, strict=True):
        if not 0 < spread < np.inf:
            raise ValueError(f"column {name!r} in {where} has squares beyond float64; rescale it")
    return np.where(varies, (numbers - numbers.mean(axis=0)) / deviation, 0.0)


def _parts(
    where: str, rows: Sequence[int], num_workers: int | None, column: "pd.Series | None"
) -> list[np.ndarray]:
    """Rows of every worker: those of its file, those that name it, or dealt in turn."""
    total = sum(rows)
    if len(rows) > 1:
        if column is not None:
            raise ValueError("worker= names the workers of one file; give one, or no worker=")
        parts, what = np.split(np.arange(total), np.cumsum(rows)[:-1]), f"{len(rows)} files"
    elif column is not None:
        if (bad := np.flatnonzero(column.isna())).size:
            raise ValueError(f"row {bad[0] + 1} of {where} names no worker; mend or remove it")
        order = None if column.dtype.kind in "iuf" else lambda label: natural(str(label))
        known = sorted(column.unique(), key=order)
        parts = [np.flatnonzero(column == label) for label in known]
        what = f"{len(parts)} workers in column {column.name!r}"
    else:
        if num_workers is None:
            raise ValueError(f"{where} names no workers; give num_workers, or worker= a column")
        if total < num_workers:
            raise ValueError(
                f"{where} has {total} rows for num_workers={num_workers}; give at least one row a "
                f"worker"
            )
        return [np.arange(m, total, num_workers) for m in range(num_workers)]
    if num_workers not in (None, len(parts)):
        raise ValueError(f"there are {what} for num_workers={num_workers}; give {len(parts)}")
    return parts


def _coded(where: str, name: str, labels: np.ndarray, loss: str) -> tuple[np.ndarray, tuple]:
    """Labels as -1 and 1 or as classes from 0, and what they were."""
    import pandas as pd

    if (bad := np.flatnonzero(pd.isna(labels))).size:
        raise ValueError(f"row {bad[0] + 1} of column {name!r} in {where} has no label; mend it")
    if labels.dtype.kind not in "biuf":
        labels = np.array([_word(label) for label in labels])
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"target={name!r} is constant in {where}; give a column that varies")
    if 2 * len(classes) > max(len(labels), 20):
        raise ValueError(
            f"target={name!r} has {len(classes)} labels in {len(labels)} rows of {where}, so it is "
            f"no class; give another column, or loss='linear'"
        )
    if loss == "logistic" and len(classes) > 2:
        raise ValueError(
            f"target={name!r} has {len(classes)} labels in {where}: {list(classes[:5])}; give "
            f"loss='multinomial'"
        )
    values = 2.0 * codes - 1 if loss == "logistic" else codes.astype(float)
    return values, tuple(classes.tolist())


def _word(label: Any) -> str:
    """A label as text; a whole number is written alike whether its file makes it a float or not."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _numbers(path: str | Path, name: str, column: "pd.Series") -> np.ndarray:
    """The column as float64; raise ValueError naming the first row that is not a finite number."""
    import pandas as pd

    if column.dtype.kind in "mMc":
        raise ValueError(
            f"column {name!r} in {path} holds {column.dtype}, no real numbers; remove or convert it"
        )
    values = np.asarray(pd.to_numeric(column, errors="coerce"), np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        found = str(column.iloc[bad[0]])
        raise ValueError(
            f"row {bad[0] + 1} of column {name!r} in {path} holds {found!r}, not a finite "
            f"number; remove the column or mend the row (rows are counted after the header)"
        )
    return values


class Split(NamedTuple):
    """A data set for classification, cut in two.

    Attributes:
        X_train, X_test: (S, d) features, the last a column of ones.
        y_train, y_test: (S,) classes.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def load_digits_split(key: Array, test_share: float = 0.2) -> Split:
    """Shuffle scikit-learn's handwritten digits and keep a share of them for testing.

    1797 images of 64 pixels from 0 to 1 in 10 classes (Alpaydin and Kaynak, UCI, 1998); consumes
    `key`.

    Args:
        key: a JAX random key.
        test_share: of the images kept for testing, between 0 and 1.

    Raises:
        ValueError: if scikit-learn is not installed, or a part would be empty.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError(
            "the digits are a data set of scikit-learn, which is not installed; "
            "pip install 'lagc_jax[data]'"
        ) from None
    finite("test_share", test_share)
    scalar("test_share", test_share)
    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    num_tests = round(len(pixels) * float(test_share))
    if not 0 < num_tests < len(pixels):
        raise ValueError(f"test_share={test_share} leaves a part empty; give a share in (0, 1)")
    X = np.column_stack([pixels / 16, np.ones(len(pixels))])
    order = generator(key).permutation(len(X))
    test, train = order[:num_tests], order[num_tests:]
    return Split(X[train], labels[train], X[test], labels[test])
