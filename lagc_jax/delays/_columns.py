"""Whether the columns of a table are the times of one worker each, and not something beside them.

Real workers differ by large factors, and their times may be constant or rounded. What is looked for
is what no worker's times do: count, only ever rise, or name every row by two of the columns.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# Names, lower-case, that say what a column is.
COUNTERS = (
    "step global_step iteration iter it epoch round batch row index idx seq timestamp ts datetime "
    "date start end start_time end_time"
)
SUMMARIES = "total sum mean average median std min max"
WORKERS = "worker worker_id workerid rank rank_id node_id gpu_id host_id"
TIMES = "time times duration seconds elapsed latency runtime walltime ms"
# A column whose median is so many times that of the others, or so small a part, is in another unit.
APART = 1e4
# Fewer rows may rise, or hold every pair of two columns' values, by chance.
COUNTING_ROWS, RISING_ROWS, PAIRED_ROWS, LONG_COLUMNS = 5, 10, 12, 8


def check_names(source: str | Path, frame: "pd.DataFrame") -> None:
    """Raise ValueError where a name says that the table is long or the column no worker's."""
    names = list(frame.columns)
    known = [_word(name) for name in names]
    workers = [name for name, word in zip(names, known, strict=True) if word in WORKERS.split()]
    # To pandas, a name that is there again is "name.1".
    again = any(name.startswith(f"{worker}.") for worker in workers for name in names)
    if len(names) > 1 and len(workers) == 1 and not again:
        raise ValueError(
            f"{source} has a column {workers[0]!r} among {names[:6]}, so it is a long table, with "
            f"one row a time; {_remedy(frame, workers[0])}"
        )
    for name, word in zip(names, known, strict=True):
        if word.startswith("unnamed:"):
            raise ValueError(
                f"{source} has a column without a name (a table's row numbers, perhaps); name it "
                f"or leave it out, every column is a worker's times"
            )
        if len(names) > 1 and word in f"{COUNTERS} {SUMMARIES}".split():
            raise ValueError(_stray(source, name, "is no worker's by its name"))


def _word(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _remedy(frame: "pd.DataFrame", worker: str, iteration: str | None = None) -> str:
    """Which columns of a long table to name, as far as their names and values tell."""
    rest = [name for name in frame.columns if name != worker]
    if iteration is None:
        counts = (name for name in rest if _word(name) in COUNTERS.split())
        keys = (
            name
            for name in rest
            if not frame.duplicated([name, worker]).any()
            and frame[name].nunique() * frame[worker].nunique() <= 1.1 * len(frame)
        )
        iteration = next(itertools.chain(counts, keys), None)
    rest = [name for name in rest if name != iteration and not name.startswith("Unnamed:")]
    time = max(
        rest,
        key=lambda name: (_word(name) in TIMES.split(), frame[name].nunique()),
        default=None,
    )
    roles = {"iteration": iteration, "worker": worker, "time": time}
    listed = ", ".join(f"{role}={name!r}" for role, name in roles.items() if name is not None)
    return f"say so to from_csv, from_parquet or from_frame, by {listed} if that is what they are"


def check_long(source: str | Path, names: Sequence[str], times: np.ndarray) -> None:
    """Raise ValueError where the times (T, W) of a long table are readings of a clock."""
    columns = [column[np.isfinite(column)] for column in times.T]
    if all(_rises(column) for column in columns):
        raise ValueError(
            f"the times of every worker of {source} only ever rise, as readings of a clock do; "
            f"give what an iteration took, such as the differences of consecutive ones"
        )


def check_values(source: str | Path, names: Sequence[str], times: np.ndarray) -> None:
    """Raise ValueError where times (T, W), `inf` where missing, cannot be those of workers."""
    columns = [column[np.isfinite(column)] for column in times.T]
    pair = _key_pair(times)
    if pair is not None:
        import pandas as pd

        frame = pd.DataFrame(times, columns=list(names))
        iteration, worker = sorted((names[i] for i in pair), key=lambda n: -frame[n].nunique())
        raise ValueError(
            f"every pair of values of {names[pair[0]]!r} and {names[pair[1]]!r} is one row of "
            f"{source}, so it is a long table, with one row a time; "
            f"{_remedy(frame, worker, iteration)}"
        )
    few = _few(times)
    if few is not None:
        raise ValueError(
            f"column {names[few]!r} of {source} holds few distinct whole numbers beside columns of "
            f"fractions; if it names workers the table is long: say so to from_csv, from_parquet "
            f"or from_frame, by worker={names[few]!r} and time=; else leave it out, every column "
            f"is a worker's times"
        )
    rising, counting = [_rises(column) for column in columns], [_counts(t) for t in times.T]
    if not all(counting):  # a table that counts in every column was made up, to see what is drawn
        if all(rising):
            raise ValueError(
                f"every column of {source} only ever rises, as readings of a clock do; give what "
                f"an iteration took, such as the differences of consecutive rows"
            )
        for name, rises, counts in zip(names, rising, counting, strict=True):
            if rises or counts:
                raise ValueError(_stray(source, name, "only ever rises, as counters and clocks do"))
    median = np.array([np.median(column) if column.size else 0.0 for column in columns])
    place = np.flatnonzero(median > 0)
    if place.size > 1:
        size = np.log(median[place])
        apart = np.round(np.abs(size - np.median(size)), 6)  # of two, the larger one
        farthest = max(range(place.size), key=lambda i: (apart[i], size[i]))
        ratio = np.exp(size[farthest] - np.median(np.delete(size, farthest)))
        if not 1 / APART < ratio < APART:
            reason = f"has a median {ratio:.1g} times that of the others"
            raise ValueError(_stray(source, names[int(place[farthest])], reason))


def _stray(source: str | Path, name: str, reason: str) -> str:
    return (
        f"column {name!r} of {source} {reason}; leave it out, every column is a worker's times "
        f"(iteration={name!r} sets a column of iterations aside; if it is a worker's, give the "
        f"numbers to lagc_jax.Trace itself)"
    )


def _rises(column: np.ndarray) -> bool:
    """Whether values never fall and often rise."""
    moves = np.diff(column)
    return bool((moves >= 0).all() and np.count_nonzero(moves) >= RISING_ROWS - 1)


def _counts(times: np.ndarray) -> bool:
    """Whether several whole numbers rise by one constant step a row."""
    row = np.flatnonzero(np.isfinite(times))
    slope = np.diff(times[row]) / np.diff(row)
    whole = row.size >= COUNTING_ROWS and not (times[row] % 1).any()
    return bool(whole and slope[0] > 0 and (slope == slope[0]).all())


def _key_pair(times: np.ndarray) -> tuple[int, int] | None:
    """Two columns of whole numbers of which nearly every pair of values is a row, and just one."""
    T, W = times.shape
    if T < PAIRED_ROWS or not 2 < W <= LONG_COLUMNS:
        return None
    whole = [m for m in range(W) if np.isfinite(times[:, m]).all() and not (times[:, m] % 1).any()]
    for a, b in itertools.combinations(whole, 2):
        sizes = [np.unique(times[:, m]).size for m in (a, b)]
        full = min(sizes) > 1 and 0.9 * np.prod(sizes) <= T
        if full and len(np.unique(times[:, [a, b]], axis=0)) == T:
            return a, b
    return None


def _few(times: np.ndarray) -> int | None:
    """A column of few whole numbers, each there again and again, among columns of fractions."""
    T, W = times.shape
    if T < PAIRED_ROWS or W < 2:
        return None
    fractions = [(column[np.isfinite(column)] % 1 != 0).mean() > 0.5 for column in times.T]
    for m in range(W):
        column = times[:, m]
        known = bool(np.isfinite(column).all() and not (column % 1).any())
        if known and 3 * np.unique(column).size <= T and sum(fractions) == W - 1:
            return m
    return None
