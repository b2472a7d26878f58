"""Why a candidate is the best, in words, from the numbers of its table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lagc_jax.experiments.intervals import outlook
from lagc_jax.schemes.base import Scheme

SAME = 1e-6  # relative difference of costs that is rounding, in single precision too
CLOSE = 1.02  # rankings on other problems within so much of the best name a scheme as good


def explain(
    table: pd.DataFrame,
    scheme: Scheme,
    uploads: np.ndarray,
    tail_indices: np.ndarray,
    prices: Mapping[str, float],
    paired: np.ndarray | None,
    unit: str,
) -> list[str]:
    """Why the first row is first, sentence by sentence.

    Args:
        table: of `design`.
        scheme: of the first row.
        uploads: (K, G) bool, the first row's path.
        tail_indices: (M,) of the workers' times.
        prices: by the column that they are of.
        paired: (N, R) times of the rows in realisations, or on rows of a trace; None where they
            are exact.
        unit: what `paired` is over, in words.
    """
    best = table.iloc[0]
    time = f"{'exact ' if best['exact'] else ''}{best['statistic']} time {best['time']:.4g}"
    if best["time_low"] < best["time_high"]:
        time += f", 90 % interval {best['time_low']:.4g} to {best['time_high']:.4g}"
    sentences = [
        f"{_describe(best)} costs {best['cost']:.4g} ({time}, {best['communication']:.0f} "
        f"messages, {best['computation']:.0f} gradients).",
        in_words(best, scheme, uploads),
    ]
    if np.isfinite([best["run_low"], best["run_high"]]).all():
        sentences.append(
            f"One run in ten takes less than {best['run_low']:.4g} or more than "
            f"{best['run_high']:.4g}."
        )
    if best["statistic"] == "median":
        sentences.append(
            "The mean time is infinite under every candidate, so they are ranked by the median."
        )
    sentences += _tail_sentence(tail_indices)
    names = ["scheme", "num_groups", "redundancy"]
    rivals = np.flatnonzero((table[names] != best[names]).any(axis=1) & np.isfinite(table["cost"]))
    # A scheme in other places, or with another weight, is a rival where there is no other.
    second = int(rivals[0]) if rivals.size else 1
    if second < len(table) and np.isfinite(table["cost"].iloc[second]):
        other, differences = table.iloc[second], None
        alike = best["statistic"] == "mean" and best["simulated"] == other["simulated"]
        if paired is not None and alike and prices["time"]:
            differences = paired[second] - paired[0]
            differences = differences if np.isfinite(differences).all() else None
        sentences.append(_compare(best, other, prices, differences, unit))
    return sentences


def in_words(row: pd.Series, scheme: Scheme, uploads: np.ndarray) -> str:
    """What a scheme is, and what it does along its path (K, G)."""
    if not scheme.decoder.anonymous:
        kind = type(scheme.decoder)
        said = (kind.__doc__ or "").strip().split("\n")[0].rstrip(".")
        constants = f" ({row['server']})" if row["server"] else ""
        return (
            f"Its server is {kind.__name__}{constants}"
            f"{f': {said[:1].lower()}{said[1:]}' if said else ''}. Which messages it takes depends "
            f"on the times, so every run has a path of its own, and these are means over some."
        )
    G, r = int(row["num_groups"]), int(row["redundancy"])
    n = int(row["num_workers"]) // G
    kind = "gradient descent" if n == 1 or r == 1 else "gradient coding" if r < n else "grouping"
    F = _waited(scheme)
    who = "all workers" if n == F else f"the fastest {F} of {n} workers"
    if G > 1 and n > 1:
        who += " of every group"
    asked = uploads.mean() if uploads.size else 1.0
    if row["trigger"] == "always":
        return f"It is {kind} that waits for {who}."
    idle = 1 - uploads.any(-1).mean()
    if scheme.trigger.everyone_works:
        return (
            f"It is {kind} in which all compute and, of a group, the change is sent in "
            f"{100 * asked:.0f} % of the iterations."
        )
    rest = f", and {100 * idle:.0f} % of them ask nobody and take no time" if idle else ""
    if G == 1:
        return (
            f"It is {kind} that waits for {who}, and reuses its gradient in {100 * idle:.0f} % of "
            f"the iterations, which take no time."
        )
    return (
        f"It is {kind} that waits for {who} that {'is' if n > 1 else 'are'} asked, whose gradient "
        f"may have changed: "
        f"{100 * asked:.0f} % of the {G} in an iteration{rest}."
    )


def edges(
    row: pd.Series, storage: int, given: Sequence[Sequence[float] | None], ranges: Sequence[tuple]
) -> list[str]:
    """Which limits of the search the best candidate lies on."""
    found, n = [], int(row["num_workers"]) // int(row["num_groups"])
    if row["redundancy"] == storage < n:
        found.append(f"more storage than {storage} may save more")
    for name, values, (low, high) in zip(("xi", "step_size"), given, ranges, strict=True):
        ends = (low, high) if values is None else (min(values), max(values))
        if ends[0] < ends[1] and row[name] in ends:
            side = "least" if row[name] == ends[0] else "largest"
            found.append(f"{name}={row[name]:g} is the {side} that was tried")
    return [f"The optimum lies on an edge: {'; '.join(found)}."] if found else []


def on_other_problems(compared: pd.DataFrame, computed: str, best: str) -> list[str]:
    """For which problem the advice is, and what would be chosen on others."""
    told = [f"This was computed for {computed}; give your own problem, or smoothness constants."]
    others = [name for name in compared.columns if name != computed and best in compared.index]
    parts = []
    for name in others:
        winner = str(compared[name].idxmin())
        behind = float(compared[name][best])
        if behind <= CLOSE:
            parts.append(f"{best} stays within 2 % of the best with {name}")
        else:
            more = f"{100 * (behind - 1):.0f} % more" if np.isfinite(behind) else "too much"
            parts.append(f"with {name} {winner} is the best and {best} costs {more}")
    return [*told, f"{_capital('; '.join(parts))}."] if parts else told


def held_out_sentence(held: Any) -> str:
    """What the second half of a trace kept of what the first promised."""
    kept = "lies in" if held.held else "lies outside"
    text = (
        f"Chosen by the first half of these rows, the second half takes {held.time:.4g}, which "
        f"{kept} the promised {held.low:.4g} to {held.high:.4g}"
    )
    if held.regret > 0:
        text += f", and costs {100 * held.regret:.1f} % more than the best choice there"
    return f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def tail_indices(delays: Any, num_workers: int) -> np.ndarray:
    """Tail index of every worker's times, (M,); that of measured times is infinite."""
    while not hasattr(delays, "tail_index") and hasattr(delays, "delays"):
        delays = delays.delays
    index = np.asarray(getattr(delays, "tail_index", np.inf), float)
    return np.broadcast_to(index, (num_workers,))


def tail_of(scheme: Scheme, cluster: Any, delays: Any) -> float:
    """Tail index of an iteration: its time has a mean where that exceeds 1.

    All copies of a gradient have to be late, those of the group that has the heaviest tails. A
    timeout ends every wait.
    """
    if cluster is not None and cluster.timeout is not None:
        return math.inf
    index = tail_indices(delays, scheme.num_workers).reshape(scheme.num_groups, -1)
    late = scheme.group_size - _waited(scheme) + 1
    return float(np.sort(index, axis=-1)[:, :late].sum(-1).min())


def _waited(scheme: Scheme) -> int:
    """Workers of a group that are waited for, at the most where that is no fixed number."""
    if scheme.decoder.fastest is None:
        return scheme.group_size - scheme.redundancy + 1
    return scheme.num_waited


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


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Bounds of 90 % of a mean, of values in the order in which they were met."""
    seen = outlook(values[None], np.ones(values.size))
    return float(seen.low[0]), float(seen.high[0])


def _describe(row: pd.Series) -> str:
    """A candidate in words."""
    parts = [f"G={row['num_groups']}", f"r={row['redundancy']}"]
    parts += [row["server"]] if row["server"] else []
    parts += [] if math.isnan(row["xi"]) else [f"xi={row['xi']:g}"]
    return f"{row['scheme']}({', '.join(parts)}) with step {row['step_size']:g}/L"


def _compare(
    best: pd.Series,
    other: pd.Series,
    prices: Mapping[str, float],
    paired: np.ndarray | None,
    unit: str,
) -> str:
    """Which priced cost makes the difference to the runner-up."""
    saved = {name: weight * (other[name] - best[name]) for name, weight in prices.items() if weight}
    difference = other["cost"] - best["cost"]
    if abs(difference) <= SAME * abs(best["cost"]):
        return f"The runner-up, {_describe(other)}, costs the same."
    if difference < 0:
        return (
            f"The runner-up, {_describe(other)}, may cost {-difference:.3g} less "
            f"({other['cost']:.4g}), but by no more than the error of its realisations."
        )
    main = max(saved, key=lambda name: saved[name])
    lost = min(saved, key=lambda name: saved[name])
    text = (
        f"The runner-up, {_describe(other)}, costs {difference:.3g} more ({other['cost']:.4g}): "
        f"{main} makes the difference ({saved[main]:+.3g})"
    )
    text += f", in spite of {lost} ({saved[lost]:+.3g})." if saved[lost] < 0 else "."
    if paired is not None and np.ptp(paired) > 0:
        low, high = mean_interval(paired)
        apart = "" if low > 0 or high < 0 else ", so they may be equally good"
        text += (
            f" Over {paired.size} {unit} the difference in time is {paired.mean():.3g}, 90 % "
            f"interval {low:.3g} to {high:.3g}{apart}."
        )
    return text
