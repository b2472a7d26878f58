"""Columns of a table of results: what an outcome says, a row a level."""

from typing import Any

import numpy as np

from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.measure import Outcome
from lagc_jax.targets import Iterate, Target

COUNTS = ("iterations", "communication", "computation", "bits", "timeouts")


def result_columns(experiment: Experiment) -> list[str]:
    """Names of the columns, in order; those of different quantiles differ."""
    quantiles = [f"q{float(level)!r}" for level in experiment.quantiles]
    target = experiment.target
    names = [part.column for part in target.parts]
    names += ["reached", *COUNTS, "time_mean", "time_standard_error"]
    names += [f"time_{q}" for q in quantiles] + ["time_expected", "time_variance"]
    names += [f"{cost}_{q}" for cost in COUNTS for q in quantiles] + ["diverged"]
    names += ["energy"] if experiment.energy is not None else []
    names += ["gap"] if _shows_gap(target) else []
    return names + (["recorded"] if target.record is not None else [])


def result_rows(experiment: Experiment, outcome: Outcome) -> dict[str, np.ndarray]:
    """The columns of one point, (A,) each, by the names of `result_columns`."""
    target, costs = experiment.target, outcome.costs
    means = [getattr(costs, name).mean for name in COUNTS]
    columns: list[Any] = [
        *(*_levels(target), outcome.reached, *means, costs.time.mean, costs.time.standard_error),
        *np.asarray(costs.time.quantiles).T,
        *(outcome.expected, outcome.variance),
        *(each for name in COUNTS for each in np.asarray(getattr(costs, name).quantiles).T),
        outcome.diverged,
    ]
    if experiment.energy is not None:
        spent = (costs.computation.mean, costs.communication.mean, costs.bits.mean)
        columns.append(experiment.energy.of(*spent))
    columns += [outcome.gap] if _shows_gap(target) else []
    columns += [outcome.recorded] if target.record is not None else []
    named = zip(result_columns(experiment), columns, strict=True)
    return {name: np.asarray(column, float) for name, column in named}


def _levels(target: Target) -> np.ndarray:
    """Levels of every part in a column of its own, NaN in the rows of the others."""
    sizes = [np.size(part.levels) for part in target.parts]
    own = np.repeat(np.arange(len(sizes)), sizes)
    return np.where(own == np.arange(len(sizes))[:, None], np.asarray(target.levels, float), np.nan)


def _shows_gap(target: Target) -> bool:
    """Whether the table has a column of gaps."""
    return any(isinstance(part, Iterate) for part in target.parts)
