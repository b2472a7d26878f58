"""Whether a claim holds in a run: it does, it does not, or what it compares was never reached."""

import math

import pandas as pd


def decide(holds: bool, value: float, other: float) -> bool | None:
    """`holds`, or None where both of the values compared are infinite or not a number.

    >>> decide(3.0 < math.inf, 3.0, math.inf), decide(False, math.inf, math.inf)
    (True, None)
    """
    return holds if math.isfinite(value) or math.isfinite(other) else None


def verdict(holds: bool | None) -> str:
    """What `decide` gave, in a word; also as a frame holds it.

    >>> verdict(True), verdict(False), verdict(None), verdict(pd.NA)
    ('holds', 'FAILS', 'undecided', 'undecided')
    """
    if holds is None or pd.isna(holds):
        return "undecided"
    return "holds" if holds else "FAILS"


def claims_table(rows: list[dict]) -> pd.DataFrame:
    """Rows as a frame whose column `holds` has a third value, empty in a file."""
    return pd.DataFrame(rows).astype({"holds": "boolean"})


def count(holds: pd.Series) -> str:
    """In how many cases a claim holds.

    >>> count(pd.Series([True, False, None], dtype="boolean"))
    '1 of 2, 1 undecided'
    """
    open_cases = int(holds.isna().sum())
    return f"{int(holds.sum())} of {len(holds) - open_cases}" + (
        f", {open_cases} undecided" if open_cases else ""
    )
