"""A linear regression in coordinates in which its whole gradient is a product entry by entry.

Many realisations that each step along gradients of the whole loss spend their time in products with
one matrix; its eigenbasis takes `O(d)` in place of `O(d^2)` operations a step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._halves import fold
from lagc_jax._pytree import EXACT, pytree
from lagc_jax.problems._around import Around
from lagc_jax.problems.base import Problem
from lagc_jax.problems.linear import LinearRegression


@pytree()
class Eigenbasis(Around):
    """The loss of `z` (d,), with `theta = theta* + basis^T z`; gradients are of all data alone.

    Attributes:
        problem: the regression.
        basis: (d, d) eigenvectors of its Hessian, in rows.
        curvature: (d,) eigenvalues.
    """

    problem: Problem
    basis: Array
    curvature: Array

    @property
    def minimizer(self) -> Array:
        return jnp.zeros_like(self.curvature)

    def flatten(self, theta: Any) -> Array:
        error = self.problem.flatten(theta) - self.problem.minimizer
        return jnp.matmul(self.basis, error, precision=EXACT)

    def unflatten(self, theta: Array) -> Any:
        error = jnp.matmul(theta, self.basis, precision=EXACT)
        return self.problem.unflatten(self.problem.minimizer + error)

    def group_gradients(self, num_groups: int) -> Callable[[Array], Array]:
        return lambda theta: (self.curvature * theta)[None]

    def gap(self, theta: Array) -> Array:
        return 0.5 * jnp.sum(fold(jnp.add, self.curvature * theta**2))


def in_eigenbasis(
    problem: Problem, num_iterations: int, theta: ArrayLike
) -> tuple[Problem, ArrayLike]:
    """The problem and a start (d,) so, themselves where it would not be the same or not pay.

    Other devices than a CPU decompose matrices slowly, and multiply fast.
    """
    pays = num_iterations >= problem.num_parameters and jax.default_backend() == "cpu"
    if not pays or not isinstance(problem, LinearRegression) or problem.weights is not None:
        return problem, theta
    _, scales, basis = jnp.linalg.svd(problem.root, full_matrices=True)
    missing = problem.num_parameters - scales.shape[-1]
    easy = Eigenbasis(problem, basis, jnp.pad(scales**2, (0, missing)))
    return easy, easy.flatten(theta)
