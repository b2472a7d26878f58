"""Which scheme to use: candidates priced by what they cost, and what can be said of the cheapest.

Times are exact means where they are known, means over the rows of a trace, and realisations in
common elsewhere.
"""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._checks import (
    as_leaf,
    not_negative,
    one_axis,
    positive,
    positive_number,
    whole_number,
)
from lagc_jax._tables import COSTS
from lagc_jax.cluster import Cluster
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.contract import as_source
from lagc_jax.delays.traces import Trace
from lagc_jax.experiments.assignment import AS_GIVEN, groups_of
from lagc_jax.experiments.candidates import Family, Own, Same, as_families, families, own_schemes
from lagc_jax.experiments.common import Progress, follow
from lagc_jax.experiments.experiment import Experiment, Vary
from lagc_jax.experiments.meters import meter_of
from lagc_jax.experiments.ranking import Priced, Ranked, prices_of, rank
from lagc_jax.experiments.reasons import (
    edges,
    explain,
    held_out_sentence,
    on_other_problems,
    tail_indices,
)
from lagc_jax.experiments.rows import Drawn, as_drawn, differ, draw_rows
from lagc_jax.experiments.search import (
    ROUGH,
    STEP_RANGE,
    XI_RANGE,
    Effort,
    Found,
    effort_of,
    search,
)
from lagc_jax.experiments.tasks import enough_iterations, problems_of, start_gap
from lagc_jax.problems.base import Problem
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import gd
from lagc_jax.targets import Gap

SHOWN = ("scheme", "num_groups", "redundancy", "trigger", "xi", "step_size", "iterations")
COMPARED = 3.0  # candidates that cost so many times the best are not tried on other problems


class Design(NamedTuple):
    """Candidates by rising cost, and why the first is first.

    Attributes:
        table: a row a candidate, the cheapest first (what was simulated counts with its error).
            Columns: `scheme`, `num_groups`, `redundancy`, `trigger`, `server` (constants of one
            that takes no exact gradient), `xi` (NaN without adaptive selection), `step_size` (in
            units of 1/L), `iterations`; `time`, its interval of 90 % `time_low` to `time_high`
            (equal to `time` where it is exact; of a trace, where the mean of a further stretch as
            long lies, its own uncertainty included), `exact`, `statistic` ("mean", or "median"
            where every mean is infinite), quantiles of one run's time `run_low` and `run_high` (5
            and 95 %), `drifts` (whether a trace rises or falls); `communication`, `uploads`,
            `computation`, `bits`, `cost`, `pareto` (whether no candidate beats it in time,
            communication and computation at once), `assignment` (of workers to places), `timeout`
            (NaN without one), `simulated` (whether every realisation had a path of its own, as a
            timeout, a code that is not exact or a server that does not wait makes it). `inf` where
            the accuracy is not reached.
        reason: in words, from these numbers.
        scheme: the first candidate.
        step_size: its step size `alpha`.
        num_iterations: that it needs, in the mean where they depend on the times: a run of its
            own should have some more.
        accuracy: gap that it reaches.
        cluster: for it, with a timeout that was chosen where the trace has missing entries, in the
            order of its places.
        assignment: (M,) place `p` is taken by worker `assignment[p]`, both from 0; groups are
            consecutive places. `rows.reordered(delays, assignment)` are the times in that order.
        held_out: of a trace, what the first half promises and the second half keeps.
        problems: without a problem, the cost of the best candidate of each scheme on several,
            relative to the cheapest, by the times that the search compares, of workers in the
            order given; None otherwise.
        retimed: function from another trace of the same workers to mean times (N,) of the rows.
    """

    table: pd.DataFrame
    reason: str
    scheme: Scheme
    step_size: float
    num_iterations: int
    accuracy: float
    cluster: Cluster | None
    assignment: np.ndarray
    held_out: Any
    problems: pd.DataFrame | None
    retimed: Callable[[TimeSource], np.ndarray]

    def __repr__(self) -> str:
        return f"{self.reason}\n\n{self._head.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.reason)}</p>{self._head.to_html(index=False)}"

    @property
    def _head(self) -> pd.DataFrame:
        """The first candidates, and what most readers ask for."""
        return self.table[[*SHOWN, *COSTS, "cost"]].head(10)

    @property
    def frontier(self) -> pd.DataFrame:
        """Candidates on the Pareto frontier, by rising time."""
        return self.table[self.table["pareto"]].sort_values(list(COSTS))


@dataclass(frozen=True)
class _Job:
    """What is asked for, checked."""

    num_workers: int
    drawn: Drawn
    cluster: Cluster | None
    storage: int
    families: list[Family]
    own: list[Own]
    problem_given: bool
    problem_known: bool
    prices: Mapping[str, float]
    given: tuple[Sequence[float] | None, Sequence[float] | None]
    accuracy: float
    num_realisations: int
    key: Array
    progress: Progress


def design(
    num_workers: int,
    delays: TimeSource,
    *,
    storage: int | None = None,
    problem: Problem | ArrayLike | None = None,
    accuracy: float = 1e-8,
    price_time: float = 1.0,
    price_message: float = 0.0,
    price_gradient: float = 0.0,
    price_upload: float = 0.0,
    price_bit: float = 0.0,
    cluster: Cluster | None = None,
    schemes: Mapping[str, Any] | None = None,
    xi: Sequence[float] | None = None,
    step_sizes: Sequence[float] | None = None,
    memory: int = 10,
    resample: str | None = None,
    num_iterations: int | None = None,
    num_realisations: int = 200,
    key: Array | None = None,
    progress: Progress = iter,
) -> Design:
    """Rank all schemes that fit the storage by what it costs to reach an accuracy.

    Candidates have every number of groups that divides `M`, redundancies up to `storage`
    (partitions that a worker can store, `M` by default), no adaptive selection, the server's or the
    workers' trigger (LAQ too if bits have a price; LASG, CADA and G-CADA too on minibatches), and
    the user's own `schemes` by name, of any kind. On a problem that is given (not its constants
    alone) codes that are not exact and, where workers can store all of it, servers that do not wait
    are simulated where a bound says that they may be the cheapest. `xi` and step sizes (in units of
    1/L) are searched until a change saves less than 1 %, or as given. A trace is drawn in blocks
    whose length comes from its data unless it or `resample` says otherwise; where workers differ,
    the order in which they take their places is searched. Missing entries are waited for until the
    cluster's timeout, or one that is chosen. Where a timeout matters the first candidates are
    simulated with paths of their own. Prices are of a unit of time, a message, a partition
    gradient, a message to the server and a bit of it. A problem has `M` partitions or is given by
    their constants (M,). Paths have thrice descent's iterations by default. `progress`: as `tqdm`.

    Raises:
        ValueError: for delays that are no source of times, prices that are negative or all zero, a
            storage below 1, an accuracy that no candidate reaches or the start has, sizes that do
            not fit, or workers whose failures no candidate survives.

    >>> from lagc_jax import Exponential
    >>> advice = design(3, Exponential(1.0), accuracy=1e-4, xi=[1.0], step_sizes=[1.0])
    >>> advice.table["cost"].is_monotonic_increasing, advice.scheme.num_workers
    (True, 3)
    """
    M = whole_number("num_workers", num_workers)
    prices = prices_of(price_time, price_message, price_gradient, price_upload, price_bit)
    lists = _check_search(xi, step_sizes, memory, accuracy, progress)
    R = whole_number("num_realisations", num_realisations, 2)
    K = None if num_iterations is None else whole_number("num_iterations", num_iterations)
    drawn, r = _check_times(delays, cluster, M, resample), _check_storage(storage, M)
    key = _keys.one_key(_keys.make_key(0) if key is None else key)
    own, problems = own_schemes(M, schemes, cluster), problems_of(problem, M, key)
    found = families(M, r, memory, price_bit > 0, next(iter(problems.values()))) + as_families(own)
    asked = problem is not None, hasattr(problem, "num_partitions"), prices, lists, accuracy
    return _advise(_Job(M, drawn, cluster, r, found, own, *asked, R, key, progress), problems, K)


def _check_storage(storage: int | None, num_workers: int) -> int:
    if storage is None:
        return num_workers
    size = whole_number("storage", storage, minimum=-(2**62))
    if size < 1:
        raise ValueError(f"storage={size} fits no scheme, every worker stores a partition; give 1")
    return min(size, num_workers)


def _check_times(
    delays: TimeSource, cluster: Cluster | None, num_workers: int, resample: str | None
) -> Drawn:
    delays = as_source(delays)
    if cluster is not None:
        if not isinstance(cluster, Cluster):
            raise ValueError(f"cluster={cluster!r} is no Cluster; give one, or None")
        if cluster.independent:
            raise ValueError(
                "cluster.independent=True draws a time a partition, of which a trace has one; give "
                "independent=False here, or compare schemes with lagc_jax.run"
            )
        cluster.check(num_workers)
    drawn = as_drawn(delays, num_workers, resample)
    drawn.delays.check(num_workers)
    return drawn


def _check_search(
    xi: Sequence[float] | None,
    step_sizes: Sequence[float] | None,
    memory: int,
    accuracy: float,
    progress: Any,
) -> tuple[list[float] | None, list[float] | None]:
    """The lists of weights and steps that are given, after a check of all."""
    if not callable(progress):
        raise ValueError(f"progress={progress!r} is no function; give one as tqdm.tqdm")
    whole_number("memory", memory)
    for name, values in (("xi", xi), ("step_sizes", step_sizes)):
        if values is not None:
            one_axis(name, values, 1)
    if xi is not None:
        not_negative("xi", xi)
    if step_sizes is not None:
        positive("step_sizes", step_sizes)
    positive_number("accuracy", accuracy)
    weights, steps = (
        None if each is None else np.ravel(as_leaf(each)).tolist() for each in (xi, step_sizes)
    )
    return weights, steps


def _advise(job: _Job, problems: Mapping[str, Problem], num_iterations: int | None) -> Design:
    """Search on every problem, and conclude from the first."""
    for problem in problems.values():
        start_gap(problem, job.accuracy)
    K = num_iterations
    if K is None:
        K = max(enough_iterations(problem, job.accuracy) for problem in problems.values())
    (name, problem), *others = problems.items()
    # How long paths are is known where K is made from it.
    effort = effort_of(job.num_workers, K if num_iterations is None else 0)
    experiment, found = _search(job, problem, K, effort)
    tables = {name: found.table}
    near = found.table[found.table["cost"] <= COMPARED * found.table["cost"].min()]
    sizes = set(zip(near["scheme"], near["num_groups"], strict=True))
    rivals = [f for f in job.families if any((each, f.num_groups) in sizes for each in f.names)]
    for each, one in others:
        tables[each] = _search(replace(job, families=rivals), one, K, ROUGH)[1].table
    ranked = rank(job, experiment, found)
    compared = _by_problem(tables)
    best = ranked.table.iloc[0]
    told = _told(job, ranked, name, None if job.problem_given else compared)
    if None in job.given and effort is ROUGH:
        told.append(
            f"Paths have up to {K} iterations, so of the weights and steps that are not given only "
            f"{ROUGH.xi} and {ROUGH.steps} were tried."
        )
    return Design(
        table=ranked.table,
        reason=" ".join(told),
        scheme=ranked.scheme,
        step_size=float(best["step_size"]) / float(problem.total_smoothness),
        num_iterations=math.ceil(best["iterations"]),
        accuracy=float(job.accuracy),
        cluster=ranked.cluster,
        assignment=ranked.order,
        held_out=ranked.held_out,
        problems=None if job.problem_given else compared,
        retimed=ranked.retimed,
    )


def _told(job: _Job, ranked: Ranked, name: str, compared: pd.DataFrame | None) -> list[str]:
    """The reason, sentence by sentence."""
    best, times = ranked.table.iloc[0], ranked.times
    paired, unit = times.samples, "paired realisations"
    if times.series is not None:
        paired, unit = times.series, "rows of the trace"
    row = best.copy()
    row["num_workers"] = job.num_workers
    table = ranked.table.assign(num_workers=job.num_workers)
    indices = tail_indices(job.drawn.delays, job.num_workers)
    told = explain(table, ranked.scheme, ranked.uploads, indices, job.prices, paired, unit)
    if best["assignment"] != AS_GIVEN:
        groups = groups_of(ranked.order, ranked.scheme.num_groups)
        told.append(f"Workers, counted from 0, in its groups ({best['assignment']}): {groups}.")
    if not math.isnan(best["timeout"]):
        told.append(f"The server waits for a group until the timeout {best['timeout']:.4g}.")
    told += edges(row, job.storage, job.given, (XI_RANGE, STEP_RANGE))
    told += [job.drawn.note] if job.drawn.note else []
    if best["drifts"]:
        told.append(
            "The trace seems to drift: its times rise or fall, and the interval follows them."
        )
    if ranked.held_out is not None:
        told.append(held_out_sentence(ranked.held_out))
    if compared is not None:
        told += on_other_problems(compared, name, best["scheme"])
    return told


def _search(
    job: _Job, problem: Problem, num_iterations: int, effort: Effort
) -> tuple[Experiment, Found]:
    """Candidates on one problem."""
    experiment = Experiment(
        problems={"problem": problem},
        schemes={"GD": gd(problem.num_partitions)},
        delays={"delays": job.drawn.delays},
        num_iterations=num_iterations,
        num_realisations=0,
        target=Gap(np.array([job.accuracy])),
        quantiles=(),
        sampler="workers",
        key=job.key,
    )
    sizes = job.cluster, job.num_workers, job.key
    d = problem.num_parameters
    meter = meter_of(job.drawn, *sizes, job.num_realisations, d)
    clusters = None if job.cluster is None or not meter.exact else {"cluster": job.cluster}
    known = replace(experiment, clusters=clusters)
    inner = known
    if meter.exact and differ(job.drawn.delays, job.cluster, job.num_workers):
        # Exact means cost an integral for every set of groups: draws serve for comparing.
        rows = draw_rows(job.drawn.delays, job.key, job.num_workers)
        stand = job.drawn._replace(delays=Trace(rows, "blocks"), whole_rows=True)
        meter = meter_of(stand, *sizes, 2, d)
        inner = replace(experiment, delays={"delays": stand.delays})
    pricing = Priced(job.prices).cost
    found = search(job.families, inner, meter, pricing, job.given, job.progress, effort)
    if inner is not known:
        found = _exactly(known, found)
    if not found.table["reached"].any():
        raise ValueError(
            f"accuracy={job.accuracy} is reached by no candidate within num_iterations="
            f"{num_iterations}; give more, or smaller step_sizes and xi"
        )
    return known, found


def _exactly(experiment: Experiment, found: Found) -> Found:
    """Candidates with their exact means."""
    order = {row: scheme for walk in found.walks for row, scheme in walk.schemes.items()}
    steps = found.table["step_size"]
    again = {
        f"{row}": Vary(Same(order[row]), step_size=[float(steps[row])]) for row in sorted(order)
    }
    table, _ = follow(replace(experiment, schemes=again))
    return found._replace(table=found.table.assign(time_expected=table["time_expected"]))


def _by_problem(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Cost of the cheapest candidate of every scheme on each problem, relative to the cheapest."""
    columns = {name: table.groupby("scheme")["cost"].min() for name, table in tables.items()}
    # A cost of nothing, as where no time passes, is the cheapest's.
    shares = {name: (cost / cost.min()).mask(cost == 0, 1.0) for name, cost in columns.items()}
    frame = pd.DataFrame(shares)
    return frame.dropna().sort_values(list(frame.columns))
