"""Gradient codes: what every worker sends and how the server decodes it (GC, sections 3 and 4).

A code of `n` workers with redundancy `r` is a matrix `B` (n, n) whose row `w` holds the `r`
coefficients of the combination that worker `w` sends. For every set `W` of `F = n - r + 1`
survivors there is a decoding vector `a_W`, supported on `W`, with `a_W B = 1^T`.
"""

import itertools
import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from lagc_jax import _entries, _keys
from lagc_jax._checks import code_sizes
from lagc_jax._loops import scan
from lagc_jax._modes import lenient
from lagc_jax._pytree import EXACT, pytree

MAX_ENUMERATED = 20_000


@pytree("redundancy", "blocks", "waited")
class GradientCode:
    """A gradient code; made by `fractional_repetition`, `cyclic_repetition` and others.

    Attributes:
        encoding: `B`, (n, n).
        redundancy: `r`, nonzeros in every row, the most where they differ.
        blocks: whether it is fractional repetition, which decodes from one worker of every block.
        waited: `F` where it is not `n - r + 1`.
    """

    encoding: Array
    redundancy: int
    blocks: bool = False
    waited: int | None = None

    pieces: ClassVar[int] = 1  # a message is as long as a gradient

    @property
    def group_size(self) -> int:
        """`n`, workers and partitions of the code."""
        return self.encoding.shape[-1]

    @property
    def num_waited(self) -> int:
        """`F`, survivors that decode: `n - r + 1` unless loads differ."""
        return self.waited or self.group_size - self.redundancy + 1

    def encode(self, gradients: Array) -> Array:
        """Messages of the workers (..., n, d) from the partitions' gradients (..., n, d)."""
        return jnp.matmul(self.encoding, gradients, precision=EXACT)

    @lenient
    def decoding_vector(self, survivors: Array) -> Array:
        """Decoding vectors `a_W` (..., n) of survivor sets, bool (..., n).

        The first F survivors are used; with fewer than F the vector is NaN, unless they happen to
        decode. Works inside `jit` and `vmap`.
        """
        survivors = jnp.asarray(survivors)
        waited, index = self.num_waited, jnp.arange(self.group_size)
        rows = jnp.argsort(~survivors, axis=-1, stable=True)[..., :waited]
        present = jnp.take_along_axis(survivors, rows, axis=-1)
        received = jnp.where(present[..., None], self.encoding[rows], 0)
        # 1^T = a_W B_W is consistent by construction; the pseudoinverse also takes repeated rows.
        coefficients = jnp.linalg.pinv(received).sum(-2)
        vector = jnp.where(rows[..., None] == index, coefficients[..., None], 0).sum(-2)
        sums = jnp.einsum("...w,...wp->...p", coefficients, received, precision=EXACT)
        decodes = jnp.all(present, axis=-1) | all_ones(sums)
        return jnp.where(decodes[..., None], vector, jnp.nan)

    def decode(self, messages: Array, survivors: Array) -> Array:
        """Sum of the partitions' gradients (..., d) from the survivors' messages (..., n, d).

        Messages of the others are not read.
        """
        vector = self.decoding_vector(survivors)
        received = jnp.where((vector != 0)[..., None], messages, 0)
        return jnp.einsum("...w,...wd->...d", vector, received, precision=EXACT)


def fractional_repetition(
    group_size: int, redundancy: int, *, dtype: DTypeLike | None = None
) -> GradientCode:
    """Blocks of `r` workers that hold the same `r` partitions (GC, section 4.1).

    Decoding only averages and adds messages, so its condition is 1 for all sizes.

    Args:
        group_size: `n`.
        redundancy: `r`, a divisor of `n`.
        dtype: of the matrix; JAX's default float if None.

    Raises:
        ValueError: if sizes are not whole numbers, `r > n` or `r` does not divide `n`.

    >>> fractional_repetition(2, 2).encoding.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    n, r = code_sizes(group_size, redundancy)
    if n % r:
        raise ValueError(
            f"redundancy={r} does not divide group_size={n}, as fractional repetition needs; give "
            f"a divisor or use cyclic_repetition"
        )
    blocks = np.kron(np.eye(n // r), np.ones((r, r)))
    return GradientCode(known_matrix(blocks, dtype), r, blocks=True)


def cyclic_repetition(
    group_size: int,
    redundancy: int,
    *,
    dtype: DTypeLike | None = None,
    tolerance: float | None = None,
) -> GradientCode:
    """Worker `w` holds partitions `w, .., w + r - 1 (mod n)`, for any `r` (GC, section 4.2).

    In place of GC's random Algorithm 1, row `w` is the element with that support of the code
    spanned by the lowest `F` trigonometric functions at `n` equispaced points: `1, cos t, sin t,
    ..` for odd `F`; the half-integer frequencies divided by `sin(t/2 + pi/2n)`, which is one of
    them, for even `F`. Both spans contain 1, and no nonzero element vanishes at `F` points, so any
    `F` rows decode. The worst sets are `F` consecutive workers, from which decoding extrapolates:
    the condition grows like a power of `n` for `r` near 1 or `n` and exponentially in `n` for
    `r` near `n/2` (2e2 at n = 10, 1e4 at 16, 1e6 at 24, and 2e8 at 32, refused by default).

    A relative error of decoding from the worst set above `tolerance`, by default the square root of
    the machine precision, is a ValueError; other arguments and errors are those of
    `fractional_repetition`, but for `r`, which need not divide `n`.

    >>> cyclic_repetition(3, 1).encoding.tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    n, r = code_sizes(group_size, redundancy)
    orthogonal = np.linalg.svd(_haar_system(n, n - r + 1).T)[0][:, n - r + 1 :].T
    matrix = np.zeros((n, n))
    for w in range(n):
        support = (w + np.arange(r)) % n
        row = np.linalg.svd(orthogonal[:, support])[2][-1]
        matrix[w, support] = row / row[np.argmax(np.abs(row))]
    encoding = matrix.astype(jnp.result_type(float) if dtype is None else dtype)
    epsilon = float(jnp.finfo(encoding.dtype).eps)
    tolerance = math.sqrt(epsilon) if tolerance is None else tolerance
    condition, residual = decoding_errors(encoding, _consecutive_sets(n, n - r + 1))
    error = max(condition * epsilon, residual)
    if not error <= tolerance:
        raise ValueError(
            f"redundancy={r} with group_size={n} decodes with a relative error of {error:.1e} in "
            f"{encoding.dtype}, above tolerance={tolerance:.1e}; use fractional_repetition, "
            f"smaller groups, float64 or a larger tolerance"
        )
    return GradientCode(known_matrix(encoding), r)


@lenient
def balanced_assignment(
    key: Array, group_size: int, redundancy: int, *, dtype: DTypeLike | None = None
) -> Array:
    """Draw an assignment with `r` partitions a worker and `r` workers a partition.

    Worker `w` holds the partitions `w + s (mod n)`, `s` in a random set of `r` shifts. Any two
    partitions share `r (r - 1) / (n - 1)` workers on average over the draws: it is pair-wise
    balanced in expectation (Bitar, Wootters and El Rouayheb, arXiv 1905.05383). It is meant for
    decodings that are approximate: no set of `n - r + 1` workers is promised to decode. Consumes
    `key`, and gives (n, n), 1 where a worker (row) holds a partition (column), 0 elsewhere. Sizes
    are those of `cyclic_repetition`.

    >>> import jax
    >>> balanced_assignment(jax.random.key(0), 5, 2).sum(0).tolist()
    [2.0, 2.0, 2.0, 2.0, 2.0]
    """
    n, r = code_sizes(group_size, redundancy)
    shifts = _keys.permutation(key, n)[:r]
    held = (jnp.arange(n)[:, None, None] + shifts[:, None]) % n == jnp.arange(n)
    return held.any(1).astype(jnp.result_type(float) if dtype is None else dtype)


def all_ones(weights: Array) -> Array:
    """Whether weights (..., n) of partitions are all 1 to half of the digits, (...,)."""
    tolerance = math.sqrt(jnp.finfo(weights.dtype).eps)
    return jnp.max(jnp.abs(weights - 1), axis=-1) <= tolerance


def project_ones(
    items: Array, row_of: Callable[[Array], Array] = lambda row: row
) -> tuple[Array, Array, Array]:
    """Project the ones vector on the span of rows that come one after another (Gram-Schmidt).

    Args:
        items: (n, ...) of which each makes rows (..., p).
        row_of: makes them.

    Returns:
        The projection (..., p) on the span of all; bool (..., n), whether the rows until then have
        the ones vector in their span, and whether a row lies outside the span of those before,
        beyond rounding.
    """
    row = jax.eval_shape(row_of, items[0])
    # Between the rounding of a dependent row and the smallest distance of an independent one:
    # 2e-5 in float32 and 4e-11 in float64. Codes that lose no more than half of the digits have
    # independent rows farther than that from the span of the others.
    threshold = float(jnp.finfo(row.dtype).eps) ** (2 / 3)

    def add_row(carry: tuple[Array, Array], item: tuple[Array, Array]) -> tuple[tuple, tuple]:
        basis, projection = carry  # (..., n, p) of orthonormal rows and zeros, (..., p)
        row, i = row_of(item[0]), item[1]
        rest = row
        for _ in range(2):  # once loses orthogonality
            inside = jnp.einsum("...bp,...p->...b", basis, rest, precision=EXACT)
            rest = rest - jnp.einsum("...b,...bp->...p", inside, basis, precision=EXACT)
        size = jnp.linalg.norm(rest, axis=-1, keepdims=True)
        raised = size > threshold * jnp.linalg.norm(row, axis=-1, keepdims=True)
        direction = jnp.where(raised, rest / jnp.where(raised, size, 1), 0)
        projection = projection + direction.sum(-1, keepdims=True) * direction
        basis = basis.at[..., i, :].set(direction)
        return (basis, projection), (all_ones(projection), raised[..., 0])

    *outer, size = row.shape
    start = jnp.zeros((*outer, len(items), size), row.dtype), jnp.zeros(row.shape, row.dtype)
    (_, projection), told = scan(add_row, start, (items, jnp.arange(len(items))))
    decoded, raised = (jnp.moveaxis(each, 0, -1) for each in told)
    return projection, decoded, raised


def first_spanning(rows: Array, arrival: Array) -> tuple[Array, Array]:
    """When messages (p, n) that arrive at times (..., p) first have the ones vector in their span.

    It is `inf` where they never have; and which raise the rank until then, bool (..., p).
    """
    order = jnp.argsort(arrival, axis=-1)
    in_turn = jnp.moveaxis(order, -1, 0)
    _, decoded, raised = project_ones(in_turn, lambda place: _entries.rows(rows, place))
    last = jnp.argmax(decoded, axis=-1, keepdims=True)
    ever = jnp.any(decoded, axis=-1, keepdims=True)
    known = jnp.take_along_axis(arrival, jnp.take_along_axis(order, last, axis=-1), axis=-1)
    needed = raised & ((jnp.arange(order.shape[-1]) <= last) | ~ever)
    taken = jnp.take_along_axis(needed, jnp.argsort(order, axis=-1), axis=-1)
    return jnp.where(ever, known, jnp.inf)[..., 0], taken


def worst_condition(code: GradientCode) -> float:
    """Largest factor by which decoding can amplify relative errors of the coded messages.

    It is the maximum over survivor sets `W` and partitions `j` of `sum_w |a_w| |B_wj|`, 1 at best.
    All sets are tried if there are at most 20,000, otherwise the sets of consecutive workers, which
    are the worst ones of the cyclic code.

    >>> worst_condition(cyclic_repetition(4, 2)) < 1.01
    True
    """
    n, waited = code.group_size, code.num_waited
    sets = _consecutive_sets(n, waited)
    if math.comb(n, waited) <= MAX_ENUMERATED:
        sets = np.array(list(itertools.combinations(range(n), waited)))
    return decoding_errors(np.asarray(code.encoding, np.float64), sets)[0]


@jax.ensure_compile_time_eval()
def known_matrix(matrix: np.ndarray, dtype: DTypeLike | None = None) -> Array:
    """A matrix of the host's that stays known where a code is made inside `jit`."""
    return jnp.asarray(matrix, dtype)


def _haar_system(n: int, size: int) -> np.ndarray:
    """`size` functions at n points (size, n); no combination vanishes at `size` of the points."""
    t = 2 * np.pi * np.arange(n) / n
    if size % 2:
        frequencies = np.arange(1, size // 2 + 1)[:, None]
        return np.vstack([np.ones((1, n)), np.cos(frequencies * t), np.sin(frequencies * t)])
    frequencies = np.arange(size // 2)[:, None] + 0.5
    divisor = np.sin(t / 2 + np.pi / (2 * n))  # its zero lies half way between two points
    return np.vstack([np.cos(frequencies * t), np.sin(frequencies * t)]) / divisor


def _consecutive_sets(n: int, size: int) -> np.ndarray:
    return (np.arange(n)[:, None] + np.arange(size)) % n


def decoding_errors(encoding: np.ndarray, sets: np.ndarray) -> tuple[float, float]:
    """Worst amplification and worst residual of `a_W B = 1` over survivor sets (S, F)."""
    n, waited = len(encoding), sets.shape[1]
    if n > 64 and n - waited < waited:
        vectors = _vectors_of_many(encoding, sets)
        amplification, sums = np.abs(vectors) @ np.abs(encoding), vectors @ encoding
    else:
        rows = encoding[sets]
        vectors = np.linalg.pinv(rows).sum(-2)
        amplification = np.einsum("sw,swj->sj", np.abs(vectors), np.abs(rows))
        sums = np.einsum("sw,swj->sj", vectors, rows)
    return float(amplification.max()), float(np.abs(sums - 1).max())


def _vectors_of_many(encoding: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Decoding vectors (S, n) of sets (S, F), from one factorisation and a small system a set.

    All solutions of `a B = 1` differ by the left null space of `B`, of `n - F` dimensions, in which
    one of them vanishes at the `n - F` workers that are missing.
    """
    n, waited = len(encoding), sets.shape[1]
    left, singular, right = np.linalg.svd(encoding)
    some = left[:, :waited] @ (right[:waited].sum(1) / singular[:waited])
    null = left[:, waited:]
    absent = np.ones((len(sets), n), bool)
    np.put_along_axis(absent, sets, False, axis=1)
    missing = np.nonzero(absent)[1].reshape(len(sets), -1)
    vectors = some - np.linalg.solve(null[missing], some[missing][..., None])[..., 0] @ null.T
    return np.where(absent, 0, vectors)
