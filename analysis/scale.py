"""The upright axis of a figure: accuracy in per cent, or error on a logarithmic axis.

On a logarithmic axis nothing has the height zero. A configuration without any error is drawn as an open
triangle at the lower edge and counted below the axis; an interval that reaches zero is cut at the edge.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from analysis.quantity import round_values
from analysis.style import SOFT, tip
from analysis.table import ACCURACIES
from analysis.wording import count_text


def placed(points: pd.DataFrame, *, error: bool) -> pd.DataFrame:
    """Return points that have mean, low and high with the new columns `y`, `y_low`, `y_high` and `at_edge`.

    Intervals are cut where a share ends, at 0 and 1. With `error`, y is 1 - mean, and what is not above
    zero lies at a floor of half the smallest error that there is (`at_edge` where it is the point itself).
    """
    mean = points["mean"].to_numpy(dtype=np.float64)
    low = points["low"].clip(lower=0).to_numpy(dtype=np.float64)
    high = points["high"].clip(upper=1).to_numpy(dtype=np.float64)
    if not error:
        return points.assign(y=mean, y_low=low, y_high=high, at_edge=False)
    errors = np.round(1 - mean, 12)
    positive = errors[errors > 0]
    floor = positive.min() / 2 if positive.size else 0.001
    return points.assign(
        y=np.maximum(errors, floor),
        y_low=np.maximum(1 - high, floor),
        y_high=np.maximum(1 - low, floor),
        at_edge=errors <= 0,
    )


def accuracy_axis(axes: Axes, metric: str, *, error: bool, data: str = "") -> None:
    """Name y and give it ticks in per cent."""
    name = f"{data} {ACCURACIES[metric]}".strip()
    if not error:
        axes.set_ylabel(name)
        percent_axis(axes)
        return
    axes.set_ylabel(name.replace("accuracy", "error (log axis)"))
    axes.set_yscale("log")


def finish_axis(axes: Axes, *, error: bool) -> None:
    """Give a logarithmic axis its ticks, once its limits are known."""
    if error:
        axes.yaxis.set_major_locator(FixedLocator(round_values(*axes.get_ylim())))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(_per_cent))


def frame_limits(points: pd.DataFrame, *, error: bool) -> tuple[float, float]:
    """Return y limits that show the points well: with few seeds an interval can be the whole scale."""
    every = points[["y_low", "y", "y_high"]].to_numpy(dtype=np.float64)
    low, high = every[:, 1].min(), every[:, 1].max()
    if error:
        return max(np.nanmin(every), low / 4) * 0.8, min(np.nanmax(every), high * 4) * 1.35
    room = max(3 * (high - low), 0.05)
    bottom = max(np.nanmin(every), low - room, 0.0)
    top = min(np.nanmax(every), high + room, 1.0)
    margin = 0.18 * max(top - bottom, 0.01)
    return max(bottom - margin, -margin / 4), top + margin


def percent_axis(axes: Axes) -> None:
    """Make y an axis of per cent for shares: room for labels above 100 % has no ticks."""
    axes.yaxis.set_major_locator(_ShareLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_per_cent))


def edge_marks(axes: Axes, points: pd.DataFrame, x: str) -> None:
    """Mark the points without an error at the edge, and count them below the axis."""
    edge = points[points["at_edge"]]
    if len(edge):
        marks = axes.scatter(edge[x], edge["y"], 120, marker="v", facecolor="none", edgecolor=SOFT, zorder=4)
        tip(marks, (f"{name}: no error" for name in edge["name"]))
        axes.annotate(
            f"open triangle: {count_text(len(edge), 'configuration')} without an error, which a log axis "
            "has no place for",
            (0, 0),
            (0, -38),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=7.5,
            color=SOFT,
        )


class _ShareLocator(MaxNLocator):
    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        return [tick for tick in super().tick_values(vmin, vmax) if -1e-9 <= tick <= 1 + 1e-9]


def _per_cent(share: float, _: object) -> str:
    return f"{round(100 * share, 6):g} %"
