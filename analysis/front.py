"""Accuracy against size: every configuration of a study, and the Pareto front among them."""

from typing import NamedTuple

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.labels import add_labels, labelled
from analysis.statistics import pareto_front, summarise
from analysis.style import (
    COLOURS,
    INK,
    MARKERS,
    SOFT,
    freeze_layout,
    head,
    new_figure,
    percent_axis,
    size_axis,
    styled,
    whiskers,
)
from analysis.table import ACCURACIES
from analysis.wording import seeds_text


class Front(NamedTuple):
    """`points` has name, group, bytes_fp32, mean, low, high, n and on_front, by size; `groups` in plan order.

    A group is the sweep that a configuration is a member of, or several of them ("a + b"). Beyond as many
    as there are markers, the rest is one group, "other sweeps".
    """

    points: pd.DataFrame
    groups: tuple[str, ...]


def front(frame: pd.DataFrame, metric: str = "test_top1") -> Front:
    """Return the configurations that have a mean, and which of them nothing beats."""
    summary = summarise(frame, metric)
    points = summary[summary["n"] > 0]
    group = points["sweeps"].str.replace(";", " + ", regex=False)
    groups = tuple(sorted(dict.fromkeys(group), key=lambda name: " + " in name))
    if len(groups) > len(MARKERS):
        groups = (*groups[: len(MARKERS) - 1], "other sweeps")
        group = group.where(group.isin(groups), groups[-1])
    points = points.assign(group=group, on_front=pareto_front(points["bytes_fp32"], points["mean"]))
    points = points.sort_values(["bytes_fp32", "mean"], kind="stable").reset_index(drop=True)
    return Front(points[["name", "group", "bytes_fp32", "mean", "low", "high", "n", "on_front"]], groups)


def draw_front(found: Front, metric: str = "test_top1") -> Figure:
    """Draw every configuration by size, coloured by sweep, with the front of the means as a step line."""
    points, best = found.points, found.points[found.points["on_front"]]
    with styled():
        figure = new_figure(8.2, 5.4)
        head(
            figure,
            f"{ACCURACIES[metric].capitalize()} against model size",
            f"Points: mean over seeds ({seeds_text(list(points['n']))}). Whiskers: 95 % t interval. "
            f"Line: Pareto front of the means, {len(best)} of {len(points)} configurations.",
        )
        axes = figure.subplots()
        whiskers(axes, points, "bytes_fp32", SOFT)
        axes.step(best["bytes_fp32"], best["mean"], where="post", color=INK, linewidth=1.2, zorder=1.5)
        colours, markers = (dict(zip(found.groups, kind, strict=False)) for kind in (COLOURS, MARKERS))
        sns.scatterplot(
            data=points,
            x="bytes_fp32",
            y="mean",
            hue="group",
            hue_order=found.groups,
            style="group",
            style_order=found.groups,
            palette=colours,
            markers=markers,
            s=52,
            zorder=3,
            legend=False,
            ax=axes,
        )
        axes.set(
            xlabel="model size (32-bit parameters; logarithmic axis)", ylabel=f"mean {ACCURACIES[metric]}"
        )
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.15)
        size_axis(axes)
        percent_axis(axes)
        _legend(axes, found.groups)
        freeze_layout(figure)
        chosen = labelled(best)
        texts = [_label(point) for point in chosen["name"]]
        add_labels(axes, list(chosen["bytes_fp32"]), list(chosen["mean"]), texts)
    return figure


def _legend(axes: Axes, groups: tuple[str, ...]) -> None:
    """Name the groups; the texts are set afterwards, since a legend drops labels that begin with "_"."""
    handles = [
        Line2D([], [], linestyle="none", markersize=7, color=colour, marker=marker)
        for _, colour, marker in zip(groups, COLOURS, MARKERS, strict=False)
    ]
    legend = axes.legend(handles, ["."] * len(handles), loc="lower right", title="sweep", alignment="left")
    for text, group in zip(legend.get_texts(), groups, strict=True):
        text.set_text(group)


def _label(name: str, width: int = 34) -> str:
    """Return a configuration's name with a line for each key, each cut to a width that fits."""
    lines = name.split(", ")
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in lines)
