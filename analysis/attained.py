"""What the front of a single seed reaches, as a band over the seeds: what one run would have shown.

In validation accuracy, by which fronts are chosen, and so in a figure of its own: accuracy against size shows
what the chosen ones then have on the test set.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.fronts import Attainment, attainment
from analysis.quantity import quantity_of, size_axis
from analysis.scale import percent_axis
from analysis.style import COLOURS, INK, StudyFigure, head, new_figure, styled
from analysis.table import ACCURACIES
from analysis.wording import count_text, percent, seeds_text, size_text


class Attained(NamedTuple):
    """The attainment bands on one data set, in the validation metric `by`."""

    data: str
    by: str
    bands: Attainment


def attained(frame: pd.DataFrame, metric: str = "test_top1") -> list[Attained]:
    """Return the bands of each data set on which two seeds at least have a front of several networks."""
    by = metric.replace("test_", "val_")
    found = [
        Attained(str(data), by, attainment(rows, by=by))
        for data, rows in frame.groupby("data.name", sort=False)
    ]
    return [one for one in found if not one.bands.note and one.bands.configurations > 1]


def reached(bands: pd.DataFrame, band: str, sizes: np.ndarray) -> np.ndarray:
    """Return the accuracy that a band reaches at each of some sizes; NaN below its smallest network."""
    corners = bands[bands["band"] == band]
    place = np.searchsorted(corners["bytes_fp32"].to_numpy(), sizes, side="right")
    return np.concatenate([[np.nan], corners["accuracy"].to_numpy()])[place]


def draw_attained(found: Attained, size: str = "bytes_fp32") -> StudyFigure:
    """Draw the band between what any and what every seed reaches, and what half of them do."""
    bands, quantity = found.bands.bands, quantity_of(size)
    sizes = np.unique(bands["bytes_fp32"])
    sizes = np.append(sizes, sizes[-1] * 1.15)  # the last step has a length, too
    every, some = (reached(bands, band, sizes) for band in ("all", "any"))
    with styled():
        figure = new_figure(7.0, 4.4)
        head(figure, "What the front of a single seed reaches", _subtitle(found))
        axes = figure.subplots()
        axes.fill_between(sizes, every, some, step="post", color=COLOURS[0], alpha=0.22, linewidth=0)
        axes.step(sizes, some, where="post", color=COLOURS[0], linewidth=1, label="at least one seed")
        if found.bands.seeds > 2:
            axes.step(
                sizes, reached(bands, "half", sizes), where="post", color=INK, label="half of the seeds"
            )
        axes.step(
            sizes, every, where="post", color=COLOURS[0], linewidth=1, linestyle="--", label="every seed"
        )
        axes.set_xscale("log")
        axes.set_xlabel(f"{quantity.label}; logarithmic axis")
        axes.set_ylabel(f"{found.data}: {ACCURACIES[found.by]}")
        axes.margins(y=0.12)
        percent_axis(axes)
        size_axis(axes, quantity)
        axes.legend(loc="lower right")
    return figure


def _subtitle(found: Attained) -> str:
    bands = found.bands
    lack = f" {bands.left_out} that lack a seed are left out." if bands.left_out else ""
    return (
        f"The best {ACCURACIES[found.by]} up to each size, where each seed picks among "
        f"{count_text(bands.configurations, 'configuration')} by itself ({seeds_text([bands.seeds])}).{lack} "
        "A wide band: one run of the study would say little. The best of single runs lies above "
        "the best of means."
    )


def told(found: Attained) -> str:
    """Return the band at its largest size in one sentence, for who cannot see it."""
    bands = found.bands.bands
    last = np.array([bands["bytes_fp32"].max()])
    every, some = (float(reached(bands, band, last)[0]) for band in ("all", "any"))
    return (
        f"On {found.data}, up to {size_text(last[0])}, at least one of {found.bands.seeds} seeds reaches "
        f"{percent(some)} {ACCURACIES[found.by]}, and every one {percent(every)}, among "
        f"{count_text(found.bands.configurations, 'configuration')}."
    )
