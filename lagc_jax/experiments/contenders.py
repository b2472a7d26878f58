"""Who meets in a survey: every scheme of the catalogue, with step sizes and weights to choose from.

Schemes of plain descent that send or recover gradients whole have the task's step size, and LAG and
LAQ the weights of their papers. All others have candidates: compressed, local, momentum and
event-driven ones step sizes, LASG weights, and adaptive servers both. The same procedure chooses
for all of them (`choose`): the candidate with the least bits to the target on data, a start,
minibatches and times of another seed.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jax import Array

from lagc_jax.problems.base import Problem
from lagc_jax.problems.stochastic import MinibatchProblem
from lagc_jax.schemes.adaptive import adaptive_k, dynamic_clusters
from lagc_jax.schemes.anytime import anytime
from lagc_jax.schemes.asynchronous import (
    asynchronous,
    delay_adaptive,
    k_async,
    k_batch_async,
    k_batch_sync,
    k_sync,
    mindflayer,
    rennala,
    ringmaster,
)
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
from lagc_jax.schemes.coding import bernoulli_gc, heterogeneous_gc, regular_graph_gc, short_gc
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
from lagc_jax.schemes.multi_message import multi_message_gc
from lagc_jax.schemes.schedules import cyclic_schedule, staircase_schedule
from lagc_jax.schemes.sequential import m_sgc, round_gc, sr_sgc
from lagc_jax.schemes.servers import Momentum, amsgrad

STEPS = (0.125, 0.25, 0.5, 1.0)  # of the task's
ADAM_STEPS = (0.003, 0.01, 0.03, 0.1)
WEIGHTS = tuple(10.0**power for power in range(-2, 10))  # `c/D`, in the scale of the loss
SEPARATOR = " | "


class Task(NamedTuple):
    """What is learnt.

    Attributes:
        problem: loss over M partitions, perhaps on minibatches.
        theta0: start.
        test_accuracy: function of the parameters to the share of the test data that is right, ();
            static.
        target: test accuracy to reach.
        step_size: `alpha` of gradient descent at the server.
        grouped_problem: the problem for G-CADA, with minibatches of which those of a group's
            partitions are as large together as one of `problem`; None for full gradients, of which
            a group takes one a partition.
        free_problem: the problem for event-driven schemes, whose workers hold all data, with
            small minibatches; None leaves these schemes out.
        free_load: what a gradient of it costs, in those of a partition of `problem`.
    """

    problem: Problem
    theta0: Any
    test_accuracy: Callable[[Any], Array]
    target: float
    step_size: float
    grouped_problem: Problem | None = None
    free_problem: Problem | None = None
    free_load: float = 1.0


class Contender(NamedTuple):
    """A scheme as it is run on a task.

    Attributes:
        scheme: of the package.
        step_size: `alpha`.
        problem: in place of the task's, if it is one of its own.
        updates: for an iteration of the others, so that all compute about as many gradients.
    """

    scheme: Scheme
    step_size: float
    problem: Problem | None = None
    updates: int = 1


def candidates(
    task: Task, num_groups: int, redundancy: int, num_waited: int
) -> dict[str, list[Contender]]:
    """Every scheme by name, with all that it may be run with.

    MARINA is for full gradients and left out with minibatches, anytime minibatches without, and
    event-driven schemes where the task has no problem for them.

    Args:
        task: its number of partitions is `M`.
        num_groups: `G`, of the grouped schemes.
        redundancy: `r`, of the coded ones.
        num_waited: workers that schemes which lose gradients wait for.
    """
    M, alpha = task.problem.num_partitions, task.step_size
    fixed = fixed_schemes(M, num_groups, redundancy, num_waited)
    waited = _free(M, num_waited, task.free_load) if task.free_problem is not None else {}
    return {
        **{name: [Contender(scheme, alpha)] for name, scheme in fixed.items()},
        **_sampled(task),
        **{
            name: [Contender(scheme, step * alpha) for step in STEPS]
            for name, scheme in _compressed(task, num_waited).items()
        },
        **_adaptive(task, num_groups),
        **{
            name: [
                Contender(scheme, step * alpha, task.free_problem, updates=updates)
                for step in STEPS
            ]
            for name, (scheme, updates) in waited.items()
        },
    }


def fixed_schemes(
    num_workers: int, num_groups: int, redundancy: int, num_waited: int
) -> dict[str, Scheme]:
    """Schemes by name that are the same for every task; a ValueError if sizes do not fit."""
    sizes = num_workers, num_groups, redundancy, num_waited
    return _coded(*sizes) | _lazy(*sizes)


def _coded(M: int, G: int, r: int, k: int) -> dict[str, Scheme]:
    """Descent along all gradients, or along those that are there; codes with and without groups."""
    return {
        "GD": gd(M),
        "GC": gc(M, r),
        "first decodable": first_decodable(M, r),
        "grouping": grouping(M, G),
        "short GC": short_gc(M, min(r + 1, M), pieces=2),
        "heterogeneous GC": heterogeneous_gc(M, (1.0,) * M, r - 1),
        "dynamic clusters": dynamic_clusters(M, M // r // 2 or 1, r),
        "cyclic schedule": cyclic_schedule(M, r),
        "staircase schedule": staircase_schedule(M, r),
        "multi-message GC": multi_message_gc(M, r),
        "GC in rounds": round_gc(M, r),
        "SR-SGC": sr_sgc(M, burst=2, window=3, num_stragglers=max(M // 4, 1)),
        "M-SGC": m_sgc(M, burst=1, window=2, num_stragglers=max(M // 4, 1)),
        "fastest-k": fastest_k(M, k),
        "adaptive k": adaptive_k(M, max(k // 2, 1)),
        "stochastic GC": stochastic_gc(M, r, k),
        "approximate GC": approximate_gc(M, r, num_waited=k),
        "ErasureHead": erasure_head(M, r, num_waited=k),
        "Bernoulli GC": bernoulli_gc(M, r, num_waited=k),
        "regular graph GC": regular_graph_gc(M, 2, num_waited=k),
    }


def _lazy(M: int, G: int, r: int, _: int) -> dict[str, Scheme]:
    """LAG and what came of it, with the weights of the papers."""
    return {
        "LAG-PS": lag(M, xi=1.0),
        "LAG-WK": lag(M, xi=0.1, trigger="worker"),
        "LAGC": lagc(M, G, r, xi=1.0),
        "G-LAG": g_lag(M, G, xi=1.0),
        "LAQ": laq(M),
    }


def _sampled(task: Task) -> dict[str, list[Contender]]:
    """LASG's rules, each with all weights."""
    triggers = {"LASG-PS": "lasg-server", "LASG-WK1": "lasg-snapshot", "LASG-WK2": "lasg-worker"}
    M = task.problem.num_partitions
    return {
        name: [Contender(lasg(M, xi, trigger=trigger), task.step_size) for xi in WEIGHTS]
        for name, trigger in triggers.items()
    }


def _compressed(task: Task, k: int) -> dict[str, Scheme]:
    """What sends less for a gradient, or after several of them, and momentum."""
    M, top = task.problem.num_partitions, TopK(few(task.problem))
    schemes = {
        "QSGD": compressed_gd(M, "dithering(4)"),
        "error feedback": error_feedback(M, "sign"),
        "EF21": ef21(M, top),
        "CLAG": clag(M, top, xi=1.0),
        "DIANA": diana(M, "natural", rate=8 / 9),
        "FedAvg": local_sgd(M, 4, participants=k),
        "momentum": replace(gd(M), optimizer=Momentum()),
    }
    if isinstance(task.problem, MinibatchProblem):
        return {**schemes, "anytime minibatch": anytime(M, allotted=2.0, most=3)}
    return {**schemes, "MARINA": marina(M, "natural", probability=0.1)}


def _adaptive(task: Task, num_groups: int) -> dict[str, list[Contender]]:
    """AMSGrad with all step sizes, and its lazy kin with all weights as well."""
    M, own = task.problem.num_partitions, task.grouped_problem
    load = M // num_groups if own is None else 1
    lazy = {
        "CADA1": (lambda xi: cada(M, xi, trigger="cada1"), None),
        "CADA2": (lambda xi: cada(M, xi), None),
        "G-CADA": (lambda xi: g_cada(M, num_groups, xi, load=load), own),
    }
    grid = list(product(ADAM_STEPS, WEIGHTS))
    plain = replace(gd(M), optimizer=amsgrad)
    return {
        "AMSGrad": [Contender(plain, step) for step in ADAM_STEPS],
        **{
            name: [Contender(make(xi), step, problem) for step, xi in grid]
            for name, (make, problem) in lazy.items()
        },
    }


def _free(M: int, k: int, load: float) -> dict[str, tuple[Scheme, int]]:
    """Servers that do not wait for all, and the updates that take the gradients of an iteration.

    MindFlayer allots twice the mean time, and knows the share of its trials that succeed if times
    are exponential, as where steps are chosen.
    """
    success = 1 - math.exp(-2.0)
    return {
        "K-sync": (k_sync(M, k, load), 1),
        "K-batch-sync": (k_batch_sync(M, M, load), 1),
        "K-async": (k_async(M, k, load), 1),
        "K-batch-async": (k_batch_async(M, M, load), 1),
        "ASGD": (asynchronous(M, load), M),
        "delay-adaptive ASGD": (delay_adaptive(M, load), M),
        "Rennala": (rennala(M, M, load), 1),
        "Ringmaster": (ringmaster(M, M, load=load), M),
        "MindFlayer": (mindflayer(M, 1, 2.0 * load, success, load), 1),
    }


def few(problem: Problem) -> int:
    """Entries that a sparse message keeps: one of twenty."""
    return max(problem.num_parameters // 20, 1)


def contested(everyone: Mapping[str, list[Contender]]) -> dict[str, Contender]:
    """The candidates of schemes with more than one, each under a name of its own."""
    return {
        f"{name}{SEPARATOR}{i}": each
        for name, members in everyone.items()
        for i, each in enumerate(members)
        if len(members) > 1
    }


def choose(
    everyone: Mapping[str, list[Contender]], table: pd.DataFrame | None = None
) -> dict[str, Contender]:
    """One contender a scheme: that whose like took the least bits to the target.

    Of those that all miss it the one that ends most accurate; of equals the first.

    Args:
        everyone: of `candidates`, for the task that is run.
        table: of `survey.table_frame`, what the `contested` of another seed took; None where no
            scheme has a choice.
    """
    chosen = {name: members[0] for name, members in everyone.items()}
    if table is None:
        return chosen
    parts = table["scheme"].str.split(SEPARATOR, regex=False, expand=True)
    ranked = table.assign(scheme=parts[0], which=parts[1].astype(int))
    # An accuracy that is not a number is the least.
    ranked = ranked.assign(worse=-ranked["final"].fillna(-np.inf))
    ranked = ranked.sort_values(["bits", "worse", "which"])
    for name, which in ranked.drop_duplicates("scheme").set_index("scheme")["which"].items():
        chosen[str(name)] = everyone[str(name)][int(which)]
    return chosen


def chosen_frame(chosen: Mapping[str, Contender]) -> pd.DataFrame:
    """Step size and weight `xi` of every contender: a row a scheme."""
    rows = [
        {"scheme": name, "step_size": each.step_size, "xi": float(np.max(each.scheme.xi))}
        for name, each in chosen.items()
    ]
    return pd.DataFrame(rows)
