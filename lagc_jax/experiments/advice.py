"""Which scheme to use: a search over schemes and parameters, priced by what they cost.

A path depends neither on the delays nor on the redundancy, so there is one batch of paths for every
number of groups, and all redundancies share it. The clock is the exact mean where the delays have
one, and realisations elsewhere, which are the same for all candidates (common random numbers).
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._checks import finite_data, not_negative, one_axis, positive, whole_number
from lagc_jax._programs import compiled
from lagc_jax._tables import COSTS, not_dominated
from lagc_jax.clock import clock_of
from lagc_jax.costs import first_hit, price
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.contract import check_source
from lagc_jax.descent import find_path, path_scheme
from lagc_jax.doors import check_fit, flat_start, warn_if_short
from lagc_jax.experiments.paper import default_iterations
from lagc_jax.problems.base import Problem
from lagc_jax.problems.linear import linear_regression, synthetic_linear_regression
from lagc_jax.schemes.base import Scheme
from lagc_jax.summary import sample_quantiles
from lagc_jax.times import sample_worker_times

PAPER_GROWTH, PAPER_WORKERS = 1.3, 12
# Where workers differ an exact mean costs an integral for every set of working groups: with more
# workers than this, realisations are faster.
EXACT_WORKERS = 16
BLOCK_ENTRIES = 2**22  # workers' times held at once
Progress = Callable[[Sequence[Any]], Iterable[Any]]
PROBLEM = np.uint32(2**32 - 1)  # folded into the key for the problem; realisations count from 0


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


class _Paths(NamedTuple):
    """Paths of one number of groups with B pairs of `xi` and step size, up to the accuracy.

    Attributes:
        scheme: of full redundancy, its `xi` without meaning.
        xi, step_size: (B,), the step size in units of 1/L.
        iterations: (B,) to the accuracy, `inf` where it is not reached.
        selected: (B, K, G) bool, all False from the accuracy on and where it is not reached.
    """

    scheme: Scheme
    xi: np.ndarray
    step_size: np.ndarray
    iterations: np.ndarray
    selected: np.ndarray


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

    Candidates are all numbers of groups `G` that divide `M`, all redundancies `r` up to the storage
    and `M/G`, without adaptive selection or with the server trigger and every `xi`, and every step
    size. GC with more than one group is gradient coding within groups; without adaptive selection
    all candidates with `r = 1` are GD. Times are exact means for families of delays, if they are
    identical or there are at most 16 workers, and means of realisations elsewhere. If every mean is
    infinite, candidates are ranked by the median of the realisations, which the table and the
    reason say.

    Args:
        num_workers: `M`.
        delays: a family, or any other source of times such as a `Trace`.
        storage: partitions that a worker can store, the largest `r`; by default `M`.
        problem: a problem of M partitions, or their smoothness constants (M,), for which a
            regression is made as in LAG's section 4; by default that regression itself, `L_m`
            spread as over the paper's 12 workers.
        accuracy: gap to reach.
        price_time: of a unit of wall-clock time.
        price_message: of a message.
        price_gradient: of a partition gradient.
        xi: weights of the trigger to try.
        step_sizes: to try, in units of 1/L.
        memory: `D` of the trigger.
        num_iterations: longest path; by default twice what suffices without adaptive selection.
        num_realisations: `R`, where times are sampled.
        key: a JAX random key, by default that of seed 0; consumed. Realisation `i` uses
            `fold_in(key, i)`, as in `simulate_batch`; a problem that is not given draws from it.
        progress: wraps a sequence that takes a while, as `tqdm.tqdm` does: the numbers of groups
            whose paths are made, and what is timed.

    Returns:
        A `Design`.

    Raises:
        ValueError: for delays that are no source of times, prices that are negative or all zero, a
            storage that is not whole or below 1, an accuracy not below the gap at the start or not
            reached by any candidate, sizes that do not fit each other, or workers whose failures no
            candidate survives.

    >>> from lagc_jax import Exponential
    >>> advice = design(4, Exponential(1.0), accuracy=1e-4, xi=[1.0], step_sizes=[1.0])
    >>> advice.table["cost"].is_monotonic_increasing, advice.scheme.num_workers
    (True, 4)
    """
    M = whole_number("num_workers", num_workers)
    largest = min(M if storage is None else _check_storage(storage), M)
    prices = _check_prices(price_time, price_message, price_gradient)
    R = whole_number("num_realisations", num_realisations, 2)
    whole_number("memory", memory)
    for name, values in (("xi", xi), ("step_sizes", step_sizes)):
        one_axis(name, values, 1)
    not_negative("xi", xi)
    positive("step_sizes", step_sizes)
    positive("accuracy", accuracy)
    check_source(delays)
    delays.check(M)
    key = _keys.make_key(0) if key is None else _keys.one_key(key)
    problem = _make_problem(problem, M, _keys.fold_in(key, PROBLEM))
    check_fit(problem, Scheme(M, M, 1))
    K = _check_descent(problem, accuracy, num_iterations, min(step_sizes))
    batches = list(_all_paths(problem, M, xi, step_sizes, memory, K, accuracy, progress))
    longest = max(paths.selected.shape[1] for paths in batches)
    if not longest:
        raise ValueError(
            f"accuracy={accuracy} is reached by no candidate within num_iterations={K}; give more, "
            f"or smaller step_sizes and xi"
        )
    exact = hasattr(delays, "hazard") and (delays.identical or M <= EXACT_WORKERS)
    if not exact:
        warn_if_short(delays, longest)
    measure = _exact_times if exact else _sampled_times
    table, samples = _tabulate(
        batches, largest, measure(batches, delays, largest, key, R, progress)
    )
    if not np.isfinite(table["time"]).any():
        exact = False
        medians = _sampled_medians(batches, delays, largest, key, R, progress)
        table, samples = _tabulate(batches, largest, medians)
        if not np.isfinite(table["time"]).any():
            raise ValueError(
                "delays has workers that never answer and every candidate waits for them in more "
                "than half of the realisations; give fewer failures or more storage"
            )
    table["exact"] = exact
    cost = sum(weight * table[name] for name, weight in prices.items() if weight)
    table["cost"] = np.where(np.isfinite(table["iterations"]), cost, np.inf)
    table["pareto"] = _on_frontier(table[list(COSTS)].to_numpy(float))
    order = table.sort_values(["cost", *COSTS], kind="stable").index
    samples = None if samples is None else samples[order]
    table = table.loc[order, COLUMNS].reset_index(drop=True)
    best = table.iloc[0]
    adaptive = not math.isnan(best["xi"])
    trigger: tuple[Any, ...] = (float(best["xi"]), memory, "server") if adaptive else ()
    return Design(
        table,
        _reason(table, delays, M, prices, samples),
        Scheme(M, int(best["num_groups"]), int(best["redundancy"]), *trigger),
        float(best["step_size"]) / float(problem.total_smoothness),
        int(best["iterations"]),
        accuracy,
    )


COLUMNS = [
    *("scheme", "num_groups", "redundancy", "xi", "step_size", "iterations"),
    *("time", "time_low", "time_high", "exact", "statistic"),
    *("communication", "computation", "cost", "pareto"),
]


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


def _make_problem(problem: Problem | ArrayLike | None, num_workers: int, key: Array) -> Problem:
    if hasattr(problem, "num_partitions"):
        return cast(Problem, problem)
    M = num_workers
    if problem is None:
        growth = PAPER_GROWTH ** ((PAPER_WORKERS - 1) / max(M - 1, 1))
        return synthetic_linear_regression(key, M, max(50, M), growth)
    return smooth_regression(key, cast(ArrayLike, problem))


def smooth_regression(key: Array, smoothness: ArrayLike) -> Problem:
    """Draw a linear regression whose partitions have given smoothness constants; consumes `key`.

    `X_m = (sqrt(L_m) - s) q_m q_m^T + s I` with orthonormal `q_m` and `s^2` the smallest `L_m`, as
    in LAG's section 4, and standard normal targets.

    Args:
        key: a JAX random key.
        smoothness: (M,) constants `L_m > 0`.

    Raises:
        ValueError: if they are not one axis of positive numbers.

    >>> problem = smooth_regression(jax.random.key(0), [4.0, 9.0])
    >>> [round(float(c), 3) for c in problem.smoothness]
    [4.0, 9.0]
    """
    one_axis("smoothness", smoothness, 1)
    positive("smoothness", smoothness)
    root = np.sqrt(finite_data("smoothness", smoothness))
    M, least = root.size, root.min()
    draws = np.asarray(_keys.normal(_keys.known_key(key), (M + 1, M), jnp.float32), np.float64)
    q = np.linalg.qr(draws[:M].T)[0].T
    X = (root - least)[:, None, None] * q[:, :, None] * q[:, None, :] + least * np.eye(M)
    return linear_regression(X, X @ draws[M])


def _check_descent(
    problem: Problem, accuracy: float, num_iterations: int | None, smallest: float
) -> int:
    """The longest path; raise ValueError for an accuracy that the start has."""
    start = float(jax.jit(problem.gap)(jnp.zeros_like(problem.minimizer)))
    if not accuracy < start:
        raise ValueError(
            f"accuracy={accuracy} is not below the gap at the start, {start:.6g}; give a smaller "
            f"one"
        )
    if num_iterations is not None:
        return whole_number("num_iterations", num_iterations)
    if not float(problem.strong_convexity) > 0:
        raise ValueError("num_iterations is needed: the problem's strong convexity is not known")
    return default_iterations(problem, start, accuracy, smallest / float(problem.total_smoothness))


def _all_paths(
    problem: Problem,
    num_workers: int,
    xi: Sequence[float],
    step_sizes: Sequence[float],
    memory: int,
    num_iterations: int,
    accuracy: float,
    progress: Progress,
) -> Iterator[_Paths]:
    """Paths of the full gradient, and for every number of groups those of the server trigger."""
    M = num_workers
    run = partial(_find_paths, problem, num_iterations=num_iterations, accuracy=accuracy)
    always = run(path_scheme(Scheme(M, 1, 1)), np.zeros(1), np.asarray(step_sizes, float))
    for groups in progress([g for g in range(1, M + 1) if M % g == 0]):
        # The full gradient is the same however the workers are grouped.
        selected = np.repeat(always.selected, groups, axis=-1)
        yield always._replace(scheme=Scheme(M, groups, M // groups), selected=selected)
        trigger = (0.0, memory, "server")
        scheme = Scheme(M, groups, M // groups, *trigger)
        yield run(scheme, np.asarray(xi, float), np.asarray(step_sizes, float))


def _find_paths(
    problem: Problem,
    scheme: Scheme,
    xi: np.ndarray,
    step_sizes: np.ndarray,
    *,
    num_iterations: int,
    accuracy: float,
) -> _Paths:
    """All pairs of `xi` and step size as one batch."""
    weights, steps = (grid.ravel() for grid in np.meshgrid(xi, step_sizes, indexing="ij"))
    alpha = steps / float(problem.total_smoothness)
    with jax.debug_nans(False):  # what is not run is NaN on purpose
        gap, chosen = _descend_all(problem, scheme, weights, alpha, num_iterations, accuracy)
    index, reached = (np.asarray(x) for x in first_hit(gap, accuracy))
    last = np.where(reached, index, 0)
    before = np.arange(last.max(initial=0)) < last[:, None]
    selected = np.asarray(chosen)[:, : before.shape[1]] & before[..., None]
    return _Paths(scheme, weights, steps, np.where(reached, index, np.inf), selected)


@compiled("num_iterations")
def _descend_all(
    problem: Problem,
    scheme: Scheme,
    xi: ArrayLike,
    step_size: ArrayLike,
    num_iterations: int,
    accuracy: ArrayLike,
) -> tuple[Array, Array]:
    """Gaps (B, K+1) and selections (B, K, G)."""
    theta = flat_start(problem, None)

    def run(xi: Array, step_size: Array) -> tuple[Array, Array]:
        member = replace(scheme, xi=xi)
        path = find_path(problem, member, step_size, theta, num_iterations, accuracy)
        return path.gap, path.selected

    return jax.vmap(run)(jnp.asarray(xi), jnp.asarray(step_size))


class _Times(NamedTuple):
    """Times of B paths with r = 1, .., N: statistic and 95 % bounds (N, B), samples (N, B, R)."""

    statistic: str
    time: np.ndarray
    low: np.ndarray
    high: np.ndarray
    samples: np.ndarray | None


def _exact_times(
    batches: Sequence[_Paths],
    delays: Any,
    largest: int,
    key: Array,
    num_realisations: int,
    progress: Progress,
) -> list[_Times]:
    """Exact means: how often every set of groups works, times the mean of its time."""
    return [
        _exact_means(paths, delays, min(largest, paths.scheme.group_size))
        for paths in progress(batches)
    ]


def _exact_means(paths: _Paths, delays: Any, largest: int) -> _Times:
    G = paths.scheme.num_groups
    if delays.identical:
        counts = paths.selected.sum(-1)
        often = (counts[..., None] == np.arange(G + 1)).sum(1)
        rows = np.arange(G) < np.arange(G + 1)[:, None]
    else:
        rows, row = np.unique(paths.selected.reshape(-1, G), axis=0, return_inverse=True)
        row = row.reshape(paths.selected.shape[:2])
        often = np.stack([np.bincount(one, minlength=len(rows)) for one in row])
    often = np.where(rows.any(1), often, 0)
    means = []
    for r in range(1, largest + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an infinite mean is in the table
            scheme = Scheme(paths.scheme.num_workers, G, r)
            mean = np.asarray(clock_of(scheme, delays).mean(rows), float)
        means.append((np.where(often > 0, mean, 0) * often).sum(-1))
    time = np.stack(means)
    return _Times("mean", time, time, time, None)


def _sampled_times(
    batches: Sequence[_Paths],
    delays: TimeSource,
    largest: int,
    key: Array,
    num_realisations: int,
    progress: Progress,
) -> list[_Times]:
    """Means of realisations, infinite where the source is known to have no other."""
    indices = _tail_indices(delays, batches[0].scheme.num_workers)
    results = []
    for paths, samples in zip(
        batches,
        _sample_totals(batches, delays, largest, key, num_realisations, progress),
        strict=True,
    ):
        by_group = np.sort(indices.reshape(paths.scheme.num_groups, -1), axis=-1)
        decay = np.cumsum(by_group, axis=-1)[:, : len(samples)].min(0)
        infinite = ~np.isfinite(samples).all(-1) | (decay <= 1)[:, None]
        known = np.where(infinite[..., None], 0, samples)
        mean = known.mean(-1)
        margin = 1.96 * known.std(-1, ddof=1) / math.sqrt(num_realisations)
        time, low, high = (
            np.where(infinite, np.inf, x) for x in (mean, mean - margin, mean + margin)
        )
        results.append(_Times("mean", time, low, high, samples))
    return results


def _sampled_medians(
    batches: Sequence[_Paths],
    delays: TimeSource,
    largest: int,
    key: Array,
    num_realisations: int,
    progress: Progress,
) -> list[_Times]:
    """Medians of realisations with bounds that need no moment."""
    results = []
    for samples in _sample_totals(batches, delays, largest, key, num_realisations, progress):
        flat = jnp.asarray(samples.reshape(-1, num_realisations).T)
        values, bounds = sample_quantiles(flat, jnp.asarray([0.5], flat.dtype))
        columns = (values, bounds[..., 0], bounds[..., 1])
        time, low, high = (np.asarray(x, float).reshape(samples.shape[:2]) for x in columns)
        results.append(_Times("median", time, low, high, samples))
    return results


def _sample_totals(
    batches: Sequence[_Paths],
    delays: TimeSource,
    largest: int,
    key: Array,
    num_realisations: int,
    progress: Progress,
) -> list[np.ndarray]:
    """Times of every batch's B paths with all redundancies in R realisations, (N, B, R).

    Realisation `i` draws with `fold_in(key, i)`, as in `simulate_batch`, and serves all candidates:
    one compiled program draws it, and NumPy takes from it what each waits for.
    """
    M = batches[0].scheme.num_workers
    K = max(paths.selected.shape[1] for paths in batches)
    size = min(max(BLOCK_ENTRIES // (K * M), 1), num_realisations)
    blocks: list[list[np.ndarray]] = [[] for _ in batches]
    for first in progress(range(0, num_realisations, size)):
        drawn = np.asarray(_draw(delays, key, first, size, K, M), float)
        for paths, totals in zip(batches, blocks, strict=True):
            totals.append(_totals(paths, drawn[: num_realisations - first], largest))
    return [np.concatenate(totals, axis=-1) for totals in blocks]


@compiled("size", "num_iterations", "num_workers")
def _draw(
    delays: TimeSource,
    key: Array,
    first: ArrayLike,
    size: int,
    num_iterations: int,
    num_workers: int,
) -> Array:
    """Workers' times in some realisations, (size, K, M)."""

    def realise(one: Array) -> Array:
        return sample_worker_times(delays, one, num_iterations, num_workers)

    return jax.lax.map(realise, _keys.fold_each(key, first + jnp.arange(size)))


def _totals(paths: _Paths, times: np.ndarray, largest: int) -> np.ndarray:
    """Times of B paths with r = 1, .., N in realisations (R, K, M) of the workers', (N, B, R)."""
    G, n = paths.scheme.num_groups, paths.scheme.group_size
    B, K = paths.selected.shape[:2]
    load = np.arange(1, min(largest, n) + 1)
    ordered = np.sort(times[:, :K].reshape(len(times), K, G, n), axis=-1)
    waited = load * ordered[..., n - load]
    totals = np.empty((load.size, B, len(times)))
    for b, chosen in enumerate(paths.selected):
        last = np.flatnonzero(chosen.any(-1)).max(initial=-1) + 1
        working = chosen[:last, :, None]
        slowest = np.where(working, waited[:, :last], 0).max(axis=2)
        totals[:, b] = slowest.sum(1).T
    return totals


def _tail_indices(delays: Any, num_workers: int) -> np.ndarray:
    """Tail index of every worker's times, (M,); that of measured times is infinite."""
    while not hasattr(delays, "tail_index") and hasattr(delays, "delays"):
        delays = delays.delays
    index = np.asarray(getattr(delays, "tail_index", np.inf), float)
    return np.broadcast_to(index, (num_workers,))


def _tabulate(
    batches: Sequence[_Paths],
    largest: int,
    measured: Sequence[_Times],
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """A row for every candidate, and its realisations (rows, R) if there are any."""
    frames, samples = [], []
    for paths, times in zip(batches, measured, strict=True):
        M, G, n = paths.scheme.num_workers, paths.scheme.num_groups, paths.scheme.group_size
        adaptive = paths.scheme.adaptive
        uploads = paths.selected.sum((1, 2))
        reached = np.isfinite(paths.iterations)
        for i, r in enumerate(range(1, min(largest, n) + 1)):
            if not adaptive and r == 1 and G < M:
                continue  # GD again
            down, up, gradients = price(Scheme(M, G, r), uploads, uploads)
            priced = dict(
                iterations=paths.iterations,
                time=times.time[i],
                time_low=times.low[i],
                time_high=times.high[i],
                communication=down + up,
                computation=gradients,
            )
            frames.append(
                pd.DataFrame(
                    dict(
                        scheme=_name(G, n, r, adaptive),
                        num_groups=G,
                        redundancy=r,
                        xi=paths.xi if adaptive else np.nan,
                        step_size=paths.step_size,
                        statistic=times.statistic,
                    )
                    | {name: np.where(reached, x, np.inf) for name, x in priced.items()}
                )
            )
            samples.append(None if times.samples is None else times.samples[i])
    table = pd.concat(frames, ignore_index=True)
    return table, None if samples[0] is None else np.concatenate(samples)


def _name(groups: int, size: int, redundancy: int, adaptive: bool) -> str:
    """The paper's name of a point of the family of schemes."""
    if adaptive:
        return "LAG" if size == 1 else "G-LAG" if redundancy == size else "LAGC"
    if redundancy == 1:
        return "GD"
    return "grouping" if redundancy == size and groups > 1 else "GC"


def _on_frontier(costs: np.ndarray) -> np.ndarray:
    """Mark the rows (N, 3) on the Pareto frontier; those with an infinite cost are not."""
    order = np.lexsort(costs.T[::-1])
    order = order[np.isfinite(costs[order]).all(1)]
    marked = np.zeros(len(costs), bool)
    marked[order] = not_dominated(costs[order])
    return marked


def _reason(
    table: pd.DataFrame,
    delays: TimeSource,
    num_workers: int,
    prices: dict[str, float],
    samples: np.ndarray | None,
) -> str:
    """Why the first row is first."""
    best = table.iloc[0]
    time = f"{'exact ' if best['exact'] else ''}{best['statistic']} time {best['time']:.4g}"
    sentences = [
        f"{_describe(best)} costs {best['cost']:.4g} ({time}, {best['communication']:.0f} "
        f"messages, {best['computation']:.0f} gradients)."
    ]
    if best["statistic"] == "median":
        sentences.append(
            "The mean time is infinite under every candidate, so they are ranked by the median."
        )
    sentences += _tail_sentence(_tail_indices(delays, num_workers))
    if len(table) > 1 and np.isfinite(table["cost"].iloc[1]):
        paired = None
        if samples is not None and best["statistic"] == "mean" and prices["time"]:
            paired = prices["time"] * (samples[1] - samples[0])
        sentences.append(_compare(best, table.iloc[1], prices, paired))
    return " ".join(sentences)


def _tail_sentence(indices: np.ndarray) -> list[str]:
    """How many copies make the mean finite, where the tail is heavy."""
    index = indices.min()
    if not np.isfinite(index):
        return []
    kind = "Tail index" if index == indices.max() else "Smallest tail index"
    copies = math.floor(1 / index) + 1  # the least r with r * index > 1
    if copies > 1:
        return [f"{kind} {index:.3g}: {_copies(copies)} make the mean finite (r * tail index > 1)."]
    copies = math.floor(2 / index) + 1
    if copies > 1:
        return [
            f"{kind} {index:.3g}: the mean is finite without copies, and {_copies(copies)} make "
            f"the variance finite (r * tail index > 2)."
        ]
    return []


def _copies(number: int) -> str:
    return f"{dict(enumerate(('two', 'three', 'four'), 2)).get(number, number)} copies"


def _describe(row: pd.Series) -> str:
    """A candidate in words."""
    parts = [f"G={row['num_groups']}", f"r={row['redundancy']}"]
    parts += [] if math.isnan(row["xi"]) else [f"xi={row['xi']:g}"]
    return f"{row['scheme']}({', '.join(parts)}) with step {row['step_size']:g}/L"


def _compare(
    best: pd.Series, other: pd.Series, prices: dict[str, float], paired: np.ndarray | None
) -> str:
    """Which priced cost makes the difference to the runner-up."""
    saved = {name: weight * (other[name] - best[name]) for name, weight in prices.items() if weight}
    difference = other["cost"] - best["cost"]
    if difference == 0:
        return f"The runner-up, {_describe(other)}, costs the same."
    main = max(saved, key=lambda name: saved[name])
    lost = min(saved, key=lambda name: saved[name])
    text = (
        f"The runner-up, {_describe(other)}, costs {difference:.3g} more ({other['cost']:.4g}): "
        f"{main} makes the difference ({saved[main]:+.3g})"
    )
    text += f", in spite of {lost} ({saved[lost]:+.3g})." if saved[lost] < 0 else "."
    if paired is not None:
        margin = 1.96 * paired.std(ddof=1) / math.sqrt(paired.size)
        apart = "" if abs(difference) > margin else ", so they may be equally good"
        text += (
            f" Over {paired.size} paired realisations the difference is {difference:.3g} +- "
            f"{margin:.2g} (95 %){apart}."
        )
    return text
