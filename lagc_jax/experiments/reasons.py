"""Why a candidate is the best, in words, from the numbers of its table."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def explain(
    table: pd.DataFrame,
    tail_indices: np.ndarray,
    prices: Mapping[str, float],
    samples: np.ndarray | None,
) -> str:
    """Why the first row is first.

    Args:
        table: of `design`.
        tail_indices: (M,) of the workers' times.
        prices: by the column that they are of.
        samples: (N, R) realisations of the rows' times, None where they are exact.
    """
    best = table.iloc[0]
    time = f"{'exact ' if best['exact'] else ''}{best['statistic']} time {best['time']:.4g}"
    sentences = [
        f"{_describe(best)} costs {best['cost']:.4g} ({time}, {best['communication']:.0f} "
        f"messages, {best['computation']:.0f} gradients)."
    ]
    if best["statistic"] == "median":
        sentences.append(
            "The mean time is infinite under every candidate, so they are ranked by the median."
        )
    sentences += _tail_sentence(tail_indices)
    if len(table) > 1 and np.isfinite(table["cost"].iloc[1]):
        paired = None
        if samples is not None and best["statistic"] == "mean" and prices["time"]:
            paired = prices["time"] * (samples[1] - samples[0])
        sentences.append(_compare(best, table.iloc[1], prices, paired))
    return " ".join(sentences)


def tail_indices(delays: Any, num_workers: int) -> np.ndarray:
    """Tail index of every worker's times, (M,); that of measured times is infinite."""
    while not hasattr(delays, "tail_index") and hasattr(delays, "delays"):
        delays = delays.delays
    index = np.asarray(getattr(delays, "tail_index", np.inf), float)
    return np.broadcast_to(index, (num_workers,))


def _tail_sentence(indices: np.ndarray) -> list[str]:
    """How many copies make the mean finite, where the tail is heavy."""
    index = indices.min()
    if not np.isfinite(index):
        return []
    kind = "Tail index" if index == indices.max() else "Smallest tail index"
    copies = math.floor(1 / index) + 1  # the least r with r * index > 1
    if copies > 1:
        return [f"{kind} {index:.3g}: {_copies(copies)} make the mean finite (r * tail index > 1)."]
    copies = math.floor(2 / index) + 1
    if copies > 1:
        return [
            f"{kind} {index:.3g}: the mean is finite without copies, and {_copies(copies)} make "
            f"the variance finite (r * tail index > 2)."
        ]
    return []


def _copies(number: int) -> str:
    return f"{dict(enumerate(('two', 'three', 'four'), 2)).get(number, number)} copies"


def _describe(row: pd.Series) -> str:
    """A candidate in words."""
    parts = [f"G={row['num_groups']}", f"r={row['redundancy']}"]
    parts += [] if math.isnan(row["xi"]) else [f"xi={row['xi']:g}"]
    return f"{row['scheme']}({', '.join(parts)}) with step {row['step_size']:g}/L"


def _compare(
    best: pd.Series, other: pd.Series, prices: Mapping[str, float], paired: np.ndarray | None
) -> str:
    """Which priced cost makes the difference to the runner-up."""
    saved = {name: weight * (other[name] - best[name]) for name, weight in prices.items() if weight}
    difference = other["cost"] - best["cost"]
    if difference == 0:
        return f"The runner-up, {_describe(other)}, costs the same."
    main = max(saved, key=lambda name: saved[name])
    lost = min(saved, key=lambda name: saved[name])
    text = (
        f"The runner-up, {_describe(other)}, costs {difference:.3g} more ({other['cost']:.4g}): "
        f"{main} makes the difference ({saved[main]:+.3g})"
    )
    text += f", in spite of {lost} ({saved[lost]:+.3g})." if saved[lost] < 0 else "."
    if paired is not None:
        margin = 1.96 * paired.std(ddof=1) / math.sqrt(paired.size)
        apart = "" if abs(difference) > margin else ", so they may be equally good"
        text += (
            f" Over {paired.size} paired realisations the difference is {difference:.3g} +- "
            f"{margin:.2g} (95 %){apart}."
        )
    return text
