"""Run a sweep: continue what its directory holds, block by block, in one process or many."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from lagc_jax.experiments.engine import Engine
from lagc_jax.experiments.grid import Config
from lagc_jax.experiments.points import Points
from lagc_jax.experiments.store import Store

# Seconds between two looks at what the other processes have finished.
PATIENCE = 0.2


class Progress(NamedTuple):
    """How far a sweep is, after a block.

    Attributes:
        block: number of the block that this process finished, None before the first.
        seconds: that it took.
        points: finished so far, by all processes and runs.
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
    points = Points(config)
    engine = Engine(config)
    store = Store(Path(directory), config, len(points))
    chief = jax.process_index() == 0
    report = report if chief else lambda progress: None
    with ExitStack() as held:
        missing, refusal = None, None
        if chief:
            try:
                held.enter_context(store.lock())
                store.prepare()
                missing, damaged = store.verify()
                for path in damaged:
                    path.unlink()
                report(Progress(None, 0.0, store.count_finished(), len(points), damaged))
            except (ValueError, OSError) as error:
                refusal = error
        missing = _agree(store.num_blocks, missing)
        if missing is None:
            raise refusal or ValueError(f"process 0 could not open out={directory}; see its error")
        return _work(store, points, engine, missing, report, stop)


def _agree(num_blocks: int, missing: list[int] | None) -> list[int] | None:
    """The missing blocks as process 0 found them, None where it could not look."""
    if jax.process_count() == 1:
        return missing
    flags = np.zeros(num_blocks + 1, bool)
    if missing is not None:
        flags[[*missing, num_blocks]] = True
    flags = np.asarray(multihost_utils.broadcast_one_to_all(flags))
    return np.flatnonzero(flags[:-1]).tolist() if flags[-1] else None


def _work(
    store: Store,
    points: Points,
    engine: Engine,
    missing: list[int],
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> bool:
    """Compute this process's share of the missing blocks, then wait for the others.

    All end together, for the first to leave would end the others' connection.
    """
    alone = jax.process_count() == 1
    done = len(points) - sum(len(store.points_of(block)) for block in missing)
    share = np.array_split(missing, jax.process_count())[jax.process_index()]
    for block in map(int, share):
        if stop():
            return False
        start = time.perf_counter()
        store.write(block, engine.measure([points[i] for i in store.points_of(block)]))
        seconds = time.perf_counter() - start
        done = done + len(store.points_of(block)) if alone else store.count_finished()
        report(Progress(block, seconds, done, len(points)))
    while not alone and (done := store.count_finished()) < len(points):
        if stop():
            return False
        report(Progress(None, 0.0, done, len(points)))
        time.sleep(PATIENCE)
    return True
