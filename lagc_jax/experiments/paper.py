"""The paper's study as data: what is run, what is measured, and which claims hold (LAGC).

Two experiments make it: all schemes under both families of delays, down to a row of gaps, and the
exact means under Pareto delays of many shapes. Frames put their rows side by side.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jax import Array

from lagc_jax.clock import order_law
from lagc_jax.delays.base import Delays, Pareto
from lagc_jax.experiments.claims import claims_table, decide
from lagc_jax.experiments.experiment import Experiment, Vary
from lagc_jax.experiments.runner import run
from lagc_jax.law.identical import check_iteration
from lagc_jax.problems.base import Problem
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import g_lag, gc, gd, grouping, lag, lagc
from lagc_jax.targets import Gap
from lagc_jax.theory import Expectation, delay_row, scheme_row

QUANTILES = (0.05, 0.5, 0.95)
NUM_LEVELS = 60
TAIL_SHAPES = np.geomspace(0.3, 6.0, 100)


class Plan(NamedTuple):
    """A whole study, before it is run.

    Attributes:
        problem: loss over M partitions.
        schemes: of `paper_schemes`.
        redundancies: of `redundancy_schemes`.
        delays: families of delays by name, "pareto" and "exponential".
        step_size: `alpha`.
        accuracies: (A,) gaps to report, falling; the last is the accuracy of the study.
        key: a JAX random key; realisation `i` of every scheme uses `fold_in(key, i)`.
        num_iterations: `K`.
        num_realisations: `R`.
    """

    problem: Problem
    schemes: Mapping[str, Scheme]
    redundancies: Mapping[tuple[str, int], Scheme]
    delays: Mapping[str, Delays]
    step_size: float
    accuracies: np.ndarray
    key: Array
    num_iterations: int
    num_realisations: int


def experiments(plan: Plan) -> tuple[Experiment, Experiment]:
    """Realisations and exact means at all gaps, and the exact means under other Pareto tails."""
    schemes = {name: [scheme] for name, scheme in plan.schemes.items()}
    for (name, _), scheme in plan.redundancies.items():
        if scheme not in schemes[name]:
            schemes[name].append(scheme)
    common: dict[str, Any] = dict(
        problems={"problem": plan.problem},
        target=Gap(plan.accuracies),
        step_sizes=[plan.step_size],
        step_unit="absolute",
        num_iterations=plan.num_iterations,
        quantiles=QUANTILES,
        key=plan.key,
    )
    main = Experiment(
        **common,
        schemes=schemes,
        delays=plan.delays,
        num_realisations=plan.num_realisations,
    )
    scale = plan.delays["pareto"].scale  # type: ignore[attr-defined]
    tails = Experiment(
        **common,
        schemes=plan.schemes,
        delays={"pareto": Vary(Pareto, scale=scale, shape=TAIL_SHAPES)},
        num_realisations=0,
    )
    return main, tails


def paper_schemes(
    num_workers: int, num_groups: int, redundancy: int, xi: float, memory: int
) -> dict[str, Scheme]:
    """The six schemes of Table I by name; GC and LAGC with the same redundancy."""
    return {
        "GD": gd(num_workers),
        "GC": gc(num_workers, redundancy),
        "grouping": grouping(num_workers, num_groups),
        "LAG": lag(num_workers, xi, memory),
        "LAGC": lagc(num_workers, num_groups, redundancy, xi, memory),
        "G-LAG": g_lag(num_workers, num_groups, xi, memory),
    }


def redundancy_schemes(
    num_workers: int, num_groups: int, xi: float, memory: int
) -> dict[tuple[str, int], Scheme]:
    """GC and LAGC with every redundancy that they allow, by (name, redundancy)."""
    coded = {("GC", r): gc(num_workers, r) for r in range(1, num_workers + 1)}
    group_size = num_workers // num_groups
    lazy = {
        ("LAGC", r): lagc(num_workers, num_groups, r, xi, memory) for r in range(1, group_size + 1)
    }
    return coded | lazy


def default_iterations(
    problem: Problem, initial_gap: float, accuracy: float, step_size: float
) -> int:
    """Twice what suffices without adaptive selection, in hundreds, at most 200,000 iterations."""
    most, step = 200_000, min(step_size, 1 / float(problem.total_smoothness))
    rate = step * float(problem.strong_convexity)
    if rate == 0:  # a loss that is flat somewhere
        return most
    bound = 2 * math.log(initial_gap / accuracy) / rate
    return min(100 * math.ceil(bound / 100), most)


def table_frame(plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """Table I with what the realisations gave: a row a scheme, columns as in `theory.scheme_row`.

    For every family of delays it adds the Monte Carlo mean and the 5, 50 and 95 % quantiles of the
    wall-clock time to the accuracy.
    """
    made = []
    for name, scheme in plan.schemes.items():
        row: dict[str, float] = {}
        for family in plan.delays:
            last = _rows(rows, name, scheme, family).iloc[-1]
            expectation = _expectation(scheme, last)
            row |= scheme_row(scheme, expectation) | delay_row(family, expectation)
            row[f"{family} wall-clock Monte Carlo mean"] = last["time_mean"]
            for level in QUANTILES:
                row[f"{family} wall-clock {100 * level:g} % quantile"] = last[f"time_q{level}"]
        made.append(row)
    return pd.DataFrame(made, index=pd.Index(plan.schemes, name="scheme"))


def _rows(rows: pd.DataFrame, name: str, scheme: Scheme, family: str) -> pd.DataFrame:
    """Rows of a scheme under a family of delays, a gap each."""
    named = (rows["scheme"] == name) & (rows["redundancy"] == scheme.redundancy)
    return rows[named & (rows["delays"] == family)]


def _expectation(scheme: Scheme, row: pd.Series) -> Expectation:
    """The exact values of a row, with what an iteration took on average."""
    working = row["computation"] / (scheme.load * scheme.group_size)
    with np.errstate(invalid="ignore"):  # where the accuracy is not reached
        uploads = (row["communication"] - scheme.group_size * working) / scheme.num_waited
        selected, time = (each / row["iterations"] for each in (uploads, row["time_expected"]))
    return Expectation(
        iterations=row["iterations"],
        mean=row["time_expected"],
        variance=row["time_variance"],
        communication=row["communication"],
        computation=row["computation"],
        selected=selected,
        time=time,
    )


def curve_frame(plan: Plan, rows: pd.DataFrame, family: str) -> pd.DataFrame:
    """What every scheme took to bring the gap to each level, in long form; `inf` if never."""
    frames = []
    for name, scheme in plan.schemes.items():
        found = _rows(rows, name, scheme, family).reset_index()
        columns = {
            "scheme": name,
            "gap": found["accuracy"],
            "iterations": found["iterations"],
            "wall-clock mean": found["time_expected"],
            **{f"wall-clock {100 * q:g} %": found[f"time_q{q}"] for q in QUANTILES},
            "communication": found["communication"],
            "computation": found["computation"],
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def redundancy_frame(plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """The three complexities to the accuracy against the redundancy, in long form."""
    made = []
    for (name, r), scheme in plan.redundancies.items():
        for family in plan.delays:
            last = _rows(rows, name, scheme, family).iloc[-1]
            made.append(
                {
                    "scheme": name,
                    "redundancy": r,
                    "delays": family,
                    "wall-clock mean": last["time_expected"],
                    **{f"wall-clock {100 * q:g} %": last[f"time_q{q}"] for q in QUANTILES},
                    "communication": last["communication"],
                    "computation": last["computation"],
                }
            )
    return pd.DataFrame(made)


def tail_frame(plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """Exact mean time to the accuracy against the Pareto shape, in long form; `inf` if infinite."""
    last = rows[rows["accuracy"] == plan.accuracies[-1]]
    named = last[["scheme", "redundancy", "shape", "time_expected"]]
    return named.rename(columns={"time_expected": "wall-clock mean"}).reset_index(drop=True)


class _Claim(NamedTuple):
    """A statement `value of scheme < smallest value of the others`, or its opposite."""

    text: str
    column: str
    scheme: str
    others: Sequence[str]


def _claims() -> list[_Claim]:
    everyone = ["GD", "GC", "grouping", "LAG", "LAGC"]
    claims = []
    for family in ("pareto", "exponential"):
        time = f"{family} wall-clock mean"
        claims.append(_Claim("G-LAG has the best wall-clock time", time, "G-LAG", everyone))
        for scheme in ("LAGC", "G-LAG"):
            text = f"{scheme} tolerates stragglers: faster than LAG"
            claims.append(_Claim(text, time, scheme, ["LAG"]))
    claims.append(_Claim("G-LAG has the best communication", "communication", "G-LAG", everyone))
    claims.append(
        _Claim(
            "G-LAG keeps computation low: below every scheme without adaptive selection",
            "computation",
            "G-LAG",
            ["GD", "GC", "grouping"],
        )
    )
    for scheme, full in (("LAGC", "GC"), ("G-LAG", "grouping")):
        for cost in ("communication", "computation"):
            text = f"{scheme} keeps the savings of adaptive selection: less {cost} than {full}"
            claims.append(_Claim(text, cost, scheme, [full]))
    claims.append(
        _Claim("GC beats GD in time when the tail is high", "pareto wall-clock mean", "GC", ["GD"])
    )
    claims.append(
        _Claim(
            "GC need not beat GD in time when the tail is low",
            "exponential wall-clock mean",
            "GD",
            ["GC"],
        )
    )
    return claims


def claims_frame(table: pd.DataFrame) -> pd.DataFrame:
    """Check each claim of the paper on a table of `table_frame`.

    Returns:
        A frame with the claim, the column compared, the scheme that should be smaller and its
        value, the best of the others and its value, the margin (by how much of its own value the
        scheme is ahead: `others / value - 1`, negative if behind, NaN where neither reached the
        accuracy) and whether the claim holds, undecided where neither did.
    """
    rows = []
    for claim in _claims():
        value = float(table.loc[claim.scheme, claim.column])  # type: ignore[arg-type]
        rivals = table.loc[list(claim.others), claim.column]
        rival, best = str(rivals.idxmin()), float(rivals.min())
        both_infinite = math.isinf(value) and math.isinf(best)
        rows.append(
            {
                "claim": claim.text,
                "compared": claim.column,
                "scheme": claim.scheme,
                "value": value,
                "best other": rival,
                "best other value": best,
                "margin": math.nan if both_infinite else best / value - 1,
                "holds": decide(value < best, value, best),
            }
        )
    return claims_table(rows)


class Results(NamedTuple):
    """A whole study as tidy frames; see the function of each.

    Attributes:
        table: of `table_frame`.
        curves: of `curve_frame`, by family of delays.
        redundancy: of `redundancy_frame`.
        tail: of `tail_frame`.
        claims: of `claims_frame`.
    """

    table: pd.DataFrame
    curves: dict[str, pd.DataFrame]
    redundancy: pd.DataFrame
    tail: pd.DataFrame
    claims: pd.DataFrame


def run_study(plan: Plan, progress: bool = True) -> Results:
    """Run the experiments of a study and put their frames together."""
    for scheme in plan.schemes.values():
        for family in plan.delays.values():
            check_iteration(*order_law(scheme, family), order=1)  # warns of infinite means
    main, tails = (run(experiment, progress=progress) for experiment in experiments(plan))
    table = table_frame(plan, main)
    return Results(
        table=table,
        curves={family: curve_frame(plan, main, family) for family in plan.delays},
        redundancy=redundancy_frame(plan, main),
        tail=tail_frame(plan, tails),
        claims=claims_frame(table),
    )
