"""What the messages that arrive decode to: the code of a run and the gradients that it recovers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from lagc_jax.problems.base import Oracle, Problem
from lagc_jax.schemes import contract
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.codes import GradientCode, cyclic_repetition
from lagc_jax.schemes.short_codes import ShortCode

Code = GradientCode | ShortCode


def check_code(problem: Problem, scheme: Scheme, code: Code | None) -> Code:
    """The code to run: the cyclic one by default; raise ValueError if it does not fit."""
    n, r = scheme.group_size, scheme.redundancy
    if not scheme.decoder.exact or scheme.decoder.tasks > 1:
        raise ValueError(
            f"exact_recovery=False sends messages of a gradient code, but decoding="
            f"{type(scheme.decoding).__name__} has weights or messages of its own; give "
            f"exact_recovery=True"
        )
    if scheme.learner is not None:
        raise ValueError(
            f"exact_recovery=False sends messages of one gradient code, but decoding="
            f"{type(scheme.decoding).__name__} changes what is sent; give exact_recovery=True"
        )
    own = scheme.decoder.own_code
    if own is not None:
        if code is not None:
            raise ValueError("code is given but the scheme's decoding has one; give code=None")
        return own
    if code is None:
        return cyclic_repetition(n, r, dtype=problem.minimizer.dtype)
    if (code.group_size, code.redundancy) != (n, r):
        raise ValueError(
            f"code has group_size={code.group_size} and redundancy={code.redundancy}; the scheme "
            f"needs {n} and {r}"
        )
    return code


def oracle_source(
    problem: Problem, scheme: Scheme, code: Code | None, num_iterations: int = 0
) -> Callable[[Any], Oracle]:
    """The map from the messages taken (G, n) to the oracle of the gradients that they decode to.

    It is used so many times, 0 where it is made anew every time.
    With an exact decoding and no code that is the groups' gradients, whosever messages are taken.
    """
    if code is None and scheme.decoder.exact:
        exact = problem.group_oracle(scheme.num_groups)
        return lambda _: exact
    partitions = problem.group_oracle(scheme.num_workers)
    weigh = scheme.decoder.weigher(num_iterations * scheme.num_groups)
    p = scheme.decoder.tasks if scheme.decoder.pooled else 1
    shape = (scheme.num_groups, scheme.group_size * p, problem.num_parameters)

    def decoded(taken: Array, theta: Array, k: Array) -> Array:
        points = theta if theta.ndim == 1 else jnp.repeat(theta, scheme.group_size, axis=0)
        # Task `j` of iteration `k` has the minibatches of iteration `k p + j`.
        each = jax.vmap(lambda j: partitions(points, k * p + j), out_axes=1)
        gradients = (partitions(points, k) if p == 1 else each(jnp.arange(p))).reshape(shape)
        if code is not None:
            return code.decode(code.encode(gradients), taken)[..., : problem.num_parameters]
        weights = contract.weights(scheme.decoder, taken, weigh).astype(gradients.dtype)
        # A product and a sum, not a matrix product: with weights of 1 it is the sum of the
        # gradients bit for bit.
        return jnp.sum(weights[..., None] * gradients, axis=1)

    return lambda taken: partial(decoded, taken)
