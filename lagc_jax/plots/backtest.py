"""What the first half of a trace promised, what the second half took, and the trace itself."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lagc_jax.experiments.backtest import Backtest
from lagc_jax.plots._style import PAGE_WIDTH, STYLE

SHOWN = 12  # candidates, the cheapest first
SMOOTHED = 25  # parts of the trace whose mean is drawn over its rows


def plot_backtest(found: Backtest) -> Figure:
    """Intervals of the first candidates beside their times in the second half, and the rows.

    The numbers are columns of `found.table`; on the right the slowest worker of each row, with
    means of consecutive rows.

    Raises:
        ValueError: for what is not of `backtest`.
    """
    if not isinstance(found, Backtest):
        raise ValueError(f"found is a {type(found).__name__}; give what backtest returns")
    table = found.table[np.isfinite(found.table["time"])].head(SHOWN)
    times = np.asarray(found.trace.times, float)
    rows = np.where(np.isfinite(times), times, np.nan)
    slowest, half = np.fmax.reduce(rows, axis=1), len(rows) // 2  # NaN where nobody answered
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 0.6 + 0.22 * max(len(table), 8)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        place = np.arange(len(table))
        low, high = table["time_low"].to_numpy(float), table["time_high"].to_numpy(float)
        left.hlines(place, low, high, color="0.6", linewidth=4, label="promised, 90 %")
        left.plot(table["time"], place, "|", color="k", label="mean of the first half")
        for kept, color in ((True, "C0"), (False, "C3")):
            some = (table["held"] == kept).to_numpy()
            name = f"second half, {'inside' if kept else 'outside'}"
            if some.any():
                left.plot(table["held_out"][some], place[some], "o", color=color, ms=4, label=name)
        left.set_yticks(place, _names(table))
        left.invert_yaxis()
        left.set_xlabel("Time to the accuracy (unit of the trace)")
        left.legend(fontsize=6)
        right.axvspan(half - 0.5, len(rows) - 0.5, color="0.93")
        right.plot(slowest, ".", color="0.6", ms=2)
        parts = np.array_split(np.arange(len(rows)), min(SMOOTHED, len(rows)))
        answered = [part[np.isfinite(slowest[part])] for part in parts]
        means = [slowest[part].mean() if part.size else np.nan for part in answered]
        right.plot([part.mean() for part in parts], means, color="C0")
        right.set_xlabel("Row (second half shaded)")
        right.set_ylabel("Time of the slowest worker")
    return figure


def _names(table: pd.DataFrame) -> list[str]:
    """Candidates by groups and redundancy; those that share them by `xi`, or by their step."""
    names = [
        f"{row.scheme}, G = {row.num_groups}, r = {row.redundancy}"
        + ("" if row.assignment == "as given" else f", {row.assignment}")
        for row in table.itertuples()
    ]
    parts = [
        f"$\\alpha L$ = {step:.4g}" if np.isnan(xi) else f"$\\xi$ = {xi:.3g}"
        for xi, step in table[["xi", "step_size"]].to_numpy(float)
    ]
    return [
        f"{name}, {part}" if names.count(name) > 1 else name
        for name, part in zip(names, parts, strict=True)
    ]
