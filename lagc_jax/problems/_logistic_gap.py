"""The gap of a logistic regression, around its optimum, so that nothing cancels."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from lagc_jax._modes import lenient
from lagc_jax._pytree import EXACT


def binary_log_p(logit: Array) -> Array:
    """Log-probabilities of two classes with logits (0, `logit`), on a leading axis."""
    return jnp.stack([jax.nn.log_sigmoid(-logit), jax.nn.log_sigmoid(logit)])


def binary_gap(problem: Any, logit: Array, shift: Array, move: Array) -> Array:
    """`logistic_gap` of two classes with logits (0, `logit`) and shifts (0, `shift`), (M, N)."""
    return logistic_gap(
        problem, binary_log_p(logit), jnp.stack([jnp.zeros_like(shift), shift]), move
    )


@lenient
def logistic_gap(problem: Any, log_p: Array, shift: Array, move: Array) -> Array:
    """The loss minus its tangent at the optimum, sample by sample, and the tangent's slope there.

    No two values of the loss are subtracted, so a small gap keeps its relative precision. Given are
    log-probabilities at the minimiser and shifts of the logits from there, (C, M, N), and
    `theta - theta*`.
    """
    penalty = 0.5 * problem.l2 * problem.num_partitions * jnp.sum(move**2)
    samples = jnp.sum(problem.weights * _divergence(log_p, shift))
    return samples + penalty + jnp.dot(problem.tilt, move, precision=EXACT)


def _divergence(log_p: Array, shift: Array) -> Array:
    """`A(z + s) - A(z) - p.s` over the leading axis, `A` the log-sum-exp and `p = softmax(z)`.

    With `t = s - p.s` this is `log sum p exp(t)`, and `sum p t = 0`, so it is also
    `log(1 + sum p (exp(t) - 1 - t))`, in which nothing cancels.
    """
    p = jnp.exp(log_p)
    t = shift - jnp.sum(p * shift, axis=0)
    limit = 80.0  # exp(80) is a float32
    near = jnp.log1p(jnp.sum(p * _exp_minus_tangent(jnp.minimum(t, limit)), axis=0))
    far = jax.nn.logsumexp(log_p + t, axis=0)
    return jnp.where(jnp.max(t, axis=0) <= limit, near, far)


def _exp_minus_tangent(t: Array) -> Array:
    """`exp(t) - 1 - t` to a few roundings, by its series near 0."""
    small = jnp.clip(t, -0.25, 0.25)
    tail = jnp.ones_like(t)
    for n in range(13, 2, -1):  # the first term left out is 0.25^12 / 14! of the first: 1e-18
        tail = 1 + small * tail / n
    return jnp.where(jnp.abs(t) <= 0.25, 0.5 * small**2 * tail, jnp.expm1(t) - t)
