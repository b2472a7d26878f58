"""Many realisations of the delays along one path, summarised without keeping them all."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import one_axis, positive, probability, real_array, whole_number
from lagc_jax._keys import fold_each, one_key
from lagc_jax._modes import float_dtype
from lagc_jax._programs import compiled
from lagc_jax.clock import Clock, clock_of
from lagc_jax.cluster import Cluster
from lagc_jax.costs import at_hit, count_costs, first_hit
from lagc_jax.delays.base import TimeSource
from lagc_jax.descent import find_path, path_scheme
from lagc_jax.doors import check_fit, flat_start, schedule, with_optimizer
from lagc_jax.problems.base import Problem
from lagc_jax.schemes import contract
from lagc_jax.schemes.base import Scheme
from lagc_jax.summary import Summary, merge_moments, realise, summarise_moments
from lagc_jax.trajectory import (
    run_trajectory,
    warn_if_short,
)

# Trajectories run together, always padded to this number, so that results do not depend on how many
# are asked for.
BLOCK = 64


class Counts(NamedTuple):
    """What realisations with paths or messages of their own took to reach each of A accuracies.

    Attributes:
        iterations, communication, computation: as in `Complexity`.
        timeouts: times that a group was given up; `inf`, like all else, where not reached.
        bits: as in `Complexity`.
    """

    iterations: Summary
    communication: Summary
    computation: Summary
    timeouts: Summary
    bits: Summary


class Batch(NamedTuple):
    """Many realisations of the delays along one path, summarised.

    With a timeout in the cluster, or a decoding other than that of the `F` fastest, every
    realisation has a path or a number of messages of its own: `gap`, `iterations`,
    `communication`, `computation` and `bits` are then means over the realisations, and `selected`,
    `received` and `diverged` the shares of them of which it is true.

    Attributes:
        gap: (K+1,) `L(theta^k) - L(theta*)`.
        selected: (K, G) bool, groups that were to upload, and did unless they were given up.
        diverged: () bool, as in `Path`.
        iterations, communication, computation, bits: (A,) complexity at each accuracy.
        wall_clock: `Summary` of the wall-clock complexity at each accuracy; `inf` where the path
            does not reach it.
        curve: `Summary` of the cumulative time at the iterates asked for, None without any.
        received: (K, G) bool, groups whose gradient arrived.
        counts: `Counts` where realisations differ in more than their times, else None.
    """

    gap: Array
    selected: Array
    diverged: Array
    iterations: Array
    communication: Array
    computation: Array
    bits: Array
    wall_clock: Summary
    curve: Summary | None
    received: Array
    counts: Counts | None

    @property
    def mean(self) -> Array:
        """Sample mean of the wall-clock complexity, (A,)."""
        return self.wall_clock.mean

    @property
    def variance(self) -> Array:
        """Its unbiased sample variance, (A,)."""
        return self.wall_clock.variance

    @property
    def quantiles(self) -> Array:
        """Its sample quantiles, (A, Q)."""
        return self.wall_clock.quantiles


def simulate_batch(
    problem: Problem,
    scheme: Scheme,
    delays: TimeSource,
    key: Array,
    *,
    num_iterations: int,
    num_realisations: int,
    accuracies: Sequence[float] = (1e-8,),
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    iterates: Sequence[int] | None = None,
    keep_samples: bool = False,
    step_size: ArrayLike | Callable[[Array], ArrayLike] | None = None,
    theta0: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    sampler: str | None = None,
    cluster: Cluster | None = None,
) -> Batch:
    """Simulate many realisations of the delays along one path and summarise them.

    The path is computed once, and of a realisation only the sums asked for are kept: memory is that
    of `R (A + number of iterates)` times, or of one block of realisations where neither quantiles
    nor samples are wanted. Realisation `i` uses the key `fold_in(key, i)` whatever the number of
    realisations, so `simulate` with that key gives its trajectory, and schemes under one key meet
    the same delays (common random numbers; `keep_samples=True` for paired differences). Pure:
    `jit`- and `vmap`-able over all that is not a size, so `jax.vmap` adds axes of `xi`, step sizes,
    delay parameters or problems; over delay parameters the path is still computed once, and the
    times have derivatives by them, forwards and in reverse.

    With a timeout in the cluster or a decoding that is not exact the path depends on the delays,
    and with the first decodable set the number of messages: whole trajectories are run, in blocks
    of a fixed size, and memory holds those of one block besides.

    Args:
        problem: as for `simulate`.
        scheme: as for `simulate`.
        delays: as for `simulate`.
        key: a JAX random key; consumed.
        num_iterations: `K`; static.
        num_realisations: `R`; static.
        accuracies: (A,) gaps at which to summarise the wall-clock complexity.
        quantiles: (Q,) levels of quantiles; may be empty.
        iterates: numbers of iterates, from 0 to K, at which to summarise the cumulative time as
            well; `range(K + 1)` gives the whole curve.
        keep_samples: whether to return all realisations.
        step_size: as for `simulate`.
        theta0: as for `simulate`.
        optimizer: as for `simulate`.
        sampler: as for `simulate`.
        cluster: as for `simulate`.

    Returns:
        A `Batch`.

    Raises:
        ValueError: for arguments of a wrong size or value, before anything is compiled.

    >>> from lagc_jax import Exponential, gd, linear_regression
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> batch = simulate_batch(problem, gd(2), Exponential(1.0), jax.random.key(0),
    ...                        num_iterations=1, num_realisations=4)
    >>> batch.iterations.tolist(), batch.quantiles.shape
    ([1.0], (1, 3))
    """
    K = whole_number("num_iterations", num_iterations)
    R = whole_number("num_realisations", num_realisations)
    key = one_key(key)
    check_fit(problem, scheme)
    alpha = schedule(step_size, K)
    scheme = with_optimizer(scheme, optimizer, step_size)
    theta = flat_start(problem, theta0)
    clock = clock_of(scheme, delays, cluster, sampler)
    positive("accuracies", accuracies)
    for name, value, minimum in (
        ("accuracies", accuracies, 1),
        ("quantiles", quantiles, 0),
        ("iterates", 0 if iterates is None else iterates, 1),
    ):
        one_axis(name, value, minimum)
    probability("quantiles", quantiles)
    points = real_array("iterates", () if iterates is None else iterates)
    if points is not None and not ((points >= 0) & (points <= K) & (points % 1 == 0)).all():
        raise ValueError(f"iterates={iterates} must be whole numbers from 0 to {K}")
    warn_if_short(delays, K)
    targets = jnp.atleast_1d(jnp.asarray(accuracies, float))
    probabilities = jnp.atleast_1d(jnp.asarray(quantiles, float))
    stops = None if iterates is None else jnp.atleast_1d(jnp.asarray(iterates))
    if not clock.shared:
        start = (alpha, theta)
        run = (problem, clock, key, start, targets, stops, probabilities)
        return realise_paths(*run, K, R, keep_samples)
    path = find_path(problem, path_scheme(scheme), alpha, theta, K)
    index, reached = first_hit(path.gap, targets)
    times = clock.along(path.selected)
    run = partial(
        realise,
        times,
        key,
        quantiles=probabilities,
        num_realisations=R,
        keep_samples=keep_samples,
    )
    bits = contract.message_bits(scheme.trigger, problem.num_parameters)
    iterations, communication, computation, uplink = _costs(scheme, path.selected, index, reached)
    return Batch(
        gap=path.gap,
        selected=path.selected,
        diverged=path.diverged,
        iterations=iterations,
        communication=communication,
        computation=computation,
        bits=uplink * bits,
        wall_clock=run(index, reached),
        curve=None if stops is None else run(stops, True),
        received=path.selected,
        counts=None,
    )


@compiled()
def _costs(
    scheme: Scheme, selected: Array, index: Array, reached: Array
) -> tuple[Array, Array, Array, Array]:
    """Iterations, messages, gradients and messages to the server at first hits."""
    downlink, uplink, computation = count_costs(scheme, selected)
    spent = (jnp.arange(selected.shape[0] + 1), downlink + uplink, computation, uplink)
    iterations, communication, computation, uplink = (at_hit(c, index, reached) for c in spent)
    return iterations, communication, computation, uplink


@compiled("num_iterations", "num_realisations", "keep_samples")
def realise_paths(
    problem: Problem,
    clock: Clock,
    key: Array,
    start: tuple[ArrayLike | None, ArrayLike],
    accuracies: Array,
    iterates: Array | None,
    quantiles: Array,
    num_iterations: int,
    num_realisations: int,
    keep_samples: bool,
) -> Batch:
    """Run R trajectories, a block at a time, and summarise them; realisation `i` as `realise`."""
    size = BLOCK
    ks = jnp.arange(num_iterations + 1)

    def run_one(own: Array) -> tuple[tuple, tuple]:
        run = run_trajectory(
            problem,
            clock,
            own,
            *start,
            None,
            num_iterations,
        )
        index, reached = first_hit(run.gap, accuracies)
        spent = (run.wall_clock, ks, run.communication, run.computation, run.timeouts, run.bits)
        costs = tuple(at_hit(values, index, reached) for values in spent)
        curve = None if iterates is None else run.wall_clock[iterates]
        return (run.gap, run.selected, run.received, run.diverged), (costs, curve)

    def add_block(totals: tuple, block: Array) -> tuple[tuple, tuple]:
        numbers = block * size + jnp.arange(size)
        paths, samples = jax.vmap(run_one)(fold_each(key, numbers))

        def add(total: Array, values: Array) -> Array:
            valid = jnp.reshape(numbers < num_realisations, (-1,) + (1,) * total.ndim)
            return total + jnp.sum(jnp.where(valid, values, 0), axis=0, dtype=total.dtype)

        return jax.tree.map(add, totals, paths), samples

    shapes, _ = jax.eval_shape(run_one, key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, float_dtype(leaf)), shapes)
    blocks = -(-num_realisations // size)
    totals, samples = jax.lax.scan(add_block, zeros, jnp.arange(blocks))
    gap, selected, received, diverged = (total / num_realisations for total in totals)

    def summarise(drawn: Array) -> Summary:
        flat = drawn.reshape(-1, drawn.shape[-1])[:num_realisations]
        nothing = jnp.zeros(flat.shape[1], flat.dtype)
        moments = (jnp.zeros((), flat.dtype), nothing, nothing)
        moments = merge_moments(moments, flat, jnp.ones(num_realisations, bool))
        return summarise_moments(moments, flat, quantiles, num_realisations, keep_samples)

    (time, *others), curve = jax.tree.map(summarise, samples)
    counts = Counts(*others)
    return Batch(
        gap=gap,
        selected=selected,
        diverged=diverged,
        iterations=counts.iterations.mean,
        communication=counts.communication.mean,
        computation=counts.computation.mean,
        bits=counts.bits.mean,
        wall_clock=time,
        curve=curve,
        received=received,
        counts=counts,
    )
