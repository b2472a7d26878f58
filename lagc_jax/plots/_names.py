"""What figures of a sweep call things: parameters, groups of points, schemes and costs."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from lagc_jax._tables import CATEGORIES, COSTS, numeric, show
from lagc_jax.plots._style import DASHES, STYLES, scheme_styles
from lagc_jax.plots.paper import COSTS as COST_NAMES

SYMBOLS = {
    "num_workers": "M",
    "num_groups": "G",
    "redundancy": "r",
    "xi": r"$\xi$",
    "memory": "D",
    "step_size": r"$\alpha\,L$",
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
    "shape": "Shape of the delays",
    "scale": "Scale of the delays",
    "rate": "Rate of the delays",
    "scheme_bits": "Bits b of a coordinate",
}
MARKS = "os^vDPX*"
LABELS: dict[str, str] = {
    **dict(zip(COSTS, COST_NAMES.values(), strict=True)),
    "bits": "Communication\n(bits)",
    "energy": "Energy",
}


def groups_of(table: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Rows by the values of some parameters with what to call them; numbers rise."""
    if not names:
        return [("", table)]
    ordered = table.sort_values(numeric(table, names), kind="stable") if len(table) else table
    groups = ordered.groupby(list(names), sort=False, dropna=False)
    return [(", ".join(describe(rows, names)), rows) for _, rows in groups]


def describe(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The values of parameters that some rows share, in words."""
    values = {name: rows[name].iloc[0] for name in names}
    return [
        scheme_name(str(value))
        if name == "scheme"
        else str(value)
        if name in CATEGORIES
        else f"{SYMBOLS.get(name, plain_name(name))} = {show(value)}"
        for name, value in values.items()
        if not pd.isna(value)
    ]


def plain_name(name: str) -> str:
    """A column without the table that it comes from: "compressor" for "scheme_compressor"."""
    return name.removeprefix("problem_").removeprefix("scheme_").replace("_", " ")


def scheme_name(name: str) -> str:
    """The name by which figures know a scheme: "G-LAG" for "g_lag"."""
    known = {style.lower(): style for style in STYLES}
    return known.get(name.lower().replace("_", "-"), name)


def series_styles(table: pd.DataFrame, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dash of every combination: a scheme's own, else from dark to light."""
    labels = [label for label, _ in groups_of(table, names)]
    if list(names) == ["scheme"]:
        return scheme_styles(labels)
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(labels)))
    return {
        label: dict(color=shade, marker=MARKS[i % len(MARKS)], linestyle=DASHES[i % len(DASHES)])
        for i, (label, shade) in enumerate(zip(labels, shades, strict=True))
    }


def axis_name(name: str) -> str:
    """What to write on the axis of a parameter."""
    return NAMES.get(name, plain_name(name).capitalize())


def cost_label(table: pd.DataFrame, cost: str) -> str:
    """The label of a cost's axis; that of the time names the statistic."""
    label = LABELS[cost]
    statistic = table["time_statistic"].iloc[0]
    return label.replace("\n", f", {statistic}\n") if cost == "time" else label
