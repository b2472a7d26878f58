"""The optimum and the constants of a logistic regression, in float64 on the host."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax._checks import not_negative
from lagc_jax.problems._arrays import host_gram_norms, stored
from lagc_jax.problems._optimum import Derivatives, minimize_newton


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
    not_negative("l2", l2)
    data, classes, w = X.reshape(-1, X.shape[2]), labels.reshape(-1), weights.reshape(-1)
    penalty = len(X) * l2
    axes, logits, optimum = _minimize(data, classes, w, penalty, basis)
    minimizer = logits @ space if axes is None else axes @ (logits @ space)
    rounded = np.asarray(jnp.asarray(minimizer, dtype), np.float64)
    slope = _samples(data @ rounded @ space.T, classes)[2]
    tilt = data.T @ (w[:, None] * slope @ space) + penalty * rounded
    scaled = np.sqrt(w)[:, None] * data
    values = dict(
        weights=weights,
        l2=l2,
        tilt=tilt.reshape(-1),
        smoothness=curvature * host_gram_norms(scaled.reshape(X.shape)) + l2,
        total_smoothness=curvature * host_gram_norms(scaled[None])[0] + penalty,
        strong_convexity=penalty,
        minimizer=minimizer.reshape(-1),
        optimum=optimum,
    )
    return {name: stored(value, dtype) for name, value in values.items()}


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
    counted = (w > 0) & data.any(axis=1)
    losses = _samples(rows @ logits, classes)[0][counted]
    if penalty == 0 and losses.max(initial=0.0) < np.log(2):  # the loss of a tie
        raise ValueError("no optimum found: X separates the labels y and l2=0; give l2 > 0")
    return axes, logits, optimum


def _derivatives(
    rows: np.ndarray, classes: np.ndarray, w: np.ndarray, penalty: float, basis: np.ndarray
) -> Derivatives:
    """Value, gradient and Hessian of the whole loss, as functions of parameters in a basis."""
    d = rows.shape[1]

    def derivatives(flat: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        losses, p, slope = _samples(rows @ flat.reshape(d, -1) @ basis.T, classes)
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


def _samples(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
