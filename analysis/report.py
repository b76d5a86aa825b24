"""The whole study in one self-contained HTML file.

The file holds its style, its script and its figures, and asks for nothing from anywhere. It is derived from
the study's folder alone: the same folder gives the same bytes. It reads well with some trials finished, or
with none.
"""

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup

from analysis.against_dense import against_dense
from analysis.budgets import best_within
from analysis.figures import Options, drawings, read_epochs
from analysis.history import data_facts, history, mixed
from analysis.inline_svg import colour_variables, inline_svg
from analysis.paper import CONTRADICTIONS
from analysis.report_axes import axes_said
from analysis.report_tables import budgets, checks, compressed, configurations, trials
from analysis.report_trials import details, problems, reasons
from analysis.style import one_glyph_warning
from analysis.summary import summary
from analysis.table import stored, study_table
from analysis.wording import count_text, seconds_text
from sqzx.files import write_text
from sqzx.terminal import shown
from sweeps.elsewhere import as_seen
from sweeps.plan import Plan, plan_folder

METRIC = "test_top1"


class Drawn(NamedTuple):
    """A figure in the page: its element, its title, and what it shows in words."""

    name: str
    svg: Markup
    title: str
    told: str


def write_report(out: Path, file: Path) -> Path:
    """Write the report of the study in `out` to `file`; an `InputError` if `out` holds none."""
    plan = as_seen(plan_folder(out), out)
    with one_glyph_warning():
        page = render(plan, out, study_table(plan, out))
    write_text(file, page)
    return file


def render(plan: Plan, out: Path, frame: pd.DataFrame) -> str:
    """Return the page of a study whose plan and table have been read already."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(files("analysis").joinpath("report.html.j2").read_text("utf-8"))
    bad, number_bad = problems(plan, out, frame)
    checked, unchecked = checks(frame, METRIC)
    sizes = stored(frame)
    statuses = [trial.status for trial in plan.trials]
    return template.render(
        title=plan.study.name,
        lead=_lead(plan, frame),
        light=Markup(colour_variables(dark=False)),
        dark=Markup(colour_variables(dark=True)),
        sentences=summary(sizes, METRIC),
        counts={status.replace("_", " "): number for status, number in plan.counts().items() if number},
        budgets=budgets(best_within(sizes, METRIC)),
        figures=_figures(frame, out),
        said=axes_said(frame, METRIC),
        compressed=compressed(against_dense(plan, out)),
        checks=checked,
        unchecked=unchecked,
        contradictions=CONTRADICTIONS,
        configurations=configurations(sizes, METRIC),
        trials=trials(frame),
        details=Markup(details(plan, out, frame)),
        problems=bad,
        more_problems=number_bad - len(bad),
        reasons=reasons(frame),
        skipped=[
            (s.sweep, ", ".join(f"{k} = {shown(v)}" for k, v in s.settings.items()), s.reason)
            for s in plan.skipped
        ],
        removed=[trial.id for trial in plan.trials if trial.status.status == "removed"],
        mixed=mixed(statuses),
        history=data_facts(frame) | history(statuses),
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


def _figures(frame: pd.DataFrame, out: Path) -> list[Drawn]:
    found = drawings(frame, Options(metric=METRIC), epochs=read_epochs(frame, out, METRIC))
    return [
        Drawn(
            one.name.replace("_", "-"),
            Markup(inline_svg(one.draw(), one.name.replace("_", "-"), one.title, one.told)),
            one.title,
            one.told,
        )
        for one in found
    ]
