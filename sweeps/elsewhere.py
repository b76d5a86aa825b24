"""What other processes do with a study's trials, as claims tell: they finish, leave behind, take over."""

import dataclasses
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from sqzx.claims import Watch, beat_seconds, holder_name, look, new_watch, set_free
from sqzx.trial import Status, TrialFolder, lives
from sweeps.plan import Plan, PlannedTrial, trial_folder
from sweeps.stacks import Stack

UNFINISHED = ("pending", "interrupted", "running")
LOOK_SECONDS = 0.5
GONE_SECONDS = 3.0
"""A worker that has given up its claims ends within this time."""
OVERTAKEN = Status(status="interrupted", reason="stood still for so long that another runner took over")


def look_elsewhere(
    elsewhere: deque[tuple[PlannedTrial, Watch]],
    statuses: dict[str, Status],
    out: Path,
) -> list[Stack]:
    """See what became of the trials of other runners, and return those that they left unfinished: ours.

    The claim decides, whatever the status says: a trial that says "running" while its claim is free was left
    behind, as by a container that was killed.
    """
    left: list[Stack] = []
    for _ in range(len(elsewhere)):
        trial, watch = elsewhere.popleft()
        folder = trial_folder(out, trial.id)
        standing = look(watch, folder)  # before the status: a claim that is free has its last one
        status = statuses[trial.id] = folder.read_status()
        if status.status not in UNFINISHED:
            continue
        if standing == "abandoned":
            set_free(watch, folder)
        if standing in ("free", "abandoned"):
            left.append((trial,))
        else:
            elsewhere.append((trial, watch))
    return left


class Overtaking:
    """Whether the claims of a process have gone while it still runs: it is stopped, and others took over."""

    def __init__(self, folders: Sequence[TrialFolder]):
        self._names: dict[TrialFolder, str | None] = dict.fromkeys(folders)
        self._held = self._looked = time.monotonic()

    def is_over(self) -> bool:
        """Whether none of its trials has been its own for some time, as far as this was asked often."""
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            for folder, known in self._names.items():
                name = holder_name(folder)
                self._names[folder] = known or name  # the first is its own, or that of one that keeps it out
                if name == self._names[folder]:
                    self._held = now
        return now - self._held > GONE_SECONDS


def as_seen(plan: Plan, out: Path) -> Plan:
    """Return a plan in which the running trials of other hosts are "unknown", unless one is heard.

    That takes a beat's time where there are claims to listen to. Nothing is written.
    """
    silent = {t.id: new_watch() for t in plan.trials if t.status.status == "running" and not lives(t.status)}
    listening, deadline = set(silent), time.monotonic() + 1.5 * beat_seconds()
    while listening and time.monotonic() < deadline:
        for trial in list(listening):
            standing = look(silent[trial], trial_folder(out, trial))
            if standing != "held":
                listening.remove(trial)
            if standing == "beating":
                del silent[trial]
        if listening:
            time.sleep(beat_seconds() / 20)
    return dataclasses.replace(plan, trials=tuple(_unknown(t) if t.id in silent else t for t in plan.trials))


def _unknown(trial: PlannedTrial) -> PlannedTrial:
    status = trial.status
    reason = f"began on {status.host} at {status.started_time}, of which no sign of life is seen from here"
    return dataclasses.replace(trial, status=status.but(status="unknown", reason=reason))
