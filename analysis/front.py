"""Accuracy against size: every configuration of a study, and the Pareto front among them."""

import textwrap
from typing import NamedTuple

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.fronts import membership
from analysis.labels import add_labels, evenly
from analysis.quantity import quantity_of, size_axis, sized
from analysis.scale import accuracy_axis, edge_marks, finish_axis, frame_limits, placed
from analysis.statistics import pareto_front, summarise
from analysis.style import (
    COLOURS,
    INK,
    MARKERS,
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
from analysis.wording import count_text, estimate_text, seeds_text, whiskers_text


class Front(NamedTuple):
    """The configurations on one data set, by size, and the groups that they belong to, in plan order.

    `points` has config_id, name, group, size, mean, low, high, n and on_front; also `probability`, of being
    on the front with other seeds, where that is known. Validation selects: on the front is what no other
    beats in mean *validation* accuracy and size, and `mean` is what it then has on the test set. A group is
    the sweep that a configuration is a member of, or several of them ("a + b"). Beyond as many as there are
    markers, the rest is one group, "other sweeps". `left_out` says which trials do not count, "" where all
    do.
    """

    data: str
    points: pd.DataFrame
    groups: tuple[str, ...]
    left_out: str


def probability(frame: pd.DataFrame, metric: str = "test_top1") -> pd.Series:
    """Return how probably each configuration is on its front of bytes, by `config_id`; NaN where unknown."""
    points = membership(frame, by=metric.replace("test_", "val_")).points
    return points.set_index("config_id")["probability"]


def fronts(
    frame: pd.DataFrame,
    metric: str = "test_top1",
    size: str = "bytes_fp32",
    probabilities: pd.Series | None = None,
) -> list[Front]:
    """Return, for each data set, the configurations that have a mean, and which of them validation selects.

    `probabilities` are those of `probability`, where the figure shows them.
    """
    summary = sized(summarise(frame, metric), frame, quantity_of(size), metric)
    validated = summarise(frame, metric.replace("test_", "val_")).set_index("config_id")["mean"]
    points = summary.assign(selecting=summary["config_id"].map(validated))[summary["n"] > 0]
    if probabilities is not None:
        points = points.assign(probability=points["config_id"].map(probabilities).astype("float64"))
    lacking = {data: left_out_text(rows, metric) for data, rows in frame.groupby("data.name")}
    return [
        _front(str(data), members, lacking[data]) for data, members in points.groupby("data.name", sort=False)
    ]


def _front(data: str, points: pd.DataFrame, lacking: str) -> Front:
    group = points["sweeps"].str.replace(";", " + ", regex=False)
    groups = tuple(sorted(dict.fromkeys(group), key=lambda name: " + " in name))
    if len(groups) > len(MARKERS):
        groups = (*groups[: len(MARKERS) - 1], "other sweeps")
        group = group.where(group.isin(groups), groups[-1])
    points = points.assign(group=group, on_front=pareto_front(points["size"], points["selecting"]))
    columns = ["config_id", "name", "group", "size", "mean", "low", "high", "n", "on_front"]
    kept = [*columns, *(["probability"] if "probability" in points else [])]
    return Front(
        data, points[kept].sort_values("size", kind="stable").reset_index(drop=True), groups, lacking
    )


def draw_front(
    found: Front, metric: str = "test_top1", size: str = "bytes_fp32", *, error: bool = False
) -> StudyFigure:
    """Draw every configuration, the front as a step line, and the names of the points on it."""
    quantity = quantity_of(size)
    points = placed(found.points, error=error)
    best = points[points["on_front"]]
    with styled():
        figure = new_figure(8.2, 5.8)
        title = ACCURACIES[metric].replace("accuracy", "error") if error else ACCURACIES[metric]
        head(figure, f"{title.capitalize()} against {quantity.noun}", _subtitle(points, found.left_out))
        axes = figure.subplots()
        few = points if len(points) <= MOST_WHISKERS else best
        whiskers(axes, few, "size", SOFT, columns=("y_low", "y_high"))
        axes.step(best["size"], best["y"], where="post", color=INK, linewidth=1.2, zorder=1.5)
        _draw_points(axes, points, found.groups)
        axes.set_xlabel(f"{quantity.label}; logarithmic axis")
        accuracy_axis(axes, metric, error=error, data=f"{found.data}: mean")
        axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.set_ylim(*frame_limits(points, error=error))
        size_axis(axes, quantity)
        finish_axis(axes, error=error)
        edge_marks(axes, points, "size")
        _legend(figure, found.groups)
        freeze_layout(figure)
        chosen = evenly(best)
        texts = [_label(row) for row in records(chosen)]
        add_labels(axes, list(chosen["size"]), list(chosen["y"]), texts)
    return figure


MOST_LINES = 3
"""Lines of a label with a key each."""

MOST_WHISKERS = 40
"""With more points than these only those on the front have their intervals drawn."""


def _subtitle(points: pd.DataFrame, lacking: str) -> str:
    best = points[points["on_front"]]
    few = len(points) <= MOST_WHISKERS
    intervals = whiskers_text((points if few else best)["low"], "" if few else " of the points on the front")
    chance = (
        " In brackets: how probably a point stays on the front with other seeds."
        if "probability" in points
        else ""
    )
    numbers = seeds_text(list(points["n"]))
    if len(points) == 1:
        alone = "One configuration, so there is nothing to compare"
        return f"{alone}: mean over seeds ({numbers}). {intervals} {lacking}"
    return (
        f"Points: mean over seeds ({numbers}). {intervals} "
        f"Line: Pareto front of the mean validation accuracies, {len(best)} of "
        f"{count_text(len(points), 'configuration')}.{chance} {lacking}"
    )


def _draw_points(axes: Axes, points: pd.DataFrame, groups: tuple[str, ...]) -> None:
    """Draw the points of each group with a colour and a marker of its own."""
    crowd = len(points) > 300
    for group, colour, marker in zip(groups, COLOURS, MARKERS, strict=False):
        members = points[points["group"] == group]
        sns.scatterplot(
            data=members,
            x="size",
            y="y",
            color=colour,
            marker=marker,
            s=18 if crowd else 52,
            edgecolor=PAPER,
            alpha=0.75 if crowd else 1,
            zorder=3,
            legend=False,
            ax=axes,
        )
        tip(axes.collections[-1], (_tip(row) for row in records(members)))


def _tip(row: dict) -> str:
    chance = f"; on the front with probability {row['probability']:.2f}" if _has_chance(row) else ""
    return f"{row['name']}: {estimate_text(row)}{chance}"


def _has_chance(row: dict) -> bool:
    return row.get("probability", float("nan")) >= 0  # a NaN is not


def _legend(figure: StudyFigure, groups: tuple[str, ...]) -> None:
    """Name the groups; the texts are set afterwards, since a legend drops labels that begin with "_"."""
    handles = [
        Line2D([], [], linestyle="none", markersize=7, color=colour, marker=marker, markeredgecolor=PAPER)
        for _, colour, marker in zip(groups, COLOURS, MARKERS, strict=False)
    ]
    texts = [group if len(group) <= 40 else group[:39] + "…" for group in groups]
    columns = max(1, min(len(groups), 96 // (max(map(len, texts)) + 6)))
    legend = figure.legend(handles, ["."] * len(handles), loc="outside lower center", ncols=columns)
    for text, group in zip(legend.get_texts(), texts, strict=True):
        text.set_text(group)


def _label(row: dict, width: int = 34) -> str:
    """Return a configuration's name with a line for each key, of many with several in one, cut to a width.

    A recipe and a preset say what they are.
    """
    parts = [part.removeprefix("recipe=").removeprefix("preset=") for part in row["name"].split(", ")]
    lines = parts
    if len(parts) > MOST_LINES:
        lines = textwrap.wrap(", ".join(parts), width, break_long_words=False, break_on_hyphens=False)
    cut = [line if len(line) <= width else line[: width - 1] + "…" for line in lines]
    return "\n".join([*cut, *([f"({100 * row['probability']:.0f} %)"] if _has_chance(row) else [])])


def told(found: Front, size: str = "bytes_fp32") -> str:
    """Return the front in one sentence, for who cannot see it."""
    best = found.points[found.points["on_front"]]
    quantity = quantity_of(size)
    each = "; ".join(
        f"{row['name']} at {quantity.text(row['size'])}: {estimate_text(row)}"
        for row in records(evenly(best))
    )
    return f"{len(best)} of {count_text(len(found.points), 'configuration')} are on the front: {each}."
