"""Gram matrices that are a multiple of the identity plus one spike, as in LAG's synthetic data.

With `A_m = s_m I + v_m v_m^T` a product takes `O(d)` in place of `O(d^2)` operations.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax._pytree import EXACT, pytree
from lagc_jax.problems._arrays import sum_groups


@pytree()
class Spiked:
    """The partitions' Gram matrices `A_m = s_m I + v_m v_m^T`.

    Attributes:
        floor: (M,) `s_m`.
        spikes: (M, d) `v_m`.
    """

    floor: Array
    spikes: Array

    def pays(self, num_groups: int) -> bool:
        """Whether products with a group's spikes are cheaper than one with its Gram matrix."""
        M, d = self.spikes.shape
        return 4 * (M // num_groups) <= d

    def products(self, num_groups: int) -> Callable[[Array], Array]:
        """`A_g e` (G, d) of one vector `e` (d,) for all groups or one a group (G, d)."""
        floor = sum_groups(self.floor, num_groups)[:, None]
        spikes = self.spikes.reshape(num_groups, -1, self.spikes.shape[1])

        def multiply(points: Array) -> Array:
            if points.ndim == 1:
                inner, points = jnp.matmul(spikes, points, precision=EXACT), points[None]
            else:
                inner = jnp.sum(spikes * points[:, None], axis=-1)
            # Sums of products, not matrix products: they fuse with what is done to the gradients.
            return floor * points + jnp.sum(inner[..., None] * spikes, axis=-2)

        return multiply

    def energy(self, point: Array) -> Array:
        """`e^T (sum_m A_m) e`, a sum of squares, ()."""
        inner = jnp.matmul(self.spikes, point, precision=EXACT)
        return jnp.sum(self.floor) * jnp.sum(point**2) + jnp.sum(inner**2)


def find_spikes(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """`s_m` (M,) and `v_m` (M, d) of Gram matrices (M, d, d); None unless all are found.

    They are where every entry (i, j) is met to the rounding of `X^T X`, that of `d |x_i| |x_j|`.
    """
    if gram.shape[-1] < 4:  # too few dimensions to pay
        return None
    found = []
    for matrix in gram:
        floor, spike = _split(matrix.astype(np.float64, copy=False))
        lengths = np.sqrt(np.diag(matrix))
        error = np.abs(np.outer(spike, spike) + floor * np.eye(len(spike)) - matrix)
        allowed = len(spike) * np.finfo(gram.dtype).eps * np.outer(lengths, lengths)
        if not (error <= allowed).all():  # nor where it is no number
            return None
        found.append((floor, spike))
    floors, spikes = zip(*found, strict=True)
    return np.array(floors), np.array(spikes)


def _split(matrix: np.ndarray) -> tuple[float, np.ndarray]:
    """`s` and `v` of a matrix (d, d), from its entries off the diagonal; not for sparse `v`."""
    d = len(matrix)
    if not (matrix - np.diag(np.diag(matrix))).any():
        return matrix[0, 0], np.zeros(d)
    order = np.argsort(np.diag(matrix))
    i, j, k = order[-3:]
    with np.errstate(all="ignore"):
        squared = matrix[k, i] * matrix[k, j] / matrix[i, j]
        spike = matrix[k] / np.sqrt(squared)
    spike[k] = np.sqrt(max(squared, 0.0))
    least = order[0]
    return max(float(matrix[least, least] - spike[least] ** 2), 0.0), spike
