"""All schemes, from gradient descent to the latest, on one task and the same computing times.

A task is a classification problem with its test data. Every scheme meets the same times of the same
workers in every realisation (replayed from one array), under several laws of the times at once, so
that the path of a scheme whose path does not depend on them is computed once. Frames put accuracy,
time, messages, bits and gradients side by side, and next to them what the papers claim.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._keys import fold_each, make_key
from lagc_jax._programs import compiled
from lagc_jax.costs import first_hit
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.traces import Trace
from lagc_jax.experiments.claims import claims_table, count, decide
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
from lagc_jax.schemes.servers import amsgrad
from lagc_jax.times import sample_worker_times
from lagc_jax.trajectory import simulate

COSTS = ("time", "messages", "bits", "gradients")
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

    Args:
        task: its number of partitions is `M`.
        num_groups: `G`, of the grouped schemes.
        redundancy: `r`, of the coded ones.
        num_waited: workers that schemes which lose gradients wait for.
    """
    M, G, r, k = task.problem.num_partitions, num_groups, redundancy, num_waited
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
    }
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


def draw_times(
    delays: Sequence[TimeSource],
    key: Array,
    num_realisations: int,
    num_iterations: int,
    num_workers: int,
) -> Array:
    """Times for one gradient under every law of `delays`, (number of laws, R, K, M).

    Realisation `i` uses `fold_in(key, i)` under all laws.
    """
    keys = fold_each(key, jnp.arange(num_realisations))
    return jnp.stack(
        [
            jax.vmap(
                lambda one, law=law: sample_worker_times(law, one, num_iterations, num_workers)
            )(keys)
            for law in delays
        ]
    )


class Runs(NamedTuple):
    """One scheme under every law, in every realisation; arrays (laws, R, K+1).

    Attributes:
        accuracy: test accuracy.
        time: cumulative time.
        messages: both ways, cumulative.
        bits: to the server, cumulative.
        gradients: of partitions, cumulative.
    """

    accuracy: Array
    time: Array
    messages: Array
    bits: Array
    gradients: Array


def run(task: Task, contender: Contender, times: Array) -> Runs:
    """Run a scheme on given times (laws, R, K, M)."""
    runs = _run(
        task.problem if contender.problem is None else contender.problem,
        contender.scheme,
        contender.step_size,
        task.theta0,
        times.reshape(-1, *times.shape[2:]),
        task.test_accuracy,
    )
    return jax.tree.map(lambda leaf: leaf.reshape(*times.shape[:2], -1), runs)


@compiled("test_accuracy")
def _run(
    problem: Problem,
    scheme: Scheme,
    step_size: ArrayLike,
    theta0: Any,
    times: Array,
    test_accuracy: Callable[[Any], Array],
) -> Runs:
    def one(tau: Array) -> Runs:
        trajectory = simulate(
            problem,
            scheme,
            Trace(tau, "replay"),
            make_key(0),  # a replay draws nothing
            num_iterations=times.shape[1],
            step_size=step_size,
            theta0=theta0,
            sampler="workers",
            record=test_accuracy,
        )
        return Runs(
            trajectory.recorded,
            trajectory.wall_clock,
            trajectory.communication,
            trajectory.bits,
            trajectory.computation,
        )

    return jax.vmap(one)(times)


def curve_frame(runs: Mapping[str, Runs], laws: Sequence[str]) -> pd.DataFrame:
    """Means over the realisations: a row a (delays, scheme, iterate).

    Of the iterates the first, the last and up to a hundred between, evenly on a logarithmic scale.
    """
    frames = []
    for name, values in runs.items():
        means = jax.tree.map(lambda leaf: np.asarray(leaf, float).mean(1), values)
        last = means.accuracy.shape[1] - 1
        shown = np.unique([0, *np.geomspace(1, last, NUM_SHOWN).round().astype(int)])
        for i, law in enumerate(laws):
            columns = {field: leaf[i, shown] for field, leaf in means._asdict().items()}
            frames.append(pd.DataFrame({"delays": law, "scheme": name, "iterate": shown} | columns))
    return pd.concat(frames, ignore_index=True)


def table_frame(runs: Mapping[str, Runs], laws: Sequence[str], target: float) -> pd.DataFrame:
    """What every scheme took to reach a test accuracy: a row a (delays, scheme).

    Columns: medians over the realisations of `iterations` and of all costs at the first iterate
    with that accuracy, the lower of two middle ones, `inf` where more than half of them never had
    it; `reached`, the share that did; `final`, the mean accuracy in the last tenth of the
    iterations.
    """
    rows = []
    for name, values in runs.items():
        for i, law in enumerate(laws):
            accuracy = np.asarray(values.accuracy[i])
            hit = first_hit(-accuracy, -target)
            iterates = np.broadcast_to(np.arange(accuracy.shape[1]), accuracy.shape)
            last = accuracy[:, -max(accuracy.shape[1] // 10, 1) :]
            rows.append(
                {
                    "delays": law,
                    "scheme": name,
                    "iterations": _median_at(hit, iterates),
                    **{cost: _median_at(hit, getattr(values, cost)[i]) for cost in COSTS},
                    "reached": float(np.mean(hit[1])),
                    "final": float(last.mean()),
                }
            )
    return pd.DataFrame(rows)


def _median_at(hit: tuple[Array, Array], costs: ArrayLike) -> float:
    """Median of costs (R, K+1) at first hits: indices and whether there are any, (R,) each."""
    index, reached = map(np.asarray, hit)
    at = np.take_along_axis(np.asarray(costs, float), index[:, None], axis=1)[:, 0]
    # An order statistic: half way to infinity would not be a number of any run.
    return float(np.quantile(np.where(reached, at, np.inf), 0.5, method="lower"))


class Claim(NamedTuple):
    """A paper's claim as a comparison of two schemes in one column of `table_frame`.

    Attributes:
        paper: short name and year.
        text: the claim.
        scheme: that should have less (more, if the column is `final`).
        than: that it is compared with.
        column: what is compared.
        factor: of the other's value that the scheme should stay below, or the accuracy by which it
            may fall short in `final`.
        minibatches: whether it is about minibatches only.
    """

    paper: str
    text: str
    scheme: str
    than: str
    column: str
    factor: float = 1.0
    minibatches: bool = False


CLAIMS = (
    Claim("Tandon et al. 2017", "coding beats waiting for all in time", "GC", "GD", "time"),
    Claim(
        "Tandon et al. 2017",
        "the first decodable set comes no later than the (M-r+1)-th message",
        "first decodable",
        "GC",
        "time",
    ),
    Claim("Chen et al. 2016", "dropping stragglers saves time", "fastest-k", "GD", "time"),
    Claim(
        "Bitar et al. 2020",
        "stochastic coding comes close to the accuracy of all gradients",
        "stochastic GC",
        "GD",
        "final",
        0.02,
    ),
    Claim(
        "Raviv et al. 2018",
        "least squares comes close to the accuracy of all gradients",
        "approximate GC",
        "GD",
        "final",
        0.02,
    ),
    Claim(
        "Wang et al. 2019",
        "ErasureHead beats an exact code in time",
        "ErasureHead",
        "GC",
        "time",
    ),
    Claim(
        "Wang et al. 2019",
        "ErasureHead comes close to the accuracy of all gradients",
        "ErasureHead",
        "GD",
        "final",
        0.02,
    ),
    Claim("Chen et al. 2018", "LAG-WK saves uploads", "LAG-WK", "GD", "bits"),
    Claim("Chen et al. 2018", "LAG-PS saves messages", "LAG-PS", "GD", "messages"),
    Claim("Zhang, Simeone 2021", "G-LAG beats GC in time", "G-LAG", "GC", "time"),
    Claim("Zhang, Simeone 2021", "G-LAG beats LAG in messages", "G-LAG", "LAG-PS", "messages"),
    Claim("Sun et al. 2019", "LAQ saves bits over LAG", "LAQ", "LAG-WK", "bits"),
    Claim(
        "Chen, Sun, Yin 2020",
        "LASG saves uploads over LAG where samples are random",
        "LASG-WK2",
        "LAG-WK",
        "bits",
        minibatches=True,
    ),
    Claim(
        "Chen et al. 2021",
        "CADA saves at least 60 % of Adam's uploads",
        "CADA2",
        "AMSGrad",
        "bits",
        0.4,
    ),
    Claim("Chen et al. 2021", "CADA is as accurate as Adam", "CADA2", "AMSGrad", "final", 0.02),
    Claim("Zhu et al. 2022", "G-CADA beats CADA in time", "G-CADA", "CADA2", "time"),
    Claim("Zhu et al. 2022", "G-CADA beats CADA in bits", "G-CADA", "CADA2", "bits"),
)


def claims_frame(table: pd.DataFrame, minibatches: bool) -> pd.DataFrame:
    """Check the claims on a table of `table_frame`: a row a claim and law of the times.

    Args:
        table: of one task.
        minibatches: whether it has minibatches; claims about them alone are left out otherwise.

    Columns: the claim, the two values compared, and whether it holds in this run: no claim on the
    way to an accuracy holds for a scheme that misses it, and it is undecided where both do.
    """
    rows = []
    for law, block in table.groupby("delays", sort=False):
        values = block.set_index("scheme")
        for claim in CLAIMS:
            if claim.minibatches and not minibatches:
                continue
            mine = float(values.loc[claim.scheme, claim.column])  # type: ignore[arg-type]
            other = float(values.loc[claim.than, claim.column])  # type: ignore[arg-type]
            bound = other - claim.factor if claim.column == "final" else claim.factor * other
            holds = mine >= bound if claim.column == "final" else mine <= bound
            rows.append(
                {
                    "paper": claim.paper,
                    "claim": claim.text,
                    "delays": law,
                    "compared": claim.column,
                    "scheme": claim.scheme,
                    "value": mine,
                    "than": claim.than,
                    "other value": other,
                    "holds": decide(holds, mine, other),
                }
            )
    return claims_table(rows)


def relative_frame(table: pd.DataFrame, task: str, law: str) -> pd.DataFrame:
    """The costs of a table's rows of one task and law as multiples of those of GD, and `final`."""
    chosen = table[(table["task"] == task) & (table["delays"] == law)].set_index("scheme")
    costs = chosen[["iterations", *COSTS]]
    return (costs / costs.loc["GD"]).assign(final=chosen["final"]).reset_index()


def summarise_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """A row a claim: in how many tasks and laws it holds, and the range of what was compared.

    That is the scheme's cost over the other's, or its accuracy less the other's.
    """
    rows = []
    for (paper, claim), group in claims.groupby(["paper", "claim"], sort=False):
        column, scheme, than = group.iloc[0][["compared", "scheme", "than"]]
        mine, other = group["value"], group["other value"]
        word, compared = ("less", mine - other) if column == "final" else ("over", mine / other)
        rows.append(
            {
                "paper": paper,
                "claim": claim,
                "compared": f"{column} of {scheme} {word} {than}",
                "from": compared.min(),
                "to": compared.max(),
                "holds in": count(group["holds"]),
            }
        )
    return pd.DataFrame(rows)


class Results(NamedTuple):
    """A survey as tidy frames, each with a first column `task`; see the function of each.

    Attributes:
        curves: of `curve_frame`.
        table: of `table_frame`.
        claims: of `claims_frame`.
    """

    curves: pd.DataFrame
    table: pd.DataFrame
    claims: pd.DataFrame


def collect_frames(
    tasks: Mapping[str, Task], runs: Mapping[str, Mapping[str, Runs]], laws: Sequence[str]
) -> Results:
    """Put the runs of every task together.

    Args:
        tasks: by name.
        runs: of `run`, by task and by scheme.
        laws: names of the laws of the times.
    """
    parts = []
    for name, task in tasks.items():
        table = table_frame(runs[name], laws, task.target)
        sampled = isinstance(task.problem, MinibatchProblem)
        frames = Results(curve_frame(runs[name], laws), table, claims_frame(table, sampled))
        for frame in frames:
            frame.insert(0, "task", name)
        parts.append(frames)
    return Results(*(pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True)))
