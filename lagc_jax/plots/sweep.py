"""The figures of a sweep: which there are, and what is fixed to keep each legible.

Every figure has a column of panels for time, communication and computation, says what its points
have in common, and shows points without a finite value as what they are.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from lagc_jax._tables import conditions, free_parameters, narrow, numeric, pareto_frontier, select
from lagc_jax.plots._panels import MAX_ORDERED, MAX_ROWS, MAX_SERIES, check_axes
from lagc_jax.plots.frontier import plot_frontier
from lagc_jax.plots.heat import plot_heat_map
from lagc_jax.plots.lines import line_dimensions, plot_lines


class Picture(NamedTuple):
    """A figure with its numbers.

    Attributes:
        name: stem of its files.
        figure: the drawing.
        frame: the rows of the table that it shows; those of the frontier have it in a column.
        fixed: for every parameter fixed to keep it legible, the value and all that there are.
    """

    name: str
    figure: Figure
    frame: pd.DataFrame
    fixed: dict[str, list[Any]]


def draw(table: pd.DataFrame, x: str | None = None, y: str | None = None) -> Iterator[Picture]:
    """Draw lines over `x`, or a heat map over `x` and `y`; and the frontier in any case.

    By default there are lines over every numeric parameter that varies, and heat maps over the
    pairs of the three with the most values. Where more varies than a figure can hold, numbers are
    fixed next to the middle where most points have finite costs, schemes at the fastest.

    Args:
        table: of `run`, or of `select`, which chooses the statistic and the level.
        x: a numeric parameter.
        y: another.

    Raises:
        ValueError: as `plot_lines` and `plot_heat_map`, where fixing others leaves too few points,
            or for `y` without `x`.
    """
    if x is None and y is not None:
        raise ValueError(f"y={y!r} is given without x; give both for a heat map")
    table = table if "time" in table else select(table)
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
    best = shown["point"].isin(pareto_frontier(shown)["point"])
    yield Picture("frontier", plot_frontier(shown), shown.assign(frontier=best), fixed)


def _fix_others(
    table: pd.DataFrame, axes: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, list[Any]]]:
    """Rows that fit into one figure over the axes, and what was fixed to get there."""
    check_axes(table, *axes)
    if len(axes) == 1:
        rows, series = line_dimensions(table, axes[0])
        shown, fixed = narrow(table, rows, MAX_ROWS // 2, axes)
        shown, more = narrow(shown, series, MAX_SERIES, axes, MAX_ORDERED)
        return shown, fixed | more
    rest = [name for name in free_parameters(table, axes) if name not in axes]
    return narrow(table.dropna(subset=list(axes)), rest, MAX_ROWS, axes)
