"""Rows of data that a user has in pieces: sparse matrices, and partitions of unequal size."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lagc_jax._checks import known_data
from lagc_jax.problems._arrays import lanczos


@dataclass(frozen=True)
class CsrRows:
    """A sparse X (S, d), row by row, as two products: `Rows` of a logistic regression.

    Attributes:
        values, columns: (nonzeros,) of the rows, one after the other.
        starts: (S+1,) where each begins.
        num_features: `d`.
    """

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    num_features: int

    @property
    def row(self) -> np.ndarray:
        """The row of every nonzero."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def times(self, V: np.ndarray) -> np.ndarray:
        size, terms = len(self.starts) - 1, self.values * V[self.columns].T
        return np.stack([np.bincount(self.row, one, size) for one in terms], axis=1)

    def adjoint(self, U: np.ndarray) -> np.ndarray:
        terms = self.values * U[self.row].T
        return np.stack([np.bincount(self.columns, t, self.num_features) for t in terms], axis=1)

    def norm(self, weights: np.ndarray) -> float:
        """Largest eigenvalue of `X^T W X`, to 1e-14 of it by Lanczos's method."""
        root = np.sqrt(weights)[:, None]
        small = len(root) <= self.num_features

        def product(v: np.ndarray) -> np.ndarray:
            if small:
                return (root * self.times(self.adjoint(root * v[:, None])))[:, 0]
            return self.adjoint(weights[:, None] * self.times(v[:, None]))[:, 0]

        return lanczos(product, len(root) if small else self.num_features)

    def part(self, first: int, last: int) -> "CsrRows":
        """Rows from the first up to, but without, the last."""
        cut = slice(self.starts[first], self.starts[last])
        starts = self.starts[first : last + 1] - self.starts[first]
        return CsrRows(self.values[cut], self.columns[cut], starts, self.num_features)


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix of SciPy or JAX, or a list of them."""
    if isinstance(X, list | tuple) and len(X):
        return all(is_sparse(part) for part in X)
    return hasattr(X, "tocsr") or all(hasattr(X, name) for name in ("indices", "data", "nse"))


def as_rows(X: Any) -> CsrRows:
    """Check a sparse matrix (S, d), or a list of them one below the other; values in float64."""
    if isinstance(X, list | tuple):
        parts = [as_rows(part) for part in X]
        if len(widths := {part.num_features for part in parts}) > 1:
            raise ValueError(f"X has partitions of {sorted(widths)} features; give equal numbers")
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        values, columns = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("values", "columns")
        )
        return CsrRows(values, columns, np.append(0, lengths.cumsum()), widths.pop())
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(f"X is sparse with shape {X.shape}; give (S, d), rows of all partitions")
    X = X.tocsr() if hasattr(X, "tocsr") else X
    values, indices = known_data("X", X.data).astype(np.float64), np.asarray(X.indices)
    if hasattr(X, "indptr"):
        starts = np.asarray(X.indptr, np.int64)
        if starts[0] or (np.diff(starts) < 0).any() or starts[-1] > min(len(indices), len(values)):
            raise ValueError("X.indptr does not rise from 0 to the entries that there are; mend it")
        values, indices = values[: starts[-1]], indices[: starts[-1]]
        if not ((indices >= 0) & (indices < X.shape[1])).all():
            raise ValueError(f"X.indices has entries outside of 0 to {X.shape[1] - 1}; mend them")
        return CsrRows(values, indices, starts, X.shape[1])
    if indices.ndim != 2:
        raise ValueError("X is a sparse matrix with batch axes; give one of n_batch=0, n_dense=0")
    inside = (indices < np.array(X.shape)).all(axis=1)  # what pads lies outside
    order = np.flatnonzero(inside)[np.argsort(indices[inside, 0], kind="stable")]
    lengths = np.bincount(indices[order, 0], minlength=X.shape[0])
    starts = np.append(0, lengths.cumsum())
    return CsrRows(values[order], indices[order, 1], starts, X.shape[1])


def is_ragged(X: Any) -> bool:
    """Whether X is a list of partitions (N_m, d) of different length."""
    return isinstance(X, list | tuple) and len({np.shape(part)[:1] for part in X}) > 1


def padded(name: str, parts: Any, lengths: list[int]) -> np.ndarray:
    """Partitions (N_m, ...) on a leading axis, filled up with zeros: (M, N, ...)."""
    if not isinstance(parts, list | tuple) and not getattr(parts, "ndim", 0):
        raise ValueError(f"{name} is no list of partitions; give one of {len(lengths)}")
    arrays = [known_data(name, part) for part in parts]
    if [len(a) if a.ndim else 0 for a in arrays] != lengths or len(
        {a.shape[1:] for a in arrays}
    ) > 1:
        raise ValueError(
            f"{name} has partitions of shapes {[a.shape for a in arrays]}; give {lengths} rows, "
            f"alike in all else"
        )
    stacked = np.zeros((len(arrays), max(lengths), *arrays[0].shape[1:]), np.result_type(*arrays))
    for one, part in zip(stacked, arrays, strict=True):
        one[: len(part)] = part
    return stacked


def fill_up(X: Any, y: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists of M partitions of different length as arrays, of weight zero where they are filled."""
    lengths = [np.shape(part)[0] if np.ndim(part) else 0 for part in X]
    ones = [np.ones(length) for length in lengths]
    given = ones if weights is None else weights
    return padded("X", X, lengths), padded("y", y, lengths), padded("weights", given, lengths)
