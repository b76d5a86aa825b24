"""Accuracy against the bytes of a compressed file: a line a method, AlexNet and SqueezeNet on one plot.

The paper's Table 2 as a picture. A line begins at a network with its 32-bit parameters and goes left through
what one method makes of it.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.blocks import varying_keys
from analysis.labels import add_labels
from analysis.paper_table2 import RECIPES
from analysis.quantity import quantity_of, size_axis, sized
from analysis.scale import accuracy_axis, percent_axis, placed
from analysis.statistics import summarise
from analysis.style import (
    COLOURS,
    INK,
    PAPER,
    SOFT,
    StudyFigure,
    freeze_layout,
    head,
    new_figure,
    styled,
    tip,
    whiskers,
)
from analysis.table import left_out_text, records
from analysis.wording import estimate_text, seeds_text, size_text, whiskers_text

FAMILIES = {"alexnet": "AlexNet", "squeezenet": "SqueezeNet"}

FAMILY_MARKERS = {"AlexNet": "s", "SqueezeNet": "o"}

UNCOMPRESSED = "not compressed"

METHODS = {
    "svd": "SVD",
    "pruning": "pruning",
    "deep_compression": "Deep Compression",
    "dsd": "DSD",
    "dsd pruning": "DSD, pruning",
    "dsd deep_compression": "DSD, Deep Compression",
}
"""Recipes in words; each has one colour, with us and in the paper."""

METHOD_COLOURS = dict(zip((UNCOMPRESSED, *METHODS), (INK, *COLOURS), strict=False))

MOST_LABELS = 14


class Compression(NamedTuple):
    """What compression did to the networks of one data set.

    `points` has a row a finished configuration: `config_id`, `name`, `family`, `method` ("not compressed"
    for a dense one), `network` (the same for a dense network and all that was made of it), `size` (bytes),
    `dense_size`, `mean`, `low`, `high`, `n`. `methods` are in the order of the study. `left_out` says which
    trials do not count, "" where all do.
    """

    data: str
    points: pd.DataFrame
    methods: tuple[str, ...]
    left_out: str


def compressions(frame: pd.DataFrame, metric: str = "test_top1") -> list[Compression]:
    """Return the compressed networks of each data set with the dense ones that they were made of."""
    if "compress.recipe" not in frame or frame["compress.recipe"].isna().all():
        return []
    summary = summarise(frame, metric)
    points = sized(summary[summary["n"] > 0], frame, quantity_of("bytes_compressed"), metric)
    points = points.assign(
        method=points["config_id"].map(_methods(frame)).fillna(UNCOMPRESSED),
        family=points["model.family"].map(FAMILIES),
        network=_networks(points),
        dense_size=points["bytes_fp32"].astype("float64"),
    )
    columns = [
        "config_id",
        "name",
        "family",
        "method",
        "network",
        "size",
        "dense_size",
        "mean",
        "low",
        "high",
        "n",
    ]
    found = []
    for data, members in points.groupby("data.name", sort=False):
        methods = tuple(m for m in members["method"].drop_duplicates() if m != UNCOMPRESSED)
        if methods:
            rows = members[columns].reset_index(drop=True)
            lacking = left_out_text(frame[frame["data.name"] == data], metric)
            found.append(Compression(str(data), rows, methods, lacking))
    return found


def _methods(frame: pd.DataFrame) -> pd.Series:
    """Return the method of each configuration: its recipe, and whether that began with DSD."""
    first = frame.drop_duplicates("config_id").set_index("config_id")
    recipe = first["compress.recipe"]
    if "compress.dsd_density" not in first:
        return recipe
    begins_so = first["compress.dsd_density"].notna() & (recipe != "dsd")
    return recipe.where(~begins_so, "dsd " + recipe)


def _networks(points: pd.DataFrame) -> pd.Series:
    """Number the networks: rows with one number differ in nothing but their compression."""
    keys = [key for key in varying_keys(points) if not key.startswith("compress.")]
    if not keys:
        return pd.Series(0, index=points.index)
    return points.groupby(keys, sort=False, dropna=False).ngroup()


def draw_compression(
    found: Compression, metric: str = "test_top1", published: pd.DataFrame | None = None
) -> StudyFigure:
    """Draw a line for each network and method, and the paper's Table 2 beside it.

    `published` is `paper.table2`: sizes stand as they are printed there, an "MB" for 10^6 bytes.
    """
    panels = 2 if published is not None else 1
    points = placed(found.points, error=False)
    points = points.assign(times=points["dense_size"] / points["size"])
    with styled():
        figure = new_figure(5.6 * panels + 1.6 * (panels == 1), 5.2)
        numbers = seeds_text([int(n) for n in found.points["n"]])
        head(
            figure,
            "Accuracy against the bytes of the file",
            f"Lines: from a network with 32-bit parameters through what one method makes of it, each with "
            f"the bytes and how many times smaller. Points: mean over seeds ({numbers}). "
            f"{whiskers_text(points['low'])} {found.left_out}",
        )
        panel = figure.subplots(1, panels, squeeze=False)[0]
        _draw_lines(panel[0], points)
        panel[0].set_title(found.data)
        accuracy_axis(panel[0], metric, error=False, data=found.data)
        theirs = _published_points(published) if published is not None else None
        if theirs is not None:
            _draw_lines(panel[1], theirs)
            panel[1].set(
                title="The paper's Table 2: ImageNet, times smaller than AlexNet",
                ylabel="ImageNet top-1 accuracy",
            )
            percent_axis(panel[1])
        for axes in panel:
            axes.set_xscale("log")
            axes.margins(x=0.18, y=0.25)
            axes.set_xlabel("bytes; logarithmic axis")
            size_axis(axes, quantity_of("bytes_fp32"))
        _families(panel[0], points)
        if theirs is not None:
            _families(panel[1], theirs)
        freeze_layout(figure)
        _label_ends(panel[0], points)
        if theirs is not None:
            _label_ends(panel[1], theirs)
    return figure


def _published_points(published: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of Table 2 as points: what has no approach is the dense network."""
    sizes = published["size"].str.removesuffix("MB").astype("float64") * 1e6
    approach = published["approach"].str.partition(" (")[0]
    method = approach.map(RECIPES).fillna(UNCOMPRESSED)
    dense = dict(zip(published["network"][approach == "none"], sizes[approach == "none"], strict=True))
    return pd.DataFrame(
        {
            "name": published["network"] + ", " + approach + ", " + published["bits"] + " bit",
            "family": published["network"],
            "network": published["network"],
            "method": method,
            "times": published["reduction"].astype("float64"),  # as printed: of SqueezeNet, too, than AlexNet
            "size": sizes,
            "dense_size": published["network"].map(dense).astype("float64"),
            "mean": published["top1"] / 100,
            "y": published["top1"] / 100,
            "low": np.nan,
            "high": np.nan,
            "y_low": np.nan,
            "y_high": np.nan,
            "n": 1,
        }
    )


def _draw_lines(axes: Axes, points: pd.DataFrame) -> None:
    """Draw the dense networks, and from each a line through what every method made of it."""
    for _, members in points.groupby("network", sort=False):
        dense = members[members["method"] == UNCOMPRESSED]
        for method, made in members.groupby("method", sort=False):
            colour = METHOD_COLOURS[str(method)]
            line = made if method == UNCOMPRESSED else pd.concat([dense, made])
            line = line.sort_values("size", ascending=False, kind="stable")
            if method != UNCOMPRESSED:
                axes.plot(line["size"], line["y"], color=colour, linewidth=1.4, zorder=2)
            whiskers(axes, made, "size", colour, columns=("y_low", "y_high"))
            axes.plot(
                made["size"],
                made["y"],
                color=colour,
                linestyle="none",
                marker=FAMILY_MARKERS.get(made["family"].iloc[0], "o"),
                markersize=7,
                markeredgecolor=PAPER,
                zorder=3,
            )
            tip(axes.lines[-1], (_tip(row) for row in records(made)))


def _tip(row: dict[str, Any]) -> str:
    times = row.get("times", row["dense_size"] / row["size"])
    return f"{row['name']}: {size_text(row['size'])} ({times:.3g} times smaller), {estimate_text(row)}"


def _families(axes: Axes, points: pd.DataFrame) -> None:
    families = list(dict.fromkeys(points["family"]))
    handles = [
        Line2D([], [], linestyle="none", color=SOFT, marker=FAMILY_MARKERS.get(f, "o"), markersize=7)
        for f in families
    ]
    axes.legend(handles, families, loc="lower right")


def _label_ends(axes: Axes, points: pd.DataFrame) -> None:
    """Name each dense network, and each method at the smallest file that it made, the smallest first."""
    smallest = points.sort_values("size", kind="stable").drop_duplicates(["network", "method"])
    made = smallest["method"] != UNCOMPRESSED
    first = pd.concat([smallest[~made], smallest[made].sort_values("times", ascending=False, kind="stable")])
    chosen = first.iloc[:MOST_LABELS]
    texts = [
        f"{METHODS.get(row['method'], row['family'])}\n{size_text(row['size'])}"
        + (f", {row['times']:.3g}x" if row["times"] > 1 else "")
        for row in records(chosen)
    ]
    add_labels(axes, list(chosen["size"]), list(chosen["y"]), texts)


def told(found: Compression) -> str:
    """Return the smallest files in one sentence, for who cannot see the lines."""
    smallest = found.points.sort_values("size", kind="stable").drop_duplicates(["family", "method"])
    each = "; ".join(
        f"{row['family']}, {METHODS.get(row['method'], row['method'])}: {_tip(row)}"
        for row in records(smallest)
    )
    return f"The smallest file of each network and method: {each}."
