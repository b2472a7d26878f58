"""Measured computing times as a source: resampled in one of three ways, or replayed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._checks import whole_number
from lagc_jax._files import counts_columns, read_table
from lagc_jax._modes import float_dtype
from lagc_jax._pytree import pytree
from lagc_jax.delays._columns import check_names, check_values
from lagc_jax.delays.base import TimeSource

if TYPE_CHECKING:
    import pandas as pd

RESAMPLINGS = ("iid", "worker", "blocks", "replay")


@pytree("resample", "block")
class Trace(TimeSource):
    """Measured times, iterations by workers; made by `from_array`, `from_csv` or `from_parquet`.

    How the times of an iteration come out of the `T` rows and `W` columns is said by `resample`:

    - "iid": every worker draws from all entries together, independently of all else; `M` may
      differ from `W`.
    - "worker": worker `m` draws from column `m`, independently of all else (Efron 1979).
    - "blocks": all workers take one row together, and `block` consecutive iterations take
      consecutive rows from one drawn at random, past the last going on with the first: bursts and
      the correlation across workers are kept within a block, and every row is as likely (circular
      block bootstrap, Politis and Romano 1992).
    - "replay": iteration `k` takes row `k mod T`, that is, the trace starts anew after its last
      row (with a warning where a run is longer); all realisations are the same.

    A missing entry is a worker that never answered: its time is `inf`, and it is drawn like any
    other (see `Cluster.timeout`).

    A table with anything beside one column of times a worker is refused: a long one, counters and
    clocks, summaries, columns in other units. Where real times look so, `Trace(times)` takes an
    array as it is.

    Args:
        times: (T, W) times for one partition gradient, `inf` where missing.
        resample: one of the above.
        block: iterations in a block.

    >>> trace = Trace.from_array([[1.0, 2.0], [3.0, float("nan")]], resample="replay")
    >>> trace.sample_chunk(jax.random.key(0), 0, (3, 1, 2))[:, 0].tolist()
    [[1.0, 2.0], [3.0, inf], [1.0, 2.0]]
    """

    times: Any
    resample: str = "iid"
    block: int = 1

    @classmethod
    def from_array(cls, times: ArrayLike, *, resample: str = "iid", block: int = 1) -> Self:
        """Take times from an array or a frame, (T, W); NaN and masked entries are missing.

        Args:
            times: not negative, in any unit; float32 is kept, other numbers become JAX's default
                floats.
            resample: as above.
            block: iterations in a block; only "blocks" has any.

        Raises:
            ValueError: if times are not a table of numbers, are negative (row and column are named,
                counted from 1) or all missing, a column is no worker's, `resample` is unknown, or a
                block is longer than the trace.
        """
        import pandas as pd

        if isinstance(times, pd.DataFrame):
            return cls._from_frame("times", times, resample, block)
        try:
            if np.ma.isMaskedArray(times):
                times = np.ma.filled(np.ma.asarray(times, float), np.nan)
            table = np.asarray(times)
        except ValueError:
            raise ValueError(
                "times is ragged; give rows of equal lengths, NaN where missing"
            ) from None
        if table.ndim != 2:
            raise ValueError(
                f"times has shape {table.shape}; give (iterations, workers), one row an iteration"
            )
        names = [str(m + 1) for m in range(table.shape[1])]
        return cls._from_frame("times", pd.DataFrame(table, columns=names), resample, block)

    @classmethod
    def from_csv(cls, path: str | Path, *, resample: str = "iid", block: int = 1) -> Self:
        """Read a CSV file: a header with the workers' names, then one row an iteration.

        Names may be numbers that count from 0, such as ranks. An empty field or `nan` is missing;
        blank lines are skipped. Arguments and errors are those of `from_array`, and a ValueError if
        the file is missing or no table with a header.
        """
        frame = read_table(path, _counts_workers)
        return cls._from_frame(path, frame, resample, block)

    @classmethod
    def from_parquet(cls, path: str | Path, *, resample: str = "iid", block: int = 1) -> Self:
        """Read a parquet file with one column a worker, one row an iteration.

        A null is missing. Arguments and errors are those of `from_array`, and a ValueError if the
        file is missing or not parquet.
        """
        import pandas as pd

        try:
            frame = pd.read_parquet(path)
        except FileNotFoundError:
            raise ValueError(f"parquet={path} does not exist; give a parquet file's path") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"parquet={path} cannot be read as a table ({error})") from None
        return cls._from_frame(path, frame, resample, block)

    @classmethod
    def _from_frame(
        cls, source: str | Path, frame: "pd.DataFrame", resample: str, block: int
    ) -> Self:
        if frame.empty:
            raise ValueError(f"{source} has no times; give one row an iteration, a column a worker")
        names = [str(name) for name in frame.columns]
        check_names(source, names)
        columns = [_times(source, name, frame.iloc[:, m]) for m, name in enumerate(names)]
        times = np.column_stack(columns)
        if np.isinf(times).all():
            raise ValueError(f"{source} has only missing times; give at least one")
        check_values(source, names, times)
        return cls(times).resampled(resample, block)

    def resampled(self, resample: str, block: int = 1) -> Self:
        """Return the same times with another way of drawing them; errors as for `from_array`."""
        if resample not in RESAMPLINGS:
            raise ValueError(f"resample={resample!r} is unknown; give one of {RESAMPLINGS}")
        whole_number("block", block)
        if block > 1 and resample != "blocks":
            raise ValueError(f"block={block} with resample={resample!r}; give resample='blocks'")
        if block > self.num_rows:
            raise ValueError(
                f"block={block} is longer than the trace of {self.num_rows} rows; give "
                f"1 <= block <= {self.num_rows}"
            )
        return type(self)(self.times, resample, block)

    @property
    def num_rows(self) -> int:
        """`T`, iterations measured."""
        return np.shape(self.times)[-2]

    @property
    def num_columns(self) -> int:
        """`W`, workers measured."""
        return np.shape(self.times)[-1]

    @property
    def dtype(self) -> Any:
        return float_dtype(self.times)

    @property
    def identical(self) -> bool:
        return False

    @property
    def length(self) -> int | None:
        return self.num_rows if self.resample == "replay" else None

    def check(self, num_workers: int, draws: int = 1) -> None:
        if self.resample != "iid" and self.num_columns != num_workers:
            raise ValueError(
                f"delays has {self.num_columns} columns of times for num_workers={num_workers}; "
                f"give one a worker, or resample='iid' to draw from all entries together"
            )
        if draws > 1 and self.resample in ("blocks", "replay"):
            raise ValueError(
                f"resample={self.resample!r} has one time a worker in an iteration, but "
                f"independent=True needs {draws}; give resample='iid' or 'worker'"
            )

    def sample_chunk(self, key: Array, chunk: ArrayLike, shape: tuple[int, int, int]) -> Array:
        times = jnp.asarray(self.times, self.dtype)
        size, _, workers = shape
        rows, columns = self.num_rows, jnp.arange(workers)
        iteration = jnp.asarray(chunk) * size + jnp.arange(size)
        if self.resample == "replay":
            return times[iteration % rows][:, None]
        if self.resample == "blocks":
            number = iteration // self.block
            keys = jax.vmap(lambda i: _keys.fold_in(key, i))(number)
            first = jax.vmap(lambda one: _keys.below(one, (), rows))(keys)
            return times[(first + iteration - number * self.block) % rows][:, None]
        key = _keys.fold_in(key, chunk)
        if self.resample == "worker":
            return times[_keys.below(key, shape, rows), columns]
        return times.ravel()[_keys.below(key, shape, rows * self.num_columns)]


def _times(source: str | Path, name: str, column: "pd.Series") -> np.ndarray:
    """A column as floats, `inf` where missing; raise ValueError at what is no time."""
    missing = np.asarray(column.isna())
    values = _as_floats(column)
    bad = np.flatnonzero((np.isnan(values) & ~missing) | (values < 0))
    if bad.size:
        found = str(column.iloc[bad[0]])
        raise ValueError(
            f"row {bad[0] + 1} of column {name!r} in {source} holds {found!r}, not a time; mend "
            f"it, leave it empty where the worker never answered, or leave the column out if it is "
            f"no worker's (rows count from 1, without a header)"
        )
    return np.where(missing, np.inf, values).astype(values.dtype)


def _as_floats(column: "pd.Series") -> np.ndarray:
    """A column's numbers, NaN where it holds anything else, in float32 if that is what it holds."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype) or column.dtype.kind in "cmM":
        return np.full(len(column), np.nan)
    values = pd.to_numeric(column, errors="coerce")
    return np.asarray(values, np.float32 if column.dtype == np.float32 else np.float64)


def _counts_workers(names: list[float], frame: "pd.DataFrame") -> bool:
    """Whether numbers in the first line are ranks: they count from 0, which is no time here."""
    first, steps = _as_floats(frame.iloc[:, 0]), np.diff(names)
    counting = names[0] == 0 and (steps > 0).all() and (steps == steps[:1]).all()
    return bool(counting and not (first <= 0).any()) or counts_columns(names, frame)
