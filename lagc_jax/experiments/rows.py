"""How a trace is drawn for advice, and whose place each worker takes."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax._checks import concrete
from lagc_jax.cluster import Cluster
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.traces import Trace
from lagc_jax.experiments.intervals import block_length
from lagc_jax.times import sample_worker_times

SAMPLED_ROWS = 512  # that stand for a family of times where workers are put in order


class Drawn(NamedTuple):
    """Times as advice draws them.

    Attributes:
        delays: the source.
        note: how a trace is drawn and what it lacks, in words; empty for other sources.
        whole_rows: whether all workers take one row of the trace together.
        missing: share of the entries.
    """

    delays: TimeSource
    note: str
    whole_rows: bool
    missing: float


def as_drawn(delays: TimeSource, num_workers: int, resample: str | None) -> Drawn:
    """Draw a trace in blocks of a length from its data where nothing else is asked for.

    A replay starts at a random row: it is a block of all rows.
    """
    if not isinstance(delays, Trace):
        if resample is not None:
            raise ValueError(f"resample={resample!r} draws from a trace; give one as delays")
        return Drawn(delays, "", False, 0.0)
    asked = resample or (None if delays.resample == "iid" else delays.resample)
    block, T = delays.block, delays.num_rows
    if asked is None and delays.num_columns != num_workers:
        asked, block = "iid", 1
        note = (
            f"The trace has {delays.num_columns} columns for {num_workers} workers, so every "
            f"worker draws from all entries by itself, which keeps neither bursts nor workers that "
            f"differ."
        )
    elif asked in (None, "blocks"):
        if asked is None or (asked != delays.resample and block == 1):
            block = dependence(np.asarray(delays.times, float))
        asked, note = "blocks", f"Times come in blocks of {block} of the {T} rows of the trace."
    elif asked == "replay":
        asked, block = "blocks", T
        note = f"Every run replays the {T} rows of the trace from one that is drawn."
    else:
        block, note = 1, f"Entries are drawn one by one (resample={asked!r})."
    absent = int(np.isinf(np.asarray(delays.times)).sum())
    size = int(np.size(delays.times))
    if absent:
        note += f" {absent} of the {size} entries are missing."
    return Drawn(delays.resampled(asked, block), note, asked == "blocks", absent / size)


def filled(times: np.ndarray) -> np.ndarray:
    """Times of which missing ones are as long as the longest."""
    known = np.isfinite(times)
    return np.where(known, times, times[known].max())


def dependence(times: np.ndarray) -> int:
    """Rows that a block of a trace (T, W) needs: for the slowest, the typical, or every worker."""
    whole = filled(times)
    series = [whole.max(1), np.median(whole, axis=1), *whole.T[:: max(whole.shape[1] // 8, 1)]]
    return max(block_length(one) for one in series)


def draw_rows(delays: TimeSource, key: Array, num_workers: int) -> np.ndarray:
    """Times of all workers in many iterations (T, M): the trace's rows, or draws."""
    if isinstance(delays, Trace) and delays.num_columns == num_workers:
        return np.asarray(delays.times, float)
    return np.asarray(sample_worker_times(delays, key, SAMPLED_ROWS, num_workers), float)


def trace_inside(delays: TimeSource) -> Trace | None:
    """The trace that a source draws from, by itself or around it."""
    inner: Any = delays
    while not isinstance(inner, Trace) and hasattr(inner, "delays"):
        inner = inner.delays
    return inner if isinstance(inner, Trace) else None


def differ(delays: TimeSource, cluster: Cluster | None, num_workers: int) -> bool:
    """Whether it may matter which worker takes which place."""
    if isinstance(delays, Trace):
        return delays.resample != "iid"
    return _has_axis((delays, cluster), num_workers)


def _has_axis(thing: Any, num_workers: int, axis: int = 0) -> bool:
    """Whether a parameter, or a trace inside, has a value a worker."""
    if isinstance(thing, Trace):
        return thing.resample != "iid"
    if is_dataclass(thing):
        return any(_has_axis(value, num_workers, axis) for _, value, axis in _parts(thing))
    if isinstance(thing, tuple):
        return any(_has_axis(each, num_workers) for each in thing)
    return np.ndim(thing) > 0 and np.shape(thing)[axis] == num_workers


def _parts(thing: Any) -> Iterator[tuple[str, Any, int]]:
    """Fields of delays or a cluster: names, values, and the axis that is of the workers, if any."""
    last = getattr(thing, "workers_last", ())
    for field in fields(thing):
        yield field.name, getattr(thing, field.name), -1 if field.name in last else 0


def reordered(thing: Any, order: np.ndarray, axis: int = 0) -> Any:
    """Delays or a cluster whose place `p` is taken by worker `order[p]`."""
    if isinstance(thing, Trace):
        times = np.asarray(thing.times)
        return thing if thing.resample == "iid" else replace(thing, times=times[:, order])
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(thing, **{n: reordered(value, order, at) for n, value, at in _parts(thing)})
    known = concrete(thing) if isinstance(thing, np.ndarray | jax.Array) else None
    if known is not None and known.ndim and known.shape[axis] == order.size:
        moved = np.take(known, order, axis)
        return moved if isinstance(thing, np.ndarray) else jnp.asarray(moved)
    return thing
