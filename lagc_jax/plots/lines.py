"""Lines over one parameter of a sweep."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from lagc_jax._tables import (
    check_selected,
    costs_of,
    count_combinations,
    free_parameters,
    is_choice,
    is_name,
    mean_time,
    numeric,
    quantile_levels,
)
from lagc_jax.plots._names import LABELS, axis_name, groups_of, series_styles
from lagc_jax.plots._panels import (
    MAX_ORDERED,
    MAX_ROWS,
    MAX_SERIES,
    STATES,
    add_legend,
    check_axes,
    check_count,
    drawable,
    gaps,
    make_panels,
    set_scale,
    states_of,
)
from lagc_jax.plots._style import STYLE
from lagc_jax.plots._ticks import thin_ticks

MARK_GAP = 6  # points
MARK: dict[str, Any] = dict(linestyle="", markersize=6, markeredgewidth=0.2)


def plot_lines(table: pd.DataFrame, x: str) -> Figure:
    """The three complexities over one parameter, a line for every combination of the others.

    Time is shown by its median, the band between the outermost quantiles, and dotted the mean;
    without quantiles, by the mean of the realisations and 1.96 standard errors. A line has gaps
    where its value is not finite, and a mark above says why. Points that have no such parameter
    give a level line. Problems and delays have a row of panels each. An axis ends at a million
    times its smallest value. Of lines that coincide the lower is wider. More than six are told
    apart by an ordered bar of colours, if one number varies, without bands and means.

    Args:
        table: of `lagc_jax.plots.select`.
        x: a numeric parameter.

    Raises:
        ValueError: for another table, if `x` is not one that varies, or the others have too many
            combinations.
    """
    check_selected(table)
    check_axes(table, x)
    by_row, by_series = line_dimensions(table, x)
    check_count(table, by_row, MAX_ROWS // 2)
    ordered = numeric(table, by_series) == by_series and len(by_series) == 1
    ordered &= count_combinations(table, by_series) > MAX_SERIES
    check_count(table, by_series, MAX_ORDERED if ordered else MAX_SERIES)
    costs, (table, statistics) = costs_of(table), _with_band(table)
    bar = _order(table, by_series[0]) if ordered else None
    styles = series_styles(table, by_series) if bar is None else _shades(table, by_series, bar)
    rows = [(name, world) for name, world in groups_of(table, by_row) if world[x].notna().any()]
    rows, notes = drawable(rows)
    found = set()
    with matplotlib.rc_context(STYLE):
        figure, panels = make_panels(len(rows), 1.9, len(costs))
        for panel, (name, world) in zip(panels, rows, strict=True):
            lines = [
                (_extend(line, world[x], x), styles[label])
                for label, line in groups_of(world, by_series)
            ]
            marks = _draw_lines(panel, lines, x, costs, band=bar is None)
            found |= set(marks)
            for axis, cost in zip(panel, costs, strict=True):
                columns = ["middle", "low", "high", "mean"] if cost == "time" else [cost]
                set_scale(axis.yaxis, world[columns].to_numpy(float))
                set_scale(axis.xaxis, world[x].to_numpy(float), ticks=True)
                axis.set_ylabel(LABELS[cost])
            panel[0].set_title(name, loc="left", pad=4 + MARK_GAP * max(marks.values(), default=0))
        for axis in panels[-1]:
            axis.set_xlabel(axis_name(x))
        if bar is not None:
            _add_bar(figure, panels, bar, axis_name(by_series[0]))
        # Where a parameter is an array, a value a worker, it has no name.
        handles = [
            Line2D([], [], label=label or "a value a worker", **style)
            for label, style in (styles if by_series else {}).items()
        ]
        shown = [*handles, *statistics] if bar is None else statistics[:1]
        add_legend(figure, table, [*shown, *_states(found)], notes)
    return figure


def _order(table: pd.DataFrame, name: str) -> ScalarMappable:
    """Colours by the values of a parameter, on the scale on which they are spread."""
    low, high = table[name].min(), table[name].max()
    norm = LogNorm(low, high) if 0 < 10 * low <= high else Normalize(low, high)
    return ScalarMappable(norm, matplotlib.colormaps["viridis"].resampled(256))


def _add_bar(figure: Figure, panels: np.ndarray, bar: ScalarMappable, label: str) -> None:
    """The bar of colours to the right of the panels."""
    drawn = figure.colorbar(bar, ax=list(panels.ravel()), label=label, aspect=30)
    thin_ticks(drawn.ax.yaxis, log=isinstance(bar.norm, LogNorm))


def _shades(
    table: pd.DataFrame, names: list[str], bar: ScalarMappable
) -> dict[str, dict[str, Any]]:
    """The style of every line by its place in a bar of colours; black without the parameter."""
    values = {label: rows[names[0]].iloc[0] for label, rows in groups_of(table, names)}
    return {
        label: dict(color="k" if pd.isna(value) else bar.to_rgba(value), linestyle="-")
        for label, value in values.items()
    }


def _states(found: Iterable[str]) -> list[Line2D]:
    """Entries of the legend for the marks above lines."""
    return [
        Line2D([], [], marker=mark, label=state, color="0.3", **MARK)
        for state, (_, mark) in STATES.items()
        if state in set(found)
    ]


def line_dimensions(table: pd.DataFrame, x: str) -> tuple[list[str], list[str]]:
    """Parameters that make the rows of panels and those that make the lines over x."""
    others = [name for name in free_parameters(table, [x]) if name != x]
    rows = [name for name in others if not is_choice(name) and is_name(table, name)]
    return rows, [name for name in others if name not in rows]


def _with_band(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Any]]:
    """Add what a line shows of the time: `middle`, `low`, `high`, `mean`; and its legend."""
    levels = quantile_levels(table)
    mean, name = mean_time(table)
    if table["time_mean"].isna().all():  # no realisation was asked for
        middle, text, columns, band = mean, name, 2 * [table["time_mean"]], ""
    elif levels:
        low, high = min(levels), max(levels)
        columns = [table[levels[level]] for level in (low, high)]
        middle, text = (table[levels[0.5]], "median") if 0.5 in levels else (mean, name)
        band = f"{100 * low:g}-{100 * high:g} %"
    else:
        middle, text, band = table["time_mean"], "sample mean", "1.96 standard errors"
        margin = 1.96 * table["time_standard_error"]
        columns = [middle - margin, middle + margin]
    handles: list[Any] = [
        Line2D([], [], color="0.4", linestyle="-", label=text),
        Line2D([], [], color="0.4", linestyle=":", label=name),
        Patch(color="0.4", alpha=0.2, linewidth=0, label=band),
    ]
    handles = handles if band else handles[:1]
    return table.assign(middle=middle, low=columns[0], high=columns[1], mean=mean), handles


def _extend(line: pd.DataFrame, everywhere: pd.Series, x: str) -> pd.DataFrame:
    """A line in rising order; a point without the parameter becomes a level line of its own."""
    if line[x].isna().all():
        ends = [everywhere.min(), everywhere.max()]
        return pd.concat([line.assign(**{x: end}) for end in ends])
    return line.dropna(subset=[x]).sort_values(x)


def _draw_lines(
    panel: np.ndarray,
    lines: Sequence[tuple[pd.DataFrame, dict[str, Any]]],
    x: str,
    costs: Sequence[str],
    band: bool,
) -> dict[str, int]:
    """Draw all lines of a row of panels; return the states of their gaps and the marks' height."""
    heights: dict[str, int] = {}
    for line, style in lines if band else ():
        _draw_band(panel[0], line, x, style["color"])
    for axis, cost in zip(panel, ("middle", *costs[1:]), strict=True):
        above: Counter[float] = Counter()
        drawn = [pd.Series(gaps(line[cost]), line[x]) for line, _ in lines]
        for i, (line, style) in enumerate(lines):
            over = sum(_coincide(drawn[i], other) for other in drawn[i + 1 :])
            wide = dict(linewidth=1.2 + 1.5 * over, markersize=3.5 + 2.5 * over)
            axis.plot(line[x], drawn[i], **style | wide)
            for place, state in zip(
                line[x], states_of(line, "mean" if axis is panel[0] else cost), strict=True
            ):
                if state in STATES:
                    _draw_mark(axis, place, above[place], STATES[state][1], style["color"])
                    above[place] += 1
                    heights[state] = max(heights.get(state, 0), above[place])
    return heights


def _draw_band(axis: Axes, line: pd.DataFrame, x: str, color: Any) -> None:
    """The mean of the time and its band."""
    position = line[x].to_numpy(float)
    low, middle, high, mean = (gaps(line[name]) for name in ("low", "middle", "high", "mean"))
    axis.fill_between(position, low, high, color=color, alpha=0.15, linewidth=0)
    lone = _alone(middle)  # a band has no width there
    if lone.any():
        axis.vlines(position[lone], low[lone], high[lone], color=color, alpha=0.4)
    axis.plot(position, mean, ":", color=color)
    if (lone := _alone(mean)).any():  # nor has a line a length
        axis.plot(position[lone], mean[lone], "_", color=color)


def _alone(values: np.ndarray) -> np.ndarray:
    """Which values have a gap or nothing on either side, bool."""
    known = np.pad(np.isfinite(values), 1)
    return known[1:-1] & ~known[:-2] & ~known[2:]


def _draw_mark(axis: Axes, x: float, height: int, mark: str, color: Any) -> None:
    """A mark above a gap, over those of other lines there."""
    inches: Any = axis.get_figure(root=True).dpi_scale_trans  # type: ignore[union-attr]
    move = ScaledTranslation(0, (5 + MARK_GAP * height) / 72, inches)
    place: dict[str, Any] = dict(transform=axis.get_xaxis_transform() + move, clip_on=False)
    axis.plot([x], [1], marker=mark, color=color, **MARK, **place)


def _coincide(line: pd.Series, other: pd.Series) -> bool:
    """Whether two lines agree to a hundredth at most of the places that they share."""
    both = pd.concat([line, other], axis=1, join="inner").dropna().to_numpy()
    return bool(len(both)) and np.isclose(both[:, 0], both[:, 1], rtol=0.01, atol=0).mean() > 0.5
