"""Timeouts: where a group may be given up, the first candidates are simulated as they would run."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lagc_jax.cluster import Cluster
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.traces import Trace
from lagc_jax.experiments.candidates import Same
from lagc_jax.experiments.common import uploads_of
from lagc_jax.experiments.experiment import Experiment, Vary
from lagc_jax.experiments.intervals import student
from lagc_jax.experiments.meters import RUN, patient, sized
from lagc_jax.experiments.rows import reordered
from lagc_jax.experiments.runner import run
from lagc_jax.experiments.waits import group_waits, is_shared
from lagc_jax.schemes.base import Scheme

REALISATIONS = 32  # of a path of their own each
LEVELS = (0.9, 0.99)  # of measured waits for a group that are tried for a timeout


def waits_matter(delays: TimeSource, cluster: Cluster | None) -> bool:
    """Whether a group may be given up, and the path depend on the times."""
    lacks = isinstance(delays, Trace) and bool(np.isinf(np.asarray(delays.times)).any())
    return lacks or (cluster is not None and cluster.timeout is not None)


def simulate_waiting(
    job: Any,
    experiment: Experiment,
    priced: Any,
    table: pd.DataFrame,
    candidates: list[Any],
    limit: int,
) -> tuple[pd.DataFrame, list[Any]]:
    """Simulate the cheapest candidate until one that has been is the cheapest, or so many have."""
    table, candidates = table.copy(), list(candidates)
    for _ in range(limit):
        i = int(table["cost"].to_numpy().argmin())
        if table.loc[i, "simulated"] or not np.isfinite(float(table["cost"].iloc[i])):
            break
        row, cluster = simulate(job, experiment, priced, table.loc[[i]], candidates[i])
        table.loc[[i], row.columns] = row.to_numpy()
        candidates[i] = candidates[i]._replace(cluster=cluster)
    if not np.isfinite(table.loc[table["simulated"], "cost"]).any():
        raise ValueError(
            "the first candidates do not reach the accuracy in every run, for groups are given up "
            "at the timeout; give a longer timeout, a larger accuracy, more storage or iterations"
        )
    return table.infer_objects(), candidates


def simulate(
    job: Any, experiment: Experiment, priced: Any, row: pd.DataFrame, one: Any
) -> tuple[pd.DataFrame, Cluster]:
    """A row with simulated costs under the best timeout of those tried."""
    delays = reordered(job.drawn.delays, one.order)
    (problem,) = experiment.problems.values()
    known = sized(one.scheme, one.cluster, problem.num_parameters)
    clusters = _timeouts(one.scheme, known, delays)
    number = min(REALISATIONS, job.num_realisations)
    found = run(
        replace(
            experiment,
            schemes={"waiting": Vary(Same(one.scheme), step_size=row["step_size"].tolist())},
            delays={"delays": delays},
            clusters={str(i): cluster for i, cluster in enumerate(clusters)},
            num_realisations=number,
            quantiles=RUN,
        ),
        progress=False,
    )
    found = found.assign(load=row["load"].iloc[0])
    found["reached"] = np.where(found["reached"] == 1, 1.0, 0.0)
    cost = priced.cost(found, found["time_mean"].to_numpy(float))
    best = int(np.argmin(cost))
    made = found.iloc[best]
    mean, old = float(made["time_mean"]), row.iloc[0]
    error = (
        student(number - 1) * float(made["time_standard_error"]) / max(mean, np.finfo(float).tiny)
    )
    known = np.isfinite(mean)
    down, up = (
        abs(old[name] / old["time"] - 1) if known else np.inf for name in ("time_low", "time_high")
    )
    counts = ["iterations", "communication", "computation", "bits", "reached"]
    row = row.assign(
        **{name: made[name] for name in counts},
        time=mean,
        time_low=mean * (1 - np.hypot(down, error)) if known else np.inf,
        time_high=mean * (1 + np.hypot(up, error)),
        run_low=made[f"time_q{RUN[0]!r}"],
        run_high=made[f"time_q{RUN[1]!r}"],
        exact=False,
        uploads=uploads_of(found)[best],
        cost=cost[best],
        timeout=float(clusters[best].timeout),  # type: ignore[arg-type]
        simulated=True,
    )
    return row, clusters[best]


def _timeouts(scheme: Scheme, cluster: Cluster | None, delays: TimeSource) -> list[Cluster]:
    """The given timeout, or some to choose from: measured waits for a group, and the longest."""
    if cluster is not None and cluster.timeout is not None:
        return [cluster]
    rows = np.asarray(delays.times, float)  # type: ignore[attr-defined]
    longest = patient(scheme, cluster, rows)
    assert longest is not None
    found = {float(longest.timeout)}  # type: ignore[arg-type]
    if not is_shared(cluster):
        waits = group_waits(scheme, cluster, rows).busy
        found |= set(np.quantile(waits[np.isfinite(waits)], LEVELS).tolist())
    return [replace(longest, timeout=each) for each in sorted(found, reverse=True)]
