"""Realisations in common: every worker's times are drawn once, for all points of an experiment.

A clock that runs by itself is a program for each size and redundancy, and draws everything anew.
Where the server waits for the fastest workers of a group, NumPy finds what all points need of the
times.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._keys import fold_each
from lagc_jax._programs import compiled
from lagc_jax.cluster import Cluster
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.drawn import tabulated
from lagc_jax.doors import warn_if_short
from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.measure import Engine
from lagc_jax.experiments.memory import check_memory
from lagc_jax.experiments.points import Points
from lagc_jax.experiments.runner import tabulate
from lagc_jax.experiments.waits import Waits, group_waits, is_shared, kind_of, through_link
from lagc_jax.law.inverse import CHUNK
from lagc_jax.schemes.base import Scheme

BLOCK_ENTRIES = 2**20  # workers' times held at once
POINTS, POINTS_BYTES = 64, 2**28  # of a block: a program takes 32 paths at once
Progress = Callable[[Sequence[Any]], Iterable[Any]]
ClusterOf = Callable[[Scheme], Cluster | None]


class Walk(NamedTuple):
    """A path up to its hit, and the points along it.

    Attributes:
        uploads: (K, G) bool, groups that upload in each iteration; K is 0 without a hit.
        schemes: by row of the table.
    """

    uploads: np.ndarray
    schemes: dict[int, Scheme]


def follow(experiment: Experiment, progress: Progress = iter) -> tuple[pd.DataFrame, list[Walk]]:
    """Run an experiment without realisations: its table, and the walks along its paths.

    It has one level, one source of times, no cluster, the sampler "workers", and schemes of as many
    workers that wait for the fastest.
    """
    points, walks = Points(experiment), dict[Hashable, Walk]()
    check_memory(points)
    return tabulate(points, _follow(points, walks, progress)), list(walks.values())


def _follow(points: Points, walks: dict[Hashable, Walk], progress: Progress) -> Iterator[tuple]:
    """Measure points in blocks that programs fill, and note their walks."""
    engine = Engine(points.experiment)
    longest = points.experiment.num_iterations * points[0].scheme.num_workers
    size = min(max(POINTS_BYTES // longest, 1), POINTS)
    for start in progress(range(0, len(points), size)):
        block = [points[i] for i in range(start, min(start + size, len(points)))]
        outcomes = engine.measure(block)
        for point, outcome in zip(block, outcomes, strict=True):
            key = point.path_key
            if key not in walks:
                walks[key] = Walk(_until_hit(outcome.path), {})
            walks[key].schemes[point.number] = point.scheme
        yield block, outcomes


def _until_hit(record: Any) -> np.ndarray:
    """Uploading groups of a path up to its hit, (K, G)."""
    end = int(record.hit[0]) if record.reached[0] else 0
    chunks = np.asarray(record.parts["groups"][: -(-end // CHUNK)])
    return chunks.reshape(-1, chunks.shape[-1])[:end].copy()


def sample(
    walks: Sequence[Walk],
    num_rows: int,
    delays: TimeSource,
    cluster_of: ClusterOf,
    key: Any,
    num_realisations: int,
    progress: Progress = iter,
) -> np.ndarray:
    """Times of N points to their hits in their clusters, (N, R), `inf` where there is no hit.

    Realisation `i` draws with `fold_in(key, i)`, as in `simulate_batch`. A timeout is the longest
    that an iteration waits for a group, whose gradient then counts as there.
    """
    M = next(iter(walks[0].schemes.values())).num_workers
    longest = max(len(walk.uploads) for walk in walks)
    warn_if_short(delays, longest)
    delays = tabulated(delays)
    totals = np.zeros((num_rows, num_realisations))
    size = min(max(BLOCK_ENTRIES // (CHUNK * M), 1), num_realisations)
    firsts, chunks = range(0, num_realisations, size), range(-(-longest // CHUNK))
    for first, chunk in progress(list(product(firsts, chunks))):
        drawn = np.asarray(draw(delays, key, first, chunk, size, M), float)
        block = totals[:, first : first + size]
        _add(block, walks, chunk, drawn[: block.shape[1]], cluster_of)
    missed = [row for walk in walks if not len(walk.uploads) for row in walk.schemes]
    totals[missed] = np.inf
    return totals


@compiled("size", "num_workers")
def draw(
    delays: TimeSource,
    key: Array,
    first: ArrayLike,
    chunk: ArrayLike,
    size: int,
    num_workers: int,
) -> Array:
    """Workers' times in one chunk of some realisations, (size, CHUNK, M)."""

    def realise(own: Array) -> Array:
        return delays.sample_chunk(own, chunk, (CHUNK, 1, num_workers))[:, 0]

    return jax.vmap(realise)(fold_each(key, first + jnp.arange(size)))


def _add(
    totals: np.ndarray,
    walks: Sequence[Walk],
    chunk: int,
    times: np.ndarray,
    cluster_of: ClusterOf,
) -> None:
    """Add to the rows of totals (N, R) what a chunk takes, with workers' times (R, CHUNK, M)."""
    known: dict[Hashable, Waits] = {}
    for walk in walks:
        uploads = walk.uploads[chunk * CHUNK : (chunk + 1) * CHUNK]
        spent: dict[Hashable, np.ndarray] = {}
        for row, scheme in walk.schemes.items() if len(uploads) else ():
            drawn, kind = times[:, : len(uploads)], kind_of(scheme)
            if kind not in spent and is_shared(cluster := cluster_of(scheme)):
                spent[kind] = through_link(scheme, cast(Cluster, cluster), drawn, uploads).sum(-1)
            elif kind not in spent:
                if kind not in known:
                    known[kind] = group_waits(scheme, cluster_of(scheme), times)
                busy = known[kind].busy[:, : len(uploads)]
                idle = known[kind].idle
                idle = None if idle is None else idle[:, : len(uploads)]
                spared = np.zeros(()) if idle is None else idle
                spent[kind] = np.where(uploads, busy, spared).max(-1).sum(-1)
            totals[row] += spent[kind]


def uploads_of(table: pd.DataFrame) -> np.ndarray:
    """Messages to the server: all but those to the workers, one to each that computed its load.

    Those to the workers are the column `downlink` where there is one.
    """
    with np.errstate(invalid="ignore"):
        down = table.get("downlink", table["computation"] / table["load"])
        sent = table["communication"] - down
        return np.where(table["reached"] > 0, sent.to_numpy(float), np.inf)
