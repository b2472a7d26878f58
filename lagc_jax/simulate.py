"""Whole trajectories: a path, the clock along it, and what it took to reach an accuracy."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import positive, whole_number
from lagc_jax.clock import (
    accumulate,
    choose_sampler,
    count_costs,
    fastest,
    iteration_times,
    sample_worker_times,
    times_along,
)
from lagc_jax.codes import GradientCode, cyclic_repetition
from lagc_jax.delays import Delays
from lagc_jax.descent import State, advance, begin, check_start, flat_start, path_scheme
from lagc_jax.problems import Problem
from lagc_jax.schemes import Scheme

# Iterations between two looks at whether a path has reached its accuracy: fewer stop sooner, more
# copy the record of a batch less often.
STRETCH = 32


class Path(NamedTuple):
    """The iterates' part of a trajectory: what does not depend on computing times.

    Attributes:
        gap: (K+1,) `L(theta^k) - L(theta*)`.
        selected: (K, G) bool, groups that uploaded.
        theta: the last iterate `theta^K`, in the form of the problem's parameters.
        diverged: () bool, whether the gap stopped being finite or ended above its start.
        recorded: what `record` gave at every iterate, leaves (K+1, ...); None without one.
    """

    gap: Array
    selected: Array
    theta: Any
    diverged: Array
    recorded: Any = None


class Trajectory(NamedTuple):
    """One realisation of a scheme; arrays over iterates are cumulative and start at 0.

    Attributes:
        gap: (K+1,) `L(theta^k) - L(theta*)`; not finite from where the iterates overflow.
        selected: (K, G) bool, groups that uploaded.
        wall_clock: (K+1,) time, in the unit of the delays.
        downlink: (K+1,) messages from the server, exact integers.
        uplink: (K+1,) messages to the server, exact integers.
        computation: (K+1,) partition gradients, exact integers.
        theta: the last iterate, in the form of the problem's parameters.
        diverged: () bool, whether the gap stopped being finite or ended above its start.
        recorded: what `record` gave at every iterate, leaves (K+1, ...); None without one.
    """

    gap: Array
    selected: Array
    wall_clock: Array
    downlink: Array
    uplink: Array
    computation: Array
    theta: Any
    diverged: Array
    recorded: Any = None

    @property
    def communication(self) -> Array:
        """Downlink plus uplink messages, (K+1,)."""
        return self.downlink + self.uplink


class Complexity(NamedTuple):
    """What it took to reach an accuracy; `inf` where it was not reached.

    Attributes:
        wall_clock: time.
        communication: messages.
        computation: partition gradients.
        iterations: first `k` with `L(theta^k) - L(theta*) <= accuracy`.
    """

    wall_clock: Array
    communication: Array
    computation: Array
    iterations: Array


def simulate(
    problem: Problem,
    scheme: Scheme,
    delays: Delays,
    key: Array,
    *,
    num_iterations: int,
    step_size: ArrayLike | None = None,
    theta0: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    sampler: str | None = None,
    exact_recovery: bool = True,
    code: GradientCode | None = None,
    record: Callable[[Any], Any] | None = None,
) -> Trajectory:
    """Simulate one trajectory: pure, and `jit`- and `vmap`-able over all that is not a size.

    Batch over `key`, `scheme.xi`, `step_size` or the delays' parameters with `jax.vmap`; over keys
    alone the path is computed once.

    Args:
        problem: loss over M partitions.
        scheme: how its gradients are collected.
        delays: distribution of the time for one partition gradient, parameters () or (M,).
        key: a JAX random key; consumed.
        num_iterations: `K`; static.
        step_size: `alpha`, (); by default `1/L`.
        theta0: start, in the form of the problem's parameters; zeros by default.
        optimizer: the server's optax transformation; by default `optax.sgd(step_size)`. It is
            static: make it once and reuse it, a new one compiles anew.
        sampler: "direct" draws an iteration's time from its law, "workers" draws every worker's
            time; by default the first for identical delays and the second for worker-dependent
            ones. Both have the same distribution.
        exact_recovery: whether the server is given the groups' gradients themselves. If False,
            coded messages are sent, arrive in the order of the workers' times and are decoded, with
            the numerical error of coding (GC, section 3).
        code: the gradient code then used; by default `cyclic_repetition(n, r)`.
        record: function of an iterate, in the form of the problem's parameters, to a pytree of
            arrays that is kept for all iterates: a test accuracy, say. Static, as `optimizer` is.

    Returns:
        A `Trajectory`: arrays over iterates (K+1,), selections (K, G), costs as in LAGC, Table I.

    Raises:
        ValueError: for arguments of a wrong size or value, before anything is compiled.

    >>> from lagc_jax import Exponential, gd, linear_regression
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> run = simulate(problem, gd(2), Exponential(1.0), jax.random.key(0), num_iterations=1)
    >>> [f"{gap:.4f}" for gap in run.gap], run.uplink.tolist()
    (['2.5000', '0.0000'], [0, 2])
    """
    K = whole_number("num_iterations", num_iterations)
    check_start(problem, scheme, step_size)
    theta = flat_start(problem, theta0)
    if exact_recovery:
        if code is not None:
            raise ValueError("code is given but exact_recovery=True; give exact_recovery=False")
        sampler = choose_sampler(scheme, delays, sampler)
    else:
        if choose_sampler(scheme, delays, sampler) == "direct" and sampler is not None:
            raise ValueError("sampler='direct' has no arrival order; give sampler='workers'")
        sampler = "workers"
        code = _check_code(problem, scheme, code)
    return _simulate(
        problem, scheme, delays, key, step_size, theta, code, K, optimizer, sampler, record
    )


def _check_code(problem: Problem, scheme: Scheme, code: GradientCode | None) -> GradientCode:
    """The code to run: the cyclic one by default; raise ValueError if it does not fit."""
    n, r = scheme.group_size, scheme.redundancy
    if code is None:
        return cyclic_repetition(n, r, dtype=problem.minimizer.dtype)
    if (code.group_size, code.redundancy) != (n, r):
        raise ValueError(
            f"code has group_size={code.group_size} and redundancy={code.redundancy}; the scheme "
            f"needs {n} and {r}"
        )
    return code


@partial(jax.jit, static_argnames=("num_iterations", "optimizer", "sampler", "record"))
def _simulate(
    problem: Problem,
    scheme: Scheme,
    delays: Delays,
    key: Array,
    step_size: ArrayLike | None,
    theta: ArrayLike,
    code: GradientCode | None,
    num_iterations: int,
    optimizer: optax.GradientTransformation | None,
    sampler: str,
    record: Callable[[Any], Any] | None,
) -> Trajectory:
    if code is None:
        path = find_path(
            problem,
            path_scheme(scheme),
            step_size,
            theta,
            num_iterations,
            optimizer,
            record=record,
        )
        wall_clock = accumulate(times_along(scheme, delays, path.selected, sampler).whole(key))
    else:
        times = sample_worker_times(delays, key, num_iterations, scheme.num_workers)
        start = begin(problem, scheme, step_size, theta, optimizer)
        arrived = (code, fastest(scheme, times))
        path = _descend(problem, scheme, start, num_iterations, optimizer, arrived, record=record)
        working = scheme.working(path.selected)
        wall_clock = accumulate(iteration_times(scheme, times, working))
    downlink, uplink, computation = count_costs(scheme, path.selected)
    return Trajectory(
        path.gap,
        path.selected,
        wall_clock,
        downlink,
        uplink,
        computation,
        path.theta,
        path.diverged,
        path.recorded,
    )


def descend(
    problem: Problem,
    scheme: Scheme,
    *,
    num_iterations: int,
    step_size: ArrayLike | None = None,
    theta0: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    accuracy: ArrayLike | None = None,
    record: Callable[[Any], Any] | None = None,
) -> Path:
    """Run `K` iterations and record the path alone.

    Arguments and errors are those of `simulate`, and `accuracy`: the path then stops soon after its
    gap has come within it or is not finite any more, and what was not run has gap NaN, records NaN
    (integers 0) and selects no group (all groups where the gap is not finite, as running on would
    have given). Under `vmap`
    every member stops for itself, and the batch stops with its last member. For many members,
    `jax.lax.map` with a `batch_size` of about 128 keeps them in a CPU's cache.

    >>> from lagc_jax import gd, linear_regression
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> [f"{gap:.4f}" for gap in descend(problem, gd(2), num_iterations=2).gap]
    ['2.5000', '0.0000', '0.0000']
    """
    K = whole_number("num_iterations", num_iterations)
    check_start(problem, scheme, step_size)
    theta = flat_start(problem, theta0)
    if accuracy is not None:
        positive("accuracy", accuracy)
    return find_path(problem, path_scheme(scheme), step_size, theta, K, optimizer, accuracy, record)


@partial(jax.jit, static_argnames=("num_iterations", "optimizer", "record"))
def find_path(
    problem: Problem,
    scheme: Scheme,
    step_size: ArrayLike | None,
    theta: ArrayLike,
    num_iterations: int,
    optimizer: optax.GradientTransformation | None,
    accuracy: ArrayLike | None = None,
    record: Callable[[Any], Any] | None = None,
) -> Path:
    """`descend` with a scheme of `path_scheme` and a start (d,); it trusts its arguments."""
    start = begin(problem, scheme, step_size, theta, optimizer)
    return _descend(
        problem, scheme, start, num_iterations, optimizer, accuracy=accuracy, record=record
    )


def _descend(
    problem: Problem,
    scheme: Scheme,
    start: State,
    num_iterations: int,
    optimizer: optax.GradientTransformation | None,
    arrived: tuple[GradientCode, Array] | None = None,
    accuracy: ArrayLike | None = None,
    record: Callable[[Any], Any] | None = None,
) -> Path:
    """Scan the step; given a code and survivors (K, G, n), on gradients decoded from them."""
    code, survivors = (None, None) if arrived is None else arrived
    gradients_from = _gradient_source(problem, scheme, code)

    def look(theta: Array) -> tuple[Array, Any]:
        return problem.gap(theta), None if record is None else record(problem.unflatten(theta))

    def iterate(state: State, alive: Array | None) -> tuple[State, tuple[Any, Array]]:
        state = advance(scheme, gradients_from(alive), state, optimizer)
        return state, (look(state.theta), state.uploaded)

    if accuracy is None:
        last, (seen, selected) = jax.lax.scan(iterate, start, survivors, length=num_iterations)
    else:
        last, seen, selected = _scan_until(iterate, start, num_iterations, accuracy)
    first = look(start.theta)
    gap, recorded = jax.tree.map(
        lambda one, rest: jnp.concatenate([jnp.asarray(one)[None], rest]), first, seen
    )
    resolution = _gap_resolution(problem, start.theta)
    diverged = ~(problem.gap(last.theta) <= jnp.maximum(gap[0], resolution))
    return Path(gap, selected, problem.unflatten(last.theta), diverged, recorded)


def _scan_until(
    iterate: Callable, start: State, num_iterations: int, accuracy: ArrayLike
) -> tuple[State, Any, Array]:
    """Scan in stretches, and stop after the one in which the gap came within the accuracy."""
    size = min(STRETCH, num_iterations)
    stretches, rest = divmod(num_iterations, size)

    def blank(leaf: jax.ShapeDtypeStruct) -> Array:
        return jnp.full((stretches, size, *leaf.shape), _not_run(leaf.dtype), leaf.dtype)

    def unfinished(carry: tuple) -> Array:
        return (carry[0] < stretches) & ~carry[3]

    def run(carry: tuple) -> tuple:
        i, state, kept, _ = carry
        state, made = jax.lax.scan(iterate, state, None, length=size)
        gap = made[0][0]
        done = jnp.any(gap <= accuracy) | ~jnp.isfinite(gap[-1])
        return i + 1, state, jax.tree.map(lambda old, new: old.at[i].set(new), kept, made), done

    kept = jax.tree.map(blank, jax.eval_shape(iterate, start, None)[1])
    carry = (0, start, kept, jnp.zeros((), bool))
    _, state, kept, done = jax.lax.while_loop(unfinished, run, carry)
    last, made = jax.lax.scan(iterate, state, None, length=rest)
    last = jax.tree.map(lambda old, new: jnp.where(done, old, new), state, last)

    def join(old: Array, new: Array) -> Array:
        new = jnp.where(done, _not_run(new.dtype), new)
        return jnp.concatenate([old.reshape(-1, *old.shape[2:]), new])

    seen, selected = jax.tree.map(join, kept, made)
    overflowed = ~jnp.all(jnp.isfinite(last.theta))
    return last, seen, selected | (jnp.isnan(seen[0])[:, None] & overflowed)


def _not_run(dtype: jnp.dtype) -> Array:
    """What stands for an iterate that was not run: NaN, or 0 where there is none."""
    return jnp.asarray(jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)


def _gradient_source(
    problem: Problem, scheme: Scheme, code: GradientCode | None
) -> Callable[[Any], Callable[[Array], Array]]:
    """The map from the survivors (G, n) of an iteration to its gradient function, (d,) to (G, d).

    Without a code the gradients are exact, whoever survives.
    """
    if code is None:
        exact = problem.group_gradients(scheme.num_groups)
        return lambda _: exact
    partitions = problem.group_gradients(scheme.num_workers)
    shape = (scheme.num_groups, scheme.group_size, problem.num_parameters)

    def coded(survivors: Array, theta: Array) -> Array:
        return code.decode(code.encode(partitions(theta).reshape(shape)), survivors)

    return lambda survivors: partial(coded, survivors)


def _gap_resolution(problem: Problem, theta0: Array) -> Array:
    """Gap that rounding alone explains, so that a start at the optimum does not read diverged."""
    squares = jnp.sum(theta0**2) + jnp.sum(problem.minimizer**2)
    scale = jnp.abs(problem.optimum) + problem.total_smoothness * squares
    return jnp.finfo(scale.dtype).eps * scale


@jax.jit
def first_hit(gap: ArrayLike, accuracy: ArrayLike) -> tuple[Array, Array]:
    """First iterates with `gap <= accuracy`: indices and whether there are any, of its shape.

    A gap that is not a number is never below.
    """
    below = jnp.asarray(gap) <= jnp.asarray(accuracy)[..., None]
    return jnp.argmax(below, axis=-1), jnp.any(below, axis=-1)


def at_hit(values: Array, index: Array, reached: Array) -> Array:
    """Entries of `values` (K+1,) at the first hits, `inf` where there are none."""
    floating = jnp.result_type(values.dtype, jnp.result_type(float))
    return jnp.where(reached, values[index].astype(floating), jnp.inf)


def complexity(trajectory: Trajectory, accuracy: ArrayLike) -> Complexity:
    """Read off what a trajectory took to reach an accuracy.

    Args:
        trajectory: of `simulate`.
        accuracy: `eta > 0`, the gap to reach; a scalar or an array.

    Returns:
        A `Complexity` of arrays of the shape of `accuracy`: the entries at the first `k` with
        `L(theta^k) - L(theta*) <= accuracy`, `inf` where no such `k <= K` exists (LAGC).

    Raises:
        ValueError: if an accuracy is not positive and finite.
    """
    positive("accuracy", accuracy)
    index, reached = first_hit(trajectory.gap, accuracy)
    iterates = jnp.arange(trajectory.gap.shape[-1])
    return Complexity(
        at_hit(trajectory.wall_clock, index, reached),
        at_hit(trajectory.communication, index, reached),
        at_hit(trajectory.computation, index, reached),
        at_hit(iterates, index, reached),
    )
