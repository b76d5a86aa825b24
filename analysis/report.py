"""The whole study in one self-contained HTML file.

The file holds its style, its script and its figures, and asks for nothing from anywhere. It is derived from the
study's folder alone: the same folder gives the same bytes. It reads well with some trials finished, or none.
"""

import re
from collections.abc import Iterable
from importlib.resources import files
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from analysis.curves import curves, draw_curves
from analysis.front import draw_front, front
from analysis.statistics import pareto_front, summarise
from analysis.style import one_glyph_warning, svg_text
from analysis.summary import summary
from analysis.table import ACCURACIES, scored, study_table
from analysis.wording import count_text, percent, percent_interval, size_text
from sqzx.files import write_text
from sweeps.plan import Plan, PlannedTrial, plan_folder, shown, trial_folder

METRIC = "test_top1"

MOST_LOGS = 100
"""Trials whose log is shown; of a study where everything failed, the first ones tell why."""

LOG_LINES, LOG_CHARACTERS = 20, 4000


class Cell(NamedTuple):
    """A table cell: what is read, and the number by which it sorts (None: the text sorts)."""

    text: str
    order: float | None = None
    note: str = ""


class Drawn(NamedTuple):
    """A figure in the page, with its caption."""

    svg: Markup
    caption: str


def write_report(out: Path, file: Path) -> Path:
    """Write the report of the study in `out` to `file`; an `InputError` if `out` holds none."""
    plan = plan_folder(out)
    with one_glyph_warning():
        page = render(plan, out, study_table(plan, out))
    write_text(file, page)
    return file
