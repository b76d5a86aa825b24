"""Learning curves of a few configurations: validation accuracy by epoch, with the range over seeds."""

from typing import NamedTuple

import pandas as pd
from matplotlib.ticker import MaxNLocator

from analysis.scale import percent_axis
from analysis.selection import chosen
from analysis.statistics import comparable, summarise
from analysis.style import COLOURS, MARKERS, PAPER, StudyFigure, head, new_figure, styled
from analysis.table import ACCURACIES, scored
from analysis.wording import percent, seeds_text


class Course(NamedTuple):
    """One configuration's way on the data set `data`: `role` is why it is shown.

    `epochs` has a row an epoch: `epoch` (from 1), `mean`, `low`, `high` (the least and the most of the
    seeds) and `n` (seeds that have reached it).
    """

    role: str
    name: str
    data: str
    epochs: pd.DataFrame


def shown_configurations(frame: pd.DataFrame, metric: str = "test_top1") -> dict[str, str]:
    """Return the roles, by `config_id`, of the configurations whose courses are drawn, on each data set.

    "chosen" is what validation chooses (`analysis.selection`), "best" and "worst" have the extreme means of
    `metric`, and of equal ones the first in the plan. One configuration may have two roles ("chosen and
    best").
    """
    roles: dict[str, str] = {}
    for _, rows in frame.groupby("data.name", sort=False):
        found = summarise(rows, metric)
        found = found[found["n"] > 0]
        choice = chosen(rows, by=metric.replace("test_", "val_"))
        if found.empty or choice is None:
            continue
        means = comparable(found["mean"])
        parts = {
            "chosen": choice.config_id,
            "best": found["config_id"].iloc[int(means.argmax())],
            "worst": found["config_id"].iloc[int(means.argmin())],
        }
        for role, config in parts.items():
            roles[config] = f"{roles[config]} and {role}" if config in roles else role
    return roles


def courses(
    frame: pd.DataFrame, epochs: pd.DataFrame, roles: dict[str, str], metric: str = "test_top1"
) -> list[Course]:
    """Return the courses of some configurations over their scored trials.

    `epochs` has a row an epoch of a trial: `id`, `epoch` (from 0) and the validation metrics, as in the
    trials' `metrics.jsonl` (`analysis.trials.epochs_of`).
    """
    column = "val_" + metric.partition("_")[2]
    trials = scored(frame, metric)
    found = []
    for config, role in roles.items():
        members = trials[trials["config_id"] == config]
        lines = epochs[epochs["id"].isin(members["id"])]
        if not lines.empty:
            values = lines.groupby("epoch")[column]
            table = pd.DataFrame(
                {"mean": values.mean(), "low": values.min(), "high": values.max(), "n": values.count()}
            ).reset_index()
            table["epoch"] += 1
            first = members.iloc[0]
            found.append(Course(role, str(first["name"]), str(first["data.name"]), table))
    return found


def draw_courses(found: list[Course], metric: str = "test_top1") -> StudyFigure:
    """Draw a line a configuration of one data set, with a band from the least to the most of its seeds."""
    column = "val_" + metric.partition("_")[2]
    with styled():
        figure = new_figure(7.0, 4.2)
        numbers = seeds_text([n for course in found for n in course.epochs["n"]])
        head(
            figure,
            f"{ACCURACIES[column].capitalize()} while training: {found[0].data}",
            f"Lines: mean over seeds ({numbers}). Bands: from the least to the most of the seeds. Chosen by "
            f"validation; best and worst by {ACCURACIES[metric]}.",
        )
        axes = figure.subplots()
        for course, colour, marker in zip(found, COLOURS, MARKERS, strict=False):
            table = course.epochs
            axes.fill_between(
                table["epoch"], table["low"], table["high"], color=colour, alpha=0.18, linewidth=0
            )
            axes.plot(
                table["epoch"],
                table["mean"],
                color=colour,
                marker=marker,
                markersize=5,
                markeredgecolor=PAPER,
                markevery=max(1, len(table) // 12),
            )
        axes.set(xlabel="epoch", ylabel=ACCURACIES[column])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        percent_axis(axes)
        legend = axes.legend(axes.lines, ["."] * len(axes.lines), loc="best")
        for text, course in zip(legend.get_texts(), found, strict=True):
            text.set_text(f"{course.role}: {_cut(course.name)}")
    return figure


def _cut(name: str, most: int = 64) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def told(found: list[Course]) -> str:
    """Return the courses in one sentence, for who cannot see them."""
    each = "; ".join(
        f"{course.role} ({course.name}) from {percent(course.epochs['mean'].iloc[0])} after epoch "
        f"{course.epochs['epoch'].iloc[0]} to {percent(course.epochs['mean'].iloc[-1])} after epoch "
        f"{course.epochs['epoch'].iloc[-1]}"
        for course in found
    )
    return f"Mean validation accuracy on {found[0].data}: {each}."
