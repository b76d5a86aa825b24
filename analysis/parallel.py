"""All configurations of a study at once: one line each across the keys, its size and its accuracy."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from analysis.blocks import is_number, level_of, levels, varying_keys
from analysis.quantity import quantity_of, round_values, sized
from analysis.selection import check_one_data
from analysis.statistics import summarise
from analysis.style import COLOURS, SOFT, StudyFigure, head, new_figure, styled, tip
from analysis.table import ACCURACIES, left_out_text, records
from analysis.wording import count_text, estimate_text, seeds_text, value_text

FEWEST_LINES = 5
MOST_AXES = 8
MOST_LEVELS = 10
"""Values of a key that each get a tick; of more numbers the axis has round ones."""


class Group(NamedTuple):
    """Lines that look alike: those above one rank and up to another, as shares of all."""

    name: str
    above: float
    up_to: float
    colour: str
    width: float
    alpha: float


GROUPS = (
    Group("lower half", 0.0, 0.5, SOFT, 1.0, 0.35),
    Group("upper half", 0.5, 0.9, COLOURS[0], 1.4, 0.7),
    Group("best tenth", 0.9, 1.0, COLOURS[1], 2.4, 1.0),
)
"""By mean accuracy, in the order in which they are drawn: the best above the others."""


class Upright(NamedTuple):
    """One upright axis: its name, the height of each line on it (0 to 1), and its ticks with their texts."""

    name: str
    heights: np.ndarray
    ticks: tuple[tuple[float, str], ...]


class Parallel(NamedTuple):
    """`uprights` from left to right, and the configurations with `name`, `mean`, `low`, `high` and `n`.

    All are of the data set `data`, since accuracies on two have no common order. `left_out` has the keys for
    which there was no room, and `lacking` says which trials do not count, "" where all do.
    """

    data: str
    uprights: tuple[Upright, ...]
    points: pd.DataFrame
    left_out: tuple[str, ...]
    lacking: str


def parallel(frame: pd.DataFrame, metric: str = "test_top1", size: str = "bytes_fp32") -> Parallel | None:
    """Return the lines of the finished configurations, or None below two varying keys or five lines.

    Rows of several data sets are an `InputError`.
    """
    summary = summarise(frame, metric)
    check_one_data(summary["data.name"])
    points = sized(summary[summary["n"] > 0], frame, quantity_of(size), metric)
    keys = varying_keys(points)
    if len(keys) < 2 or len(points) < FEWEST_LINES:
        return None
    points = points.sort_values("mean", kind="stable")  # the best are drawn last, above the others
    shown, left_out = keys[: MOST_AXES - 2], keys[MOST_AXES - 2 :]
    uprights = [_upright(key, points[key]) for key in shown]
    quantity = quantity_of(size)
    spread = _spread(quantity.noun, points["size"], quantity.text)
    accuracy = _spread(ACCURACIES[metric], points["mean"], _per_cent)
    kept = points[["config_id", "name", "mean", "low", "high", "n"]].reset_index(drop=True)
    return Parallel(
        str(points["data.name"].iloc[0]),
        (*uprights, spread, accuracy),
        kept,
        left_out,
        left_out_text(frame, metric),
    )


def _upright(key: str, values: pd.Series) -> Upright:
    distinct = levels(values)
    if is_number(values) and len(distinct) > MOST_LEVELS:
        return _spread(key, values, value_text)
    last = max(len(distinct) - 1, 1)
    ticks = [(i / last, value_text(value)) for i, value in enumerate(distinct)]
    if len(ticks) > MOST_LEVELS:
        ticks = [ticks[i] for i in np.linspace(0, len(ticks) - 1, MOST_LEVELS).round().astype(int)]
    return Upright(key, level_of(values).to_numpy() / last, tuple(ticks))


def _spread(name: str, values: pd.Series, text: Callable[[float], str]) -> Upright:
    """Return an axis of numbers, logarithmic where they are positive and span more than a decade."""
    numbers = values.to_numpy(dtype=np.float64)
    log = numbers.min() > 0 and math.log10(numbers.max() / numbers.min()) > 1
    scale = np.log10 if log else np.asarray
    low, high = float(scale(numbers.min())), float(scale(numbers.max()))
    span = (high - low) or 1.0
    ticks = [(float(scale(v)) - low) / span for v in round_values(numbers.min(), numbers.max())]
    texts = [text(v) for v in round_values(numbers.min(), numbers.max())]
    if high == low:
        ticks, texts = [0.0], [text(numbers.min())]
    return Upright(name, (scale(numbers) - low) / span, tuple(zip(ticks, texts, strict=True)))


def _per_cent(share: float) -> str:
    return f"{round(100 * share, 6):g} %"


def draw_parallel(found: Parallel, metric: str = "test_top1") -> StudyFigure:
    """Draw a line a configuration, coloured by its accuracy."""
    points, count = found.points, len(found.uprights)
    heights = np.column_stack([upright.heights for upright in found.uprights])
    with styled():
        figure = new_figure(max(6.2, min(1.75 * count, 11.5)), 4.8)
        more = f" No room for {', '.join(found.left_out)}." if found.left_out else ""
        head(
            figure,
            f"Every configuration across its keys: {found.data}",
            f"One line a configuration ({len(points):,}), coloured by its mean {ACCURACIES[metric]} over "
            f"seeds ({seeds_text(list(points['n']))}), which is the last axis.{more} {found.lacking}",
        )
        axes = figure.subplots()
        ranks = np.arange(1, len(points) + 1) / len(points)
        for group in GROUPS:
            inside = (ranks > group.above) & (ranks <= group.up_to)
            segments = [np.column_stack([np.arange(count), line]) for line in heights[inside]]
            width = group.width if len(points) <= 60 else group.width / 2
            lines = LineCollection(segments, color=group.colour, linewidth=width, alpha=group.alpha)
            axes.add_collection(lines)
            tip(lines, (f"{row['name']}: {estimate_text(row)}" for row in records(points[inside])))
        _draw_uprights(axes, found.uprights)
        handles = [Line2D([], [], color=g.colour, linewidth=g.width, alpha=g.alpha) for g in GROUPS[::-1]]
        figure.legend(handles, [g.name for g in GROUPS[::-1]], loc="outside lower center", ncols=len(GROUPS))
    return figure


def _draw_uprights(axes: Axes, uprights: tuple[Upright, ...]) -> None:
    axes.set(xlim=(-0.15, len(uprights) - 0.6), ylim=(-0.06, 1.06))
    axes.set_xticks(range(len(uprights)), [upright.name.replace(".", ".\n") for upright in uprights])
    axes.tick_params(axis="x", length=0, labelsize=8.5)
    axes.yaxis.set_visible(False)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for place, upright in enumerate(uprights):
        axes.vlines(place, 0, 1, SOFT, linewidth=0.9)
        for height, text in upright.ticks:
            axes.annotate(
                text if len(text) <= 16 else text[:15] + "…",
                (place, height),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                bbox={"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
            )


def told(found: Parallel) -> str:
    """Return the figure in one sentence, for who cannot see it."""
    best = records(found.points)[-1]
    names = ", ".join(upright.name for upright in found.uprights)
    return (
        f"{count_text(len(found.points), 'configuration')} on {found.data} across {names}; the highest line "
        f"is {best['name']}: {estimate_text(best)}."
    )
