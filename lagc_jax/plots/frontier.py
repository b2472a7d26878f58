"""Points of a sweep, or of an advice, by their costs, and the Pareto frontier among them."""

import itertools
import string
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
    check_columns,
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

PAIRS = [list(pair) for pair in itertools.combinations(COSTS, 2)]
MAX_LABELS = 8


def plot_frontier(table: pd.DataFrame) -> Figure:
    """All points by their three complexities, two at a time, with the Pareto frontier marked.

    Letters, explained above a row, say what is chosen on the frontier; where it has more than
    eight points, the cheapest by each of the costs have one. Every set of conditions (problem,
    workers, delays) has its own frontier and a row of panels.

    Args:
        table: of `lagc_jax.plots.select`.

    Raises:
        ValueError: for another table, or if there are too many conditions.
    """
    columns = ("scheme", "point", "time_statistic", *COSTS)
    check_columns("table", table, columns, "that of lagc_jax.plots.select")
    by_row = [name for name in free_parameters(table) if name in conditions(table)]
    check_count(table, by_row, MAX_ROWS // 2)
    best = pareto_frontier(table)["point"]
    styles = series_styles(table, ["scheme"])
    chosen = [name for name in free_parameters(table) if is_choice(name)]
    with matplotlib.rc_context(STYLE):
        rows, notes = drawable(groups_of(table, by_row))
        figure, panels = make_panels(len(rows), 2.1)
        labels = []
        for panel, (name, world) in zip(panels, rows, strict=True):
            costs = world[list(COSTS)].to_numpy(float)
            finite = np.isfinite(costs).all(axis=1)
            arrived = world.iloc[np.flatnonzero(finite)]
            points = _say(arrived[arrived["point"].isin(best)], chosen)
            parts = [part for part in (name, "" if finite.all() else _missing(costs)) if part]
            _set_title(panel, parts, points, chosen)
            for axis, names in zip(panel, PAIRS, strict=True):
                for label, some in groups_of(arrived, ["scheme"]):
                    _draw_points(axis, some, names, best, styles[label])
                for which, cost in zip((axis.xaxis, axis.yaxis), names, strict=True):
                    set_scale(which, arrived[cost].to_numpy(float))
                    which.set_label_text(cost_label(table, cost))
                labels.append((axis, arrived, points, names))
        add_legend(figure, table, _handles(styles), notes)
        settle(figure)
        for each in labels:
            _label_points(*each)
    return figure


def plot_design(advice: Design) -> Figure:
    """The candidates of `design` by time, communication and computation, and their frontier.

    Raises:
        ValueError: for what is not of `design`.
    """
    if not isinstance(advice, Design):
        raise ValueError(f"advice is a {type(advice).__name__}; give what lagc_jax.design returns")
    chosen = [name for name in DESIGN if name in advice.table.columns]
    frame = advice.table[[*chosen, *COSTS]].assign(
        num_workers=advice.scheme.num_workers,
        accuracy=advice.accuracy,
        point=advice.table.index + 1,
        time_statistic=advice.table["statistic"],
    )
    return plot_frontier(frame)


def _missing(costs: np.ndarray) -> str:
    """How many points, a row each, have no place among the others, and why."""
    why = "infinite or undefined" if np.isnan(costs).any() else "infinite"
    count = (~np.isfinite(costs)).any(axis=1).sum()
    return f"{count} of {len(costs)} points are not drawn: {why} cost"


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
    looks = {label: style | {"linestyle": ""} for label, style in styles.items()}
    schemes = [Line2D([], [], label=label, **look) for label, look in looks.items()]
    edge: dict[str, Any] = dict(marker="o", color="0.8", linestyle="", markeredgecolor="k")
    beaten: dict[str, Any] = dict(
        marker="o", color="0.4", linestyle="", alpha=0.3, markeredgewidth=0
    )
    edge["label"], beaten["label"] = "Pareto frontier", "dominated"
    return [*schemes, Line2D([], [], **edge), Line2D([], [], **beaten)]


def _say(first: pd.DataFrame, chosen: list[str]) -> dict[str, pd.Series]:
    """Points of a frontier by letter; the cheapest by each cost alone where there are too many."""
    if len(first) > MAX_LABELS:
        first = first.loc[[first[cost].idxmin() for cost in COSTS]].drop_duplicates("point")
    rows = [row for _, row in first.sort_values("time").iterrows()]
    return dict(zip(string.ascii_lowercase, rows, strict=False)) if chosen else {}


def _set_title(
    panel: np.ndarray, parts: list[str], points: dict[str, pd.Series], chosen: list[str]
) -> None:
    """Say above a row of panels what it shows and what its letters stand for."""
    lines = [", ".join(parts)]
    for letter, row in points.items():
        word = f"{letter}: {', '.join(describe(row.to_frame().T, chosen))}"
        fits = lines[-1][1:2] == ":" and len(lines[-1]) + len(word) < 130
        lines[-1:] = [f"{lines[-1]}   {word}"] if fits else [lines[-1], word]
    lines = [line for line in lines if line]
    place: dict[str, Any] = dict(xycoords="axes fraction", textcoords="offset points", fontsize=7.5)
    text = panel[0].annotate("\n".join(lines), (0, 1), (0, 5), va="bottom", **place)
    text.set_in_layout(False)  # it spans the panels; a blank title keeps its height
    panel[0].set_title("\n".join(" " for _ in lines), fontsize=7.5)


def _label_points(
    axis: Axes, arrived: pd.DataFrame, points: dict[str, pd.Series], names: list[str]
) -> None:
    """Put letters beside points of the frontier; equal points share a label."""
    shared: dict[tuple[float, ...], str] = {}
    for letter, row in points.items():
        place = tuple(float(row[name]) for name in names)
        shared[place] = ", ".join(filter(None, [shared.get(place), letter]))
    dots = axis.transData.transform(arrived[names].to_numpy(float))
    marks = axis.transData.transform(np.reshape(list(shared), (-1, 2)))
    square = [(i, j) for i in (-6, 0, 6) for j in (-6, 0, 6)]
    taken = np.concatenate([dots, *(marks + shift for shift in square)])
    labels = [(label, np.array([place])) for place, label in shared.items()]
    place_labels(axis, labels, taken, fontsize=7)
