"""Whether the columns of a table are the times of one worker each, and not something beside them.

Real workers differ by large factors, and their times may be constant or rounded. What is looked for
is what no worker's times do: count, only ever rise, or name every row by two of the columns.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Names, lower-case, that say what a column is.
COUNTERS = (
    "step global_step iteration iter it epoch round batch row index idx seq timestamp ts datetime "
    "date start end start_time end_time"
)
SUMMARIES = "total sum mean average median std min max"
WORKERS = "worker worker_id workerid rank rank_id node_id gpu_id host_id"
WIDE = "make it wide, one row an iteration and one column a worker: frame.pivot(index=the \
iteration, columns=the worker, values=the time)"
# A column whose median is so many times that of the others, or so small a part, is in another unit.
APART = 1e4
# Fewer rows may rise, or hold every pair of two columns' values, by chance.
COUNTING_ROWS, RISING_ROWS, PAIRED_ROWS, LONG_COLUMNS = 5, 10, 12, 8


def check_names(source: str | Path, names: Sequence[str]) -> None:
    """Raise ValueError where a name says that the table is long or the column no worker's."""
    known = [name.strip().lower().replace(" ", "_") for name in names]
    workers = [name for name, word in zip(names, known, strict=True) if word in WORKERS.split()]
    # To pandas, a name that is there again is "name.1".
    again = any(name.startswith(f"{worker}.") for worker in workers for name in names)
    if len(names) > 1 and len(workers) == 1 and not again:
        raise ValueError(
            f"{source} has a column {workers[0]!r} among {list(names)[:6]}, so it is a long table, "
            f"with one row a time; {WIDE}"
        )
    for name, word in zip(names, known, strict=True):
        if word.startswith("unnamed:"):
            raise ValueError(
                f"{source} has a column without a name (a table's row numbers, perhaps); name it "
                f"or leave it out, every column is a worker's times"
            )
        if len(names) > 1 and word in f"{COUNTERS} {SUMMARIES}".split():
            raise ValueError(_stray(source, name, "is no worker's by its name"))


def check_values(source: str | Path, names: Sequence[str], times: np.ndarray) -> None:
    """Raise ValueError where times (T, W), `inf` where missing, cannot be those of workers."""
    columns = [column[np.isfinite(column)] for column in times.T]
    pair = _key_pair(times)
    if pair is not None:
        first, second = (names[i] for i in pair)
        raise ValueError(
            f"every pair of values of {first!r} and {second!r} is one row of {source}, so it is a "
            f"long table, with one row a time; {WIDE}"
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
        f"column {name!r} of {source} {reason}; leave it out, every column is a worker's times (if "
        f"it is a worker's, give the numbers to lagc_jax.Trace itself)"
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
