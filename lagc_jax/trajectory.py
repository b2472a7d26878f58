"""Whole trajectories: a path and the clock along it."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import events, stale
from lagc_jax._checks import check_record, truth
from lagc_jax._keys import as_key
from lagc_jax._loops import scan
from lagc_jax._programs import compiled
from lagc_jax.clock import Clock, check_order, clock_of
from lagc_jax.cluster import Arrivals, Cluster, arrival_times, collect, sample_work
from lagc_jax.coded import Code, check_code, oracle_source
from lagc_jax.costs import accumulate, check_counts, count_costs, count_work
from lagc_jax.delays.base import TimeSource
from lagc_jax.descent import (
    Path,
    State,
    as_path,
    begin,
    find_path,
    observer,
    path_scheme,
    propose,
    select,
    update,
)
from lagc_jax.doors import enter, warn_if_short
from lagc_jax.problems.base import Problem
from lagc_jax.records import Trajectory
from lagc_jax.schemes import contract
from lagc_jax.schemes.base import Scheme
from lagc_jax.times import elapsed


def simulate(
    problem: Problem,
    scheme: Scheme,
    delays: TimeSource,
    key: Array,
    *,
    num_iterations: int,
    step_size: ArrayLike | Callable[[Array], ArrayLike] | None = None,
    theta0: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    sampler: str | None = None,
    exact_recovery: bool = True,
    code: Code | None = None,
    record: Callable[[Any], Any] | None = None,
    cluster: Cluster | None = None,
) -> Trajectory:
    """Simulate one trajectory: pure, and `jit`- and `vmap`-able over all that is not a size.

    Over keys alone the path is computed once, unless it depends on the times. It does with a
    timeout, for a group may be given up and keep its stale gradient (see `cluster.collect` for what
    such a group costs), and with a decoding that is not exact.

    Args:
        problem: loss over M partitions.
        scheme: how its gradients are collected.
        delays: of the time for one partition gradient, parameters () or (M,), or any other source
            of times: a `Trace`, `Bursty`, `Failures`.
        key: a JAX random key; consumed.
        num_iterations: `K`; static.
        step_size: `alpha`, () or one an iteration (K,), or a function of `k`; by default `1/L`.
        theta0: start, in the form of the problem's parameters; by default the problem's `start`.
        optimizer: optax transformation in place of the scheme's; static, so make it once. Give its
            `step_size` as well, which triggers weigh steps with.
        sampler: "direct" or "workers", of the same distribution (see `clock_of`).
        exact_recovery: if False, coded messages are sent, arrive in the order of the workers' times
            and are decoded, with the numerical error of coding (GC, section 3).
        code: the gradient code then; by default the decoding's own or `cyclic_repetition(n, r)`.
        record: static function of an iterate, in the form of `theta0`, to a pytree of arrays that
            is kept for all iterates: a test accuracy, say. Programs are kept by it: make it once.
        cluster: start-up, messages and timeout; None for the paper's cluster.

    Raises:
        ValueError: for arguments of a wrong size or value, before anything is compiled.

    >>> from lagc_jax import Exponential, gd, linear_regression
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> run = simulate(problem, gd(2), Exponential(1.0), jax.random.key(0), num_iterations=1)
    >>> [f"{gap:.4f}" for gap in run.gap], run.uplink.tolist()
    (['2.5000', '0.0000'], [0, 2])
    """
    given = (num_iterations, step_size, theta0, optimizer)
    problem, scheme, K, alpha, theta = enter(problem, scheme, *given)
    key = as_key(key)
    check_record(record)
    clock, code = _recovery(problem, scheme, delays, cluster, sampler, exact_recovery, code)
    warn_if_short(clock.delays, K)
    return run_trajectory(problem, clock, key, alpha, theta, code, K, record)


def _recovery(
    problem: Problem,
    scheme: Scheme,
    delays: TimeSource,
    cluster: Cluster | None,
    sampler: str | None,
    exact: bool,
    code: Code | None,
) -> tuple[Clock, Code | None]:
    """The clock, and the code to run where messages are to be decoded."""
    d = problem.num_parameters
    if truth("exact_recovery", exact):
        if code is not None:
            raise ValueError("code is given but exact_recovery=True; give exact_recovery=False")
        return clock_of(scheme, delays, cluster, sampler, d), None
    if sampler == "direct":
        raise ValueError("sampler='direct' has no arrival order; give sampler='workers'")
    clock = clock_of(scheme, delays, cluster, "workers", d)
    code = check_code(problem, scheme, code)
    check_order("exact_recovery=False", cluster)
    return clock, code


def event_driven(_: Problem, clock: Clock, *__: Any, **___: Any) -> bool:
    """Whether what is run is, of the arguments of `run_trajectory` and `realise_paths`."""
    return clock.scheme.event_driven


@compiled("num_iterations", "record", one_thread=event_driven)
def run_trajectory(
    problem: Problem,
    clock: Clock,
    key: Array,
    step_size: ArrayLike | None,
    theta: ArrayLike,
    code: Code | None,
    num_iterations: int,
    record: Callable[[Any], Any] | None = None,
) -> Trajectory:
    """`simulate` with a start (d,); it trusts its arguments."""
    scheme = clock.scheme
    if scheme.event_driven:
        start = (step_size, theta)
        runs = run_events(problem, clock, key[None], *start, num_iterations, record)
        return jax.tree.map(lambda leaf: leaf[0], runs)
    if code is None and clock.shared:
        path = find_path(
            problem, path_scheme(scheme), step_size, theta, num_iterations, record=record
        )
        times = clock.along(path.selected).whole(key)
        received = path.selected
        downlink, uplink, computation = count_costs(scheme, path.selected)
        timeouts = jnp.zeros_like(uplink)
    else:
        work = sample_work(scheme, clock.delays, clock.cluster, key, num_iterations)
        given = begin(problem, scheme, step_size, theta), work, clock.cluster, code, record
        path, arrivals = _descend_with_arrivals(problem, scheme, *given)
        times, received = arrivals.time, arrivals.received
        downlink, computation = count_work(scheme, path.selected, arrivals.gradients)
        uplink, timeouts = accumulate(arrivals.uplink), accumulate(arrivals.timeouts)
    bits = contract.message_bits(scheme, problem.num_parameters, np.arange(num_iterations))
    costs = (elapsed(times), downlink, uplink, computation)
    outcome = (path.theta, path.diverged, received, timeouts, jnp.asarray(bits), path.recorded)
    return Trajectory(path.gap, path.selected, *costs, *outcome)


def run_events(
    problem: Problem,
    clock: Clock,
    keys: Array,
    step_size: ArrayLike | None,
    theta: ArrayLike,
    num_iterations: int,
    record: Callable[[Any], Any] | None = None,
) -> Trajectory:
    """R trajectories of an event-driven scheme, whose iterations are updates; keys (R,)."""
    scheme, K = clock.scheme, num_iterations
    check_counts(K, (events.num_arrivals(scheme, K) + scheme.num_workers) * max(scheme.load, 2))
    found = events.arrivals(scheme, clock.delays, clock.cluster, keys, K)
    sources, took = events.at_updates(scheme, found, K)
    path = stale.descend_late(problem, scheme, step_size, theta, sources, record)
    one = jnp.asarray(contract.message_bits(scheme, problem.num_parameters))
    bits = jnp.broadcast_to(one, keys.shape)
    computation = scheme.load * took.started
    costs = (took.time, took.started, took.sent, computation)
    outcome = (path.theta, path.diverged, path.selected, jnp.zeros_like(took.sent), bits)
    return Trajectory(path.gap, path.selected, *costs, *outcome, path.recorded)


def _foreseen(scheme: Scheme, cluster: Cluster | None) -> bool:
    """Whether a group's messages arrive in time or not, whichever others upload."""
    if scheme.learner is not None:
        return False
    if cluster is None or cluster.timeout is None or not scheme.adaptive:
        return True
    return cluster.link is None or not cluster.link.shared


def _descend_with_arrivals(
    problem: Problem,
    scheme: Scheme,
    start: State,
    work: Array,
    cluster: Cluster | None,
    code: Code | None,
    record: Callable[[Any], Any] | None,
) -> tuple[Path, Arrivals]:
    """Scan the step on what the server decodes of the workers' work (K, M)."""
    if not _foreseen(scheme, cluster):
        return _descend_and_collect(problem, scheme, start, work, cluster, code, record)
    look = observer(problem, record)
    oracle_from = oracle_source(problem, scheme, code, work.shape[0])
    # All iterations at once, before and after: small arrays in a scan cost more.
    collected = jax.vmap(partial(collect, scheme, cluster))
    everyone = jnp.ones((work.shape[0], scheme.num_groups), bool)
    k = jnp.arange(work.shape[0])
    whole = collected(work, everyone, k)

    def iterate(state: State, item: tuple[Array, Array]) -> tuple[State, tuple[Any, Array]]:
        taken, in_time = item
        proposal = propose(scheme, oracle_from(taken), state)
        selected = select(state, proposal)
        state = update(scheme, state, proposal, selected & in_time)
        return state, (look(state.theta), selected)

    last, (seen, selected) = scan(iterate, start, (whole.taken, whole.received))
    arrivals = collected(work, selected, k)
    return as_path(problem, look, start, last, seen, selected), arrivals


def _descend_and_collect(
    problem: Problem,
    scheme: Scheme,
    start: State,
    work: Array,
    cluster: Cluster | None,
    code: Code | None,
    record: Callable[[Any], Any] | None,
) -> tuple[Path, Arrivals]:
    """As `_descend_with_arrivals`, where who arrives depends on the iterates."""
    everyone = jnp.ones(scheme.num_groups, bool)
    look, learner = observer(problem, record), scheme.learner
    oracle_from = oracle_source(problem, scheme, code)

    def iterate(carry: tuple, work: Array) -> tuple[tuple, tuple[Any, Array, Arrivals]]:
        state, notes = carry
        now, source, k = scheme, oracle_from, state.k
        if learner is not None:
            now = dataclasses.replace(scheme, decoding=learner.now(notes))
            source = oracle_source(problem, now, code)
        taken = collect(now, cluster, work, everyone, k).taken
        proposal = propose(scheme, source(taken), state)
        selected = select(state, proposal)
        arrivals = collect(now, cluster, work, selected, k)
        before, state = state.theta, update(scheme, state, proposal, arrivals.received)
        if learner is not None:
            shape = (scheme.num_groups, scheme.group_size)
            arrival = arrival_times(now, cluster, work, selected, k).reshape(shape)
            notes = learner.learn(notes, arrival, state.theta - before)
        return (state, notes), (look(state.theta), selected, arrivals)

    notes = None
    if learner is not None:
        notes = learner.begin(problem.num_parameters, scheme.group_size)
    (last, _), (seen, selected, arrivals) = scan(iterate, (start, notes), work)
    return as_path(problem, look, start, last, seen, selected), arrivals
