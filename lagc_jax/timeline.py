"""What every worker does when: one realisation as a tidy table, a row a worker and job."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax import events
from lagc_jax._keys import as_key
from lagc_jax.clock import clock_of
from lagc_jax.cluster import Cluster, arrival_times, computed, sample_work
from lagc_jax.delays.base import TimeSource
from lagc_jax.records import Trajectory
from lagc_jax.schemes import contract
from lagc_jax.schemes.base import Scheme

if TYPE_CHECKING:
    import pandas as pd


def job_table(
    run: Trajectory,
    scheme: Scheme,
    delays: TimeSource,
    key: Array,
    cluster: Cluster | None = None,
) -> "pd.DataFrame":
    """A row a worker and job of a trajectory, in the order of their start.

    Costs of the trajectory are sums over it: a row is a downlink message and the load in gradients,
    a finite arrival an uplink message.

    Args:
        run: of `simulate` with the arguments that follow and, unless the scheme is event-driven,
            `sampler="workers"`, for otherwise no worker's times are drawn.
        scheme: that of the trajectory, as are the others.
        delays: its source of times.
        key: its random key.
        cluster: its cluster.

    Returns:
        Columns `worker`; `iteration` (or update) in which the job ends, from 0; `iterate`, the
        number of the one that it starts from; `start`; `finish`, when the worker stops computing,
        be it done or told to stop; `arrival` of its message, `inf` if none is sent; `updated`, when
        the iteration ends in an update of the server's; and the truths `taken`, the server uses the
        message, `cancelled`, it has stopped the worker (or the run ended before it was done),
        `given_up`, at the timeout of its group or of its trial. A row with none of these has
        nothing to send (that it says so is no message), or its message is thrown away.

    Raises:
        ValueError: for a trajectory of other arguments, of vmapped ones, or that takes for ever.

    >>> from lagc_jax import Exponential, gc, linear_regression, simulate
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> parts = gc(2, 2), Exponential(1.0), jax.random.key(0)
    >>> run = simulate(problem, *parts, num_iterations=1, sampler="workers")
    >>> job_table(run, *parts)[["taken", "cancelled"]].sum().tolist()
    [1, 1]
    """
    import pandas as pd

    _check(run, scheme)
    key, K = as_key(key), run.wall_clock.shape[0] - 1
    clock = clock_of(scheme, delays, cluster, "workers", _size(run.theta))
    make = _jobs_late if scheme.event_driven else _jobs_in_step
    columns, end = make(run, scheme, clock.delays, key, clock.cluster, K)
    drawn, eps = float(run.wall_clock[-1]), np.finfo(clock.delays.dtype).eps
    if not (end == drawn or abs(end - drawn) <= 1e3 * eps * abs(drawn)):
        raise ValueError(
            f"run ends at {drawn} but workers' times at {end}; give the scheme, delays, key and "
            f"cluster of the run, which needs sampler='workers'"
        )
    table = pd.DataFrame({name: np.asarray(values) for name, values in columns.items()})
    return table.sort_values(["start", "worker"], kind="stable", ignore_index=True)


def _size(parameters: Any) -> int:
    return sum(np.size(leaf) for leaf in jax.tree.leaves(parameters))


def _check(run: Trajectory, scheme: Scheme) -> None:
    """Raise ValueError unless the run is one of the scheme, and its table can be known."""
    if run.wall_clock.ndim != 1 or run.selected.shape[-1] != scheme.num_groups:
        raise ValueError(
            f"run has shape {run.wall_clock.shape} and {run.selected.shape[-1]} groups; give one "
            f"trajectory of a batch, and its scheme"
        )
    if not np.isfinite(clock := np.asarray(run.wall_clock)).all():
        raise ValueError(
            f"run has no iterate {np.argmin(np.isfinite(clock))} ever, for somebody is waited for "
            f"who never answers; give one of fewer iterations, or of a cluster with a timeout"
        )
    if scheme.decoder.tasks > 1 or scheme.decoder.pooled:
        raise ValueError(
            f"decoding={type(scheme.decoding).__name__} counts several gradients or messages of a "
            f"worker, and a row has one; give a scheme whose workers send one"
        )
    if scheme.learner is not None:
        raise ValueError(
            f"decoding={type(scheme.decoding).__name__} learns as it goes, and its table would "
            f"need every state; give a scheme that does not"
        )


def _jobs_in_step(
    run: Trajectory,
    scheme: Scheme,
    delays: TimeSource,
    key: Array,
    cluster: Cluster | None,
    num_iterations: int,
) -> tuple[dict[str, Any], float]:
    """Rows of a scheme whose workers start together, and when the last iteration ends."""
    n, clock = scheme.group_size, np.asarray(run.wall_clock, float)
    work = sample_work(scheme, delays, cluster, key, num_iterations)
    selected = jnp.asarray(run.selected)
    ready = np.asarray(computed(scheme, cluster, work, selected), float)
    k = jnp.arange(num_iterations)
    arrival = jnp.asarray(arrival_times(scheme, cluster, work, selected, k))
    shape = (num_iterations, scheme.num_groups, n)
    known, taken = contract.wait(scheme.decoder, arrival.reshape(shape))
    arrival = np.asarray(arrival, float).reshape(shape)
    limit = None if cluster is None else cluster.timeout
    timeout = np.inf if limit is None else np.asarray(limit, float)
    stop = np.minimum(np.asarray(known, float), timeout)[..., None]
    lost = np.broadcast_to(np.asarray(known)[..., None] > timeout, shape)
    sent = np.asarray(taken) & np.asarray(selected)[..., None] & (arrival <= timeout)
    uploads = np.broadcast_to(np.asarray(selected)[..., None], shape)
    works = np.asarray(scheme.working(selected))
    finish = np.minimum(ready.reshape(shape), stop)
    start = np.broadcast_to(clock[:-1, None, None], shape)
    iteration = np.broadcast_to(np.arange(num_iterations)[:, None, None], shape)
    rows = np.broadcast_to(works[..., None], shape)
    used = sent & ~lost
    columns = {
        "worker": np.broadcast_to(np.arange(scheme.num_workers).reshape(shape[1:]), shape),
        "iteration": iteration,
        "iterate": iteration,
        "start": start,
        "finish": start + finish,
        "arrival": np.where(sent, start + arrival, np.inf),
        "taken": used,
        "cancelled": uploads & ~sent & ~lost,
        "given_up": lost & ~sent,
        "updated": clock[1:][iteration],
    }
    last = np.max(np.where(works[-1], stop[-1, :, 0], 0))
    return {name: values[rows] for name, values in columns.items()}, float(clock[-2] + last)


def _jobs_late(
    run: Trajectory,
    scheme: Scheme,
    delays: TimeSource,
    key: Array,
    cluster: Cluster | None,
    num_updates: int,
) -> tuple[dict[str, Any], float]:
    """Rows of an event-driven scheme, and when the last update is made."""
    found, jobs, table = (
        jax.tree.map(np.asarray, each)
        for each in events.replay(scheme, delays, cluster, key, num_updates)
    )
    numbers = np.asarray(events.used(scheme, jax.tree.map(lambda x: x[None], found), num_updates))
    last = numbers[0, -1, -1]
    updates = np.searchsorted(numbers[0, :, -1], np.arange(last + 1))  # in which an arrival falls
    made = np.searchsorted(numbers[0, :, -1], np.arange(last + 1), side="right")  # updates by then
    upload = np.broadcast_to(_upload_time(cluster), (scheme.num_workers,))
    rows = []
    for worker in range(scheme.num_workers):
        mine = np.flatnonzero(found.worker[: last + 1] == worker)
        started = np.flatnonzero(np.diff(jobs[: last + 1, worker], prepend=-1))  # before arrivals
        for number, at in enumerate(started):
            start = found.time[at - 1] if at else 0.0
            stop = started[number + 1] - 1 if number + 1 < len(started) else last
            own = mine[(mine >= at) & (mine <= stop)]
            ended = own[0] if own.size else stop
            sound = bool(own.size and found.sound[ended])
            finish = min(start + table[number, worker] - upload[worker], found.time[ended])
            rows.append(
                {
                    "worker": worker,
                    "iteration": updates[ended],
                    "iterate": made[at - 1] if at else 0,
                    "start": start,
                    "finish": finish,
                    "arrival": found.time[ended] if sound else np.inf,
                    "taken": bool(own.size and sound and found.taken[ended]),
                    "cancelled": not own.size,
                    "given_up": bool(own.size and not sound),
                }
            )
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    columns["updated"] = np.asarray(run.wall_clock, float)[1:][columns["iteration"]]
    return columns, float(found.time[last])


def _upload_time(cluster: Cluster | None) -> np.ndarray:
    """How long a message to the server takes, () or (M,)."""
    if cluster is None or cluster.link is None:
        return np.zeros(())
    link = cluster.link
    return np.asarray(link.latency + link.upload_size / link.bandwidth, float)  # type: ignore[operator]
