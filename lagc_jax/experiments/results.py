"""Columns of a table of results: what an outcome says, a row a level."""

from typing import Any

import numpy as np

from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.measure import Outcome
from lagc_jax.targets import Iterate

COUNTS = ("iterations", "communication", "computation", "bits", "timeouts")


def result_columns(experiment: Experiment) -> list[str]:
    """Names of the columns, in order; those of different quantiles differ."""
    quantiles = [f"q{float(level)!r}" for level in experiment.quantiles]
    names = [experiment.target.column, "reached", *COUNTS, "time_mean", "time_standard_error"]
    names += [f"time_{q}" for q in quantiles] + ["time_expected", "time_variance"]
    names += [f"{cost}_{q}" for cost in COUNTS for q in quantiles] + ["diverged"]
    names += ["gap"] if isinstance(experiment.target, Iterate) else []
    return names + (["recorded"] if experiment.target.record is not None else [])


def result_rows(experiment: Experiment, outcome: Outcome) -> dict[str, np.ndarray]:
    """The columns of one point, (A,) each, by the names of `result_columns`."""
    levels, costs = np.asarray(experiment.target.levels, float), outcome.costs
    means = [getattr(costs, name).mean for name in COUNTS]
    columns: list[Any] = [
        *(levels, outcome.reached, *means, costs.time.mean, costs.time.standard_error),
        *np.asarray(costs.time.quantiles).T,
        *(outcome.expected, outcome.variance),
        *(each for name in COUNTS for each in np.asarray(getattr(costs, name).quantiles).T),
        np.full(levels.shape, outcome.diverged),
    ]
    columns += [outcome.gap] if isinstance(experiment.target, Iterate) else []
    columns += [outcome.recorded] if experiment.target.record is not None else []
    named = zip(result_columns(experiment), columns, strict=True)
    return {name: np.asarray(column, float) for name, column in named}
