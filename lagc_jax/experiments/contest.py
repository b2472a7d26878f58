"""Candidates whose path depends on the times: each realisation is run as a whole trajectory.

Codes that are not exact, and servers that do not wait. A trajectory is dear and a scheme a program,
so there are few of each kind, and one is run only where a bound of its cost leaves it a chance: by
the iterations of the candidates that are known, and by what the noise of its gradient does to a
step from the optimum.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np
import pandas as pd

from lagc_jax.cluster import Cluster
from lagc_jax.delays.base import TimeSource
from lagc_jax.experiments.assignment import AS_GIVEN
from lagc_jax.experiments.candidates import Same
from lagc_jax.experiments.common import uploads_of
from lagc_jax.experiments.experiment import Experiment, Vary
from lagc_jax.experiments.intervals import NORMAL, student
from lagc_jax.experiments.meters import RUN, patient, sized, widened
from lagc_jax.experiments.patience import waits_matter
from lagc_jax.experiments.reasons import tail_of
from lagc_jax.experiments.rows import draw_rows, filled, trace_inside
from lagc_jax.experiments.runner import run
from lagc_jax.experiments.waits import group_waits
from lagc_jax.problems._values import gaps_at, gradients_at
from lagc_jax.problems.base import Problem
from lagc_jax.problems.stochastic import MinibatchProblem
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import CATALOGUE
from lagc_jax.schemes.decoding import Fastest, FirstBlocks
from lagc_jax.schemes.policies import Policy
from lagc_jax.schemes.rules import FLOAT_BITS

REALISATIONS = 100  # of a trajectory, and how few where they are long
FEWEST = 8
WORK = 2**21  # iterations of all realisations, beyond which there are fewer
TRIED = 3  # candidates of the catalogue that are run at the most
SETS = 64  # of workers by which the noise of a code is judged
STEPS, STALE_STEPS = (1.0, 0.6, 1.5), (1.0, 0.5, 0.25, 0.1)  # in units of 1/L, or of the largest


class Outsider(NamedTuple):
    """A scheme whose path depends on the times.

    Attributes:
        name: in the table.
        scheme: of all workers in their places as given.
        steps: in units of 1/L.
        bound: below which its cost is not expected to be; -inf for the user's own.
    """

    name: str
    scheme: Scheme
    steps: tuple[float, ...]
    bound: float = -np.inf


class Apart(NamedTuple):
    """An outsider that was run: its row of the table, and the cluster in which it was."""

    row: pd.DataFrame
    scheme: Scheme
    cluster: Cluster | None


def inexact(num_workers: int, storage: int) -> Iterator[tuple[str, Scheme]]:
    """Codes of the catalogue that are not exact, of half and three quarters of the workers."""
    M = num_workers
    some = sorted({max(M // 2, 1), 3 * M // 4, M - 1} - {0, M})
    for k in some:
        yield "fastest-k", CATALOGUE["fastest-k"](M, k)
    for r in sorted({2, min(storage, M // 2)}):
        names = ["stochastic GC", "approximate GC", "Bernoulli GC"]
        names += ["ErasureHead"] if M % r == 0 else []
        names += ["regular graph GC"] if r % 2 == 0 and M % (r // 2) == 0 and r * r < 2 * M else []
        # An exact code waits for M - r + 1.
        for k in [k for k in some if 2 <= r <= storage and k <= M - r]:
            made = ((name, CATALOGUE[name](M, r, num_waited=k)) for name in names)
            yield from (each for each in made if each[1].redundancy <= storage)


def waitless(num_workers: int, rows: np.ndarray) -> Iterator[tuple[str, Scheme]]:
    """Event-driven schemes, whose workers hold all data and compute whole gradients.

    MindFlayer has a trial of every worker, of the time that three quarters of its gradients take.
    """
    M = num_workers
    allotted = np.quantile(M * rows, 0.75, axis=0)
    given: list[tuple[str, tuple]] = [("ASGD", ()), ("delay-adaptive ASGD", ())]
    given += [("Ringmaster", (M, True))]
    given += [("MindFlayer", (1, allotted, (M * rows <= allotted).mean(0)))]
    for k in sorted({max(M // 4, 1), max(M // 2, 1)}):
        names = ("K-sync", "K-batch-sync", "K-async", "K-batch-async", "Rennala")
        given += [(name, (k,)) for name in names]
    for name, sizes in given:
        yield name, CATALOGUE[name](M, *sizes, load=M)


class Bounds:
    """What schemes cost at least, from what is known of the others.

    A gradient that is right on average leaves the mean gap of a quadratic no smaller than the exact
    one does, so that they need about the iterations of gradient descent at the least.
    """

    def __init__(self, job: Any, problem: Problem, fewest: float, rows: np.ndarray) -> None:
        """Take the fewest iterations of gradient descent, and times (T, M) of all workers."""
        self.job, self.problem, self.fewest, self.rows = job, problem, fewest, rows
        self.arrivals = _fresh_arrivals(rows, np.random.default_rng(0))
        self.noise = _Noise(problem)

    def iteration(self, scheme: Scheme) -> float:
        """What an iteration costs at least."""
        M, policy, prices = scheme.num_workers, cast(Policy, scheme.decoder), self.job.prices
        if scheme.event_driven:
            least, started, time = policy.batch, policy.batch, self._update(scheme)
            spent = started * scheme.load
        else:
            least, started = _least_messages(scheme), M
            stand = replace(scheme, decoding=Fastest(least))
            cluster = sized(scheme, self.job.cluster, self.problem.num_parameters)
            time, spent = group_waits(stand, cluster, self.rows).busy.mean(), sum(scheme.loads)
        paid = dict(time=time, communication=least + started, computation=spent, uploads=least)
        paid["bits"] = FLOAT_BITS * self.problem.num_parameters * least
        return sum(price * paid[name] for name, price in prices.items() if price)

    def _update(self, scheme: Scheme) -> float:
        """Time of an update: of all gradients as they come, or of the first ones of a fresh start.

        A policy that starts workers anew may be quicker than their long run.
        """
        policy = cast(Policy, scheme.decoder)
        number = policy.batch
        steady = number / (1 / self.rows.mean(0)).sum()
        fresh = self.arrivals[:, min(number, self.arrivals.shape[1]) - 1].mean()
        return scheme.load * float(steady if policy.alone else min(steady, fresh))

    def largest_step(self, scheme: Scheme) -> float:
        """In units of 1/L, the step whose noise leaves a gap of the accuracy."""
        if scheme.event_driven:
            return math.inf
        return self.noise.largest_step(scheme, _least_messages(scheme), self.job.accuracy)


class _Noise:
    """What gradients of some workers do at the optimum of a problem, where the whole one is 0."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        M, theta = problem.num_partitions, problem.minimizer
        self.pull = np.asarray(gradients_at(problem, theta)) / float(problem.total_smoothness)
        order = np.random.default_rng(0).random((SETS, M)).argsort(-1)
        self.place = order.argsort(-1)

    def largest_step(self, scheme: Scheme, taken: int, accuracy: float) -> float:
        """The gap after a step along the gradients of random workers grows with its square."""
        weights = np.asarray(scheme.decoder.weights(jnp.asarray(self.place < taken)))
        moved = np.asarray(self.problem.minimizer) - weights @ self.pull
        gap = float(np.median(np.asarray(gaps_at(self.problem, jnp.asarray(moved)))))
        return math.sqrt(accuracy / gap) if gap > 0 else math.inf


def _least_messages(scheme: Scheme) -> int:
    """Messages that the server takes in an iteration at least."""
    if isinstance(scheme.decoder, FirstBlocks):
        return scheme.num_workers // scheme.redundancy
    return scheme.num_waited


def _fresh_arrivals(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """When the first M gradients come of workers that all start at once, (SETS, M)."""
    T, M = rows.shape
    several = np.cumsum(rows[rng.integers(T, size=(SETS, 4, M)), np.arange(M)], axis=1)
    return np.sort(several.reshape(SETS, -1), axis=-1)[:, :M]


def outsiders(
    job: Any, experiment: Experiment, table: pd.DataFrame, rows: np.ndarray
) -> list[Outsider]:
    """The user's own, and those of the catalogue that might be the cheapest, by rising bound.

    The latter on a problem that is known: what of a gradient is noise, smoothness does not tell.
    """
    (problem,) = experiment.problems.values()
    own = [
        Outsider(each.name, each.scheme, tuple(each.steps or job.given[1] or _steps(each.scheme)))
        for each in job.own
        if each.apart
    ]
    known = table[np.isfinite(table["cost"])]
    link = None if job.cluster is None else job.cluster.link
    if not len(known) or not job.problem_known or (link is not None and not link.uniform):
        return own  # who comes first would depend on who else uploads
    found = (
        [] if isinstance(problem, MinibatchProblem) else [*inexact(job.num_workers, job.storage)]
    )
    waits = waits_matter(job.drawn.delays, job.cluster)
    if job.storage >= job.num_workers and not waits:
        found += waitless(job.num_workers, rows)
    plain = known[known["xi"] == 0] if (known["xi"] == 0).any() else known
    bounds = Bounds(job, problem, float(plain["iterations"].min()), rows)
    best, made = float(known["cost"].min()), []
    for name, scheme in found:
        if bounds.fewest * (each := bounds.iteration(scheme)) >= best:
            continue
        largest = min(bounds.largest_step(scheme), 1.0)
        number = bounds.fewest / largest
        if number * each < best and number <= experiment.num_iterations:
            tried = tuple(job.given[1] or (largest * step for step in _steps(scheme)))
            made.append(Outsider(name, scheme, tried, number * each))
    return own + sorted(made, key=lambda each: each.bound)


def _steps(scheme: Scheme) -> tuple[float, ...]:
    """Stale gradients need smaller ones."""
    return STALE_STEPS if scheme.event_driven else STEPS


def contest(
    job: Any, experiment: Experiment, priced: Any, table: pd.DataFrame, statistic: str
) -> list[Apart]:
    """Rows of the table for the user's own outsiders, and for those that might be the cheapest."""
    rows = filled(draw_rows(job.drawn.delays, job.key, job.num_workers))
    best, tried, found = float(table["cost"].min()), 0, []
    for each in outsiders(job, experiment, table, rows):
        theirs = np.isfinite(each.bound)
        if theirs and (statistic != "mean" or each.bound >= best or tried == TRIED):
            continue
        tried += theirs
        found.append(measure(job, experiment, priced, each, job.drawn.delays, statistic))
        best = min(best, float(found[-1].row["cost"].iloc[0]))
    return found


def measure(
    job: Any,
    experiment: Experiment,
    priced: Any,
    one: Outsider,
    delays: TimeSource,
    statistic: str,
) -> Apart:
    """A row with what a scheme costs with the best of its steps."""
    (problem,) = experiment.problems.values()
    trace = trace_inside(delays)
    cluster = sized(one.scheme, job.cluster, problem.num_parameters)
    if trace is not None and not one.scheme.event_driven:
        cluster = patient(one.scheme, cluster, np.asarray(trace.times, float))
    made, middle = _run(job, experiment, one, delays, cluster)
    time = made["time_mean" if statistic == "mean" else "time_q0.5"].to_numpy(float)
    if statistic == "mean" and not one.scheme.event_driven:
        time = time if tail_of(one.scheme, cluster, delays) > 1 else np.full_like(time, np.inf)
    cost = priced.cost(made, time)
    i = int(np.argmin(cost))
    row, mean, run_low, run_high = (
        made.iloc[[i]],
        time[i],
        *(float(made[f"time_q{level!r}"].iloc[i]) for level in RUN),
    )
    low, high = (float(made[f"time_q{level!r}"].iloc[i]) for level in middle)
    error = 0.0
    if statistic == "mean" and np.isfinite(mean):
        number = _number(job, experiment)
        error = student(number - 1) * float(row["time_standard_error"].iloc[0])
        low, high = _interval(one.scheme, trace, mean, error)
    if not np.isfinite(mean) or not row["reached"].iloc[0]:
        low = high = np.inf
    limit = None if cluster is None else cluster.timeout
    row = row.assign(
        time=mean if row["reached"].iloc[0] else np.inf,
        time_low=low,
        time_high=high,
        run_low=run_low,
        run_high=run_high,
        exact=False,
        statistic=statistic,
        drifts=False,
        uploads=uploads_of(row),
        cost=cost[i],
        doubt=error * job.prices["time"],
        timeout=np.nan if limit is None else float(np.asarray(limit)),
        simulated=True,
        server=told(one.scheme),
        assignment=AS_GIVEN,
    )
    return Apart(row, one.scheme, cluster)


def _run(
    job: Any, experiment: Experiment, one: Outsider, delays: TimeSource, cluster: Cluster | None
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """A row a step, and levels of the quantiles that enclose the median with 90 % confidence."""
    number = _number(job, experiment)
    margin = 0.5 * NORMAL / math.sqrt(number)  # normal limit of the binomial ranks
    middle = max(0.5 - margin, 0.0), min(0.5 + margin, 1.0)
    made = run(
        replace(
            experiment,
            schemes={one.name: Vary(Same(one.scheme), step_size=list(one.steps))},
            delays={"delays": delays},
            clusters=None if cluster is None else {"cluster": cluster},
            num_realisations=number,
            quantiles=tuple(dict.fromkeys((RUN[0], 0.5, RUN[1], *middle))),
        ),
        progress=False,
    )
    made = made.assign(load=float(np.mean(one.scheme.loads)), downlink=_downlink(one.scheme, made))
    made["reached"] = np.where(made["reached"] == 1, 1.0, 0.0)
    return made, middle


def _downlink(scheme: Scheme, made: pd.DataFrame) -> pd.Series:
    """Messages to the workers: one for every load, or all workers in every iteration."""
    lazy = scheme.adaptive and not scheme.trigger.everyone_works
    if scheme.event_driven or lazy:
        return made["computation"] / float(np.mean(scheme.loads))
    return scheme.num_workers * made["iterations"]


def _number(job: Any, experiment: Experiment) -> int:
    """How many trajectories show what a scheme costs."""
    affordable = max(FEWEST, WORK // experiment.num_iterations)
    return min(REALISATIONS, affordable, job.num_realisations)


def _proxy(scheme: Scheme, rows: np.ndarray) -> np.ndarray:
    """Of the rows of a trace (T, W), what the times of a scheme rise and fall with, (1, T)."""
    if scheme.event_driven or scheme.decoder.fastest is None:
        return rows.mean(1)[None]
    share = scheme.num_waited / scheme.group_size
    return np.quantile(rows, share, axis=1, method="inverted_cdf")[None]


def told(scheme: Scheme) -> str:
    """The constants of a server that does not take the exact gradient."""
    names = ("num_waited", "batch", "threshold", "trials", "deadline")
    known = ((name, getattr(scheme.decoding, name, None)) for name in names)
    return ", ".join(f"{n}={v}" for n, v in known if isinstance(v, int | float))


def _interval(scheme: Scheme, trace: Any, mean: float, error: float) -> tuple[float, float]:
    """The interval of a mean, with the uncertainty of the trace where there is one."""
    low, high = mean - error, mean + error
    if trace is None:
        return low, high
    seen = _proxy(scheme, filled(np.asarray(trace.times, float)))
    low, high = (float(each) for each in widened(np.array(mean), low, high, seen))
    return low, high
