"""The path of an event-driven scheme, along gradients at older iterates.

What arrives is known (`events`): a gradient by the number of the iterate that it was taken at. Many
realisations step at once, on an axis of their own.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._loops import scan
from lagc_jax._modes import lenient
from lagc_jax.descent import Path, as_path, begin, observer, server
from lagc_jax.events import Arrivals
from lagc_jax.problems._eigenbasis import in_eigenbasis
from lagc_jax.problems.base import Problem
from lagc_jax.problems.stochastic import MinibatchProblem
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.policies import Policy


def _step(
    scheme: Scheme, alpha: Array, point: Array, memory: Any, messages: Array, weights: Array
) -> tuple[Array, Any]:
    """Step along the weighted mean of messages (B, d)."""
    mean = jnp.sum(weights[:, None] * messages, axis=0) / len(messages)
    updates, memory = lenient(server(scheme, alpha).update)(mean, memory, point)
    return jnp.asarray(optax.apply_updates(point, updates)), memory


def _places(scheme: Scheme, num_updates: int) -> tuple[bool, int]:
    """Whether a gradient a worker is kept in place of one an iterate, and how many in all.

    It is all that is needed where every arrival is an update, for then the worker goes on from the
    new iterate, and nobody else does.
    """
    policy: Policy = scheme.decoding  # type: ignore[assignment]
    M, K = scheme.num_workers, num_updates
    if policy.longest is not None:
        return False, min(policy.longest, K)
    updates = policy.alone and policy.batch == 1 and policy.discarded(M, K) == 0
    return (True, M) if updates and M < K else (False, K)


def descend_late(
    problem: Problem,
    scheme: Scheme,
    step_size: ArrayLike | None,
    theta: ArrayLike,
    sources: Arrivals,
    record: Callable[[Any], Any] | None = None,
) -> Path:
    """The paths of R realisations along gradients at older iterates.

    Given are the arrivals that make the updates, (R, K, B). Where several may be of one iterate,
    and without samples are the same, gradients are kept in place of iterates; the `i`-th gradient
    of a problem with minibatches has those of iteration `i`.
    """
    policy: Policy = scheme.decoding  # type: ignore[assignment]
    R, K, B = sources.began.shape
    if scheme.optimizer is optax.sgd:  # a step along the gradient, whatever the coordinates are
        problem, theta = in_eigenbasis(problem, K, theta)
    start = begin(problem, scheme, step_size, theta)
    oracle, sampled = problem.group_oracle(1), isinstance(problem, MinibatchProblem)
    look, lanes = observer(problem, record), jnp.arange(R)
    own, places = _places(scheme, K)
    late = sampled or own

    def keep(point: Array) -> Array:
        return point if late else oracle(point, jnp.zeros((), jnp.int32))[0]

    def message(kept: Array, number: Array) -> Array:
        return oracle(kept, number)[0] if late else kept

    def iterate(carry: tuple, given: tuple) -> tuple:
        points, memories, history = carry
        k, worker, began, sound = given
        weights = jnp.where(sound, policy.weight(k - began, scheme.num_workers), 0)
        numbers = k * B + jnp.arange(B, dtype=k.dtype)
        kept = history[worker if own else began % places, lanes[:, None]]
        messages = jax.vmap(jax.vmap(message), (0, None))(kept, numbers)
        alpha = start.step_size if start.step_size.ndim == 0 else start.step_size[k]
        weights = weights.astype(messages.dtype)
        step = jax.vmap(partial(_step, scheme, alpha))
        points, memories = step(points, memories, messages, weights)
        place = (worker[:, 0], lanes) if own else (k + 1) % places
        history = history.at[place].set(jax.vmap(keep)(points))
        return (points, memories, history), jax.vmap(look)(points)

    spread = lambda leaf: jnp.broadcast_to(leaf, (R, *leaf.shape))  # noqa: E731
    points, memories = spread(start.theta), jax.tree.map(spread, start.optimizer)
    first = jax.vmap(keep)(points)
    history = jnp.broadcast_to(first, (places, *first.shape))
    by_update = [jnp.moveaxis(v, 0, 1) for v in (sources.worker, sources.began, sources.sound)]
    given = (jnp.arange(K, dtype=sources.began.dtype), *by_update)
    (points, *_), seen = scan(iterate, (points, memories, history), given)
    selected = jnp.ones((K, 1), bool)

    def path(point: Array, seen: Any) -> Path:
        return as_path(
            problem, look, start, dataclasses.replace(start, theta=point), seen, selected
        )

    return jax.vmap(path, (0, 1))(points, seen)
