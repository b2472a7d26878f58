"""What iterations take, from the times of all workers, in NumPy for many candidates at once.

It is the time of `cluster.collect` for schemes whose server takes the `F` fastest of a group, said
twice because that is a program for every size and number waited for: advice on many workers meets
hundreds, each used once, and compiling one takes longer than all its times here. A test holds both
together, shared links, timeouts and unequal loads included.
"""

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from lagc_jax.cluster import Cluster, Link
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.sizes import Sizes


class Waits(NamedTuple):
    """When the server is done with each group, (T, G), were it alone.

    Attributes:
        busy: of a group that uploads.
        idle: of one that works without uploading; None where such a group is not waited for.
    """

    busy: np.ndarray
    idle: np.ndarray | None


def kind_of(scheme: Scheme) -> Hashable:
    """What schemes with the same waits share."""
    return scheme.num_groups, scheme.num_waited, scheme.loads, scheme.trigger


def is_shared(cluster: Cluster | None) -> bool:
    """Whether messages of different groups pass one link."""
    return cluster is not None and cluster.link is not None and cluster.link.shared


def group_waits(scheme: Scheme, cluster: Cluster | None, times: np.ndarray) -> Waits:
    """Waits for groups from workers' times (..., M), without a shared link."""
    work = _computing(scheme, times) + _startup(cluster)
    link = None if cluster is None else cluster.sized(scheme, None).link
    everyone = scheme.trigger.everyone_works
    if link is None:
        busy = _patient(cluster, _fastest(scheme, work))
        return Waits(busy, busy if everyone else None)
    down, up = _transfers(link)
    answer = np.asarray(link.latency, float) * 2 + down + work
    idle = _patient(cluster, _fastest(scheme, answer)) if everyone else None
    return Waits(_patient(cluster, _fastest(scheme, answer + up)), idle)


def _computing(scheme: Scheme, times: np.ndarray) -> np.ndarray:
    """How long workers compute with the load of each, (..., M) from times of a gradient."""
    return np.tile(scheme.loads, scheme.num_groups) * times


def _startup(cluster: Cluster | None) -> np.ndarray:
    given = None if cluster is None else cluster.startup
    return np.asarray(0.0 if given is None else given, float)


def _transfers(link: Link) -> tuple[np.ndarray, np.ndarray]:
    """How long a message to a worker and one to the server occupy a link."""
    if isinstance(link.upload_size, Sizes):
        raise ValueError(
            "timeout=None, but workers may never answer and the size of a message varies with the "
            "iteration, so no longest answer is known; give timeout"
        )
    bandwidth = np.asarray(link.bandwidth, float)
    down, up = np.asarray(link.download_size, float), np.asarray(link.upload_size, float)
    return down / bandwidth, up / bandwidth


def _fastest(scheme: Scheme, arrival: np.ndarray) -> np.ndarray:
    """When the `F`-th fastest of every group arrives, (..., G) from (..., M)."""
    grouped = arrival.reshape(*arrival.shape[:-1], scheme.num_groups, scheme.group_size)
    place = scheme.num_waited - 1
    return np.partition(grouped, place, axis=-1)[..., place]


def _patient(cluster: Cluster | None, waits: np.ndarray) -> np.ndarray:
    """Waits until the timeout at the longest."""
    given = None if cluster is None else cluster.timeout
    return waits if given is None else np.minimum(waits, np.asarray(given, float))


def slowest(waits: Waits, uploads: np.ndarray) -> np.ndarray:
    """Times (U, T) of iterations in which sets of groups upload, bool (U, G)."""
    busy, idle = waits
    start = 0.0 if idle is None or uploads.all() else None
    found = np.zeros((len(uploads), len(busy)))
    for g in range(busy.shape[1]):
        some = uploads[:, g]
        found[some] = np.maximum(found[some], busy[:, g])
        if start is None:
            found[~some] = np.maximum(found[~some], idle[:, g])  # type: ignore[index]
    return found


def through_link(
    scheme: Scheme, cluster: Cluster, times: np.ndarray, uploads: np.ndarray
) -> np.ndarray:
    """Times (...,) of iterations with one shared link, of workers' times (..., M).

    The groups that upload are bool (..., G).
    """
    link = cluster.sized(scheme, None).link
    assert link is not None
    latency = np.asarray(link.latency, float)
    down, up = _transfers(link)
    n, F = scheme.group_size, scheme.num_waited
    sends = np.repeat(uploads, n, axis=-1)
    works = np.repeat(np.asarray(scheme.working(uploads)), n, axis=-1)
    received = np.cumsum(works, axis=-1) * down + latency
    ready = received + _computing(scheme, times) + _startup(cluster)
    grouped = ready.reshape(*ready.shape[:-1], scheme.num_groups, n)
    rank = np.argsort(np.argsort(grouped, axis=-1, kind="stable"), axis=-1)
    taken = (rank < F).reshape(ready.shape)
    waiting = np.where(taken & sends, ready, np.inf)
    order = np.argsort(waiting, axis=-1, kind="stable")
    place = np.arange(ready.shape[-1]) * up
    queued = np.take_along_axis(waiting, order, axis=-1) - place
    left = np.maximum.accumulate(queued, axis=-1) + place + up
    sent = np.take_along_axis(left, np.argsort(order, axis=-1, kind="stable"), axis=-1)
    arrival = np.where(sends, sent, ready) + latency
    groups = _patient(cluster, _fastest(scheme, arrival))
    return np.where(np.asarray(scheme.working(uploads)), groups, 0).max(-1)
