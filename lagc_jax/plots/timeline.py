"""A Gantt chart: what every worker does when, schemes one under the other."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lagc_jax._checks import positive_number
from lagc_jax._tables import check_columns
from lagc_jax.plots.paper import PAGE_WIDTH, STYLE

# Fates of a job in the order in which they are looked for; colours of Okabe and Ito.
FATES = {
    "taken": ("#009E73", "used"),
    "given_up": ("#D55E00", "given up"),
    "cancelled": ("#BBBBBB", "stopped"),
    "other": ("#E69F00", "sent in vain, or nothing to send"),
}


COLUMNS = ("worker", "start", "finish", "updated", "taken", "given_up", "cancelled")


def timeline(tables: Mapping[str, pd.DataFrame], until: float | None = None) -> Figure:
    """Jobs of every worker as bars over time, updates as lines.

    Args:
        tables: of `lagc_jax.timeline.job_table`, by the name of the scheme.
        until: time at which the axis ends; by default the end of the first scheme to end.

    Raises:
        ValueError: for no table, or a time that is not positive and finite.

    >>> jobs = dict(worker=[0], iteration=[0], start=[0.0], finish=[1.0], updated=[1.0])
    >>> fates = dict(taken=[True], cancelled=[False], given_up=[False])
    >>> len(timeline({"GD": pd.DataFrame(jobs | fates)}).axes)
    1
    """
    if not isinstance(tables, Mapping):
        raise ValueError(f"tables is a {type(tables).__name__}; give a dict from names to tables")
    for name, table in tables.items():
        check_columns(f"tables[{name!r}]", table, COLUMNS, "one of lagc_jax.timeline.job_table")
    if not tables:
        raise ValueError("tables is empty; give at least one of `job_table`, by name")
    if until is None:
        until = min(float(table["finish"].max()) for table in tables.values())
    positive_number("until", until)
    workers = {name: int(table["worker"].max()) + 1 for name, table in tables.items()}
    style: dict[Any, Any] = {**STYLE, "axes.grid": False}
    with matplotlib.rc_context(style):
        height = 0.45 * len(tables) + 0.09 * sum(workers.values()) + 0.6
        figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
        axes = figure.subplots(len(tables), 1, sharex=True, squeeze=False)[:, 0]
        found: set[str] = set()
        for axis, (name, table) in zip(axes, tables.items(), strict=True):
            found |= _draw(axis, table[table["start"] < until], workers[name])
            axis.set_title(name, loc="left", fontsize=8, pad=2)
        axes[-1].set_xlim(0, until)
        axes[-1].set_xlabel("Time (unit of the delays)")
        figure.supylabel("Worker", fontsize=8)
        shown = (FATES[fate] for fate in FATES if fate in found)
        handles = [Patch(color=color, label=label) for color, label in shown]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(FATES))
    return figure


def _draw(axis: Axes, table: pd.DataFrame, num_workers: int) -> set[str]:
    """Bars of one scheme, and a line where the server makes an update; gives the fates."""
    found = set()
    left = pd.Series(True, table.index)
    for fate, (color, _) in FATES.items():
        chosen = table[left] if fate == "other" else table[left & table[fate]]
        left &= ~table.index.isin(chosen.index)
        found |= {fate} if len(chosen) else set()
        width = chosen["finish"] - chosen["start"]
        axis.barh(
            chosen["worker"],
            width,
            left=chosen["start"],
            color=color,
            edgecolor="white",
            linewidth=0.4,
            height=0.85,
        )
    for time in table["updated"].unique():
        axis.axvline(time, color="black", linewidth=0.5)
    axis.set_ylim(num_workers - 0.5, -0.5)
    axis.set_yticks([0, num_workers - 1], ["1", str(num_workers)])
    return found
