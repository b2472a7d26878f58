"""Heat maps over two parameters of a sweep."""

import textwrap
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke

from lagc_jax._tables import check_selected, costs_of, free_parameters, values_of
from lagc_jax.plots._names import axis_name, cost_label, groups_of
from lagc_jax.plots._panels import (
    MAX_ROWS,
    SPAN,
    STATES,
    add_legend,
    check_axes,
    check_count,
    drawable,
    gaps,
    make_panels,
    states_of,
)
from lagc_jax.plots._style import STYLE
from lagc_jax.plots._ticks import label_values, thin_ticks, tick_labels

MAP_STYLE: dict[Any, Any] = STYLE | {"axes.grid": False}
RING: dict[str, Any] = dict(marker="o", markersize=5, markerfacecolor="none", markeredgewidth=1.0)
OUTLINE: list[AbstractPathEffect] = [withStroke(linewidth=2.2, foreground="k")]
CHARACTERS, LINES = 24, 8  # of labels that fit along a map


def plot_heat_map(table: pd.DataFrame, x: str, y: str) -> Figure:
    """The three complexities over two parameters, a row of maps for every combination of others.

    A ring marks the smallest values of a map. Cells without a finite value are grey and hatched,
    cells without a point are left white. Points that lack `x` or `y` have no cell.

    Args:
        table: of `lagc_jax.plots.select`.
        x: numeric parameter, to the right.
        y: numeric parameter, upwards.

    Raises:
        ValueError: for another table, if `x` and `y` are not two that vary together, or the others
            have too many combinations.
    """
    check_selected(table)
    check_axes(table, x, y)
    everything, table = table, table.dropna(subset=[x, y])
    if table.empty or not all(table[name].nunique() > 1 for name in (x, y)):
        raise ValueError(
            f"of the {len(table)} points that have x={x!r} and y={y!r} no two differ in both; give "
            f"another pair, or lines over one of them"
        )
    others = [name for name in free_parameters(table, [x, y]) if name not in (x, y)]
    check_count(table, others, MAX_ROWS)
    found = set()
    with matplotlib.rc_context(MAP_STYLE):
        rows, notes = drawable(groups_of(table, others), (x, y))
        table = pd.concat([cells for _, cells in rows])
        ticks = values_of(table[x]), values_of(table[y])
        costs = costs_of(table)
        figure, panels = make_panels(len(rows), 1.5, len(costs))
        for column, cost in zip(panels.T, costs, strict=True):
            norm, extend = _norm(table[cost])
            for axis, (name, cells) in zip(column, rows, strict=True):
                found |= _draw_map(axis, cells, (x, y), ticks, cost, norm)
                if cost == "time":
                    axis.set_title(name, loc="left")
                    axis.set_ylabel(textwrap.fill(axis_name(y), 15))
                axis.tick_params(labelleft=cost == "time", labelbottom=axis is column[-1])
            column[-1].set_xlabel(axis_name(x))
            _add_bar(figure, list(column), norm, extend, cost_label(table, cost))
        ring = Line2D([], [], color="w", linestyle="", label="smallest", **RING)
        ring.set_path_effects(OUTLINE)
        patches = [
            Patch(label=state, linewidth=0.5, **fill)
            for state, (fill, _) in STATES.items()
            if state in found
        ]
        empty = len(ticks[0]) * len(ticks[1]) * len(rows) > len(table)
        blank = [Patch(facecolor="w", edgecolor="0.5", linewidth=0.5, label="no point")]
        missing = len(everything) - len(everything.dropna(subset=[x, y]))
        notes += [f"{missing} points without {x} or {y} have no cell"] if missing else []
        add_legend(figure, table, [ring, *patches, *(blank if empty else [])], notes)
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
    value, states = gaps(cells[cost]), states_of(cells, cost)
    grid = np.full((len(ticks[1]), len(ticks[0])), np.nan)
    grid[j, i] = value
    edges = [np.arange(len(t) + 1) - 0.5 for t in ticks]
    axis.pcolormesh(*edges, np.ma.masked_invalid(grid), norm=norm, cmap="viridis", rasterized=True)
    for state, (fill, _) in STATES.items():
        boxes = [Rectangle((i[k] - 0.5, j[k] - 0.5), 1, 1) for k in np.flatnonzero(states == state)]
        axis.add_collection(PatchCollection(boxes, linewidth=0, **fill))
    best = np.isclose(value, np.nanmin(value, initial=np.inf), rtol=1e-9, atol=0)
    if not best.all():
        axis.plot(i[best], j[best], color="w", linestyle="", path_effects=OUTLINE, **RING)
    label_values(axis.xaxis, range(len(ticks[0])), tick_labels(ticks[0]), CHARACTERS)
    step = -(-len(ticks[1]) // LINES)
    axis.yaxis.set_ticks(range(0, len(ticks[1]), step), labels=tick_labels(ticks[1])[::step])
    return set(states) & set(STATES)


def _add_bar(figure: Figure, axes: list[Axes], norm: Normalize, extend: str, label: str) -> None:
    """The bar of colours above a column of maps."""
    place: dict[str, Any] = dict(location="top", shrink=0.9, aspect=18, extend=extend)
    bar = figure.colorbar(ScalarMappable(norm, "viridis"), ax=axes, label=label, **place)
    thin_ticks(bar.ax.xaxis, log=isinstance(norm, LogNorm))


def _norm(values: pd.Series) -> tuple[Normalize, str]:
    """Colours of a cost, logarithmic where it spans a decade, and the open end of their bar."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return Normalize(0, 1), "neither"
    low, high = finite.min(), finite.max()
    if not 0 < 10 * low <= high:
        return Normalize(low, high), "neither"
    return LogNorm(low, min(high, SPAN * low)), "max" if high > SPAN * low else "neither"
