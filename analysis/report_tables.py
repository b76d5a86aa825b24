"""The tables of the report, as cells that a template writes and a browser sorts."""

from typing import Any, NamedTuple

import pandas as pd

from analysis.against_dense import Against
from analysis.budgets import Best
from analysis.fronts import membership
from analysis.paper_check import paper_check
from analysis.statistics import summarise
from analysis.table import records
from analysis.wording import (
    percent,
    percent_interval,
    points,
    points_interval,
    seconds_text,
    size_text,
)


class Cell(NamedTuple):
    """A table cell: its text, and the number by which its column sorts (None sorts last).

    `trial` is the place of the trial whose details the cell opens.
    """

    text: str
    order: float | str | None = None
    trial: int | None = None


class Column(NamedTuple):
    """A table column; numbers stand on the right."""

    name: str
    number: bool = True


class Table(NamedTuple):
    """Columns and rows."""

    columns: list[Column]
    rows: list[list[Cell]]


def configurations(frame: pd.DataFrame, metric: str) -> Table:
    """Return a row a configuration; on the front is what validation selects, on its own data set."""
    found = summarise(frame, metric)
    found["validation"] = summarise(frame, metric.replace("test_", "val_"))["mean"]
    front = membership(frame, by=metric.replace("test_", "val_")).points.set_index("config_id")
    several = found["data.name"].nunique() > 1
    columns = [
        Column("configuration", number=False),
        *([Column("data", number=False)] if several else []),
        Column("sweeps", number=False),
        Column("size"),
        Column("params"),
        Column("MACs"),
        Column("n"),
        Column("test"),
        Column("95 % interval"),
        Column("validation"),
        Column("on the front", number=False),
    ]
    rows = []
    for place, row in enumerate(records(found)):
        cells = [
            Cell(row["name"], place),
            *([Cell(row["data.name"])] if several else []),
            Cell(row["sweeps"].replace(";", ", ")),
            Cell(size_text(row["bytes_fp32"]), row["bytes_fp32"]),
            Cell(f"{row['params']:,}", row["params"]),
            Cell(f"{row['macs']:,}", row["macs"]),
            Cell(f"{row['n']} of {row['planned']}", row["n"]),
            _share(row["mean"]),
            _interval(row),
            _share(row["validation"]),
            _on_front(front.loc[row["config_id"]] if row["config_id"] in front.index else None),
        ]
        rows.append(cells)
    return Table(columns, rows)


def _on_front(row: pd.Series | None) -> Cell:
    """Say whether a configuration is on the front, and how probably with other seeds; it sorts by that."""
    if row is None:
        return Cell("")
    known = not pd.isna(row["probability"])
    word = "yes" if row["on_front"] else "no"
    chance = row["probability"] if known else float(row["on_front"])
    return Cell(f"{word}, {row['probability']:.2f}" if known else word, -chance)


def checks(frame: pd.DataFrame, metric: str) -> tuple[Table, int]:
    """Return the published numbers that the study has a counterpart of, and how many it has none of."""
    found = paper_check(frame, metric)
    columns = ["where", "what", "published", "ours", "agrees", "why"]
    rows = [[Cell(getattr(check, column)) for column in columns] for check in found if check.ours]
    return Table([Column(name, number=False) for name in columns], rows), len(found) - len(rows)


def trials(frame: pd.DataFrame) -> Table:
    """Return a row a trial, whose first cell opens its details."""
    columns = [
        Column("trial", number=False),
        Column("configuration", number=False),
        Column("seed"),
        Column("status", number=False),
        Column("test top-1"),
        Column("test top-5"),
        Column("validation top-1"),
        Column("training"),
    ]
    rows = []
    for place, row in enumerate(records(frame)):
        seconds = _order(row["train_seconds"])
        status = row["status"].replace("_", " ") + (", did not learn" if row["learned"] is False else "")
        rows.append(
            [
                Cell(row["id"], trial=place),
                Cell(row["name"], place),
                Cell(str(row["seed"]), row["seed"]),
                Cell(status),
                _share(row["test_top1"]),
                _share(row["test_top5"]),
                _share(row["val_top1"]),
                Cell("" if seconds is None else seconds_text(seconds), seconds),
            ]
        )
    return Table(columns, rows)


def budgets(found: list[Best]) -> Table:
    """Return a row a budget: what validation chooses within it, and what that has on the test set."""
    several = len({best.data for best in found}) > 1
    columns = [
        *([Column("data", number=False)] if several else []),
        Column("up to"),
        Column("configuration", number=False),
        Column("size"),
        Column("validation"),
        Column("test"),
        Column("95 % interval"),
        Column("n"),
    ]
    rows = [
        [
            *([Cell(best.data)] if several else []),
            Cell(size_text(best.budget), best.budget),
            Cell(best.row["name"]),
            Cell(size_text(best.row["bytes_fp32"]), best.row["bytes_fp32"]),
            _share(best.validation),
            _share(best.row["mean"]),
            _interval(best.row),
            Cell(str(best.row["n"]), best.row["n"]),
        ]
        for best in found
    ]
    return Table(columns, rows)


def compressed(rows: list[Against]) -> Table:
    """Return a row a dense network, and one for each that was made of it."""
    columns = [
        Column("configuration", number=False),
        Column("bytes"),
        Column("times smaller"),
        Column("n"),
        Column("test"),
        Column("against the dense one"),
        Column("95 % interval"),
        Column("p (Holm)"),
        Column("what can be said", number=False),
    ]
    return Table(columns, [_against(row, place) for place, row in enumerate(rows)])


def _against(row: Against, place: int) -> list[Cell]:
    difference, p = row.found and row.found.difference, row.adjusted
    low, high = (None, None) if row.found is None else (row.found.low, row.found.high)
    return [
        Cell(row.name, place),
        Cell(f"{row.size:,.0f}", row.size),
        Cell(f"{row.ratio:.3g}", row.ratio),
        Cell(str(row.accuracy.n), row.accuracy.n),
        Cell("" if row.accuracy.mean is None else percent(row.accuracy.mean), row.accuracy.mean),
        Cell("" if difference is None else points(difference), difference),
        Cell("" if low is None or high is None else points_interval(low, high), low),
        Cell("" if p is None else f"{p:.2g}", p),
        Cell(row.verdict),
    ]


def _interval(row: dict[str, Any]) -> Cell:
    return Cell(percent_interval(row["low"], row["high"]) or row["note"], _order(row["low"]))


def _share(value: float) -> Cell:
    return Cell("" if pd.isna(value) else percent(value), _order(value))


def _order(value: float) -> float | None:
    return None if pd.isna(value) else value
