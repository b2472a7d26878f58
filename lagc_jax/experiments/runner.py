"""Run an experiment: in memory, or block by block into a directory, in one process or many."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.measure import Engine, Outcome
from lagc_jax.experiments.memory import check_memory
from lagc_jax.experiments.pace import Pace
from lagc_jax.experiments.points import Point, Points
from lagc_jax.experiments.processes import Claims, Process, join, this_process
from lagc_jax.experiments.results import result_columns, result_rows
from lagc_jax.experiments.store import Store, check_directory, digest, load_results

# Seconds between two looks at what the other processes have finished.
PATIENCE = 0.2
POINTS_PER_BLOCK = 256


class Progress(NamedTuple):
    """How far a run is, after a block.

    Attributes:
        block: number of the block that this process has finished in this run, None before the
            first.
        seconds: that it took.
        points: of the experiment that are there, computed by whatever process or run.
        total: points of the experiment.
        damaged: files that were found damaged and are computed anew.
        notes: what happened to the other processes.
    """

    block: int | None
    seconds: float
    points: int
    total: int
    damaged: Sequence[Path] = ()
    notes: Sequence[str] = ()


def run(
    experiment: Experiment, store: str | Path | None = None, *, progress: bool = True
) -> pd.DataFrame:
    """Run an experiment and return its table, a row a point and level.

    All devices of this process are used. With a directory, results are kept in it as they come: a
    run that is stopped goes on where it was, and an experiment that asks for more computes only
    what is new. `lagc_jax.experiments.estimate.estimate(Points(experiment))`
    says beforehand how long it takes, and `Points(experiment).describe_dropped()` what cannot be.

    Args:
        experiment: what is run.
        store: directory of results, made if need be.
        progress: whether to show a bar, on terminals and in notebooks.

    Returns:
        Parameters of the point: `point`, `problem`, `scheme`, `num_workers`, `num_groups`,
        `redundancy`, `xi`, `memory`, `trigger`, further arguments of a scheme's `Vary` as
        `scheme_*`, `step_size`, `delays` and its parameters (`delays_*` where a column has the
        name already), `cluster` and its, `problem_*`. The level: `accuracy` or `iterate`. What it
        took to reach it, `inf` where it was not: means over the realisations of `iterations`,
        `communication`, `computation`, `bits` and `timeouts`, and of `energy` if it has prices; of
        the time `time_mean`, `time_standard_error`, quantiles `time_q*`, and exactly, NaN where
        they are not known, `time_expected` and `time_variance`; quantiles of the counts.
        `reached` and `diverged` are shares of the realisations: of those that diverge, which have
        not reached the level before. With `Iterate` there is `gap`, with
        a record `recorded`: means over the realisations that reach the level, NaN where none does.
        Of `Several` targets each has its column of levels, NaN in the rows of the others.

    Raises:
        ValueError: for what `simulate_batch` refuses, no possible combination, more memory than
            there is, or a store that is no directory or in which another run is at work.
        OSError: if results cannot be written; those written before stay valid.

    >>> import jax
    >>> from lagc_jax import Exponential, gd, synthetic_linear_regression
    >>> from lagc_jax.targets import Gap
    >>> problem = synthetic_linear_regression(jax.random.key(0), 2, 3)
    >>> table = run(Experiment(problems={"LAG": problem}, schemes={"GD": gd(2)}, target=Gap([0.1]),
    ...                        delays={"low tail": Exponential(1.0)}, num_iterations=9,
    ...                        num_realisations=4))
    >>> table[["scheme", "delays", "accuracy", "reached"]].to_numpy().tolist()
    [['GD', 'low tail', 0.1, 1.0]]
    """
    if store is not None:
        check_directory("store", store)
    points = Points(experiment)
    with tqdm(None, "run", len(points), unit="point", disable=None if progress else True) as bar:

        def report(seen: Progress) -> None:
            bar.n = seen.points
            bar.refresh()

        if store is not None:
            run_into(points, store, report=report)
            return load_results(store)
        return tabulate(points, in_memory(points, Engine(experiment), report))


def in_memory(
    points: Points, engine: Engine, report: Callable[[Progress], None] = lambda progress: None
) -> Iterator[tuple[list[Point], list[Outcome]]]:
    """Measure all points of an experiment block by block."""
    check_memory(points)
    pace, done = Pace(POINTS_PER_BLOCK, engine.num_devices), 0
    for number in itertools.count():
        if done == len(points):
            return
        start = time.perf_counter()
        block = pace.cut(points[i] for i in range(done, len(points)))
        outcomes = engine.measure(block)
        seconds = time.perf_counter() - start
        pace.took(block, seconds)
        done += len(block)
        yield block, outcomes
        report(Progress(number, seconds, done, len(points)))


def tabulate(
    points: Points, measured: Iterable[tuple[Sequence[Point], Sequence[Outcome]]]
) -> pd.DataFrame:
    """The table of an experiment from its blocks."""
    rows = [pd.DataFrame(_columns(points.experiment, *block)) for block in measured]
    table = pd.concat(rows, ignore_index=True)
    names = [*points.columns, *result_columns(points.experiment)]
    return table[["point", *(name for name in names if name in table.columns)]]


def run_into(
    points: Points,
    directory: str | Path,
    *,
    points_per_block: int = POINTS_PER_BLOCK,
    description: Mapping[str, Any] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    process: Process | None = None,
) -> bool:
    """Compute what a directory lacks of an experiment.

    Several processes call this with the same arguments and a directory that they share, and need no
    other connection: each takes points that are missing and that no other has taken, so what one
    leaves falls to the others. The results are the same bit for bit however often it was stopped,
    and however many devices and processes there were.

    Args:
        points: of the experiment.
        directory: made if need be; read it with `load_results`.
        points_per_block: most points computed and written together.
        description: of the experiment, for people, in the directory's manifest.
        report: called at the start and after every block; of several processes, in the first that
            is at work.
        stop: asked before every block; the run ends early when it answers True.
        process: which of how many this is; by default as `jax.distributed` says, if it has been
            initialised, and the only one otherwise.

    Returns:
        Whether all points are there.

    Raises:
        ValueError: if another run is at work in the directory, or memory does not suffice.
        OSError: if results cannot be written; those written before stay valid.
    """
    check_memory(points)
    experiment = points.experiment
    engine, keys, store = Engine(experiment), points.keys(), Store(directory)
    said = dict(description or points.describe())

    def prepare(first: bool) -> None:
        if first:
            store.open(said, keys, [*points.columns, *result_columns(experiment)])
        else:
            store.join(keys)

    process = process or this_process()
    with join(store.directory, process, digest(keys.tobytes()), prepare) as claims:
        pace = Pace(points_per_block, engine.num_devices)
        return _work(store, points, keys, engine, claims, pace, report, stop)


def _work(
    store: Store,
    points: Points,
    keys: np.ndarray,
    engine: Engine,
    claims: Claims,
    pace: Pace,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> bool:
    """Compute points until none is missing."""
    number = 0

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
            rows = _columns(points.experiment, block, engine.measure(block))
            store.write({"key": keys[rows.pop("point")]} | rows)
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


def _columns(
    experiment: Experiment, block: Sequence[Point], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """A table of points: numbers, parameters and results, a row a level each."""
    rows = [point.parameters() for point in block]
    levels = np.size(experiment.target.levels)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows for _ in range(levels)] for name in names}
    results = [result_rows(experiment, outcome) for outcome in outcomes]
    found = {name: np.concatenate([one[name] for one in results]) for name in results[0]}
    return {"point": np.repeat([point.number for point in block], levels)} | columns | found
