"""What each key of a full grid does by itself, and whether that depends on another key.

In a full grid every level of one key meets every level of the others, so a mean over all else is a fair one.
The unit is the seed: for each seed the accuracies at a level are averaged over the rest of the grid; the
interval is Student's t over those averages. A seed of which more than a twentieth of the configurations is
not scored is left out; smaller gaps are counted, since then the means are fair only nearly. Lines that are
not parallel are an interaction.
"""

from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.blocks import Block, blocks, grid_size, levels
from analysis.scale import frame_limits, percent_axis, placed
from analysis.statistics import mean_interval, summarise
from analysis.style import COLOURS, MARKERS, PAPER, StudyFigure, head, new_figure, styled, tip, whiskers
from analysis.table import ACCURACIES, records, scored
from analysis.wording import count_text, estimate_text, percent, value_text

MOST_KEYS = 4
MOST_LEVELS = 7
"""Levels that lines tell apart."""

FEWEST_SCORED = 0.95
"""Share of a seed's configurations that must be scored."""

DODGE = 0.07
"""How far the lines of a panel stand apart, in levels."""


class Interactions(NamedTuple):
    """A full grid of a sweep block, on the data set `data`, over `seeds` replicates that lack `gaps` trials.

    `levels` has the values of each key in words. `main` has a row a level: `key`, `level` (its place),
    `mean`, `low`, `high` and `n` (seeds). `pairs` has a row a pair of levels of two keys: `key`, `level`,
    `by`, `by_level`, and the same.
    """

    sweep: str
    data: str
    seeds: int
    gaps: int
    levels: dict[str, tuple[str, ...]]
    main: pd.DataFrame
    pairs: pd.DataFrame


def interactions(frame: pd.DataFrame, metric: str = "test_top1") -> list[Interactions]:
    """Return the full grids over two to four keys of at most seven levels with a replicate."""
    trials = scored(frame, metric)
    found = (_interactions(block, trials, metric) for block in blocks(summarise(frame, metric)))
    return [grid for grid in found if grid is not None]


def _interactions(block: Block, trials: pd.DataFrame, metric: str) -> Interactions | None:
    keys, members = block.keys, block.members
    if not 2 <= len(keys) <= MOST_KEYS or len(members) != grid_size(block):
        return None
    values = {key: levels(members[key]) for key in keys}
    if max(map(len, values.values())) > MOST_LEVELS:
        return None
    trials = trials[trials["config_id"].isin(members["config_id"])]
    scored_of = trials.groupby("seed")["config_id"].nunique()
    kept = scored_of[scored_of >= FEWEST_SCORED * len(members)]
    trials = trials[trials["seed"].isin(kept.index)]
    if trials.empty:
        return None
    places = pd.DataFrame(
        {key: trials[key].map({v: i for i, v in enumerate(found)}) for key, found in values.items()}
    )
    table = places.assign(seed=trials["seed"], accuracy=trials[metric])
    main = [row for key in keys for row in _means(table, [key])]
    pairs = [row for two in permutations(keys, 2) for row in _means(table, list(two))]
    words = {key: tuple(value_text(value) for value in found) for key, found in values.items()}
    gaps = len(kept) * len(members) - len(trials)
    return Interactions(
        block.sweep, block.data, len(kept), gaps, words, pd.DataFrame(main), pd.DataFrame(pairs)
    )


def _means(table: pd.DataFrame, keys: list[str]) -> list[dict[str, object]]:
    """Return the mean over seeds at each level, or pair of levels, of the averages over all else."""
    rows = []
    for place, members in table.groupby(keys):
        found = mean_interval(members.groupby("seed")["accuracy"].mean())
        named = zip((("key", "level"), ("by", "by_level")), keys, place, strict=False)
        where = {name: value for two, *pair in named for name, value in zip(two, pair, strict=True)}
        low, high = (np.nan if end is None else end for end in (found.low, found.high))
        rows.append({**where, "mean": found.mean, "low": low, "high": high, "n": found.n})
    return rows


def draw_interactions(found: Interactions, metric: str = "test_top1") -> StudyFigure:
    """Draw main effects on the diagonal, and beside it each key's lines at the levels of another."""
    keys = list(found.levels)
    side = len(keys)
    with styled():
        figure = new_figure(min(3.6 * side, 12.0), 0.8 + 2.6 * side)
        head(
            figure,
            f"Main effects and interactions: {found.sweep}, {found.data}",
            f"Mean {ACCURACIES[metric]} over the rest of the grid and over seeds (n = {found.seeds}); "
            "whiskers: 95 % t interval. On the diagonal one key by itself; elsewhere a line a level of the "
            f"row's key: lines that are not parallel are an interaction.{_gaps(found)}",
        )
        panels = figure.subplots(side, side, squeeze=False, sharey=True)
        for i, row in enumerate(keys):
            for j, column in enumerate(keys):
                axes = panels[i][j]
                _draw_panel(axes, found, column, None if i == j else row)
                if j == 0:
                    axes.set_ylabel(ACCURACIES[metric])
        limits = frame_limits(placed(pd.concat([found.main, found.pairs]), error=False), error=False)
        for axes in panels.ravel():
            axes.margins(x=0.14)
            axes.set_ylim(*limits)
            percent_axis(axes)
    return figure


def _gaps(found: Interactions) -> str:
    return f" {count_text(found.gaps, 'trial')} of these seeds missing." if found.gaps else ""


def _draw_panel(axes: Axes, found: Interactions, key: str, group: str | None) -> None:
    words = found.levels[key]
    if group is None:
        _draw_line(axes, found.main[found.main["key"] == key], words, (0, 1), key)
        axes.set_title(f"{key} by itself", fontsize=9)
    else:
        rows = found.pairs[(found.pairs["key"] == key) & (found.pairs["by"] == group)]
        lines = found.levels[group]
        for place, level in enumerate(lines):
            at = rows[rows["by_level"] == place]
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
        for text, level in zip(legend.get_texts(), found.levels[group], strict=True):
            text.set_text(level if len(level) <= 14 else level[:13] + "…")
    axes.set_xticks(range(len(words)), words)
    axes.set_xlabel(key)


def _draw_line(
    axes: Axes, rows: pd.DataFrame, words: tuple[str, ...], place: tuple[int, int], name: str
) -> None:
    """Draw one line of several; each stands a little aside, so that no whisker hides another."""
    line, of = place
    aside = DODGE * (line - (of - 1) / 2)
    points = placed(rows, error=False).assign(x=rows["level"] + aside)
    whiskers(axes, points, "x", COLOURS[line], columns=("y_low", "y_high"))
    axes.plot(points["x"], points["y"], color=COLOURS[line], marker=MARKERS[line], markeredgecolor=PAPER)
    tip(axes.lines[-1], (f"{name}, {words[row['level']]}: {estimate_text(row)}" for row in records(points)))


def told(found: Interactions) -> str:
    """Return the main effects in one sentence, for who cannot see them."""
    each = "; ".join(
        f"{key} "
        + ", ".join(
            f"{word}: {percent(mean)}"
            for word, mean in zip(words, found.main[found.main["key"] == key]["mean"], strict=True)
        )
        for key, words in found.levels.items()
    )
    return f"Main effects of {found.sweep}, means over the rest of the grid: {each}."
