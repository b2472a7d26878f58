"""What problems are computed with: groups of partitions, samples and largest eigenvalues."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._checks import as_leaf, known_data
from lagc_jax._modes import float_dtype, range_of
from lagc_jax._pytree import EXACT


def merge(array: Array, num_groups: int) -> Array:
    """Concatenate the rows of a group's partitions: (M, N, ...) to (G, n N, ...)."""
    return array.reshape(num_groups, -1, *array.shape[2:])


def sum_groups(array: Array, num_groups: int) -> Array:
    """Add up the entries of a group's partitions: (M, ...) to (G, ...)."""
    return array.reshape(num_groups, -1, *array.shape[1:]).sum(1)


def product(matrix: Array, point: Array) -> Array:
    """A matrix (N, d) times a vector (d,): (N,), with the vector as a row.

    Under `vmap` the members then stay the first axis of the product, as they are of everything else
    along a path. Measured: 1024 paths lost a quarter of their time to its transposition.
    """
    return jnp.matmul(point[None], matrix.T, precision=EXACT)[0]


def group_products(matrices: Array, points: Array) -> Array:
    """Products of matrices (G, N, d) with one vector (d,) or one a matrix (G, d): (G, N)."""
    if points.ndim == 1:
        return product(matrices.reshape(-1, points.size), points).reshape(matrices.shape[:2])
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
    """`gram_norms` on the host."""
    if X.size > SMALL_DATA:
        return np.array([gram_norm(part) for part in X])
    wide = X.shape[-1] > X.shape[-2]
    return largest_eigenvalues(X @ X.swapaxes(-1, -2) if wide else X.swapaxes(-1, -2) @ X)


def gram_norm(X: np.ndarray) -> float:
    """Largest eigenvalue of `X^T X`, of one X (N, d)."""
    return largest_eigenvalues((X @ X.T if X.shape[1] > X.shape[0] else X.T @ X)[None])[0]


def gram_matrices(
    X: np.ndarray, gram: np.ndarray | None = None, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`sum_m X_m^T W_m X_m` (d, d) and the terms' largest eigenvalues (M,), for X (M, N, d).

    Products have the precision of X, their sum float64; `gram` (M, d, d) receives the terms.
    """
    M, N, d = X.shape
    total, norms = np.zeros((d, d)), np.zeros(M)
    for m, part in enumerate(X):
        if weights is not None:
            part = part * np.sqrt(weights[m]).astype(X.dtype)[:, None]
        product = np.matmul(part.T, part, out=None if gram is None else gram[m])
        total += product
        narrow = d > N and gram is None
        norms[m] = gram_norm(part) if narrow else largest_eigenvalues(product[None])[0]
    return total, norms


# Numbers up to which all that is done to them takes less than a second.
SMALL_DATA = 2**20

# Measured: up to here all eigenvalues of a matrix cost no more than its largest by itself.
SMALL_MATRIX = 256


def largest_eigenvalues(gram: np.ndarray) -> np.ndarray:
    """Largest eigenvalues of positive semidefinite matrices (G, p, p): (G,), to rounding."""
    gram = gram.astype(np.float64, copy=False)
    if gram.shape[-1] <= SMALL_MATRIX:
        return np.linalg.eigvalsh(gram)[..., -1]
    return np.array([lanczos(matrix.__matmul__, len(matrix)) for matrix in gram])


def lanczos(product: Callable[[np.ndarray], np.ndarray], p: int) -> float:
    """Largest eigenvalue of a matrix (p, p) by Lanczos's method, wrong by less than 1e-14 of it.

    That is when the residual's square over the distance to the next eigenvalue is (Temple's bound,
    with the next one's estimate), or the residual itself.
    """
    longest, values = min(p, 1000), np.zeros(1)
    basis, couplings = np.empty((longest, p)), np.zeros((longest, longest))
    vector = np.random.default_rng(0).normal(size=p)
    for k in range(longest):
        basis[k] = vector / np.sqrt(vector @ vector)
        vector = product(basis[k])
        couplings[k, k] = basis[k] @ vector
        for _ in range(2):  # once loses orthogonality
            vector = vector - (basis[: k + 1] @ vector) @ basis[: k + 1]
        norm = np.sqrt(vector @ vector)
        if k % 8 == 7 or k == longest - 1 or norm == 0:
            values, vectors = np.linalg.eigh(couplings[: k + 1, : k + 1])
            residual, allowed = norm * abs(vectors[-1, -1]), 1e-14 * values[-1]
            distance = values[-1] - values[-2] - residual if k else 0.0
            if residual <= allowed or residual**2 <= allowed * distance:
                break
        if k < longest - 1:
            couplings[k, k + 1] = couplings[k + 1, k] = norm
    return float(values[-1])


def row_blocks(num_rows: int, num_features: int, rows_each: int | None = None) -> Iterator[slice]:
    """Slices of rows, by default of as many as stay in a processor's cache."""
    each = rows_each or max(1, 2**18 // num_features)
    return (slice(start, start + each) for start in range(0, num_rows, each))


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An empty array that `adopted` need not copy."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def adopted(array: np.ndarray, dtype: Any) -> Array:
    """An aligned array as one of JAX, on a CPU in the same memory: it must not change any more."""
    return jax.device_put(array.astype(dtype, copy=False), may_alias=True)


def stored(value: Any, dtype: Any) -> Any:
    """A constant of a problem, rounded to the dtype to simulate in."""
    if not isinstance(value, np.ndarray) or value.size <= SMALL_DATA:
        return None if value is None else jnp.asarray(value, dtype)
    # Measured: JAX takes ten times as long for a copy of a gigabyte, NumPy five times in one piece.
    copy = aligned(value.shape, dtype)
    flat = value.flags.c_contiguous
    source, target = (value.reshape(-1), copy.reshape(-1)) if flat else (value, copy)

    def fill(rows: slice) -> None:
        np.copyto(target[rows], source[rows], casting="same_kind")

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, row_blocks(len(source), value.size // len(source))))
    return adopted(copy, dtype)


def partitioned(X: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray, Any]:
    """Check a partitioned data set; return it with the dtype to simulate in.

    It comes in float64, but float32 data of more than `SMALL_DATA` numbers as they are.
    """
    if hasattr(X, "tocsr") or hasattr(X, "nse"):
        raise ValueError("X is sparse; give an array, or use logistic_regression")
    given = known_data("X", X), known_data("y", y)
    dtype = float_dtype(as_leaf(np.empty(0, given[0].dtype)))
    single = given[0].size > SMALL_DATA and given[0].dtype == np.float32
    features, targets = (a.astype(np.float32 if single else np.float64, copy=False) for a in given)
    if features.ndim != 3 or 0 in features.shape:
        raise ValueError(
            f"X has shape {features.shape}; give (M, N, d), partitions on the leading axis, as "
            f"lagc_jax.problems.shard deals rows to them"
        )
    if targets.shape != features.shape[:2]:
        raise ValueError(
            f"y has shape {targets.shape} but X has {features.shape[0]} partitions of "
            f"{features.shape[1]} rows; give y of shape {features.shape[:2]}"
        )
    for name, array in (("X", features), ("y", targets)):
        with np.errstate(over="ignore", under="ignore"):
            squares = np.vdot(array, array)
        if not squares <= range_of(dtype).max:
            raise ValueError(f"{name} has squares beyond {dtype}; give it in smaller units")
        if name == "X" and squares < range_of(dtype).tiny and array.any():
            raise ValueError(f"X has squares that {dtype} takes for zero; give it in larger units")
    return features, targets, dtype
