"""Labels beside what they name, clear of each other and of what is drawn."""

import itertools
from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

RADII = (3, 6, 11, 18, 27, 38)  # points between a mark and its label
ANGLES = np.deg2rad([20, -20, 160, -160, 55, -55, 125, -125, 90, -90])
PAD, STEP = 1.5, 4.0  # pixels around a label, and between what lies along a line


def settle(figure: Figure) -> None:
    """Find the places of the axes, once: labels are placed in them."""
    figure.draw_without_rendering()
    # "none" would leave an engine that does nothing, for which every file is drawn twice.
    with matplotlib.rc_context(
        {"figure.autolayout": False, "figure.constrained_layout.use": False}
    ):
        figure.set_layout_engine()


def along(axis: Axes, x: Any, y: Any) -> np.ndarray:
    """Places in pixels close together along a line in data coordinates, (N, 2)."""
    points = _pixels(axis, np.column_stack([np.asarray(x, float), np.asarray(y, float)]))
    pieces = [points[:1]]
    for a, b in itertools.pairwise(points):
        count = min(int(np.hypot(*(b - a)) / STEP) + 1, 1000)
        pieces.append(a + np.linspace(0, 1, count + 1)[1:, None] * (b - a))
    return np.concatenate(pieces)


def place_labels(
    axis: Axes, anchors: Iterable[tuple[str, np.ndarray]], taken: np.ndarray, **look: Any
) -> None:
    """Write a label beside one of the places that it may name, where it covers the least.

    Args:
        axis: of a settled figure.
        anchors: labels, each with places in data coordinates, (N, 2); the first are preferred.
        taken: pixels that labels should leave free, (P, 2).
        look: of the texts.
    """
    halo = withStroke(linewidth=1.2, foreground="w", alpha=0.8)
    look = {"color": "0.1", "path_effects": [halo], **look}
    window = axis.get_window_extent().extents
    scale = axis.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    boxes = np.zeros((0, 4))
    for label, places in anchors:
        text = axis.annotate(label, (0, 0), xycoords="axes pixels", **look)
        size = np.array(text.get_window_extent().size)
        text.remove()
        offsets = _offsets(size, scale)
        centres = _pixels(axis, places)[:, None] + offsets
        corners = np.concatenate([centres - size / 2 - PAD, centres + size / 2 + PAD], axis=-1)
        covered = _inside(corners, taken) + 25 * _overlaps(corners, boxes)
        outside = np.maximum(window[:2] - corners[..., :2], corners[..., 2:] - window[2:])
        far = np.repeat(RADII, len(ANGLES)) / 8 + 0.02 * np.arange(len(places))[:, None]
        cost = covered + 80 * (outside > 0).any(-1) + far
        i, j = np.unravel_index(cost.argmin(), cost.shape)
        boxes = np.vstack([boxes, corners[i, j]])
        line = dict(arrowstyle="-", color="0.6", linewidth=0.4, shrinkA=0, shrinkB=1)
        axis.annotate(
            label,
            places[i],
            offsets[j] / scale,
            textcoords="offset points",
            ha="center",
            va="center",
            arrowprops=line if RADII[j // len(ANGLES)] > 6 else None,
            annotation_clip=False,
            **look,
        )


def _pixels(axis: Axes, points: np.ndarray) -> np.ndarray:
    """Data coordinates (N, 2) as pixels."""
    return axis.transData.transform(points)


def _offsets(size: np.ndarray, scale: float) -> np.ndarray:
    """From a mark to the middle of its label, in pixels, (radii x angles, 2)."""
    direction = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
    edge = np.clip(1.6 * direction, -1, 1) * size / 2
    return np.concatenate([radius * scale * direction + edge for radius in RADII])


def _inside(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How many points lie in every box (.., 4)."""
    low, high = corners[..., None, :2], corners[..., None, 2:]
    return ((points > low) & (points < high)).all(-1).sum(-1)


def _overlaps(corners: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How many of the boxes (B, 4) every box (.., 4) meets."""
    low = np.maximum(corners[..., None, :2], boxes[:, :2])
    high = np.minimum(corners[..., None, 2:], boxes[:, 2:])
    return (low < high).all(-1).sum(-1)
