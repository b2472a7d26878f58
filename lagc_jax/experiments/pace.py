"""How many points make a block: some seconds' worth, by what those before took."""

import math
from collections.abc import Iterable
from itertools import islice

from lagc_jax.experiments.points import Point, structure

# A block is what a stop waits for and what a crash can lose.
SECONDS = 10.0


class Pace:
    """Cuts points into blocks; learns from every block how long points of its structures take."""

    def __init__(self, limit: int) -> None:
        """Take at most so many points into a block."""
        self._limit = limit
        self._seconds: dict[tuple, float] = {}

    def cut(self, points: Iterable[Point]) -> list[Point]:
        """The next block of points: a single one where nothing is known of its structure yet."""
        block, total = [], 0.0
        for point in islice(points, self._limit):
            total += self._seconds.get(structure(point), math.inf)
            if block and total > SECONDS:
                break
            block.append(point)
        return block

    def took(self, block: list[Point], seconds: float) -> None:
        """Learn from a block; if it compiled anything, the next one tells more."""
        kinds = [structure(point) for point in block]
        expected = sum(self._seconds.get(kind, 1.0) for kind in kinds)
        for kind in set(kinds):
            self._seconds[kind] = self._seconds.get(kind, 1.0) * seconds / expected
