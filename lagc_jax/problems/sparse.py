"""Logistic regression on sparse features, as text has them; made by `logistic_regression`."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax._checks import not_negative_number
from lagc_jax._loops import fori_loop, while_loop
from lagc_jax._modes import float_dtype
from lagc_jax._pytree import EXACT, pytree
from lagc_jax.problems._arrays import merge, sample_partitions, stored
from lagc_jax.problems._csr import CsrRows, as_rows, padded
from lagc_jax.problems._logistic_gap import binary_gap
from lagc_jax.problems._newton_cg import LogisticLoss, logistic_samples, minimize_matrix_free
from lagc_jax.problems._optimum import units
from lagc_jax.problems.base import Problem
from lagc_jax.problems.classes import sample_weights


@pytree("width")
class SparseLogisticRegression(Problem):
    """`LogisticRegression` with the nonzeros alone, Z in the fullest partition.

    Attributes:
        values: (M, Z) of `-y x`, row after row; zeros at the end.
        columns, rows: (M, Z) where they are.
        starts: (M, N+1) where each row begins.
        width: nonzeros of the fullest row.
        weights, l2, tilt: as for `LogisticRegression`.
    """

    values: Array
    columns: Array
    rows: Array
    starts: Array
    width: int
    weights: Array
    l2: Array
    tilt: Array
    smoothness: Array
    total_smoothness: Array
    strong_convexity: Array
    minimizer: Array
    optimum: Array

    def _groups(self, num_groups: int) -> tuple[Array, Array, Array, Array]:
        """Values, columns, rows (G, n Z) and weights (G, n N) of the groups."""
        M, N = self.weights.shape
        first = N * (jnp.arange(M, dtype=self.rows.dtype) % (M // num_groups))
        arrays = self.values, self.columns, self.rows + first[:, None], self.weights
        values, columns, rows, weights = (merge(array, num_groups) for array in arrays)
        return values, columns, rows, weights

    def group_gradients(self, num_groups: int) -> Callable[[Array], Array]:
        groups = self._groups(num_groups)
        l2 = self.l2 * (self.num_partitions // num_groups)

        def one(values: Array, columns: Array, rows: Array, weights: Array, theta: Array) -> Array:
            slope = weights * jax.nn.sigmoid(_times(values, columns, rows, weights.size, theta))
            return _adjoint(values, columns, rows, self.num_parameters, slope) + l2 * theta

        def gradients(theta: Array) -> Array:
            point = None if theta.ndim == 1 else 0
            return jax.vmap(one, in_axes=(0, 0, 0, 0, point))(*groups, jnp.asarray(theta))

        return gradients

    def group_smoothness(self, num_groups: int) -> Array:
        """Of groups between one and all, by Lanczos's method: see `logistic_regression`."""
        if num_groups == 1:
            return self.total_smoothness[None]
        if num_groups == self.num_partitions:
            return self.smoothness
        norms = jax.vmap(partial(_group_norm, num_features=self.num_parameters))
        penalty = self.l2 * (self.num_partitions // num_groups)
        return 0.25 * norms(*self._groups(num_groups)) + penalty

    def sample(self, key: Array, batch_size: int) -> "SparseLogisticRegression":
        M, N = self.weights.shape
        numbers = jnp.broadcast_to(jnp.arange(N), (M, N))
        drawn, weights = sample_partitions(key, numbers, self.weights, batch_size)
        place = jnp.arange(self.width, dtype=self.starts.dtype)
        first, last = (jnp.take_along_axis(self.starts, drawn + i, axis=1) for i in (0, 1))
        inside = first[..., None] + place < last[..., None]
        where = jnp.where(inside, first[..., None] + place, 0).reshape(M, -1)
        values, columns = (
            jnp.take_along_axis(array, where, axis=1) * inside.reshape(M, -1).astype(array.dtype)
            for array in (self.values, self.columns)
        )
        rows = jnp.repeat(jnp.arange(batch_size, dtype=self.rows.dtype), self.width)
        starts = self.width * jnp.arange(batch_size + 1, dtype=self.starts.dtype)
        return replace(
            self, values=values, columns=columns, rows=jnp.broadcast_to(rows, values.shape),
            starts=jnp.broadcast_to(starts, (M, batch_size + 1)), weights=weights,
        )  # fmt: skip

    def gap(self, theta: Array) -> Array:
        move, N = theta - self.minimizer, self.weights.shape[1]

        def products(point: Array) -> Array:
            times = jax.vmap(partial(_times, num_rows=N, theta=point))
            return times(self.values, self.columns, self.rows)

        logit, shift = products(self.minimizer), products(move)
        return binary_gap(self, logit, shift, move)


def _times(values: Array, columns: Array, rows: Array, num_rows: int, theta: Array) -> Array:
    terms = values * theta[columns]
    return jax.ops.segment_sum(terms, rows, num_rows, indices_are_sorted=True)


def _adjoint(values: Array, columns: Array, rows: Array, num_features: int, slope: Array) -> Array:
    return jax.ops.segment_sum(values * slope[rows], columns, num_features)


STEPS = 25  # of Lanczos's method between looks at what they have reached


def _group_norm(
    values: Array, columns: Array, rows: Array, weights: Array, num_features: int
) -> Array:
    """Largest eigenvalue of `X^T W X`: Lanczos's method until `STEPS` more hardly raise it."""
    size = min(num_features, weights.size)
    scaled = values * jnp.sqrt(weights)[rows]
    tall = num_features <= weights.size

    def product(vector: Array) -> Array:
        if tall:
            image = _times(scaled, columns, rows, weights.size, vector)
            return _adjoint(scaled, columns, rows, num_features, image)
        image = _adjoint(scaled, columns, rows, num_features, vector)
        return _times(scaled, columns, rows, weights.size, image)

    def extend(k: Array, carry: tuple) -> tuple:
        before, vector, norm, matrix = carry
        image = product(vector) - norm * before
        along = jnp.dot(image, vector, precision=EXACT)
        image = image - along * vector
        norm = jnp.linalg.norm(image)
        matrix = matrix.at[k, k].set(along)
        matrix = matrix.at[k, k + 1].set(norm).at[k + 1, k].set(norm)
        return vector, image / jnp.where(norm > 0, norm, 1), norm, matrix

    def look(carry: tuple) -> tuple:
        blocks, value, _, state = carry
        state = fori_loop(blocks * STEPS, (blocks + 1) * STEPS, extend, state)
        # The coupling to what is not there yet stays out.
        known = jnp.arange(state[3].shape[0]) < (blocks + 1) * STEPS
        seen = jnp.where(known[:, None] & known, state[3], 0)
        return blocks + 1, jnp.linalg.eigvalsh(seen)[-1], value, state

    start = jnp.asarray(np.random.default_rng(0).standard_normal(size), values.dtype)
    state = (jnp.zeros_like(start), start / jnp.linalg.norm(start), jnp.zeros((), start.dtype))
    matrix = jnp.zeros((8 * STEPS + 1, 8 * STEPS + 1), start.dtype)
    tolerance = 100 * jnp.finfo(start.dtype).eps
    first = jnp.zeros((), jnp.int32), jnp.ones((), start.dtype), jnp.zeros((), start.dtype)
    return while_loop(
        lambda carry: (carry[0] < 8) & (carry[1] - carry[2] > tolerance * carry[1]),
        look,
        (*first, (*state, matrix)),
    )[1]


def sparse_logistic_regression(X: Any, y: Any, l2: float, weights: Any) -> SparseLogisticRegression:
    """`logistic_regression` of sparse X; it checks its arguments."""
    all_rows = as_rows(X)
    for name, parts in (("y", y), ("weights", y if weights is None else weights)):
        listed = isinstance(parts, list | tuple) or getattr(parts, "ndim", 0)
        if not listed or not len(parts) or any(np.ndim(part) != 1 for part in parts):
            raise ValueError(f"{name} is no list of partitions; give (M, N), or a list of vectors")
    lengths = [len(part) for part in y]
    if sum(lengths) != len(all_rows.starts) - 1:
        raise ValueError(
            f"y has {sum(lengths)} labels but X has {len(all_rows.starts) - 1} rows; give as many"
        )
    if isinstance(X, list | tuple) and (cut := [part.shape[0] for part in X]) != lengths:
        raise ValueError(f"y has partitions of {lengths} labels but X of {cut} rows; give as many")
    given = [np.ones(n) for n in lengths] if weights is None else weights
    not_negative_number("l2", l2)
    labels, w = padded("y", y, lengths), padded("weights", given, lengths)
    w = sample_weights(w, labels)
    wrong = labels[(np.abs(labels) != 1) & (w > 0)]
    if wrong.size:
        raise ValueError(f"y holds the label {wrong[0]}; give labels in {{-1, +1}}")
    first = X[0] if isinstance(X, list | tuple) else X
    dtype = float_dtype(np.empty(0, first.dtype))
    present = np.arange(w.shape[1]) < np.array(lengths)[:, None]
    signs, weight = -labels[present], w[present]
    rows = replace(all_rows, values=all_rows.values * signs[all_rows.row])
    cuts = list(pairwise(np.append(0, np.cumsum(lengths))))
    parts = [rows.part(first, last) for first, last in cuts]
    minimizer, optimum, tilt = _fit(rows, weight, len(parts) * l2, dtype)
    norms = [part.norm(weight[slice(*cut)]) for part, cut in zip(parts, cuts, strict=True)]
    values, places = _filled_up(parts, w.shape[1])
    known = dict(
        values=values,
        weights=w,
        l2=l2,
        tilt=tilt,
        smoothness=0.25 * np.array(norms) + l2,
        total_smoothness=0.25 * rows.norm(weight) + len(parts) * l2,
        strong_convexity=len(parts) * l2,
        minimizer=minimizer,
        optimum=optimum,
    )
    return SparseLogisticRegression(
        width=max(1, int(np.diff(rows.starts).max())),
        **{name: stored(value, dtype) for name, value in known.items()},
        **{name: jnp.asarray(value) for name, value in places.items()},
    )


def _filled_up(parts: list[CsrRows], num_rows: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Nonzeros (M, Z), and their columns, rows and the rows' starts, of partitions of N rows."""
    M, Z = len(parts), max(1, max(len(part.values) for part in parts))
    values, columns = np.zeros((M, Z)), np.zeros((M, Z), np.int32)
    # Rows must not fall: what fills up lies in the last one.
    rows, starts = np.full((M, Z), num_rows - 1, np.int32), np.zeros((M, num_rows + 1), np.int32)
    for m, part in enumerate(parts):
        size, length = len(part.values), len(part.starts)
        values[m, :size], columns[m, :size], rows[m, :size] = part.values, part.columns, part.row
        starts[m, :length], starts[m, length:] = part.starts, size
    return values, dict(columns=columns, rows=rows, starts=starts)


def _fit(
    rows: CsrRows, weights: np.ndarray, penalty: float, dtype: np.dtype
) -> tuple[np.ndarray, float, np.ndarray]:
    """Minimiser (d,), optimum, and gradient of the whole loss at the rounded minimiser (d,)."""
    classes, basis = np.zeros(len(weights), int), np.array([[0.0], [1.0]])
    loss = LogisticLoss(rows, classes, weights, penalty, basis)
    squares = replace(rows, values=rows.values**2).adjoint(weights[:, None])[:, 0]
    scales = units(0.25 * squares + penalty)
    found, optimum = minimize_matrix_free(
        loss, rows.num_features, rows, lambda v: v / scales**2, scales
    )
    losses = logistic_samples(rows.times(found[:, None]) @ basis.T, classes)[0]
    counted = (weights > 0) & (np.bincount(rows.row, rows.values**2, len(weights)) > 0)
    if penalty == 0 and losses[counted].max(initial=0.0) < np.log(2):
        raise ValueError("no optimum found: X separates the labels y and l2=0; give l2 > 0")
    tilt = loss.derivatives(np.asarray(jnp.asarray(found, dtype), np.float64))[1]
    return found, optimum, tilt
