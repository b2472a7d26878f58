"""The paper's study as data: what is run, what is measured, and which claims hold (LAGC).

The path of a scheme, its realisations under both families of delays, its exact expectations and its
mean time under other tails make one `Measurement`; frames put them side by side.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from lagc_jax.clock import clock_of, order_law
from lagc_jax.costs import first_hit
from lagc_jax.delays.base import Delays, Pareto
from lagc_jax.descent import Path, descend
from lagc_jax.experiments.claims import claims_table, decide
from lagc_jax.law.identical import iteration_mean
from lagc_jax.problems.base import Problem
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import g_lag, gc, gd, grouping, lag, lagc
from lagc_jax.summary import Summary, realise
from lagc_jax.theory import Expectation, delay_row, expected_complexity, scheme_row

QUANTILES = (0.05, 0.5, 0.95)
NUM_LEVELS = 60
TAIL_SHAPES = np.geomspace(0.3, 6.0, 100)


class Measurement(NamedTuple):
    """All that a study knows of one scheme.

    Attributes:
        wall_clock: realisations by family of delays, summarised at the accuracies (A,).
        expectations: exact values by family, (A,).
        tail_means: (T,) exact mean time to the last accuracy under Pareto delays of the shapes
            `TAIL_SHAPES`; `inf` where it is infinite.
    """

    wall_clock: dict[str, Summary]
    expectations: dict[str, Expectation]
    tail_means: np.ndarray


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


def measure(plan: Plan, scheme: Scheme) -> Measurement:
    """Run one scheme of a study.

    Paths are compiled once for every `G` and trigger, clocks once for every family of delays and
    kind of inverse, whatever the redundancy.
    """
    path = descend(
        plan.problem,
        scheme,
        num_iterations=plan.num_iterations,
        step_size=plan.step_size,
        accuracy=plan.accuracies[-1],
    )
    expectations = {
        name: expected_complexity(scheme, family, path, plan.accuracies)
        for name, family in plan.delays.items()
    }
    index, reached = first_hit(np.asarray(path.gap), plan.accuracies)

    def realise_under(family: Delays) -> Summary:
        times = clock_of(scheme, family).along(path.selected)
        drawn = realise(
            times, plan.key, index, reached, jnp.asarray(QUANTILES), plan.num_realisations
        )
        return jax.device_get(drawn)

    wall_clock = {name: realise_under(family) for name, family in plan.delays.items()}
    return Measurement(wall_clock, expectations, _tail_means(plan, scheme, path))


def _tail_means(plan: Plan, scheme: Scheme, path: Path) -> np.ndarray:
    """Exact mean time to the last accuracy under Pareto delays of all `TAIL_SHAPES`, (T,)."""
    index, reached = first_hit(np.asarray(path.gap), plan.accuracies[-1])
    if not reached:
        return np.full(TAIL_SHAPES.shape, np.inf)
    counts = np.asarray(scheme.working(path.selected)).sum(-1)[: int(index)]
    occurrences = np.bincount(counts, minlength=scheme.num_groups + 1)
    groups = np.arange(scheme.num_groups + 1)
    scale = plan.delays["pareto"].scale  # type: ignore[attr-defined]

    def means(shape: Array) -> Array:
        family = Pareto(scale, shape)
        return iteration_mean(*order_law(scheme, family), groups)

    table = np.asarray(jax.vmap(means)(jnp.asarray(TAIL_SHAPES)))
    # What never occurs adds nothing, even where its mean is infinite.
    return np.where(occurrences > 0, table, 0) @ occurrences


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
    step = min(step_size, 1 / float(problem.total_smoothness))
    bound = 2 * math.log(initial_gap / accuracy) / (step * float(problem.strong_convexity))
    return min(100 * math.ceil(bound / 100), 200_000)


def table_frame(schemes: Mapping[str, Scheme], measured: Mapping[str, Measurement]) -> pd.DataFrame:
    """Table I with what the realisations gave: a row a scheme, columns as in `theory.scheme_row`.

    For every family of delays it adds the Monte Carlo mean and the 5, 50 and 95 % quantiles of the
    wall-clock time to the accuracy.
    """
    rows = []
    for name, scheme in schemes.items():
        row: dict[str, float] = {}
        for family, curve in measured[name].expectations.items():
            expectation = Expectation(*(values[-1] for values in curve))
            drawn = measured[name].wall_clock[family]
            row |= scheme_row(scheme, expectation) | delay_row(family, expectation)
            row[f"{family} wall-clock Monte Carlo mean"] = float(drawn.mean[-1])
            for level, value in zip(QUANTILES, drawn.quantiles[-1], strict=True):
                row[f"{family} wall-clock {100 * level:g} % quantile"] = float(value)
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(schemes, name="scheme"))


def curve_frame(
    accuracies: np.ndarray, measured: Mapping[str, Measurement], family: str
) -> pd.DataFrame:
    """What every scheme took to bring the gap to each level, in long form; `inf` if never."""
    frames = []
    for name, result in measured.items():
        expectation, quantiles = result.expectations[family], result.wall_clock[family].quantiles
        columns = {
            "scheme": name,
            "gap": accuracies,
            "iterations": expectation.iterations,
            "wall-clock mean": expectation.mean,
            **{f"wall-clock {100 * q:g} %": quantiles[:, i] for i, q in enumerate(QUANTILES)},
            "communication": expectation.communication,
            "computation": expectation.computation,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def redundancy_frame(measured: Mapping[tuple[str, int], Measurement]) -> pd.DataFrame:
    """The three complexities to the accuracy against the redundancy, in long form."""
    rows = [
        {
            "scheme": name,
            "redundancy": r,
            "delays": family,
            "wall-clock mean": float(expectation.mean[-1]),
            **{
                f"wall-clock {100 * q:g} %": float(value)
                for q, value in zip(QUANTILES, result.wall_clock[family].quantiles[-1], strict=True)
            },
            "communication": float(expectation.communication[-1]),
            "computation": float(expectation.computation[-1]),
        }
        for (name, r), result in measured.items()
        for family, expectation in result.expectations.items()
    ]
    return pd.DataFrame(rows)


def tail_frame(schemes: Mapping[str, Scheme], measured: Mapping[str, Measurement]) -> pd.DataFrame:
    """Exact mean time to the accuracy against the Pareto shape, in long form; `inf` if infinite."""
    frames = [
        pd.DataFrame(
            {
                "scheme": name,
                "redundancy": schemes[name].redundancy,
                "shape": TAIL_SHAPES,
                "wall-clock mean": result.tail_means,
            }
        )
        for name, result in measured.items()
    ]
    return pd.concat(frames, ignore_index=True)


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


def run_study(
    plan: Plan, progress: Callable[[Sequence[Scheme]], Iterable[Scheme]] = iter
) -> Results:
    """Measure every scheme once and put the study together.

    Args:
        plan: what to run.
        progress: wraps the sequence of schemes, as `tqdm.tqdm` does.
    """
    everyone = list(dict.fromkeys((*plan.schemes.values(), *plan.redundancies.values())))
    measured = {scheme: measure(plan, scheme) for scheme in progress(everyone)}
    main = {name: measured[scheme] for name, scheme in plan.schemes.items()}
    coded = {name: measured[scheme] for name, scheme in plan.redundancies.items()}
    table = table_frame(plan.schemes, main)
    return Results(
        table=table,
        curves={family: curve_frame(plan.accuracies, main, family) for family in plan.delays},
        redundancy=redundancy_frame(coded),
        tail=tail_frame(plan.schemes, main),
        claims=claims_frame(table),
    )
