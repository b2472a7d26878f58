"""All schemes, from gradient descent to the latest, on one task and the same computing times.

A task is a classification problem with its test data. Every scheme meets the same times of the same
workers in every realisation, under several laws of the times. Frames put accuracy, time,
communication, computation and bits side by side, and next to them what the papers claim.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jax import Array

from lagc_jax.delays.base import TimeSource
from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.literature import claims_frame
from lagc_jax.problems.base import Problem
from lagc_jax.problems.stochastic import MinibatchProblem
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import (
    approximate_gc,
    cada,
    erasure_head,
    fastest_k,
    first_decodable,
    g_cada,
    g_lag,
    gc,
    gd,
    grouping,
    lag,
    lagc,
    laq,
    lasg,
    stochastic_gc,
)
from lagc_jax.schemes.coding import bernoulli_gc, short_gc
from lagc_jax.schemes.compressors import TopK
from lagc_jax.schemes.messages import (
    clag,
    compressed_gd,
    diana,
    ef21,
    error_feedback,
    local_sgd,
    marina,
)
from lagc_jax.schemes.servers import amsgrad
from lagc_jax.targets import Accuracy, Iterate, Several

COSTS = ("time", "communication", "computation", "bits")
NUM_SHOWN = 100  # iterates of a curve


class Task(NamedTuple):
    """What is learnt.

    Attributes:
        problem: loss over M partitions, perhaps on minibatches.
        theta0: start.
        test_accuracy: function of the parameters to the share of the test data that is right, ();
            static.
        target: test accuracy to reach.
        step_size: `alpha` of gradient descent at the server.
        adam_step_size: that of AMSGrad.
        lasg_xi: weights `c/D` of LASG's worker rule, in the scale of the loss.
        lasg_server_xi: those of its server rule.
        cada_xi: those of CADA.
        g_cada_xi: those of G-CADA.
        grouped_problem: the problem for G-CADA, with minibatches of which those of a group's
            partitions are as large together as one of `problem`; None for full gradients, of which
            a group takes one a partition.
    """

    problem: Problem
    theta0: Any
    test_accuracy: Callable[[Any], Array]
    target: float
    step_size: float
    adam_step_size: float
    lasg_xi: float
    lasg_server_xi: float
    cada_xi: float
    g_cada_xi: float
    grouped_problem: Problem | None = None


class Contender(NamedTuple):
    """A scheme as it is run on a task.

    Attributes:
        scheme: of the package.
        step_size: `alpha`.
        problem: in place of the task's, if it is one of its own.
    """

    scheme: Scheme
    step_size: float
    problem: Problem | None = None


def contenders(
    task: Task, num_groups: int, redundancy: int, num_waited: int
) -> dict[str, Contender]:
    """Every scheme by name, as `Contender`; LAG and LAQ with the weights of their papers.

    MARINA is for full gradients, and left out with minibatches.

    Args:
        task: its number of partitions is `M`.
        num_groups: `G`, of the grouped schemes.
        redundancy: `r`, of the coded ones.
        num_waited: workers that schemes which lose gradients wait for.
    """
    M, G, r, k = task.problem.num_partitions, num_groups, redundancy, num_waited
    top = TopK(few(task.problem))
    at_alpha = {
        "GD": gd(M),
        "GC": gc(M, r),
        "first decodable": first_decodable(M, r),
        "grouping": grouping(M, G),
        "fastest-k": fastest_k(M, k),
        "stochastic GC": stochastic_gc(M, r, k),
        "approximate GC": approximate_gc(M, r, num_waited=k),
        "ErasureHead": erasure_head(M, r, num_waited=k),
        "LAG-PS": lag(M, xi=1.0),
        "LAG-WK": lag(M, xi=0.1, trigger="worker"),
        "LAGC": lagc(M, G, r, xi=1.0),
        "G-LAG": g_lag(M, G, xi=1.0),
        "LAQ": laq(M),
        "LASG-PS": lasg(M, task.lasg_server_xi, trigger="lasg-server"),
        "LASG-WK2": lasg(M, task.lasg_xi),
        "short GC": short_gc(M, min(r + 1, M), pieces=2),
        "Bernoulli GC": bernoulli_gc(M, r, num_waited=k),
        "QSGD": compressed_gd(M, "dithering(4)"),
        "error feedback": error_feedback(M, "sign"),
        "EF21": ef21(M, top),
        "CLAG": clag(M, top, xi=1.0),
        "DIANA": diana(M, "natural", rate=8 / 9),
        "FedAvg": local_sgd(M, 4, participants=k),
    }
    if not isinstance(task.problem, MinibatchProblem):
        at_alpha["MARINA"] = marina(M, "natural", probability=0.1)
    adaptive = {
        "AMSGrad": replace(gd(M), optimizer=amsgrad),
        "CADA1": cada(M, task.cada_xi, trigger="cada1"),
        "CADA2": cada(M, task.cada_xi),
    }
    load = M // G if task.grouped_problem is None else 1
    grouped = g_cada(M, G, task.g_cada_xi, load=load)
    return {
        **{name: Contender(s, task.step_size) for name, s in at_alpha.items()},
        **{name: Contender(s, task.adam_step_size) for name, s in adaptive.items()},
        "G-CADA": Contender(grouped, task.adam_step_size, task.grouped_problem),
    }


def few(problem: Problem) -> int:
    """Entries that a sparse message keeps: one of twenty."""
    return max(problem.num_parameters // 20, 1)


def experiments(
    tasks: Mapping[str, Task],
    schemes: Mapping[str, Mapping[str, Contender]],
    laws: Mapping[str, TimeSource],
    key: Array,
    num_iterations: int,
    num_realisations: int,
) -> list[Experiment]:
    """A survey as experiments, one for all contenders of a task with one problem and step size.

    Args:
        tasks: by name.
        schemes: of `contenders`, by task.
        laws: of the times.
        key: a JAX random key; realisation `i` of everything uses `fold_in(key, i)`.
        num_iterations: `K`.
        num_realisations: `R`.
    """
    everything = []
    for name, task in tasks.items():
        alike: dict[Hashable, dict[str, Contender]] = {}
        for each, contender in schemes[name].items():
            group = id(contender.problem), contender.step_size
            alike.setdefault(group, {})[each] = contender
        target = Several(
            (
                Accuracy(np.array([task.target]), task.test_accuracy),
                Iterate(_levels(num_iterations), task.test_accuracy),
            )
        )
        for members in alike.values():
            first = next(iter(members.values()))
            everything.append(
                Experiment(
                    problems={name: task.problem if first.problem is None else first.problem},
                    schemes={each: contender.scheme for each, contender in members.items()},
                    delays=laws,
                    num_iterations=num_iterations,
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


def curve_frame(found: pd.DataFrame) -> pd.DataFrame:
    """Means over the realisations: a row a (task, delays, scheme, iterate).

    Args:
        found: the tables of all `experiments`, one below the other.
    """
    rows = found[found["iterate"].isin(_shown(_length(found)))]
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
    late = found[found["iterate"].isin(_last(_length(found)))]
    final = late.groupby(names, sort=False)["recorded"].mean()
    table = hits[list(medians)].rename(columns=medians).assign(reached=hits["reached"], final=final)
    return table.rename_axis(["task", *names[1:]]).reset_index()


def _length(found: pd.DataFrame) -> int:
    return int(found["iterate"].max())


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
