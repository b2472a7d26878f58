"""Advice from the first half of a trace, beside what the second half brings."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lagc_jax.delays.traces import Trace
from lagc_jax.experiments.advice import Design, design
from lagc_jax.experiments.heldout import regret_of


class Backtest(NamedTuple):
    """A choice that knew the first half of a trace alone.

    Attributes:
        advice: from the first half.
        table: of the advice, with `held_out`, the mean time in the second half, `held_out_cost`,
            and `held`, whether the time lies between `time_low` and `time_high`.
        held: whether that is so for the chosen candidate.
        coverage: share of the candidates for which it is.
        regret: by how much the choice costs more than the cheapest candidate of the second half,
            relative to that.
        reason: in words.
        trace: whole.
    """

    advice: Design
    table: pd.DataFrame
    held: bool
    coverage: float
    regret: float
    reason: str
    trace: Trace


def backtest(num_workers: int, trace: Trace, **options: Any) -> Backtest:
    """Choose on the first half of a trace with `design`, and meet the second.

    In the second half a candidate takes its mean over all rows, as replays from random rows do.

    Args:
        num_workers: `M`, the columns of the trace.
        trace: at least eight rows.
        options: of `design`.

    Raises:
        ValueError: for what is no trace of so many workers and rows, and what `design` refuses.

    >>> rows = 1 + np.random.default_rng(0).exponential(size=(60, 4))
    >>> found = backtest(4, Trace.from_array(rows), accuracy=1e-2, xi=[0.3], step_sizes=[1.0])
    >>> found.table["held_out"].notna().all().item(), 0 <= found.coverage <= 1
    (True, True)
    """
    if not isinstance(trace, Trace) or trace.num_columns != num_workers:
        raise ValueError(
            f"a backtest splits the rows of a trace of {num_workers} workers; give one (delays is "
            f"a {type(trace).__name__})"
        )
    half = trace.num_rows // 2
    if half < 4:
        raise ValueError(f"the trace has {trace.num_rows} rows; give at least 8 to halve them")
    times = np.asarray(trace.times)
    first = Trace(times[:half]).resampled(trace.resample, min(trace.block, half))
    advice = design(num_workers, first, **options)
    table = advice.table.assign(held_out=advice.retimed(Trace(times[half:], "blocks")))
    moved = options.get("price_time", 1.0) * (table["held_out"] - table["time"])
    paid = np.where(np.isfinite(table["cost"]), table["cost"] + moved, np.inf)
    held = (table["time_low"] <= table["held_out"]) & (table["held_out"] <= table["time_high"])
    table = table.assign(held_out_cost=paid, held=held)
    known = np.isfinite(paid)
    regret = regret_of(paid[0], paid.min())
    coverage = float(held[known].mean())
    told = _reason(table, coverage, regret)
    return Backtest(advice, table, bool(held.iloc[0]), coverage, regret, told, trace)


def _reason(table: pd.DataFrame, coverage: float, regret: float) -> str:
    best = table.iloc[0]
    where = "inside" if best["held"] else "outside"
    text = (
        f"The first half promised {best['time_low']:.4g} to {best['time_high']:.4g}, the second "
        f"took {best['held_out']:.4g}, {where} of that; "
        f"{100 * coverage:.0f} % of the candidates kept within their intervals."
    )
    if regret <= 0:
        return f"{text} The choice is the best of the second half, too."
    least = table["held_out_cost"].min()
    more = f"{100 * regret:.1f} % more" if least > 0 else f"{best['held_out_cost']:.4g}, not 0 as"
    return f"{text} The choice costs {more} than the best of the second half."
