"""Problems around others, and one that knows what every program would find anew.

The eigenvalues that the constants of groups come from took half of the time of a grouped path.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.core import Tracer

from lagc_jax._programs import compiled
from lagc_jax._pytree import pytree
from lagc_jax.problems.base import Oracle, Problem


def _inner(name: str) -> Any:
    return property(lambda self: getattr(self.problem, name))


class Around(Problem):
    """All that another problem is, but for what a class defines itself."""

    problem: Problem

    smoothness = _inner("smoothness")
    total_smoothness = _inner("total_smoothness")
    strong_convexity = _inner("strong_convexity")
    minimizer = _inner("minimizer")
    optimum = _inner("optimum")
    num_partitions = _inner("num_partitions")
    num_parameters = _inner("num_parameters")

    @property
    def start(self) -> Any:
        return self.problem.start

    def flatten(self, theta: Any) -> Array:
        return self.problem.flatten(theta)

    def unflatten(self, theta: Array) -> Any:
        return self.problem.unflatten(theta)

    def group_gradients(self, num_groups: int) -> Callable[[Array], Array]:
        return self.problem.group_gradients(num_groups)

    def group_oracle(self, num_groups: int) -> Oracle:
        """The inner problem's, unless a class has gradients of its own: then of those."""
        own = type(self).group_gradients is not Around.group_gradients
        return super().group_oracle(num_groups) if own else self.problem.group_oracle(num_groups)

    def sample(self, key: Array, batch_size: int) -> Problem:
        return self.problem.sample(key, batch_size)

    def group_smoothness(self, num_groups: int) -> Array:
        return self.problem.group_smoothness(num_groups)

    def gap(self, theta: Array) -> Array:
        return self.problem.gap(theta)

    def loss(self, theta: Array) -> Array:
        return self.problem.loss(theta)


@pytree()
class Measured(Around):
    """A problem with the constants (G,) of its groups; made by `measured`."""

    problem: Problem
    constants: Array

    def group_smoothness(self, num_groups: int) -> Array:
        known = self.constants.shape == (num_groups,)
        return self.constants if known else self.problem.group_smoothness(num_groups)


def measured(problem: Problem, num_groups: int) -> Problem:
    """The problem with the constants of G groups, found once; itself where it is traced.

    So it is where they are its own or the partitions', and where its class is no dataclass.
    """
    between = 1 < num_groups < problem.num_partitions
    if not between or isinstance(problem, Measured) or not dataclasses.is_dataclass(problem):
        return problem
    if isinstance(problem, Around):  # what is asked of it stays its own
        inner = measured(problem.problem, num_groups)
        return problem if inner is problem.problem else dataclasses.replace(problem, problem=inner)
    if not hasattr(problem, "__dict__") or any(
        isinstance(leaf, Tracer) for leaf in jax.tree.leaves(problem)
    ):
        return problem
    known = vars(problem).setdefault("_measured", {})
    if num_groups not in known:
        with jax.ensure_compile_time_eval():
            known[num_groups] = Measured(problem, _constants(problem, num_groups))
    return known[num_groups]


@compiled("num_groups")
def _constants(problem: Problem, num_groups: int) -> Array:
    return problem.group_smoothness(num_groups)
