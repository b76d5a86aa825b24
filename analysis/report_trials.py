"""Single trials in the report: which ones do not count and why, and the details of each on demand."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.table import RESULTS, records
from analysis.wording import stop_text, value_text
from sqzx.config import KEYS
from sweeps.plan import Plan, PlannedTrial, trial_folder

PROBLEMS = ("failed", "timed_out", "interrupted", "censored")

MOST_LOGS = 100
"""Problems that are shown with their log; where everything failed, the first ones tell why."""

LOG_LINES, LOG_CHARACTERS = 20, 4000

DETAIL_CHARACTERS = 1500
"""Of a trial's log among the details; there are thousands of them in one page."""

LOG_BUDGET = 6_000_000
"""Characters of all logs among the details."""


class Problem(NamedTuple):
    """A trial that ended without counting, and the end of its log."""

    id: str
    name: str
    seed: int
    what: str
    reason: str
    log: str


def problems(plan: Plan, out: Path, frame: pd.DataFrame) -> tuple[list[Problem], int]:
    """Return the trials that ended without counting, the first ones in plan order, and their number."""
    found = []
    for trial, row in zip(plan.trials, records(frame), strict=True):
        status = row["status"]  # the table knows more than the plan: a damaged result is a failure
        if status in PROBLEMS:
            found.append((trial, status.replace("_", " "), "" if pd.isna(row["reason"]) else row["reason"]))
        elif status == "done" and row["learned"] is False:
            found.append((trial, "did not learn", "all its logits on the test set are zero"))
    shown = [
        Problem(trial.id, trial.name, trial.config.seed, what, reason, _log(out, trial)[-LOG_CHARACTERS:])
        for trial, what, reason in found[:MOST_LOGS]
    ]
    return shown, len(found)


def reasons(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Return what went wrong, with the number of trials, the most frequent first."""
    bad = frame["status"].isin(PROBLEMS)
    reason = frame["reason"].where(frame["status"] != "censored", frame["reason"].map(stop_text))
    words = frame["status"].str.replace("_", " ") + reason.map(
        lambda reason: "" if pd.isna(reason) else f": {reason}"
    )
    silent = (frame["status"] == "done") & ~frame["learned"].fillna(True).astype(bool)
    words = words.where(~silent, "did not learn: all logits on the test set are zero")
    counts = words[bad | silent].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    return [(str(reason), int(count)) for reason, count in counts.items()]


def details(plan: Plan, out: Path, frame: pd.DataFrame) -> str:
    """Return the details of every trial as JSON that may stand inside a script element.

    `shared` has the configuration keys on which all trials agree; each of `trials` has the others, its
    results, times and faults, and the end of its log, while the logs are within their budget: "" is an empty
    log, null one that is left out.
    """
    keys = [key for key in frame.columns if key in KEYS and key != "seed"]
    varying = [key for key in keys if frame[key].nunique(dropna=False) > 1]
    first = records(frame.head(1))[0]
    shared = {key: value_text(first[key]) for key in keys if key not in varying}
    left = LOG_BUDGET
    found = []
    for trial, row in zip(plan.trials, records(frame), strict=True):
        log: str | None = _log(out, trial)[-DETAIL_CHARACTERS:]
        left -= len(log or "")
        if left < 0:
            log = None
        found.append(_details(trial, row, varying, log))
    text = json.dumps({"shared": shared, "trials": found}, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # nothing in a text may end the script element


def _details(trial: PlannedTrial, row: dict[str, Any], varying: list[str], log: str | None) -> dict[str, Any]:
    status = trial.status
    facts = {
        "status": row["status"].replace("_", " "),
        "reason": row["reason"],
        "attempts": status.attempts or None,
        "started": status.started_time,
        "ended": status.ended_time,
        "host": status.host,
        "faults": "; ".join(status.faults),
        "began from": status.init_from,
        "code": (status.provenance.get("git") or {}).get("commit"),
    }
    results = {name: row[name] for name in RESULTS if name in row}
    return {
        "name": trial.name,
        "facts": _texts(facts),
        "keys": {key: value_text(row[key]) for key in varying if not pd.isna(row[key])},
        "results": _texts(results),
        "log": log,
    }


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {
        name: f"{value:.6g}" if isinstance(value, float) else value_text(value)
        for name, value in values.items()
        if not pd.isna(value) and value != ""
    }


def _log(out: Path, trial: PlannedTrial) -> str:
    return "\n".join(trial_folder(out, trial.id).log_tail(LOG_LINES))
