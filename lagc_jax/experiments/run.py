"""Run a sweep: continue what its directory holds, block by block, in one process or many."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lagc_jax.experiments.engine import Engine
from lagc_jax.experiments.grid import Config
from lagc_jax.experiments.memory import check_memory
from lagc_jax.experiments.pace import Pace
from lagc_jax.experiments.points import Point, Points, parameters
from lagc_jax.experiments.processes import Claims, Process, join, this_process
from lagc_jax.experiments.store import Store, digest

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
        notes: what happened to the other processes.
    """

    block: int | None
    seconds: float
    points: int
    total: int
    damaged: Sequence[Path] = ()
    notes: Sequence[str] = ()


def run_sweep(
    config: Config,
    directory: str | Path,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    process: Process | None = None,
) -> bool:
    """Compute what a directory lacks of a sweep.

    All devices of this process are used. Several processes call this with the same arguments and a
    directory that they share, and need no other connection: each takes points that are missing and
    that no other has taken, so what one leaves falls to the others. The results are the same bit
    for bit however often it was stopped, and however many devices and processes there were.

    Args:
        config: of `read_config`.
        directory: made if need be; read it with `load_results`.
        report: called at the start and after every block; of several processes, in the first that
            is at work.
        stop: asked before every block; the run ends early when it answers True.
        process: which of how many this is; by default as `jax.distributed` says, if it has been
            initialised, and the only one otherwise.

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

    def prepare(first: bool) -> None:
        if first:
            store.open(config.source, keys, [*points.columns, *engine.columns])
        else:
            store.ask(keys)

    process = process or this_process()
    with join(store.directory, process, digest(keys.tobytes()), prepare) as claims:
        return _work(store, points, keys, engine, claims, report, stop)


def _work(
    store: Store,
    points: Points,
    keys: np.ndarray,
    engine: Engine,
    claims: Claims,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> bool:
    """Compute points until none is missing."""
    pace, number = Pace(engine.config.points_per_block), 0

    def say(block: int | None = None, seconds: float = 0.0, **more: Sequence) -> None:
        if claims.leads():
            report(Progress(block, seconds, store.finished(), len(points), **more))

    say(damaged=store.damaged)
    while (missing := store.missing()).size:
        if stop():
            return False
        start = time.perf_counter()
        block = _take(claims, store, pace, points, claims.order(missing))
        if block:
            numbers = [point.number for point in block]
            store.write(_columns(block, keys[numbers], engine.measure(block)))
            claims.release(numbers)
            pace.took(block, time.perf_counter() - start)
        elif store.missing().size:
            time.sleep(PATIENCE)  # others are at what is left
        ended = {} if claims.alone else claims.look()
        if not claims.alone:
            store.look()
        notes = claims.note(ended) if store.missing().size else []
        say(number if block else None, time.perf_counter() - start, notes=notes)
        number += bool(block)
    return True


def _take(
    claims: Claims, store: Store, pace: Pace, points: Points, missing: np.ndarray
) -> list[Point]:
    """The next block of missing points that no other process is at, none if there is none."""
    start = 0
    while start < len(missing):
        wanted = pace.cut(points[i] for i in missing[start:].tolist())
        start += len(wanted)
        taken = [point for point in wanted if claims.take(point.number)]
        if taken and not claims.alone:
            store.look()  # another process may have finished one after the last look
            left = set(store.missing().tolist())
            claims.release([point.number for point in taken if point.number not in left])
            taken = [point for point in taken if point.number in left]
        if taken:
            return taken
    return []


def _columns(block: Sequence[Point], keys: np.ndarray, results: dict) -> dict[str, Any]:
    """A table of points: keys, parameters and results, as many rows each as results have."""
    rows = [parameters(point) for point in block]
    times = len(results["accuracy"]) // len(block)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows for _ in range(times)] for name in names}
    return {"key": np.repeat(keys, times)} | columns | results
