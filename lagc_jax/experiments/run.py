"""Run a sweep: continue what its directory holds, block by block, in one process or many."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from lagc_jax.experiments.engine import Engine
from lagc_jax.experiments.grid import Config
from lagc_jax.experiments.memory import check_memory
from lagc_jax.experiments.pace import Pace
from lagc_jax.experiments.points import Point, Points, parameters
from lagc_jax.experiments.store import Store

# Seconds between two looks at what the other processes have finished.
PATIENCE = 0.2


class Progress(NamedTuple):
    """How far a sweep is, after a block.

    Attributes:
        block: number of the block that this process has finished in this run, None before the
            first.
        seconds: that it took.
        points: of the sweep that are there, computed by whatever process or run.
        total: points of the sweep.
        damaged: files that were found damaged and are computed anew.
    """

    block: int | None
    seconds: float
    points: int
    total: int
    damaged: Sequence[Path] = ()


def run_sweep(
    config: Config,
    directory: str | Path,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Compute what a directory lacks of a sweep.

    All devices of this process are used; under `jax.distributed` every process calls this with the
    same arguments and a directory that they share, and takes its share of the blocks. The results
    are the same bit for bit however often it was stopped, and however many devices and processes
    there were.

    Args:
        config: of `read_config`.
        directory: made if need be; read it with `load_results`.
        report: called in process 0 at the start and after every block.
        stop: asked before every block; the run ends early when it answers True.

    Returns:
        Whether the sweep is complete.

    Raises:
        ValueError: if the directory holds another sweep or another run is at work in it, JAX
            computes in another precision, or no combination is possible.
        OSError: if results cannot be written; those written before stay valid.
    """
    check_memory(config)
    points = Points(config)
    engine, keys, store = Engine(config), points.keys(), Store(directory)
    chief = jax.process_index() == 0
    report = report if chief else lambda progress: None
    with ExitStack() as held:
        missing, refusal = None, None
        if chief:
            try:
                held.enter_context(store.lock())
                names = [*points.columns, *engine.columns]
                missing = store.open(config.source, keys, names)
                report(Progress(None, 0.0, store.finished(), len(points), store.damaged))
            except (ValueError, OSError) as error:
                refusal = error
        missing = _agree(len(points), missing)
        if missing is None:
            raise refusal or ValueError(f"process 0 could not open out={directory}; see its error")
        if not chief:
            store.ask(keys)
        return _work(store, points, keys, engine, missing, report, stop)


def _agree(num_points: int, missing: list[int] | None) -> list[int] | None:
    """The missing points as process 0 found them, None where it could not look."""
    if jax.process_count() == 1:
        return missing
    flags = np.zeros(num_points + 1, bool)
    if missing is not None:
        flags[[*missing, num_points]] = True
    flags = np.asarray(multihost_utils.broadcast_one_to_all(flags))
    return np.flatnonzero(flags[:-1]).tolist() if flags[-1] else None


def _work(
    store: Store,
    points: Points,
    keys: np.ndarray,
    engine: Engine,
    missing: list[int],
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> bool:
    """Compute this process's share of the missing points, then wait for the others.

    All end together, for the first to leave would end the others' connection.
    """
    alone = jax.process_count() == 1
    share = np.array_split(missing, jax.process_count())[jax.process_index()].tolist()
    pace, number, done = Pace(engine.config.points_per_block), 0, 0
    while done < len(share):
        if stop():
            return False
        start = time.perf_counter()
        block = pace.cut(points[i] for i in share[done:])
        numbers = [point.number for point in block]
        store.write(_columns(block, keys[numbers], engine.measure(block)))
        seconds = time.perf_counter() - start
        pace.took(block, seconds)
        done += len(block)
        there = len(points) - len(missing) + done if alone else store.finished()
        report(Progress(number, seconds, there, len(points)))
        number += 1
    while not alone and (there := store.finished()) < len(points):
        if stop():
            return False
        report(Progress(None, 0.0, there, len(points)))
        time.sleep(PATIENCE)
    return True


def _columns(block: Sequence[Point], keys: np.ndarray, results: dict) -> dict[str, Any]:
    """A table of points: keys, parameters and results, as many rows each as results have."""
    rows = [parameters(point) for point in block]
    times = len(results["accuracy"]) // len(block)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows for _ in range(times)] for name in names}
    return {"key": np.repeat(keys, times)} | columns | results
