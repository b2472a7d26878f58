"""Points of a sweep, or of an advice, by their costs, and the Pareto frontier among them."""

import itertools
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lagc_jax._tables import (
    COSTS,
    DESIGN,
    conditions,
    free_parameters,
    is_choice,
    pareto_frontier,
)
from lagc_jax.experiments.advice import Design
from lagc_jax.plots._labels import place_labels, settle
from lagc_jax.plots._names import cost_label, describe, groups_of, series_styles
from lagc_jax.plots._panels import (
    MAX_ROWS,
    add_legend,
    check_count,
    drawable,
    make_panels,
    set_scale,
)
from lagc_jax.plots._style import STYLE

PAIRS = tuple(itertools.combinations(range(len(COSTS)), 2))
MAX_LABELS = 6


def plot_frontier(table: pd.DataFrame) -> Figure:
    """All points by their three complexities, two at a time, with the Pareto frontier marked.

    Points of the frontier say what they are; where it has more than six, the cheapest by each of
    the costs do. Every set of conditions (problem, workers, delays) has its own frontier and a row
    of panels.

    Args:
        table: of `tables.select`.

    Raises:
        ValueError: if there are too many conditions.
    """
    by_row = [name for name in free_parameters(table) if name in conditions(table)]
    check_count(table, by_row, MAX_ROWS // 2)
    best = pareto_frontier(table)
    styles = series_styles(table, ["scheme"])
    with matplotlib.rc_context(STYLE):
        rows, notes = drawable(groups_of(table, by_row))
        figure, panels = make_panels(len(rows), 2.1)
        for panel, (name, world) in zip(panels, rows, strict=True):
            costs = world[list(COSTS)].to_numpy(float)
            finite = np.isfinite(costs).all(axis=1)
            arrived = world.iloc[np.flatnonzero(finite)]
            missing = f"{(~finite).sum()} of {len(world)} points are not drawn: infinite cost"
            parts = [name] if name else []
            panel[0].set_title(", ".join(parts if finite.all() else [*parts, missing]), loc="left")
            for axis, pair in zip(panel, PAIRS, strict=True):
                for label, points in groups_of(arrived, ["scheme"]):
                    names = [COSTS[k] for k in pair]
                    _draw_points(axis, points, names, best["point"], styles[label])
                for k, which, put in zip(
                    pair, (axis.xaxis, axis.yaxis), (axis.set_xlabel, axis.set_ylabel), strict=True
                ):
                    set_scale(which, costs[finite, k])
                    put(cost_label(table, COSTS[k]))
        add_legend(figure, table, _handles(styles), notes)
        settle(figure)
        for panel, (_, world) in zip(panels, rows, strict=True):
            first = world[world["point"].isin(best["point"])]
            for axis, pair in zip(panel, PAIRS, strict=True):
                _label_points(axis, world, first, [COSTS[k] for k in pair])
    return figure


def plot_design(advice: Design) -> Figure:
    """The candidates of `design` by time, communication and computation, and their frontier."""
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


def _handles(styles: dict[str, dict[str, Any]]) -> list[Line2D]:
    """Entries of the legend: schemes, and what the frontier and the other points look like."""
    schemes = [
        Line2D([], [], **{**style, "label": label, "linestyle": ""})
        for label, style in styles.items()
    ]
    edge: dict[str, Any] = dict(marker="o", color="0.8", linestyle="", markeredgecolor="k")
    beaten: dict[str, Any] = dict(
        marker="o", color="0.4", linestyle="", alpha=0.3, markeredgewidth=0
    )
    edge["label"], beaten["label"] = "Pareto frontier", "dominated"
    return [*schemes, Line2D([], [], **edge), Line2D([], [], **beaten)]


def _label_points(axis: Axes, world: pd.DataFrame, first: pd.DataFrame, names: list[str]) -> None:
    """Say beside points of the frontier what is chosen in them; equal points share a label."""
    chosen = [name for name in free_parameters(world) if is_choice(name) and name != "scheme"]
    if len(first) > MAX_LABELS:
        first = first.loc[[first[cost].idxmin() for cost in COSTS]].drop_duplicates("point")
    labels: list[tuple[str, np.ndarray]] = []
    for place, rows in first.groupby(names, sort=False):
        each = [describe(row.to_frame().T, chosen) for _, row in rows.iterrows()]
        text = "\n".join(dict.fromkeys(_wrap(words) for words in each if words))
        if text:
            labels.append((text, np.array([place], float)))
    arrived = world[np.isfinite(world[names].to_numpy(float)).all(axis=1)]
    dots = axis.transData.transform(arrived[names].to_numpy(float))
    edge = [(i, j) for i in (-5, 0, 5) for j in (-5, 0, 5)]
    marks = axis.transData.transform(first[names].to_numpy(float))
    taken = np.concatenate([dots, *(marks + shift for shift in edge)])
    place_labels(axis, labels, taken, fontsize=6)


def _wrap(words: list[str]) -> str:
    """Two choices a line."""
    short = [word.replace(" = ", "=") for word in words]
    return "\n".join(", ".join(short[i : i + 2]) for i in range(0, len(short), 2))
