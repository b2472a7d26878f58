"""Figures of a sweep: lines over one parameter, heat maps over two, and the Pareto frontier.

Every figure has a column of panels for time, communication and computation, says what its points
have in common, and shows points without a finite value as what they are.
"""

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import (
    Formatter,
    FuncFormatter,
    LogFormatterMathtext,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from lagc_jax._tables import (
    CATEGORIES,
    COSTS,
    DESIGN,
    conditions,
    count_combinations,
    free_parameters,
    is_choice,
    is_name,
    mean_time,
    narrow,
    numeric,
    parameters,
    pareto_frontier,
    quantile_levels,
    show,
    values_of,
)
from lagc_jax.experiments.advice import Design
from lagc_jax.plots import paper as plotting

STYLE: dict[Any, Any] = plotting.STYLE | {"axes.titlesize": 8}
MAP_STYLE: dict[Any, Any] = STYLE | {"axes.grid": False}
MAX_SERIES, MAX_ROWS = 8, 6
SYMBOLS = {
    "num_workers": "M",
    "num_groups": "G",
    "redundancy": "r",
    "xi": r"$\xi$",
    "memory": "D",
    "step_size": r"$\alpha L$",
    "num_waited": "k",
    "scheme_bits": "b",
}
NAMES = {
    "num_workers": "Workers M",
    "num_groups": "Groups G",
    "redundancy": "Redundancy r",
    "xi": r"Trigger weight $\xi$",
    "memory": "Memory D",
    "step_size": "Step size (units of 1/L)",
    "num_waited": "Workers waited for k",
    "deadline": "Deadline",
    "scheme_bits": "Bits b of a coordinate",
}
LABELS: dict[str, str] = dict(zip(COSTS, plotting.COSTS.values(), strict=True))
# What a point without a finite cost is: how its cell is filled, and its mark over a line's gap.
STATES: dict[str, tuple[dict[str, Any], str]] = {
    "diverged": (dict(facecolor="0.55", hatch="xxxx", edgecolor="0.25"), "x"),
    "accuracy not reached": (dict(facecolor="0.8", hatch="////", edgecolor="0.5"), "^"),
    "infinite mean": (dict(facecolor="0.93", hatch="....", edgecolor="0.5"), "1"),
    "undefined": (dict(facecolor="1.0", hatch="++++", edgecolor="0.3"), "+"),
}
RING: dict[str, Any] = dict(marker="o", markersize=5, markerfacecolor="none", markeredgewidth=1.2)
SPAN = 1e6  # means that grow without bound must not push all others into one colour


class Picture(NamedTuple):
    """A figure with its numbers.

    Attributes:
        name: stem of its files.
        figure: the drawing.
        frame: the rows of the table that it shows.
        fixed: for every parameter fixed to keep it legible, the value and all that there are.
    """

    name: str
    figure: Figure
    frame: pd.DataFrame
    fixed: dict[str, list[Any]]


def draw(table: pd.DataFrame, x: str | None = None, y: str | None = None) -> Iterator[Picture]:
    """Draw lines over `x`, or a heat map over `x` and `y`; and the frontier in any case.

    By default there are lines over every numeric parameter that varies, and heat maps over the
    pairs of the three with the most values. Where more varies than a figure can hold, parameters
    are fixed: conditions at their middle value, choices at those of the fastest point.

    Args:
        table: of `tables.select`.
        x: a numeric parameter.
        y: another.

    Raises:
        ValueError: as `plot_lines` and `plot_heat_map`, where fixing others leaves too few points,
            or for `y` without `x`.
    """
    if x is None and y is not None:
        raise ValueError(f"y={y!r} is given without x; give both for a heat map")
    numbers = numeric(table, free_parameters(table))
    if x is None:
        most = sorted(numbers, key=lambda name: -table[name].nunique())[:3]
        pairs = itertools.combinations(most, 2)
        choices = [*((name,) for name in numbers), *pairs]
    else:
        choices = [(x,) if y is None else (x, y)]
    for axes in choices:
        shown, fixed = _fix_others(table, axes)
        lost = any(shown[name].nunique() < 2 for name in axes)
        if lost and x is None:
            continue
        if lost:  # all that varies is more than a figure shows, which the figure says
            shown, fixed = table, {}
        plot, kind = (plot_lines, "lines") if len(axes) == 1 else (plot_heat_map, "heat")
        yield Picture("_".join([kind, *axes]), plot(shown, *axes), shown, fixed)
    worlds = [name for name in free_parameters(table) if name in conditions(table)]
    shown, fixed = narrow(table, worlds, MAX_ROWS // 2)
    yield Picture("frontier", plot_frontier(shown), pareto_frontier(table), fixed)


def _fix_others(
    table: pd.DataFrame, axes: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, list[Any]]]:
    """Rows that fit into one figure over the axes, and what was fixed to get there."""
    _check_axes(table, *axes)
    if len(axes) == 1:
        rows, series = _line_dimensions(table, axes[0])
        shown, fixed = narrow(table, rows, MAX_ROWS // 2)
        shown, more = narrow(shown, series, MAX_SERIES)
        return shown, fixed | more
    rest = [name for name in free_parameters(table, axes) if name not in axes]
    return narrow(table.dropna(subset=list(axes)), rest, MAX_ROWS)


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
    _check_axes(table, x)
    by_row, by_series = _line_dimensions(table, x)
    _check_count(table, by_row, MAX_ROWS // 2)
    _check_count(table, by_series, MAX_SERIES)
    table, statistics = _with_band(table)
    styles = _series_styles(table, by_series)
    rows = [(name, world) for name, world in _groups(table, by_row) if world[x].notna().any()]
    found = set()
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(len(rows), 1.9)
        for panel, (name, world) in zip(panels, rows, strict=True):
            for label, line in _groups(world, by_series):
                found |= _draw_line(panel, _extend(line, world[x], x), x, styles[label])
            for axis, cost in zip(panel, COSTS, strict=True):
                columns = ["middle", "low", "high", "mean"] if cost == "time" else [cost]
                _set_scale(axis.yaxis, world[columns].to_numpy(float))
                _set_scale(axis.xaxis, world[x].to_numpy(float), ticks=True)
                axis.set_ylabel(LABELS[cost])
            panel[0].set_title(name, loc="left")
        for axis in panels[-1]:
            axis.set_xlabel(_axis_name(x))
        lines = [Line2D([], [], label=label, **style) for label, style in styles.items() if label]
        marks = [
            Line2D([], [], color="0.4", linestyle="", marker=mark, label=state)
            for state, (_, mark) in STATES.items()
            if state in found
        ]
        _legend(figure, table, [*lines, *statistics, *marks])
    return figure


def _line_dimensions(table: pd.DataFrame, x: str) -> tuple[list[str], list[str]]:
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
    low, middle, high, mean = (_gaps(line[name]) for name in ("low", "middle", "high", "mean"))
    panel[0].fill_between(position, low, high, color=color, alpha=0.15, linewidth=0)
    if np.isfinite(middle).sum() == 1:  # a band has no width then
        panel[0].vlines(position, low, high, color=color, alpha=0.4)
    panel[0].plot(position, mean, ":", color=color)
    panel[0].plot(position, middle, **style)
    found = set()
    for axis, cost in zip(panel, ("mean", *COSTS[1:]), strict=True):
        if cost != "mean":
            axis.plot(position, _gaps(line[cost]), **style)
        for state, rows in line.groupby(_states(line, cost)):
            if state in STATES:
                place: dict[str, Any] = dict(
                    transform=axis.get_xaxis_transform(), clip_on=False, color=color
                )
                axis.plot(rows[x], np.full(len(rows), 1.02), STATES[state][1], **place)
                found.add(state)
    return found


def _gaps(column: pd.Series) -> np.ndarray:
    """The values, NaN where they are not finite."""
    values = column.to_numpy(float)
    return np.where(np.isfinite(values), values, np.nan)


def _states(table: pd.DataFrame, cost: str) -> np.ndarray:
    """What every point is: "finite" or one of `STATES`, (rows,)."""
    value = table[cost].to_numpy(float)
    conditions = {
        "finite": np.isfinite(value),
        "diverged": table["diverged"].to_numpy(float) > 0,
        "accuracy not reached": np.isinf(table["iterations"].to_numpy(float)),
        "infinite mean": np.isinf(value),
    }
    return np.select(list(conditions.values()), list(conditions), "undefined")


def plot_heat_map(table: pd.DataFrame, x: str, y: str) -> Figure:
    """The three complexities over two parameters, a row of maps for every combination of others.

    A ring marks the smallest value of a map. Cells without a finite value are grey and hatched,
    cells without a point are left white. Points that lack `x` or `y` have no cell.

    Args:
        table: of `tables.select`.
        x: numeric parameter, to the right.
        y: numeric parameter, upwards.

    Raises:
        ValueError: if `x` and `y` are not two that vary, or the others have too many combinations.
    """
    _check_axes(table, x, y)
    everything, table = table, table.dropna(subset=[x, y])
    others = [name for name in free_parameters(table, [x, y]) if name not in (x, y)]
    _check_count(table, others, MAX_ROWS)
    ticks = values_of(table[x]), values_of(table[y])
    found = set()
    with matplotlib.rc_context(MAP_STYLE):
        rows = _groups(table, others)
        figure, panels = _panels(len(rows), 1.7)
        for column, cost in zip(panels.T, COSTS, strict=True):
            norm, extend = _norm(table[cost])
            for axis, (name, cells) in zip(column, rows, strict=True):
                found |= _draw_map(axis, cells, (x, y), ticks, cost, norm)
                axis.set_ylabel(_axis_name(y))
                if cost == "time":
                    axis.set_title(name, loc="left")
            column[-1].set_xlabel(_axis_name(x))
            colors = ScalarMappable(norm, "viridis")
            place: dict[str, Any] = dict(location="top", shrink=0.9, aspect=18)
            place["extend"] = extend
            if isinstance(norm, LogNorm):
                low, high = np.asarray(norm.inverse(np.array([0.0, 1.0])), float)
                place["ticks"], place["format"] = _decades(high / low)
            bar = figure.colorbar(colors, ax=list(column), label=_cost_label(table, cost), **place)
            bar.ax.xaxis.set_minor_formatter(NullFormatter())
        ring = Line2D([], [], color="0.2", linestyle="", label="smallest", **RING)
        patches = [
            Patch(label=state, linewidth=0.5, **fill)
            for state, (fill, _) in STATES.items()
            if state in found
        ]
        empty = len(ticks[0]) * len(ticks[1]) * len(rows) > len(table)
        blank = [Patch(facecolor="w", edgecolor="0.5", linewidth=0.5, label="no point")]
        missing = len(everything) - len(table)
        note = [f"{missing} points without {x} or {y} have no cell"] if missing else []
        _legend(figure, table, [ring, *patches, *(blank if empty else [])], note)
    return figure


def _draw_map(
    axis: Axes,
    cells: pd.DataFrame,
    names: tuple[str, str],
    ticks: tuple[list[Any], list[Any]],
    cost: str,
    norm: Normalize,
) -> set[str]:
    """Draw one map; return the states of its cells without a finite value."""
    i, j = (np.searchsorted(t, cells[name]) for name, t in zip(names, ticks, strict=True))
    value, states = _gaps(cells[cost]), _states(cells, cost)
    grid = np.full((len(ticks[1]), len(ticks[0])), np.nan)
    grid[j, i] = value
    edges = [np.arange(len(t) + 1) - 0.5 for t in ticks]
    axis.pcolormesh(*edges, np.ma.masked_invalid(grid), norm=norm, cmap="viridis", rasterized=True)
    for state, (fill, _) in STATES.items():
        boxes = [Rectangle((i[k] - 0.5, j[k] - 0.5), 1, 1) for k in np.flatnonzero(states == state)]
        axis.add_collection(PatchCollection(boxes, linewidth=0, **fill))
    if np.isfinite(value).any():
        best = np.nanargmin(value)
        axis.plot(i[best], j[best], color="w", **RING)
    for which, t in zip((axis.xaxis, axis.yaxis), ticks, strict=True):
        shown = range(0, len(t), -(-len(t) // 8))
        which.set_ticks(shown, labels=[show(t[k]) for k in shown])
    return set(states) & set(STATES)


def _norm(values: pd.Series) -> tuple[Normalize, str]:
    """Colours of a cost, logarithmic where it spans a decade, and the open end of their bar."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return Normalize(0, 1), "neither"
    low, high = finite.min(), finite.max()
    if not 0 < 10 * low <= high:
        return Normalize(low, high), "neither"
    return LogNorm(low, min(high, SPAN * low)), "max" if high > SPAN * low else "neither"


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
    _check_count(table, by_row, MAX_ROWS // 2)
    best = pareto_frontier(table)["point"]
    styles = _series_styles(table, ["scheme"])
    with matplotlib.rc_context(STYLE):
        rows = _groups(table, by_row)
        figure, panels = _panels(len(rows), 2.1)
        for panel, (name, world) in zip(panels, rows, strict=True):
            costs = world[list(COSTS)].to_numpy(float)
            finite = np.isfinite(costs).all(axis=1)
            arrived = world.iloc[np.flatnonzero(finite)]
            missing = f"{(~finite).sum()} of {len(world)} points are not drawn: infinite cost"
            parts = [name] if name else []
            panel[0].set_title(", ".join(parts if finite.all() else [*parts, missing]), loc="left")
            for axis, pair in zip(panel, itertools.combinations(range(3), 2), strict=True):
                for label, points in _groups(arrived, ["scheme"]):
                    _draw_points(axis, points, [COSTS[k] for k in pair], best, styles[label])
                for k, which, put in zip(
                    pair, (axis.xaxis, axis.yaxis), (axis.set_xlabel, axis.set_ylabel), strict=True
                ):
                    _set_scale(which, costs[finite, k])
                    put(_cost_label(table, COSTS[k]))
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
        _legend(figure, table, lines)
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


def _check_axes(table: pd.DataFrame, *axes: str) -> None:
    """Raise ValueError unless the axes are different numeric parameters that vary."""
    choices = numeric(table, parameters(table))
    for name in axes:
        if name not in choices:
            raise ValueError(
                f"{name!r} is no numeric parameter that varies; give one of {', '.join(choices)}"
            )
    if len(set(axes)) < len(axes):
        raise ValueError(f"both axes are {axes[0]!r}; give two parameters")


def _check_count(table: pd.DataFrame, names: Sequence[str], limit: int) -> None:
    """Raise ValueError if some parameters have more combinations than a figure can show."""
    count = count_combinations(table, names)
    if count > limit:
        choices = "; ".join(
            f"{name} of {', '.join(map(show, values_of(table[name])))}" for name in names
        )
        raise ValueError(
            f"{count} combinations of other parameters are more than the {limit} that one figure "
            f"shows; fix one or more with where: {choices}"
        )


def _groups(table: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Rows by the values of some parameters with what to call them; numbers rise."""
    if not names:
        return [("", table)]
    ordered = table.sort_values(numeric(table, names), kind="stable") if len(table) else table
    groups = ordered.groupby(list(names), sort=False, dropna=False)
    return [(", ".join(_describe(rows, names)), rows) for _, rows in groups]


def _describe(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The values of parameters that some rows share, in words."""
    values = {name: rows[name].iloc[0] for name in names}
    return [
        _scheme_name(str(value))
        if name == "scheme"
        else str(value)
        if name in CATEGORIES
        else f"{SYMBOLS.get(name, name.removeprefix('problem_'))} = {show(value)}"
        for name, value in values.items()
        if not pd.isna(value)
    ]


def _scheme_name(name: str) -> str:
    """The name by which figures know a scheme: "G-LAG" for "g_lag"."""
    known = {style.lower(): style for style in plotting.STYLES}
    return known.get(name.lower().replace("_", "-"), name)


def _series_styles(table: pd.DataFrame, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of every combination: a scheme's own, else shades from dark to light."""
    labels = [label for label, _ in _groups(table, names)]
    if list(names) == ["scheme"]:
        return {label: plotting.scheme_style(label) for label in labels}
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(labels)))
    marks = itertools.cycle("os^vDPX*")
    return {
        label: dict(color=shade, marker=next(marks))
        for label, shade in zip(labels, shades, strict=True)
    }


def _panels(rows: int, height: float) -> tuple[Figure, np.ndarray]:
    """A figure of the width of a page and its axes (rows, 3)."""
    size = (plotting.PAGE_WIDTH, 0.8 + height * rows)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, len(COSTS), squeeze=False)


def _axis_name(name: str) -> str:
    """What to write on the axis of a parameter."""
    return NAMES.get(name, name.replace("_", " ").capitalize())


def _cost_label(table: pd.DataFrame, cost: str) -> str:
    """The label of a cost's axis; that of the time names the statistic."""
    label = LABELS[cost]
    statistic = table["time_statistic"].iloc[0]
    return label.replace("\n", f", {statistic}\n") if cost == "time" else label


def _set_scale(axis: Axis, values: np.ndarray, ticks: bool = False) -> None:
    """Make an axis logarithmic where its values span a decade; with ticks, label the values."""
    finite = np.unique(values[np.isfinite(values)])
    positive = finite[finite > 0]
    wide = positive.size > 0 and finite[-1] >= 10 * positive[0]
    scale: dict[str, Any] = dict(value="linear")
    if wide and finite[0] >= 0:
        zero = positive.size < finite.size
        scale = dict(value="symlog", linthresh=positive[0]) if zero else dict(value="log")
    set_scale = axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale
    set_scale(**scale)
    if ticks:
        _label_values(axis, finite)
    elif scale["value"] == "log":
        locator, formatter = _decades(finite[-1] / finite[0])
        axis.set_major_locator(locator)
        axis.set_major_formatter(formatter)
        axis.set_minor_formatter(NullFormatter())
        if finite[-1] > SPAN * finite[0]:
            axis.axes.set_ylim(top=SPAN * finite[0])


def _label_values(axis: Axis, values: np.ndarray) -> None:
    """Label the values themselves, as many as there is room for."""
    places = axis.get_transform().transform(values)
    kept: list[int] = []
    for k, place in enumerate(places):
        room = (0.06 + 0.03 * len(show(values[k]))) * (places[-1] - places[0])
        if not kept or place - places[kept[-1]] >= room:
            kept.append(k)
    axis.set_ticks(values[kept], labels=[show(value) for value in values[kept]])
    axis.set_minor_locator(NullLocator())


def _decades(ratio: float) -> tuple[LogLocator, Formatter]:
    """Places and labels of 1, 2 and 5 in every decade if there are few, else powers of ten."""
    if ratio >= 200:
        return LogLocator(), LogFormatterMathtext()
    return LogLocator(subs=(1.0, 2.0, 5.0)), FuncFormatter(lambda value, _: show(value))


def _legend(
    figure: Figure, table: pd.DataFrame, handles: Sequence[Any], notes: Sequence[str] = ()
) -> None:
    """Put the entries above the panels, and over them what all points have in common."""
    names = [
        name
        for name in parameters(table)
        if table[name].nunique() == 1 and table[name].notna().all()
    ]
    shared = [*_describe(table, names), f"accuracy = {show(table['accuracy'].iloc[0])}", *notes]
    widest = max(len(handle.get_label()) for handle in handles)
    columns = min(len(handles), max(1, 110 // (widest + 7)))
    title = textwrap.fill(", ".join(shared).replace(" = ", "\u00a0=\u00a0"), 120)
    figure.legend(
        handles=handles, loc="outside upper center", ncols=columns, title=title, title_fontsize=7.5
    )
