"""What occurs along the paths of points, and its exact moments where they are known."""

import warnings
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from lagc_jax.clock import Clock

# Where workers differ an exact mean costs an integral for every set of working groups: with more
# workers than this there is the sample mean alone.
EXACT_WORKERS = 16


class Seen(NamedTuple):
    """What occurs along a path.

    Attributes:
        working: (U,) numbers of working groups.
        groups: (U, G) bool, the very groups, None where their number is all that counts.
        occurrences: (A, U) how often until each hit.
    """

    working: np.ndarray
    groups: np.ndarray | None
    occurrences: np.ndarray


def knows_moments(clock: Clock) -> bool:
    """Whether exact means and variances are computed rather than sample means alone."""
    few = clock.identical or clock.scheme.num_workers <= EXACT_WORKERS
    return clock.exact and few


def count_occurrences(clocks: Sequence[Clock], records: Sequence[Any]) -> list[Seen]:
    """What occurs along paths, counted once for all clocks that see the same."""
    found: dict[Hashable, Seen] = {}
    keys = [
        (id(record), clock.sees, clock.identical, knows_moments(clock))
        for clock, record in zip(clocks, records, strict=True)
    ]
    for key, clock, record in zip(keys, clocks, records, strict=True):
        if key not in found:
            found[key] = _occurrences(clock, record)
    return [found[key] for key in keys]


def _occurrences(clock: Clock, record: Any) -> Seen:
    """Working groups along a path until each hit; all sets of one size count as one if alike."""
    part, scheme = np.asarray(record.parts[clock.sees]), clock.scheme
    groups, working = None, np.arange(scheme.num_groups + 1)
    if clock.sees == "counts":
        kinds = part.ravel().astype(int)
    else:
        chosen = part.reshape(-1, scheme.num_groups)
        everyone = scheme.trigger.everyone_works
        chosen = np.ones_like(chosen) if everyone else chosen
        kinds = chosen.sum(-1)
        if knows_moments(clock) and not clock.identical:
            groups, kinds = np.unique(chosen, axis=0, return_inverse=True)
            working, kinds = groups.sum(-1), kinds.ravel()
    counts = [np.bincount(kinds[:k], minlength=len(working)) for k in record.hit]
    return Seen(working, groups, np.array(counts))


def exact_moments(
    clocks: Sequence[Clock], seen: Sequence[Seen]
) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """Exact means and variances (U,) of what occurs along each path, `inf` where infinite.

    None where they are not known. All paths of one clock go together, for few programs.
    """
    alike: dict[int, list[int]] = {}
    for i, clock in enumerate(clocks):
        alike.setdefault(id(clock), []).append(i)
    found: dict[int, Any] = {}
    double = bool(jax.config.read("jax_enable_x64"))
    for members in alike.values():
        clock = clocks[members[0]]
        if not knows_moments(clock):
            found |= dict.fromkeys(members)
        elif clock.identical:
            found |= dict.fromkeys(members, _table(clock, double))
        else:
            groups = [np.asarray(seen[i].groups) for i in members]
            ends = np.cumsum([len(rows) for rows in groups])[:-1]
            parts = (np.split(each, ends) for each in _exact(clock, np.concatenate(groups)))
            found |= zip(members, zip(*parts, strict=True), strict=True)
    return [found[i] for i in range(len(clocks))]


@lru_cache(maxsize=4096)
def _table(clock: Clock, double: bool) -> tuple[np.ndarray, np.ndarray]:
    """Moments with 0, 1, .., G working groups of identical workers, for each precision."""
    G = clock.scheme.num_groups
    return _exact(clock, np.tri(G + 1, G, -1, dtype=bool))


def _exact(clock: Clock, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the table says where one is infinite
        mean, variance = clock.mean(groups), clock.variance(groups)
    return np.asarray(mean, float), np.asarray(variance, float)
