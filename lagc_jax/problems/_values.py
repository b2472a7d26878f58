"""Values of a problem from the host: its data are arguments of the program, not constants in it."""

import jax
from jax import Array

from lagc_jax._programs import compiled
from lagc_jax.problems.base import Problem


@compiled()
def gaps_at(problem: Problem, points: Array) -> Array:
    """Gaps (N,) at points (N, d)."""
    return jax.vmap(problem.gap)(points)


def gap_at(problem: Problem, point: Array) -> float:
    """The gap at a point (d,)."""
    return float(gaps_at(problem, point[None])[0])


@compiled()
def gradients_at(problem: Problem, point: Array) -> Array:
    """Gradients (M, d) of the partitions at a point (d,)."""
    return problem.group_gradients(problem.num_partitions)(point)
