"""What problems are computed with: groups of partitions, samples and largest eigenvalues."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._checks import as_leaf, finite_data
from lagc_jax._modes import float_dtype
from lagc_jax._pytree import EXACT


def merge(array: Array, num_groups: int) -> Array:
    """Concatenate the rows of a group's partitions: (M, N, ...) to (G, n N, ...)."""
    return array.reshape(num_groups, -1, *array.shape[2:])


def sum_groups(array: Array, num_groups: int) -> Array:
    """Add up the entries of a group's partitions: (M, ...) to (G, ...)."""
    return array.reshape(num_groups, -1, *array.shape[1:]).sum(1)


def group_products(matrices: Array, points: Array) -> Array:
    """Products of matrices (G, N, d) with one vector (d,) or one a matrix (G, d): (G, N)."""
    if points.ndim == 1:
        return jnp.matmul(matrices, points, precision=EXACT)
    return jnp.einsum("gnd,gd->gn", matrices, points, precision=EXACT)


def partition_keys(key: Array, num_partitions: int) -> Array:
    """One key a partition, whatever the groups: workers that hold it draw the same samples."""
    return jax.vmap(lambda m: _keys.fold_in(key, m))(jnp.arange(num_partitions))


def draw_samples(key: Array, samples: Any, weights: Array, batch_size: int) -> tuple[Any, Array]:
    """Draw `B` samples of a partition uniformly, with replacement, among those of positive weight.

    Samples are a pytree whose leaves have the leading axis N. Their weights come times the number
    of those that are positive over `B`: a sum over them has the mean of that over the partition.
    """
    rank = jnp.cumsum(weights > 0, dtype=jnp.int32)
    drawn = _keys.below(key, (batch_size,), rank[-1], jnp.int32)
    # Measured in a loop: XLA ranks once, before it, and the unrolled search adds next to nothing.
    rows = jnp.searchsorted(rank[:-1], drawn, side="right", method="scan_unrolled")
    scale = rank[-1].astype(weights.dtype) / batch_size
    return jax.tree.map(lambda leaf: leaf[rows], samples), weights[rows] * scale


def sample_partitions(
    key: Array, samples: Any, weights: Array, batch_size: int
) -> tuple[Any, Array]:
    """`draw_samples` of every partition: leaves (M, B, ...) and weights (M, B)."""
    keys = partition_keys(key, weights.shape[0])
    return jax.vmap(partial(draw_samples, batch_size=batch_size))(keys, samples, weights)


def gram_norms(X: Array) -> Array:
    """Largest eigenvalue of `X_g^T X_g` for every g, through the smaller product: (G,)."""
    wide = X.shape[-1] > X.shape[-2]
    product = "gid,gjd->gij" if wide else "gni,gnj->gij"
    return jnp.linalg.eigvalsh(jnp.einsum(product, X, X, precision=EXACT))[..., -1]


def host_gram_norms(X: np.ndarray) -> np.ndarray:
    """`gram_norms` in float64 on the host."""
    wide = X.shape[-1] > X.shape[-2]
    return largest_eigenvalues(X @ X.swapaxes(-1, -2) if wide else X.swapaxes(-1, -2) @ X)


# Measured: up to here all eigenvalues of a matrix cost no more than its largest by itself.
SMALL_MATRIX = 256


def largest_eigenvalues(gram: np.ndarray) -> np.ndarray:
    """Largest eigenvalues of positive semidefinite matrices (G, p, p): (G,), to rounding."""
    if gram.shape[-1] <= SMALL_MATRIX:
        return np.linalg.eigvalsh(gram)[..., -1]
    return np.array([_lanczos(matrix) for matrix in gram])


def _lanczos(matrix: np.ndarray) -> float:
    """The largest eigenvalue by Lanczos's method, its residual below 1e-12 of it.

    It is then wrong by less than that, and most often by its square over the eigenvalues' distance.
    """
    p = len(matrix)
    basis, couplings, values = np.empty((p, p)), np.zeros((p, p)), np.zeros(1)
    vector = np.random.default_rng(0).normal(size=p)
    for k in range(p):
        basis[k] = vector / np.linalg.norm(vector)
        vector = matrix @ basis[k]
        couplings[k, k] = basis[k] @ vector
        for _ in range(2):  # once loses orthogonality
            vector = vector - basis[: k + 1].T @ (basis[: k + 1] @ vector)
        norm = np.linalg.norm(vector)
        if k % 16 == 15 or k == p - 1 or norm == 0:
            values, vectors = np.linalg.eigh(couplings[: k + 1, : k + 1])
            if norm * abs(vectors[-1, -1]) <= 1e-12 * values[-1]:
                break
        if k < p - 1:
            couplings[k, k + 1] = couplings[k + 1, k] = norm
    return float(values[-1])


def stored(value: Any, dtype: Any) -> Any:
    """A constant of a problem, rounded to the dtype to simulate in."""
    return None if value is None else jnp.asarray(value, dtype)


def partitioned(X: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray, Any]:
    """Check a partitioned data set; return it in float64 with the dtype to simulate in."""
    features, targets = finite_data("X", X), finite_data("y", y)
    if features.ndim != 3 or 0 in features.shape:
        raise ValueError(
            f"X has shape {features.shape}; give (M, N, d), partitions on the leading axis"
        )
    if targets.shape != features.shape[:2]:
        raise ValueError(
            f"y has shape {targets.shape} but X has {features.shape[0]} partitions of "
            f"{features.shape[1]} rows; give y of shape {features.shape[:2]}"
        )
    dtype = float_dtype(as_leaf(jnp.asarray(X)))
    for name, array in (("X", features), ("y", targets)):
        with np.errstate(over="ignore"):
            if not np.sum(array**2) <= jnp.finfo(dtype).max:
                raise ValueError(f"{name} has squares beyond {dtype}; give it in smaller units")
    return features, targets, dtype
