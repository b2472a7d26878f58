"""How everything looks: sizes, lines, and a scheme's colour, marker and dash, the same everywhere.

No two schemes of a family share a dash and a marker, so that they are told apart in grey as well.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from cycler import cycler

COLUMN_WIDTH, PAGE_WIDTH = 3.5, 7.16  # inches, of a two-column paper
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "legend.fontsize": 7.5,
    "axes.titlesize": 8,
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
    "axes.prop_cycle": cycler(
        color=["#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7"]
    ),
}
SOLID, DASHED, DASH_DOT, SHORT = "-", (0, (5, 1.5)), (0, (5, 1.2, 1, 1.2)), (0, (2.2, 1))
DASHES: tuple[Any, ...] = (SOLID, DASHED, DASH_DOT, SHORT)  # dotted lines are means
# The first colours are those of Okabe and Ito, safe for colour-blind readers.
STYLES: dict[str, dict[str, Any]] = {
    name: dict(color=color, marker=marker, linestyle=dash)
    for name, color, marker, dash in (
        ("GD", "#000000", "o", SOLID),
        ("GC", "#E69F00", "s", DASHED),
        ("grouping", "#56B4E9", "^", SOLID),
        ("first decodable", "#7F5200", "X", SHORT),
        ("fastest-k", "#332288", "<", SOLID),
        ("stochastic GC", "#CC79A7", ">", DASHED),
        ("approximate GC", "#117733", "h", DASH_DOT),
        ("ErasureHead", "#DDAA33", "8", SHORT),
        ("LAG", "#009E73", "v", SOLID),
        ("LAG-PS", "#009E73", "v", SOLID),
        ("LAG-WK", "#004D38", "1", SHORT),
        ("LAGC", "#D55E00", "D", DASHED),
        ("G-LAG", "#0072B2", "P", DASH_DOT),
        ("LAQ", "#CC79A7", "d", SOLID),
        ("LASG", "#5C5000", "3", SHORT),
        ("LASG-PS", "#B8A000", "2", DASH_DOT),
        ("LASG-WK2", "#5C5000", "3", SHORT),
        ("AMSGrad", "#882255", "p", SOLID),
        ("CADA", "#AA4499", "*", DASHED),
        ("CADA1", "#CC6677", "4", SHORT),
        ("CADA2", "#AA4499", "*", DASHED),
        ("G-CADA", "#332288", "H", DASH_DOT),
        ("short GC", "#E69F00", "d", SHORT),
        ("Bernoulli GC", "#777777", "D", SHORT),
        ("QSGD", "#44AA99", "o", SOLID),
        ("error feedback", "#44AA99", "s", SHORT),
        ("EF21", "#117733", "^", SOLID),
        ("CLAG", "#117733", "v", DASHED),
        ("DIANA", "#AA4499", "<", SOLID),
        ("MARINA", "#AA4499", ">", DASHED),
        ("FedAvg", "#332288", "P", SHORT),
        ("heterogeneous GC", "#882255", "8", DASH_DOT),
        ("dynamic clusters", "#0072B2", "p", DASHED),
        ("SR-SGC", "#117733", "<", SHORT),
        ("M-SGC", "#117733", ">", SOLID),
        ("cyclic schedule", "#D55E00", "s", DASH_DOT),
        ("staircase schedule", "#7F5200", "D", SHORT),
        ("multi-message GC", "#332288", "v", DASH_DOT),
        ("GC in rounds", "#E69F00", "o", DASHED),
        ("anytime minibatch", "#D55E00", "P", DASHED),
        ("adaptive k", "#0072B2", "*", SHORT),
        ("regular graph GC", "#882255", "p", SOLID),
        ("LASG-WK1", "#B8A000", "x", DASHED),
        ("momentum", "#777777", "X", SHORT),
        ("K-sync", "#E69F00", "s", SOLID),
        ("K-batch-sync", "#7F5200", "D", DASHED),
        ("K-async", "#56B4E9", "^", SOLID),
        ("K-batch-async", "#0072B2", "v", DASHED),
        ("ASGD", "#009E73", "o", SHORT),
        ("delay-adaptive ASGD", "#004D38", "h", DASH_DOT),
        ("Rennala", "#CC79A7", "<", SOLID),
        ("Ringmaster", "#AA4499", ">", DASHED),
        ("MindFlayer", "#D55E00", "P", DASH_DOT),
    )
}
FAMILIES: dict[str, tuple[str, ...]] = {
    "Coded and grouped": ("GC", "first decodable", "grouping", "short GC", "heterogeneous GC"),
    "Coded over time": (
        "dynamic clusters",
        "cyclic schedule",
        "staircase schedule",
        "multi-message GC",
        "GC in rounds",
        "SR-SGC",
        "M-SGC",
    ),
    "With fewer gradients": (
        "fastest-k",
        "adaptive k",
        "stochastic GC",
        "approximate GC",
        "ErasureHead",
        "Bernoulli GC",
        "regular graph GC",
        "anytime minibatch",
    ),
    "Lazy": ("LAG", "LAG-PS", "LAG-WK", "LAGC", "G-LAG"),
    "Lazy, rounded or sampled": ("LAQ", "LASG", "LASG-PS", "LASG-WK1", "LASG-WK2"),
    "Compressed": ("QSGD", "error feedback", "EF21", "CLAG", "DIANA", "MARINA", "FedAvg"),
    "Momentum, adaptive": ("momentum", "AMSGrad", "CADA", "CADA1", "CADA2", "G-CADA"),
    "Asynchronous": (
        "K-sync",
        "K-batch-sync",
        "K-async",
        "K-batch-async",
        "ASGD",
        "delay-adaptive ASGD",
        "Rennala",
        "Ringmaster",
        "MindFlayer",
    ),
}
OTHERS = "Others"
_SPARE = ("#CC79A7", "#7F5200", "#0072B2", "#117733", "#DDAA33", "#882255")
_SPARE_MARKS = ("x", "$\\diamond$", "$\\star$", "$\\circ$", "$\\bullet$", "$\\Delta$")


def style() -> AbstractContextManager[None]:
    """A context in which figures look like those of the package.

    >>> import matplotlib.pyplot as plt
    >>> with style():
    ...     size = plt.rcParams["font.size"]
    >>> size
    8.0
    """
    return matplotlib.rc_context(STYLE)


def scheme_style(scheme: str) -> dict[str, Any]:
    """Colour, marker and dash of a scheme, the same in every figure.

    Raises:
        ValueError: for what is no name.

    >>> scheme_style("G-LAG")["color"]
    '#0072B2'
    """
    if not isinstance(scheme, str):
        raise ValueError(f"scheme={scheme!r} is no name; give one, 'GD' say")
    return scheme_styles([scheme])[scheme]


def scheme_styles(schemes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The style of every scheme of a figure; names that the package does not know differ, too."""
    names = list(dict.fromkeys(schemes))
    unknown = [name for name in names if name not in STYLES]
    spare = {
        name: dict(
            color=_SPARE[i % len(_SPARE)],
            marker=_SPARE_MARKS[i % len(_SPARE_MARKS)],
            linestyle=DASHES[i % len(DASHES)],
        )
        for i, name in enumerate(unknown)
    }
    return {name: dict(STYLES.get(name) or spare[name]) for name in names}


def families_of(schemes: Iterable[str]) -> dict[str, list[str]]:
    """Schemes by family, in the order of the families; unknown ones last, under `OTHERS`.

    >>> families_of(["G-LAG", "mine", "LAG", "GC"])
    {'Coded and grouped': ['GC'], 'Lazy': ['G-LAG', 'LAG'], 'Others': ['mine']}
    """
    names = list(dict.fromkeys(schemes))
    known = {name: family for family, members in FAMILIES.items() for name in members}
    found = {family: [n for n in names if known.get(n) == family] for family in FAMILIES}
    found[OTHERS] = [name for name in names if name not in known and name != "GD"]
    return {family: members for family, members in found.items() if members}
