"""Figures from the tidy frames of a study."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lagc_jax._checks import file_path
from lagc_jax._tables import check_columns
from lagc_jax.plots._labels import settle
from lagc_jax.plots._style import COLUMN_WIDTH, PAGE_WIDTH, SOLID, STYLE, scheme_style
from lagc_jax.plots._ticks import thin_ticks

DELAYS: dict[str, Any] = {"pareto": ("Pareto", "-"), "exponential": ("exponential", "--")}
COSTS = {
    "wall-clock": "Wall-clock time\n(unit of the delays)",
    "communication": "Communication\n(messages)",
    "computation": "Computation\n(partition gradients)",
}


TOTALS = ("wall-clock mean", "communication", "computation")
BAND = ("wall-clock mean", "wall-clock 5 %", "wall-clock 50 %", "wall-clock 95 %")


def plot_curves(curves: pd.DataFrame) -> Figure:
    """Optimality gap against time, messages and gradients, three panels (LAGC, Figs. 2 and 3).

    Time is shown by its median, the band from the 5 to the 95 % quantile, and the exact mean.

    Args:
        curves: of `experiments.paper.curve_frame`.

    Raises:
        ValueError: for another frame.
    """
    check_columns(
        "curves",
        curves,
        ("scheme", "gap", *BAND, "communication", "computation"),
        "that of experiments.paper.curve_frame",
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 2.7), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        for i, (name, curve) in enumerate(curves.groupby("scheme", sort=False)):
            style = scheme_style(str(name)) | dict(markevery=(0.035 * i, 0.22))
            band = _finite(curve["gap"], curve["wall-clock 5 %"], curve["wall-clock 95 %"])
            axes[0].fill_betweenx(*band, color=style["color"], alpha=0.2, linewidth=0)
            axes[0].plot(curve["wall-clock mean"], curve["gap"], ":", color=style["color"])
            for axis, column in zip(
                axes, ("wall-clock 50 %", "communication", "computation"), strict=True
            ):
                axis.plot(*_finite(curve[column], curve["gap"]), **style)
        for axis, label in zip(axes, COSTS.values(), strict=True):
            axis.set(yscale="log", xlabel=label)
            axis.set_xlim(left=0)
            thin_ticks(axis.xaxis, log=False)
        axes[0].set_ylabel("Optimality gap")
        mean = Line2D([], [], color="0.4", linestyle=":", label="exact mean")
        band = Patch(color="0.4", alpha=0.2, linewidth=0, label="5-95 %")
        _legend(figure, curves["scheme"].unique(), [mean, band])
    return figure


def plot_redundancy(redundancy: pd.DataFrame) -> Figure:
    """The three complexities against the redundancy, three panels.

    Args:
        redundancy: of `experiments.paper.redundancy_frame`.

    Raises:
        ValueError: for another frame.
    """
    check_columns(
        "redundancy",
        redundancy,
        ("scheme", "delays", "redundancy", *TOTALS),
        "that of experiments.paper.redundancy_frame",
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 2.6), layout="constrained")
        axes = figure.subplots(1, 3)
        for (name, family), group in redundancy.groupby(["scheme", "delays"], sort=False):
            style = scheme_style(str(name)) | dict(linestyle=DELAYS[str(family)][1])
            axes[0].plot(group["redundancy"], group["wall-clock mean"], **style)
        for name, group in redundancy.groupby("scheme", sort=False):
            once = group[group["delays"] == group["delays"].iloc[0]]
            for axis, column in zip(axes[1:], ("communication", "computation"), strict=True):
                style = scheme_style(str(name)) | dict(linestyle=SOLID)
                axis.plot(once["redundancy"], once[column], **style)
        for axis, label in zip(axes, COSTS.values(), strict=True):
            axis.set(xlabel="Redundancy r", ylabel=label)
            axis.locator_params(axis="x", integer=True, nbins=7)
        axes[1].set_ylim(bottom=0)
        for axis, column in zip(axes, ("wall-clock mean", None, "computation"), strict=True):
            shown = column is not None and _log_scale(axis, redundancy[column])
            thin_ticks(axis.yaxis, log=shown)
        families = [
            Line2D([], [], color="0.4", linestyle=line, label=f"{family} delays")
            for family, line in DELAYS.values()
        ]
        _legend(figure, redundancy["scheme"].unique(), families, linestyle=SOLID)
    return figure


def plot_tail(tail: pd.DataFrame) -> Figure:
    """Mean time against the Pareto shape; left of the dotted verticals a mean is infinite.

    Args:
        tail: of `experiments.paper.tail_frame`.

    Raises:
        ValueError: for another frame.
    """
    check_columns(
        "tail",
        tail,
        ("scheme", "shape", "redundancy", TOTALS[0]),
        "that of experiments.paper.tail_frame",
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_WIDTH, 3.0), layout="constrained")
        axis = figure.subplots()
        for name, group in tail.groupby("scheme", sort=False):
            axis.plot(
                *_finite(group["shape"], group["wall-clock mean"]),
                **scheme_style(str(name)),
                markevery=0.2,
            )
        axis.set(
            xscale="log",
            xlabel="Pareto shape (small = heavy tail)",
            ylabel="Mean wall-clock time to accuracy\n(unit of the delays)",
        )
        if _log_scale(axis, tail["wall-clock mean"]):
            thin_ticks(axis.yaxis)
            # Means grow without bound towards the verticals: keep the rest of the curves legible.
            lowest = tail["wall-clock mean"].min()
            axis.set_ylim(0.7 * lowest, 300 * lowest)
        for r in sorted(tail["redundancy"].unique()):
            if 1 / r > tail["shape"].min():
                axis.axvline(1 / r, color="0.5", linestyle=":", linewidth=0.9)
                label = f"r = {r}"
                place: dict[str, Any] = dict(
                    rotation=90, ha="right", va="bottom", color="0.3", fontsize=7
                )
                axis.text(1 / r, 0.02, label, transform=axis.get_xaxis_transform(), **place)
        axis.set_xticks([0.3, 0.5, 1, 2, 3, 6], labels=["0.3", "0.5", "1", "2", "3", "6"])
        axis.minorticks_off()
        _legend(figure, tail["scheme"].unique(), [], columns=3)
    return figure


def plot_quantiles(quantiles: pd.DataFrame) -> Figure:
    """Measured against fitted quantiles, one panel a family, best first; a good fit is diagonal.

    Args:
        quantiles: of `lagc_jax.delays.quantile_frame`.

    Raises:
        ValueError: for another frame.
    """
    check_columns(
        "quantiles",
        quantiles,
        ("family", "fitted", "measured"),
        "that of lagc_jax.delays.quantile_frame",
    )
    families = quantiles["family"].unique()
    rows = -(-len(families) // 4)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 2.0 * rows), layout="constrained")
        axes = figure.subplots(rows, 4, squeeze=False).ravel()
        limits = quantiles["measured"].min(), quantiles["measured"].max()
        for axis, name in zip(axes, families, strict=False):
            group = quantiles[quantiles["family"] == name]
            axis.plot(limits, limits, color="0.6", linewidth=0.9)
            axis.plot(group["fitted"], group["measured"], ".", color="#0072B2", markersize=2.5)
            axis.set(xscale="log", yscale="log", title=str(name).replace("_", " "))
        for axis in axes[len(families) :]:
            axis.set_axis_off()
        figure.supxlabel("Fitted quantile (unit of the delays)", fontsize="medium")
        figure.supylabel("Measured", fontsize="medium")
    return figure


def save_figure(figure: Figure, frame: pd.DataFrame, stem: str | Path) -> list[Path]:
    """Write a figure as `.pdf` and `.png` and its numbers as `.csv`; return the three paths.

    Arguments and errors as for `save_drawing`.
    """
    (table,) = _paths(stem, ".csv")
    paths = save_drawing(figure, stem)
    frame.to_csv(table, index=False)
    return [*paths, table]


def save_drawing(figure: Figure, stem: str | Path) -> list[Path]:
    """Write a figure as `.pdf` and `.png`; return the two paths.

    Args:
        figure: of this package, or any.
        stem: path of the files without their endings.

    Raises:
        ValueError: for a stem that is no path.
    """
    paths = _paths(stem, ".pdf", ".png")
    with matplotlib.rc_context(STYLE):
        if figure.get_layout_engine() is not None:
            settle(figure)  # finding the places takes half the time
        figure.savefig(paths[0], metadata={"CreationDate": None})
        figure.savefig(paths[1])
    return paths


def _paths(stem: str | Path, *endings: str) -> list[Path]:
    """Paths of files; a stem may hold points."""
    file_path("stem", stem)
    return [Path(f"{stem}{ending}") for ending in endings]


def _log_scale(axis: Axes, values: pd.Series) -> bool:
    """Make the vertical axis logarithmic, unless no value is finite; return whether it is."""
    shown = bool(np.isfinite(values).any())
    if shown:
        axis.set_yscale("log")
    return shown


def _finite(*columns: pd.Series) -> list[np.ndarray]:
    """The rows in which every column is finite."""
    values = np.column_stack([np.asarray(column, float) for column in columns])
    return list(values[np.isfinite(values).all(1)].T)


def _legend(
    figure: Figure,
    schemes: Iterable[str],
    extra: list[Any],
    columns: int | None = None,
    **look: Any,
) -> None:
    handles: list[Any] = [
        Line2D([], [], label=name, **scheme_style(name) | look) for name in schemes
    ] + extra
    columns = columns or len(handles)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, handlelength=2.4)
