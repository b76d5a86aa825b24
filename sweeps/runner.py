"""Run what is missing of a study, one process a trial or stack, as many at once as there are cores.

A run reads the plan, starts what is neither done nor failed, and writes nothing but trial folders and the
frozen study file. It may be killed at any moment: the next run goes on from the folders.
"""

import signal
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sqzx.attempt import ClaimedElsewhere, claim, is_claimed
from sqzx.data.splits import load_splits_of
from sqzx.errors import InputError
from sqzx.files import holds_files, write_text
from sqzx.provenance import available_cores, has_accelerator
from sqzx.trial import Status
from sweeps import local
from sweeps.dense import take_lost, take_ready
from sweeps.plan import Plan, PlannedTrial, plan_folder, plan_study, study_file, trial_folder, with_statuses
from sweeps.stacks import Stack, stacks
from sweeps.study import Study, read_study
from sweeps.view import View

RUNNABLE = ("pending", "interrupted")
"""What a run starts. A running trial is another runner's; a failed one runs again only when asked."""
FAILED = ("failed", "timed_out")
POLL_SECONDS = 0.05
RECHECK_SECONDS = 1.0
GRACE_SECONDS = 8.0
"""How long an asked worker may take to save and end: a compilation cannot be broken off."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run a study; no part of any trial's identity.

    `workers` at once (default: one a core), `time_limit` seconds for each attempt at a trial (a stack has
    those of its trials together), whether the first failure ends the run, and how many trials at most train
    as one program (`sweeps.stacks`).
    """

    workers: int | None = None
    time_limit: float | None = None
    fail_fast: bool = False
    stack: int | Literal["auto"] = 1


@dataclass(frozen=True)
class Outcome:
    """The plan after a run, and whether the run was stopped by a signal."""

    plan: Plan
    stopped: bool

    @property
    def exit_code(self) -> int:
        """130 after a stop, 0 where every trial of the study is done, else 1."""
        if self.stopped:
            return 130
        return int(any(trial.status.status not in ("done", "removed") for trial in self.plan.trials))


def run(study: Study, out: Path, options: RunOptions, view: View) -> Outcome:
    """Run what is missing of `study` in the folder `out`."""
    plan = plan_study(study)  # a study that cannot run leaves no trace
    freeze(plan, out)
    return _run(with_statuses(plan, out), out, options, view)


def retry(out: Path, options: RunOptions, view: View) -> Outcome:
    """Mark the failed trials of a study's folder as pending, and run what is missing."""
    for trial in plan_folder(out).trials:
        if trial.status.status in FAILED:
            folder = trial_folder(out, trial.id)
            with suppress(ClaimedElsewhere), claim(folder):  # another retry may have begun already
                folder.write_status(folder.read_status().but(status="pending", reason=None))
    return _run(plan_folder(out), out, options, view)


def freeze(plan: Plan, out: Path) -> None:
    """Keep the study file in its folder, after checking that the folder is this study's or new.

    Data that is missing, or less than a trial asks for, is an error of the whole run.
    """
    study = plan.study
    if holds_files(out):
        other = read_study(study_file(out)).name
        if other != study.name:
            raise InputError(f"{out}: holds the study {other!r}, not {study.name!r}; choose another --out")
    for data in {trial.config.data for trial in plan.trials}:
        load_splits_of(data)
    write_text(out / "study.toml", study.text)


def _run(plan: Plan, out: Path, options: RunOptions, view: View) -> Outcome:
    statuses = {trial.id: trial.status for trial in plan.trials}
    cores = available_cores()
    slots = [cores[i % len(cores)] for i in range(options.workers or len(cores))]
    waiting = {trial.id for trial in plan.trials if trial.status.status in RUNNABLE}
    queue = deque(stacks(plan.trials, waiting, options.stack, on_accelerator=has_accelerator()))
    elsewhere = deque(t for t in plan.trials if t.status.status == "running")
    running: list[local.Worker] = []
    environment = local.worker_environment(out)
    failing = announced = False
    checked = time.monotonic()

    with _stop_requests() as requests, view:
        view.planned(plan)
        while queue or running or elsewhere:
            for worker in [w for w in running if w.process.poll() is not None]:
                running.remove(worker)
                slots.append(worker.core)
                for trial, status in worker.outcomes():
                    if status is None:
                        elsewhere.append(trial)
                        continue
                    statuses[trial.id] = status
                    failing |= status.status in FAILED
                    view.ended(worker, trial, status)
                    if status.status == "interrupted" and worker.failed_as_one:
                        queue.append((trial,))  # alone it may do well, or fail alone
            stopping = requests() > 0 or (failing and options.fail_fast)
            if stopping:
                queue.clear()
                elsewhere.clear()
                _stop(running, at_once=requests() > 1)
            while slots and (ready := take_ready(queue, statuses)):
                stack = _still_runnable(ready, statuses, out)
                if not stack:  # another runner was faster
                    continue
                try:
                    worker = local.start(stack, out, slots[0], environment)
                except OSError as error:  # a full disk, no more processes: these trials' failure, not ours
                    reason = f"could not be started: {error.strerror}"
                    for trial in stack:
                        statuses[trial.id] = statuses[trial.id].but(status="failed", reason=reason)
                        view.note(f"failed   {trial.id}  {trial.name}  {reason}")
                    failing = True
                    continue
                slots.pop(0)
                running.append(worker)
                view.started(worker)
            for trial, reason in take_lost(queue, statuses):
                statuses[trial.id] = _failed(trial, reason, out)
                view.note(f"failed   {trial.id}  {trial.name}  {reason}")
                failing = True
            if not (running or elsewhere):
                queue.clear()  # the dense trials that these wait for were stopped from outside
            if elsewhere and time.monotonic() - checked > RECHECK_SECONDS:
                checked = time.monotonic()
                _look_elsewhere(elsewhere, queue, statuses, out)
                if elsewhere and not (running or queue or announced):
                    view.note(f"waiting for {len(elsewhere)} trials of other runners")
                    announced = True
            if options.time_limit is not None:
                _enforce(options.time_limit, running)
            view.tick(running, statuses)
            time.sleep(POLL_SECONDS)
    ended = replace(plan, trials=tuple(replace(t, status=statuses[t.id]) for t in plan.trials))
    view.summary(ended, out)
    return Outcome(ended, stopped=requests() > 0)


def _still_runnable(stack: Stack, statuses: dict[str, Status], out: Path) -> Stack:
    """Return what of a stack is still to run, by the folders of this moment."""
    for trial in stack:
        statuses[trial.id] = trial_folder(out, trial.id).read_status()
    return tuple(trial for trial in stack if statuses[trial.id].status in (*RUNNABLE, "running"))


def _failed(trial: PlannedTrial, reason: str, out: Path) -> Status:
    """Say in a trial's folder that it failed before it began, unless another runner is at work there."""
    folder = trial_folder(out, trial.id)
    with suppress(ClaimedElsewhere, OSError), claim(folder):
        folder.write_config(trial.config)
        folder.write_status(folder.read_status().but(status="failed", reason=reason))
    return folder.read_status()


def _look_elsewhere(
    elsewhere: deque[PlannedTrial], queue: deque[Stack], statuses: dict[str, Status], out: Path
) -> None:
    """See what became of the trials of other runners; those that they left unfinished are ours.

    The claim decides: a trial that says "running" under another host's name, while nobody holds its
    claim, was left behind, as by a container that was killed.
    """
    for _ in range(len(elsewhere)):
        trial = elsewhere.popleft()
        folder = trial_folder(out, trial.id)
        status = statuses[trial.id] = folder.read_status()
        if status.status in RUNNABLE or (status.status == "running" and not is_claimed(folder)):
            queue.append((trial,))
        elif status.status == "running":
            elsewhere.append(trial)


def _stop(running: list[local.Worker], *, at_once: bool) -> None:
    """Ask the workers to save and end; kill those that were asked long ago, or all of them `at_once`."""
    for worker in running:
        if worker.killed_as is not None:
            continue
        if worker.asked is None and not at_once:
            worker.ask_to_stop()
        elif at_once or time.monotonic() - (worker.asked or 0) > GRACE_SECONDS:
            worker.kill(Status(status="interrupted", reason="stopped without saving its state"))


def _enforce(limit: float, running: list[local.Worker]) -> None:
    reason = f"took longer than the time limit of {limit:g} s"
    for worker in running:
        allowed = limit * len(worker.trials)
        if time.monotonic() - worker.started > allowed and worker.killed_as is None:
            worker.kill(Status(status="timed_out", reason=reason))


@contextmanager
def _stop_requests() -> Generator[Callable[[], int]]:
    """Count the requests to stop (Ctrl-C, SIGTERM, a closed terminal) instead of dying of them."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield lambda: len(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
