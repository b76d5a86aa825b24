"""What a network costs, as an axis of a figure: bytes, parameters, MACs, a compressed file, a latency."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from analysis.table import scored
from analysis.wording import number_text, size_text
from sqzx.counting import size_label
from sqzx.errors import InputError
from sqzx.schema import nearest


class Quantity(NamedTuple):
    """A column of the table that says what a network costs; `noun` is its name within a sentence.

    `text` writes a value. Ticks are round numbers, with `binary` round in KiB and MiB.
    """

    column: str
    noun: str
    label: str
    text: Callable[[float], str]
    binary: bool = False


def _milliseconds(value: float) -> str:
    return f"{value:.3g} ms"


def _paper_label(size: float) -> str:
    return size_label(round(size))


QUANTITIES = {
    "bytes_fp32": Quantity("bytes_fp32", "model size", "model size (32-bit parameters)", size_text),
    "mib": Quantity(
        "bytes_fp32", "model size", "model size as the paper writes it (MiB, rounded up)", _paper_label, True
    ),
    "params": Quantity("params", "parameters", "parameters", number_text),
    "macs": Quantity("macs", "multiply-accumulates", "multiply-accumulates for one image", number_text),
    "bytes_compressed": Quantity(
        "bytes_compressed",
        "stored size",
        "size of the file (32-bit parameters where not compressed)",
        size_text,
    ),
    "latency_ms": Quantity("latency_ms", "latency", "measured latency of one image", _milliseconds),
}
"""By the name that the command line takes."""


def quantity_of(name: str) -> Quantity:
    """Return a quantity by name; of an unknown one the `InputError` names the nearest."""
    if name not in QUANTITIES:
        raise InputError(f"size {name}: there is none of this name{nearest(name, QUANTITIES)}")
    return QUANTITIES[name]


def sized(summary: pd.DataFrame, frame: pd.DataFrame, quantity: Quantity, metric: str) -> pd.DataFrame:
    """Return the configurations of a summary that have the quantity, with it as the new column `size`.

    What is counted is the same for all seeds. What is measured of each trial is their mean over the scored
    ones. A network that was not compressed has the size of its 32-bit parameters. No trial measures a
    latency by itself: it is a column that was added to the table (`sqzx describe --measure` has one).
    """
    column = quantity.column
    if column in summary.columns:
        size = summary[column].astype("float64")
    elif column not in frame.columns or frame[column].isna().all():
        raise InputError(f"size {column}: no trial of this study has it")
    else:
        numbers = frame.assign(**{column: _numbers(frame[column])})
        measured = scored(numbers, metric).groupby("config_id")[column].mean()
        size = summary["config_id"].map(measured).astype("float64")
        if column == "bytes_compressed":
            size = size.fillna(summary["bytes_fp32"].astype("float64"))
    return summary.assign(size=size)[size.notna()]


def _numbers(values: pd.Series) -> pd.Series:
    """Return a column as float64, also of texts: a CSV's types are those of the columns that are known."""
    found = pd.to_numeric(values, errors="coerce").astype("float64")
    if (wrong := values[found.isna() & values.notna()]).size:
        raise InputError(f"size {values.name}: {str(wrong.iloc[0])!r} is no number")
    return found


def size_axis(axes: Axes, quantity: Quantity) -> None:
    """Put ticks at round values on x: 100 kB, 200 kB, 500 kB on a log axis."""
    low, high = axes.get_xlim()
    unit = (2**20 if high >= 2**20 else 2**10) if quantity.binary else 1
    if axes.get_xscale() != "log":
        steps = [1, 2.5, 5, 10] if quantity.binary else [1, 2, 2.5, 5, 10]
        ticks = [t * unit for t in MaxNLocator(nbins=6, steps=steps).tick_values(low / unit, high / unit)]
    elif quantity.binary and high / low > 4:
        ticks = [2.0**power for power in range(64)]
    else:
        ticks = round_values(low, high)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity.text(value)))


def round_values(low: float, high: float, fewest: int = 3) -> list[float]:
    """Return round numbers in [low, high]: the coarsest of three ladders that has at least `fewest`.

    In a range too narrow for that they are evenly spaced.
    """
    exponents = range(-9, 16)
    found: list[float] = []
    for ladder in ((1, 10), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = sorted({float(f"{m}e{e}") for e in exponents for m in ladder if low <= m * 10.0**e <= high})
        if len(found) >= fewest:
            return found
    even = [float(v) for v in MaxNLocator(nbins=5).tick_values(low, high) if low <= v <= high]
    return even if len(even) > len(found) else found


def tells_apart(sizes: pd.Series) -> bool:
    """Whether most values differ, so that the quantity can be the axis of a curve."""
    return np.unique(sizes).size > len(sizes) / 2
