"""What all figures of a sweep share: panels, scales, the legend, and points without a value."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure

from lagc_jax._tables import COSTS, count_combinations, numeric, parameters, show, values_of
from lagc_jax.plots._names import describe
from lagc_jax.plots._style import PAGE_WIDTH
from lagc_jax.plots._ticks import label_values, thin_ticks, tick_labels

MAX_SERIES, MAX_ORDERED, MAX_ROWS = 6, 24, 6
CHARACTERS = 22  # on an axis of a third of a page
# What a point without a finite cost is: how its cell is filled, and its mark over a line's gap,
# which no scheme has.
STATES: dict[str, tuple[dict[str, Any], str]] = {
    "diverged": (dict(facecolor="0.55", hatch="xxxx", edgecolor="0.25"), "$\\otimes$"),
    "accuracy not reached": (dict(facecolor="0.8", hatch="////", edgecolor="0.5"), "$\\uparrow$"),
    "infinite mean": (dict(facecolor="0.93", hatch="....", edgecolor="0.5"), "$\\infty$"),
    "undefined": (dict(facecolor="1.0", hatch="++++", edgecolor="0.3"), "$?$"),
}
SPAN = 1e6  # means that grow without bound must not push all others into one colour


def check_axes(table: pd.DataFrame, *axes: str) -> None:
    """Raise ValueError unless the axes are different numeric parameters that vary."""
    choices = numeric(table, parameters(table))
    for name in axes:
        if not isinstance(name, str) or name not in choices:
            raise ValueError(
                f"{name!r} is no numeric parameter that varies; give one of {', '.join(choices)}"
            )
    if len(set(axes)) < len(axes):
        raise ValueError(f"both axes are {axes[0]!r}; give two parameters")


def check_count(table: pd.DataFrame, names: Sequence[str], limit: int) -> None:
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


def states_of(table: pd.DataFrame, cost: str) -> np.ndarray:
    """What every point is: "finite" or one of `STATES`, (rows,)."""
    value = table[cost].to_numpy(float)
    conditions = {
        "finite": np.isfinite(value),
        "diverged": table["diverged"].to_numpy(float) > 0,
        "accuracy not reached": np.isinf(table["iterations"].to_numpy(float)),
        "infinite mean": np.isinf(value),
    }
    return np.select(list(conditions.values()), list(conditions), "undefined")


def gaps(column: pd.Series) -> np.ndarray:
    """The values, NaN where they are not finite."""
    values = column.to_numpy(float)
    return np.where(np.isfinite(values), values, np.nan)


def make_panels(rows: int, height: float, columns: int = len(COSTS)) -> tuple[Figure, np.ndarray]:
    """A figure of the width of a page and its axes (rows, columns)."""
    size = (PAGE_WIDTH, 0.8 + height * rows)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def set_scale(axis: Axis, values: np.ndarray, ticks: bool = False) -> None:
    """Make an axis logarithmic where its values span a decade; with ticks, label the values."""
    finite = np.unique(values[np.isfinite(values)])
    positive = finite[finite > 0]
    wide = positive.size > 0 and finite[-1] >= 10 * positive[0]
    scale: dict[str, Any] = dict(value="linear")
    if wide and finite[0] >= 0:
        zero = positive.size < finite.size
        scale = dict(value="symlog", linthresh=positive[0]) if zero else dict(value="log")
    rescale = axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale
    rescale(**scale)
    if ticks:
        label_values(axis, finite.tolist(), tick_labels(finite.tolist()), CHARACTERS)
    elif scale["value"] != "symlog":
        thin_ticks(axis, log=scale["value"] == "log")
        if scale["value"] == "log" and finite[-1] > SPAN * finite[0]:
            end = SPAN * finite[0]
            limit = axis.axes.set_xlim if isinstance(axis, XAxis) else axis.axes.set_ylim
            limit(None, end)


def drawable(
    groups: Sequence[tuple[str, pd.DataFrame]], axes: Sequence[str] = ()
) -> tuple[list[tuple[str, pd.DataFrame]], list[str]]:
    """Groups of points that make a panel, and what to say of those that do not.

    A panel has two values of each of the axes and a finite cost; where no group has, all are kept.
    """

    def fills(rows: pd.DataFrame) -> bool:
        wide = all(rows[name].nunique() > 1 for name in axes)
        return wide and bool(np.isfinite(rows[list(COSTS)].to_numpy(float)).any())

    missing = [name for _, rows in groups for name in COSTS if name not in rows.columns]
    if missing:
        raise ValueError(
            f"the table has no column {missing[0]!r}; give what lagc_jax.plots.select makes of it"
        )
    kept = [(name, rows) for name, rows in groups if fills(rows)]
    left = [name for name, rows in groups if not fills(rows)]
    if not kept:
        return list(groups), []
    return kept, [f"no panel for {'; '.join(left)}"] if left else []


def add_legend(
    figure: Figure, table: pd.DataFrame, handles: Sequence[Any], notes: Sequence[str] = ()
) -> None:
    """Put the entries above the panels, and over them what all points have in common."""
    names = [
        name
        for name in parameters(table)
        if table[name].nunique() == 1 and table[name].notna().all()
    ]
    shared = [*describe(table, names), f"accuracy = {show(table['accuracy'].iloc[0])}", *notes]
    widest = max(len(handle.get_label()) for handle in handles)
    fitting = min(len(handles), max(1, 110 // (widest + 7)))
    columns = math.ceil(len(handles) / math.ceil(len(handles) / fitting))
    title = textwrap.fill(", ".join(shared).replace(" = ", "\u00a0=\u00a0"), 120)
    figure.legend(
        handles=handles, loc="outside upper center", ncols=columns, title=title, title_fontsize=7.5
    )
