"""How figures look and how they are written: colours, type, axes, and the same bytes each time."""

import re
import textwrap
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from analysis.wording import size_text
from sqzx.files import write_whole

# Okabe and Ito's colours, told apart with every common colour blindness; the yellow is too pale for paper.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, SOFT, FAINT = "#1a1a1a", "#5c5c5c", "#e4e4e4"

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same layout on every machine
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # names with $ come out as typed
    "figure.facecolor": "white",
    "axes.facecolor": "white",
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


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of that many inches which belongs to no window system."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


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


def size_axis(axes: Axes) -> None:
    """Make x an axis of bytes with ticks at round sizes, such as 100 kB, 200 kB, 500 kB on a log axis."""
    if axes.get_xscale() == "log":
        axes.xaxis.set_major_locator(FixedLocator(round_sizes(*axes.get_xlim())))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: size_text(size)))


def percent_axis(axes: Axes) -> None:
    """Make y an axis of per cent for shares: room for labels above 100 % has no ticks."""
    axes.yaxis.set_major_locator(_ShareLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6):g} %"))


class _ShareLocator(MaxNLocator):
    def tick_values(self, vmin: float, vmax: float) -> Any:
        return [tick for tick in super().tick_values(vmin, vmax) if -1e-9 <= tick <= 1 + 1e-9]


def round_sizes(low: float, high: float) -> list[float]:
    """Return round numbers in [low, high]: the coarsest of three ladders that has at least four of them."""
    found: list[float] = []
    for ladder in ((1, 10), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = sorted({m * 10.0**e for e in range(13) for m in ladder if low <= m * 10.0**e <= high})
        if len(found) >= 4:
            break
    return found


def head(figure: Figure, title: str, subtitle: str) -> None:
    """Write a title and what one must know to read the figure at its top left, and keep the panels below."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(subtitle, int(14 * width))  # 14 characters of this size to an inch
    figure.text(0.1 / width, 1 - 0.1 / height, title, fontsize=12, fontweight="bold", va="top")
    figure.text(0.1 / width, 1 - 0.36 / height, "\n".join(lines), fontsize=8.5, color=SOFT, va="top")
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, 0, 1, 1 - (0.5 + 0.16 * len(lines)) / height))


def freeze_layout(figure: Figure) -> None:
    """Lay the panels out for good, so that labels may be placed in them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def whiskers(axes: Axes, points: pd.DataFrame, x: str, colour: str) -> None:
    """Draw the intervals of the points that have one, cut where a share ends: at 0 and at 1."""
    some = points.dropna(subset=["low", "high"])
    low, high = some["low"].clip(lower=0), some["high"].clip(upper=1)
    axes.vlines(some[x], low, high, colour, linewidth=1.1, alpha=0.45)
