"""Which scheme to use: an experiment over schemes and parameters, priced by what they cost.

Times are exact means where the experiment knows them, and realisations in common elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._checks import not_negative, one_axis, positive, whole_number
from lagc_jax._tables import COSTS, not_dominated
from lagc_jax.clock import clock_of
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.contract import as_source
from lagc_jax.doors import check_fit
from lagc_jax.experiments.common import Progress, run_common
from lagc_jax.experiments.experiment import Experiment, Vary
from lagc_jax.experiments.moments import knows_moments
from lagc_jax.experiments.paper import default_iterations
from lagc_jax.experiments.reasons import explain, tail_indices
from lagc_jax.experiments.runner import run
from lagc_jax.problems.base import Problem
from lagc_jax.problems.linear import smooth_regression, synthetic_linear_regression
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import gd
from lagc_jax.summary import sample_quantiles
from lagc_jax.targets import Gap

ADAPTIVE = ("LAG", "G-LAG", "LAGC")
PAPER_GROWTH, PAPER_WORKERS = 1.3, 12
PROBLEM = np.uint32(2**32 - 1)  # folded into the key for the problem; realisations count from 0
COLUMNS = [
    *("scheme", "num_groups", "redundancy", "xi", "step_size", "iterations"),
    *("time", "time_low", "time_high", "exact", "statistic"),
    *("communication", "computation", "cost", "pareto"),
]


class Design(NamedTuple):
    """Candidates by rising cost, and why the first is first.

    Attributes:
        table: a row a candidate, the cheapest first. Columns: `scheme`, `num_groups`, `redundancy`,
            `xi` (NaN without adaptive selection), `step_size` (in units of 1/L), `iterations`,
            `time`, `time_low` and `time_high` (95 % confidence of the realisations, a trace taken
            as the truth; equal to `time` where it is exact), `exact`, `statistic` ("mean", or
            "median" where every mean is infinite), `communication`, `computation`, `cost`,
            `pareto` (whether no candidate beats it in time, communication and computation at
            once). `inf` where the accuracy is not reached.
        reason: in words, from these numbers.
        scheme: the first candidate.
        step_size: its step size `alpha`.
        num_iterations: the iterations that it needs.
        accuracy: gap that it reaches.
    """

    table: pd.DataFrame
    reason: str
    scheme: Scheme
    step_size: float
    num_iterations: int
    accuracy: float

    @property
    def frontier(self) -> pd.DataFrame:
        """Candidates on the Pareto frontier, by rising time."""
        return self.table[self.table["pareto"]].sort_values(list(COSTS))


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
    xi: Sequence[float] = (0.03, 0.1, 0.3, 1.0),
    step_sizes: Sequence[float] = (0.5, 1.0, 1.5),
    memory: int = 10,
    num_iterations: int | None = None,
    num_realisations: int = 200,
    key: Array | None = None,
    progress: Progress = iter,
) -> Design:
    """Rank all schemes that fit the storage by what it costs to reach an accuracy.

    Candidates have every number of groups that divides `M`, every redundancy up to `storage`
    (partitions that a worker can store, `M` by default), no adaptive selection or the server
    trigger with every `xi` and memory `D`, and every step size in units of 1/L. Their times are
    exact means where `run` knows them, and means of `num_realisations` elsewhere, drawn with
    `fold_in(key, i)` as in `simulate_batch`; medians, as the table and the reason say, if every
    mean is infinite. The problem has `M` partitions or is given by their smoothness constants (M,)
    and made like LAG's in section 4; by default its `L_m` spread as over the paper's 12 workers.
    Prices are of a unit of time, a message and a partition gradient. Paths have twice the
    iterations that suffice without adaptive selection, unless they are given. `progress` wraps
    sequences that take a while, as `tqdm.tqdm` does.

    Raises:
        ValueError: for delays that are no source of times, prices that are negative or all zero, a
            storage below 1, an accuracy not below the gap at the start or not reached by any
            candidate, sizes that do not fit, or workers whose failures no candidate survives.

    >>> from lagc_jax import Exponential
    >>> advice = design(4, Exponential(1.0), accuracy=1e-4, xi=[1.0], step_sizes=[1.0])
    >>> advice.table["cost"].is_monotonic_increasing, advice.scheme.num_workers
    (True, 4)
    """
    M = whole_number("num_workers", num_workers)
    largest = min(M if storage is None else _check_storage(storage), M)
    prices = _check_prices(price_time, price_message, price_gradient)
    _check_search(xi, step_sizes, memory, accuracy, num_realisations)
    delays = as_source(delays)
    delays.check(M)
    key = _keys.make_key(0) if key is None else _keys.one_key(key)
    problem = _make_problem(problem, M, _keys.fold_in(key, PROBLEM))
    experiment = _experiment(problem, delays, accuracy, step_sizes, num_iterations, key)
    groups = [_candidates(M, G, largest, xi, memory) for G in range(1, M + 1) if M % G == 0]
    parts = [replace(experiment, schemes=schemes) for schemes in groups]
    exact = knows_moments(clock_of(gd(M), delays))
    table, samples = _measure(parts, exact, num_realisations, progress)
    return _rank(table, samples, experiment, prices, memory)


def _check_storage(storage: int) -> int:
    size = whole_number("storage", storage, minimum=-(2**62))
    if size < 1:
        raise ValueError(f"storage={size} fits no scheme, every worker stores a partition; give 1")
    return size


def _check_prices(time: float, message: float, gradient: float) -> dict[str, float]:
    """Prices by the column that they are of."""
    prices = dict(price_time=time, price_message=message, price_gradient=gradient)
    for name, value in prices.items():
        not_negative(name, value)
    if not any(prices.values()):
        raise ValueError(f"all prices are zero ({prices}); give at least one > 0")
    return dict(zip(COSTS, (float(value) for value in prices.values()), strict=True))


def _check_search(
    xi: Sequence[float],
    step_sizes: Sequence[float],
    memory: int,
    accuracy: float,
    num_realisations: int,
) -> None:
    whole_number("num_realisations", num_realisations, 2)
    whole_number("memory", memory)
    for name, values in (("xi", xi), ("step_sizes", step_sizes)):
        one_axis(name, values, 1)
    not_negative("xi", xi)
    positive("step_sizes", step_sizes)
    positive("accuracy", accuracy)


def _make_problem(problem: Problem | ArrayLike | None, num_workers: int, key: Array) -> Problem:
    M = num_workers
    if problem is None:
        growth = PAPER_GROWTH ** ((PAPER_WORKERS - 1) / max(M - 1, 1))
        return synthetic_linear_regression(key, M, max(50, M), growth)
    given = hasattr(problem, "num_partitions")
    known = cast(Problem, problem) if given else smooth_regression(key, cast(ArrayLike, problem))
    check_fit(known, gd(M))
    return known


def _experiment(
    problem: Problem,
    delays: TimeSource,
    accuracy: float,
    step_sizes: Sequence[float],
    num_iterations: int | None,
    key: Array,
) -> Experiment:
    """What all candidates share; raise ValueError for an accuracy that the start has."""
    start = float(jax.jit(problem.gap)(jnp.zeros_like(problem.minimizer)))
    if not accuracy < start:
        raise ValueError(
            f"accuracy={accuracy} is not below the gap at the start, {start:.6g}; give a smaller "
            f"one"
        )
    if num_iterations is None:
        if not float(problem.strong_convexity) > 0:
            raise ValueError("num_iterations is needed: the problem's strong convexity is unknown")
        smallest = min(step_sizes) / float(problem.total_smoothness)
        num_iterations = default_iterations(problem, start, accuracy, smallest)
    return Experiment(
        problems={"problem": problem},
        schemes={"GD": gd(problem.num_partitions)},
        delays={"delays": delays},
        num_iterations=num_iterations,
        num_realisations=0,
        target=Gap(np.array([accuracy])),
        step_sizes=step_sizes,
        quantiles=(),
        sampler="workers",
        key=key,
    )


def _candidates(
    num_workers: int, num_groups: int, storage: int, xi: Sequence[float], memory: int
) -> dict[str, Vary]:
    """Schemes with a number of groups by name; all without selection and redundancy are one GD.

    A trigger of weight zero leaves no group out before the path stands still: schemes without
    selection have it here, so that all paths of a number of groups share a program.
    """
    n, found = num_workers // num_groups, {}
    for adaptive in (False, True):
        least = 1 if adaptive or n == 1 else 2
        for r in range(least, min(storage, n) + 1):
            found.setdefault((_name(num_groups, n, r, adaptive), adaptive), []).append(r)
    sizes = dict(num_workers=num_workers, num_groups=num_groups, memory=memory, trigger="server")
    return {
        name: Vary(Scheme, **sizes, redundancy=fitting, xi=xi if adaptive else 0.0)
        for (name, adaptive), fitting in found.items()
    }


def _name(groups: int, size: int, redundancy: int, adaptive: bool) -> str:
    """The paper's name of a point of the family of schemes."""
    if adaptive:
        return "LAG" if size == 1 else "G-LAG" if redundancy == size else "LAGC"
    if redundancy == 1:
        return "GD"
    return "grouping" if redundancy == size and groups > 1 else "GC"


def _measure(
    parts: Sequence[Experiment], exact: bool, num_realisations: int, progress: Progress
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """All candidates with columns of their times, and realisations (N, R) where these are drawn.

    Where times are exact and infinite under all, their medians are those of realisations.
    """
    if exact:
        table = pd.concat(
            [run(part, progress=False) for part in progress(parts)], ignore_index=True
        )
        time = table["time_expected"]
        _check_reached(table, parts[0])
        if np.isfinite(time).any():
            columns = dict(time=time, time_low=time, time_high=time, exact=True, statistic="mean")
            return table.assign(**columns), None
    table, samples = run_common(parts, num_realisations, progress)
    _check_reached(table, parts[0])
    statistic, times = "mean", _means(table, samples, *parts[0].delays.values())
    if not np.isfinite(times[0]).any():
        statistic, times = "median", _medians(samples)
    if not np.isfinite(times[0]).any():
        raise ValueError(
            "delays has workers that never answer and every candidate waits for them in more than "
            "half of the realisations; give fewer failures or more storage"
        )
    columns = dict(zip(("time", "time_low", "time_high"), times, strict=True))
    return table.assign(**columns, exact=False, statistic=statistic), samples


def _check_reached(table: pd.DataFrame, part: Experiment) -> None:
    if not table["reached"].any():
        accuracy = table["accuracy"].iloc[0]
        raise ValueError(
            f"accuracy={accuracy} is reached by no candidate within num_iterations="
            f"{part.num_iterations}; give more, or smaller step_sizes and xi"
        )


def _means(table: pd.DataFrame, samples: np.ndarray, delays: TimeSource) -> tuple[np.ndarray, ...]:
    """Means and 95 % bounds (N,), infinite where the source is known to have no other."""
    index = tail_indices(delays, int(table["num_workers"].iloc[0]))
    sizes = zip(table["num_groups"], table["redundancy"], strict=True)
    decay = [np.sort(index.reshape(G, -1), axis=-1)[:, :r].sum(-1).min() for G, r in sizes]
    infinite = ~np.isfinite(samples).all(-1) | (np.array(decay) <= 1)
    known = np.where(infinite[:, None], 0, samples)
    mean, margin = known.mean(-1), 1.96 * known.std(-1, ddof=1) / math.sqrt(samples.shape[1])
    return tuple(np.where(infinite, np.inf, x) for x in (mean, mean - margin, mean + margin))


def _medians(samples: np.ndarray) -> tuple[np.ndarray, ...]:
    """Medians with 95 % bounds that need no moment, (N,)."""
    flat = jnp.asarray(samples.T)
    values, bounds = sample_quantiles(flat, jnp.asarray([0.5], flat.dtype))
    return tuple(np.asarray(x, float) for x in (values[:, 0], bounds[:, 0, 0], bounds[:, 0, 1]))


def _rank(
    table: pd.DataFrame,
    samples: np.ndarray | None,
    experiment: Experiment,
    prices: Mapping[str, float],
    memory: int,
) -> Design:
    """Order the candidates by cost, and say why the first is first."""
    cost = sum(weight * table[name] for name, weight in prices.items() if weight)
    table = table.assign(
        cost=np.where(table["reached"] > 0, cost, np.inf),
        pareto=_on_frontier(table[list(COSTS)].to_numpy(float)),
        xi=table["xi"].where(table["scheme"].isin(ADAPTIVE)),
    )
    order = table.sort_values(["cost", *COSTS], kind="stable").index
    samples = None if samples is None else samples[order]
    accuracy = float(table["accuracy"].iloc[0])
    table = table.loc[order, COLUMNS].reset_index(drop=True)
    best = table.iloc[0]
    (problem,), (delays,) = experiment.problems.values(), experiment.delays.values()
    M = problem.num_partitions
    adaptive = not math.isnan(best["xi"])
    trigger: tuple[Any, ...] = (float(best["xi"]), memory, "server") if adaptive else ()
    return Design(
        table,
        explain(table, tail_indices(delays, M), prices, samples),
        Scheme(M, int(best["num_groups"]), int(best["redundancy"]), *trigger),
        float(best["step_size"]) / float(problem.total_smoothness),
        int(best["iterations"]),
        accuracy,
    )


def _on_frontier(costs: np.ndarray) -> np.ndarray:
    """Mark the rows (N, 3) on the Pareto frontier; those with an infinite cost are not."""
    order = np.lexsort(costs.T[::-1])
    order = order[np.isfinite(costs[order]).all(1)]
    marked = np.zeros(len(costs), bool)
    marked[order] = not_dominated(costs[order])
    return marked
