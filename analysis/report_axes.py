"""What the axes of a study do, as tables of the report: effects, importance and good ranges."""

from typing import NamedTuple

import pandas as pd

from analysis.explained import Explained, explained, trust
from analysis.factorial import Effects, effects
from analysis.ranges import GoodRange, good_ranges
from analysis.report_tables import Cell, Column, Table
from analysis.table import records
from analysis.wording import count_text, noise_text, percent, points, points_interval


class Part(NamedTuple):
    """A table with a title, what one must know to read it, and what it cannot say, in sentences."""

    title: str
    explanation: str
    table: Table
    unsaid: list[str]


def axes_said(frame: pd.DataFrame, metric: str) -> list[Part]:
    """Return the tables that a study has the data for, and those that say why there is nothing to say."""
    parts = [
        Part(
            "Effects in full grids",
            "Exact: every value of one key meets every value of the others, so means over the rest are fair. "
            "An effect is how far the mean at a value lies from the mean of its grid, in points of test "
            "accuracy, with its 95 % t interval (each by itself, not all at once); of two keys, what they do "
            "together beyond their sum. The share is of the variance between the configurations of the "
            "sweep; where seeds alone would give as much, nothing can be read from it.",
            *axis_effects(frame, metric),
        ),
        Part(
            "Importance where the design is no full grid",
            "By how much the squared error of a random forest on configurations it has not seen grows when a "
            "key is shuffled, as a share of the variance; beyond 100 % is possible. R2 says how well the "
            "forest foretells them.",
            *importances(frame, metric),
        ),
        Part(
            "Good ranges",
            "Of a random quarter of the configurations, where does the best by validation lie: the likely "
            "value, and the range that holds 95 % of such bests. Values count as often as the study has "
            "them, so this is a statement about this design.",
            *ranges(frame, metric),
        ),
    ]
    return [part for part in parts if part.table.rows or part.unsaid]


def axis_effects(frame: pd.DataFrame, metric: str) -> tuple[Table, list[str]]:
    """Return a row a term of each full grid with its extreme effects, and what cannot be said, in sentences.

    An effect is how far the mean at a level lies from the mean of the grid, all else averaged.
    """
    columns = [
        Column("sweep", number=False),
        Column("key, or two", number=False),
        Column("share"),
        Column("lowest at", number=False),
        Column("points"),
        Column("highest at", number=False),
        Column("points"),
        Column("trials"),
    ]
    found = effects(frame, metric)
    rows = [row for one in found if one.mean is not None for row in _effect_rows(one)]
    alone = (one for one in found if one.mean is not None or len(one.keys) == 1)  # of others importance
    unsaid = [f"{one.sweep}: {one.note}." for one in alone if one.note]
    return Table(columns, rows), unsaid


def _effect_rows(found: Effects) -> list[list[Cell]]:
    rows = []
    for term in records(found.terms):
        own = found.levels[found.levels["term"] == term["term"]].sort_values("effect", kind="stable")
        ends = [records(own)[place] for place in (0, -1)] if len(own) else []
        cells = [cell for end in ends for cell in (Cell(end["level"]), _effect(end))] or [Cell("")] * 4
        share = Cell(percent(term["share"]), term["share"])
        rows.append([Cell(found.sweep), Cell(term["term"]), share, *cells, Cell(f"{found.trials:,}")])
    if found.noise is not None:
        noise = Cell(noise_text(found.noise), found.noise)
        gap = [Cell("")] * 4
        rows.append(
            [Cell(found.sweep), Cell("seeds alone would give"), noise, *gap, Cell(f"{found.trials:,}")]
        )
    return rows


def _effect(row: dict) -> Cell:
    interval = points_interval(row["low"], row["high"])
    return Cell(points(row["effect"]) + (f" ({interval})" if interval else ""), row["effect"])


def importances(frame: pd.DataFrame, metric: str) -> tuple[Table, list[str]]:
    """Return a row a key of each design that is no full grid, and how far each is to be trusted."""
    columns = [
        Column("sweep", number=False),
        Column("key", number=False),
        Column("importance"),
        Column("over five folds"),
        Column("configurations"),
    ]
    found = [one for one in explained(frame, metric) if not one.exact]
    rows = [row for one in found for row in _importance_rows(one)]
    return Table(columns, rows), [f"{one.sweep}: {trust(one)}" for one in found]


def _importance_rows(found: Explained) -> list[list[Cell]]:
    return [
        [
            Cell(found.sweep),
            Cell(row["term"]),
            Cell(percent(row["share"]), row["share"]),
            Cell(f"{percent(row['low'])} to {percent(row['high'])}", row["low"]),
            Cell(f"{found.n:,}", found.n),
        ]
        for row in records(found.terms)
    ]


def ranges(frame: pd.DataFrame, metric: str) -> tuple[Table, list[str]]:
    """Return a row a key with where the best configurations lie, by validation, on each data set."""
    by = metric.replace("test_", "val_")
    parts = list(frame.groupby("data.name", sort=False))
    found = [(str(data), one) for data, rows in parts for one in good_ranges(rows, by=by)]
    columns = [
        *([Column("data", number=False)] if len(parts) > 1 else []),
        Column("key", number=False),
        Column("likely best", number=False),
        Column("good range", number=False),
        Column("values in the study", number=False),
        Column("configurations"),
    ]
    told = [(data, one) for data, one in found if one.likely is not None]
    rows = [[*([Cell(data)] if len(parts) > 1 else []), *_range_cells(one)] for data, one in told]
    unsaid = dict.fromkeys(f"{data}: {one.note}." for data, one in found if one.likely is None)
    return Table(columns, rows), list(unsaid)


MOST_VALUES = 8
"""Values of a key that are listed; of more there are the ends and their number."""


def _range_cells(found: GoodRange) -> list[Cell]:
    values = list(found.values["value"])
    few = len(values) <= MOST_VALUES
    listed = ", ".join(values) if few else f"{values[0]} to {values[-1]}, {count_text(len(values), 'value')}"
    if found.low is None:
        within = found.note
    else:
        within = found.low if found.low == found.high else f"{found.low} to {found.high}"
    return [
        Cell(found.key),
        Cell(found.likely or ""),
        Cell(within),
        Cell(listed),
        Cell(f"{found.n:,}", found.n),
    ]
