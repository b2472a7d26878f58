"""Points of a sweep, or of an advice, by their costs, and the Pareto frontier among them."""

import itertools
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lagc_jax._tables import COSTS, DESIGN, conditions, free_parameters, pareto_frontier
from lagc_jax.experiments.advice import Design
from lagc_jax.plots._names import cost_label, groups_of, series_styles
from lagc_jax.plots._panels import MAX_ROWS, STYLE, add_legend, check_count, make_panels, set_scale


def plot_frontier(table: pd.DataFrame) -> Figure:
    """All points by their three complexities, two at a time, with the Pareto frontier marked.

    The numbers are those of the points in the table. Every set of conditions (problem, workers,
    delays) has its own frontier and a row of panels.

    Args:
        table: of `tables.select`.

    Raises:
        ValueError: if there are too many conditions.
    """
    by_row = [name for name in free_parameters(table) if name in conditions(table)]
    check_count(table, by_row, MAX_ROWS // 2)
    best = pareto_frontier(table)["point"]
    styles = series_styles(table, ["scheme"])
    with matplotlib.rc_context(STYLE):
        rows = groups_of(table, by_row)
        figure, panels = make_panels(len(rows), 2.1)
        for panel, (name, world) in zip(panels, rows, strict=True):
            costs = world[list(COSTS)].to_numpy(float)
            finite = np.isfinite(costs).all(axis=1)
            arrived = world.iloc[np.flatnonzero(finite)]
            missing = f"{(~finite).sum()} of {len(world)} points are not drawn: infinite cost"
            parts = [name] if name else []
            panel[0].set_title(", ".join(parts if finite.all() else [*parts, missing]), loc="left")
            for axis, pair in zip(panel, itertools.combinations(range(3), 2), strict=True):
                for label, points in groups_of(arrived, ["scheme"]):
                    _draw_points(axis, points, [COSTS[k] for k in pair], best, styles[label])
                for k, which, put in zip(
                    pair, (axis.xaxis, axis.yaxis), (axis.set_xlabel, axis.set_ylabel), strict=True
                ):
                    set_scale(which, costs[finite, k])
                    put(cost_label(table, COSTS[k]))
        lines = [
            Line2D([], [], **{**style, "label": label, "linestyle": ""})
            for label, style in styles.items()
        ]
        edge: dict[str, Any] = dict(marker="o", color="0.8", linestyle="", markeredgecolor="k")
        beaten: dict[str, Any] = dict(
            marker="o", color="0.4", linestyle="", alpha=0.3, markeredgewidth=0
        )
        lines += [Line2D([], [], label="Pareto frontier", **edge)]
        lines += [Line2D([], [], label="dominated", **beaten)]
        add_legend(figure, table, lines)
    return figure


def plot_design(advice: Design) -> Figure:
    """The candidates of `design` by time, communication and computation, and their frontier.

    Numbers count the ranks from 1, the cheapest.
    """
    chosen = [name for name in DESIGN if name in advice.table.columns]
    frame = advice.table[[*chosen, *COSTS]].assign(
        num_workers=advice.scheme.num_workers,
        accuracy=advice.accuracy,
        point=advice.table.index + 1,
        time_statistic=advice.table["statistic"],
    )
    return plot_frontier(frame)


def _draw_points(
    axis: Axes, points: pd.DataFrame, names: list[str], best: pd.Series, style: dict[str, Any]
) -> None:
    """Points of one scheme over two costs: faint, and with an edge and a number on the frontier."""
    first = points["point"].isin(best)
    faint: dict[str, Any] = style | dict(linestyle="", alpha=0.3, markeredgewidth=0)
    clear: dict[str, Any] = style | dict(
        linestyle="", markeredgecolor="k", markeredgewidth=0.6, markersize=5
    )
    for rows, look in ((points[~first], faint), (points[first], clear)):
        axis.plot(rows[names[0]], rows[names[1]], **look)
    for row in points[first].to_dict("records") if len(best) <= 12 else ():
        place: dict[str, Any] = dict(textcoords="offset points", xytext=(4, 3), fontsize=6)
        axis.annotate(str(row["point"]), (row[names[0]], row[names[1]]), **place)
