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

    def __init__(self, limit: int, devices: int = 1) -> None:
        """Take at most so many points into a block, which so many devices share."""
        self._limit, self._devices = limit, devices
        self._seconds: dict[Hashable, float] = {}

    def cut(self, points: Iterable[Point]) -> list[Point]:
        """The next block, which ends with the first points of a new structure, one a device."""
        block, total, new = [], 0.0, []
        for point in islice(points, self._limit):
            if new and (point.structure != new[0] or len(new) == self._devices):
                break
            total += self._seconds.get(point.structure, 0.0)
            if block and total > SECONDS:
                break
            block.append(point)
            if point.structure not in self._seconds:
                new.append(point.structure)
        return block

    def took(self, block: list[Point], seconds: float) -> None:
        """Learn from a block."""
        *_, last = kinds = [point.structure for point in block]
        expected = sum(self._seconds.get(kind, 0.0) for kind in kinds)
        if last not in self._seconds:
            first = max(seconds - expected, seconds / len(block))
            self._seconds[last] = COMPUTING * first / kinds.count(last)
        else:
            for kind in set(kinds):
                self._seconds[kind] *= seconds / max(expected, 1e-9)
