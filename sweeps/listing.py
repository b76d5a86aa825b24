"""A plan and its state as tables, as JSON and as CSV."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sqzx.errors import InputError, printable
from sqzx.files import write_whole
from sqzx.terminal import duration, new_table, print_table, shown
from sqzx.trial import Status
from sweeps.constraints import Sizes
from sweeps.elsewhere import UNKNOWN
from sweeps.plan import Plan, PlannedTrial, Skipped, trial_folder
from sweeps.search import BLOCK, Search, chosen
from sweeps.study import Study

LOG_LINES = 40
UNWELL = ("failed", "timed_out", "interrupted")

MOST_ROWS = 200
"""Configurations in a printed plan; JSON and CSV have all."""


def plan_json(plan: Plan, workers: int) -> Iterator[str]:
    """Yield the text of a plan as `sqzx sweep plan --json` prints it, in parts: a large one is many."""
    yield f'{{\n"study": {_json(plan.study.name)},\n"trials": ['
    yield from _json_items(map(_trial_json, plan.trials))
    yield '],\n"skipped": ['
    yield from _json_items(map(_skipped_json, plan.skipped))
    yield f'],\n"totals": {json.dumps(plan_totals(plan, workers), indent=2, allow_nan=False)}\n}}\n'


def plan_totals(plan: Plan, workers: int) -> dict[str, Any]:
    """Return what a plan adds up to."""
    return {
        "trials": len(plan.trials),
        "configurations": len({trial.config_id for trial in plan.trials}),
        "skipped": len(plan.skipped),
        "skipped_by_reason": {rule: len(points) for rule, points in plan.skipped_by_rule().items()},
        "counts": plan.counts(),
        "search_points_chosen": chosen(plan.study),
        "search_points_to_come": _to_come(plan.study),
        "workers": workers,
        "est_seconds_left": plan.seconds_left(workers),
        "est_disk_bytes_left": plan.disk_bytes_left(),
    }


def write_plan_csv(plan: Plan, path: Path) -> None:
    """Write a row a trial, whole or not at all: what tells it apart, its sizes, state and expected cost."""
    axes = list(dict.fromkeys(key for trial in plan.trials for key in trial.settings))

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = csv.writer(text)
        rows.writerow(("id", "config_id", "name", "seed", "sweeps", *axes, *Sizes._fields, *_CSV_LAST))
        for trial in plan.trials:
            told = (shown(trial.settings[key]) if key in trial.settings else "" for key in axes)
            identity = (trial.id, trial.config_id, trial.name, trial.config.seed, ";".join(trial.sweeps))
            cost = (trial.est_seconds, trial.est_memory_mb, trial.est_disk_bytes)
            rows.writerow((*identity, *told, *trial.sizes, trial.status.status, trial.status.reason, *cost))
        text.detach()

    write_whole(path, write)


_CSV_LAST = ("status", "reason", "est_seconds", "est_memory_mb", "est_disk_bytes")


def _trial_json(trial: PlannedTrial) -> dict[str, Any]:
    return {
        "id": trial.id,
        "config_id": trial.config_id,
        "name": trial.name,
        "seed": trial.config.seed,
        "sweeps": trial.sweeps,
        "config": trial.config.to_json(),
        **trial.sizes._asdict(),
        "status": trial.status.status,
        "reason": trial.status.reason,
        "epoch": trial.status.epoch,
        "est_seconds": trial.est_seconds,
        "est_memory_mb": trial.est_memory_mb,
        "est_disk_bytes": trial.est_disk_bytes,
    }


def _skipped_json(skipped: Skipped) -> dict[str, Any]:
    return {
        "sweep": skipped.sweep,
        "config": skipped.settings,
        "rule": skipped.rule,
        "reason": skipped.reason,
    }


def _json_items(values: Iterable[Any]) -> Iterator[str]:
    """Yield the items of a JSON list, one a line."""
    start = "\n"
    for value in values:
        yield start + _json(value)
        start = ",\n"
    yield "\n"


# No indentation: that of Python's encoder is ten times slower.
_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def status_json(plan: Plan) -> dict[str, Any]:
    """Return a study's state as `sqzx sweep status --json` prints it."""
    return {
        "study": plan.study.name,
        "counts": plan.counts(),
        "trials": [
            {
                "id": trial.id,
                "name": trial.name,
                "seed": trial.config.seed,
                "status": trial.status.status,
                "reason": trial.status.reason,
                "epoch": trial.status.epoch,
                "attempts": trial.status.attempts,
                "started_time": trial.status.started_time,
                "ended_time": trial.status.ended_time,
                "faults": list(trial.status.faults),
            }
            for trial in plan.trials
        ],
    }


def print_plan(plan: Plan, workers: int) -> None:
    """Print a row a configuration, the skipped points by reason, and what the rest will cost."""
    from rich.text import Text

    columns = (
        "id",
        "configuration",
        "seeds",
        "parameters",
        "bytes",
        "MACs",
        "seconds each",
        "MB each",
        "state",
    )
    table = new_table(*columns, left=("id", "configuration", "state"))
    configurations = _by_configuration(plan)
    for trials in configurations[:MOST_ROWS]:
        first = trials[0]
        table.add_row(
            first.config_id,
            Text(first.name),
            str(len(trials)),
            f"{first.sizes.params:,}",
            f"{first.sizes.bytes_fp32:,}",
            f"{first.sizes.macs:,}",
            "?" if first.est_seconds is None else f"{first.est_seconds:.1f}",
            "?" if first.est_memory_mb is None else f"{first.est_memory_mb:,.0f}",
            _states(trials),
        )
    print_table(table)
    if (more := len(configurations) - MOST_ROWS) > 0:
        print(f"... and {more:,} configurations more (--csv FILE and --json have all)")
    for line in skipped_lines(plan):
        print(line)
    if plan.study.search is not None:
        print(_search_line(plan, plan.study.search))
    if plan.study.halving is not None:
        print(plan.study.halving.text({trial.config.train.epochs for trial in plan.trials}))
    print(_total_line(plan, len(configurations), workers))


def skipped_lines(plan: Plan) -> list[str]:
    """Return a line for each reason to skip points: how many, and the first of them."""
    return [
        f"skipped {points[0].text}"
        if len(points) == 1
        else f"skipped {len(points):,} points by {rule}; the first is {points[0].text}"
        for rule, points in plan.skipped_by_rule().items()
    ]


def _search_line(plan: Plan, search: Search) -> str:
    found, refused = chosen(plan.study), sum(point.sweep == BLOCK for point in plan.skipped)
    return (
        f"search by {search.sampler}, validation top-1 against {search.size}: {found:,} of {search.trials:,} "
        f"points chosen ({refused:,} of them refused), {_to_come(plan.study):,} to come"
    )


def _to_come(study: Study) -> int:
    return max(0, study.search.trials - chosen(study)) if study.search else 0


def _total_line(plan: Plan, configurations: int, workers: int) -> str:
    left = plan.seconds_left(workers)
    waiting = plan.waiting()
    time = (
        "time unknown until a trial is done (--calibrate times a few steps)"
        if left is None
        else f"about {duration(left)} on {workers} worker{'s' if workers > 1 else ''}"
    )
    disk = f", about {plan.disk_bytes_left() / 1e6:,.1f} MB on disk" if waiting else ""
    judged = plan.study.constraints.seconds is not None and any(t.est_seconds is None for t in waiting)
    return (
        f"{len(plan.trials):,} trials of {configurations:,} configurations; "
        f"{len(waiting):,} to run: {time}{disk}"
        + ("\nconstraints.est_seconds: not judged where the time is unknown" if judged else "")
    )


def counts_text(plan: Plan) -> str:
    """Return the name of a study, and how many of its trials are in which state."""
    return f"{plan.study.name}: " + ", ".join(f"{n} {state}" for state, n in plan.counts().items() if n)


def print_status(plan: Plan, out: Path) -> None:
    """Print the counts, then each trial that is running or unwell, with its reason and how to see its log."""
    print(counts_text(plan))
    for trial in plan.trials:
        if trial.status.status == "running":
            print(
                f"running      {trial_label(trial)}  since {trial.status.started_time} on {trial.status.host}"
            )
        if trial.status.status in ("censored", UNKNOWN):
            print(f"{trial.status.status:<12} {trial_label(trial)}  {trial.status.reason}")
        if trial.status.status in UNWELL:
            print(f"{trial.status.status:<12} {trial_label(trial)}  {trial.status.reason}")
            if trial.status.status != "interrupted":
                print(f"             its log: sqzx sweep status {out} --log {trial.id}")
        for fault in trial.status.faults:
            print(f"fault        {trial_label(trial)}  {fault}")


def log_json(plan: Plan, out: Path, trial: str) -> dict[str, Any]:
    """Return what one trial came to and the end of its log, as `sqzx sweep status --log ID --json` prints it.

    A beginning that is one trial's alone will do for its id; another one is an `InputError`.
    """
    found = [t for t in plan.trials if t.id.startswith(trial)]
    if len(found) != 1:
        raise InputError(
            f"--log {trial}: is the id of {len(found)} trials; `sqzx sweep status {out}` names them"
        )
    (one,) = found
    folder = trial_folder(out, one.id)
    return {
        "id": one.id,
        "name": one.name,
        "seed": one.config.seed,
        "status": one.status.status,
        "reason": one.status.reason,
        "file": str(folder.log_file),
        "log": [printable(line) for line in folder.log_tail(LOG_LINES)],
    }


def print_log(told: dict[str, Any]) -> None:
    """Print what `log_json` returned."""
    label = f"{told['id']}  {told['name']}  seed {told['seed']}"
    print(f"{told['status']:<12} {label}  {told['reason'] or ''}".rstrip())
    print(f"the end of {told['file']}:")
    for line in told["log"]:
        print(f"  {line}")


def _by_configuration(plan: Plan) -> list[list[PlannedTrial]]:
    groups: dict[str, list[PlannedTrial]] = {}
    for trial in plan.trials:
        groups.setdefault(trial.config_id, []).append(trial)
    return list(groups.values())


def _states(trials: list[PlannedTrial]) -> str:
    found = Counter(_state(trial.status) for trial in trials)
    return ", ".join(state if n == len(trials) else f"{n} {state}" for state, n in found.items())


def _state(status: Status) -> str:
    return status.status if status.status != "censored" else f"censored at epoch {status.epoch}"


def trial_label(trial: PlannedTrial) -> str:
    """Return what tells a trial apart on a line: id, name and seed."""
    return f"{trial.id}  {trial.name}  seed {trial.config.seed}"
