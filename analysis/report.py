"""The whole study in one self-contained HTML file.

The file holds its style, its script and its figures, and asks for nothing from anywhere. It is derived from
the study's folder alone: the same folder gives the same bytes. It reads well with some trials finished, or
with none.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup

from analysis.curves import curves, draw_curves
from analysis.front import draw_front, front
from analysis.history import data_facts, history
from analysis.inline_svg import inline_svg
from analysis.statistics import pareto_front, summarise
from analysis.style import one_glyph_warning
from analysis.summary import summary
from analysis.table import ACCURACIES, records, study_table
from analysis.wording import count_text, percent, percent_interval, seconds_text, size_text
from sqzx.files import write_text
from sqzx.terminal import shown
from sweeps.plan import Plan, PlannedTrial, plan_folder, trial_folder

METRIC = "test_top1"

MOST_LOGS = 100
"""Trials whose log is shown; where everything failed, the first ones tell why."""

LOG_LINES, LOG_CHARACTERS = 20, 4000

PROBLEMS = ("failed", "timed_out", "interrupted", "censored")


class Cell(NamedTuple):
    """A table cell: its text, and the number by which its column sorts (None sorts last)."""

    text: str
    order: float | str | None = None


class Column(NamedTuple):
    """A table column; numbers stand on the right."""

    name: str
    number: bool = True


class Drawn(NamedTuple):
    """A figure in the page."""

    svg: Markup
    caption: str


class Problem(NamedTuple):
    """A trial that ended without counting, and the end of its log."""

    id: str
    name: str
    seed: int
    what: str
    reason: str
    log: str


def write_report(out: Path, file: Path) -> Path:
    """Write the report of the study in `out` to `file`; an `InputError` if `out` holds none."""
    plan = plan_folder(out)
    with one_glyph_warning():
        page = render(plan, out, study_table(plan, out))
    write_text(file, page)
    return file


def render(plan: Plan, out: Path, frame: pd.DataFrame) -> str:
    """Return the page of a study whose plan and table have been read already."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(files("analysis").joinpath("report.html.j2").read_text("utf-8"))
    problems = _problems(plan, out, frame)
    return template.render(
        title=plan.study.name,
        lead=_lead(plan, frame),
        sentences=summary(frame, METRIC),
        counts={status.replace("_", " "): number for status, number in plan.counts().items() if number},
        figures=_figures(frame),
        configurations=_configurations(frame),
        trials=_trials(frame),
        problems=problems[:MOST_LOGS],
        more_problems=max(0, len(problems) - MOST_LOGS),
        skipped=[
            (s.sweep, ", ".join(f"{k} = {shown(v)}" for k, v in s.settings.items()), s.reason)
            for s in plan.skipped
        ],
        removed=[trial.id for trial in plan.trials if trial.status.status == "removed"],
        history=data_facts(frame) | history(trial.status for trial in plan.trials),
        study=plan.study.text,
    )


def _lead(plan: Plan, frame: pd.DataFrame) -> str:
    planned = frame[frame["status"] != "removed"]
    parts = [
        " and ".join(dict.fromkeys(planned["data.name"])),
        count_text(planned["config_id"].nunique(), "configuration"),
        count_text(plan.study.seeds, "seed") + " each",
    ]
    seconds = float(planned[["start_seconds", "compile_seconds", "train_seconds"]].sum().sum())
    return " · ".join([*parts, *([f"{seconds_text(seconds)} of computing"] if seconds else [])])


def _figures(frame: pd.DataFrame) -> list[Drawn]:
    drawn = []
    if along := curves(frame, METRIC):
        axes = ", ".join(dict.fromkeys(curve.key for curve in along))
        caption = (
            f"Mean {ACCURACIES[METRIC]} along {axes}, each with its 95 % t interval over seeds. Where the "
            "paper swept the same axis, its published curve (Figure 3) stands beside: another data set and "
            "another metric, so only the shapes compare."
        )
        drawn.append(_drawn(draw_curves(along, METRIC), "along", "Accuracy along each axis", caption))
    if len((against := front(frame, METRIC)).points):
        caption = (
            f"Mean {ACCURACIES[METRIC]} of every finished configuration against its size in bytes. The line "
            "joins the configurations that no other beats in both."
        )
        drawn.append(_drawn(draw_front(against, METRIC), "front", "Accuracy against model size", caption))
    return drawn


def _drawn(figure: Any, prefix: str, title: str, caption: str) -> Drawn:
    return Drawn(Markup(inline_svg(figure, prefix, title, caption)), caption)


def _configurations(frame: pd.DataFrame) -> tuple[list[Column], list[list[Cell]]]:
    found = summarise(frame, METRIC)
    validation = summarise(frame, METRIC.replace("test_", "val_"))["mean"]
    on_front = pareto_front(found["bytes_fp32"], found["mean"])
    columns = [
        Column("configuration", number=False),
        Column("sweeps", number=False),
        Column("size"),
        Column("params"),
        Column("MACs"),
        Column("n"),
        Column("test"),
        Column("95 % interval"),
        Column("validation"),
        Column("front", number=False),
    ]
    found = found.assign(validation=validation, on_front=on_front)
    rows = [
        [
            Cell(row["name"], place),
            Cell(row["sweeps"].replace(";", ", ")),
            Cell(size_text(row["bytes_fp32"]), row["bytes_fp32"]),
            Cell(f"{row['params']:,}", row["params"]),
            Cell(f"{row['macs']:,}", row["macs"]),
            Cell(f"{row['n']} of {row['planned']}", row["n"]),
            _share(row["mean"]),
            Cell(percent_interval(row["low"], row["high"]) or row["note"], _order(row["low"])),
            _share(row["validation"]),
            Cell("yes" if row["on_front"] else "", int(not row["on_front"])),
        ]
        for place, row in enumerate(records(found))
    ]
    return columns, rows


def _trials(frame: pd.DataFrame) -> tuple[list[Column], list[list[Cell]]]:
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
                Cell(row["id"]),
                Cell(row["name"], place),
                Cell(str(row["seed"]), row["seed"]),
                Cell(status),
                _share(row["test_top1"]),
                _share(row["test_top5"]),
                _share(row["val_top1"]),
                Cell("" if seconds is None else seconds_text(seconds), seconds),
            ]
        )
    return columns, rows


def _share(value: float) -> Cell:
    return Cell("" if pd.isna(value) else percent(value), _order(value))


def _order(value: float) -> float | None:
    return None if pd.isna(value) else value


def _problems(plan: Plan, out: Path, frame: pd.DataFrame) -> list[Problem]:
    """Return the trials that ended without counting, in the order of the plan."""
    learned = dict(zip(frame["id"], frame["learned"].astype(object), strict=True))
    found = []
    for trial in plan.trials:
        status = trial.status
        if status.status in PROBLEMS:
            found.append(_problem(trial, out, status.status.replace("_", " "), status.reason or ""))
        elif status.status == "done" and learned[trial.id] is False:
            found.append(_problem(trial, out, "did not learn", "all its logits on the test set are zero"))
    return found


def _problem(trial: PlannedTrial, out: Path, what: str, reason: str) -> Problem:
    log = "\n".join(trial_folder(out, trial.id).log_tail(LOG_LINES))[-LOG_CHARACTERS:]
    return Problem(trial.id, trial.name, trial.config.seed, what, reason, log)
