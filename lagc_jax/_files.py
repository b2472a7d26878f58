"""Tables of a user's, read from files."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def read_table(
    path: str | Path, is_header: "Callable[[list[float], pd.DataFrame], bool] | None" = None
) -> "pd.DataFrame":
    """Read a CSV file with a header.

    Args:
        path: the file.
        is_header: whether numbers in the first line are names, given them and the rows; by default
            `counts_columns`.

    Raises:
        ValueError: where the file is missing, empty or no table, or has no header.
    """
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Without index_col=False, rows longer than the header would lose their first field.
            table = pd.read_csv(path, skipinitialspace=True, index_col=False)
    except FileNotFoundError:
        raise ValueError(f"csv={path} does not exist; give the path of a CSV file") from None
    except pd.errors.EmptyDataError:
        raise ValueError(f"csv={path} is empty; give a header and rows of numbers") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise ValueError(f"csv={path} cannot be read as a table ({error}); mend it") from None
    numbers = [_number(name) for name in table.columns]
    known = [number for number in numbers if number is not None]
    if len(known) == len(numbers) and not (is_header or counts_columns)(known, table):
        raise ValueError(
            f"csv={path} has numbers in its first line; give a header with the columns' names"
        )
    if table.empty:
        raise ValueError(f"csv={path} has no rows; give a header and rows of numbers")
    return table


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
