"""How long candidates take: exactly, from the rows of a trace, or from realisations in common."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import numpy as np
import pandas as pd
from jax import Array

from lagc_jax.clock import clock_of
from lagc_jax.cluster import Cluster
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.traces import Trace
from lagc_jax.experiments.common import BLOCK_ENTRIES, Walk, draw, sample
from lagc_jax.experiments.intervals import means, medians, outlook
from lagc_jax.experiments.moments import knows_moments
from lagc_jax.experiments.reasons import tail_of
from lagc_jax.experiments.rows import Drawn, filled, reordered, trace_inside
from lagc_jax.experiments.waits import Waits, group_waits, is_shared, kind_of, slowest, through_link
from lagc_jax.law.inverse import CHUNK
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import gd

RUN = (0.05, 0.95)  # levels of the quantiles of one run's time
SEARCHED = 16  # realisations, where candidates are only compared
GOLDEN = (math.sqrt(5) - 1) / 2
LINKED = 2**11  # pairs of a row and an iteration that stand for a candidate with a shared link


class Times(NamedTuple):
    """What N candidates take to their hits.

    Attributes:
        mean: (N,), or medians where no mean is finite.
        low, high: (N,) the mean's interval of 90 %.
        run: (N, 2) quantiles of one run's time.
        statistic: "mean" or "median".
        exact: whether the mean is that of a known law.
        drifts: (N,) whether the rows of the trace rise or fall.
        series: (N, T) times as if every iteration met one row of the trace; None without rows.
        samples: (N, R) realisations; None where there are none.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    run: np.ndarray
    statistic: str = "mean"
    exact: bool = False
    drifts: np.ndarray | None = None
    series: np.ndarray | None = None
    samples: np.ndarray | None = None


class Meter(Protocol):
    """Measures candidates, all with the same times.

    Attributes:
        exact: whether it reads means that the table has.
    """

    exact: ClassVar[bool] = False

    def coarse(self, table: pd.DataFrame, walks: Sequence[Walk]) -> np.ndarray:
        """Times (N,) by which candidates are compared during a search."""
        ...

    def fine(self, table: pd.DataFrame, walks: Sequence[Walk]) -> Times:
        """Times as they are told."""
        ...

    def reordered(self, order: np.ndarray) -> "Meter":
        """The meter of workers that stand in another order."""
        ...


@dataclass(frozen=True)
class ExactMeter(Meter):
    """Exact means, which are columns of the table; medians of realisations if all are infinite."""

    sampled: "SampledMeter"

    exact: ClassVar[bool] = True

    def coarse(self, table: pd.DataFrame, walks: Sequence[Walk]) -> np.ndarray:
        mean = table["time_expected"].to_numpy(float)
        return mean if np.isfinite(mean).any() else self.sampled.coarse(table, walks)

    def fine(self, table: pd.DataFrame, walks: Sequence[Walk]) -> Times:
        """Quantiles of one run are those of realisations."""
        mean = table["time_expected"].to_numpy(float)
        if not np.isfinite(mean).any():
            return self.sampled.fine(table, walks)
        return Times(mean, mean, mean, self.sampled.runs(len(table), walks), exact=True)

    def reordered(self, order: np.ndarray) -> "ExactMeter":
        return replace(self, sampled=self.sampled.reordered(order))


@dataclass(frozen=True)
class RowMeter(Meter):
    """Means over the rows of a trace, of which all workers take one together.

    In blocks, and in a replay from a random row, every row is as likely in every iteration: the
    mean over realisations is that over rows, and nothing is drawn for it.

    Attributes:
        trace: drawn in blocks.
        cluster: of the workers.
        key: of the realisations that show the quantiles of one run.
        num_realisations: `R`.
        num_parameters: `d`, on which the size of a message may depend.
    """

    trace: Trace
    cluster: Cluster | None
    key: Array
    num_realisations: int
    num_parameters: int

    @property
    def rows(self) -> np.ndarray:
        """Measured times, (T, M)."""
        return np.asarray(self.trace.times, float)

    def coarse(self, table: pd.DataFrame, walks: Sequence[Walk]) -> np.ndarray:
        return self._measure(len(table), walks, None, LINKED)[0].mean(-1)

    def fine(self, table: pd.DataFrame, walks: Sequence[Walk]) -> Times:
        longest = max(len(walk.uploads) for walk in walks)
        chosen = _drawn_rows(self.trace, self.key, self.num_realisations, longest)
        series, samples = self._measure(len(table), walks, chosen, 16 * LINKED)
        return of_rows(series, samples, self.rows)

    def reordered(self, order: np.ndarray) -> "RowMeter":
        delays, cluster = reordered(self.trace, order), reordered(self.cluster, order)
        return replace(self, trace=delays, cluster=cluster)

    def _measure(
        self, N: int, walks: Sequence[Walk], chosen: np.ndarray | None, pairs: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Series (N, T), and realisations (N, R) that meet the chosen rows (R, K)."""
        rows, known = self.rows, {}
        series = np.full((N, len(rows)), np.inf)
        samples = None if chosen is None else np.full((N, len(chosen)), np.inf)
        for walk in walks:
            done: dict[Hashable, tuple] = {}
            sets: _Sets | None = None
            for row, scheme in walk.schemes.items() if len(walk.uploads) else ():
                kind = kind_of(scheme)
                if kind not in done:
                    cluster = patient(
                        scheme, sized(scheme, self.cluster, self.num_parameters), rows
                    )
                    if is_shared(cluster):
                        done[kind] = _linked(
                            scheme, cast(Cluster, cluster), rows, walk.uploads, chosen, pairs
                        )
                    else:
                        if kind not in known:
                            known[kind] = group_waits(scheme, cluster, rows)
                        sets = sets or _sets(walk.uploads)
                        done[kind] = _by_row(known[kind], sets, chosen)
                series[row] = done[kind][0]
                if samples is not None:
                    samples[row] = done[kind][1]
        return series, samples


def sized(scheme: Scheme, cluster: Cluster | None, num_parameters: int) -> Cluster | None:
    """The cluster with the size of the scheme's messages."""
    return None if cluster is None else cluster.sized(scheme, num_parameters)


def meter_of(
    drawn: Drawn,
    cluster: Cluster | None,
    num_workers: int,
    key: Array,
    num_realisations: int,
    num_parameters: int,
) -> Meter:
    """How times of a source are measured; with a link, what workers' triggers take has no law."""
    delays = drawn.delays
    if drawn.whole_rows:
        return RowMeter(cast(Trace, delays), cluster, key, num_realisations, num_parameters)
    sizes = num_realisations, num_parameters
    sampled = SampledMeter(delays, cluster, key, *sizes, trace_inside(delays))
    plain = cluster is None or cluster.link is None
    known = plain and knows_moments(clock_of(gd(num_workers), delays, cluster))
    return ExactMeter(sampled) if known else sampled


class _Sets(NamedTuple):
    """Sets of groups along a path, bool (U, G), how often each occurs (U,), and when which (K,)."""

    groups: np.ndarray
    counts: np.ndarray
    place: np.ndarray


def _sets(uploads: np.ndarray) -> _Sets:
    packed = np.packbits(uploads, axis=-1)
    _, first, place, counts = np.unique(
        packed, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    return _Sets(uploads[first], counts, place.ravel())


def _by_row(waits: Waits, sets: _Sets, chosen: np.ndarray | None) -> tuple:
    """A candidate's series (T,) and realisations (R,) from waits for groups."""
    groups, counts, place = sets
    total = np.zeros(len(waits.busy))
    drawn = None if chosen is None else np.zeros(len(chosen))
    size = max(BLOCK_ENTRIES // len(total), 1)
    for start in range(0, len(groups), size):
        times = slowest(waits, groups[start : start + size])
        total += counts[start : start + size] @ times
        if chosen is not None and drawn is not None:
            (when,) = np.nonzero((place >= start) & (place < start + size))
            drawn += times[place[when] - start, chosen[:, when]].sum(-1)
    return total, drawn


def _linked(
    scheme: Scheme,
    cluster: Cluster,
    rows: np.ndarray,
    uploads: np.ndarray,
    chosen: np.ndarray | None,
    pairs: int,
) -> tuple:
    """As `_by_row` with a shared link, where an iteration's groups wait for each other.

    Where there are too many pairs of a row and a set of groups, some iterations stand for all:
    other ones with every row, and for the deviations of a realisation from the means of its rows.
    """
    T, K, (groups, counts, place) = len(rows), len(uploads), _sets(uploads)
    if T * len(groups) <= pairs:
        times = through_link(scheme, cluster, rows[:, None], groups)
        drawn = None if chosen is None else times[chosen[:, :K], place].sum(-1)
        return times @ counts, drawn
    some = _spread_out(T, min(max(pairs // T, 1), K), K)
    mean = through_link(scheme, cluster, rows[:, None], uploads[some]).mean(-1)
    if chosen is None:
        return K * mean, None
    R = len(chosen)
    some = _spread_out(R, min(max(pairs // R, 1), K), K)
    met = np.take_along_axis(chosen, some, axis=1)
    moved = through_link(scheme, cluster, rows[met], uploads[some]) - mean[met]
    scale = math.sqrt(K / some.shape[1])
    return K * mean, mean[chosen[:, :K]].sum(-1) + scale * moved.sum(-1)


def _spread_out(num_rows: int, each: int, length: int) -> np.ndarray:
    """So many numbers below a length in every row, in all rows together all about as often.

    All are in every row that is long enough. Else they are a Weyl sequence of the golden ratio,
    which follows no period of the rows or of the path.
    """
    if each == length:
        return np.broadcast_to(np.arange(length), (num_rows, length))
    number = np.arange(num_rows * each).reshape(num_rows, each)
    return (number * GOLDEN % 1 * length).astype(int)


def _drawn_rows(trace: Trace, key: Array, num_realisations: int, length: int) -> np.ndarray:
    """Rows that realisations meet in their iterations, (R, K), as `Trace` draws them."""
    numbers = replace(trace, times=np.arange(trace.num_rows, dtype=float)[:, None])
    chunks = range(-(-length // CHUNK))
    drawn = [draw(numbers, key, 0, chunk, num_realisations, 1)[..., 0] for chunk in chunks]
    return np.concatenate([np.asarray(each) for each in drawn], axis=1).astype(int)


def patient(scheme: Scheme, cluster: Cluster | None, rows: np.ndarray) -> Cluster | None:
    """The cluster with a timeout where workers may never answer: as long as any answer took."""
    known = np.isfinite(rows)
    if known.all() or (cluster is not None and cluster.timeout is not None):
        return cluster
    return replace(cluster or Cluster(), timeout=longest_answer(scheme, cluster, rows))


def longest_answer(scheme: Scheme, cluster: Cluster | None, rows: np.ndarray) -> float:
    """When the last worker that answers at all would have, in the slowest iteration measured."""
    answered = np.where(np.isfinite(rows), rows, -np.inf)
    everyone = np.ones((len(rows), scheme.num_groups), bool)
    last = replace(scheme, redundancy=1, decoding=None, trigger="always", fixed_load=scheme.loads)
    if is_shared(cluster):
        slow = np.maximum(answered, 0)
        return float(through_link(last, cast(Cluster, cluster), slow, everyone).max())
    return float(group_waits(last, cluster, np.maximum(answered, 0)).busy.max())


def of_rows(series: np.ndarray, samples: np.ndarray | None, rows: np.ndarray) -> Times:
    """Times from series (N, T) and realisations (N, R), where rows (T, M) of a trace are known."""
    reached = np.asarray(np.isfinite(series).all(-1))
    general = filled(rows).mean(-1)
    seen = outlook(np.where(reached[:, None], series, 0), general)
    low, high = (np.where(reached, each, np.inf) for each in (seen.low, seen.high))
    run = np.full((len(series), 2), np.inf) if samples is None else run_quantiles(samples)
    mean = series.mean(-1)
    return Times(mean, low, high, run, drifts=seen.drifts, series=series, samples=samples)


def run_quantiles(samples: np.ndarray) -> np.ndarray:
    """Quantiles (N, 2) of realisations (N, R), `inf` where one has no hit."""
    finite = np.isfinite(samples).all(-1)
    run = np.full((len(samples), 2), np.inf)
    run[finite] = np.quantile(samples[finite], RUN, axis=-1).T
    return run


@dataclass(frozen=True)
class SampledMeter(Meter):
    """Means of realisations that all candidates have in common.

    Attributes:
        delays: any source of times.
        cluster: of the workers.
        key: of the realisations.
        num_realisations: `R`.
        num_parameters: `d`, on which the size of a message may depend.
        trace: measured times inside the source, whose own uncertainty is in the intervals.
    """

    delays: TimeSource
    cluster: Cluster | None
    key: Array
    num_realisations: int
    num_parameters: int
    trace: Trace | None

    def coarse(self, table: pd.DataFrame, walks: Sequence[Walk]) -> np.ndarray:
        few = min(SEARCHED, self.num_realisations)
        drawn = self._draw(len(table), walks, few)
        mean = means(drawn, self._tails(walks))[0]
        return mean if np.isfinite(mean).any() else np.median(drawn, axis=-1)

    def fine(self, table: pd.DataFrame, walks: Sequence[Walk]) -> Times:
        samples = self._draw(len(table), walks, self.num_realisations)
        statistic, found = "mean", means(samples, self._tails(walks))
        if not np.isfinite(found[0]).any():
            statistic, found = "median", medians(samples)
        mean, low, high = found
        if self.trace is not None:
            rows = filled(np.asarray(self.trace.times, float))
            seen = np.stack([rows.mean(1), rows.max(1)])
            low, high = widened(mean, low, high, seen)
        return Times(mean, low, high, run_quantiles(samples), statistic, samples=samples)

    def runs(self, N: int, walks: Sequence[Walk]) -> np.ndarray:
        """Quantiles (N, 2) of one run."""
        return run_quantiles(self._draw(N, walks, self.num_realisations))

    def reordered(self, order: np.ndarray) -> "SampledMeter":
        delays, cluster = reordered(self.delays, order), reordered(self.cluster, order)
        return replace(self, delays=delays, cluster=cluster)

    def _tails(self, walks: Sequence[Walk]) -> np.ndarray:
        """Tail indices (N,) of candidates' iterations."""
        known = {
            row: tail_of(scheme, self.cluster, self.delays)
            for walk in walks
            for row, scheme in walk.schemes.items()
        }
        return np.array([known[row] for row in range(len(known))])

    def _draw(self, N: int, walks: Sequence[Walk], number: int) -> np.ndarray:
        def cluster_of(scheme: Scheme) -> Cluster | None:
            cluster = sized(scheme, self.cluster, self.num_parameters)
            if not isinstance(self.delays, Trace):
                return cluster
            return patient(scheme, cluster, np.asarray(self.delays.times, float))

        return sample(walks, N, self.delays, cluster_of, self.key, number)


def widened(
    mean: np.ndarray, low: Any, high: Any, series: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of means (N,) of realisations, with what is not known of the trace they draw from.

    That is what is not known of a series of its rows, of the worst of them (P, T).
    """
    seen, typical = outlook(series, series[0]), series.mean(-1)
    down, up = (1 - seen.low / typical).max(), (seen.high / typical - 1).max()
    with np.errstate(invalid="ignore"):
        low = mean - np.hypot(mean - low, down * mean)
        high = mean + np.hypot(high - mean, up * mean)
    return low, high
