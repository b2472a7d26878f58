"""Data to study: a user's table as a distributed regression, and digits to classify."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jax import Array

from lagc_jax._checks import whole_number
from lagc_jax._files import read_table
from lagc_jax.problems.sharding import gather, generator

if TYPE_CHECKING:
    import pandas as pd


def load_csv(
    path: str | Path, num_workers: int, target: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a CSV file with a header and deal its rows evenly over the workers.

    Every column, the target too, is standardised to mean 0 and variance 1; constant features are
    left out, since an intercept is added. Row `i` goes to worker `i mod M`; rows of zeros, which
    change neither loss nor gradient, pad the workers that got one less.

    Args:
        path: the file; all its columns hold finite numbers.
        num_workers: `M`.
        target: name of the column to regress on the others; the last by default.

    Returns:
        X (M, N, d), the intercept last, and y (M, N), `N = ceil(rows / M)`.

    Raises:
        ValueError: if the file is missing, empty or not a table, has no header or one with a name
            that is empty or there twice, lacks the target or any other column, holds text or
            missing numbers (the row is named), has fewer rows than workers, or its target is
            constant.
    """
    M = whole_number("num_workers", num_workers)
    table = read_table(path)
    _check_names(path, list(table.columns))
    target = table.columns[-1] if target is None else target
    if target not in table.columns:
        raise ValueError(
            f"target={target!r} is not a column of {path}; give one of {list(table.columns)}"
        )
    if len(table.columns) < 2:
        raise ValueError(f"csv={path} has no column but target={target!r}; give features as well")
    if len(table) < M:
        raise ValueError(
            f"{path} has {len(table)} rows for num_workers={M}; give at least one row a worker"
        )
    numbers = np.column_stack([_numbers(path, name, table[name]) for name in table.columns])
    varies = numbers.max(axis=0) > numbers.min(axis=0)
    is_target = np.asarray(table.columns == target)
    if not varies[is_target].all():
        raise ValueError(f"target={target!r} is constant in {path}; give a column that varies")
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is looked for below
        deviation = np.where(varies, numbers.std(axis=0), 1.0)
    for name, spread in zip(table.columns, deviation, strict=True):
        if not np.isfinite(spread):
            raise ValueError(f"column {name!r} in {path} has squares beyond float64; rescale it")
    standard = (numbers - numbers.mean(axis=0)) / deviation
    features = np.column_stack([standard[:, varies & ~is_target], np.ones(len(table))])
    parts = [np.arange(m, len(table), M) for m in range(M)]
    return gather(features, parts), gather(standard[:, is_target][:, 0], parts)


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


def _numbers(path: str | Path, name: str, column: "pd.Series") -> np.ndarray:
    """The column as float64; raise ValueError naming the first row that is not a finite number."""
    import pandas as pd

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
    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    num_tests = round(len(pixels) * test_share)
    if not 0 < num_tests < len(pixels):
        raise ValueError(f"test_share={test_share} leaves a part empty; give a share in (0, 1)")
    X = np.column_stack([pixels / 16, np.ones(len(pixels))])
    order = generator(key).permutation(len(X))
    test, train = order[:num_tests], order[num_tests:]
    return Split(X[train], labels[train], X[test], labels[test])
