"""How many points make a block: some seconds' worth, by what those before took."""

from collections.abc import Hashable, Iterable
from itertools import islice

from lagc_jax.experiments.points import Point

# A block is what a stop waits for and what a crash can lose.
SECONDS = 10.0
# Share of the first point of a structure that is taken for computing; the rest compiles.
COMPUTING = 0.25


class Pace:
    """Cuts points into blocks; learns from every block how long points of its structures take."""

    def __init__(self, limit: int) -> None:
        """Take at most so many points into a block."""
        self._limit = limit
        self._seconds: dict[Hashable, float] = {}

    def cut(self, points: Iterable[Point]) -> list[Point]:
        """The next block of points, which ends with the first whose structure is new."""
        block, total = [], 0.0
        for point in islice(points, self._limit):
            total += self._seconds.get(point.structure, 0.0)
            if block and total > SECONDS:
                break
            block.append(point)
            if point.structure not in self._seconds:
                break
        return block

    def took(self, block: list[Point], seconds: float) -> None:
        """Learn from a block."""
        *_, last = kinds = [point.structure for point in block]
        expected = sum(self._seconds.get(kind, 0.0) for kind in kinds)
        if last not in self._seconds:
            self._seconds[last] = COMPUTING * max(seconds - expected, seconds / len(block))
        else:
            for kind in set(kinds):
                self._seconds[kind] *= seconds / max(expected, 1e-9)
