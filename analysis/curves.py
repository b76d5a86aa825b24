"""Accuracy along each axis of a study: the paper's Figure 3, with the paper's own curve beside ours."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from analysis import paper
from analysis.labels import add_labels, labelled
from analysis.statistics import summarise
from analysis.style import (
    COLOURS,
    SOFT,
    freeze_layout,
    head,
    new_figure,
    percent_axis,
    size_axis,
    styled,
    whiskers,
)
from analysis.table import ACCURACIES, configuration_keys
from analysis.wording import seeds_text, value_text

MOST_PANELS = 12
"""Rows of panels in one figure; with more it would be too tall to look at."""


class Curve(NamedTuple):
    """Accuracy along one axis of one sweep block, on the data set `data`.

    `points`, in the order along the axis, has `config_id`, `value` (text), `x`, `bytes_fp32`,
    `mean`, `low`, `high` and `n`.
    `x` is the size in bytes where it tells most values apart ("size"), as in the paper; the value itself
    where most sizes coincide ("value"); the rank of a value that is no number ("name"). `published` is the
    paper's curve along the same axis (`paper.figure3`), where it has one.
    """

    sweep: str
    key: str
    data: str
    across: Literal["size", "value", "name"]
    points: pd.DataFrame
    published: pd.DataFrame | None


def curves(frame: pd.DataFrame, metric: str = "test_top1") -> list[Curve]:
    """Return a curve for each sweep block along which exactly one key varies and something is finished."""
    summary = summarise(frame, metric)
    sweeps = dict.fromkeys(name for joined in summary["sweeps"] for name in joined.split(";"))
    found = (_curve(summary, sweep) for sweep in sweeps)
    return [curve for curve in found if curve is not None]


def _curve(summary: pd.DataFrame, sweep: str) -> Curve | None:
    members = summary[[sweep in joined.split(";") for joined in summary["sweeps"]]]
    varying = [k for k in configuration_keys(summary) if members[k].nunique(dropna=False) > 1]
    finished = members[members["n"] > 0]
    if len(varying) != 1 or finished.empty:
        return None
    key = varying[0]
    number = pd.api.types.is_numeric_dtype(members[key]) and not pd.api.types.is_bool_dtype(members[key])
    number = number and bool(members[key].notna().all())
    told_apart = members["bytes_fp32"].nunique() > len(members) / 2
    across = ("size" if told_apart else "value") if number else "name"
    points = finished.sort_values(key, kind="stable") if number else finished
    points = points.reset_index(drop=True)
    x = {"size": points["bytes_fp32"], "value": points[key], "name": points.index.to_series()}[across]
    points = points.assign(value=points[key].map(value_text), x=x.astype("float64"))
    points = points[["config_id", "value", "x", "bytes_fp32", "mean", "low", "high", "n"]]
    data = ", ".join(members["data.name"].drop_duplicates())
    return Curve(sweep, key, data, across, points, paper.figure3(key) if key in paper.SWEEPS else None)


def draw_curves(found: list[Curve], metric: str = "test_top1") -> Figure:
    """Draw a row for each curve: ours on the left, the paper's on the right where there is one."""
    shown = found[:MOST_PANELS]
    columns = 2 if any(curve.published is not None for curve in shown) else 1
    with styled():
        figure = new_figure(4.9 * columns + 0.6 * (columns == 1), 0.7 + 3.3 * len(shown))
        cut = f" The first {len(shown)} of {len(found)} sweeps." if len(found) > len(shown) else ""
        every = all(len(labelled(curve.points)) == len(curve.points) for curve in shown)
        labels = "each" if every else "some of them"
        numbers = seeds_text([n for curve in shown for n in curve.points["n"]])
        head(
            figure,
            f"{ACCURACIES[metric].capitalize()} along each axis",
            f"Points: mean over seeds ({numbers}), {labels} labelled with value and mean in %. "
            f"Whiskers: 95 % t interval.{cut}",
        )
        panels = figure.subplots(len(shown), columns, squeeze=False, sharey="col")
        for row, curve in zip(panels, shown, strict=True):
            _draw_ours(row[0], curve, metric)
            if curve.published is not None:
                _draw_published(row[1], curve.published)
            elif columns == 2:
                row[1].remove()
        panels[0][0].set_ylim(*_frame([curve.points for curve in shown]))
        freeze_layout(figure)
        for row, curve in zip(panels, shown, strict=True):
            _label_ours(row[0], curve)
            if curve.published is not None:
                _label_published(row[1], curve.published)
    return figure


def _frame(points: Sequence[pd.DataFrame]) -> tuple[float, float]:
    """Return y limits that show the means well: with few seeds an interval can be the whole scale."""
    every = pd.concat(points)[["low", "mean", "high"]].to_numpy(dtype=np.float64)
    low, high = every[:, 1].min(), every[:, 1].max()
    room = max(3 * (high - low), 0.05)
    bottom = max(np.nanmin(every), low - room, 0.0)
    top = min(np.nanmax(every), high + room, 1.0)
    margin = 0.18 * max(top - bottom, 0.01)
    return max(bottom - margin, -margin / 4), top + margin


def _draw_ours(axes: Axes, curve: Curve, metric: str) -> None:
    whiskers(axes, curve.points, "x", COLOURS[0])
    _line(axes, curve.points, "x", "mean", COLOURS[0], linestyle="none" if curve.across == "name" else "-")
    own_name = curve.sweep in (curve.key, curve.key.rpartition(".")[2])
    axes.set_title(curve.key if own_name else f"{curve.sweep} ({curve.key})")
    axes.set(
        xlabel="model size" if curve.across == "size" else curve.key,
        ylabel=f"{curve.data} {ACCURACIES[metric]}",
    )
    axes.margins(x=0.08, y=0.18)
    percent_axis(axes)
    if curve.across == "size":
        size_axis(axes)
    elif curve.across == "value" and curve.points["x"].min() > 0 and _decades(curve.points["x"]) > 1:
        axes.set_xscale("log")
        axes.set_xticks(curve.points["x"], curve.points["value"])
        axes.xaxis.set_minor_locator(NullLocator())
    elif curve.across == "name":
        axes.set_xticks(curve.points["x"], curve.points["value"])
        axes.margins(x=0.25)


def _decades(x: pd.Series) -> float:
    return math.log10(x.max() / x.min())


def _draw_published(axes: Axes, published: pd.DataFrame) -> None:
    _line(axes, published.assign(share=published["top5"] / 100), "bytes_fp32", "share", SOFT)
    axes.set_title("The paper: ImageNet, top-5, one run a point")
    axes.set(xlabel="model size", ylabel="ImageNet top-5 accuracy")
    axes.margins(x=0.08, y=0.18)
    size_axis(axes)
    percent_axis(axes)


def _label_ours(axes: Axes, curve: Curve) -> None:
    chosen = labelled(curve.points)
    common = int(curve.points["n"].mode().max())
    texts = [
        f"{label}\n{100 * mean:.1f}" + (f"\nn = {n}" if n != common else "")
        for label, mean, n in zip(chosen["value"], chosen["mean"], chosen["n"], strict=True)
    ]
    add_labels(axes, list(chosen["x"]), list(chosen["mean"]), texts)


def _label_published(axes: Axes, published: pd.DataFrame) -> None:
    texts = [
        f"{value:g}\n{top5:.1f}" for value, top5 in zip(published["value"], published["top5"], strict=True)
    ]
    add_labels(axes, list(published["bytes_fp32"]), list(published["top5"] / 100), texts)


def _line(axes: Axes, points: pd.DataFrame, x: str, y: str, colour: str, linestyle: str = "-") -> None:
    sns.lineplot(
        data=points,
        x=x,
        y=y,
        color=colour,
        marker="o",
        linestyle=linestyle,
        estimator=None,
        sort=False,
        ax=axes,
    )
