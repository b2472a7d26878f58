"""Least squares over partitions, on the host: the optimum and the constants of a regression."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from lagc_jax.problems._arrays import (
    SMALL_DATA,
    aligned,
    gram_matrices,
    host_gram_norms,
    largest_eigenvalues,
    row_blocks,
)


class Fit(NamedTuple):
    """What a linear regression knows of its data X (M, N, d) and y (M, N).

    Attributes:
        minimizer: (d,).
        root: (min(M N, d), d) factor with `root^T root = X^T X`, the sum's Gram matrix.
        extremes: smallest (nonzero) and largest eigenvalue of the sum's Gram matrix.
        smoothness: (M,) largest eigenvalues of the partitions'.
        gram: (M, d, d) these Gram matrices, if asked for.
        tilt: (M, d) gradients of the partitions at the minimiser.
        optimum: half the sum of squared residuals there.
    """

    minimizer: np.ndarray
    root: np.ndarray
    extremes: tuple[float, float]
    smoothness: np.ndarray
    gram: np.ndarray | None
    tilt: np.ndarray
    optimum: float


# Called after every third of the work.
Step = Callable[[], object]

# Minimiser (d,), triangular factor and smallest (nonzero) and largest eigenvalue of its square.
Solution = tuple[np.ndarray, np.ndarray, tuple[float, float]]

# Spans of the eigenvalues up to which a Gram matrix of this precision serves.
LARGEST_SPAN = {np.dtype(np.float32): 1e3, np.dtype(np.float64): 1e8}


def least_squares(X: np.ndarray, y: np.ndarray, with_gram: bool, step: Step) -> Fit:
    """Solve few data directly, many through the sum's Gram matrix where its rounding allows."""
    if X.size > SMALL_DATA and X.shape[0] * X.shape[1] >= X.shape[2]:
        return _fit_many(X, y, with_gram, step)
    X, y = X.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
    gram = X.swapaxes(1, 2) @ X if with_gram else None
    step()
    minimizer, root, extremes = solve_directly(X.reshape(-1, X.shape[2]), y.reshape(-1))
    step()
    if gram is None or X.shape[2] > X.shape[1]:
        smoothness = host_gram_norms(X)
    else:
        smoothness = largest_eigenvalues(gram)
    step()
    residual = X @ minimizer - y
    tilt = np.einsum("mn,mnd->md", residual, X)
    return Fit(minimizer, root, extremes, smoothness, gram, tilt, 0.5 * np.sum(residual**2))


def solve_directly(X: np.ndarray, y: np.ndarray) -> Solution:
    """Least squares with X (S, d) as it is, to the rounding of its singular values."""
    minimizer, _, rank, singular = np.linalg.lstsq(X, y)
    if rank == 0:
        raise ValueError("X has only zeros; give features that vary")
    triangle = np.asarray(np.linalg.qr(X, mode="r"))
    return minimizer, triangle, (singular[rank - 1] ** 2, singular[0] ** 2)


def _fit_many(X: np.ndarray, y: np.ndarray, with_gram: bool, step: Step) -> Fit:
    M, _, d = X.shape
    gram = aligned((M, d, d), X.dtype) if with_gram else None
    total, smoothness = gram_matrices(X, gram)
    step()
    factors = _factors(total, LARGEST_SPAN[X.dtype])
    if factors is None and X.dtype != np.float64:
        total = np.zeros((d, d))
        for block in _doubles(X.reshape(-1, d), 4096):
            total += block.T @ block
        factors = _factors(total, LARGEST_SPAN[np.dtype(np.float64)])
    step()
    if factors is None:
        minimizer, root, extremes = _solve_in_blocks(X.reshape(-1, d), y.reshape(-1))
        tilt, squares = _residuals(X, y, minimizer)
    else:
        root, inverse, extremes = factors
        minimizer, tilt, squares = _refined(X, y, inverse, gram)
    step()
    return Fit(minimizer, root, extremes, smoothness, gram, tilt, 0.5 * squares)


def _factors(
    gram: np.ndarray, span: float
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]] | None:
    """Triangular factor, inverse and extreme eigenvalues; None where these span more."""
    try:
        root = np.linalg.cholesky(gram).T
    except np.linalg.LinAlgError:
        return None
    half = np.linalg.inv(root)
    inverse = half @ half.T
    largest, steepest = largest_eigenvalues(np.stack([gram, inverse]))
    # Also False where the inverse has overflown.
    return (root, inverse, (1 / steepest, largest)) if largest * steepest < span else None


def _refined(
    X: np.ndarray, y: np.ndarray, inverse: np.ndarray, gram: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Minimiser, gradients and squares there, corrected with residuals of the data in float64.

    A correction is as good relative to the one before as that was to the minimiser: it stops when
    the next one would be below rounding. What so small a move changes, Gram matrices of any
    precision tell as well as the data.
    """
    minimizer = inverse @ (y.reshape(-1) @ X.reshape(-1, X.shape[2])).astype(np.float64)
    tilt, squares = _residuals(X, y, minimizer)
    for _ in range(5):
        before = minimizer
        minimizer = before - inverse @ tilt.sum(0)
        last = np.linalg.norm(minimizer - before) <= 1e-8 * np.linalg.norm(minimizer)
        if last and gram is not None:
            moved = (minimizer - before).astype(gram.dtype)
            change = gram @ moved
            squares += float(moved @ (2 * tilt.sum(0) + change.sum(0)))
            return minimizer, tilt + change, max(squares, 0.0)  # where nothing is left, of rounding
        tilt, squares = _residuals(X, y, minimizer)
        if last:
            break
    return minimizer, tilt, squares


def _residuals(X: np.ndarray, y: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, float]:
    """Gradients of the partitions (M, d) and the sum of squared residuals, in float64."""
    tilt, squares = np.zeros((X.shape[0], X.shape[2])), 0.0
    for m, part in enumerate(X):
        for rows, block in zip(row_blocks(*part.shape), _doubles(part), strict=True):
            residual = block @ theta - y[m, rows]
            tilt[m] += residual @ block
            squares += float(residual @ residual)
    return tilt, squares


def _doubles(X: np.ndarray, rows_each: int | None = None) -> Iterator[np.ndarray]:
    for rows in row_blocks(X.shape[0], X.shape[1], rows_each):
        yield X[rows].astype(np.float64, copy=False)


def _solve_in_blocks(X: np.ndarray, y: np.ndarray) -> Solution:
    """`solve_directly` by orthogonal factors of blocks of rows, of these factors, and so on."""
    d = X.shape[1]
    triangle = np.zeros((0, d + 1))
    for rows in row_blocks(len(X), d, 8 * d):  # so that merging them costs an eighth more
        block = np.column_stack([X[rows], y[rows]]).astype(np.float64, copy=False)
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, block]), mode="r"))
    eps = np.finfo(float).eps * len(X)
    minimizer, _, rank, singular = np.linalg.lstsq(triangle[:d, :d], triangle[:d, d], eps)
    if rank == 0:
        raise ValueError("X has only zeros; give features that vary")
    return minimizer, triangle[:d, :d], (singular[rank - 1] ** 2, singular[0] ** 2)
