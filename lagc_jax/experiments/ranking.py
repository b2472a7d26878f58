"""Candidates in the order of their cost: workers in their places, timeouts, and the check of both.

What a search has found is measured as it is told. The first candidates are then tried with workers
in other places and, where a timeout matters, simulated with a path of its own for each realisation.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from lagc_jax._checks import not_negative, scalar
from lagc_jax._tables import COSTS, not_dominated
from lagc_jax.cluster import Cluster
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.traces import Trace
from lagc_jax.experiments.assignment import AS_GIVEN, assign
from lagc_jax.experiments.candidates import Same
from lagc_jax.experiments.common import Walk, follow, uploads_of
from lagc_jax.experiments.contest import Apart, Outsider, contest, measure
from lagc_jax.experiments.experiment import Experiment, Vary
from lagc_jax.experiments.heldout import HeldOut, check_halves
from lagc_jax.experiments.meters import Meter, RowMeter, Times, meter_of, sized
from lagc_jax.experiments.patience import simulate, simulate_waiting, waits_matter
from lagc_jax.experiments.rows import differ, draw_rows, filled, reordered
from lagc_jax.experiments.search import Found
from lagc_jax.schemes.base import Scheme

COLUMNS = [
    *("scheme", "num_groups", "redundancy", "trigger", "server", "xi", "step_size", "iterations"),
    *("time", "time_low", "time_high", "exact", "statistic", "run_low", "run_high", "drifts"),
    *("communication", "uploads", "computation", "bits", "cost", "pareto"),
    *("assignment", "timeout", "simulated"),
]
ORDERED, SIMULATED = 3, 6  # first candidates that are put in order, and simulated at the most


def prices_of(
    time: float, message: float, gradient: float, upload: float, bit: float
) -> dict[str, float]:
    """Prices by the column that they are of."""
    names = ("price_time", "price_message", "price_gradient", "price_upload", "price_bit")
    given = dict(zip(names, (time, message, gradient, upload, bit), strict=True))
    for name, value in given.items():
        not_negative(name, value)
        scalar(name, value)
    if not any(given.values()):
        raise ValueError(f"all prices are zero ({given}); give at least one > 0")
    return dict(zip((*COSTS, "uploads", "bits"), map(float, given.values()), strict=True))


class Priced(NamedTuple):
    """Prices of the costs, by column."""

    prices: Mapping[str, float]

    def cost(self, table: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        """What candidates cost, (N,), if they take these times."""
        known = {"time": times} | {
            name: table[name].to_numpy(float) for name in ("communication", "computation", "bits")
        }
        known["uploads"] = uploads_of(table)
        total = sum(weight * known[name] for name, weight in self.prices.items() if weight)
        return np.where(table["reached"] > 0, np.asarray(total, float), np.inf)


class Candidate(NamedTuple):
    """A row of the table before it is one.

    Attributes:
        scheme: of it.
        uploads: (K, G) its path to the hit.
        order: (M,) workers by place.
        cluster: in that order.
        apart: whether every realisation has a path of its own.
    """

    scheme: Scheme
    uploads: np.ndarray
    order: np.ndarray
    cluster: Cluster | None
    apart: bool = False


class Ranked(NamedTuple):
    """Candidates by rising cost, and what is known of the first.

    Attributes:
        table: with the columns of `Design`.
        scheme, cluster, order: of the first.
        uploads: (K, G) bool, its path.
        times: as `Times`, of all rows.
        held_out: halves of a trace, None without whole rows.
        retimed: see `Design`.
    """

    table: pd.DataFrame
    scheme: Scheme
    cluster: Cluster | None
    order: np.ndarray
    uploads: np.ndarray
    times: Times
    held_out: HeldOut | None
    retimed: Callable[[TimeSource], np.ndarray]


def rank(job: Any, experiment: Experiment, found: Found) -> Ranked:
    """Measure, improve and order candidates; of a `_Job` of the advice."""
    M, delays = job.num_workers, job.drawn.delays
    (problem,) = experiment.problems.values()
    d = problem.num_parameters
    meter = meter_of(job.drawn, job.cluster, M, job.key, job.num_realisations, d)
    priced = Priced(job.prices)
    times = meter.fine(found.table, found.walks)
    _check_answers(times, found.table)
    given = np.arange(M)
    candidates = [
        Candidate(scheme, uploads, given, job.cluster) for scheme, uploads in _by_row(found)
    ]
    table = _columns(found.table, times, priced).assign(assignment=AS_GIVEN)
    if differ(delays, job.cluster, M):
        table, times, candidates = _in_order(
            job, experiment, meter, priced, (table, times, candidates)
        )
    waits = waits_matter(delays, job.cluster)
    if waits:
        table, candidates = simulate_waiting(job, experiment, priced, table, candidates, SIMULATED)
    apart = contest(job, experiment, priced, table, times.statistic)
    table, times, candidates = _with(apart, table, times, candidates)
    table, order = _sorted(table, candidates, waits)
    times = _taken(times, order)
    candidates = [candidates[i] for i in order]
    best = candidates[0]
    held_out = None
    if waits:  # what was simulated is not what the rows alone would bring
        times = times._replace(series=None, samples=None)
    if times.series is not None:
        rows = cast(RowMeter, meter).rows
        held_out = check_halves(table, times.series, rows, priced.cost)
    return Ranked(
        table[COLUMNS],
        best.scheme,
        best.cluster,
        best.order,
        best.uploads,
        times,
        held_out,
        _Retimed(job, experiment, table, candidates),
    )


def _with(
    apart: list[Apart], table: pd.DataFrame, times: Times, candidates: list[Candidate]
) -> tuple[pd.DataFrame, Times, list[Candidate]]:
    """Candidates and those with paths of their own, of which nothing is known row by row."""
    if not apart:
        return table, times, candidates
    more = pd.concat([one.row for one in apart], ignore_index=True)
    moments = more[["time", "time_low", "time_high", "run_low", "run_high"]].to_numpy(float)

    def unknown(known: np.ndarray | None) -> np.ndarray | None:
        return None if known is None else np.full((len(more), known.shape[1]), np.nan)

    rest = Times(
        *moments.T[:3],
        run=moments[:, 3:],
        drifts=np.zeros(len(more), bool),
        series=unknown(times.series),
        samples=unknown(times.samples),
    )
    times = _joined(times, rest)
    paths = [
        np.ones((math.ceil(number) if np.isfinite(number) else 0, one.scheme.num_groups), bool)
        for one, number in zip(apart, more["iterations"], strict=True)
    ]
    given = np.arange(apart[0].scheme.num_workers)
    added = [
        Candidate(one.scheme, uploads, given, one.cluster, apart=True)
        for one, uploads in zip(apart, paths, strict=True)
    ]
    return pd.concat([table, more], ignore_index=True), times, [*candidates, *added]


def _sorted(
    table: pd.DataFrame, candidates: Sequence[Candidate], waits: bool
) -> tuple[pd.DataFrame, np.ndarray]:
    """The table by rising cost, what was simulated first, and the order of its rows.

    What was simulated apart counts with the error of its realisations: it comes first only where it
    is better beyond that.
    """
    lazy = np.array([bool(np.any(np.asarray(c.scheme.xi) > 0)) for c in candidates])
    adaptive = lazy & (table["trigger"] != "always").to_numpy(bool)
    table = table.assign(
        pareto=_on_frontier(table[list(COSTS)].to_numpy(float)),
        xi=table["xi"].where(adaptive),
        trigger=table["trigger"].where(adaptive, "always"),
        doubtful=table["cost"] + table["doubt"].fillna(0),
    )
    table = table.sort_values(["doubtful", *COSTS], kind="stable")
    if waits:  # only what was simulated can be chosen
        first = (table["simulated"].to_numpy(bool)).argmax()
        places = np.arange(len(table))
        table = table.iloc[np.r_[first, places[places != first]]]
    return table.reset_index(drop=True), table.index.to_numpy()


class _Retimed(NamedTuple):
    """Mean times of candidates under other times of the same workers."""

    job: Any
    experiment: Experiment
    table: pd.DataFrame
    candidates: Sequence[Candidate]

    def __call__(self, delays: TimeSource) -> np.ndarray:
        M = self.job.num_workers
        delays.check(M)
        whole = isinstance(delays, Trace) and delays.num_columns == M
        drawn = self.job.drawn._replace(delays=delays, whole_rows=whole)
        (problem,) = self.experiment.problems.values()
        sizes = self.job.key, self.job.num_realisations, problem.num_parameters
        meter = meter_of(drawn, self.job.cluster, M, *sizes)
        found = np.full(len(self.table), np.inf)
        orders: dict[tuple, list[int]] = {}
        for i, one in enumerate(self.candidates):
            if one.apart:
                found[i] = self._run(i, delays)
            elif self.table.iloc[i]["simulated"]:
                job, priced = replace(self.job, drawn=drawn), Priced(self.job.prices)
                row, _ = simulate(job, self.experiment, priced, self.table.iloc[[i]], one)
                found[i] = float(row["time"].iloc[0])
            else:
                orders.setdefault(tuple(one.order.tolist()), []).append(i)
        for order, rows in orders.items():
            walks = [
                Walk(self.candidates[i].uploads, {place: self.candidates[i].scheme})
                for place, i in enumerate(rows)
            ]
            moved = meter.reordered(np.array(order))
            found[rows] = moved.fine(self.table.iloc[rows], walks).mean
        return found

    def _run(self, i: int, delays: TimeSource) -> float:
        """Of one with paths of its own, whose iterations are others then, too."""
        row = self.table.iloc[i]
        if not np.isfinite(row["time"]):
            return math.inf
        one = Outsider(row["scheme"], self.candidates[i].scheme, (float(row["step_size"]),))
        priced = Priced(self.job.prices)
        again = measure(self.job, self.experiment, priced, one, delays, row["statistic"])
        return float(again.row["time"].iloc[0])


def _by_row(found: Found) -> list[tuple[Scheme, np.ndarray]]:
    """Schemes and paths in the order of the table."""
    by_row = {
        row: (scheme, walk.uploads) for walk in found.walks for row, scheme in walk.schemes.items()
    }
    return [by_row[row] for row in range(len(found.table))]


def _check_answers(times: Times, table: pd.DataFrame) -> None:
    if not np.isfinite(times.mean).any():
        raise ValueError(
            "delays has workers that never answer and every candidate waits for them in more than "
            "half of the realisations; give fewer failures, more storage, or a cluster with a "
            "timeout"
        )


def _columns(table: pd.DataFrame, times: Times, priced: Priced) -> pd.DataFrame:
    """A table of candidates with their times and costs."""
    drifts = False if times.drifts is None else times.drifts
    return table.assign(
        time=times.mean,
        time_low=times.low,
        time_high=times.high,
        run_low=times.run[:, 0],
        run_high=times.run[:, 1],
        exact=times.exact,
        statistic=times.statistic,
        drifts=drifts,
        uploads=uploads_of(table),
        cost=priced.cost(table, times.mean),
        timeout=np.nan,
        simulated=False,
        server="",
        doubt=0.0,
    )


def _in_order(
    job: Any, experiment: Experiment, meter: Meter, priced: Priced, known: tuple
) -> tuple[pd.DataFrame, Times, list[Candidate]]:
    """Candidates, and those of the first with several groups whose workers have better places."""
    table, times, candidates = known
    rows = filled(draw_rows(job.drawn.delays, job.key, job.num_workers))
    more, seen = [], set()
    for i in table.sort_values("cost", kind="stable").index:
        one = candidates[i]
        size = one.scheme.num_groups, one.scheme.redundancy
        several = size[0] > 1 and (size[0] < job.num_workers or one.scheme.adaptive)
        if len(seen) == ORDERED or not np.isfinite(table.loc[i, "cost"]):
            break
        if several and size not in seen:
            seen.add(size)
            (problem,) = experiment.problems.values()
            cluster = sized(one.scheme, one.cluster, problem.num_parameters)
            placed = assign(one.scheme, cluster, one.uploads, rows, np.random.default_rng(0))
            if placed.name != AS_GIVEN:
                more.append((i, placed))
    for i, (name, order, optimism) in more:
        one = candidates[i]
        cluster = reordered(job.cluster, order)
        row, found = _moved(experiment, meter, table.loc[[i]], one, order, cluster)
        # Further rows take longer than those that the order was made for.
        if not found.exact:
            found = found._replace(high=found.high + optimism * found.mean)
        table = pd.concat([table, _columns(row, found, priced).assign(assignment=name)])
        times = _joined(times, found)
        candidates = [*candidates, one._replace(order=order, cluster=cluster)]
    return table.reset_index(drop=True), times, candidates


def _moved(
    experiment: Experiment,
    meter: Meter,
    row: pd.DataFrame,
    one: Candidate,
    order: np.ndarray,
    cluster: Cluster | None,
) -> tuple[pd.DataFrame, Times]:
    """The row and times of a candidate whose workers stand in another order."""
    if meter.exact:
        (delays,) = experiment.delays.values()
        same = Vary(Same(one.scheme), step_size=row["step_size"].tolist())
        clusters = None if cluster is None else {"cluster": cluster}
        moved = replace(
            experiment,
            schemes={"moved": same},
            delays={"delays": reordered(delays, order)},
            clusters=clusters,
        )
        found = follow(moved)[0]
        row = row.assign(time_expected=found["time_expected"].to_numpy())
    return row, meter.reordered(order).fine(row, [Walk(one.uploads, {0: one.scheme})])


def _joined(times: Times, more: Times) -> Times:
    """Times of rows and of more rows."""

    def join(one: Any, other: Any) -> Any:
        return np.concatenate([one, other]) if isinstance(one, np.ndarray) else one

    return Times(*map(join, times, more))


def _taken(times: Times, order: np.ndarray) -> Times:
    """Times of some rows."""

    def pick(each: Any) -> Any:
        return each[order] if isinstance(each, np.ndarray) else each

    return Times(*map(pick, times))


def _on_frontier(costs: np.ndarray) -> np.ndarray:
    """Mark the rows (N, 3) on the Pareto frontier; those with an infinite cost are not."""
    order = np.lexsort(costs.T[::-1])
    order = order[np.isfinite(costs[order]).all(1)]
    marked = np.zeros(len(costs), bool)
    marked[order] = not_dominated(costs[order])
    return marked
