"""Lines over one parameter of a sweep."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lagc_jax._tables import COSTS, free_parameters, is_choice, is_name, mean_time, quantile_levels
from lagc_jax.plots._names import LABELS, axis_name, groups_of, series_styles
from lagc_jax.plots._panels import (
    MAX_ROWS,
    MAX_SERIES,
    STATES,
    STYLE,
    add_legend,
    check_axes,
    check_count,
    gaps,
    make_panels,
    set_scale,
    states_of,
)


def plot_lines(table: pd.DataFrame, x: str) -> Figure:
    """The three complexities over one parameter, a line for every combination of the others.

    Time is shown by its median, the band between the outermost quantiles, and dotted the mean;
    without quantiles, by the mean of the realisations and 1.96 standard errors. A line has gaps
    where its value is not finite, and a mark at the upper edge says why. Points that have no such
    parameter give a level line. Problems and delays have a row of panels each. An axis ends at a
    million times its smallest value.

    Args:
        table: of `tables.select`.
        x: a numeric parameter.

    Raises:
        ValueError: if `x` is not one that varies, or the others have too many combinations.
    """
    check_axes(table, x)
    by_row, by_series = line_dimensions(table, x)
    check_count(table, by_row, MAX_ROWS // 2)
    check_count(table, by_series, MAX_SERIES)
    table, statistics = _with_band(table)
    styles = series_styles(table, by_series)
    rows = [(name, world) for name, world in groups_of(table, by_row) if world[x].notna().any()]
    found = set()
    with matplotlib.rc_context(STYLE):
        figure, panels = make_panels(len(rows), 1.9)
        for panel, (name, world) in zip(panels, rows, strict=True):
            for label, line in groups_of(world, by_series):
                found |= _draw_line(panel, _extend(line, world[x], x), x, styles[label])
            for axis, cost in zip(panel, COSTS, strict=True):
                columns = ["middle", "low", "high", "mean"] if cost == "time" else [cost]
                set_scale(axis.yaxis, world[columns].to_numpy(float))
                set_scale(axis.xaxis, world[x].to_numpy(float), ticks=True)
                axis.set_ylabel(LABELS[cost])
            panel[0].set_title(name, loc="left")
        for axis in panels[-1]:
            axis.set_xlabel(axis_name(x))
        lines = [Line2D([], [], label=label, **style) for label, style in styles.items() if label]
        marks = [
            Line2D([], [], color="0.4", linestyle="", marker=mark, label=state)
            for state, (_, mark) in STATES.items()
            if state in found
        ]
        add_legend(figure, table, [*lines, *statistics, *marks])
    return figure


def line_dimensions(table: pd.DataFrame, x: str) -> tuple[list[str], list[str]]:
    """Parameters that make the rows of panels and those that make the lines over x."""
    others = [name for name in free_parameters(table, [x]) if name != x]
    rows = [name for name in others if not is_choice(name) and is_name(table, name)]
    return rows, [name for name in others if name not in rows]


def _with_band(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Any]]:
    """Add what a line shows of the time: `middle`, `low`, `high`, `mean`; and its legend."""
    levels = quantile_levels(table)
    mean, name = mean_time(table)
    if levels:
        low, high = min(levels), max(levels)
        columns = [table[levels[level]] for level in (low, high)]
        middle, text = (table[levels[0.5]], "median") if 0.5 in levels else (mean, name)
        band = f"{100 * low:g}-{100 * high:g} %"
    else:
        middle, text, band = table["time_mean"], "sample mean", "1.96 standard errors"
        margin = 1.96 * table["time_standard_error"]
        columns = [middle - margin, middle + margin]
    handles = [
        Line2D([], [], color="0.4", linestyle="-", label=text),
        Line2D([], [], color="0.4", linestyle=":", label=name),
        Patch(color="0.4", alpha=0.2, linewidth=0, label=band),
    ]
    return table.assign(middle=middle, low=columns[0], high=columns[1], mean=mean), handles


def _extend(line: pd.DataFrame, everywhere: pd.Series, x: str) -> pd.DataFrame:
    """A line in rising order; a point without the parameter becomes a level line of its own."""
    if line[x].isna().all():
        ends = [everywhere.min(), everywhere.max()]
        return pd.concat([line.assign(**{x: end}) for end in ends])
    return line.dropna(subset=[x]).sort_values(x)


def _draw_line(panel: np.ndarray, line: pd.DataFrame, x: str, style: dict[str, Any]) -> set[str]:
    """Draw one line into the three panels of a row; return the states of its gaps."""
    position, color = line[x].to_numpy(float), style["color"]
    low, middle, high, mean = (gaps(line[name]) for name in ("low", "middle", "high", "mean"))
    panel[0].fill_between(position, low, high, color=color, alpha=0.15, linewidth=0)
    if np.isfinite(middle).sum() == 1:  # a band has no width then
        panel[0].vlines(position, low, high, color=color, alpha=0.4)
    panel[0].plot(position, mean, ":", color=color)
    panel[0].plot(position, middle, **style)
    found = set()
    for axis, cost in zip(panel, ("mean", *COSTS[1:]), strict=True):
        if cost != "mean":
            axis.plot(position, gaps(line[cost]), **style)
        for state, rows in line.groupby(states_of(line, cost)):
            if state in STATES:
                place: dict[str, Any] = dict(
                    transform=axis.get_xaxis_transform(), clip_on=False, color=color
                )
                axis.plot(rows[x], np.full(len(rows), 1.02), STATES[state][1], **place)
                found.add(state)
    return found
