"""How good the networks of a sub-space are as a whole: distributions of their errors.

The empirical distribution F(e) is the share of configurations whose error is at most e: of two sub-spaces the
one whose curve lies higher is the better place to look in, whatever its best point is (Radosavovic et al.,
"On Network Design Spaces for Visual Recognition", ICCV 2019, section 3). Larger networks have smaller
errors, so that paper's size-normalised distribution gives each configuration a weight: the sizes that all
sub-spaces cover are cut into k bins, even on a logarithmic axis, and each bin weighs 1/k, shared evenly by
its members.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.special import betaincinv

from analysis.blocks import blocks
from analysis.quantity import quantity_of, sized
from analysis.statistics import LEVEL, summarise
from analysis.style import COLOURS, StudyFigure, head, new_figure, styled
from analysis.table import ACCURACIES, left_out_text
from analysis.wording import percent, seeds_text

FEWEST = 4
"""Configurations that a sub-space needs; the distribution of fewer says nothing."""

MOST_SPACES = 6
MOST_BINS = 10


class Distribution(NamedTuple):
    """A sub-space's errors: at each `error`, the share up to it, and the 95 % band of it.

    `effective` is how many configurations of equal weight the weights are worth.
    """

    name: str
    configurations: int
    error: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    median: float
    effective: float


class Distributions(NamedTuple):
    """The sub-spaces of a study on one data set, raw and size-normalised.

    `normalised` is empty where the sub-spaces share no range of sizes in which each has members in at least
    two bins; otherwise `bins` is their number and `sizes` the range, and each has the members in it.
    `left_out` says which trials do not count, "" where all do.
    """

    data: str
    raw: tuple[Distribution, ...]
    normalised: tuple[Distribution, ...]
    bins: int
    sizes: tuple[float, float]
    seeds: tuple[int, ...]
    left_out: str


def distributions(
    frame: pd.DataFrame, metric: str = "test_top1", size: str = "bytes_fp32"
) -> list[Distributions]:
    """Return the distributions of the sweep blocks with at least four finished configurations."""
    summary = sized(summarise(frame, metric), frame, quantity_of(size), metric)
    found = []
    for data, members in summary[summary["n"] > 0].groupby("data.name", sort=False):
        spaces = {b.sweep: b.members for b in blocks(members) if len(b.members) >= FEWEST}
        if spaces:
            lacking = left_out_text(frame[frame["data.name"] == data], metric)
            found.append(_distributions(str(data), dict(list(spaces.items())[:MOST_SPACES]), lacking))
    return found


def _distributions(data: str, spaces: dict[str, pd.DataFrame], lacking: str) -> Distributions:
    errors = {name: 1 - members["mean"].to_numpy(dtype=np.float64) for name, members in spaces.items()}
    sizes = {name: members["size"].to_numpy(dtype=np.float64) for name, members in spaces.items()}
    raw = tuple(distribution(name, e, np.full(len(e), 1 / len(e))) for name, e in errors.items())
    edges = common_bins(list(sizes.values()))
    normalised = []
    for name in spaces if len(edges) > 2 else ():
        weights = bin_weights(sizes[name], edges)
        inside = weights > 0
        normalised.append(distribution(name, errors[name][inside], weights[inside]))
    seeds = tuple(int(n) for members in spaces.values() for n in members["n"])
    span = (float(edges[0]), float(edges[-1])) if len(edges) else (np.nan, np.nan)
    return Distributions(data, raw, tuple(normalised), max(len(edges) - 1, 0), span, seeds, lacking)


def distribution(name: str, errors: np.ndarray, weights: np.ndarray) -> Distribution:
    """Return the weighted distribution of some errors with a pointwise 95 % band (`share_band`).

    The band takes the configurations as drawn from their sub-space at random. It says nothing of the seeds.
    """
    order = np.argsort(errors, kind="stable")
    e, w = errors[order], weights[order] / weights.sum()
    at = np.unique(e)
    share = np.clip(w @ (e[:, None] <= at), 0, 1)
    effective = float(1 / (w**2).sum())
    low, high = share_band(share, effective)
    median = float(at[np.searchsorted(share, 0.5 - 1e-12)])
    return Distribution(name, len(e), at, share, low, high, median, effective)


def share_band(share: np.ndarray, effective: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends (n,) of the exact binomial interval of shares (n,) among `effective` configurations.

    Clopper and Pearson's with x = n share: quantiles of Beta(x, n - x + 1) and Beta(x + 1, n - x). Of weights
    that add up to 1, n is 1 / sum(w^2), as Korn and Graubard 1998 take it for shares in a weighted survey.
    Where all or none of those seen lie below an error it still has a width; a bootstrap of them has none.
    """
    x = share * effective
    rest = np.maximum(effective - x, 0)
    none, every = x < 1e-9, rest < 1e-9
    low = np.where(none, 0.0, betaincinv(np.maximum(x, 1e-9), rest + 1, 0.5 - LEVEL / 2))
    high = np.where(every, 1.0, betaincinv(x + 1, np.maximum(rest, 1e-9), 0.5 + LEVEL / 2))
    return low, high


def common_bins(sizes: list[np.ndarray]) -> np.ndarray:
    """Return the edges of the most bins, at most ten, over the shared sizes that no sub-space leaves empty.

    Fewer than three edges say that there are none: with one bin nothing is normalised.
    """
    low, high = max(s.min() for s in sizes), min(s.max() for s in sizes)
    for bins in range(MOST_BINS, 1, -1) if 0 < low < high else ():
        edges = np.geomspace(low, high, bins + 1)
        edges[0], edges[-1] = low, high  # geomspace may miss its ends by a rounding
        if all((np.histogram(s, edges)[0] > 0).all() for s in sizes):
            return edges
    return np.empty(0)


def bin_weights(sizes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return each configuration's weight: 1 / (bins x members of its bin), 0 outside of all bins."""
    members, _ = np.histogram(sizes, edges)
    place = np.clip(np.searchsorted(edges, sizes, side="right") - 1, 0, len(members) - 1)
    inside = (sizes >= edges[0]) & (sizes <= edges[-1])
    return np.where(inside, 1 / (len(members) * np.maximum(members[place], 1)), 0.0)


def draw_distributions(
    found: Distributions, metric: str = "test_top1", size: str = "bytes_fp32"
) -> StudyFigure:
    """Draw the raw distributions, and beside them the size-normalised ones where there are some."""
    panels = 2 if found.normalised else 1
    quantity, name = quantity_of(size), ACCURACIES[metric].replace("accuracy", "error")
    with styled():
        figure = new_figure(4.9 * panels + 0.8 * (panels == 1), 4.3)
        head(
            figure,
            f"Distributions of errors: {found.data}",
            f"Share of a sweep's configurations, whose number is in brackets, with a mean {name} up to e "
            f"({seeds_text(list(found.seeds))}). Bands: 95 %, as if the configurations were "
            f"drawn at random. {found.left_out}",
        )
        axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
        _draw_panel(axes[0], found.raw, "as they are" if found.normalised else "", metric)
        axes[0].set_ylabel("share of configurations")
        if found.normalised:
            low, high = (quantity.text(value) for value in found.sizes)
            title = f"size-normalised: {found.bins} bins from {low} to {high}"
            _draw_panel(axes[1], found.normalised, title, metric)
    return figure


def _draw_panel(axes: Axes, found: tuple[Distribution, ...], title: str, metric: str) -> None:
    end = max(d.error[-1] for d in found)
    start = min(d.error[0] for d in found)
    room = 0.06 * ((end - start) or 0.01)
    styles = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1)))
    for d, colour, line in zip(found, COLOURS, styles, strict=False):
        at = np.concatenate([[start - room], d.error, [end + room]])
        low, share = (np.concatenate([[0.0], v, v[-1:]]) for v in (d.low, d.share))
        high = np.concatenate([share_band(np.zeros(1), d.effective)[1], d.high, d.high[-1:]])
        axes.fill_between(at, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        axes.step(at, share, where="post", color=colour, linestyle=line, linewidth=1.8)
    axes.set_title(title, fontweight="normal")
    axes.set(xlim=(start - room, end + room), ylim=(0, 1.02))
    axes.set_xlabel(f"e: {ACCURACIES[metric].replace('accuracy', 'error')}")
    axes.xaxis.set_major_formatter(lambda share, _: f"{round(100 * share, 6):g} %")
    legend = axes.legend(axes.lines, ["."] * len(axes.lines), loc="lower right")
    for text, d in zip(legend.get_texts(), found, strict=True):
        name = d.name if len(d.name) <= 26 else d.name[:25] + "…"
        text.set_text(f"{name} ({d.configurations})")


def told(found: Distributions) -> str:
    """Return the medians in one sentence, for who cannot see the curves."""
    raw = "; ".join(f"{d.name} {percent(d.median)} ({d.configurations})" for d in found.raw)
    normalised = "; ".join(f"{d.name} {percent(d.median)}" for d in found.normalised)
    return f"Median errors on {found.data}, configurations in brackets: {raw}." + (
        f" Size-normalised: {normalised}." if normalised else ""
    )
