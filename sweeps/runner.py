"""Run what is missing of a study, one process a trial or stack, as many at once as there are cores.

A run reads the plan, starts what is neither done nor failed, and writes nothing but trial folders and the
frozen study file. It may be killed at any moment: the next run goes on from the folders.
"""

import os
import time
from collections import deque
from collections.abc import Container
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

from sqzx.claims import ClaimedElsewhere, claim, new_watch, patience_seconds
from sqzx.data.splits import load_splits_of
from sqzx.errors import InputError
from sqzx.files import holds_files, sweep_halves, write_text
from sqzx.trial import Status
from sweeps.dense import is_ready, origins, take_lost, take_ready
from sweeps.devices import has_accelerator
from sweeps.elsewhere import UNFINISHED, look_elsewhere
from sweeps.executors import ExecutorName, Handle, Resources, open_executor
from sweeps.minding import Pulse, enforce, stop, stop_requests
from sweeps.pausing import Pauses
from sweeps.plan import (
    FAILED,
    WAITING,
    Plan,
    PlannedTrial,
    plan_folder,
    plan_study,
    study_file,
    trial_folder,
)
from sweeps.retrying import set_back
from sweeps.searching import begun, next_batch
from sweeps.stacks import Stack, stacks
from sweeps.study import Study, read_study
from sweeps.view import View

SETTLED = ("done", "censored", "removed")
POLL_SECONDS = 0.05
RECHECK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run a study; no part of any trial's identity.

    `workers` at once (default: as many as fit), each with `cores_per_worker` cores and `gpus_per_worker` of a
    device (`executors.Resources`), on this machine or on the nodes of a Ray cluster (`executor`). For each
    attempt at a trial `time_limit` seconds (a stack has those of its trials together), and `stall_limit`
    seconds without a new line of metrics. Whether the first failure ends the run, how many trials at most
    share a process (`sweeps.stacks`), and whether trials are trained to their ends that the study's
    `[halving]` would stop or has stopped.
    """

    executor: ExecutorName = "local"
    workers: int | None = None
    cores_per_worker: int = 1
    gpus_per_worker: float | None = None
    time_limit: float | None = None
    stall_limit: float | None = None
    fail_fast: bool = False
    stack: int | Literal["auto"] = 1
    finish: bool = False

    @property
    def resources(self) -> Resources:
        """What each worker gets."""
        return Resources(workers=self.workers, cores=self.cores_per_worker, gpus=self.gpus_per_worker)


@dataclass(frozen=True)
class Outcome:
    """The plan after a run, and whether the run was stopped by a signal."""

    plan: Plan
    stopped: bool

    @property
    def exit_code(self) -> int:
        """130 after a stop, 0 where every trial of the study is done or stopped by plan, else 1."""
        if self.stopped:
            return 130
        return int(any(trial.status.status not in SETTLED for trial in self.plan.trials))


def run(study: Study, out: Path, options: RunOptions, view: View) -> Outcome:
    """Run what is missing of `study` in the folder `out`."""
    plan = plan_study(begun(study, out))  # a study that cannot run leaves no trace
    freeze(plan, out)
    return _run_batches(study, out, options, view)


def retry(out: Path, options: RunOptions, view: View) -> Outcome:
    """Mark the failed trials of a study's folder as pending, and run what is missing."""
    with stop_requests() as requests, view:
        for line in set_back(plan_folder(out), out, should_stop=lambda: requests() > 0):
            view.note(line)
        if requests():
            return Outcome(plan_folder(out), stopped=True)
    return _run_batches(read_study(study_file(out)), out, options, view)


def _run_batches(study: Study, out: Path, options: RunOptions, view: View) -> Outcome:
    """Run what is missing of a study, and what its search adds as long as it goes on."""
    plan = next_batch(study, out) or plan_study(study, out)
    needed = origins(plan.trials)
    seen = (
        replace(trial, status=_checked_status(trial, out, needed)) if trial.status.status == "done" else trial
        for trial in plan.trials
    )
    outcome = _run(replace(plan, trials=tuple(seen)), out, options, view)
    while not (outcome.stopped or (options.fail_fast and outcome.exit_code)):
        plan = next_batch(study, out)
        if plan is None:
            break
        outcome = _run(plan, out, options, view)
    return outcome


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
    sweep_halves(out)
    write_text(out / "study.toml", study.text)


def _run(plan: Plan, out: Path, options: RunOptions, view: View) -> Outcome:
    statuses = {trial.id: trial.status for trial in plan.trials}
    pauses = Pauses(plan, out, None if options.finish else plan.study.halving)
    needed = origins(plan.trials)
    on_accelerator = has_accelerator(os.environ) and options.gpus_per_worker != 0
    cut = partial(stacks, plan.trials, size=options.stack, on_accelerator=on_accelerator)
    waiting = {trial.id for trial in plan.trials if trial.status.status in WAITING}
    queue = deque(cut(waiting | pauses.lifted(statuses, but=())))
    elsewhere = deque((t, new_watch()) for t in plan.trials if t.status.status == "running")
    running: dict[Handle, Pulse] = {}
    failing = stopping = announced = looked = False
    checked = time.monotonic()

    with (
        stop_requests() as requests,
        closing(open_executor(options.executor, out, options.resources)) as executor,
        view,
    ):
        view.planned(plan)
        while queue or running or elsewhere or looked:
            ended = [handle for handle in running if handle.ended]
            for handle in ended:
                del running[handle]
                interrupted = []
                for trial, status in handle.outcomes():
                    if status is None:
                        elsewhere.append((trial, new_watch()))
                        view.note(elsewhere_text(handle, trial))
                        continue
                    statuses[trial.id] = status
                    failing |= status.status in FAILED
                    view.ended(handle, trial, status)
                    if status.status == "interrupted":
                        interrupted.append(trial)
                queue.extend(handle.again(interrupted))
            stopping = requests() > 0 or (failing and options.fail_fast)
            if stopping:
                queue.clear()
                elsewhere.clear()
                stop(running, at_once=requests() > 1)
            elif ended or looked:  # what has paused and may go on by now comes first
                busy = (
                    *chain(*queue),
                    *chain(*(handle.trials for handle in running)),
                    *(trial for trial, _ in elsewhere),
                )
                if lifted := pauses.lifted(statuses, but={t.id for t in busy}):
                    queue.extendleft(reversed(cut(lifted)))
            looked = False
            while executor.free > 0 and (ready := take_ready(queue, statuses)):
                stack = _still_runnable(ready, statuses, out, pauses, needed)
                if not stack:  # another runner was faster
                    continue
                try:
                    for trial in stack:
                        pauses.tell(trial)
                    handle = executor.start(stack)
                except OSError as error:  # a full disk, no more processes: these trials' failure, not ours
                    reason = f"could not be started: {error.strerror}"
                    for trial in stack:
                        statuses[trial.id] = statuses[trial.id].but(status="failed", reason=reason)
                        view.note(f"failed   {trial.id}  {trial.name}  {reason}")
                    failing = True
                    continue
                running[handle] = Pulse(handle.folders)
                view.started(handle)
            for line in executor.notes():
                view.note(f"note: {line}")
            for trial, reason in take_lost(queue, statuses):
                statuses[trial.id] = _failed(trial, reason, out)
                view.note(f"failed   {trial.id}  {trial.name}  {reason}")
                failing = True
            if not (running or elsewhere or any(is_ready(stack, statuses) for stack in queue)):
                queue.clear()  # the dense trials that these wait for were stopped from outside
            if elsewhere and time.monotonic() - checked > RECHECK_SECONDS:
                checked = time.monotonic()
                queue.extend(look_elsewhere(elsewhere, statuses, out))
                looked = True
                if elsewhere and not (running or queue or announced):
                    view.note(waiting_text(len(elsewhere)))
                    announced = True
            enforce(running, time_limit=options.time_limit, stall_limit=options.stall_limit)
            view.tick(list(running), statuses)
            time.sleep(POLL_SECONDS)
        if not stopping:
            pauses.explain(statuses)
    plan = replace(plan, trials=tuple(replace(t, status=statuses[t.id]) for t in plan.trials))
    view.summary(plan, out)
    return Outcome(plan, stopped=requests() > 0)


def elsewhere_text(handle: Handle, trial: PlannedTrial) -> str:
    """Say why a trial that was started here is another process's now."""
    why = handle.killed_as.reason if handle.killed_as else "another process has taken it"
    return f"elsewhere {trial.id}  {trial.name}  {why}"


def waiting_text(trials: int) -> str:
    """Say what a run waits for that has nothing else to do."""
    return (
        f"waiting for {trials} trials that other processes have claimed: "
        f"those that are silent for {patience_seconds():g} s are taken over"
    )


def _checked_status(trial: PlannedTrial, out: Path, needed: Container[str | None]) -> Status:
    """Return what has become of a trial, if done the status that its files deserve.

    The network of one whose id is `needed` has to be there.
    """
    folder = trial_folder(out, trial.id)
    return folder.read_checked_status((folder.model_file.name,) if trial.id in needed else ())


def _still_runnable(
    stack: Stack, statuses: dict[str, Status], out: Path, pauses: Pauses, needed: Container[str | None]
) -> Stack:
    """Return what of a stack is still to run, by the folders of this moment."""
    for trial in stack:
        statuses[trial.id] = _checked_status(trial, out, needed)
    return tuple(
        trial
        for trial in stack
        if statuses[trial.id].status in UNFINISHED or pauses.lifts(trial, statuses[trial.id])
    )


def _failed(trial: PlannedTrial, reason: str, out: Path) -> Status:
    """Say in a trial's folder that it failed before it began, unless another runner is at work there."""
    folder = trial_folder(out, trial.id)
    with suppress(ClaimedElsewhere, OSError), claim(folder) as held:
        held.folder.write_config(trial.config)
        held.folder.write_status(folder.read_status().but(status="failed", reason=reason))
    return folder.read_status()
