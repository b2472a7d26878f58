"""What an iteration takes beyond its computing times: start-up, messages and the server's patience.

The defaults of `simulate` are the paper's: a load proportional to the redundancy, messages that
take no time, and a server that waits for ever. `Cluster` says what is different.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import tasks
from lagc_jax._checks import as_leaf, not_negative, one_or_each, positive, scalar
from lagc_jax._modes import lenient
from lagc_jax._pytree import pytree
from lagc_jax._sorting import queue
from lagc_jax.delays.base import TimeSource
from lagc_jax.law.inverse import CHUNK
from lagc_jax.schemes import contract
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.sizes import Sizes, upload_size


@pytree("shared")
class Link:
    """How long messages take: latency, and size over bandwidth.

    A message occupies a link for `size / bandwidth` and arrives `latency` later; links carry both
    directions at once. If the link is not shared, every worker has one of its own. If it is shared,
    the server has one: downloads leave it one after another, in the order of the working groups'
    workers, and uploads enter it in the order in which their workers finish computing, each when
    the one before has left (first come, first served; ties by worker). Only those workers of an
    uploading group upload whose messages the server takes, by default the `F` that finish first,
    the others are told to stop. A group that works without uploading (worker trigger) says so in a
    message of size 0.

    Args:
        latency: time, shape () or (M,).
        bandwidth: size carried in a unit of time, () or (M,); () if shared.
        download_size: size of a message to a worker (the iterate), ().
        upload_size: size of a message to the server, (); by default that of its bits in every
            iteration, 1 for a vector of numbers of 32 bits.
        shared: whether all messages pass one link of the server; static.

    Raises:
        ValueError: if a latency or size is negative, a bandwidth not positive and finite, or a
            shared link has more than one bandwidth.

    >>> Link(bandwidth=2.0).shared
    False
    """

    latency: ArrayLike = 0.0
    bandwidth: ArrayLike = 1.0
    download_size: ArrayLike = 1.0
    upload_size: ArrayLike | Sizes | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "latency", as_leaf(self.latency))
        object.__setattr__(self, "bandwidth", as_leaf(self.bandwidth))
        not_negative("latency", self.latency)
        positive("bandwidth", self.bandwidth)
        for name in ("download_size", "upload_size"):
            if not isinstance(getattr(self, name), Sizes | None):
                not_negative(name, getattr(self, name))
                scalar(name, getattr(self, name))
        if self.shared:
            scalar("bandwidth", self.bandwidth)

    @property
    def uniform(self) -> bool:
        """Whether messages take the same time, whoever sends and whoever else does."""
        return not (self.shared or np.ndim(self.latency) or np.ndim(self.bandwidth))


@pytree("independent")
class Cluster:
    """What differs from the paper's cluster; every part may be left out.

    A worker with load `r` computes for `startup + r tau`, or, with `independent` partitions, for
    `startup` plus the sum of `r` independent draws of `tau`; with a rule that takes two gradients
    of every partition the load is twice the redundancy.

    Args:
        startup: time before a worker's first gradient in an iteration, shape () or (M,).
        link: how long messages take; none by default.
        timeout: longest time that the server waits for a group, from the start of the iteration,
            (); for ever by default. A group that it cannot decode by then is given up and keeps its
            stale gradient (zero if it never had another), whether its workers failed or are late.
            Without a timeout a group with too many failed workers takes the time `inf`.
        independent: whether the partitions of a worker take independent times; static.

    Raises:
        ValueError: if a time is negative or not finite, or the timeout is not positive.

    >>> Cluster(startup=0.5).startup
    0.5
    """

    startup: ArrayLike | None = None
    link: Link | None = None
    timeout: ArrayLike | None = None
    independent: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "startup", as_leaf(self.startup))
        if not isinstance(self.link, Link | None):
            raise ValueError(f"link={self.link!r} is no Link; give lagc_jax.Link(latency=..)")
        if self.startup is not None:
            not_negative("startup", self.startup)
        if self.timeout is not None:
            positive("timeout", self.timeout)
            scalar("timeout", self.timeout)

    def sized(self, scheme: Scheme, num_parameters: int | None) -> "Cluster":
        """The cluster whose link has the size of the scheme's messages, if none is given."""
        if self.link is None or self.link.upload_size is not None:
            return self
        size = upload_size(scheme, num_parameters)
        return replace(self, link=replace(self.link, upload_size=size))

    def check(self, num_workers: int) -> None:
        """Raise ValueError unless every part has shape () or (M,)."""
        parts = {"startup": 0.0 if self.startup is None else self.startup}
        if self.link is not None:
            parts |= {"link.latency": self.link.latency, "link.bandwidth": self.link.bandwidth}
        for name, value in parts.items():
            one_or_each(f"cluster.{name}", value, num_workers)

    def draws(self, scheme: Scheme) -> int:
        """Independent times that a worker needs in an iteration."""
        if not self.independent:
            return 1
        if not isinstance(scheme.load, int):
            raise ValueError(
                f"cluster.independent=True draws a time for every partition, but a worker's "
                f"load is {scheme.load}; give independent=False"
            )
        return scheme.load

    def overhead(self, scheme: Scheme) -> ArrayLike | None:
        """Time that every answer takes beyond its computing, (); None where it is not one constant.

        Where it is, an iteration's time is that of the paper's cluster plus this, so that direct
        sampling and exact moments still apply.
        """
        startup = 0.0 if self.startup is None else self.startup
        if np.ndim(startup) or self.timeout is not None or self.draws(scheme) > 1:
            return None
        link = self.link
        if link is None:
            return startup
        if not link.uniform or isinstance(link.upload_size, Sizes):
            return None
        if scheme.trigger.everyone_works:  # then not every answer is an upload
            return None
        size = link.download_size + link.upload_size  # type: ignore[operator]
        return startup + 2 * link.latency + size / link.bandwidth  # type: ignore[operator]


class Arrivals(NamedTuple):
    """What an iteration brings; leading axes, if any, are iterations.

    Attributes:
        time: (...,) how long it takes.
        received: (..., G) bool, groups whose gradient the server gets.
        uplink: (...,) messages that reach the server, exact integers.
        timeouts: (...,) working groups that it gives up, exact integers.
        taken: (..., G, n) bool, workers of every group whose messages the server takes, were the
            group to upload; (..., G, n p) where a worker has p tasks.
        gradients: (...,) partition gradients charged, exact integers; None for whole loads.
    """

    time: Array
    received: Array
    uplink: Array
    timeouts: Array
    taken: Array
    gradients: Array | None = None


def collect(
    scheme: Scheme, cluster: Cluster | None, work: Array, selected: Array, k: ArrayLike
) -> Arrivals:
    """What reaches the server from workers that need `work` to compute.

    The server takes the messages of an uploading group that the scheme's decoding asks for, by
    default the first `F`, and cancels its other workers. A group that it cannot decode by the
    timeout is given up then; it has had the downlink messages and is charged the computation of
    every working group, but of its messages only those that arrived in time count as uplink.

    Work are the computing times (..., M) with the whole load, `inf` for a worker that failed;
    selected, bool (..., G), are the groups that are to upload, and `k` (...,) the numbers of the
    iterations.
    """
    working = scheme.working(selected)
    arrival = _grouped(scheme, arrival_times(scheme, cluster, work, selected, k))
    known, taken = contract.wait(scheme.decoder, arrival)
    if cluster is None or cluster.timeout is None:
        time = _slowest(working, known)
        uplink, gradients = tasks.counts(scheme, working, selected, taken)
        return Arrivals(time, selected, uplink, jnp.zeros_like(uplink), taken, gradients)
    timeout = jnp.asarray(cluster.timeout, work.dtype)
    decoded = known <= timeout
    time = _slowest(working, jnp.minimum(known, timeout))
    uplink, gradients = tasks.counts(scheme, working, selected, taken & (arrival <= timeout))
    timeouts = jnp.sum(working & ~decoded, axis=-1, dtype=jnp.result_type(int))
    return Arrivals(time, selected & decoded, uplink, timeouts, taken, gradients)


def _slowest(working: Array, known: Array) -> Array:
    """Largest of the working groups' times, (...,) from (..., G), 0 where none works."""
    # Measured on CPU: a minimum, with the long axis last, takes a fifth of a selection's time.
    limit = jnp.where(working, jnp.inf, 0).astype(known.dtype)
    return jnp.max(jnp.minimum(limit.T, known.T), axis=0).T


def _grouped(scheme: Scheme, by_worker: Array) -> Array:
    """(..., M) as (..., G, n)."""
    return by_worker.reshape(*by_worker.shape[:-1], scheme.num_groups, -1)


@lenient
def computed(scheme: Scheme, cluster: Cluster | None, work: Array, selected: Array) -> Array:
    """When workers would be done with computing, (..., M), from the start of an iteration."""
    if cluster is None or (link := cluster.link) is None:
        return work
    latency = _of_messages(scheme, link.latency, work)
    down = jnp.asarray(link.download_size, work.dtype) / _of_messages(scheme, link.bandwidth, work)
    if not link.shared:
        return latency + down + work
    # By group: XLA dies of a cumulative sum over workers of what all of one group share.
    works, n = scheme.working(selected)[..., None], scheme.group_size
    place = n * jnp.cumsum(works, -2) - works * jnp.arange(n)[::-1]
    return place.reshape(*place.shape[:-2], work.shape[-1]) * down + latency + work


@lenient
def arrival_times(
    scheme: Scheme, cluster: Cluster | None, work: Array, selected: Array, k: ArrayLike
) -> Array:
    """When the workers' messages reach the server, (..., M); `inf` for those that send none."""
    link = None if cluster is None else cluster.link
    ready = computed(scheme, cluster, work, selected)
    if link is None:
        return ready
    size = given.at(k)[..., None] if isinstance(given := link.upload_size, Sizes) else given
    latency = _of_messages(scheme, link.latency, work)
    up = jnp.asarray(size, work.dtype) / _of_messages(scheme, link.bandwidth, work)
    uploads = jnp.repeat(selected, work.shape[-1] // scheme.num_groups, axis=-1)
    if not link.shared:
        return tasks.sent(scheme, ready, jnp.where(uploads, up, 0)) + latency
    taken = contract.wait(scheme.decoder, _grouped(scheme, ready))[1].reshape(work.shape)
    sent = queue(jnp.where(taken & uploads, ready, jnp.inf), up)
    return jnp.where(uploads, sent, ready) + latency


def _of_messages(scheme: Scheme, value: ArrayLike, work: Array) -> Array:
    """A value of workers, () or (M,), for each of their messages (M p)."""
    found = jnp.asarray(value, work.dtype)
    return jnp.repeat(found, work.shape[-1] // scheme.num_workers) if found.ndim else found


def sample_work(
    scheme: Scheme, delays: TimeSource, cluster: Cluster | None, key: Array, num_iterations: int
) -> Array:
    """Draw how long every worker would compute in every iteration, (K, M); consumes `key`.

    Of p tasks a worker it is (K, M p), when each ends.
    """
    chunks = jnp.arange(-(-num_iterations // CHUNK))
    work = jax.vmap(lambda chunk: chunk_of_work(scheme, delays, cluster, key, chunk))(chunks)
    return work.reshape(-1, work.shape[-1])[:num_iterations]


def _whole_load(scheme: Scheme, draws: int, times: Array) -> Array:
    """Times with the whole load, (C, M), of those for a gradient (C, draws, M)."""
    if len(set(scheme.loads)) == 1:
        return (scheme.load / draws) * jnp.sum(times, axis=1)
    loads = np.tile(scheme.loads, scheme.num_groups)
    if draws == 1:
        return jnp.asarray(loads, times.dtype)[None] * times[:, 0]
    return jnp.sum(jnp.where(np.arange(draws)[None, :, None] < loads, times, 0), axis=1)


def chunk_of_work(
    scheme: Scheme, delays: TimeSource, cluster: Cluster | None, key: Array, chunk: ArrayLike
) -> Array:
    """How long every worker would compute in the iterations of a chunk, (CHUNK, M) or (.., M p)."""
    draws = 1 if cluster is None else cluster.draws(scheme)
    times = delays.sample_chunk(key, chunk, (CHUNK, draws, scheme.num_workers))
    parts = scheme.decoder.tasks
    work = _whole_load(scheme, draws, times) if parts == 1 else tasks.ends(scheme, times)
    if cluster is None or cluster.startup is None:
        return work
    startup = _of_messages(scheme, cluster.startup, work)
    return jnp.broadcast_to(startup, work.shape) + work
