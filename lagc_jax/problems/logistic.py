"""Logistic regression, binary and multinomial: gradients, constants, optimum and accuracy.

Either loss is a weighted sum over samples of `A(z) - z_y`, `A` the log-sum-exp of the logits `z`,
which are linear in the parameters: binary logits are `(0, x.theta)`, multinomial ones `x.W`. What
does not depend on the number of classes is written once. A sample of weight zero is padding: it
enters no loss, gradient or constant.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import finite, finite_data, not_negative, real_array, whole_number
from lagc_jax._modes import lenient
from lagc_jax._pytree import EXACT, pytree
from lagc_jax.problems._arrays import (
    gram_norms,
    group_products,
    host_gram_norms,
    merge,
    partitioned,
    sample_partitions,
    stored,
)
from lagc_jax.problems._optimum import Derivatives, minimize_newton
from lagc_jax.problems.base import Problem

# Largest curvature of the log-sum-exp along one logit of two, and in any direction (see Boehning).
BINARY_CURVATURE, SOFTMAX_CURVATURE = 0.25, 0.5


@pytree()
class LogisticRegression(Problem):
    """`L_m = sum w log(1 + exp(-y x.theta)) + l2/2 |theta|^2`; made by `logistic_regression`.

    Attributes:
        signed: (M, N, d) `-y x`, features times the negative label.
        weights: (M, N) of the samples, 0 for padding.
        l2: () weight of the penalty of every partition.
        tilt: (d,) gradient of the whole loss at the stored (rounded) minimiser.
    """

    signed: Array
    weights: Array
    l2: Array
    tilt: Array
    smoothness: Array
    total_smoothness: Array
    strong_convexity: Array
    minimizer: Array
    optimum: Array

    def group_gradients(self, num_groups: int) -> Callable[[Array], Array]:
        signed, weights = merge(self.signed, num_groups), merge(self.weights, num_groups)
        l2 = self.l2 * (self.num_partitions // num_groups)

        def gradients(theta: Array) -> Array:
            slope = weights * jax.nn.sigmoid(group_products(signed, theta))
            return jnp.einsum("gn,gnd->gd", slope, signed, precision=EXACT) + l2 * jnp.atleast_2d(
                theta
            )

        return gradients

    def group_smoothness(self, num_groups: int) -> Array:
        return _group_constants(self, self.signed, BINARY_CURVATURE, num_groups)

    def sample(self, key: Array, batch_size: int) -> "LogisticRegression":
        signed, weights = sample_partitions(key, self.signed, self.weights, batch_size)
        return replace(self, signed=signed, weights=weights)

    def gap(self, theta: Array) -> Array:
        move = theta - self.minimizer
        logit = jnp.matmul(self.signed, self.minimizer, precision=EXACT)
        shift = jnp.matmul(self.signed, move, precision=EXACT)
        log_p = jnp.stack([jax.nn.log_sigmoid(-logit), jax.nn.log_sigmoid(logit)])
        return _gap(self, log_p, jnp.stack([jnp.zeros_like(shift), shift]), move)

    def loss(self, theta: Array) -> Array:
        return self.optimum + self.gap(theta)


@pytree()
class MultinomialRegression(Problem):
    """`L_m = sum w (A(x.W) - x.W_y) + l2/2 |W|^2`; made by `multinomial_regression`.

    Attributes:
        X: (M, N, d) features.
        labels: (M, N) class of every sample, from 0 to C-1.
        weights: (M, N) of the samples, 0 for padding.
        l2: () weight of the penalty of every partition.
        tilt: (d C,) gradient of the whole loss at the stored (rounded) minimiser.
    """

    X: Array
    labels: Array
    weights: Array
    l2: Array
    tilt: Array
    smoothness: Array
    total_smoothness: Array
    strong_convexity: Array
    minimizer: Array
    optimum: Array

    def flatten(self, theta: ArrayLike) -> Array:
        finite("theta0", theta)
        shape = np.shape(self.unflatten(self.minimizer))
        if np.shape(theta) != shape:
            raise ValueError(
                f"theta0 has shape {np.shape(theta)}; give {shape}, a row a feature and a column a "
                f"class"
            )
        return jnp.asarray(theta, self.minimizer.dtype).reshape(-1)

    def unflatten(self, theta: Array) -> Array:
        return theta.reshape(*theta.shape[:-1], self.X.shape[-1], -1)

    def group_gradients(self, num_groups: int) -> Callable[[Array], Array]:
        X, labels, weights = (merge(a, num_groups) for a in (self.X, self.labels, self.weights))
        l2 = self.l2 * (self.num_partitions // num_groups)

        def gradients(theta: Array) -> Array:
            logits = jnp.matmul(X, self.unflatten(theta), precision=EXACT)
            target = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
            slope = weights[..., None] * (jax.nn.softmax(logits) - target)
            summed = jnp.einsum("gnd,gnc->gdc", X, slope, precision=EXACT)
            return summed.reshape(num_groups, -1) + l2 * jnp.atleast_2d(theta)

        return gradients

    def group_smoothness(self, num_groups: int) -> Array:
        return _group_constants(self, self.X, SOFTMAX_CURVATURE, num_groups)

    def sample(self, key: Array, batch_size: int) -> "MultinomialRegression":
        samples = (self.X, self.labels)
        (X, labels), weights = sample_partitions(key, samples, self.weights, batch_size)
        return replace(self, X=X, labels=labels, weights=weights)

    def gap(self, theta: Array) -> Array:
        move = theta - self.minimizer
        logits, shift = (
            jnp.einsum("mnd,dc->cmn", self.X, self.unflatten(point), precision=EXACT)
            for point in (self.minimizer, move)
        )
        return _gap(self, jax.nn.log_softmax(logits, axis=0), shift, move)

    def loss(self, theta: Array) -> Array:
        return self.optimum + self.gap(theta)


Logistic = LogisticRegression | MultinomialRegression


def _group_constants(problem: Logistic, X: Array, curvature: float, num_groups: int) -> Array:
    """`curvature` times the largest eigenvalue of `X_g^T W_g X_g`, plus the penalty's: (G,)."""
    if num_groups == 1:
        return problem.total_smoothness[None]
    if num_groups == problem.num_partitions:
        return problem.smoothness
    weighted = jnp.sqrt(problem.weights)[..., None] * X
    penalty = problem.l2 * (problem.num_partitions // num_groups)
    return curvature * gram_norms(merge(weighted, num_groups)) + penalty


@lenient
def _gap(problem: Logistic, log_p: Array, shift: Array, move: Array) -> Array:
    """The loss minus its tangent at the optimum, sample by sample, and the tangent's slope there.

    No two values of the loss are subtracted, so a small gap keeps its relative precision.

    Args:
        problem: its weights, penalty and tilt.
        log_p: (C, M, N) log-probabilities of the classes at the minimiser.
        shift: (C, M, N) differences of the logits from those at the minimiser.
        move: (d C,) or (d,) `theta - theta*`.
    """
    penalty = 0.5 * problem.l2 * problem.num_partitions * jnp.sum(move**2)
    samples = jnp.sum(problem.weights * _divergence(log_p, shift))
    return samples + penalty + jnp.dot(problem.tilt, move, precision=EXACT)


def _divergence(log_p: Array, shift: Array) -> Array:
    """`A(z + s) - A(z) - p.s` over the leading axis, `A` the log-sum-exp and `p = softmax(z)`.

    With `t = s - p.s` this is `log sum p exp(t)`, and `sum p t = 0`, so it is also
    `log(1 + sum p (exp(t) - 1 - t))`, in which nothing cancels.
    """
    p = jnp.exp(log_p)
    t = shift - jnp.sum(p * shift, axis=0)
    limit = 80.0  # exp(80) is a float32
    near = jnp.log1p(jnp.sum(p * _exp_minus_tangent(jnp.minimum(t, limit)), axis=0))
    far = jax.nn.logsumexp(log_p + t, axis=0)
    return jnp.where(jnp.max(t, axis=0) <= limit, near, far)


def _exp_minus_tangent(t: Array) -> Array:
    """`exp(t) - 1 - t` to a few roundings, by its series near 0."""
    small = jnp.clip(t, -0.25, 0.25)
    tail = jnp.ones_like(t)
    for n in range(13, 2, -1):  # the first term left out is 0.25^12 / 14! of the first: 1e-18
        tail = 1 + small * tail / n
    return jnp.where(jnp.abs(t) <= 0.25, 0.5 * small**2 * tail, jnp.expm1(t) - t)


def logistic_regression(
    X: ArrayLike, y: ArrayLike, *, l2: float, weights: ArrayLike | None = None
) -> LogisticRegression:
    """Build a logistic regression over M partitions, solved by Newton's method in float64.

    Args:
        X: features, (M, N, d).
        y: labels in {-1, +1}, (M, N).
        l2: penalty `l2/2 |theta|^2` of every partition (`M l2` in the whole loss), `l2 >= 0`.
        weights: of the samples, (M, N), not negative; 0 for padding, whose label may then be any
            number. Ones by default.

    Returns:
        The problem in the dtype of `X`. `smoothness` is a quarter of the largest eigenvalue of
        `X_m^T X_m` plus `l2`; `strong_convexity` is the bound `M l2`.

    Raises:
        ValueError: if shapes do not fit, data are not finite, labels are not -1 or 1, weights or
            `l2` are negative, or no optimum is found (separable data with `l2 = 0`).

    >>> problem = logistic_regression([[[1.0]], [[2.0]]], [[1], [-1]], l2=1.0)
    >>> problem.smoothness.tolist()
    [1.25, 2.0]
    """
    features, labels, dtype = partitioned(X, y)
    sample_weights = _sample_weights(weights, labels)
    wrong = labels[(np.abs(labels) != 1) & (sample_weights > 0)]
    if wrong.size:
        raise ValueError(f"y holds the label {wrong[0]}; give labels in {{-1, +1}}")
    # With signed features the logits are (0, -y x.theta) and class 0 is always the right one.
    signed = -labels[:, :, None] * features
    right = np.zeros(labels.shape, int)
    space = np.array([[0.0], [1.0]])
    values = _fit(signed, right, sample_weights, l2, space, space, BINARY_CURVATURE, dtype)
    return LogisticRegression(signed=jnp.asarray(signed, dtype), **values)


def multinomial_regression(
    X: ArrayLike,
    y: ArrayLike,
    *,
    l2: float,
    weights: ArrayLike | None = None,
    num_classes: int | None = None,
) -> MultinomialRegression:
    """Build a multinomial logistic regression over M partitions, solved by Newton's method.

    Its parameters are `W` (d, C), a column of logits a class; starts and trajectories have that
    form. With two classes its path is that of `logistic_regression` with `l2/2`, `W` holding
    `(-theta/2, theta/2)`. Newton's method runs in float64 and holds a Hessian of `(d (C-1))^2`
    numbers: for more than some thousand parameters, `general_problem` finds the optimum by L-BFGS.

    Args:
        X: features, (M, N, d); a column of ones makes an intercept.
        y: classes, whole numbers from 0 to C-1, (M, N).
        l2: penalty `l2/2 |W|^2` of every partition (`M l2` in the whole loss), `l2 >= 0`.
        weights: of the samples, (M, N), not negative; 0 for padding, whose class may then be any
            number. Ones by default.
        num_classes: `C`; by default the largest class plus one, all of which then have samples.

    Returns:
        The problem in the dtype of `X`. `smoothness` is half of the largest eigenvalue of
        `X_m^T X_m` plus `l2`, from the bound `(I - 1 1^T / C) / 2` on the Hessian of the
        log-sum-exp (Boehning, "Multinomial logistic regression algorithm", AISM 44, 1992). It is
        the smallest constant there is for two classes, and for any number where some direction has
        a positive product with every sample, as with an intercept; else an upper bound, and at
        most `C/2` times the smallest. `strong_convexity` is the bound `M l2`.

    Raises:
        ValueError: if shapes do not fit, data are not finite, classes are not whole numbers from 0
            to C-1, one has no sample and `num_classes` is not given, weights or `l2` are negative,
            or no optimum is found (separable data with `l2 = 0`).

    >>> problem = multinomial_regression([[[1.0]], [[2.0]]], [[0], [2]], l2=1.0, num_classes=3)
    >>> problem.smoothness.tolist(), problem.unflatten(problem.minimizer).shape
    ([1.5, 3.0], (1, 3))
    """
    features, classes, dtype = partitioned(X, y)
    labels, sample_weights, C = check_classes(classes, weights, num_classes)
    # A vector added to every column of W changes no probability: Newton's method moves in the rest.
    rest = np.linalg.svd(np.ones((1, C)))[2][1:].T
    values = _fit(features, labels, sample_weights, l2, np.eye(C), rest, SOFTMAX_CURVATURE, dtype)
    return MultinomialRegression(
        X=jnp.asarray(features, dtype), labels=jnp.asarray(labels), **values
    )


def check_classes(
    y: np.ndarray, weights: ArrayLike | None, num_classes: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Check classes (M, N) and weights; return both, class 0 where the weight is zero, and `C`."""
    sample_weights = _sample_weights(weights, y)
    counted = sample_weights > 0
    classes = np.where(counted, y, 0)
    C = max(int(classes.max()) + 1, 2)
    if num_classes is not None:
        C = whole_number("num_classes", num_classes, minimum=2)
    wrong = classes[(classes < 0) | (classes >= C) | (classes % 1 != 0)]
    if wrong.size:
        raise ValueError(f"y holds the class {wrong[0]}; give whole numbers from 0 to {C - 1}")
    found = np.unique(y[counted])
    if num_classes is None and found.size and found.size <= found[-1]:
        empty = next(c for c in range(C) if c not in found)
        raise ValueError(
            f"y has no sample of class {empty} but of class {found[-1]:g}; count from 0, or give "
            f"num_classes={C} if that is meant"
        )
    return classes.astype(np.int32), sample_weights, C


def _sample_weights(weights: ArrayLike | None, labels: np.ndarray) -> np.ndarray:
    if weights is None:
        return np.ones(labels.shape)
    not_negative("weights", weights)
    if np.shape(weights) != labels.shape:
        raise ValueError(
            f"weights has shape {np.shape(weights)}; give {labels.shape}, one a sample of y"
        )
    return finite_data("weights", weights)


def _fit(
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

    Args:
        X: (M, N, d) features.
        labels: (M, N) classes.
        weights: (M, N) of the samples.
        l2: penalty of every partition.
        space: (C, P) logits of a row of the parameters (d, P); orthonormal columns.
        basis: (C, B) orthonormal columns, the part of that space in which Newton's method moves.
        curvature: bound on that of the log-sum-exp in the space of the parameters.
        dtype: of the simulation.
    """
    not_negative("l2", l2)
    M, d = X.shape[0], X.shape[2]
    data, classes, w = X.reshape(-1, d), labels.reshape(-1), weights.reshape(-1)
    # The optimum lies in the span of the samples: with fewer than features, Newton's method moves
    # in an orthonormal basis of that span.
    axes, rows = None, data
    if len(data) < d:
        axes, triangle = np.linalg.qr(data.T)
        rows = triangle.T
    d = rows.shape[1]

    derivatives = _derivatives(rows, classes, w, M * l2, basis)
    found, optimum = minimize_newton(derivatives, np.zeros(d * basis.shape[1]))
    counted = (w > 0) & data.any(axis=1)
    losses = _samples(rows @ found.reshape(d, -1) @ basis.T, classes)[0][counted]
    if l2 == 0 and losses.max(initial=0.0) < np.log(2):  # the loss of a tie
        raise ValueError(f"no optimum found: X separates the labels y and l2={l2}; give l2 > 0")
    minimizer = found.reshape(d, -1) @ basis.T @ space
    minimizer = minimizer if axes is None else axes @ minimizer
    rounded = np.asarray(jnp.asarray(minimizer, dtype), np.float64)
    slope = _samples(data @ rounded @ space.T, classes)[2]
    tilt = data.T @ (w[:, None] * slope @ space) + M * l2 * rounded
    values = dict(
        weights=weights,
        l2=l2,
        tilt=tilt.reshape(-1),
        smoothness=curvature * host_gram_norms(np.sqrt(weights)[..., None] * X) + l2,
        total_smoothness=curvature * host_gram_norms((np.sqrt(w)[:, None] * data)[None])[0]
        + M * l2,
        strong_convexity=M * l2,
        minimizer=minimizer.reshape(-1),
        optimum=optimum,
    )
    return {name: stored(value, dtype) for name, value in values.items()}


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


def classification_accuracy(logits: ArrayLike, y: ArrayLike) -> Array:
    """Share of samples whose largest logit is that of their class, (); the first in a tie.

    NaN where a logit is, as along a path that diverged. With `record` of `descend` or `simulate`
    it gives the test accuracy along a path.

    Args:
        logits: (S, C).
        y: (S,) classes from 0 to C-1.

    Raises:
        ValueError: if the shapes do not fit, or known classes are not from 0 to C-1.

    >>> float(classification_accuracy([[2.0, 1.0], [0.0, 3.0]], [0, 0]))
    0.5
    """
    if np.ndim(logits) != 2 or np.shape(y) != np.shape(logits)[:1]:
        raise ValueError(
            f"logits has shape {np.shape(logits)} and y has shape {np.shape(y)}; give (S, C) and "
            f"(S,)"
        )
    known, C = real_array("y", y), np.shape(logits)[1]
    if known is not None and (wrong := known[~np.isin(known, np.arange(C))]).size:
        raise ValueError(f"y holds the class {wrong[0]}; give whole numbers from 0 to {C - 1}")
    scores = jnp.asarray(logits)
    right = jnp.argmax(scores, axis=-1) == jnp.asarray(y)
    return jnp.where(jnp.any(jnp.isnan(scores)), jnp.nan, jnp.mean(right, dtype=float))
