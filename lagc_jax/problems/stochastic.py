"""Gradients on minibatches: a problem whose every iteration draws samples of its own.

The samples belong to the problem, not to the delays: all schemes and all realisations of the delays
meet the same ones, and the path still does not depend on the delays.
"""

import jax
from jax import Array

from lagc_jax._checks import whole_number
from lagc_jax._keys import as_key, fold_in
from lagc_jax._pytree import pytree
from lagc_jax.problems._around import Around
from lagc_jax.problems.base import Oracle, Problem


@pytree("batch_size")
class MinibatchProblem(Around):
    """A problem with gradients on minibatches; made by `minibatch`.

    Attributes:
        problem: the loss over M partitions, of which all but `group_oracle` is.
        key: a JAX random key, from which iteration `k` folds its own.
        batch_size: `B`, samples of a partition.
    """

    problem: Problem
    key: Array
    batch_size: int

    def group_oracle(self, num_groups: int) -> Oracle:
        def gradients(theta: Array, k: Array) -> Array:
            drawn = self.sample(fold_in(self.key, k), self.batch_size)
            return drawn.group_gradients(num_groups)(theta)

        return gradients


def minibatch(problem: Problem, batch_size: int, key: Array) -> MinibatchProblem:
    """Make every iteration use the gradients of a fresh minibatch of every partition.

    Iteration `k` draws `B` samples of partition `m`, uniformly with replacement among those of
    positive weight, with `fold_in(fold_in(key, k), m)`: the same in every scheme and for every
    realisation of the delays, and in all workers that hold the partition, as coding needs. Their
    gradients, times the number of samples over `B`, and the penalty's are an unbiased estimate of
    the partition's. Loss, gap, optimum and smoothness constants stay those of all samples. A delay
    is then the time for the gradient of one minibatch, and `computation` counts those. A step of
    `1/L` need not converge: the noise leaves a gap in proportion to the step.

    Batch over minibatches with `jax.vmap` over `key`.

    Args:
        problem: loss over M partitions; one of `general_problem` needs its `sampler`. Rows of zeros
            that pad a linear regression count as samples.
        batch_size: `B`, samples of a partition.
        key: a JAX random key; consumed.

    Raises:
        ValueError: for another size or key, or a problem that has no samples to draw from.

    >>> from lagc_jax import linear_regression
    >>> problem = linear_regression([[[1.0], [1.0]], [[2.0], [2.0]]], [[1.0, 1.0], [2.0, 2.0]])
    >>> noisy = minibatch(problem, 2, jax.random.key(0))
    >>> noisy.group_oracle(1)(noisy.minimizer - 1, 0).tolist()
    [[-10.0]]
    """
    size = whole_number("batch_size", batch_size)
    key = as_key(key)
    if isinstance(problem, type) or not hasattr(problem, "sample"):
        raise ValueError(
            f"problem is a {type(problem).__name__} without samples; give a problem, as "
            f"lagc_jax.linear_regression makes one"
        )
    jax.eval_shape(lambda key: problem.sample(key, size), key)  # raises where there are none
    return MinibatchProblem(problem, key, size)
