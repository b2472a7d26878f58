"""Codes for workers of unequal speed: each holds partitions in proportion to it.

(Wang, Guo, Tang, Li and Li, "Heterogeneity-aware Gradient Coding for Straggler Tolerance", ICDCS
2019, arXiv 1901.09339, Algorithm 1; its authors' code was not found.)
"""

import itertools
import math

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lagc_jax._checks import finite_data, one_axis, positive, whole_number
from lagc_jax.schemes.codes import GradientCode, decoding_errors, known_matrix

# Random matrices, of which the best conditioned is taken, and survivor sets that judge it.
TRIES, SETS = 10, 2_000


def proportional_loads(speeds: ArrayLike, num_stragglers: int) -> tuple[int, ...]:
    """Loads in proportion to speeds (n,) that hold each of `n` partitions `s + 1` times.

    No load is below 1 or above `n`; shares are rounded by largest remainders.

    Raises:
        ValueError: if speeds are not positive, or there are not more workers than stragglers.

    >>> proportional_loads([1.0, 1.0, 2.0], num_stragglers=1)
    (2, 1, 3)
    """
    one_axis("speeds", speeds, minimum=1)
    positive("speeds", speeds)
    speed = finite_data("speeds", speeds)
    n, s = speed.size, whole_number("num_stragglers", num_stragglers, minimum=0)
    if s >= n:
        raise ValueError(f"num_stragglers={s} leaves none of {n} workers; give fewer")
    low, high = 0.0, n / speed.min()
    for _ in range(200):  # the scale of the shares, which are cut to 1 and n
        middle = (low + high) / 2
        enough = np.clip(middle * speed, 1, n).sum() >= n * (s + 1)
        low, high = (low, middle) if enough else (middle, high)
    shares = np.clip(high * speed, 1, n)
    loads = np.floor(shares + 1e-9)
    missing = round(n * (s + 1) - loads.sum())
    loads[np.argsort(loads - shares, kind="stable")[:missing]] += 1
    return tuple(int(load) for load in loads)


def heterogeneous_code(
    speeds: ArrayLike, num_stragglers: int, *, dtype: DTypeLike | None = None
) -> GradientCode:
    """A code that any `n - s` workers decode, with loads in proportion to speeds (n,).

    Worker by worker, partitions are dealt in turn, so that `s + 1` workers hold each. With a matrix
    `C` (s + 1, n) of which all columns `s + 1` at a time are independent, the column of a partition
    solves `C b = 1` on the workers that hold it; then `C B = 1`, and whoever is missing, some
    combination of the rows of `C` that vanishes there and adds up to 1 decodes. `C` is random, of a
    fixed seed, the best conditioned of 10.

    Raises:
        ValueError: as `proportional_loads`, and where decoding from the worst set of survivors that
            was tried (all, or 2,000 at random) loses more than half of the digits.

    >>> code = heterogeneous_code([1.0, 1.0, 2.0], num_stragglers=1)
    >>> code.redundancy, code.num_waited
    (3, 2)
    """
    loads = proportional_loads(speeds, num_stragglers)
    n, s = len(loads), num_stragglers
    holds, first = np.zeros((n, n), bool), 0
    for worker, load in enumerate(loads):
        holds[worker, (first + np.arange(load)) % n] = True
        first += load
    draws, sets = np.random.default_rng(0), survivor_sets(n, n - s)
    best, error = np.zeros((n, n)), np.inf
    for _ in range(TRIES):
        matrix = draws.normal(size=(s + 1, n))
        encoding = np.zeros((n, n))
        for partition in range(n):
            own = holds[:, partition]
            encoding[own, partition] = np.linalg.solve(matrix[:, own], np.ones(s + 1))
        encoding /= np.abs(encoding).max(1, keepdims=True)
        condition, residual = decoding_errors(encoding, sets)
        if max(condition, residual) < error:
            best, error = encoding, max(condition, residual)
    encoding = best.astype(jnp.result_type(float) if dtype is None else dtype)
    if not error * jnp.finfo(encoding.dtype).eps <= math.sqrt(jnp.finfo(encoding.dtype).eps):
        raise ValueError(
            f"num_stragglers={s} of {n} workers decodes with a condition of {error:.1e}, too much "
            f"for {encoding.dtype}; give fewer, or float64"
        )
    return GradientCode(known_matrix(encoding), max(loads), waited=n - s)


def survivor_sets(n: int, size: int) -> np.ndarray:
    """All sets of so many of `n` workers, (S, size), or 2,000 at random where there are more."""
    if math.comb(n, size) <= SETS:
        return np.array(list(itertools.combinations(range(n), size)))
    draws = np.random.default_rng(0)
    return np.array([draws.permutation(n)[:size] for _ in range(SETS)])
