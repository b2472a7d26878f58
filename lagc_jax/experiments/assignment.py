"""Which worker takes which place: groups of unequal workers, and who has what partition."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lagc_jax.cluster import Cluster
from lagc_jax.experiments.intervals import NORMAL
from lagc_jax.experiments.rows import reordered
from lagc_jax.experiments.waits import group_waits, is_shared, slowest, through_link
from lagc_jax.schemes.base import Scheme

AS_GIVEN = "as given"
ROWS, ITERATIONS, SWAPS = 256, 48, 300  # that a search looks at, and exchanges that it tries
WORTH = 0.005  # what an order must save of the time on rows that it was not chosen by


class Assignment(NamedTuple):
    """Workers in the places of a scheme.

    Attributes:
        name: "as given", "sorted", "snake" or "searched".
        order: (M,) place `p` is taken by worker `order[p]`, both from 0; groups are consecutive
            places, and so are their partitions.
        optimism: by how much more it saved on the rows that it was chosen by than on the others,
            as a share of the time.
    """

    name: str
    order: np.ndarray
    optimism: float = 0.0


def assign(
    scheme: Scheme,
    cluster: Cluster | None,
    uploads: np.ndarray,
    rows: np.ndarray,
    rng: np.random.Generator,
) -> Assignment:
    """The order of the workers in which a path takes least.

    The slowest first, the fastest first, dealt out to and fro over the groups (snake), and
    exchanges of two workers from the best of these on. It is chosen by every other row, and what is
    not better by the others is left as it is.

    Args:
        scheme: with more than one group.
        cluster: whose values a worker move with the workers.
        uploads: (K, G) bool, the path.
        rows: (T, M) times of all workers, finite.
        rng: of the exchanges.
    """
    M, G = scheme.num_workers, scheme.num_groups
    spread = np.linspace(0, len(rows) - 1, min(2 * ROWS, len(rows))).astype(int)
    some = uploads[np.linspace(0, len(uploads) - 1, min(ITERATIONS, len(uploads))).astype(int)]
    chosen, kept = rows[spread[::2]], rows[spread[1::2] if len(spread) > 1 else spread]

    def takes(order: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Mean time of an iteration with every row."""
        moved = reordered(cluster, order)
        if is_shared(moved):
            return through_link(scheme, moved, times[:, None, order], some).mean(-1)
        return slowest(group_waits(scheme, moved, times[:, order]), some).mean(0)

    given = Assignment(AS_GIVEN, np.arange(M))
    options = [given, *_orders(rows.mean(0), G)]
    costs = [takes(option.order, chosen).mean() for option in options]
    best, least = options[int(np.argmin(costs))], min(costs)
    order = best.order.copy()
    for _ in range(SWAPS):
        a, b = rng.choice(M, 2, replace=False)
        if a * G // M == b * G // M:
            continue
        order[[a, b]] = order[[b, a]]
        found = takes(order, chosen).mean()
        if found < least:
            best, least = Assignment("searched", order.copy()), found
        else:
            order[[a, b]] = order[[b, a]]
    before = takes(given.order, kept)
    saved = before - takes(best.order, kept)
    doubt = NORMAL * saved.std() / math.sqrt(saved.size)
    if not saved.mean() > max(WORTH * before.mean(), doubt):
        return given
    excess = costs[0] - least - saved.mean()
    return best._replace(optimism=max(float(excess / before.mean()), 0.0))


def _orders(mean: np.ndarray, num_groups: int) -> Iterator[Assignment]:
    """Orders by the workers' mean times (M,)."""
    slowest_first = np.argsort(-mean, kind="stable")
    yield Assignment("sorted", slowest_first)
    yield Assignment("sorted", slowest_first[::-1].copy())
    dealt = slowest_first.reshape(-1, num_groups)
    dealt[1::2] = dealt[1::2, ::-1]
    yield Assignment("snake", dealt.T.ravel())


def groups_of(order: np.ndarray, num_groups: int) -> list[list[int]]:
    """Workers of every group.

    >>> groups_of(np.array([2, 0, 1, 3]), 2)
    [[0, 2], [1, 3]]
    """
    return [sorted(group.tolist()) for group in np.split(order, num_groups)]
