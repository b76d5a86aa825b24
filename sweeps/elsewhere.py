"""What other processes do with a study's trials, as claims tell: they finish, leave behind, take over."""

import dataclasses
import socket
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from sqzx.claims import Watch, beat_seconds, holders, look, new_watch, set_free
from sqzx.trial import Status, TrialFolder, lives
from sweeps.plan import FAILED, WAITING, Plan, PlannedTrial, trial_folder
from sweeps.stacks import Stack

UNFINISHED = (*WAITING, "running")
ENDED = ("done", *FAILED)
UNKNOWN = "unknown"
"""Of a trial that says "running" elsewhere, and of whose process no sign of life is seen. Never written."""
LOOK_SECONDS = 0.5
GONE_SECONDS = 3.0
"""A worker that has given up its claims ends within this time."""


def look_elsewhere(
    elsewhere: deque[tuple[PlannedTrial, Watch]],
    statuses: dict[str, Status],
    out: Path,
) -> list[Stack]:
    """See what became of the trials of other runners, and return those that they left unfinished: ours.

    The claim decides, whatever the status says: a trial that says "running" while its claim is free was left
    behind, as by a container that was killed. One that says "censored" is watched while it is claimed: its
    stack may go on for long, and only then may somebody else train it further.
    """
    left: list[Stack] = []
    for _ in range(len(elsewhere)):
        trial, watch = elsewhere.popleft()
        folder = trial_folder(out, trial.id)
        standing = look(watch, folder)  # before the status: a claim that is free has its last one
        status = statuses[trial.id] = folder.read_status()
        if status.status in ENDED:
            continue
        if standing in ("held", "beating"):
            elsewhere.append((trial, watch))
            continue
        if standing == "abandoned":
            set_free(watch, folder)
        if status.status in UNFINISHED:
            left.append((trial,))
    return left


class Overtaking:
    """Whether other processes have taken over the trials of one that still runs: it is stopped, say."""

    def __init__(self, folders: Sequence[TrialFolder]):
        self._folders = folders
        self._own: set[TrialFolder] = set()  # that it was seen to have
        self._held = self._looked = time.monotonic()

    def is_over(self, pid: int | None) -> bool:
        """Whether none of the trials has been the process's for some time, as far as this was asked often.

        `pid` is its number, and None as long as it has none. Until it has begun, a trial that nobody living
        has may still become its own.
        """
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            may_have = [self._may_have(folder, pid) for folder in self._folders]
            if any(may_have):
                self._held = now
        return now - self._held > GONE_SECONDS

    def _may_have(self, folder: TrialFolder, pid: int | None) -> bool:
        found = holders(folder)
        if found is None:
            return True
        processes = [holder.process for holder in found]
        living = [process for process in processes if process.lives() is not False]
        if not living:  # free, or left by one that was killed
            return folder not in self._own
        has = any(process.pid == pid for process in living)
        if has:
            self._own.add(folder)
        return has


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
    where = f"on {status.host}"
    if status.host == socket.gethostname():
        where = "before this host's last start, or in another container of its name,"
    reason = f"began {where} at {status.started_time}; no sign of life is seen from here"
    return dataclasses.replace(trial, status=status.but(status=UNKNOWN, reason=reason))
