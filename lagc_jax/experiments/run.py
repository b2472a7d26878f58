"""Run a sweep: continue what its directory holds, block by block, in one process or many."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lagc_jax.experiments.engine import Engine
from lagc_jax.experiments.grid import Config
from lagc_jax.experiments.points import Points
from lagc_jax.experiments.processes import Claims, Process, join, this_process
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
    directory that they share, and need no other connection: each takes a block that is missing and
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
    points = Points(config)
    engine = Engine(config)
    store = Store(Path(directory), config, len(points))
    damaged: list[Path] = []

    def prepare(alone: bool) -> None:
        store.prepare(alone)
        if alone:
            damaged.extend(store.damaged())
            for path in damaged:
                path.unlink()

    process = process or this_process()
    with join(store.directory, process, store.hash, prepare) as claims:
        return _work(store, points, engine, claims, damaged, report, stop)


def _work(
    store: Store,
    points: Points,
    engine: Engine,
    claims: Claims,
    damaged: Sequence[Path],
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> bool:
    """Compute blocks until none is missing."""
    alone = claims.process.count == 1
    done = store.count_finished()

    def say(block: int | None = None, seconds: float = 0.0, **more: Sequence) -> None:
        if claims.leads():
            report(Progress(block, seconds, done, len(points), **more))

    say(damaged=damaged)
    for block, notes in _missing(store, claims):
        if stop():
            return False
        start = time.perf_counter()
        if block is None:
            time.sleep(PATIENCE)
        else:
            mine = [points[i] for i in store.points_of(block)]
            store.write(block, engine.measure(mine))
            done += len(mine)
        done = done if alone else store.count_finished()
        say(block, time.perf_counter() - start, notes=notes)
    if not alone:
        done = len(points)
        say()
    return True


def _missing(store: Store, claims: Claims) -> Iterator[tuple[int | None, list[str]]]:
    """Missing blocks that no other process is at, None while there is none, and what happened."""
    missing = store.missing()
    if claims.process.count == 1:
        yield from ((block, []) for block in missing)
        return
    notes: list[str] = []
    while missing:
        block = next((b for b in claims.order(missing) if claims.take(store.points_of(b))), None)
        # Another process may have finished it after the last look.
        if block is None or not store.finished(block):
            yield block, notes
            notes = []
        if block is not None:
            claims.release(store.points_of(block))
        ended = claims.look()
        if missing := store.missing():
            notes += claims.note(ended)
