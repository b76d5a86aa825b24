"""How figures look and how they are written: colours, type, axes, and the same bytes each time."""

import re
import textwrap
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sqzx.files import write_whole

# Okabe and Ito's colours, told apart with every common colour blindness. The three pale ones are darker
# here, so that each has a contrast of 3 with white paper; their yellow is left out.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c2699a", "#b97f00", "#2f93cf", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "<", ">")
INK, SOFT, FAINT, PAPER = "#1a1a1a", "#5c5c5c", "#e4e4e4", "#ffffff"

DARK = {
    "#0072b2": "#5aaeea",
    "#d55e00": "#ff8f4a",
    "#009e73": "#33c9a0",
    "#c2699a": "#e9a3c9",
    "#b97f00": "#edb53d",
    "#2f93cf": "#9bd6ff",
    "#000000": "#f4f4f4",
    INK: "#ececea",
    SOFT: "#b3b6ba",
    FAINT: "#3b3e43",
    PAPER: "#1f2124",
}
"""What each colour becomes on a dark page."""

TEXT_ON_DARK, TEXT_ON_PALE = "#fffffe", "#000001"
"""White and black on a coloured cell, the same on every page: a hair off, since pages replace pure ones."""

NO_BREAK = "\N{NO-BREAK SPACE}"

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same layout on every machine
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # names with $ come out as typed
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlepad": 8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "svg.fonttype": "none",  # text stays text: searchable, and any script is kept
    "svg.hashsalt": "sqzx",
}


@contextmanager
def styled() -> Generator[None]:
    """Draw and write figures in this style, whatever the user's own settings and backend are."""
    with mpl.rc_context():
        mpl.rcdefaults()  # touches no backend
        mpl.rcParams.update(_RC)  # type: ignore
        yield


@contextmanager
def one_glyph_warning() -> Generator[None]:
    """Turn the warnings about characters that the figures' font lacks into one line."""
    missing: dict[str, None] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if found := re.match(r"Glyph (\d+) \(.*\) missing from font", str(warning.message)):
            missing[chr(int(found[1]))] = None
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        characters = " ".join(missing)
        warnings.warn(f"boxes stand for {characters} in the PNG files; the SVG files have them", stacklevel=3)


class StudyFigure(Figure):
    """A figure with `tips`: what a page shows where a pointer rests on a mark, a text a mark by its gid."""

    def __init__(self, width: float, height: float):
        super().__init__(figsize=(width, height), layout="constrained")
        self.tips: dict[str, list[str]] = {}


def new_figure(width: float, height: float) -> StudyFigure:
    """Return a figure of that many inches which belongs to no window system."""
    figure = StudyFigure(width, height)
    FigureCanvasAgg(figure)
    return figure


def tip(artist: Artist, texts: Iterable[str]) -> None:
    """Give each mark of a collection or a line a text for the pointer, in the order of its points."""
    figure = artist.get_figure(root=True)
    assert isinstance(figure, StudyFigure)
    gid = f"tips{len(figure.tips)}"
    artist.set_gid(gid)
    figure.tips[gid] = list(texts)


def save_png(figure: Figure, file: BinaryIO) -> None:
    """Write a figure as PNG; the same figure gives the same bytes."""
    with styled():
        figure.savefig(file, format="png", metadata={"Software": None})


def save_svg(figure: Figure, file: BinaryIO) -> None:
    """Write a figure as SVG; the same figure gives the same bytes."""
    with styled():
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def write_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as `stem`.png and `stem`.svg, and return the two."""
    png, svg = (stem.with_name(stem.name + suffix) for suffix in (".png", ".svg"))
    write_whole(png, lambda file: save_png(figure, file))
    write_whole(svg, lambda file: save_svg(figure, file))
    return [png, svg]


def head(figure: Figure, title: str, subtitle: str) -> None:
    """Write a title and what one must know to read the figure at its top left, and keep the panels below."""
    width, height = figure.get_size_inches()
    heading = textwrap.wrap(title, int(9.5 * width))  # characters of this size to an inch
    glued = re.sub(r"(n =|\d) (?=[\d%])", lambda found: found[0].replace(" ", NO_BREAK), subtitle)
    lines = [line.replace(NO_BREAK, " ") for line in textwrap.wrap(glued, int(14 * width))]
    below = 0.16 + 0.2 * len(heading)
    figure.text(0.1 / width, 1 - 0.1 / height, "\n".join(heading), fontsize=12, fontweight="bold", va="top")
    figure.text(0.1 / width, 1 - below / height, "\n".join(lines), fontsize=8.5, color=SOFT, va="top")
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, 0, 1, 1 - (below + 0.14 + 0.16 * len(lines)) / height))


def freeze_layout(figure: Figure) -> None:
    """Lay the panels out for good, so that labels may be placed in them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def whiskers(axes: Axes, points: pd.DataFrame, x: str, colour: str, *, columns: tuple[str, str]) -> None:
    """Draw the intervals of the points that have one, between two columns (see `analysis.scale`)."""
    low, high = columns
    some = points.dropna(subset=[low, high])
    axes.vlines(some[x], some[low], some[high], colour, linewidth=1.1, alpha=0.45)
