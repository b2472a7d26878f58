"""Figures from the tidy frames of a study, and how a scheme looks in all figures."""

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

# Colours of Okabe and Ito, safe for colour-blind readers; a scheme looks the same everywhere.
STYLES: dict[str, dict[str, Any]] = {
    "GD": dict(color="#000000", marker="o"),
    "GC": dict(color="#E69F00", marker="s"),
    "grouping": dict(color="#56B4E9", marker="^"),
    "LAG": dict(color="#009E73", marker="v"),
    "LAGC": dict(color="#D55E00", marker="D"),
    "G-LAG": dict(color="#0072B2", marker="P"),
    "first decodable": dict(color="#E69F00", marker="X"),
    "fastest-k": dict(color="#999999", marker="<"),
    "stochastic GC": dict(color="#999999", marker=">"),
    "approximate GC": dict(color="#999999", marker="h"),
    "ErasureHead": dict(color="#56B4E9", marker="8", linestyle=":"),
    "LAG-PS": dict(color="#009E73", marker="v"),
    "LAG-WK": dict(color="#009E73", marker="1", linestyle="--"),
    "LAQ": dict(color="#CC79A7", marker="d"),
    "LASG-PS": dict(color="#F0E442", marker="2"),
    "LASG-WK2": dict(color="#F0E442", marker="3", linestyle="--"),
    "AMSGrad": dict(color="#882255", marker="p"),
    "CADA1": dict(color="#882255", marker="4", linestyle=":"),
    "CADA2": dict(color="#882255", marker="*", linestyle="--"),
    "G-CADA": dict(color="#332288", marker="H"),
    "short GC": dict(color="#E69F00", marker="d", linestyle=":"),
    "Bernoulli GC": dict(color="#999999", marker="D", linestyle=":"),
    "QSGD": dict(color="#44AA99", marker="o", linestyle="--"),
    "error feedback": dict(color="#44AA99", marker="s", linestyle=":"),
    "EF21": dict(color="#117733", marker="^"),
    "CLAG": dict(color="#117733", marker="v", linestyle="--"),
    "DIANA": dict(color="#AA4499", marker="<"),
    "MARINA": dict(color="#AA4499", marker=">", linestyle="--"),
    "FedAvg": dict(color="#332288", marker="P", linestyle=":"),
    "LASG": dict(color="#F0E442", marker="3"),
    "CADA": dict(color="#882255", marker="*"),
}
FAMILIES: dict[str, Any] = {"pareto": ("Pareto", "-"), "exponential": ("exponential", "--")}
COLUMN_WIDTH, PAGE_WIDTH = 3.5, 7.16  # inches, of a two-column paper
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.dpi": 200,
    "pdf.fonttype": 42,
}
COSTS = {
    "wall-clock": "Wall-clock time\n(unit of the delays)",
    "communication": "Communication\n(messages)",
    "computation": "Computation\n(partition gradients)",
}


def plot_curves(curves: pd.DataFrame) -> Figure:
    """Optimality gap against time, messages and gradients, three panels (LAGC, Figs. 2 and 3).

    Time is shown by its median, the band from the 5 to the 95 % quantile, and the exact mean.

    Args:
        curves: of `study.curve_frame`.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 2.7), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        for name, curve in curves.groupby("scheme", sort=False):
            style = scheme_style(str(name))
            band = _finite(curve["gap"], curve["wall-clock 5 %"], curve["wall-clock 95 %"])
            axes[0].fill_betweenx(*band, color=style["color"], alpha=0.2, linewidth=0)
            axes[0].plot(curve["wall-clock mean"], curve["gap"], ":", color=style["color"])
            for axis, column in zip(
                axes, ("wall-clock 50 %", "communication", "computation"), strict=True
            ):
                axis.plot(*_finite(curve[column], curve["gap"]), **style, markevery=0.2)
        for axis, label in zip(axes, COSTS.values(), strict=True):
            axis.set(yscale="log", xlabel=label)
            axis.set_xlim(left=0)
            axis.locator_params(axis="x", nbins=4)
        axes[0].set_ylabel("Optimality gap")
        mean = Line2D([], [], color="0.4", linestyle=":", label="exact mean")
        band = Patch(color="0.4", alpha=0.2, linewidth=0, label="5-95 %")
        _legend(figure, curves["scheme"].unique(), [mean, band])
    return figure


def plot_redundancy(redundancy: pd.DataFrame) -> Figure:
    """The three complexities against the redundancy, three panels.

    Args:
        redundancy: of `study.redundancy_frame`.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 2.6), layout="constrained")
        axes = figure.subplots(1, 3)
        for (name, family), group in redundancy.groupby(["scheme", "delays"], sort=False):
            style = scheme_style(str(name)) | dict(linestyle=FAMILIES[str(family)][1])
            axes[0].plot(group["redundancy"], group["wall-clock mean"], **style)
        for name, group in redundancy.groupby("scheme", sort=False):
            once = group[group["delays"] == group["delays"].iloc[0]]
            for axis, column in zip(axes[1:], ("communication", "computation"), strict=True):
                axis.plot(once["redundancy"], once[column], **scheme_style(str(name)))
        for axis, label in zip(axes, COSTS.values(), strict=True):
            axis.set(xlabel="Redundancy r", ylabel=label)
            axis.locator_params(axis="x", integer=True, nbins=7)
        _log_scale(axes[0], redundancy["wall-clock mean"])
        _log_scale(axes[2], redundancy["computation"])
        axes[1].set_ylim(bottom=0)
        families = [
            Line2D([], [], color="0.4", linestyle=line, label=f"{family} delays")
            for family, line in FAMILIES.values()
        ]
        _legend(figure, redundancy["scheme"].unique(), families)
    return figure


def plot_tail(tail: pd.DataFrame) -> Figure:
    """Mean time against the Pareto shape; left of the dotted verticals a mean is infinite.

    Args:
        tail: of `study.tail_frame`.
    """
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


def plot_survey(curves: pd.DataFrame) -> Figure:
    """Test accuracy against time under every law, and against what else it costs.

    A row of panels for every task. Costs beside the time are those under the first law; only
    schemes that lose gradients differ between laws.

    Args:
        curves: of `survey.curve_frame`.
    """
    laws = curves["delays"].unique()
    panels = [("time", law) for law in laws]
    panels += [(cost, laws[0]) for cost in ("communication", "computation", "bits")]
    tasks = list(curves.groupby("task", sort=False))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2 * PAGE_WIDTH, 1 + 2.4 * len(tasks)), layout="constrained")
        grid = figure.subplots(len(tasks), len(panels), sharey="row", squeeze=False)
        for row, (task, rows) in zip(grid, tasks, strict=True):
            for axis, (cost, law) in zip(row, panels, strict=True):
                for name, curve in rows[rows["delays"] == law].groupby("scheme", sort=False):
                    style = scheme_style(str(name))
                    axis.plot(curve[cost], curve["accuracy"], **style, markevery=0.25)
                axis.set(xscale="log", xlabel=f"Time, {law}" if cost == "time" else cost.title())
            row[0].set_ylabel(f"Test accuracy, {task}")
            best = rows["accuracy"].max()
            row[0].set_ylim(best - 0.4, best + 0.02)
        _legend(figure, curves["scheme"].unique(), [], columns=9)
    return figure


def plot_quantiles(quantiles: pd.DataFrame) -> Figure:
    """Measured against fitted quantiles, one panel a family, best first; a good fit is diagonal.

    Args:
        quantiles: of `fitting.quantile_frame`.
    """
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


def save_figure(figure: Figure, frame: pd.DataFrame, stem: Path) -> list[Path]:
    """Write a figure as `.pdf` and `.png` and its numbers as `.csv`; return the three paths."""
    paths = [stem.with_suffix(suffix) for suffix in (".pdf", ".png", ".csv")]
    with matplotlib.rc_context(STYLE):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the places are found; finding them takes half the time
        figure.savefig(paths[0], metadata={"CreationDate": None})
        figure.savefig(paths[1])
    frame.to_csv(paths[2], index=False)
    return paths


def scheme_style(scheme: str) -> dict[str, Any]:
    """Colour and marker of a scheme, the same in every figure."""
    return STYLES.get(scheme, dict(color="#CC79A7", marker="x"))


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
    figure: Figure, schemes: Iterable[str], extra: list[Any], columns: int | None = None
) -> None:
    handles: list[Any] = [
        Line2D([], [], label=name, **scheme_style(name)) for name in schemes
    ] + extra
    figure.legend(handles=handles, loc="outside upper center", ncols=columns or len(handles))
