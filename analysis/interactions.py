"""What each key of a full grid does by itself, and whether that depends on another key, as lines.

In a full grid every level of one key meets every level of the others, so a mean over all else is a fair one.
The means and their intervals are those of `analysis.factorial`. Lines that are not parallel are an
interaction.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.factorial import BESIDE, Effects, effects
from analysis.scale import frame_limits, percent_axis, placed
from analysis.style import COLOURS, MARKERS, PAPER, StudyFigure, head, new_figure, styled, tip, whiskers
from analysis.table import ACCURACIES, records
from analysis.wording import count_text, percent, percent_interval

MOST_KEYS = 4
MOST_LEVELS = 7
"""Levels that lines tell apart."""

DODGE = 0.07
"""How far the lines of a panel stand apart, in levels."""


def interactions(frame: pd.DataFrame, metric: str = "test_top1") -> list[Effects]:
    """Return the effects that lines can show: of full grids over two to four keys of at most seven levels."""
    return [found for found in effects(frame, metric) if _drawable(found)]


def _drawable(found: Effects) -> bool:
    return (
        found.mean is not None
        and 2 <= len(found.keys) <= MOST_KEYS
        and max(len(main_effects(found, key)) for key in found.keys) <= MOST_LEVELS
    )


def main_effects(found: Effects, key: str) -> pd.DataFrame:
    """Return the rows of one key by itself, in the order of its levels."""
    return found.levels[found.levels["term"] == key].reset_index(drop=True)


def line_of(found: Effects, key: str, group: str, place: int) -> pd.DataFrame:
    """Return the means along one key at the level `place` of another, in the order of the levels."""
    swapped = found.keys.index(group) < found.keys.index(key)
    term = BESIDE.join((group, key) if swapped else (key, group))
    rows = found.levels[found.levels["term"] == term]
    at = np.arange(len(rows)).reshape(-1, len(main_effects(found, key if swapped else group)))
    return rows.iloc[at[place] if swapped else at[:, place]].reset_index(drop=True)


def draw_interactions(found: Effects, metric: str = "test_top1") -> StudyFigure:
    """Draw main effects on the diagonal, and beside it each key's lines at the levels of another."""
    keys = found.keys
    side = len(keys)
    with styled():
        figure = new_figure(min(3.6 * side, 12.0), 0.8 + 2.6 * side)
        head(
            figure,
            f"Main effects and interactions: {found.sweep}, {found.data}",
            f"Mean {ACCURACIES[metric]} over the rest of the grid: {_told_n(found)}. {_told_whiskers(found)} "
            "On the diagonal one key by itself; elsewhere a line a level of the row's key: lines that are "
            "not parallel are an interaction.",
        )
        panels = figure.subplots(side, side, squeeze=False, sharey=True)
        for i, row in enumerate(keys):
            for j, column in enumerate(keys):
                axes = panels[i][j]
                _draw_panel(axes, found, column, None if i == j else row)
                if j == 0:
                    axes.set_ylabel(ACCURACIES[metric])
        drawn = found.levels[["mean", "mean_low", "mean_high"]].set_axis(["mean", "low", "high"], axis=1)
        limits = frame_limits(placed(drawn, error=False), error=False)
        for axes in panels.ravel():
            axes.margins(x=0.14)
            axes.set_ylim(*limits)
            percent_axis(axes)
    return figure


def _told_n(found: Effects) -> str:
    return f"{count_text(found.trials, 'trial')} in {count_text(found.cells, 'cell')}"


def _told_whiskers(found: Effects) -> str:
    return f"No whiskers: {found.note}." if found.note else "Whiskers: 95 % t interval, variance pooled."


def _draw_panel(axes: Axes, found: Effects, key: str, group: str | None) -> None:
    words = tuple(main_effects(found, key)["level"])
    if group is None:
        _draw_line(axes, main_effects(found, key), words, (0, 1), key)
        axes.set_title(f"{key} by itself", fontsize=9)
    else:
        lines = list(main_effects(found, group)["level"])
        for place, level in enumerate(lines):
            at = line_of(found, key, group, place)
            _draw_line(axes, at, words, (place, len(lines)), f"{group} = {level}")
        legend = axes.legend(
            axes.lines,
            ["."] * len(axes.lines),
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=min(4, len(axes.lines)),
            fontsize=7.5,
            title=group,
            title_fontsize=8,
            alignment="left",
            columnspacing=1.2,
            handlelength=1.6,
            borderpad=0.2,
        )
        for text, level in zip(legend.get_texts(), lines, strict=True):
            text.set_text(level if len(level) <= 14 else level[:13] + "…")
    axes.set_xticks(range(len(words)), words)
    axes.set_xlabel(key)


def _draw_line(
    axes: Axes, rows: pd.DataFrame, words: tuple[str, ...], place: tuple[int, int], name: str
) -> None:
    """Draw one line of several; each stands a little aside, so that no whisker hides another."""
    line, of = place
    aside = DODGE * (line - (of - 1) / 2)
    means = rows[["mean", "mean_low", "mean_high"]].set_axis(["mean", "low", "high"], axis=1)
    points = placed(means, error=False).assign(x=np.arange(len(rows)) + aside)
    whiskers(axes, points, "x", COLOURS[line], columns=("y_low", "y_high"))
    axes.plot(points["x"], points["y"], color=COLOURS[line], marker=MARKERS[line], markeredgecolor=PAPER)
    texts = (
        f"{name}, {word}: {percent(row['mean'])}{_interval(row)}"
        for word, row in zip(words, records(means), strict=True)
    )
    tip(axes.lines[-1], texts)


def _interval(row: dict) -> str:
    interval = percent_interval(row["low"], row["high"])
    return f" (95 % interval {interval})" if interval else ""


def told(found: Effects) -> str:
    """Return the main effects in one sentence, for who cannot see them."""
    each = "; ".join(
        f"{key} "
        + ", ".join(f"{row['level']}: {percent(row['mean'])}" for row in records(main_effects(found, key)))
        for key in found.keys
    )
    pairs = found.terms[found.terms["term"].str.contains(BESIDE, regex=False)]["share"].sum()
    return (
        f"Main effects of {found.sweep}, means over the rest of the grid ({_told_n(found)}): {each}. Of the "
        f"variance between the cells interactions of two keys have {percent(pairs)}."
    )
