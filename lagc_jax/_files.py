"""Tables of a user's, read from files."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lagc_jax._checks import file_path, truth

if TYPE_CHECKING:
    import pandas as pd


SAMPLE = 64  # lines that tell how fields are separated
DECIMAL_COMMAS = r"(\d+,\d+\s+)+\d+,\d+"


def read_table(
    path: str | Path,
    is_header: "Callable[[list[float], pd.DataFrame], bool] | None" = None,
    header: bool | None = None,
) -> "pd.DataFrame":
    """Read a table of fields separated by semicolons, tabs, commas or blanks.

    Where commas separate nothing, they may be decimal ones.

    Args:
        path: the file.
        is_header: whether numbers in the first line are names, given them and the rows; by default
            `counts_columns`.
        header: whether the first line holds names, if that is known; columns without are called by
            their places from 1 on.

    Raises:
        ValueError: where the file is missing, empty or no table, or has no header.
    """
    file_path("path", path)
    if header is not None:
        truth("header", header)
    table = _parsed(path, header)
    if header is False:
        table.columns = [str(place + 1) for place in range(len(table.columns))]
    else:
        table = _without_index(table)
    numbers = [_number(name) for name in _as_written(list(table.columns))]
    known = [number for number in numbers if number is not None]
    unclear = header is None and len(known) == len(numbers)
    if unclear and not (is_header or counts_columns)(known, table):
        raise ValueError(
            f"csv={path} has numbers in its first line; give a header with the columns' names, or "
            f"header=True if these are names and header=False if there are none"
        )
    if table.empty:
        raise ValueError(f"csv={path} has no rows; give a header and rows of numbers")
    return table


def _parsed(path: str | Path, header: bool | None) -> "pd.DataFrame":
    """The fields of a file as pandas reads them; errors are those of `read_table`."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Without index_col=False, rows longer than the header would lose their first field.
            options: dict[str, Any] = {"skipinitialspace": True, "index_col": False}
            options |= _separators(path) | ({"header": None} if header is False else {})
            if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
                options["float_precision"] = "round_trip"  # newer ones read to the last digit
            return pd.read_csv(path, **options)
    except FileNotFoundError:
        raise ValueError(f"csv={path} does not exist; give the path of a CSV file") from None
    except pd.errors.EmptyDataError:
        raise ValueError(f"csv={path} is empty; give a header and rows of numbers") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"csv={path} is no text in UTF-8 ({error}); unpack or convert it"
        ) from None
    except (OSError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise ValueError(f"csv={path} cannot be read as a table ({error}); mend it") from None


def check_levels(source: str | Path, frame: "pd.DataFrame") -> None:
    """Raise ValueError where names of columns or rows have several levels."""
    if frame.columns.nlevels > 1:
        raise ValueError(
            f"{source} has names of {frame.columns.nlevels} levels; give one name a column, by "
            f"frame.columns = ['/'.join(map(str, name)) for name in frame.columns], say"
        )
    if frame.index.nlevels > 1:
        raise ValueError(
            f"{source} has rows named by {frame.index.nlevels} levels, which are no columns; give "
            f"frame.reset_index()"
        )


def _without_index(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table without a first column that has no name and counts the rows."""
    counted = table.iloc[:, 0].to_numpy() if len(table.columns) > 1 else np.empty(0)
    if not str(table.columns[0]).startswith("Unnamed: ") or counted.dtype.kind != "i":
        return table
    rows = np.arange(len(counted))
    is_index = len(counted) > 1 and any(np.array_equal(counted, rows + start) for start in (0, 1))
    return table.iloc[:, 1:] if is_index else table


def _as_written(names: list[str]) -> list[str]:
    """Names without what tells them apart to pandas where one stands twice."""
    stems = [re.sub(r"\.\d+$", "", name) for name in names]
    return [
        stem if _number(name) is None and stem in names else name
        for name, stem in zip(names, stems, strict=True)
    ]


def _separators(path: str | Path) -> dict[str, str]:
    """How the fields of a file are separated and its decimals written, for `pandas.read_csv`."""
    with open(path, encoding="utf-8-sig") as file:
        lines = [line.strip() for line, _ in zip(file, range(SAMPLE), strict=False)]
    lines = [re.sub('"[^"]*"', "q", line) for line in lines if line]
    found = next((mark for mark in ";\t," if lines and mark in lines[0]), None)
    if found is None or all(re.fullmatch(DECIMAL_COMMAS, line) for line in lines):
        # A single name may hold blanks, but then its column does not.
        lengths = {len(line.split()) for line in lines}
        found = r"\s+" if len(lengths) == 1 and lengths != {1} else ","
    fields = [field.strip() for line in lines[1:] for field in re.split(found, line)]
    commas = any(re.fullmatch(r"[-+]?\d+,\d+([eE][-+]?\d+)?", field) for field in fields)
    return {"sep": found, "decimal": "," if commas and found != "," else "."}


def _number(name: str) -> float | None:
    """What a name is as a number, NaN where it stands for a missing one; None if it is none."""
    if name.startswith("Unnamed: ") or name.lower() in ("na", "n/a", "null", "none"):
        return float("nan")
    try:
        return float(name)
    except ValueError:
        return None


def counts_columns(names: list[float], table: "pd.DataFrame") -> bool:
    """Whether names that are numbers count the columns, and a row is hardly ever so."""
    whole = all(kind in "iub" for kind in (dtype.kind for dtype in table.dtypes))
    counting = any(names == [m + start for m in range(len(names))] for start in (0, 1))
    return counting and len(names) >= (6 if whole else 3)


def natural(name: str) -> tuple[Any, ...]:
    """A key by which w10 comes after w9, and -1 before 0."""
    if re.fullmatch(r"[-+]?\d+(\.\d*)?", name):
        return ((0, float(name), ""),)
    parts = re.split(r"(\d+)", name)
    return tuple((0, float(p), "") if p.isdecimal() else (1, 0.0, p) for p in parts if p)
