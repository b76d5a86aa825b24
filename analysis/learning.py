"""Learning curves of a few configurations: validation accuracy by epoch, with the range over seeds."""

from typing import NamedTuple

import pandas as pd
from matplotlib.ticker import MaxNLocator

from analysis.scale import percent_axis
from analysis.statistics import summarise
from analysis.style import COLOURS, MARKERS, PAPER, StudyFigure, head, new_figure, styled
from analysis.table import ACCURACIES, scored
from analysis.wording import percent, seeds_text


class Course(NamedTuple):
    """One configuration's way: `role` is why it is shown.

    `epochs` has a row an epoch: `epoch` (from 1), `mean`, `low`, `high` (the least and the most of the
    seeds) and `n` (seeds that have reached it).
    """

    role: str
    name: str
    epochs: pd.DataFrame


def shown_configurations(frame: pd.DataFrame, metric: str = "test_top1") -> dict[str, str]:
    """Return the roles, by `config_id`, of the configurations whose courses are drawn.

    "chosen" has the best mean validation accuracy, "best" and "worst" the extreme means of `metric`. One
    configuration may have two roles ("chosen and best").
    """
    found = summarise(frame, metric)
    found = found[found["n"] > 0]
    validated = summarise(frame, metric.replace("test_", "val_"))
    validated = validated[validated["config_id"].isin(found["config_id"]) & (validated["n"] > 0)]
    if found.empty or validated.empty:
        return {}
    parts = {
        "chosen": validated["config_id"].iloc[int(validated["mean"].argmax())],
        "best": found["config_id"].iloc[int(found["mean"].argmax())],
        "worst": found["config_id"].iloc[int(found["mean"].argmin())],
    }
    roles: dict[str, str] = {}
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
                {"mean": values.mean(), "low": values.min(), "high": values.max(), "n": values.size()}
            ).reset_index()
            table["epoch"] += 1
            found.append(Course(role, str(members["name"].iloc[0]), table))
    return found


def draw_courses(found: list[Course], metric: str = "test_top1") -> StudyFigure:
    """Draw a line a configuration, with a band from the least to the most of its seeds."""
    column = "val_" + metric.partition("_")[2]
    with styled():
        figure = new_figure(7.0, 4.2)
        numbers = seeds_text([n for course in found for n in course.epochs["n"]])
        head(
            figure,
            f"{ACCURACIES[column].capitalize()} while training",
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
    return f"Mean validation accuracy: {each}."
