"""Ticks that do not collide: as many as there is room for, in short words."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import Formatter, Locator, MaxNLocator, NullFormatter, NullLocator

ROOM = 5  # labels on an axis of a third of a page
STEPS = [1, 2, 4, 5, 10]


class LogTicks(Locator):
    """Places of 1, 2 and 5 in every decade, of 1 and 3, or of 1: the most that there is room for.

    Where an axis spans less than a decade, they are those of a linear one.
    """

    def __init__(self, room: int = ROOM) -> None:
        """Keep how many labels there is room for."""
        self.room = room

    def __call__(self) -> Any:
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Any:
        low, high = sorted((vmin, vmax))
        if not 0 < low < high:
            return []
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        inside: list[float] = []
        for digits in ((1, 2, 5), (1, 3), (1,)):
            ticks = [d * 10.0**k for k in range(first, last + 1) for d in digits]
            inside = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
            if len(inside) <= self.room:
                break
        if len(inside) < 3 and high < 10 * low:
            return MaxNLocator(self.room, steps=STEPS).tick_values(low, high)
        return inside[:: -(-len(inside) // self.room)]


class ShortNumbers(Formatter):
    """Numbers as 500, 2k, 3M; powers of ten where there is nothing else."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Any) -> list[str]:
        return short_numbers(values)


def short_numbers(values: Sequence[float]) -> list[str]:
    r"""Labels of the ticks of one axis.

    >>> short_numbers([500, 1000, 2000]), short_numbers([2000, 10_000])
    (['500', '1000', '2000'], ['2k', '10k'])
    >>> short_numbers([0, 2e6]), short_numbers([1.0, 1e4, 1e8])[1]
    (['0', '2M'], '$\\mathdefault{10^{4}}$')
    """
    sizes = np.abs([value for value in values if value])
    if not sizes.size:
        return [f"{value:g}" for value in values]
    large, small = sizes.max(), sizes.min()
    powers = np.log10(sizes)
    if np.allclose(powers, powers.round()) and (large > 200 * small or small < 1e-4):
        return [f"$\\mathdefault{{10^{{{round(math.log10(value))}}}}}$" for value in values]
    unit, word = next(
        ((u, w) for u, w in ((1e6, "M"), (1e3, "k")) if large >= max(u, 1e4) and small >= u / 10),
        (1.0, ""),
    )
    return [f"{value / unit:.6g}{word if value else ''}" for value in values]


def thin_ticks(axis: Axis, room: int = ROOM, log: bool = True) -> None:
    """Give an axis a few ticks with short labels, and no labels between them."""
    linear = MaxNLocator(room - 1 if isinstance(axis, XAxis) else room + 1, steps=STEPS)
    axis.set_major_locator(LogTicks(room) if log else linear)
    axis.set_major_formatter(ShortNumbers())
    if log:
        axis.set_minor_formatter(NullFormatter())


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels of given values: whole numbers whole, others to the 3 to 6 digits that tell them.

    >>> tick_labels([0.0774264, 0.129155, 12345]), tick_labels([1.0001, 1.0002])
    (['0.0774', '0.129', '12345'], ['1.0001', '1.0002'])
    """
    labels: list[str] = []
    for digits in range(3, 7):
        labels = [f"{v:.{6 if v == round(v) else digits}g}" for v in values]
        if len(set(labels)) == len(set(values)):
            break
    return labels


def label_values(axis: Axis, places: Sequence[float], labels: Sequence[str], room: float) -> None:
    """Label some places, leaving out those for which there is no room.

    Args:
        axis: to label.
        places: in rising order.
        labels: of the places.
        room: characters that fit between the first place and the last.
    """
    where = np.asarray(axis.get_transform().transform(np.asarray(places, float)))
    length = where[-1] - where[0]
    kept: list[int] = []
    for i in range(len(labels)):
        apart = 1.2 + 0.5 * (len(labels[i]) + len(labels[kept[-1]])) if kept else 0
        if not kept or (where[i] - where[kept[-1]]) * room >= apart * length:
            kept.append(i)
    axis.set_ticks([places[i] for i in kept], labels=[labels[i] for i in kept])
    axis.set_minor_locator(NullLocator())
