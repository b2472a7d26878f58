"""The tidy table of a sweep: which parameters vary, which rows are looked at, and the frontier.

A row is a (point, accuracy). Its columns are the results named here and everything else a
parameter, NaN where a scheme or a family of delays has none.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

COUNTS = ("point", "accuracy", "iterations", "communication", "computation", "diverged")
RESULTS = (*COUNTS, "bits", "timeouts", "energy", "reached", "iterate", "gap", "recorded")
QUANTILE = re.compile(r"(iterations|communication|computation|bits|timeouts)_q[0-9.e+-]+")
REQUIRED = (*COUNTS, "problem", "scheme", "num_workers", "delays", "time_mean")
# What a user chooses, and `scheme_*`; the other parameters are the conditions under which it is
# compared.
DESIGN = (
    "scheme",
    "num_groups",
    "redundancy",
    "num_waited",
    "deadline",
    "xi",
    "memory",
    "trigger",
    "silence",
    "snapshot_life",
    "load",
    "step_size",
)
CATEGORIES = ("problem", "delays", "scheme")
MANY = 0.6  # of the most points of a value that have finite costs
COSTS: tuple[str, ...] = ("time", "communication", "computation")


def costs_of(table: pd.DataFrame) -> tuple[str, ...]:
    """The costs that figures show: bits too if messages differ in length, energy if it has a price.

    >>> costs_of(pd.DataFrame(dict(problem="", communication=[1.0, 2.0], bits=[32.0, 40.0])))
    ('time', 'communication', 'computation', 'bits')
    """
    more = {"bits": _lengths_differ(table), "energy": "energy" in table.columns}
    return (*COSTS, *(name for name, is_shown in more.items() if is_shown))


def _lengths_differ(table: pd.DataFrame) -> bool:
    """Whether bits tell more than messages do, under equal conditions."""
    if "bits" not in table.columns:
        return False
    lengths = (table["bits"] / table["communication"]).replace([np.inf, 0.0], np.nan)
    groups = lengths.groupby([table[name] for name in conditions(table)], dropna=False)
    return bool((groups.max() > (1 + 1e-6) * groups.min()).any())


def select(
    table: pd.DataFrame,
    where: Mapping[str, str] | None = None,
    accuracy: float | None = None,
    time: str = "mean",
) -> pd.DataFrame:
    """Take the rows of one accuracy, fix some parameters, and say which time is compared.

    Args:
        table: of `load_results`, a row a (point, accuracy).
        where: values, as text, of parameters to fix. Rows without the parameter stay.
        accuracy: gap or level to reach, one of the table's; by default the one that takes longest,
            which is the smallest gap or the largest level.
        time: "mean", which is exact where the exact mean is known and that of the realisations
            elsewhere, or the level of a quantile of the table, such as "0.95".

    Returns:
        A row a point, with the columns `time` and, in words, `time_statistic`. `xi` and `memory`
        are NaN for schemes that have no trigger.

    Raises:
        ValueError: if a column is missing, a name, value, accuracy or level is not in the table, or
            two points agree in all parameters.

    >>> row = dict.fromkeys(REQUIRED, 1.0)
    >>> select(pd.DataFrame([row, row | dict(accuracy=0.5)]))["accuracy"].tolist()
    [0.5]
    """
    check_columns("the table", table, REQUIRED, "that of a sweep, whole or some of its rows")
    if not isinstance(where, Mapping | None):
        raise ValueError(f"where={where!r} is no dict; give one from parameters to values")
    gap = _hardest(table) if accuracy is None else accuracy
    rows = table[table["accuracy"] == _choose("accuracy", table["accuracy"], gap)]
    rows = rows.assign(**dict(zip(("time", "time_statistic"), _times(rows, time), strict=True)))
    if "trigger" in rows.columns:
        idle = [name for name in ("xi", "memory") if name in rows.columns]
        rows[idle] = rows[idle].mask(rows["trigger"] == "always")
    for name, text in (where or {}).items():
        if name not in parameters(rows):
            near = difflib.get_close_matches(name, parameters(rows), n=1)
            raise ValueError(
                f"{name!r} is not a parameter of the table; give "
                f"{near[0] if near else 'one of ' + ', '.join(parameters(rows))}"
            )
        rows = fix(rows, name, _choose(name, rows[name], text))
    same = rows.duplicated(parameters(rows), keep=False)
    if same.any():
        raise ValueError(
            f"points {rows.loc[same, 'point'].tolist()[:6]} agree in every parameter; give a table "
            f"with a column for what differs"
        )
    return rows.reset_index(drop=True)


def check_columns(name: str, frame: Any, columns: Sequence[str], remedy: str) -> None:
    """Raise ValueError, with what to give, unless it is a frame with some columns and a row."""
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"{name} is a {type(frame).__name__}, no frame; give {remedy}")
    missing = [column for column in columns if column not in frame.columns]
    if missing or frame.empty:
        lack = f"lacks the columns {missing}" if missing else "has no rows"
        raise ValueError(f"{name} {lack}; give {remedy}")


def check_selected(table: Any) -> None:
    """Raise ValueError for a table that is not of `select`."""
    columns = (*REQUIRED, "time", "time_statistic")
    check_columns("table", table, columns, "that of lagc_jax.plots.select")


def _hardest(table: pd.DataFrame) -> float:
    """The level that takes more iterations: gaps are reached downwards, accuracies upwards."""
    ends = table["accuracy"].min(), table["accuracy"].max()
    low, high = (table[table["accuracy"] == end].set_index("point")["iterations"] for end in ends)
    low, high = low.align(high, join="inner")
    return ends[int((high > low).sum() > (low > high).sum())]


def parameters(table: pd.DataFrame) -> list[str]:
    """Columns that are parameters, in the order of the table."""
    return [
        name
        for name in table.columns
        if name not in (*RESULTS, "time") and name[:5] != "time_" and not QUANTILE.fullmatch(name)
    ]


def is_choice(name: str) -> bool:
    """Whether a parameter is a user's choice."""
    return name in DESIGN or name.startswith("scheme_")


def _times(table: pd.DataFrame, time: str) -> tuple[pd.Series, str]:
    """The statistic of the wall-clock time that is compared, and its name."""
    if time == "mean":
        return mean_time(table)
    known = quantile_levels(table)
    try:
        return table[known[float(time)]], f"{100 * float(time):g} % quantile"
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"time={time!r} is not in the table; give 'mean' or one of the levels "
            f"{', '.join(f'{level:g}' for level in known)}"
        ) from None


def mean_time(table: pd.DataFrame) -> tuple[pd.Series, str]:
    """Mean wall-clock time, exact where that is known, and what to call it."""
    exact = table.get("time_expected", pd.Series(np.nan, table.index))
    known = exact.notna()
    name = "exact mean" if known.all() else "mean" if known.any() else "sample mean"
    return exact.fillna(table["time_mean"]), name


def quantile_levels(table: pd.DataFrame) -> dict[float, str]:
    """Columns of quantiles of the time by rising level."""
    names = [name for name in table.columns if name.startswith("time_q")]
    return dict(sorted((float(name.removeprefix("time_q")), name) for name in names))


def _choose(name: str, column: pd.Series, wanted: Any) -> Any:
    """The entry of a column that is `wanted`, a number or a text of it."""
    entries = values_of(column)
    for entry in entries:
        try:
            same = math.isclose(float(entry), float(wanted), rel_tol=1e-9)
        except (TypeError, ValueError):
            same = str(entry) == wanted
        if same:
            return entry
    raise ValueError(
        f"{name}={wanted} is not in the table; give one of {', '.join(map(show, entries))}"
    )


def values_of(column: pd.Series) -> list[Any]:
    """Distinct values of a parameter, without NaN: numbers rise, names keep their order."""
    values = list(column.dropna().unique())
    return sorted(values) if is_numeric_dtype(column) else values


def show(value: Any) -> str:
    """A value as short text."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return f"{value:.6g}" if number else str(value)


def markdown(table: pd.DataFrame) -> str:
    """A frame without its index as a Markdown table, numbers to six digits."""
    rows = table.map(show)
    lines = [list(rows.columns), ["---"] * len(rows.columns), *rows.to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def fix(table: pd.DataFrame, name: str, value: Any) -> pd.DataFrame:
    """Rows in which a parameter has a value, or that have no such parameter."""
    return table[(table[name] == value) | table[name].isna()]


def free_parameters(table: pd.DataFrame, axes: Sequence[str] = ()) -> list[str]:
    """Parameters that tell the points of a table apart, those that follow from others left out.

    Under GD, for example, the number of groups follows from the number of workers.

    Args:
        table: of `select`.
        axes: parameters to keep whether or not they follow from others.
    """
    varied = [name for name in parameters(table) if table[name].nunique(dropna=False) > 1]
    conditions = [name for name in varied if not is_choice(name)]
    # What follows from what is a matter of order: the last that can go goes first.
    order = ["xi", "memory", "num_groups", "redundancy", "step_size", "trigger"]
    candidates = [*conditions, *(name for name in order if name in varied)]
    free = list(varied)
    for name in reversed(candidates):
        others = [other for other in free if other != name]
        kept = name in (*axes, *CATEGORIES)
        if not kept and others and not table.duplicated(others).any():
            free = others
    return free


def numeric(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Those of the names that hold at least two numbers."""
    return [name for name in names if not is_name(table, name) and table[name].nunique() > 1]


def is_name(table: pd.DataFrame, name: str) -> bool:
    """Whether a parameter's values are names without a scale; a seed is one, too."""
    return name.endswith("seed") or not is_numeric_dtype(table[name])


def count_combinations(table: pd.DataFrame, names: Sequence[str]) -> int:
    """Number of distinct rows of some columns, 1 for none."""
    return len(table[list(names)].drop_duplicates()) if names else 1


def narrow(
    table: pd.DataFrame,
    names: Sequence[str],
    limit: int,
    axes: Sequence[str] = (),
    lone: int | None = None,
) -> tuple[pd.DataFrame, dict[str, list[Any]]]:
    """Fix parameters until the others have at most `limit` combinations.

    Numbers are fixed before names, next to the middle of their values where most points have finite
    costs; a scheme or another name that is a choice at that of the fastest point.

    Args:
        table: of `select`.
        names: parameters that may be fixed.
        limit: largest number of combinations.
        axes: parameters of the figure; a value is chosen by the points that have them, and so that
            they still vary.
        lone: largest number of values where a single number is left; `limit` by default.

    Returns:
        The rows left, and for every parameter fixed its value followed by all that it had.
    """
    fixed = {}
    numbers = sorted(
        numeric(table, names), key=lambda name: (is_choice(name), -table[name].nunique())
    )
    rest = [name for name in names if name not in numbers]
    for name in (*numbers, *rest):
        free = [other for other in names if table[other].nunique(dropna=False) > 1]
        alone = len(free) == 1 and free[0] in numbers
        if count_combinations(table, names) <= (lone or limit if alone else limit):
            break
        values = values_of(table[name])
        rows = table.dropna(subset=list(axes))
        rows = rows[rows[name].isin([v for v in values if _keeps(fix(table, name, v), axes)])]
        if len(rows):
            by_speed = is_choice(name) and name not in numbers
            value = _fastest(rows)[name] if by_speed else _middle(rows, name, values)
            fixed[name] = [value, *values]
            table = fix(table, name, value)
    return table, fixed


def _fastest(table: pd.DataFrame) -> pd.Series:
    """The point of least time; among points that never arrive, the first."""
    return table.sort_values(list(COSTS), kind="stable").iloc[0]


def _keeps(table: pd.DataFrame, axes: Sequence[str]) -> bool:
    """Whether every axis still has two values."""
    return all(table[name].nunique() > 1 for name in axes)


def _middle(table: pd.DataFrame, name: str, values: list[Any]) -> Any:
    """The value next to the middle one, of those in the table, at which most costs are finite."""
    finite = table[np.isfinite(table[list(COSTS)].to_numpy(float)).all(axis=1)][name]
    found = [i for i, value in enumerate(values) if (table[name] == value).any()]
    counts = {i: (finite == values[i]).sum() for i in found}
    good = [i for i in found if counts[i] >= MANY * max(counts.values())]
    return values[min(good, key=lambda i: abs(i - len(values) // 2))]


def pareto_frontier(table: pd.DataFrame) -> pd.DataFrame:
    """Points that no other beats in time, communication and computation at once.

    Points compete under equal conditions only: the same problem, number of workers and delays.

    Args:
        table: of `select`.

    Returns:
        Those rows by rising time within the conditions. A point with an infinite cost has no place
        on the frontier.

    >>> row = dict.fromkeys(REQUIRED, 1.0)
    >>> costs = [dict(point=i, scheme=i, time_mean=t, communication=c)
    ...          for i, (t, c) in enumerate([(1, 3), (2, 2), (3, 3)])]
    >>> pareto_frontier(select(pd.DataFrame([row | cost for cost in costs])))["point"].tolist()
    [0, 1]
    """
    costs = list(COSTS)
    finite = np.isfinite(table[costs].to_numpy(float)).all(axis=1)
    arrived = table.iloc[np.flatnonzero(finite)].sort_values(costs)
    groups = arrived.groupby(conditions(table), dropna=False)
    kept = [group[not_dominated(group[costs].to_numpy(float))] for _, group in groups]
    return pd.concat(kept) if kept else arrived


def conditions(table: pd.DataFrame) -> list[str]:
    """Parameters that are no choice: problem, number of workers, delays and theirs."""
    return [name for name in parameters(table) if not is_choice(name)]


def not_dominated(costs: np.ndarray) -> np.ndarray:
    """Mark the rows (N, 3) that no other row beats, bool (N,); rows are in rising order.

    Only an earlier row can beat a later one, and one on the frontier does if any does.
    """
    kept = np.zeros(len(costs), bool)
    for i, row in enumerate(costs):
        rivals = costs[:i][kept[:i]]
        kept[i] = not ((rivals <= row).all(1) & (rivals < row).any(1)).any()
    return kept
