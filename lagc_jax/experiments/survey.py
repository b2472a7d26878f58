"""All schemes, from gradient descent to the latest, on one task and the same computing times.

A task is a classification problem with its test data. Every scheme meets the same times of the same
workers in every realisation, under several laws of the times. Frames put accuracy, time,
communication, computation and bits side by side, and next to them what the papers claim.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jax import Array

from lagc_jax.delays.base import TimeSource
from lagc_jax.experiments.contenders import Contender, Task
from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.literature import claims_frame
from lagc_jax.problems.stochastic import MinibatchProblem
from lagc_jax.targets import Accuracy, Iterate, Several

COSTS = ("time", "communication", "computation", "bits")
NUM_SHOWN = 100  # iterates of a curve


def experiments(
    tasks: Mapping[str, Task],
    schemes: Mapping[str, Mapping[str, Contender]],
    laws: Mapping[str, TimeSource],
    key: Array,
    num_iterations: int,
    num_realisations: int,
) -> list[Experiment]:
    """A survey as experiments, one for all contenders of a task that differ in the scheme alone.

    Args:
        tasks: by name.
        schemes: of `contenders.choose` or `contenders.contested`, by task.
        laws: of the times.
        key: a JAX random key; realisation `i` of everything uses `fold_in(key, i)`.
        num_iterations: `K`, times the updates that a contender makes in one.
        num_realisations: `R`.
    """
    everything = []
    for name, task in tasks.items():
        alike: dict[Hashable, dict[str, Contender]] = {}
        for each, contender in schemes[name].items():
            group = id(contender.problem), contender.step_size, contender.updates
            alike.setdefault(group, {})[each] = contender
        for members in alike.values():
            first = next(iter(members.values()))
            length = num_iterations * first.updates
            reach = Accuracy(np.array([task.target]), task.test_accuracy)
            target = Several((reach, Iterate(_levels(length), task.test_accuracy)))
            everything.append(
                Experiment(
                    problems={name: task.problem if first.problem is None else first.problem},
                    schemes={each: contender.scheme for each, contender in members.items()},
                    delays=laws,
                    num_iterations=length,
                    num_realisations=num_realisations,
                    target=target,
                    step_sizes=[first.step_size],
                    step_unit="absolute",
                    starts={name: task.theta0},
                    quantiles=[_middle(num_realisations)],
                    sampler="workers",
                    key=key,
                )
            )
    return everything


def _middle(num_realisations: int) -> float:
    """Level of the quantile that is the middle realisation, of two the lower.

    That is an order statistic: half way to infinity would not be a number of any run. The level
    times `R - 1` is that whole number exactly, for its rounding error is below half a unit.
    """
    last = num_realisations - 1
    return last // 2 / max(last, 1)


def _levels(num_iterations: int) -> np.ndarray:
    """Iterates of a curve and those that `final` is a mean of."""
    return np.union1d(_shown(num_iterations), _last(num_iterations))


def _shown(num_iterations: int) -> np.ndarray:
    """The first iterate, the last and up to a hundred between, evenly on a logarithmic scale."""
    return np.unique([0, *np.geomspace(1, num_iterations, NUM_SHOWN).round().astype(int)])


def _last(num_iterations: int) -> np.ndarray:
    """The last tenth of the iterates."""
    count = num_iterations + 1
    return np.arange(count - max(count // 10, 1), count)


def _among(found: pd.DataFrame, iterates: Callable[[int], np.ndarray]) -> pd.DataFrame:
    """The rows at the iterates that a function of its scheme's length names."""
    lengths = found.groupby(["problem", "scheme"], sort=False)["iterate"].transform("max")
    each = [
        (lengths == length) & found["iterate"].isin(iterates(int(length)))
        for length in lengths.unique()
    ]
    return found[np.logical_or.reduce(each)]


def curve_frame(found: pd.DataFrame) -> pd.DataFrame:
    """Means over the realisations: a row a (task, delays, scheme, iterate).

    Args:
        found: the tables of all `experiments`, one below the other.
    """
    rows = _among(found, _shown)
    columns = {"problem": "task", "recorded": "accuracy", "time_mean": "time"}
    names = ["task", "delays", "scheme", "iterate", "accuracy", *COSTS]
    curves = rows.rename(columns=columns | {"accuracy": "level"})[names]
    return curves.astype({"iterate": int}).reset_index(drop=True)


def table_frame(found: pd.DataFrame) -> pd.DataFrame:
    """What every scheme took to reach a task's test accuracy: a row a (task, delays, scheme).

    Columns: medians over the realisations of `iterations` and of all costs at the first iterate
    with that accuracy, the lower of two middle ones, `inf` where more than half of them never had
    it; `reached`, the share that did; `final`, the mean accuracy in the last tenth of the
    iterations.

    Args:
        found: as for `curve_frame`.
    """
    names = ["problem", "delays", "scheme"]
    level = next(name for name in found.columns if name.startswith("time_q")).removeprefix("time")
    medians = {f"{cost}{level}": cost for cost in ("iterations", *COSTS)}
    hits = found[found["accuracy"].notna()].set_index(names)
    final = _among(found, _last).groupby(names, sort=False)["recorded"].mean()
    table = hits[list(medians)].rename(columns=medians).assign(reached=hits["reached"], final=final)
    return table.rename_axis(["task", *names[1:]]).reset_index()


def relative_frame(table: pd.DataFrame, task: str, law: str) -> pd.DataFrame:
    """The costs of a table's rows of one task and law as multiples of those of GD, and `final`."""
    chosen = table[(table["task"] == task) & (table["delays"] == law)].set_index("scheme")
    costs = chosen[["iterations", *COSTS]]
    return (costs / costs.loc["GD"]).assign(final=chosen["final"]).reset_index()


class Results(NamedTuple):
    """A survey as tidy frames, each with a first column `task`; see the function of each.

    Attributes:
        curves: of `curve_frame`.
        table: of `table_frame`.
        claims: of `literature.claims_frame`.
    """

    curves: pd.DataFrame
    table: pd.DataFrame
    claims: pd.DataFrame


def collect_frames(tasks: Mapping[str, Task], found: pd.DataFrame) -> Results:
    """All frames of the tables of all `experiments`, one below the other."""
    table, claims = table_frame(found), []
    for name, task in tasks.items():
        sampled = isinstance(task.problem, MinibatchProblem)
        frame = claims_frame(table[table["task"] == name], sampled)
        frame.insert(0, "task", name)
        claims.append(frame)
    return Results(curve_frame(found), table, pd.concat(claims, ignore_index=True))
