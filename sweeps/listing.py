"""A plan and its state as tables and as JSON."""

from collections import Counter
from pathlib import Path
from typing import Any

from sqzx.errors import InputError, printable
from sqzx.terminal import duration, new_table, print_table
from sweeps.plan import Plan, PlannedTrial, trial_folder

LOG_LINES = 40
UNWELL = ("failed", "timed_out", "interrupted")


def plan_json(plan: Plan, workers: int) -> dict[str, Any]:
    """Return a plan as `sqzx sweep plan --json` prints it."""
    return {
        "study": plan.study.name,
        "trials": [trial.to_json() for trial in plan.trials],
        "skipped": [{"sweep": s.sweep, "config": dict(s.settings), "reason": s.reason} for s in plan.skipped],
        "totals": {
            "trials": len(plan.trials),
            "configurations": len({trial.config_id for trial in plan.trials}),
            "skipped": len(plan.skipped),
            "counts": plan.counts(),
            "workers": workers,
            "est_seconds_left": plan.seconds_left(workers),
        },
    }


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

    columns = ("id", "configuration", "seeds", "parameters", "bytes", "MACs", "seconds each", "state")
    table = new_table(*columns, left=("id", "configuration", "state"))
    for trials in _by_configuration(plan):
        first = trials[0]
        table.add_row(
            first.config_id,
            Text(first.name),
            str(len(trials)),
            f"{first.network.params:,}",
            f"{first.network.bytes_fp32:,}",
            f"{first.network.macs:,}",
            "?" if first.est_seconds is None else f"{first.est_seconds:.1f}",
            _states(trials),
        )
    print_table(table)
    for skipped in plan.skipped:
        print(f"skipped {skipped.text}")
    waiting = sum(t.status.status in ("pending", "interrupted") for t in plan.trials)
    configurations = len({t.config_id for t in plan.trials})
    left = plan.seconds_left(workers)
    cost = (
        "time unknown until a trial is done"
        if left is None
        else f"about {duration(left)} on {workers} workers"
    )
    print(f"{len(plan.trials)} trials of {configurations} configurations; {waiting} to run: {cost}")


def print_status(plan: Plan, out: Path) -> None:
    """Print the counts, then each trial that is running or unwell, with its reason and how to see its log."""
    print(f"{plan.study.name}: " + ", ".join(f"{n} {state}" for state, n in plan.counts().items() if n))
    for trial in plan.trials:
        if trial.status.status == "running":
            print(f"running      {_label(trial)}  since {trial.status.started_time} on {trial.status.host}")
        if trial.status.status in UNWELL:
            print(f"{trial.status.status:<12} {_label(trial)}  {trial.status.reason}")
            if trial.status.status != "interrupted":
                print(f"             its log: sqzx sweep status {out} --log {trial.id}")
        for fault in trial.status.faults:
            print(f"fault        {_label(trial)}  {fault}")


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
    found = Counter(trial.status.status for trial in trials)
    return ", ".join(state if n == len(trials) else f"{n} {state}" for state, n in found.items())


def _label(trial: PlannedTrial) -> str:
    return f"{trial.id}  {trial.name}  seed {trial.config.seed}"
