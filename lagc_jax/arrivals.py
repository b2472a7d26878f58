"""What reaches the server in an iteration, and when: one function for the clock and the step.

Given when every worker would be done computing and which groups are to upload, `collect` says how
long the iteration takes, whose gradients the server then has, and what it cost. Where no group is
ever given up the path does not need to know, and the clock alone calls it; otherwise the step does,
in every iteration. It has three parts, each a function: when messages arrive (the link), when a
group is known (the scheme's decoding), and how long the server waits (the timeout).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lagc_jax.cluster import Cluster, Link
from lagc_jax.delays import TimeSource
from lagc_jax.sampling import CHUNK
from lagc_jax.schemes import Scheme


class Arrivals(NamedTuple):
    """What an iteration brings; leading axes, if any, are iterations.

    Attributes:
        time: (...,) how long it takes.
        received: (..., G) bool, groups whose gradient the server gets.
        uplink: (...,) messages that reach the server, exact integers.
        timeouts: (...,) working groups that it gives up, exact integers.
        taken: (..., G, n) bool, workers of every group whose messages the server takes, were the
            group to upload.
    """

    time: Array
    received: Array
    uplink: Array
    timeouts: Array
    taken: Array


def collect(scheme: Scheme, cluster: Cluster | None, work: Array, selected: Array) -> Arrivals:
    """What reaches the server from workers that need `work` to compute.

    The server takes the messages of an uploading group that the scheme's decoding asks for, by
    default the first `F`, and cancels its other workers. A group that it cannot decode by the
    timeout is given up then; it has had the downlink messages and is charged the computation of
    every working group, but of its messages only those that arrived in time count as uplink.

    Args:
        scheme: sizes, trigger and decoding.
        cluster: messages and timeout; None for the paper's.
        work: (..., M) computing times with the whole load, `inf` for a worker that failed.
        selected: (..., G) bool, groups that are to upload.
    """
    working = scheme.working(selected)
    link = None if cluster is None else cluster.link
    arrival = work if link is None else _arrival_times(scheme, link, work, selected)
    arrival = _grouped(scheme, arrival)
    known, taken = scheme.decoder.wait(arrival)
    integer = jnp.result_type(int)
    if cluster is None or cluster.timeout is None:
        time = jnp.max(jnp.where(working, known, 0), axis=-1)
        uplink = jnp.sum(taken & selected[..., None], axis=(-2, -1), dtype=integer)
        return Arrivals(time, selected, uplink, jnp.zeros_like(uplink), taken)
    timeout = jnp.asarray(cluster.timeout, work.dtype)
    decoded = known <= timeout
    time = jnp.max(jnp.where(working, jnp.minimum(known, timeout), 0), axis=-1)
    in_time = taken & selected[..., None] & (arrival <= timeout)
    return Arrivals(
        time,
        selected & decoded,
        jnp.sum(in_time, axis=(-2, -1), dtype=integer),
        jnp.sum(working & ~decoded, axis=-1, dtype=integer),
        taken,
    )


def _grouped(scheme: Scheme, by_worker: Array) -> Array:
    """(..., M) as (..., G, n)."""
    return by_worker.reshape(*by_worker.shape[:-1], scheme.num_groups, scheme.group_size)


def _arrival_times(scheme: Scheme, link: Link, work: Array, selected: Array) -> Array:
    """When the workers' messages reach the server, (..., M); `inf` for those that send none."""
    latency = jnp.asarray(link.latency, work.dtype)
    down, up = (
        jnp.asarray(size, work.dtype) / jnp.asarray(link.bandwidth, work.dtype)
        for size in (link.download_size, link.upload_size)
    )
    uploads = jnp.repeat(selected, scheme.group_size, axis=-1)
    if not link.shared:
        return latency + down + work + jnp.where(uploads, up, 0) + latency
    works = jnp.repeat(scheme.working(selected), scheme.group_size, axis=-1)
    ready = jnp.cumsum(works, axis=-1) * down + latency + work
    taken = scheme.decoder.wait(_grouped(scheme, ready))[1].reshape(work.shape)
    sent = _queue(jnp.where(taken & uploads, ready, jnp.inf), up)
    return jnp.where(uploads, sent, ready) + latency


def _queue(ready: Array, service: Array) -> Array:
    """When messages that are ready at given times (..., M) leave a link that takes `service` each.

    First come, first served: the i-th leaves at `max_{j <= i} (ready_j + (i - j + 1) service)`.
    """
    order = jnp.argsort(ready, axis=-1)
    before = jnp.arange(ready.shape[-1]) * service
    waited = jnp.take_along_axis(ready, order, axis=-1) - before
    leave = jax.lax.cummax(waited, axis=ready.ndim - 1) + before + service
    return jnp.take_along_axis(leave, jnp.argsort(order, axis=-1), axis=-1)


def sample_work(
    scheme: Scheme, delays: TimeSource, cluster: Cluster | None, key: Array, num_iterations: int
) -> Array:
    """Draw how long every worker would compute in every iteration, (K, M); consumes `key`."""
    chunks = jnp.arange(-(-num_iterations // CHUNK))
    work = jax.vmap(lambda chunk: chunk_of_work(scheme, delays, cluster, key, chunk))(chunks)
    return work.reshape(-1, scheme.num_workers)[:num_iterations]


def chunk_of_work(
    scheme: Scheme, delays: TimeSource, cluster: Cluster | None, key: Array, chunk: ArrayLike
) -> Array:
    """How long every worker would compute in the iterations of one chunk, (CHUNK, M)."""
    draws = 1 if cluster is None else cluster.draws(scheme)
    times = delays.sample_chunk(key, chunk, (CHUNK, draws, scheme.num_workers))
    work = (scheme.load // draws) * jnp.sum(times, axis=1)
    if cluster is None or cluster.startup is None:
        return work
    return jnp.asarray(cluster.startup, work.dtype) + work
