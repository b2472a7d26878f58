"""Codes whose messages are shorter than a gradient: more load for fewer bits.

(Ye and Abbe, "Communication-Computation Efficient Gradient Coding", ICML 2018, arXiv 1802.03475;
its authors' code was not found.)
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from lagc_jax._checks import code_sizes, whole_number
from lagc_jax._modes import lenient
from lagc_jax._pytree import EXACT, pytree
from lagc_jax.schemes.codes import known_matrix
from lagc_jax.schemes.unequal_codes import TRIES, survivor_sets


@pytree("redundancy")
class ShortCode:
    """A code whose messages are an `m`-th of a gradient; made by `short_code`.

    Attributes:
        encoding: (n, m, n), the coefficients of worker, piece and partition.
        redundancy: `r`, partitions of every worker.
    """

    encoding: Array
    redundancy: int

    @property
    def group_size(self) -> int:
        """`n`, workers and partitions of the code."""
        return self.encoding.shape[-1]

    @property
    def pieces(self) -> int:
        """`m`, pieces into which a gradient is cut."""
        return self.encoding.shape[-2]

    @property
    def num_waited(self) -> int:
        """`F = n - r + m`, survivors that decode."""
        return self.group_size - self.redundancy + self.pieces

    def encode(self, gradients: Array) -> Array:
        """Messages of the workers (..., n, ceil(d/m)) from the partitions' gradients (..., n, d).

        A gradient is cut into `m` pieces one after the other, the last filled up with zeros.
        """
        length = -(-gradients.shape[-1] // self.pieces)
        padding = [(0, 0)] * (gradients.ndim - 1) + [
            (0, length * self.pieces - gradients.shape[-1])
        ]
        cut = jnp.pad(gradients, padding).reshape(*gradients.shape[:-1], self.pieces, length)
        return jnp.einsum("wup,...pul->...wl", self.encoding, cut, precision=EXACT)

    @lenient
    def decode(self, messages: Array, survivors: Array) -> Array:
        """Sum of the gradients from the survivors' messages (..., n, ceil(d/m)).

        Its length is `m ceil(d/m)`, with zeros at the end. Messages of all but the first `F`
        survivors, bool (..., n), are not read; with fewer the sum is NaN. Works inside `jit` and
        `vmap`.
        """
        n, m = self.group_size, self.pieces
        rows = jnp.argsort(~survivors, axis=-1, stable=True)[..., : self.num_waited]
        present = jnp.take_along_axis(survivors, rows, axis=-1)
        received = self.encoding.reshape(n, m * n)[rows]
        vectors = jnp.matmul(_wanted(m, n), jnp.linalg.pinv(received), precision=EXACT)
        messages = jnp.take_along_axis(messages, rows[..., None], axis=-2)
        messages = jnp.where(present[..., None], messages, jnp.nan)
        whole = jnp.einsum("...uf,...fl->...ul", vectors, messages, precision=EXACT)
        return whole.reshape(*whole.shape[:-2], -1)


def short_code(
    group_size: int, redundancy: int, pieces: int, *, dtype: DTypeLike | None = None
) -> ShortCode:
    """A code of messages of `d/m` numbers that any `F = n - r + m` workers decode.

    Worker `w` holds partitions `w, .., w + r - 1 (mod n)`. Its coefficients are the rows of a
    random matrix of rank `F` whose columns, one a partition and piece, vanish at the workers that
    do not hold the partition, so that every gradient's piece has a coefficient of its own (the
    paper's random construction, of a fixed seed; the best conditioned of 10). With `m = 1` it is a
    gradient code; a worker that holds `r` partitions tolerates `r - m` stragglers.

    Raises:
        ValueError: for sizes that are not whole numbers, `r > n` or `m > r`, and where decoding
            from the worst set of survivors that was tried (all, or 2,000 at random) loses more
            than half of the digits.

    >>> code = short_code(5, redundancy=3, pieces=2)
    >>> code.num_waited, code.encode(jnp.ones((5, 10))).shape
    (4, (5, 5))
    """
    n, r = code_sizes(group_size, redundancy)
    m = whole_number("pieces", pieces)
    if m > r:
        raise ValueError(f"pieces={m} exceeds redundancy={r}; give 1 <= pieces <= redundancy")
    waited, draws = n - r + m, np.random.default_rng(0)
    sets = survivor_sets(n, waited)
    best, error = np.zeros((n, m, n)), np.inf
    for _ in range(TRIES):
        encoding, basis = _random_encoding(draws, n, r, m)
        worst = _worst_error(encoding, basis[sets], sets)
        if worst < error:
            best, error = encoding, worst
    encoding = best.astype(jnp.result_type(float) if dtype is None else dtype)
    epsilon = float(jnp.finfo(encoding.dtype).eps)
    if not error * epsilon <= math.sqrt(epsilon):
        raise ValueError(
            f"redundancy={r} with group_size={n} and pieces={m} decodes with a condition of "
            f"{error:.1e}, too much for {encoding.dtype}; give fewer workers or pieces, or float64"
        )
    return ShortCode(known_matrix(encoding), r)


def _random_encoding(draws: Any, n: int, r: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (n, m, n), zero where a worker does not hold a partition, and their basis.

    The columns of the coefficients are combinations of those of the basis (n, F), of which the last
    `m` enter those of their piece once.
    """
    basis = np.linalg.qr(draws.normal(size=(n, n - r + m)))[0]
    free, last = basis[:, : n - r], basis[:, n - r :]
    encoding = np.zeros((n, m, n))
    for partition in range(n):
        own = (partition - np.arange(r)) % n
        other = np.setdiff1d(np.arange(n), own)
        mixed = last - free @ np.linalg.solve(free[other], last[other])
        encoding[own, :, partition] = mixed[own]
    scale = np.abs(encoding).max((1, 2))
    return encoding / scale[:, None, None], basis / scale[:, None]


def _wanted(pieces: int, num_partitions: int) -> np.ndarray:
    """What decoding makes of a row (m n,) of coefficients: every piece of the sum, (m, m n)."""
    return np.kron(np.eye(pieces), np.ones(num_partitions))


def _worst_error(encoding: np.ndarray, bases: np.ndarray, sets: np.ndarray) -> float:
    """Worst amplification or residual of decoding over survivor sets (S, F)."""
    n, m, _ = encoding.shape
    last = np.eye(bases.shape[-1])[:, -m:]
    vectors = np.linalg.solve(bases.swapaxes(-1, -2), last).swapaxes(-1, -2)  # of basis to (0, 1)
    rows, wanted = encoding.reshape(n, -1)[sets], _wanted(m, n)
    amplification = (np.abs(vectors) @ np.abs(rows)).max()
    residual = np.abs(vectors @ rows - wanted).max() / np.finfo(float).eps
    return float(max(amplification, residual))
