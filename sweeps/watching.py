"""A study as it goes, seen from outside: look after look, until each of its trials has ended."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqzx.trial import Status
from sweeps.elsewhere import ENDED, as_seen
from sweeps.listing import counts_text, print_status, status_json, trial_label
from sweeps.plan import Plan, plan_folder, trial_folder
from sweeps.view import outcome_text, progress, running_table

OVER = (*ENDED, "censored", "removed")
LOOK_SECONDS = 2.0
SHARE = 0.1
"""Of a core that may be spent on looking: the larger a study, the rarer the looks."""


def looks(out: Path) -> Iterator[Plan]:
    """Yield a study's plan with the states of its trials, again and again, until all have ended.

    A trial that waits or was interrupted may be begun by a runner that is still to come, so it is waited for.
    Nothing is written.
    """
    while True:
        begun = time.process_time()
        plan = as_seen(plan_folder(out), out)
        yield plan
        if all(trial.status.status in OVER for trial in plan.trials):
            return
        time.sleep(max(LOOK_SECONDS, (time.process_time() - begun) / SHARE))


def watch(out: Path, *, as_json: bool) -> None:
    """Show a study until all of its trials have ended.

    As JSON that is a line for each look that finds a change, with what `status_json` returns; on a terminal a
    picture that is drawn anew; elsewhere the status once, and then a line for each trial that changes.
    """
    if as_json:
        _watch_json(out)
    elif sys.stdout.isatty():
        _watch_live(out)
    else:
        _watch_plain(out)


def _watch_json(out: Path) -> None:
    before = None
    for plan in looks(out):
        told = status_json(plan)
        if told != before:
            print(json.dumps(told, ensure_ascii=False, allow_nan=False), flush=True)
        before = told


def _watch_plain(out: Path) -> None:
    before: dict[str, Status] | None = None
    for plan in looks(out):
        if before is None:
            print_status(plan, out)
        else:
            for line in _changes(before, plan, out):
                print(line)
        sys.stdout.flush()
        before = {trial.id: trial.status for trial in plan.trials}


def _changes(before: dict[str, Status], plan: Plan, out: Path) -> Iterator[str]:
    """Yield a line for each trial whose state is another, or that was begun again: what it is now."""
    counts = plan.counts()
    done, total = counts["done"], len(plan.trials) - counts["removed"]
    for trial in plan.trials:
        status, was = trial.status, before.get(trial.id, Status())
        if (status.status, status.attempts) != (was.status, was.attempts):
            outcome = outcome_text(trial_folder(out, trial.id), status)
            yield f"{status.status:<12} {trial_label(trial)}  {outcome}".rstrip() + f"  [{done}/{total} done]"


def _watch_live(out: Path) -> None:
    from rich.console import Console
    from rich.live import Live

    console, plan = Console(), None
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for plan in looks(out):
            live.update(_picture(plan, out), refresh=True)
    if plan is not None:
        print_status(plan, out)


def _picture(plan: Plan, out: Path) -> Any:
    from rich.console import Group
    from rich.text import Text

    rows = (
        (trial.name, str(trial.config.seed), progress(trial_folder(out, trial.id), trial.config.train.epochs))
        for trial in plan.trials
        if trial.status.status == "running"
    )
    return Group(Text(counts_text(plan)), running_table(rows, with_left=False))
