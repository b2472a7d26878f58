"""The figures of a survey: what schemes take to an accuracy, and their way there by family."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, PercentFormatter

from lagc_jax._tables import check_columns
from lagc_jax.plots._labels import along, place_labels, settle
from lagc_jax.plots._style import DASHED, PAGE_WIDTH, STYLE, families_of, scheme_styles
from lagc_jax.plots._ticks import thin_ticks

AXES = {"time": "Time", "bits": "Bits"}
LEVELS = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99])
MOST, HEIGHT = 6, 0.86  # schemes of a family in one row of panels, and its inches
KEY_SIZE = 6.5  # of the names above a row
LOOK = {"linewidth": 1.0, "markersize": 3}
NUM_PLACES = 24  # along a curve, at which its name may stand
GREY = "0.75"


def plot_costs(table: pd.DataFrame, delays: str | None = None) -> Figure:
    """Time and bits to a test accuracy, a dot a scheme, a panel a task; lines go through GD.

    Args:
        table: of `experiments.survey.table_frame`.
        delays: law of the times that is shown, one of the table's; the first by default.

    Raises:
        ValueError: for another table, or if it has no such law.
    """
    table = _under(table, delays)
    tasks = list(table["task"].unique())
    styles = scheme_styles(table["scheme"].unique())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 3.9 * len(tasks)), layout="constrained")
        axes = figure.subplots(len(tasks), squeeze=False)[:, 0]
        blocks = [table[table["task"] == task] for task in tasks]
        for axis, task, block in zip(axes, tasks, blocks, strict=True):
            _frame_summary(axis, block, f"{task}, {block['delays'].iloc[0]}")
        settle(figure)
        for axis, block in zip(axes, blocks, strict=True):
            _draw_summary(axis, block, styles)
    return figure


def plot_survey(curves: pd.DataFrame, table: pd.DataFrame, delays: str | None = None) -> Figure:
    """Accuracy against time and bits, by family, with GD and the cheapest scheme in grey.

    A row of panels for every family, two where it is large, under the names of its schemes;
    cheapest is what costs least to the accuracy. A scheme of no known family stands under others.

    Args:
        curves: of `experiments.survey.curve_frame`.
        table: of `experiments.survey.table_frame`.
        delays: law of the times that is shown, one of the frames'; the first by default.

    Raises:
        ValueError: for other frames, or if they have no such law.
    """
    curves, table = _under(curves, delays), _under(table, delays)
    tasks = [str(task) for task in table["task"].unique()]
    rows = [
        (family, [str(name) for name in part])
        for family, members in families_of(curves["scheme"].unique()).items()
        for part in np.array_split(members, -(-len(members) // MOST))
    ] or [("", [])]
    styles = scheme_styles(curves["scheme"].unique())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 0.6 + HEIGHT * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), len(tasks) * len(AXES), squeeze=False)
        columns = [(task, cost) for task in tasks for cost in AXES]
        panels = [
            (axis, _ways(curves, table, task, cost, names), names)
            for (_, names), row in zip(rows, grid, strict=True)
            for (task, cost), axis in zip(columns, row, strict=True)
        ]
        for (task, cost), column in zip(columns, grid.T, strict=True):
            for axis in column:
                _frame_curves(axis, curves[curves["task"] == task], cost)
        run = np.array([not n or bool(ways.keys() & set(n)) for _, ways, n in panels])
        _name_panels(grid, columns, [family for family, _ in rows], run.reshape(grid.shape))
        for (_, names), row in zip(rows, grid, strict=True):
            _add_key(row[0], names, styles)
        for (axis, ways, names), some in zip(panels, run, strict=True):
            if some:
                _draw_curves(axis, ways, names, styles)
            else:
                _empty(axis)
        figure.supylabel("Test accuracy (%)", fontsize="medium")
        settle(figure)
        for (axis, ways, names), some in zip(panels, run, strict=True):
            if some:
                _label_curves(axis, ways, names)
    return figure


def _under(frame: pd.DataFrame, delays: str | None) -> pd.DataFrame:
    """The rows of a law, by default the first."""
    columns = ("task", "scheme", "delays", *AXES)
    check_columns("the frame", frame, columns, "one of a survey")
    laws = list(frame["delays"].unique())
    law = laws[0] if delays is None else delays
    if law not in laws:
        raise ValueError(f"delays={delays!r} is not in the frame; give one of {', '.join(laws)}")
    return frame[frame["delays"] == law]


def _empty(axis: Axes) -> None:
    """Say that a family has no part in a task."""
    axis.tick_params(which="both", length=0, labelleft=False, labelbottom=False)
    axis.grid(False)
    axis.spines[["left", "bottom"]].set_visible(False)
    look: dict[str, Any] = dict(fontsize=6, color="0.5", ha="center", va="center")
    axis.text(0.5, 0.5, "not run", transform=axis.transAxes, **look)


def _name_panels(
    grid: np.ndarray, columns: Sequence[tuple[str, str]], families: Sequence[str], run: np.ndarray
) -> None:
    """Tasks above the panels, costs below, families to the left; ticks at the edge alone.

    The edge below is that of the panels with curves.
    """
    for axis in grid[1:, 0]:
        axis.set_title(" ", fontsize=KEY_SIZE)  # room for the names
    for (task, cost), column, some in zip(columns, grid.T, run.T, strict=True):
        column[0].set_title(task if cost == next(iter(AXES)) else "", loc="left", pad=14)
        edge = column[some][-1] if some.any() else column[-1]
        edge.set_xlabel(AXES[cost])
        for axis in column[column != edge]:
            axis.tick_params(labelbottom=False)
        if cost != next(iter(AXES)):
            for axis in column:
                axis.tick_params(labelleft=False)
    for i, (family, axis) in enumerate(zip(families, grid[:, 0], strict=False)):
        if family in families[:i]:
            continue
        axis.set_ylabel(textwrap.fill(family, 12), fontweight="bold")


def _add_key(axis: Axes, names: Sequence[str], styles: Mapping[str, Any]) -> None:
    """The names of a row's curves above it, from its first panel on."""
    curves = [Line2D([], [], **styles[name] | LOOK) for name in names]
    room: dict[str, Any] = dict(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    tight: dict[str, Any] = dict(handlelength=2.2, handletextpad=0.4, columnspacing=1.2)
    key = axis.legend(curves, names, ncols=MOST, fontsize=KEY_SIZE, borderpad=0, **room, **tight)
    key.set_in_layout(False)  # it is as wide as the row


def _frame_summary(axis: Axes, table: pd.DataFrame, title: str) -> None:
    """Scales, ticks and the title of a panel with a dot a scheme."""
    shown = _reached(table)
    missed = [str(name) for name in table["scheme"] if name not in set(shown["scheme"])]
    words = f"{title}; not reached: {', '.join(missed)}" if missed else title
    axis.set_title(textwrap.fill(words, 110), loc="left")
    axis.set(xlabel="Time to the accuracy (unit of the delays)", ylabel="Bits to the accuracy")
    for which, cost in ((axis.xaxis, "time"), (axis.yaxis, "bits")):
        positive = shown[cost][shown[cost] > 0]
        if len(positive):
            axis.set(**{f"{which.axis_name}scale": "log"})
            low, high = positive.min(), positive.max()
            axis.set(**{f"{which.axis_name}lim": (low / 1.7, high * 1.9)})
            thin_ticks(which, 9)


def _draw_summary(axis: Axes, table: pd.DataFrame, styles: Mapping[str, Any]) -> None:
    """A dot a scheme with its name, and lines through that of GD."""
    shown = _reached(table).set_index("scheme")[list(AXES)]
    places = {str(name): place.to_numpy(float)[None] for name, place in shown.iterrows()}
    for name, place in places.items():
        axis.plot(*place.T, **styles[name] | dict(linestyle="", markersize=4.5))
    for time, bits in places.get("GD", ()):
        axis.axvline(time, color=GREY, linewidth=0.7)
        axis.axhline(bits, color=GREY, linewidth=0.7)
    dots = [along(axis, *place.T) for place in places.values()]
    square = np.array([[i, j] for i in (-6, 0, 6) for j in (-6, 0, 6)])
    taken = np.concatenate([dot + square for dot in dots]) if dots else np.zeros((0, 2))
    place_labels(axis, places.items(), taken, fontsize=6)


def _reached(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of schemes that reached the accuracy."""
    finite = np.isfinite(table[list(AXES)].to_numpy(float)).all(axis=1)
    return table.iloc[np.flatnonzero(finite)]


def _frame_curves(axis: Axes, curves: pd.DataFrame, cost: str) -> None:
    """Scales and ticks of a panel of curves; the accuracy has room where it is high."""
    best = min(curves["accuracy"].max(), 0.995)
    low = max(best - 0.4, 0.01)
    axis.set_yscale("logit")
    axis.set_ylim(low, 1 - (1 - best) / 1.4)
    axis.yaxis.set_major_locator(FixedLocator(LEVELS.tolist()))
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=None))
    axis.yaxis.set_minor_formatter(NullFormatter())
    shown = curves[(curves["accuracy"] >= low) & (curves[cost] > 0)][cost]
    axis.set_xscale("log")
    if len(shown):
        axis.set_xlim(shown.min() / 1.2, shown.max() * 1.2)
    thin_ticks(axis.xaxis, 4)


def _ways(
    curves: pd.DataFrame, table: pd.DataFrame, task: str, cost: str, names: list[str]
) -> dict[str, pd.DataFrame]:
    """The curves of a panel by scheme: GD and the cheapest of all, then those of a family."""
    costs = table[table["task"] == task].set_index("scheme")[cost].astype(float)
    reached = costs[np.isfinite(costs)]
    behind = ["GD"] if "GD" in costs.index else []
    behind += [str(reached.idxmin())] if len(reached) else []
    wanted = list(dict.fromkeys([*behind, *names]))
    rows = curves[(curves["task"] == task) & (curves[cost] > 0)]
    found = {name: rows[rows["scheme"] == name][[cost, "accuracy"]] for name in wanted}
    return {name: way for name, way in found.items() if len(way)}


def _draw_curves(
    axis: Axes, ways: Mapping[str, pd.DataFrame], names: list[str], styles: Mapping[str, Any]
) -> None:
    """Curves of a family in their colours, on those of the others in grey."""
    for name, way in ways.items():
        i = names.index(name) if name in names else 0
        look: dict[str, Any] = styles[name] | LOOK
        look["markevery"] = (0.05 * i, 0.3)
        if name not in names:
            dash = "-" if name == "GD" else DASHED
            look = dict(color=GREY, linewidth=0.9, linestyle=dash, zorder=1.5)
        axis.plot(*way.to_numpy(float).T, **look)


def _label_curves(axis: Axes, ways: Mapping[str, pd.DataFrame], names: Sequence[str]) -> None:
    """Names beside the grey curves of a settled panel."""
    low, high = axis.get_ylim()
    anchors, taken = {}, []
    for name, way in ways.items():
        x, y = way.to_numpy(float).T
        taken.append(along(axis, x, np.clip(y, low, high)))
        some = taken[-1][:: max(1, len(taken[-1]) // NUM_PLACES)]
        places = axis.transData.inverted().transform(some)
        seen = places[(places[:, 1] > 1.001 * low) & (places[:, 1] < 0.999 * high)]
        if len(seen) and name not in names:
            middle = np.argsort(np.abs(seen[:, 1] - np.quantile(seen[:, 1], 0.4)))
            anchors[name] = seen[middle]
    place_labels(axis, anchors.items(), np.concatenate(taken), fontsize=6, color="0.5")
