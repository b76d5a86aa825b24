"""What each layer loses when it alone is pruned: a figure and a table of a sensitivity scan."""

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns

from analysis.heat_map import COLOUR_MAP, PALE_FROM
from analysis.style import (
    PAPER,
    TEXT_ON_DARK,
    TEXT_ON_PALE,
    StudyFigure,
    head,
    new_figure,
    styled,
    write_figure,
)
from analysis.table_files import write_table
from sqzx.compression.sensitivity import Scan

DEEPEST = 30.0
"""Points from which all losses have one colour: beyond, a layer is lost."""


def losses(found: Scan) -> pd.DataFrame:
    """Return the points of top-1 that each layer costs: a row a layer, a column a density, the largest first.

    The index has the name of a layer and its weights.
    """
    rows = pd.DataFrame(found.rows)
    lost = rows.assign(loss=100 * (found.dense - rows["score"]))
    table = lost.pivot(index=["layer", "weights"], columns="density", values="loss")
    order = rows[["layer", "weights"]].drop_duplicates()
    return table.reindex(pd.MultiIndex.from_frame(order)).sort_index(axis=1, ascending=False)


def draw_sensitivity(found: Scan) -> StudyFigure:
    """Draw a cell for each layer and density with the points of validation top-1 that it loses."""
    table = losses(found)
    with styled():
        figure = new_figure(2.6 + 0.75 * len(table.columns), 1.7 + 0.26 * len(table))
        head(
            figure,
            "What each layer loses when it alone is pruned",
            f"Points of validation top-1 lost, without retraining, from {100 * found.dense:.1f} % of "
            f"{found.images:,} images. Columns: share of the layer's weights that stays.",
        )
        axes = figure.subplots()
        sns.heatmap(
            table,
            ax=axes,
            annot=np.round(table.to_numpy(), 1) + 0.0,  # no -0.0
            fmt=".1f",
            annot_kws={"fontsize": 7.5},
            cmap=f"{COLOUR_MAP}_r",
            vmin=0,
            vmax=DEEPEST,
            cbar=False,
            linewidths=1,
            linecolor=PAPER,
        )
        for text, loss in zip(axes.texts, table.to_numpy().ravel(), strict=True):
            text.set_color(TEXT_ON_PALE if 1 - loss / DEEPEST > PALE_FROM else TEXT_ON_DARK)
        axes.set(xlabel="density", ylabel="")
        axes.set_xticklabels([f"{density:g}" for density in table.columns])
        axes.set_yticklabels([f"{layer}  {weights:,}" for layer, weights in table.index], rotation=0)
        axes.tick_params(length=0)
    return figure


def write_sensitivity(found: Scan, out: Path) -> list[Path]:
    """Write sensitivity.csv, .png and .svg into a folder, and return the three."""
    table = pd.DataFrame(found.rows).rename(columns={"score": "val_top1"}).assign(dense_val_top1=found.dense)
    csv = out / "sensitivity.csv"
    write_table(table, csv)
    return [csv, *write_figure(draw_sensitivity(found), out / "sensitivity")]
