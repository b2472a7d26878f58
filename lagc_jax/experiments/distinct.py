"""A sweep holds everything once: no combination twice, no two values that its precision equates."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def check_distinct(source: Mapping[str, Any], tables: Iterable[str]) -> None:
    """Raise ValueError where two things of a sweep would be one and the same to it."""
    for table in tables:
        for (i, first), (j, second) in itertools.combinations(enumerate(source[table], 1), 2):
            if _overlap(first, second, "name" if table == "problem" else None):
                raise ValueError(
                    f"[[{table}]] {i} and {j} both hold {_shared(first, second)}; give every "
                    f"combination once"
                )
    if source["precision"] == "float64":
        return
    lists = [("", source), *((f"{t}[{i}].", x) for t in tables for i, x in enumerate(source[t], 1))]
    for where, table in lists:
        for name, values in table.items():
            _check_single(f"{where}{name}", name, values if isinstance(values, list) else [values])


def _check_single(where: str, name: str, values: list) -> None:
    """Raise ValueError where values are lost or become equal in 32 bits."""
    if name == "seed" and max(values) >= 2**32:
        raise ValueError(f"{where}={max(values)} has no 32 bits; give less, or precision float64")
    reals = [value for value in values if isinstance(value, float)]
    for i, value in enumerate(reals):
        single = np.float32(value)
        same = [other for other in reals[:i] if np.float32(other) == single]
        if same or not np.isfinite(single) or (single == 0) != (value == 0):
            what = f"equals {same[0]!r}" if same else f"is {single}"
            raise ValueError(f"{where}={value!r} {what} in float32; leave it out or use float64")


def _overlap(first: Mapping, second: Mapping, without: str | None) -> bool:
    """Whether two tables have a combination of values in common."""
    if first.keys() != second.keys():
        return False
    return all(_common(first[name], second[name]) for name in first if name != without)


def _common(first: Any, second: Any) -> list:
    return [v for v in _as_list(first) if v in _as_list(second)]


def _as_list(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _shared(first: Mapping, second: Mapping) -> str:
    """The first combination that two tables have in common."""
    common = {name: _common(first[name], second[name]) for name in first}
    return ", ".join(f"{name}={values[0]!r}" for name, values in common.items() if values)
