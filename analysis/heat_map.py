"""Accuracy over two axes as a heat map, of full and of partial grids."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from analysis.blocks import Block, blocks, grid_size, level_of, levels
from analysis.statistics import summarise
from analysis.style import PAPER, SOFT, TEXT_ON_DARK, TEXT_ON_PALE, StudyFigure, head, new_figure, styled, tip
from analysis.table import ACCURACIES, records
from analysis.wording import count_text, estimate_text, seeds_text, value_text

COLOUR_MAP = "cividis"
"""Even in lightness, and nearly the same for every eye."""

MOST_WITH_TEXT = 12
"""Columns that leave room for numbers in the cells."""

PALE_FROM = 0.475
"""Where the colours turn from dark to pale: on either side text has a contrast of 4.5 at least."""

FEWEST_FILLED = 0.2
"""Share of a grid's cells that are in the study; with fewer, two axes are points and no grid."""


class HeatMap(NamedTuple):
    """One sweep block along two keys, on the data set `data`.

    `x_levels` and `y_levels` are the values in words, from left to right and from the bottom to the top.
    `cells` has a row a configuration: `column`, `row`, `name`, `mean`, `low`, `high` and `n`; n is 0 where
    nothing is finished. A cell without a row is a point that is not in the study.
    """

    sweep: str
    data: str
    x: str
    y: str
    x_levels: tuple[str, ...]
    y_levels: tuple[str, ...]
    cells: pd.DataFrame


def heat_maps(frame: pd.DataFrame, metric: str = "test_top1") -> list[HeatMap]:
    """Return a map for each block along which exactly two keys vary, the longer axis on x."""
    found = (_heat_map(block) for block in blocks(summarise(frame, metric)) if len(block.keys) == 2)
    return [heat_map for heat_map in found if heat_map is not None]


def _heat_map(block: Block) -> HeatMap | None:
    members = block.members
    sparse = len(members) < FEWEST_FILLED * grid_size(block)
    if sparse or block.finished.empty:
        return None
    x, y = sorted(block.keys, key=lambda key: -len(levels(members[key])))
    cells = members.assign(column=level_of(members[x]), row=level_of(members[y]))
    words = [tuple(value_text(value) for value in levels(members[key])) for key in (x, y)]
    kept = ["column", "row", "name", "mean", "low", "high", "n"]
    return HeatMap(block.sweep, block.data, x, y, *words, cells[kept].reset_index(drop=True))


def draw_heat_map(found: HeatMap, metric: str = "test_top1") -> StudyFigure:
    """Draw a cell a configuration, with its mean and n where there is room; what is missing is marked."""
    columns, rows = len(found.x_levels), len(found.y_levels)
    done = found.cells[found.cells["n"] > 0]
    written = columns <= MOST_WITH_TEXT and rows <= 2 * MOST_WITH_TEXT
    with styled():
        width = min(max(5.2, 1.6 + 0.85 * columns), 11.5)
        figure = new_figure(width, min(1.9 + (0.52 if written else 0.3) * rows, 13.0))
        numbers = seeds_text(list(done["n"]))
        inside = f"In the cells: mean in % over seeds ({numbers})" if written else f"Means over {numbers}"
        missing = columns * rows - len(found.cells)
        waiting = len(found.cells) - len(done)
        notes = [
            f"{count_text(missing, 'cell')} not in the study (empty)" if missing else "",
            f"{waiting} without a result (hatched)" if waiting else "",
        ]
        title = f"{ACCURACIES[metric].capitalize()} over {found.x} and {found.y}"
        head(
            figure,
            title,
            "; ".join(filter(None, [inside, *notes])) + f". Sweep: {found.sweep}; data: {found.data}.",
        )
        axes = figure.subplots()
        _draw_cells(axes, done, written=written)
        for row in records(found.cells[found.cells["n"] == 0]):
            corner = (row["column"] - 0.5, row["row"] - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=SOFT, hatch="////", linewidth=0))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5), xlabel=found.x, ylabel=found.y)
        _ticks(axes, found)
    return figure


def _draw_cells(axes: Axes, done: pd.DataFrame, *, written: bool) -> None:
    boxes = [
        Rectangle((column - 0.5, row - 0.5), 1, 1)
        for column, row in zip(done["column"], done["row"], strict=True)
    ]
    cells = PatchCollection(boxes, cmap=COLOUR_MAP, edgecolor=PAPER, linewidth=1.5 if written else 0.3)
    low, span = done["mean"].min(), float(np.ptp(done["mean"])) or 1.0
    cells.set(array=100 * done["mean"].to_numpy(dtype=np.float64), clim=(100 * low, 100 * (low + span)))
    axes.add_collection(cells)
    tip(cells, (f"{row['name']}: {estimate_text(row)}" for row in records(done)))
    if not written:
        scale_bar(axes, cells, "mean, %")
        return
    for row in records(done):
        colour = TEXT_ON_PALE if (row["mean"] - low) / span > PALE_FROM else TEXT_ON_DARK
        text = f"{100 * row['mean']:.1f}\nn = {row['n']}"
        axes.text(row["column"], row["row"], text, ha="center", va="center", fontsize=7.5, color=colour)


def scale_bar(axes: Axes, mappable: ScalarMappable, label: str) -> None:
    """Draw the scale of the colours on the right, as shapes and not as an image."""
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(mappable, ax=axes, label=label, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    assert bar.solids is not None
    bar.solids.set(rasterized=False, edgecolor="face")


def _ticks(axes: Axes, found: HeatMap) -> None:
    """Write the values beside the cells, evenly spaced ones where there are too many."""
    for axis, words, most in ((axes.xaxis, found.x_levels, 24), (axes.yaxis, found.y_levels, 30)):
        at = np.unique(np.linspace(0, len(words) - 1, min(len(words), most)).round().astype(int))
        axis.set_ticks(at, [words[i] for i in at])
    if sum(len(word) + 2 for word in found.x_levels) > 70:
        axes.tick_params(axis="x", labelrotation=45)


def told(found: HeatMap) -> str:
    """Return the map in one sentence, for who cannot see it."""
    done = found.cells[found.cells["n"] > 0].sort_values("mean", kind="stable")
    first, last = records(done)[0], records(done)[-1]
    return (
        f"{found.sweep}: {count_text(len(done), 'cell')} over {found.x} and {found.y}, the lowest "
        f"{first['name']} at {estimate_text(first)}, the highest {last['name']} at {estimate_text(last)}."
    )
