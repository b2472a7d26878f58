"""The problems that advice is computed for, and how many iterations they need."""

import time
from dataclasses import replace
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._checks import one_axis, positive
from lagc_jax.descent import find_path
from lagc_jax.doors import check_fit, flat_start
from lagc_jax.problems._values import gap_at
from lagc_jax.problems.base import Problem
from lagc_jax.problems.linear import (
    linear_regression,
    smooth_regression,
    synthetic_linear_regression,
)
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import gd

PAPER_GROWTH, PAPER_WORKERS = 1.3, 12
PROBLEM = np.uint32(2**32 - 1)  # folded into the key for the problem; realisations count from 0
LARGEST = 64  # workers up to which the synthetic problem has a feature for each
STRETCH, LIMIT, SECONDS = 4096, 200_000, 10.0
ROOM = 3  # times the iterations of gradient descent that other candidates may take


def likely_problems(num_workers: int, key: Array) -> dict[str, Problem]:
    """Problems of one shape for advice without a problem, by what they are; the first leads.

    LAG's, and regressions on Gaussian features whose rows are dealt evenly, or with constants `L_m`
    that differ a hundredfold, as of workers with data of their own.
    """
    M, d = num_workers, max(50, min(num_workers, LARGEST))
    draw = _keys.fold_in(key, PROBLEM)
    made: dict[str, Problem] = {}
    if M <= LARGEST:
        growth = PAPER_GROWTH ** ((PAPER_WORKERS - 1) / max(M - 1, 1))
        spiked = synthetic_linear_regression(draw, M, d, growth)
        # Without its spikes it is of the shape of the others: one program serves all three.
        made["LAG's synthetic regression"] = replace(spiked, spiked=None)
    rows = d if M <= LARGEST else 4
    if M == 1:
        rows = 2 * d  # descent on one square matrix has no end
    normal = np.asarray(_keys.normal(draw, (M * rows * (d + 1) + d,), jnp.float32), np.float64)
    X, theta, noise = np.split(normal, [M * rows * d, M * rows * d + d])
    X = X.reshape(M, rows, d) * np.geomspace(1, 0.1, d)
    for name, spread in (("data dealt evenly", 1.0), ("workers with data of their own", 100.0)):
        scaled = X * np.sqrt(np.geomspace(1, spread, M))[:, None, None]
        made[name] = linear_regression(scaled, scaled @ theta + 0.1 * noise.reshape(M, rows))
    return made


def problems_of(problem: Any, num_workers: int, key: Array) -> dict[str, Problem]:
    """The user's problem, or one with the smoothness constants given; likely ones without any."""
    if problem is None:
        return likely_problems(num_workers, key)
    if hasattr(problem, "num_partitions"):
        known = cast(Problem, problem)
    else:
        one_axis("problem", problem, 1)
        positive("problem", problem)
        known = smooth_regression(_keys.fold_in(key, PROBLEM), cast(ArrayLike, problem))
    check_fit(known, gd(num_workers))
    return {"the problem given": known}


def start_gap(problem: Problem, accuracy: float) -> float:
    """Gap at the start; raise ValueError for an accuracy that is not below it."""
    start = gap_at(problem, problem.start)
    if not accuracy < start:
        raise ValueError(
            f"accuracy={accuracy} is not below the gap at the start, {start:.6g}; give a smaller "
            f"one"
        )
    return start


def enough_iterations(problem: Problem, accuracy: float) -> int:
    """Thrice the iterations of gradient descent with step 1/L, a power of two and at least 256.

    Raises:
        ValueError: where it does not come within the accuracy in 200,000 iterations, or ten
            seconds of this process after the first 4096.
    """
    scheme, theta = Scheme(problem.num_partitions, 1, 1), flat_start(problem, None)
    done, begun, gap = 0, 0.0, np.inf
    # Neither compiling nor what else the machine does counts.
    while done < LIMIT and (done == 0 or time.process_time() - begun < SECONDS):
        path = find_path(problem, scheme, None, theta, STRETCH, accuracy)
        gaps = np.asarray(path.gap)
        below = gaps <= accuracy
        if below.any():
            return 2 ** max(8, (ROOM * (done + int(below.argmax())) - 1).bit_length())
        begun = begun or time.process_time()
        done, theta, gap = done + STRETCH, flat_start(problem, path.theta), float(gaps[-1])
    raise ValueError(
        f"accuracy={accuracy} is not reached by gradient descent with step 1/L in {done} "
        f"iterations, which end at a gap of {gap:.3g}; give that or more, or num_iterations"
    )
