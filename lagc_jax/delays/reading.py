"""Tables of computing times as people have them, made iterations by workers.

A table is wide, one column a worker, or long, one row a time beside columns that say of which
iteration and which worker. What a table does not say it is not taken for: see `_columns`.
"""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from lagc_jax._checks import file_path, one_of, warn
from lagc_jax._files import check_levels, counts_columns, natural, read_table
from lagc_jax.delays._columns import check_long, check_names, check_values

if TYPE_CHECKING:
    import pandas as pd

# Seconds, as a factor and a divisor of which one is 1.
UNITS = {
    "ns": (1, 10**9),
    "us": (1, 10**6),
    "ms": (1, 1000),
    "s": (1, 1),
    "min": (60, 1),
    "h": (3600, 1),
}
ENDS = ("cut", "failed")
WIDE = 20  # times as many workers as rows: the table may lie on its side


class Reading(TypedDict, total=False):
    """How a table is read: see `Trace`."""

    iteration: str | None
    worker: str | None
    time: str | None
    unit: str | None
    end: str


def read_frame(path: str | Path, header: bool | None = None) -> "pd.DataFrame":
    """Read a table of times by the suffix of its file: .parquet, .npy, .npz, or text."""
    file_path("path", path)
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix in (".npy", ".npz"):
        return _read_numpy(path)
    return read_table(path, _counts_workers, header)


def read_parquet(path: str | Path) -> "pd.DataFrame":
    """Read a parquet file; raise ValueError if it is missing or none."""
    import pandas as pd

    file_path("path", path)
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise ValueError(f"parquet={path} does not exist; give a parquet file's path") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"parquet={path} cannot be read as a table ({error})") from None


def _read_numpy(path: str | Path) -> "pd.DataFrame":
    """One array (T, W), or an archive of it or of one log (T_m,) a worker."""
    import pandas as pd

    try:
        loaded: Any = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; give the path of a .npy or .npz file") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an array ({error})") from None
    if isinstance(loaded, np.ndarray):
        return as_frame(path, loaded)
    with loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    if len(arrays) == 1:
        return as_frame(path, *arrays.values())
    if not arrays or any(array.ndim != 1 for array in arrays.values()):
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(
            f"{path} holds the arrays {shapes}; give one alone, (iterations, workers), by "
            f"Trace.from_array(numpy.load(..)[name]), or one log a worker, each with one axis"
        )
    return pd.DataFrame({name: pd.Series(array) for name, array in arrays.items()})


def as_frame(source: str | Path, array: np.ndarray) -> "pd.DataFrame":
    """An array (T, W) as a frame whose columns are called by their places from 1 on."""
    import pandas as pd

    if array.dtype.names is not None and array.ndim == 1:
        return pd.DataFrame(array)
    if array.ndim != 2:
        raise ValueError(
            f"{source} has shape {array.shape}; give (iterations, workers), one row an iteration"
        )
    return pd.DataFrame(array, columns=[str(m + 1) for m in range(array.shape[1])])


def read_times(
    source: str | Path,
    frame: "pd.DataFrame",
    *,
    iteration: str | None = None,
    worker: str | None = None,
    time: str | None = None,
    unit: str | None = None,
    end: str = "cut",
) -> np.ndarray:
    """Times (T, W) of a table, `inf` where missing; arguments and errors are those of `Trace`."""
    import pandas as pd

    if unit is not None:
        one_of("unit", unit, UNITS)
    one_of("end", end, ENDS)
    if frame.empty:
        raise ValueError(f"{source} has no times; give one row an iteration, a column a worker")
    check_levels(source, frame)
    frame = frame.rename(columns=str)
    iteration, worker, time = _given(source, list(frame.columns), iteration, worker, time)
    if time is not None:
        names, times, logged = _pivot(source, frame, iteration, worker, time, unit)
    else:
        if iteration is not None:
            row = _iterations(source, frame, iteration)
            if (again := pd.Series(row).duplicated().to_numpy()).any():
                raise ValueError(
                    f"row {again.argmax() + 1} of {source} is another one of iteration "
                    f"{frame[iteration].iloc[again.argmax()]}, as {again.sum()} rows are; name a "
                    f"column that tells rows apart"
                )
            frame = frame.iloc[np.argsort(row)].drop(columns=iteration)
        names = _distinct(list(frame.columns))
        frame = frame.set_axis(names, axis=1)
        check_names(source, frame)
        columns = [_times(source, n, frame.iloc[:, m], unit) for m, n in enumerate(names)]
        times = np.column_stack(columns)
        logged = np.isfinite(times)
    if np.isinf(times).all():
        raise ValueError(f"{source} has only missing times; give at least one")
    (check_values if time is None else check_long)(source, names, times)
    if len(names) > WIDE * len(times):
        warn(
            f"{source} has {len(names)} workers and {len(times)} rows; if a row is the log of one "
            f"worker, give it the other way round (a column a worker)"
        )
    return times if end == "failed" else _cut(source, names, times, logged)


def _distinct(names: list[str]) -> list[str]:
    """Names of which those that are there again have a number, as pandas reads them of a text."""
    found: list[str] = []
    for name in names:
        again = (f"{name}.{count}" for count in itertools.count(1))
        found.append(
            name if name not in found else next(n for n in again if n not in names + found)
        )
    return found


def _given(source: str | Path, names: list[str], *given: str | None) -> tuple[str | None, ...]:
    """The names of the columns of iterations, workers and times, if they are there and enough."""
    iteration, worker, time = (None if name is None else str(name) for name in given)
    for role, name in (("iteration", iteration), ("worker", worker), ("time", time)):
        if name is not None and names.count(name) != 1:
            found = "is no column" if name not in names else "is several columns"
            raise ValueError(f"{role}={name!r} {found} of {source}; give one of {names}")
    known = [name for name in (iteration, worker, time) if name is not None]
    if worker is not None and time is None:
        raise ValueError(
            f"worker={worker!r} comes without the column of times; give time= as well, one of "
            f"{[name for name in names if name not in known]}"
        )
    if len(set(known)) < len(known):
        raise ValueError(f"iteration, worker and time are {known}; give three columns")
    return iteration, worker, time


def _pivot(
    source: str | Path,
    frame: "pd.DataFrame",
    iteration: str | None,
    worker: str | None,
    time: str,
    unit: str | None,
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names (W,), times (T, W) and which of them have a row, from a long table.

    Without a column of iterations a worker's rows are consecutive ones.
    """
    import pandas as pd

    if worker is not None:
        _check_known(source, "worker", frame, worker)
    times = _times(source, time, frame[time], unit)
    workers = frame[worker] if worker is not None else pd.Series(time, index=frame.index)
    column, found = pd.factorize(workers)
    names = [str(name) for name in found]
    place = np.argsort(sorted(range(len(names)), key=lambda m: natural(names[m])))
    column = place[column]
    if iteration is None:
        row = workers.groupby(workers).cumcount().to_numpy()
    else:
        row = _iterations(source, frame, iteration)
    table = np.full((row.max() + 1, len(names)), np.inf, times.dtype)
    logged = np.zeros(table.shape, bool)
    again = pd.DataFrame({"row": row, "column": column}).duplicated().to_numpy()
    if again.any():
        i = int(np.flatnonzero(again)[0])
        which = f"iteration {frame[iteration].iloc[i]} of worker {workers.iloc[i]}"
        raise ValueError(
            f"row {i + 1} of {source} is another time for {which}, as {again.sum()} rows are; name "
            f"columns that tell rows apart, or add up what belongs together"
        )
    table[row, column], logged[row, column] = times, True
    return sorted(names, key=natural), table, logged


def _check_known(source: str | Path, role: str, frame: "pd.DataFrame", name: str) -> None:
    """Raise ValueError where a column has an entry that is missing."""
    if (bad := np.flatnonzero(frame[name].isna())).size:
        raise ValueError(
            f"row {bad[0] + 1} of {source} has no {role} in column {name!r}; mend or remove it "
            f"(rows count from 1, without a header)"
        )


def _iterations(source: str | Path, frame: "pd.DataFrame", name: str) -> np.ndarray:
    """Places of rows in the order of their iterations, of text by the numbers in it."""
    import pandas as pd

    _check_known(source, "iteration", frame, name)
    column = frame[name]
    if not isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.kind not in "OUT":
        return pd.factorize(column, sort=True)[0]
    row, found = pd.factorize(column.astype(str))
    order = sorted(range(len(found)), key=lambda place: natural(found[place]))
    return np.argsort(order)[row]


def _cut(source: str | Path, names: list[str], times: np.ndarray, logged: np.ndarray) -> np.ndarray:
    """The rows up to the end of the shortest log; a warning says how many are left out.

    Raises ValueError where that is more than half of them.
    """
    T = len(times)
    ends = T - np.argmax(logged[::-1], axis=0)
    ends = np.where(logged.any(axis=0), ends, 0)
    shortest = int(ends.argmin())
    kept = int(ends[shortest])
    if kept == T:
        return times
    what = f"the log of {names[shortest]!r} in {source} ends at row {kept} of {T}"
    if 2 * kept < T:
        raise ValueError(
            f"{what}; give end='failed' if the worker stopped answering, or leave it out"
        )
    warn(
        f"{what}, so the rows beyond it are left out; end='failed' keeps them, the workers without "
        f"an entry not answering"
    )
    return times[:kept]


def _times(source: str | Path, name: str, column: "pd.Series", unit: str | None) -> np.ndarray:
    """A column as floats, `inf` where missing; raise ValueError at what is no time."""
    missing = np.asarray(column.isna())
    values = _as_floats(source, name, column, unit)
    bad = np.flatnonzero((np.isnan(values) & ~missing) | (values < 0))
    if bad.size:
        found = str(column.iloc[bad[0]])
        raise ValueError(
            f"row {bad[0] + 1} of column {name!r} in {source} holds {found!r}, not a time; mend "
            f"it, leave it empty where the worker never answered, or leave the column out if it is "
            f"no worker's (rows count from 1, without a header)"
        )
    return np.where(missing, np.inf, values).astype(values.dtype)


def _as_floats(
    source: str | Path, name: str, column: "pd.Series", unit: str | None = None
) -> np.ndarray:
    """A column's numbers, NaN where it holds anything else, in float32 if that is what it holds.

    Durations, also as text with colons, and numbers with a unit become seconds.
    """
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype) or column.dtype.kind in "cM":
        return np.full(len(column), np.nan)
    text = column.astype(str) if column.dtype.kind not in "biufm" else None
    clock = None if text is None else text.str.fullmatch(r"[^:]*\d:\d+:[\d.]+")
    if column.dtype.kind == "m" or (clock is not None and 2 * clock.sum() > column.notna().sum()):
        if unit is not None:
            raise ValueError(
                f"unit={unit!r} is given, but column {name!r} of {source} holds durations, which "
                f"have one; leave it out, they are read as seconds"
            )
        clear = column if clock is None else column.where(clock)
        durations = pd.to_timedelta(clear, errors="coerce")
        return np.asarray(durations / pd.Timedelta(seconds=1), np.float64)
    values = pd.to_numeric(column, errors="coerce")
    floats = np.asarray(values, np.float32 if column.dtype == np.float32 else np.float64)
    factor, divisor = UNITS[unit or "s"]
    return floats * floats.dtype.type(factor) / floats.dtype.type(divisor)


def _counts_workers(names: list[float], frame: "pd.DataFrame") -> bool:
    """Whether numbers in the first line are ranks: they count from 0, which is no time here."""
    first, steps = _as_floats("", "", frame.iloc[:, 0]), np.diff(names)
    counting = names[0] == 0 and (steps > 0).all() and (steps == steps[:1]).all()
    return bool(counting and not (first <= 0).any()) or counts_columns(names, frame)
