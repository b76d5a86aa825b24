"""The figures of a study: which ones its table has the data for, drawn and written."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis import (
    attained,
    compression,
    curves,
    distributions,
    explained,
    front,
    heat_map,
    interactions,
    learning,
    paper,
    parallel,
    widths,
)
from analysis.quantity import quantity_of
from analysis.style import StudyFigure, one_glyph_warning, write_figure
from analysis.table import check_metric, has_compressed, load, stored
from analysis.table_files import read_table
from analysis.trials import epochs_of
from sqzx.errors import InputError
from sweeps.plan import trial_folder

MOST_OF_A_KIND = 6
"""Figures of one kind; a study with fifty grids has its first six drawn."""


class Drawing(NamedTuple):
    """A figure of a study: its file name, its title, what it shows in words, and how to draw it."""

    name: str
    title: str
    told: str
    draw: Callable[[], StudyFigure]


class Options(NamedTuple):
    """What the figures show: an accuracy against a quantity of `analysis.quantity`.

    With `error`, accuracy along the axes and against size is shown as error on a logarithmic axis.
    """

    metric: str = "test_top1"
    size: str = "bytes_fp32"
    error: bool = False


DEFAULT = Options()


def drawings(
    frame: pd.DataFrame,
    options: Options = DEFAULT,
    *,
    epochs: pd.DataFrame | None = None,
) -> list[Drawing]:
    """Return the figures that a table has the data for.

    `epochs` are those of the trials of `learning.shown_configurations` (`analysis.trials.epochs_of`); without
    them there are no learning curves.
    """
    check_metric(options.metric)
    quantity_of(options.size)
    return [
        *_curves(frame, options),
        *_fronts(frame, options),
        *_attained(frame, options),
        *_compressions(frame, options),
        *_heat_maps(frame, options),
        *_interactions(frame, options),
        *_explained(frame, options),
        *_distributions(frame, options),
        *_parallel(frame, options),
        *_widths(frame, options),
        *_learning(frame, options, epochs),
    ]


def draw_all(out: Path, folder: Path, options: Options = DEFAULT) -> list[Path]:
    """Write every figure of the study in `out` to `folder`, each as PNG and SVG, and return the files.

    `out` may be a table that `sqzx table --out` wrote; it holds no epochs, so there are no learning curves.
    """
    check_metric(options.metric)
    quantity_of(options.size)
    table = out.is_file()
    frame = read_table(out) if table else load(out)
    with one_glyph_warning():
        epochs = None if table else read_epochs(frame, out, options.metric)
        found = drawings(frame, options, epochs=epochs)
        if not found:
            raise InputError(f"{out}: no trial has finished yet, so there is nothing to draw")
        return [path for one in found for path in write_figure(one.draw(), folder / one.name)]


def read_epochs(frame: pd.DataFrame, out: Path, metric: str) -> pd.DataFrame:
    """Read the epochs of the trials whose courses are drawn: a few folders, however many there are."""
    roles = learning.shown_configurations(frame, metric)
    ids = frame[frame["config_id"].isin(list(roles))]["id"]
    return epochs_of(trial_folder(out, trial) for trial in ids)


def _curves(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    found = curves.curves(frame, options.metric, options.size)
    if not found:
        return []

    def draw() -> StudyFigure:
        return curves.draw_curves(found, options.metric, options.size, error=options.error)

    told = " ".join(curves.told(curve) for curve in found[: curves.MOST_PANELS])
    return [Drawing("accuracy_along_axes", "Accuracy along each axis", told, draw)]


def _fronts(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    bytes_ = quantity_of(options.size).column == "bytes_fp32"  # of other fronts the probability is not known
    probabilities = front.probability(stored(frame), options.metric) if bytes_ else None
    size = _stored_size(frame, options.size)
    found = front.fronts(frame, options.metric, size, probabilities)
    return _numbered(
        "accuracy_against_size",
        f"Accuracy against {quantity_of(size).noun}",
        found,
        lambda one: front.told(one, size),
        lambda one: front.draw_front(one, options.metric, size, error=options.error),
    )


def _stored_size(frame: pd.DataFrame, size: str) -> str:
    """Return the quantity of a front: where networks were compressed, bytes are those of what is stored."""
    bytes_ = quantity_of(size).column == "bytes_fp32"
    return "bytes_compressed" if bytes_ and has_compressed(frame) else size


def _attained(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    if quantity_of(options.size).column != "bytes_fp32":  # of other sizes there is no attainment
        return []
    size = _stored_size(frame, options.size)
    return _numbered(
        "front_of_single_seeds",
        "What the front of a single seed reaches",
        attained.attained(stored(frame), options.metric),
        attained.told,
        lambda one: attained.draw_attained(one, size),
    )


def _compressions(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    return _numbered(
        "accuracy_against_compressed_bytes",
        "Accuracy against compressed bytes",
        compression.compressions(frame, options.metric),
        compression.told,
        lambda one: compression.draw_compression(one, options.metric, paper.table2()),
    )


def _heat_maps(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    return _numbered(
        "heat_map",
        "Accuracy over two axes",
        heat_map.heat_maps(frame, options.metric),
        heat_map.told,
        lambda one: heat_map.draw_heat_map(one, options.metric),
    )


def _interactions(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    return _numbered(
        "main_effects",
        "Main effects and interactions",
        interactions.interactions(frame, options.metric),
        interactions.told,
        lambda one: interactions.draw_interactions(one, options.metric),
    )


def _explained(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    return _numbered(
        "explained_differences",
        "What explains the differences",
        [one for one in explained.explained(frame, options.metric) if len(one.terms)],
        explained.told,
        lambda one: explained.draw_explained(one, options.metric),
    )


def _distributions(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    return _numbered(
        "error_distributions",
        "Distributions of errors",
        distributions.distributions(frame, options.metric, options.size),
        distributions.told,
        lambda one: distributions.draw_distributions(one, options.metric, options.size),
    )


def _parallel(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    found = [parallel.parallel(rows, options.metric, options.size) for rows in _by_data(frame)]
    return _numbered(
        "parallel_coordinates",
        "Every configuration across its keys",
        [one for one in found if one is not None],
        parallel.told,
        lambda one: parallel.draw_parallel(one, options.metric),
    )


def _widths(frame: pd.DataFrame, options: Options) -> list[Drawing]:
    found = [widths.pictures(rows, options.metric) for rows in _by_data(frame)]
    return _numbered(
        "widths_by_depth",
        "Networks by width and depth",
        [pictures for pictures in found if pictures],
        widths.told,
        widths.draw_widths,
    )


def _learning(frame: pd.DataFrame, options: Options, epochs: pd.DataFrame | None) -> list[Drawing]:
    roles = learning.shown_configurations(frame, options.metric)
    found = (
        [learning.courses(rows, epochs, roles, options.metric) for rows in _by_data(frame)]
        if epochs is not None
        else []
    )
    return _numbered(
        "learning_curves",
        "Learning curves",
        [courses for courses in found if courses],
        learning.told,
        lambda one: learning.draw_courses(one, options.metric),
    )


def _by_data(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of each data set: accuracies on two have no common order."""
    return [rows for _, rows in frame.groupby("data.name", sort=False)]


def _numbered(
    name: str,
    title: str,
    found: Iterable[Any],
    told: Callable[[Any], str],
    draw: Callable[[Any], StudyFigure],
) -> list[Drawing]:
    """Return a drawing for each value; from the second on the name has its number."""
    return [
        Drawing(name if i == 1 else f"{name}_{i}", title, told(one), lambda one=one: draw(one))
        for i, one in enumerate(list(found)[:MOST_OF_A_KIND], start=1)
    ]
