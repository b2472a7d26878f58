"""Logistic regression, binary and multinomial: gradients, constants, optimum and accuracy.

Either loss is a weighted sum over samples of `A(z) - z_y`, `A` the log-sum-exp of the logits `z`,
which are linear in the parameters: binary logits are `(0, x.theta)`, multinomial ones `x.W`. What
does not depend on the number of classes is written once. A sample of weight zero is padding: it
enters no loss, gradient or constant.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import finite, shaped
from lagc_jax._pytree import EXACT, pytree
from lagc_jax.problems._arrays import (
    adopted,
    aligned,
    gram_norms,
    group_products,
    merge,
    partitioned,
    sample_partitions,
    stored,
)
from lagc_jax.problems._csr import fill_up, is_ragged, is_sparse
from lagc_jax.problems._logistic_fit import fit_logistic
from lagc_jax.problems._logistic_gap import binary_gap, logistic_gap
from lagc_jax.problems.base import Problem
from lagc_jax.problems.classes import check_classes, sample_weights
from lagc_jax.problems.sparse import SparseLogisticRegression, sparse_logistic_regression

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
        return binary_gap(self, logit, shift, move)


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
        shaped("theta0", theta, [shape], f"{shape}, a row a feature and a column a class")
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
        return logistic_gap(self, jax.nn.log_softmax(logits, axis=0), shift, move)


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


def logistic_regression(
    X: Any, y: Any, *, l2: float, weights: Any = None
) -> LogisticRegression | SparseLogisticRegression:
    """Build a logistic regression over M partitions, solved by Newton's method in float64.

    Args:
        X: features, (M, N, d), or a list of M partitions (N_m, d) of different length. Or sparse:
            a matrix (S, d) of SciPy, or BCSR or BCOO of JAX, with the rows of all partitions one
            after the other, or a list of M of them.
        y: labels in {-1, +1}, (M, N), or a list of M vectors (N_m,), as are then the weights.
        l2: penalty `l2/2 |theta|^2` of every partition (`M l2` in the whole loss), `l2 >= 0`.
        weights: of the samples, (M, N), not negative; 0 for padding, whose label may then be any
            number. Ones by default.

    Returns:
        The problem in the dtype of `X`. `smoothness` is a quarter of the largest eigenvalue of
        `X_m^T X_m` plus `l2`; `strong_convexity` is the bound `M l2`. More than a million float32
        numbers give it a relative error of up to 1e-6. Of sparse data, eigenvalues come
        from Lanczos's method: for partitions and the whole with an estimated error below 1e-14, for
        other groups as soon as 25 more of its steps raise them by less than 100 roundings, or after
        200 steps; they are never too large but for rounding.

    Raises:
        ValueError: if shapes do not fit, data are not finite, labels are not -1 or 1, weights or
            `l2` are negative, or no optimum is found (separable data with `l2 = 0`).

    >>> problem = logistic_regression([[[1.0]], [[2.0]]], [[1], [-1]], l2=1.0)
    >>> problem.smoothness.tolist()
    [1.25, 2.0]
    """
    if is_sparse(X):
        return sparse_logistic_regression(X, y, l2, weights)
    if is_ragged(X):
        X, y, weights = fill_up(X, y, weights)
    features, labels, dtype = partitioned(X, y)
    w = sample_weights(weights, labels)
    wrong = labels[(np.abs(labels) != 1) & (w > 0)]
    if wrong.size:
        raise ValueError(f"y holds the label {wrong[0]}; give labels in {{-1, +1}}")
    # With signed features the logits are (0, -y x.theta) and class 0 is always the right one.
    signed = aligned(features.shape, features.dtype)
    np.multiply(-labels[:, :, None], features, out=signed)
    right = np.zeros(labels.shape, int)
    space = np.array([[0.0], [1.0]])
    values = fit_logistic(signed, right, w, l2, space, space, BINARY_CURVATURE, dtype)
    return LogisticRegression(signed=adopted(signed, dtype), **values)


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
    `(-theta/2, theta/2)`. Newton's method runs in float64; up to a million numbers in X, or with
    fewer samples than features, it holds a Hessian of `(d (C-1))^2` numbers, otherwise of `d^2`.

    Args:
        X: features, (M, N, d); a column of ones makes an intercept.
        y: classes, whole numbers from 0 to C-1, (M, N).
        l2: as for `logistic_regression`, of `|W|^2`.
        weights: as for `logistic_regression`.
        num_classes: `C`; by default the largest class plus one, all of which then have samples.

    Returns:
        The problem in the dtype of `X`. `smoothness` is half of the largest eigenvalue of
        `X_m^T X_m` plus `l2`, from the bound `(I - 1 1^T / C) / 2` on the Hessian of the
        log-sum-exp (Boehning, "Multinomial logistic regression algorithm", AISM 44, 1992). It is
        the smallest constant there is for two classes, and for any number where some direction has
        a positive product with every sample, as with an intercept; else an upper bound, and at
        most `C/2` times the smallest. `strong_convexity` is the bound `M l2`.

    Raises:
        ValueError: as for `logistic_regression`, or if one class has no sample and `num_classes` is
            not given.

    >>> problem = multinomial_regression([[[1.0]], [[2.0]]], [[0], [2]], l2=1.0, num_classes=3)
    >>> problem.smoothness.tolist(), problem.unflatten(problem.minimizer).shape
    ([1.5, 3.0], (1, 3))
    """
    if is_ragged(X):
        X, y, weights = fill_up(X, y, weights)
    features, classes, dtype = partitioned(X, y)
    labels, w, C = check_classes(classes, weights, num_classes)
    # A vector added to every column of W changes no probability: Newton's method moves in the rest.
    rest = np.linalg.svd(np.ones((1, C)))[2][1:].T
    values = fit_logistic(features, labels, w, l2, np.eye(C), rest, SOFTMAX_CURVATURE, dtype)
    return MultinomialRegression(X=stored(features, dtype), labels=jnp.asarray(labels), **values)
