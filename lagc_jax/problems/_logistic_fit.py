"""The optimum and the constants of a logistic regression, in float64 on the host."""

from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax._checks import not_negative_number
from lagc_jax.problems._arrays import (
    SMALL_DATA,
    gram_matrices,
    host_gram_norms,
    largest_eigenvalues,
    stored,
)
from lagc_jax.problems._newton_cg import (
    DenseRows,
    LogisticLoss,
    Preconditioner,
    logistic_samples,
    minimize_matrix_free,
)
from lagc_jax.problems._optimum import Derivatives, minimize_newton, units


def fit_logistic(
    X: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    l2: float,
    space: np.ndarray,
    basis: np.ndarray,
    curvature: float,
    dtype: np.dtype,
) -> dict[str, Array]:
    """The fields that both problems share, found in float64 on the host.

    Columns of `space` (C, P) are logits of a row of the parameters (d, P), those of `basis` (C, B)
    the part of them in which Newton's method moves; both are orthonormal. The curvature is a bound
    on that of the log-sum-exp in the space of the parameters.
    """
    not_negative_number("l2", l2)
    many = X.size > SMALL_DATA and X.shape[0] * X.shape[1] >= X.shape[2]
    fit = (_fit_many if many else _fit_few)(X, labels, weights, l2, space, basis, dtype)
    values = dict(
        weights=weights,
        l2=l2,
        tilt=fit.tilt.reshape(-1),
        smoothness=curvature * fit.norms + l2,
        total_smoothness=curvature * fit.total_norm + len(X) * l2,
        strong_convexity=len(X) * l2,
        minimizer=fit.minimizer.reshape(-1),
        optimum=fit.optimum,
    )
    return {name: stored(value, dtype) for name, value in values.items()}


class Fit(NamedTuple):
    """An optimum, and the Gram matrices' largest eigenvalues.

    Attributes:
        minimizer: (d, P).
        optimum: the whole loss there.
        tilt: (d, P) gradient of the whole loss at the rounded minimiser.
        norms: (M,) largest eigenvalues of the partitions' `X_m^T W_m X_m`.
        total_norm: that of their sum.
    """

    minimizer: np.ndarray
    optimum: float
    tilt: np.ndarray
    norms: np.ndarray
    total_norm: float


def _fit_few(
    X: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    l2: float,
    space: np.ndarray,
    basis: np.ndarray,
    dtype: np.dtype,
) -> Fit:
    X = X.astype(np.float64, copy=False)
    data, classes, w = X.reshape(-1, X.shape[2]), labels.reshape(-1), weights.reshape(-1)
    penalty = len(X) * l2
    axes, logits, optimum = _minimize(data, classes, w, penalty, basis)
    minimizer = logits @ space if axes is None else axes @ (logits @ space)
    rounded = np.asarray(jnp.asarray(minimizer, dtype), np.float64)
    slope = logistic_samples(data @ rounded @ space.T, classes)[2]
    tilt = data.T @ (w[:, None] * slope @ space) + penalty * rounded
    scaled = np.sqrt(w)[:, None] * data
    norms, total = host_gram_norms(scaled.reshape(X.shape)), host_gram_norms(scaled[None])[0]
    return Fit(minimizer, optimum, tilt, norms, total)


def _fit_many(
    X: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    l2: float,
    space: np.ndarray,
    basis: np.ndarray,
    dtype: np.dtype,
) -> Fit:
    """Without a Hessian: Newton's directions by conjugate gradients, through the Gram matrix."""
    data, classes, w = X.reshape(-1, X.shape[2]), labels.reshape(-1), weights.reshape(-1)
    penalty = len(X) * l2
    total, norms = gram_matrices(X, weights=None if (w == 1).all() else weights)
    total_norm = float(largest_eigenvalues(total[None])[0])
    # The Hessian at zero is `even` times the Gram matrix.
    C, B = basis.shape
    even = np.trace(basis.T @ (np.eye(C) / C - 1 / C**2) @ basis) / B
    start = _inverse(even * total, penalty, X.dtype)
    scales = units(even * total.diagonal() + penalty)
    del total

    def better(p: np.ndarray) -> Preconditioner:
        spread = (w * p[:, 1] * p[:, 0]).reshape(weights.shape)
        return _inverse(gram_matrices(X, weights=spread)[0], penalty, X.dtype)

    loss = LogisticLoss(DenseRows(data, exact=True), classes, w, penalty, basis)
    renewed = better if B == 1 else None
    found, optimum = minimize_matrix_free(
        loss, X.shape[2], DenseRows(data, exact=False), start, scales, renewed
    )
    logits = found.reshape(-1, B) @ basis.T
    if penalty == 0:
        _refuse_separable(data, classes, w, logits)
    minimizer = logits @ space
    rounded = np.asarray(jnp.asarray(minimizer, dtype), np.float64)
    tilt = replace(loss, basis=space).derivatives(rounded.reshape(-1))[1]
    return Fit(minimizer, optimum, tilt.reshape(rounded.shape), norms, total_norm)


def _inverse(hessian: np.ndarray, penalty: float, dtype: np.dtype) -> Preconditioner:
    """About the inverse, on rows of features (d, B) flattened, of a matrix with rounding."""
    size = len(hessian)
    hessian = hessian + penalty * np.eye(size)
    scales = units(hessian.diagonal())
    hessian /= scales
    hessian /= scales[:, None]
    rounding = 10 * np.finfo(dtype).eps * size
    half = np.linalg.inv(np.linalg.cholesky(hessian + rounding * np.eye(size))) / scales
    inverse = half.T @ half
    return lambda vector: (inverse @ vector.reshape(size, -1)).reshape(-1)


def _minimize(
    data: np.ndarray, classes: np.ndarray, w: np.ndarray, penalty: float, basis: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray, float]:
    """The whole loss minimised: logits of the classes, a row an axis, and the minimum.

    The optimum lies in the span of the samples: with fewer than features, the axes are an
    orthonormal basis (d, S) of that span, otherwise None, the features themselves.
    """
    axes, rows = None, data
    if data.shape[0] < data.shape[1]:
        axes, triangle = np.linalg.qr(data.T)
        rows = triangle.T
    derivatives = _derivatives(rows, classes, w, penalty, basis)
    found, optimum = minimize_newton(derivatives, np.zeros(rows.shape[1] * basis.shape[1]))
    logits = found.reshape(rows.shape[1], -1) @ basis.T
    if penalty == 0:
        _refuse_separable(rows, classes, w, logits)
    return axes, logits, optimum


def _refuse_separable(
    rows: np.ndarray, classes: np.ndarray, w: np.ndarray, logits: np.ndarray
) -> None:
    """Raise ValueError where every sample that counts has less than the loss of a tie."""
    counted = (w > 0) & rows.any(axis=1)
    losses = logistic_samples(DenseRows(rows, exact=True).times(logits), classes)[0][counted]
    if losses.max(initial=0.0) < np.log(2):
        raise ValueError("no optimum found: X separates the labels y and l2=0; give l2 > 0")


def _derivatives(
    rows: np.ndarray, classes: np.ndarray, w: np.ndarray, penalty: float, basis: np.ndarray
) -> Derivatives:
    """Value, gradient and Hessian of the whole loss, as functions of parameters in a basis."""
    d = rows.shape[1]

    def derivatives(flat: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        losses, p, slope = logistic_samples(rows @ flat.reshape(d, -1) @ basis.T, classes)
        value = w @ losses + 0.5 * penalty * flat @ flat
        gradient = (rows.T @ (w[:, None] * slope @ basis)).reshape(-1) + penalty * flat
        centred = basis - (p @ basis)[:, None, :]
        spread = np.einsum("nc,nca,ncb->anb", w[:, None] * p, centred, centred)
        # One product a class: parameters are ordered by feature first, then by class.
        blocks = [
            rows.T @ (rows[:, :, None] * one[:, None, :]).reshape(len(rows), -1) for one in spread
        ]
        hessian = np.stack(blocks, axis=1).reshape(flat.size, flat.size)
        return float(value), gradient, hessian + penalty * np.eye(flat.size)

    return derivatives
