"""Realisations in common: every worker's times are drawn once, for all points of experiments.

A clock that runs by itself is a program for each size and redundancy, and draws everything anew.
Where the server waits for the fastest workers of a group and messages take no time, a point needs
no more of the times than how long the `F`-th fastest takes, which NumPy finds for all together.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._keys import fold_each
from lagc_jax._programs import compiled
from lagc_jax.delays.base import TimeSource
from lagc_jax.doors import warn_if_short
from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.measure import Engine
from lagc_jax.experiments.points import Points
from lagc_jax.experiments.runner import in_memory, tabulate
from lagc_jax.law.inverse import CHUNK
from lagc_jax.schemes.base import Scheme

BLOCK_ENTRIES = 2**22  # workers' times held at once
Progress = Callable[[Sequence[Any]], Iterable[Any]]


class _Walk(NamedTuple):
    """A path up to its hit, and the points along it.

    Attributes:
        working: (C, CHUNK, G) bool, groups that work; none from the hit on.
        schemes: by row of the table.
    """

    working: np.ndarray
    schemes: dict[int, Scheme]


def run_common(
    experiments: Sequence[Experiment], num_realisations: int, progress: Progress = iter
) -> tuple[pd.DataFrame, np.ndarray]:
    """Run experiments that differ in their schemes alone, with common realisations.

    Args:
        experiments: with one level, one source of times, no cluster, the sampler "workers", no
            realisations of their own, and schemes of as many workers that wait for the fastest.
        num_realisations: `R`.
        progress: wraps a sequence that takes a while.

    Returns:
        Their tables as one, and times (N, R) of its rows to the level, `inf` where it is not
        reached. Realisation `i` draws with `fold_in(key, i)`, as in `simulate_batch`.
    """
    tables: list[pd.DataFrame] = []
    walks: dict[Hashable, _Walk] = {}
    for experiment in progress(experiments):
        points, rows = Points(experiment), sum(map(len, tables))
        tables.append(tabulate(points, _follow(points, walks, rows)))
    table = pd.concat(tables, ignore_index=True)
    (delays,) = experiments[0].delays.values()
    missed = table["reached"] == 0
    warn_if_short(delays, int(table["iterations"].mask(missed, 0).max()))
    samples = _sample(list(walks.values()), delays, experiments[0].key, num_realisations, progress)
    samples[missed] = np.inf
    return table, samples


def _follow(points: Points, walks: dict[Hashable, _Walk], rows: int) -> Iterator[tuple]:
    """Measure points, of which so many rows come before, and note their walks."""
    for block, outcomes in in_memory(points, Engine(points.experiment)):
        for point, outcome in zip(block, outcomes, strict=True):
            key = point.path_key
            if key not in walks:
                walks[key] = _Walk(_until_hit(point.scheme, outcome.path), {})
            walks[key].schemes[rows + point.number] = point.scheme
        yield block, outcomes


def _until_hit(scheme: Scheme, record: Any) -> np.ndarray:
    """Working groups of a path up to its hit, (C, CHUNK, G)."""
    end = int(record.hit[0]) if record.reached[0] else 0
    working = np.asarray(scheme.working(record.parts["groups"][: -(-end // CHUNK)]))
    before = np.arange(len(working) * CHUNK).reshape(-1, CHUNK) < end
    return working & before[..., None]


def _sample(
    walks: Sequence[_Walk],
    delays: TimeSource,
    key: Any,
    num_realisations: int,
    progress: Progress,
) -> np.ndarray:
    """Times of all points to their hits, (N, R)."""
    M = next(iter(walks[0].schemes.values())).num_workers
    chunks = max(len(walk.working) for walk in walks)
    totals = np.zeros((sum(len(walk.schemes) for walk in walks), num_realisations))
    by_groups: dict[int, list[_Walk]] = {}
    for walk in walks:
        by_groups.setdefault(walk.working.shape[-1], []).append(walk)
    size = min(max(BLOCK_ENTRIES // (CHUNK * M), 1), num_realisations)
    firsts = range(0, num_realisations, size)
    for first, chunk in progress(list(product(firsts, range(chunks)))):
        drawn = np.asarray(_draw(delays, key, first, chunk, size, M), float)
        block = totals[:, first : first + size]
        for members in by_groups.values():
            _add(block, members, chunk, drawn[: block.shape[1]])
    return totals


@compiled("size", "num_workers")
def _draw(
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


def _add(totals: np.ndarray, walks: Sequence[_Walk], chunk: int, times: np.ndarray) -> None:
    """Add to the rows of totals (N, R) what a chunk takes, with workers' times (R, CHUNK, M)."""
    active = [walk for walk in walks if chunk < len(walk.working)]
    if not active:
        return
    G = active[0].working.shape[-1]
    schemes = [scheme for walk in active for scheme in walk.schemes.values()]
    kinds = sorted({(scheme.num_waited, scheme.load) for scheme in schemes})
    waited, load = np.array(kinds).T
    ordered = np.sort(times.reshape(len(times), CHUNK, G, -1), axis=-1)
    needed = load[:, None] * np.moveaxis(ordered, 0, -1)[:, :, waited - 1]  # (CHUNK, G, kinds, R)
    for walk in active:
        working = walk.working[chunk]
        some = working.any(-1)
        slowest = np.where(working[some][:, :, None, None], needed[some], 0).max(1)
        places = [kinds.index((each.num_waited, each.load)) for each in walk.schemes.values()]
        totals[list(walk.schemes)] += slowest.sum(0)[places]
