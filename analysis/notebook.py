"""A study in a notebook: its table, its sentences, and a display of both."""

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import jinja2
import pandas as pd

from analysis.fronts import membership
from analysis.statistics import summarise
from analysis.summary import summary
from analysis.table import records, stored, study_table
from analysis.wording import count_text, percent, percent_interval, size_text
from sweeps.plan import Plan, plan_folder, study_file

MOST_ROWS = 40
"""Configurations that a display shows; the table has them all."""


@dataclass(frozen=True)
class Study:
    """What is in a study's folder, as it was when it was first asked for.

        study = analysis.Study("runs/paper_digits")
        study                   # in a notebook: what was found, and every configuration
        study.table             # one row a trial, as `analysis.load`

    A folder that holds no study is an `InputError`.
    """

    out: Path | str

    def __post_init__(self) -> None:
        """Refuse a folder that holds no study at once."""
        study_file(Path(self.out))

    @cached_property
    def plan(self) -> Plan:
        """Every trial with what has become of it."""
        return plan_folder(Path(self.out))

    @cached_property
    def table(self) -> pd.DataFrame:
        """The tidy table; `analysis.columns.COLUMNS` says what its columns are."""
        return study_table(self.plan, Path(self.out))

    @cached_property
    def summary(self) -> list[str]:
        """What was found, in sentences with numbers."""
        return summary(stored(self.table))

    @cached_property
    def configurations(self) -> pd.DataFrame:
        """One row a configuration: sizes, mean test top-1 with its interval, validation, front.

        `bytes_fp32` is that of what is stored, the file of a compressed network, and `probability` that of
        being on the front of the validation means (`analysis.fronts`).
        """
        table = stored(self.table)
        found = summarise(table, "test_top1")
        found["val_mean"] = summarise(table, "val_top1")["mean"]
        points = membership(table).points.set_index("config_id")
        found["on_front"] = found["config_id"].isin(points.index[points["on_front"]])
        found["probability"] = found["config_id"].map(points["probability"]).astype("float64")
        return found

    def _repr_html_(self) -> str:
        """Show the study in a notebook; everything that it names is escaped.

        Beside being on the front stands how probable that is with the seeds drawn anew, as in the report.
        """
        rows = records(self.configurations)
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
        template = environment.from_string(files("analysis").joinpath("study.html.j2").read_text("utf-8"))
        return template.render(
            title=self.plan.study.name,
            sentences=self.summary,
            columns=(
                "configuration",
                "size",
                "n",
                "test top-1",
                "95 % interval",
                "validation",
                "on the front",
            ),
            rows=[_row(row) for row in rows[:MOST_ROWS]],
            more=count_text(len(rows) - MOST_ROWS, "configuration") if len(rows) > MOST_ROWS else "",
        )


def _row(row: dict) -> tuple[str, ...]:
    chance = "" if pd.isna(row["probability"]) else f", {row['probability']:.2f}"
    return (
        row["name"],
        size_text(row["bytes_fp32"]),
        f"{row['n']} of {row['planned']}",
        "" if pd.isna(row["mean"]) else percent(row["mean"]),
        percent_interval(row["low"], row["high"]) or row["note"],
        "" if pd.isna(row["val_mean"]) else percent(row["val_mean"]),
        ("yes" if row["on_front"] else "no") + chance if row["n"] else "",
    )
