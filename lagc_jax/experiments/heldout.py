"""What the first half of a trace promises, and what the second half keeps."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from lagc_jax.experiments.intervals import outlook
from lagc_jax.experiments.rows import filled


class HeldOut(NamedTuple):
    """A choice by the first half of the rows, looked at in the second.

    Attributes:
        row: of the table, the candidate that the first half takes for the cheapest.
        low, high: interval of 90 % of its mean time, from the first half.
        time: in the second half.
        held: whether that lies in the interval.
        regret: by how much the choice costs more than the cheapest candidate of the second half,
            relative to that.
    """

    row: int
    low: float
    high: float
    time: float
    held: bool
    regret: float


def check_halves(
    table: pd.DataFrame,
    series: np.ndarray,
    rows: np.ndarray,
    cost_of: Callable[[pd.DataFrame, np.ndarray], np.ndarray],
) -> HeldOut | None:
    """Choose by the first half; None where there are fewer than four rows.

    Args:
        table: of N candidates.
        series: (N, T) what each row of the trace brings, NaN where that is not known.
        rows: (T, M) of the trace.
        cost_of: from a table and mean times to costs.
    """
    half = len(rows) // 2
    if half < 2:
        return None
    first, second = series[:, :half].mean(-1), series[:, half:].mean(-1)
    # Candidates with paths of their own have no series.
    cost, truth = (np.nan_to_num(cost_of(table, x), nan=np.inf) for x in (first, second))
    row = int(np.argmin(cost))
    seen = outlook(series[row : row + 1, :half], filled(rows)[:half].mean(-1))
    low, high, time = float(seen.low[0]), float(seen.high[0]), float(second[row])
    return HeldOut(row, low, high, time, low <= time <= high, regret_of(truth[row], truth.min()))


def regret_of(cost: float, least: float) -> float:
    """By how much a cost is above the least one, relative to that: none where both are zero."""
    return 0.0 if cost <= least else float(cost) / float(least) - 1 if least > 0 else float("inf")
