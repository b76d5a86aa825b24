"""Accuracy along each axis of a study: the paper's Figure 3, with the paper's own curve beside ours."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from analysis import paper
from analysis.blocks import Block, blocks, in_sweep, is_number
from analysis.labels import add_labels, telling
from analysis.quantity import Quantity, quantity_of, round_values, size_axis, sized, tells_apart
from analysis.scale import accuracy_axis, edge_marks, finish_axis, frame_limits, percent_axis, placed
from analysis.statistics import summarise
from analysis.style import (
    COLOURS,
    PAPER,
    SOFT,
    StudyFigure,
    freeze_layout,
    head,
    new_figure,
    styled,
    tip,
    whiskers,
)
from analysis.table import ACCURACIES, left_out_text, records
from analysis.wording import count_text, estimate_text, seeds_text, value_text, whiskers_text
from sqzx.architectures import SqueezeNetConfig
from sqzx.counting import count

MOST_PANELS = 12
"""Rows of panels in one figure; with more it would be too tall to look at."""

MOST_TICKS = 16
"""Names below one panel; of more values, evenly spaced ones get one."""


class Curve(NamedTuple):
    """Accuracy along one axis of one sweep block, on the data set `data`.

    `points`, in the order along the axis, has `config_id`, `name`, `value` (text), `x`, `size`,
    `bytes_fp32`, `mean`, `low`, `high` and `n`.
    `x` is the size where it tells most values apart ("size"), as in the paper; the value itself where most
    sizes coincide ("value"); the rank of a value that is no number ("name"). `published` is the paper's
    curve along the same axis, where it has one: `paper.figure3` with the column `size`. `left_out` says which
    of the sweep's trials do not count, "" where all do.
    """

    sweep: str
    key: str
    data: str
    across: Literal["size", "value", "name"]
    points: pd.DataFrame
    published: pd.DataFrame | None
    left_out: str


def curves(frame: pd.DataFrame, metric: str = "test_top1", size: str = "bytes_fp32") -> list[Curve]:
    """Return a curve for each sweep block along which exactly one key varies and something is finished."""
    summary = sized(summarise(frame, metric), frame, quantity_of(size), metric)
    found = []
    for block in blocks(summary):
        lacking = left_out_text(frame[in_sweep(frame, block.sweep)], metric)
        found.append(_curve(block, quantity_of(size), lacking))
    return [curve for curve in found if curve is not None]


def _curve(block: Block, quantity: Quantity, lacking: str) -> Curve | None:
    members, finished = block.members, block.finished
    if len(block.keys) != 1 or finished.empty:
        return None
    (key,) = block.keys
    number = is_number(members[key])
    across = ("size" if tells_apart(members["size"]) else "value") if number else "name"
    points = finished.sort_values(key, kind="stable") if number else finished
    points = points.reset_index(drop=True)
    x = {"size": points["size"], "value": points[key], "name": points.index.to_series()}[across]
    points = points.assign(value=points[key].map(value_text), x=x.astype("float64"))
    kept = ["config_id", "name", "value", "x", "size", "bytes_fp32", "mean", "low", "high", "n"]
    published = _published(key, quantity) if key in paper.SWEEPS else None
    return Curve(block.sweep, key, block.data, across, points[kept], published, lacking)


def _published(key: str, quantity: Quantity) -> pd.DataFrame:
    """Return the paper's points with their size; what it does not give is counted, or else the bytes stay."""
    points = paper.figure3(key)
    if quantity.column == "macs":  # at 227 pixels, and a conv10 without padding as in the paper's Table 1
        along_ratio = key == "model.squeeze_ratio"
        networks = [
            SqueezeNetConfig(
                squeeze_ratio=value if along_ratio else 0.5,
                pct_3x3=0.5 if along_ratio else value,
                conv10_padding=0,
            )
            for value in points["value"].astype("float64")
        ]
        return points.assign(size=[float(count(network, (227, 227, 3)).macs) for network in networks])
    column = quantity.column if quantity.column in points else "bytes_fp32"
    return points.assign(size=points[column].astype("float64"))


def draw_curves(
    found: list[Curve], metric: str = "test_top1", size: str = "bytes_fp32", *, error: bool = False
) -> StudyFigure:
    """Draw a row for each curve: ours on the left, the paper's on the right where there is one.

    With `error` our panels have the error on a logarithmic axis; the paper's stays as it was published.
    """
    shown = found[:MOST_PANELS]
    # All together, since on a log axis the smallest error of all decides where the floor is.
    points = placed(pd.concat([curve.points.assign(curve=i) for i, curve in enumerate(shown)]), error=error)
    shown = [curve._replace(points=points[points["curve"] == i]) for i, curve in enumerate(shown)]
    shown.sort(key=lambda curve: curve.published is None)  # pairs of panels come first
    quantity = quantity_of(size)
    published = sum(curve.published is not None for curve in shown)
    columns = min(2, published + len(shown))
    rows = -(-(published + len(shown)) // columns)
    with styled():
        figure = new_figure(4.9 * columns + 0.6 * (columns == 1), 0.7 + 3.3 * rows)
        head(figure, _title(metric, error), _subtitle(shown, len(found), error))
        panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
        ours, theirs = [], []
        for curve in shown:
            ours.append((panels.pop(0), curve))
            _draw_ours(ours[-1][0], curve, metric, quantity, error=error)
            if curve.published is not None:
                theirs.append((panels.pop(0), curve.published))
                _draw_published(*theirs[-1], quantity)
        for axes in panels:
            axes.remove()
        _share(ours, theirs, error=error)
        freeze_layout(figure)
        for axes, curve in ours:
            _label_ours(axes, curve, error=error)
        for axes, points in theirs:
            _label_published(axes, points)
    return figure


def _share(ours: list[tuple[Axes, Curve]], theirs: list[tuple[Axes, pd.DataFrame]], *, error: bool) -> None:
    """Give our panels one scale, and the paper's theirs, so that heights compare."""
    limits = frame_limits(pd.concat([curve.points for _, curve in ours]), error=error)
    for axes, curve in ours:
        axes.set_ylim(*limits)
        finish_axis(axes, error=error)
        edge_marks(axes, curve.points, "x")
    if theirs:
        ends = [axes.get_ylim() for axes, _ in theirs]
        for axes, _ in theirs:
            axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))


def _title(metric: str, error: bool) -> str:
    name = ACCURACIES[metric].replace("accuracy", "error") if error else ACCURACIES[metric]
    return f"{name.capitalize()} along each axis"


def _subtitle(shown: Sequence[Curve], found: int, error: bool) -> str:
    cut = f" The first {len(shown)} of {found} sweeps." if found > len(shown) else ""
    every = all(len(telling(curve.points)) == len(curve.points) for curve in shown)
    labels = "each" if every else "each (of many the ends, the best and the worst)"
    numbers = seeds_text([n for curve in shown for n in curve.points["n"]])
    intervals = whiskers_text([low for curve in shown for low in curve.points["low"]])
    lacking = [f" {curve.sweep}: {curve.left_out}" for curve in shown if curve.left_out]
    return (
        f"Points: mean over seeds ({numbers}), {labels} labelled with value and mean "
        f"{'error ' * error}in %. {intervals}{cut}{''.join(lacking)}"
    )


def _draw_ours(axes: Axes, curve: Curve, metric: str, quantity: Quantity, *, error: bool) -> None:
    points = curve.points
    whiskers(axes, points, "x", COLOURS[0], columns=("y_low", "y_high"))
    _line(axes, points, "x", "y", COLOURS[0], linestyle="none" if curve.across == "name" else "-")
    tip(axes.lines[-1], (f"{row['name']}: {estimate_text(row)}" for row in records(points)))
    own_name = curve.sweep in (curve.key, curve.key.rpartition(".")[2])
    axes.set_title(curve.key if own_name else f"{curve.sweep} ({curve.key})")
    axes.set_xlabel(quantity.label if curve.across == "size" else curve.key)
    accuracy_axis(axes, metric, error=error, data=curve.data)
    axes.margins(x=0.08, y=0.18)
    if curve.across == "size":
        size_axis(axes, quantity)
    elif curve.across == "value" and points["x"].min() > 0 and _decades(points["x"]) > 1:
        axes.set_xscale("log")
        _value_ticks(axes, points)
    elif curve.across == "name":
        _named_ticks(axes, points)
        axes.margins(x=0.25 if len(points) < 6 else 0.04)


def _named_ticks(axes: Axes, points: pd.DataFrame) -> None:
    """Write the values below the axis, slanted where they would run into each other."""
    shown = points.iloc[np.unique(np.linspace(0, len(points) - 1, MOST_TICKS).round().astype(int))]
    long = sum(len(value) + 2 for value in shown["value"]) > 60
    axes.set_xticks(shown["x"], [_cut(value) for value in shown["value"]])
    if long:
        for text in axes.get_xticklabels():
            text.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.xaxis.set_minor_locator(NullLocator())


def _value_ticks(axes: Axes, points: pd.DataFrame) -> None:
    """Put ticks at the values, or at round ones where there are many."""
    if len(points) <= MOST_TICKS // 2:
        axes.set_xticks(points["x"], points["value"])
    else:
        ticks = round_values(*axes.get_xlim())
        axes.set_xticks(ticks, [value_text(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _cut(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _decades(x: pd.Series) -> float:
    return math.log10(x.max() / x.min())


def _draw_published(axes: Axes, published: pd.DataFrame, quantity: Quantity) -> None:
    points = published.assign(share=published["top5"] / 100)
    _line(axes, points, "size", "share", SOFT)
    tip(
        axes.lines[-1],
        (f"{row['value']:g}: ImageNet top-5 {row['top5']:.1f} %, one run" for row in records(points)),
    )
    axes.set_title("The paper: ImageNet, top-5, one run a point")
    counted = quantity.column in ("params", "macs")
    axes.set(xlabel=quantity.noun if counted else "model size", ylabel="ImageNet top-5 accuracy")
    axes.margins(x=0.08, y=0.18)
    size_axis(axes, quantity if counted or quantity.column == "bytes_fp32" else quantity_of("bytes_fp32"))
    percent_axis(axes)


def _label_ours(axes: Axes, curve: Curve, *, error: bool) -> None:
    chosen = telling(curve.points)
    common = int(curve.points["n"].mode().max())
    texts = [
        f"{_cut(label)}\n{100 * (1 - mean if error else mean):.1f}" + (f"\nn = {n}" if n != common else "")
        for label, mean, n in zip(chosen["value"], chosen["mean"], chosen["n"], strict=True)
    ]
    if curve.across == "name":  # the axis has the name already
        texts = [text.partition("\n")[2] for text in texts]
    add_labels(axes, list(chosen["x"]), list(chosen["y"]), texts)


def _label_published(axes: Axes, published: pd.DataFrame) -> None:
    texts = [
        f"{value:g}\n{top5:.1f}" for value, top5 in zip(published["value"], published["top5"], strict=True)
    ]
    add_labels(axes, list(published["size"]), list(published["top5"] / 100), texts)


def _line(axes: Axes, points: pd.DataFrame, x: str, y: str, colour: str, linestyle: str = "-") -> None:
    axes.plot(points[x], points[y], linestyle=linestyle, color=colour, marker="o", markeredgecolor=PAPER)


def told(curve: Curve) -> str:
    """Return a curve in one sentence, for who cannot see it."""
    values = "; ".join(f"{row['value']}: {estimate_text(row)}" for row in records(telling(curve.points)))
    return f"Along {curve.key} on {curve.data} ({count_text(len(curve.points), 'value')}): {values}."
