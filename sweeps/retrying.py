"""Failed trials of a study, set back to pending: each by its claim, and as it then stands."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from sqzx.claims import ClaimedElsewhere, claim, look, new_watch, patience_seconds, set_free
from sqzx.trial import TrialFolder
from sweeps.plan import FAILED, Plan, trial_folder

LOOK_SECONDS = 0.2


def set_back(plan: Plan, out: Path, *, should_stop: Callable[[], bool]) -> Iterator[str]:
    """Mark the failed trials of a plan as pending, and yield a line for each that was not, and why.

    A claim that somebody left who can't be seen from here is waited for, all of them at once. A trial that
    another process has taken up or finished meanwhile has failed no more, and is left alone.
    """
    failed = [trial for trial in plan.trials if trial.status.status in FAILED]
    waiting = deque((trial, new_watch()) for trial in failed)
    told = False
    while waiting and not should_stop():
        for _ in range(len(waiting)):
            trial, watch = waiting.popleft()
            folder = trial_folder(out, trial.id)
            try:
                _set_back(folder)
            except OSError as error:
                yield f"not set back: {trial.id}  {trial.name}: {error.strerror}"
            except ClaimedElsewhere:
                standing = look(watch, folder)
                if standing == "beating":
                    yield f"not set back: {trial.id}  {trial.name}: another process is at work there"
                    continue
                if standing == "abandoned":
                    set_free(watch, folder)
                waiting.append((trial, watch))
        if waiting and not told:
            seconds = patience_seconds()
            yield f"{len(waiting)} failed trials are claimed; waiting {seconds:g} s for a sign of life"
            told = True
        time.sleep(LOOK_SECONDS if waiting else 0)


def _set_back(folder: TrialFolder) -> None:
    with claim(folder) as held:
        status = folder.read_status()
        if status.status in FAILED:
            held.folder.write_status(status.but(status="pending", reason=None))
