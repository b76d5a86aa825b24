"""The figures of a study, drawn and written."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.curves import curves, draw_curves
from analysis.front import draw_front, front
from analysis.style import one_glyph_warning, write_figure
from analysis.table import load
from sqzx.errors import InputError


def draw(frame: pd.DataFrame, metric: str = "test_top1") -> dict[str, Figure]:
    """Return the figures that a table has the data for, by name."""
    figures = {}
    if along := curves(frame, metric):
        figures["accuracy_along_axes"] = draw_curves(along, metric)
    if len((against := front(frame, metric)).points):
        figures["accuracy_against_size"] = draw_front(against, metric)
    return figures


def draw_all(out: Path, folder: Path, metric: str = "test_top1") -> list[Path]:
    """Write every figure of the study in `out` to `folder`, each as PNG and SVG, and return the files."""
    with one_glyph_warning():
        figures = draw(load(out), metric)
        if not figures:
            raise InputError(f"{out}: no trial has finished yet, so there is nothing to draw")
        return [path for name, figure in figures.items() for path in write_figure(figure, folder / name)]
