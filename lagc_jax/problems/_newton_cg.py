"""A logistic regression of many numbers minimised without its Hessian, in float64 on the host."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lagc_jax.problems._arrays import row_blocks
from lagc_jax.problems._optimum import minimize_newton


class Rows(Protocol):
    """Data X (S, d) as two products."""

    def times(self, V: np.ndarray) -> np.ndarray:
        """`X V`, (S, B) from (d, B)."""
        ...

    def adjoint(self, U: np.ndarray) -> np.ndarray:
        """`X^T U`, (d, B) from (S, B)."""
        ...


@dataclass(frozen=True)
class DenseRows:
    """Products in the precision of X, or in float64 by blocks."""

    X: np.ndarray
    exact: bool

    def times(self, V: np.ndarray) -> np.ndarray:
        if not self.exact or self.X.dtype == np.float64:
            return self.X @ V.astype(self.X.dtype)
        return np.concatenate([self.X[rows] @ V for rows in row_blocks(*self.X.shape)])

    def adjoint(self, U: np.ndarray) -> np.ndarray:
        if not self.exact or self.X.dtype == np.float64:
            return self.X.T @ U.astype(self.X.dtype)
        total = np.zeros((self.X.shape[1], U.shape[1]))
        for rows in row_blocks(*self.X.shape):
            total += self.X[rows].T @ U[rows]
        return total


@dataclass(frozen=True)
class LogisticLoss:
    """The whole loss over samples, its parameters (d, B) logits in a basis (C, B)."""

    rows: Rows
    classes: np.ndarray
    weights: np.ndarray
    penalty: float
    basis: np.ndarray

    def derivatives(self, flat: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient and the probabilities (S, C), which make the Hessian."""
        logits = self.rows.times(flat.reshape(-1, self.basis.shape[1])) @ self.basis.T
        losses, p, slope = logistic_samples(logits, self.classes)
        value = self.weights @ losses + 0.5 * self.penalty * flat @ flat
        gradient = self.rows.adjoint(self.weights[:, None] * slope @ self.basis).reshape(-1)
        return float(value), gradient + self.penalty * flat, p

    def curvature(self, p: np.ndarray, flat: np.ndarray, rows: Rows) -> np.ndarray:
        """The Hessian times a vector."""
        shift = rows.times(flat.reshape(-1, self.basis.shape[1])) @ self.basis.T
        change = p * (shift - np.sum(p * shift, axis=1, keepdims=True))
        image = rows.adjoint(self.weights[:, None] * change @ self.basis).reshape(-1)
        return image + self.penalty * flat


def logistic_samples(
    logits: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses (S,) of logits (S, C), probabilities of the classes and slopes in the logits (S, C).

    A slope is the probability less one for the right class; that one is the others' sum.
    """
    rows = np.arange(len(labels))
    margins = logits - logits[rows, labels][:, None]
    losses = np.logaddexp.reduce(margins, axis=1)
    p = np.exp(margins - losses[:, None])
    slope = p.copy()
    slope[rows, labels] = 0
    slope[rows, labels] = -slope.sum(axis=1)
    return losses, p, slope


# From a vector (d B,) to about the inverse Hessian times it.
Preconditioner = Callable[[np.ndarray], np.ndarray]

SLOW = 40  # products of the Hessian after which a better preconditioner pays


def minimize_matrix_free(
    loss: LogisticLoss,
    num_features: int,
    fast: Rows,
    precondition: Preconditioner,
    scales: np.ndarray,
    better: Callable[[np.ndarray], Preconditioner] | None = None,
) -> tuple[np.ndarray, float]:
    """Newton's method with directions by preconditioned conjugate gradients.

    Directions are found to `min(0.1, |g| / |g_0|)` of the gradient, with products of `fast`. Where
    that takes many, `better` makes another preconditioner from the probabilities. Scales (d,) are
    those of `minimize_newton`.
    """
    start = np.zeros(num_features * loss.basis.shape[1])
    scales = np.repeat(scales, loss.basis.shape[1])
    first, slow = 0.0, False

    def direction(p: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        nonlocal first, slow, precondition
        norm = float(np.linalg.norm(gradient / scales))
        first = first or norm
        if slow and better is not None:
            precondition = better(p)
        tolerance = min(0.1, norm / first if first else 0.0)
        found, products = _conjugate_gradients(
            lambda v: loss.curvature(p, v, fast), precondition, -gradient, max(tolerance, 1e-5)
        )
        slow = products > SLOW
        return found

    return minimize_newton(loss.derivatives, start, scales, direction)


def _conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray],
    precondition: Preconditioner,
    right: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, int]:
    """Solve `A x = b` until the residual has fallen to a share; also the number of products."""
    x, residual = np.zeros_like(right), right
    z = precondition(residual)
    along, rho = z, residual @ z
    wanted = tolerance**2 * rho
    for count in range(1, 1001):
        if rho <= wanted:
            return x, count - 1
        image = product(along)
        curvature = along @ image
        if not curvature > 0:  # below rounding
            return x if count > 1 else z, count
        x = x + rho / curvature * along
        residual = residual - rho / curvature * image
        z = precondition(residual)
        rho, before = residual @ z, rho
        along = z + rho / before * along
    return x, 1000
