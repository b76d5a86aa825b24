"""Labels of points, placed where they overlap neither each other nor what is drawn.

Each label tries a fixed list of places around its point, near ones first, and takes the one that costs
least: off the panel or on another label costs most, a leader across a label less, on a marker less still,
on a line or a whisker little, and so does distance. A few rounds let the first ones give way to the later
ones. Nothing is random and nothing is timed, so a figure is the same on every machine.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.style import INK, SOFT

MOST = 14
"""Labels in one panel. Where there are more points, few of them get one, and the figure says which."""

_DIRECTIONS = (
    (0, 1),
    (0, -1),
    (-0.7, 1),
    (0.7, -1),
    (0.7, 1),
    (-0.7, -1),
    (1, 0),
    (-1, 0),
    (-1, 0.6),
    (1, -0.6),
)
_DISTANCES = (8, 13, 20, 30, 42, 56, 72, 90)  # points
_ROUNDS = 4
_LEADER_FROM = 16
"""Distance in points from which a thin line ties a label to its point."""


class Obstacles(NamedTuple):
    """Pixels that labels keep off, with the cost of each."""

    at: np.ndarray
    cost: np.ndarray


def evenly(points: pd.DataFrame, few: int = 8) -> pd.DataFrame:
    """Return all points, or a `few` of too many of them: evenly spaced in their order, the ends included."""
    if len(points) <= MOST:
        return points
    return points.iloc[np.unique(np.linspace(0, len(points) - 1, few).round().astype(int))]


def telling(points: pd.DataFrame) -> pd.DataFrame:
    """Return all points, or of too many of them the ends, the lowest and the highest mean."""
    if len(points) <= MOST:
        return points
    means = points["mean"].to_numpy(dtype=np.float64)
    return points.iloc[np.unique([0, means.argmin(), means.argmax(), len(points) - 1])]


def add_labels(axes: Axes, x: Sequence[float], y: Sequence[float], texts: Sequence[str]) -> list[Text]:
    """Write a label at each point, once the figure's layout is final."""
    at = np.column_stack([x, y]).astype(np.float64)
    anchors = axes.transData.transform(at)
    pixel = 72 / _figure(axes).dpi
    written = [
        axes.text(0, 0, text, fontsize=7.5, color=INK, linespacing=1.15, ha="center", va="center")
        for text in texts
    ]
    sizes = np.array([_size(text) for text in written])
    centres = place(anchors, sizes, np.array(axes.bbox.extents), drawn(axes), points_a_pixel=pixel)
    for text, point, anchor, size, centre in zip(written, at, anchors, sizes, centres, strict=True):
        text.set_position(tuple(axes.transData.inverted().transform(centre)))
        gap = np.maximum(np.abs(centre - anchor) - size / 2, 0)
        if float(np.hypot(*gap)) * pixel >= _LEADER_FROM:
            # Towards the middle of the nearest side: a corner of the box is often empty.
            reach = size / 2 * ([0.3, 1] if gap[1] > 0 else [1, 0.3])
            near = np.clip(anchor, centre - reach, centre + reach)
            axes.annotate(
                "",
                tuple(point),
                tuple(axes.transData.inverted().transform(near)),
                arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3},
            )
    return written


def place(
    anchors: np.ndarray,
    sizes: np.ndarray,
    panel: np.ndarray,
    obstacles: Obstacles,
    *,
    points_a_pixel: float = 0.72,
) -> np.ndarray:
    """Return the centre of each label, all in pixels; `panel` is (left, bottom, right, top)."""
    ways = np.array([(*way, d / points_a_pixel) for d in _DISTANCES for way in _DIRECTIONS])
    centres = anchors + np.array([0.0, 1.0]) * sizes  # where the first round believes the later labels
    for _ in range(_ROUNDS):
        for i, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
            tried = anchor + ways[:, :2] * (size / 2 + ways[:, 2:])
            others, room = np.delete(centres, i, axis=0), (np.delete(sizes, i, axis=0) + size) / 2 + 5
            on_labels = (np.abs(tried[:, None] - others) < room).all(axis=2).sum(axis=1)
            outside = ((tried - size / 2 < panel[:2]) | (tried + size / 2 > panel[2:])).any(axis=1)
            hits = (np.abs(tried[:, None] - obstacles.at) < size / 2 + 2).all(axis=2)
            own, theirs = _leaders(anchor, tried), _leaders(np.delete(anchors, i, axis=0), others)
            on_own = np.abs(own[:, None] - others[:, None]) < np.delete(sizes, i, axis=0)[:, None] / 2
            on_theirs = np.abs(tried[:, None, None] - theirs) < size / 2
            crossed = sum(on.all(axis=3).any(axis=2).sum(axis=1) for on in (on_own, on_theirs))
            cost = 1000.0 * (on_labels + outside) + hits @ obstacles.cost + 60.0 * crossed + 0.12 * ways[:, 2]
            centres[i] = tried[np.argmin(cost)]
    return centres


def _leaders(anchors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return points (n, steps, 2) on the lines from anchors to centres (n, 2), where leaders would be."""
    steps = np.linspace(0.1, 0.9, 17)[:, None]
    return np.broadcast_to(anchors, centres.shape)[:, None] + (centres - anchors)[:, None] * steps


def drawn(axes: Axes, step: float = 3) -> Obstacles:
    """Return the markers, lines and whiskers of a panel as points a few pixels apart."""
    at, cost = [np.empty((0, 2))], [np.empty(0)]
    for line in axes.lines:
        corners = axes.transData.transform(np.column_stack(line.get_data()).astype(np.float64))
        if line.get_drawstyle() == "steps-post":
            corners = np.column_stack([np.repeat(corners[:, 0], 2)[1:], np.repeat(corners[:, 1], 2)[:-1]])
        dense = _dense(corners, step)
        at.append(dense)
        cost.append(np.full(len(dense), 1.0))
    for collection in axes.collections:
        if isinstance(collection, LineCollection):  # whiskers
            for segment in collection.get_segments():
                dense = _dense(axes.transData.transform(segment), step)
                at.append(dense)
                cost.append(np.full(len(dense), 0.5))
    for marked in (*(c.get_offsets() for c in axes.collections), *(line.get_xydata() for line in axes.lines)):
        marked = np.asarray(marked, dtype=np.float64)
        at.append(axes.transData.transform(marked))
        cost.append(np.full(len(marked), 30.0))
    return Obstacles(np.concatenate(at), np.concatenate(cost))


def _dense(corners: np.ndarray, step: float) -> np.ndarray:
    pieces = [corners[:1]]
    for a, b in pairwise(corners):
        n = max(1, int(np.hypot(*(b - a)) / step))
        pieces.append(a + (b - a) * (np.arange(1, n + 1) / n)[:, None])
    return np.concatenate(pieces)


def _size(text: Text) -> np.ndarray:
    """Return the width and height of a written label in pixels."""
    box = text.get_window_extent()
    return np.array([box.width, box.height])


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure
