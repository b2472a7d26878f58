"""Measured computing times as a source: resampled in one of three ways, or replayed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _entries, _keys
from lagc_jax._checks import as_leaf, one_of, real_array, whole_number
from lagc_jax._modes import float_dtype
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.reading import Reading, as_frame, read_frame, read_parquet, read_times

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

    Tables are read by these arguments of the constructors (`reading` there):

    - `worker` and `time` name two columns of a long table, with one row a time, and `iteration` a
      third; without it a worker's rows are consecutive ones. Workers are ordered by name, numbers
      in it by value; an iteration and worker without a row is missing.
    - `iteration` alone names a column of a wide table that is no worker's; rows are sorted by it,
      text by the numbers in it.
    - `unit`, one of ns, us, ms, s, min, h, makes seconds of numbers. Durations always become so.
    - `end` says what it means when a worker's log ends before that of others. "cut", the default,
      leaves out the rows from there on, with a warning; with "failed" it stopped answering.

    A wide table with anything beside one column of times a worker is refused: a long one, counters
    and clocks, summaries, names of workers, columns in other units. Where real times look so,
    `Trace(times)` takes an array as it is.

    Args:
        times: (T, W) times for one partition gradient, `inf` or NaN where missing.
        resample: one of the above.
        block: iterations in a block.

    Raises:
        ValueError: for another shape, times below 0, or as for `from_array` of the others.

    >>> trace = Trace.from_array([[1.0, 2.0], [3.0, float("nan")]], resample="replay")
    >>> trace.sample_chunk(jax.random.key(0), 0, (3, 1, 2))[:, 0].tolist()
    [[1.0, 2.0], [3.0, inf], [1.0, 2.0]]
    """

    times: Any
    resample: str = "iid"
    block: int = 1

    def __post_init__(self) -> None:
        known = real_array("times", self.times)
        object.__setattr__(self, "times", as_leaf(self.times))
        if np.ndim(self.times) < 2 or not np.size(self.times):
            raise ValueError(
                f"times has shape {np.shape(self.times)}; give (iterations, workers), a sample as "
                f"sample[:, None]"
            )
        self._check_resampling()
        if known is None:
            return
        _check_signs(known)
        if np.isnan(known).any():
            times = np.where(np.isnan(known), np.inf, np.asarray(self.times))
            object.__setattr__(self, "times", times)

    @classmethod
    def from_array(
        cls, times: ArrayLike, *, unit: str | None = None, resample: str = "iid", block: int = 1
    ) -> Self:
        """Take times from an array or a frame, (T, W); NaN, NaT and masked entries are missing.

        Args:
            times: not negative, in any unit; float32 is kept, `timedelta64` becomes seconds, other
                numbers become JAX's default floats.
            unit: as above.
            resample: as above.
            block: iterations in a block; only "blocks" has any.

        Raises:
            ValueError: if times are not a table of numbers, are negative (row and column are named,
                counted from 1) or all missing, a column is no worker's, `unit` or `resample` is
                unknown, or a block is longer than the trace.
        """
        import pandas as pd

        frame = times
        if not isinstance(frame, pd.DataFrame):
            if np.ma.isMaskedArray(times):
                span = times.dtype.kind == "m"
                missing: Any = np.timedelta64("NaT") if span else np.nan
                times = np.ma.filled(times if span else times.astype(float), missing)
            try:
                array = np.asarray(times)
            except ValueError:
                raise ValueError(
                    "times is ragged; give rows of equal lengths, NaN where missing"
                ) from None
            frame = as_frame("times", array)
        read = read_times("times", frame, unit=unit, end="failed")
        return cls(read).resampled(resample, block)

    @classmethod
    def from_frame(
        cls,
        frame: "pd.DataFrame",
        *,
        resample: str = "iid",
        block: int = 1,
        **reading: Unpack[Reading],
    ) -> Self:
        """Take times from a frame, wide or long: `reading` is described above.

        Raises:
            ValueError: as for `from_array`; if a column that is named is not there, an iteration
                and a worker have two rows, or less than half of a log would be left.

        >>> import pandas as pd
        >>> log = pd.DataFrame({"rank": [0, 1, 1, 0], "step": [1, 1, 2, 2], "ms": [10, 20, 30, 40]})
        >>> Trace.from_frame(log, iteration="step", worker="rank", time="ms", unit="ms").times
        array([[0.01, 0.02],
               [0.04, 0.03]])
        """
        import pandas as pd

        if not isinstance(frame, pd.DataFrame):
            raise ValueError(
                f"frame is a {type(frame).__name__}, no pandas.DataFrame; give one, or arrays to "
                f"from_array"
            )
        return cls(read_times("frame", frame, **reading)).resampled(resample, block)

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        *,
        header: bool | None = None,
        resample: str = "iid",
        block: int = 1,
        **reading: Unpack[Reading],
    ) -> Self:
        """Read a table in text, wide or long: `reading` is described above.

        Fields are separated by commas, semicolons, tabs or blanks, decimals are points or, where
        commas separate nothing, commas. An empty field or `nan` is missing; blank lines are
        skipped. Files that end in .parquet, .npy or .npz are read as what they are, and an archive
        may hold one log a worker.

        Args:
            path: the file.
            header: whether the first line holds names. By default it does, and numbers there are
                refused unless they count as ranks do.
            resample: as above.
            block: as above.
            reading: as above.

        Raises:
            ValueError: as for `from_frame`, or if the file is missing or no table.
        """
        times = read_times(path, read_frame(path, header), **reading)
        return cls(times).resampled(resample, block)

    @classmethod
    def from_parquet(
        cls,
        path: str | Path,
        *,
        resample: str = "iid",
        block: int = 1,
        **reading: Unpack[Reading],
    ) -> Self:
        """Read a parquet file, wide or long; a null is missing. Otherwise as `from_csv`."""
        return cls(read_times(path, read_parquet(path), **reading)).resampled(resample, block)

    def resampled(self, resample: str, block: int = 1) -> Self:
        """Return the same times with another way of drawing them; errors as for `from_array`."""
        return type(self)(self.times, resample, block)

    def _check_resampling(self) -> None:
        resample, block = self.resample, whole_number("block", self.block)
        one_of("resample", resample, RESAMPLINGS)
        if block > 1 and resample != "blocks":
            raise ValueError(f"block={block} with resample={resample!r}; give resample='blocks'")
        if block > self.num_rows:
            raise ValueError(
                f"block={block} is longer than the trace of {self.num_rows} rows; give "
                f"1 <= block <= {self.num_rows}"
            )

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
        num_rows, size = self.num_rows, shape[0]
        iteration = jnp.asarray(chunk) * size + jnp.arange(size)
        if self.resample == "replay":
            return times[iteration % num_rows][:, None]
        if self.resample == "blocks":
            number = iteration // self.block
            first = self._firsts(key, number)
            row = (first + iteration - number * self.block) % num_rows
            return _entries.rows(times, row)[:, None]
        key = _keys.fold_in(key, chunk)
        if self.resample == "worker":
            return _entries.of_columns(times, _keys.below(key, shape, num_rows))
        number = _keys.below(key, shape, num_rows * self.num_columns)
        return _entries.entries_or_infinite(times.ravel()[None], number)[0]

    def _firsts(self, key: Array, number: Array) -> Array:
        """First rows of consecutive iterations' blocks, from the numbers of these, (S,)."""

        def draw(one: Array) -> Array:
            return _keys.below(_keys.fold_in(key, one), (), self.num_rows)

        size = number.shape[0]
        few = (size - 2) // self.block + 2  # blocks that so many iterations meet at most
        if few >= size:
            return jax.vmap(draw)(number)
        drawn = jax.vmap(draw)(number[0] + jnp.arange(few))
        mine = (number - number[0])[:, None] == jnp.arange(few)
        return jnp.sum(jnp.where(mine, drawn, 0), axis=-1)


def time_table(times: ArrayLike | Trace) -> np.ndarray:
    """Times (T, W) in float64, `inf` where missing; ValueError for no table or times below 0."""
    if np.ma.isMaskedArray(times):
        times = np.ma.filled(times.astype(float), np.nan)
    array = real_array("times", times.times if isinstance(times, Trace) else times)
    if array is None or array.ndim != 2 or not array.size:
        shape = None if array is None else array.shape
        raise ValueError(f"times has shape {shape}; give (iterations, workers), not traced")
    _check_signs(array)
    return np.where(np.isnan(array), np.inf, array).astype(np.float64)


def _check_signs(times: np.ndarray) -> None:
    if (times < 0).any():
        raise ValueError(f"times has entries below 0, {np.nanmin(times)} the least; mend them")
