"""Linear regression, its constants exact and its gap resolved to rounding; LAG's synthetic data."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._checks import (
    finite_data,
    not_negative_number,
    one_axis,
    positive,
    positive_number,
    whole_number,
)
from lagc_jax._pytree import EXACT, pytree
from lagc_jax.problems._arrays import (
    adopted,
    gram_norms,
    group_products,
    host_gram_norms,
    merge,
    partitioned,
    product,
    sample_partitions,
    stored,
    sum_groups,
)
from lagc_jax.problems._csr import fill_up, is_ragged
from lagc_jax.problems._least_squares import least_squares
from lagc_jax.problems._progress import steps
from lagc_jax.problems._spiked import Spiked, find_spikes
from lagc_jax.problems.base import Problem


@pytree()
class LinearRegression(Problem):
    """`L_m(theta) = 1/2 |X_m theta - y_m|^2`; made by `linear_regression`.

    Attributes:
        X: (M, N, d) features.
        y: (M, N) targets.
        gram: (M, d, d) `X_m^T X_m`, or None where products with X are the cheaper way.
        tilt: (M, d) gradients of the partitions at the optimum; they add up to zero.
        root: (min(M N, d), d) triangular factor with `root^T root = sum_m X_m^T X_m`.
        weights: (M, N) of the rows of a minibatch; None where all rows are there.
        spiked: `gram` as the identity and a spike each; None where it is not.
    """

    X: Array
    y: Array
    gram: Array | None
    tilt: Array
    root: Array
    smoothness: Array
    total_smoothness: Array
    strong_convexity: Array
    minimizer: Array
    optimum: Array
    weights: Array | None = None
    spiked: Spiked | None = None

    def group_gradients(self, num_groups: int) -> Callable[[Array], Array]:
        if self.weights is not None:
            return self._minibatch_gradients(self.weights, num_groups)
        tilt = sum_groups(self.tilt, num_groups)
        if self.spiked is not None and self.spiked.pays(num_groups):
            multiply = self.spiked.products(num_groups)
            return lambda theta: tilt + multiply(theta - self.minimizer)
        gram = self._group_gram(num_groups)
        if gram is not None:
            return lambda theta: tilt + group_products(gram, theta - self.minimizer)
        X = merge(self.X, num_groups)

        def through_data(theta: Array) -> Array:
            residual = group_products(X, theta - self.minimizer)
            return tilt + jnp.einsum("gn,gnd->gd", residual, X, precision=EXACT)

        return through_data

    def _minibatch_gradients(self, weights: Array, num_groups: int) -> Callable[[Array], Array]:
        """Through the rows: neither Gram matrices nor tilts pay off for one gradient or two."""
        X, y, weights = (merge(array, num_groups) for array in (self.X, self.y, weights))

        def through_rows(theta: Array) -> Array:
            residual = weights * (group_products(X, theta) - y)
            return jnp.einsum("gn,gnd->gd", residual, X, precision=EXACT)

        return through_rows

    def sample(self, key: Array, batch_size: int) -> "LinearRegression":
        """As `Problem.sample`; rows of zeros that pad a partition count as samples, unbiased."""
        ones = jnp.ones_like(self.y)
        (X, y), weights = sample_partitions(key, (self.X, self.y), ones, batch_size)
        return replace(self, X=X, y=y, weights=weights, gram=None)

    def _group_gram(self, num_groups: int) -> Array | None:
        """Gram matrices of the groups (G, d, d), None where they are the dearer way."""
        if self.gram is not None:
            return sum_groups(self.gram, num_groups)
        X = merge(self.X, num_groups)
        if not _gram_is_cheaper(X.shape[1], X.shape[2]):
            return None
        return jnp.einsum("gni,gnj->gij", X, X, precision=EXACT)

    def group_smoothness(self, num_groups: int) -> Array:
        if num_groups == 1:
            return self.total_smoothness[None]
        if num_groups == self.num_partitions:
            return self.smoothness
        gram = self._group_gram(num_groups)
        if gram is None:
            return gram_norms(merge(self.X, num_groups))
        return jnp.linalg.eigvalsh(gram)[..., -1]

    def gap(self, theta: Array) -> Array:
        if self.spiked is not None and self.spiked.pays(1):
            return 0.5 * self.spiked.energy(theta - self.minimizer)
        image = product(self.root, theta - self.minimizer)
        return 0.5 * jnp.sum(image**2)


def _gram_is_cheaper(num_rows: int, num_features: int) -> bool:
    """Whether one product with the Gram matrix beats one with X and one with its transpose."""
    return num_features <= 2 * num_rows


def linear_regression(X: Any, y: Any) -> LinearRegression:
    """Build a linear regression over M partitions, with its exact optimum and constants.

    Args:
        X: features, (M, N, d); rows of zeros pad uneven partitions. Or a list of M partitions
            (N_m, d) of different length, padded here.
        y: targets, (M, N), or a list of M vectors (N_m,).

    Returns:
        The problem in the dtype of `X` (integers become floats); `optimum` is the closed-form
        least-squares value, `smoothness` holds the largest eigenvalues of `X_m^T X_m`, and
        `strong_convexity` the smallest nonzero eigenvalue of their sum, which governs gradient
        descent also where the sum is singular. More than a million numbers whose sum of Gram
        matrices has eigenvalues that span less than 1e8 are solved through that sum:
        `strong_convexity` and the gap then have a relative error of up to 1e-15 times that span.
        Float32 data are multiplied in float32 where it spans less than 1000 (with 1e-6 in place of
        1e-15), and the partitions' Gram matrices always. The minimiser is corrected with residuals
        in float64 until it has their precision. Everything else goes through orthogonal factors.

    Raises:
        ValueError: if shapes do not fit, data are not finite, or all features are zero.

    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> problem.smoothness.tolist()
    [1.0, 4.0]
    """
    if is_ragged(X):
        X, y, _ = fill_up(X, y, None)
    features, targets, dtype = partitioned(X, y)
    with_gram = _gram_is_cheaper(*features.shape[1:])
    with steps("linear_regression", 3, features.size > SLOW_DATA) as step:
        fit = least_squares(features, targets, with_gram, step)
    values = dict(
        X=features,
        y=targets,
        gram=None if fit.gram is None else adopted(fit.gram, dtype),
        tilt=fit.tilt,
        root=fit.root,
        smoothness=fit.smoothness,
        total_smoothness=fit.extremes[1],
        strong_convexity=fit.extremes[0],
        minimizer=fit.minimizer,
        optimum=fit.optimum,
    )
    found = None if fit.gram is None else find_spikes(fit.gram)
    spiked = None if found is None else Spiked(*(stored(part, dtype) for part in found))
    return LinearRegression(**{k: stored(v, dtype) for k, v in values.items()}, spiked=spiked)


# Features beyond which building takes more than a few seconds, and says how far it is.
SLOW_DATA = 2**24


def _draw(key: Array, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers of float32, from now on exact: alike in every precision."""
    return np.asarray(_keys.normal(_keys.known_key(key), shape, jnp.float32), np.float64)


def synthetic_linear_regression(
    key: Array,
    num_workers: int = 12,
    num_features: int = 50,
    growth: float = 1.3,
    noise: float = 0.1,
) -> LinearRegression:
    """Draw LAG's synthetic linear regression with increasing smoothness; consumes `key`.

    `X_m = growth^(m-1) q_m q_m^T + I` with orthonormal `q_m`, so that `L_m = (growth^(m-1) + 1)^2`,
    and `y_m = X_m theta_true + noise * normal` (LAG, section 4). `theta_true` is standard normal.
    One key gives one problem in every precision.

    Args:
        key: a JAX random key.
        num_workers: `M`.
        num_features: `d`, at least `M`.
        growth: ratio of successive leading singular values of `X_m - I`.
        noise: standard deviation of the noise on the targets.

    Raises:
        ValueError: for fewer features than workers, a growth not positive, a negative noise.

    >>> import jax
    >>> problem = synthetic_linear_regression(jax.random.key(0), num_workers=3, num_features=5)
    >>> [round(float(c), 3) for c in problem.smoothness]
    [4.0, 5.29, 7.236]
    """
    M = whole_number("num_workers", num_workers)
    d = whole_number("num_features", num_features)
    if d < M:
        raise ValueError(
            f"num_features={d} is less than num_workers={M}; the q_m cannot be orthonormal, give "
            f"num_features >= num_workers"
        )
    positive_number("growth", growth)
    not_negative_number("noise", noise)
    draws = _draw(key, (2 * M + 1, d))
    directions, theta_true, errors = draws[:M], draws[M], draws[M + 1 :]
    q = np.linalg.qr(directions.T)[0].T
    X = growth ** np.arange(M)[:, None, None] * q[:, :, None] * q[:, None, :] + np.eye(d)
    return linear_regression(X, X @ theta_true + noise * errors)


def gaussian_linear_regression(
    key: Array,
    num_workers: int = 12,
    num_rows: int = 10,
    num_features: int = 50,
    spread: float = 100.0,
    noise: float = 0.1,
) -> LinearRegression:
    """Draw a linear regression on Gaussian features for any number of workers; consumes `key`.

    `X_m` is standard normal, scaled so that the `L_m` rise geometrically from 1 to `spread`, and
    `y_m = X_m theta_true + noise * normal`; as LAG rescales the data of its workers (LAG, section
    4). One key gives one problem in every precision.

    Args:
        key: a JAX random key.
        num_workers: `M`.
        num_rows: `N`, rows of a worker.
        num_features: `d`.
        spread: `L_M / L_1`.
        noise: standard deviation of the noise on the targets.

    Raises:
        ValueError: for sizes that are not whole numbers, a spread not positive, a negative noise.

    >>> import jax
    >>> problem = gaussian_linear_regression(jax.random.key(0), 3, num_features=5, spread=4.0)
    >>> [round(float(c), 3) for c in problem.smoothness]
    [1.0, 2.0, 4.0]
    """
    M, N = whole_number("num_workers", num_workers), whole_number("num_rows", num_rows)
    d = whole_number("num_features", num_features)
    positive_number("spread", spread)
    not_negative_number("noise", noise)
    count = M * N * (d + 1) + d
    draws = _draw(key, (count,))
    X, theta_true, errors = np.split(draws, [M * N * d, M * N * d + d])
    X = X.reshape(M, N, d)
    smoothness = np.geomspace(1, spread, M)
    X = X * np.sqrt(smoothness / host_gram_norms(X))[:, None, None]
    return linear_regression(X, X @ theta_true + noise * errors.reshape(M, N))


def smooth_regression(key: Array, smoothness: ArrayLike) -> LinearRegression:
    """Draw a linear regression whose partitions have given smoothness constants; consumes `key`.

    `X_m = (sqrt(L_m) - s) q_m q_m^T + s I` with orthonormal `q_m` and `s^2` the smallest `L_m`, as
    in LAG's section 4, and standard normal targets.

    Args:
        key: a JAX random key.
        smoothness: (M,) constants `L_m > 0`.

    Raises:
        ValueError: if they are not one axis of positive numbers.

    >>> import jax
    >>> problem = smooth_regression(jax.random.key(0), [4.0, 9.0])
    >>> [round(float(c), 3) for c in problem.smoothness]
    [4.0, 9.0]
    """
    one_axis("smoothness", smoothness, 1)
    positive("smoothness", smoothness)
    root = np.sqrt(np.atleast_1d(finite_data("smoothness", smoothness)))
    M, least = root.size, root.min()
    draws = np.asarray(_keys.normal(_keys.known_key(key), (M + 1, M), jnp.float32), np.float64)
    q = np.linalg.qr(draws[:M].T)[0].T
    X = (root - least)[:, None, None] * q[:, :, None] * q[:, None, :] + least * np.eye(M)
    return linear_regression(X, X @ draws[M])
