"""Worker processes on this machine: one a trial or a stack of them, each on a core of its own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqzx.attempt import ClaimedElsewhere, claim
from sqzx.compilation import keep_memory, use_compilation_cache
from sqzx.provenance import COMMAND_VARIABLE, command_text
from sqzx.trial import Status, TrialFolder, now
from sweeps.plan import PlannedTrial, trial_folder
from sweeps.worker import CLAIMED

FULL_BYTES = 64 * 1024
"""With less than this free a trial can't write its small files, its own last words among them."""


@dataclass
class Worker:
    """A process that trains a trial, or several as one program.

    `epochs_before` is how many the first of them had made before, `asked` when it was asked to stop,
    `killed_as` the status and reason for which we killed it.
    """

    trials: tuple[PlannedTrial, ...]
    folders: tuple[TrialFolder, ...]
    core: int
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    epochs_before: int = 0
    asked: float | None = None
    killed_as: Status | None = None

    def ask_to_stop(self) -> None:
        """Ask the process to save its state and end."""
        self.asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)

    def kill(self, status: Status) -> None:
        """End the process at once; its trials get the state and reason of `status`."""
        self.killed_as = status
        self.process.kill()

    @property
    def failed_as_one(self) -> bool:
        """Whether an ended stack was ended by what may be the fault of one of its trials."""
        return len(self.trials) > 1 and self.process.returncode != 130 and not (self.asked or self.killed_as)

    def folder_of(self, trial: PlannedTrial) -> TrialFolder:
        """Return the folder of one of its trials."""
        return self.folders[self.trials.index(trial)]

    def outcomes(self) -> list[tuple[PlannedTrial, Status | None]]:
        """Return what became of each trial of an ended process; see `_outcome`."""
        return [(trial, self._outcome(f)) for trial, f in zip(self.trials, self.folders, strict=True)]

    def _outcome(self, folder: TrialFolder) -> Status | None:
        """Return what became of a trial (None: another runner has it); write what its process could not.

        A process that ends on its own terms leaves a status with its own number and an end. One that finds
        its trial done by another runner leaves that as it is.
        """
        if self.process.returncode == CLAIMED:
            return None
        try:
            with claim(folder):
                status = folder.read_status()
                ended = status.pid == self.process.pid and status.ended_time is not None
                if ended or status.status == "done":
                    return status
                status = status.but(**self._verdict(), ended_time=now())
                with suppress(OSError):  # a full disk: the run goes on and says so at its end
                    folder.write_status(status)
                return status
        except ClaimedElsewhere:
            return None

    def _verdict(self) -> dict[str, Any]:
        code = self.process.returncode
        if self.killed_as is not None:
            return {"status": self.killed_as.status, "reason": self.killed_as.reason}
        if self.asked is not None and code < 0:  # asked before it could listen
            return {"status": "interrupted", "reason": "stopped before it began"}
        if len(self.trials) > 1:  # which of them is to blame, each alone will tell
            return {
                "status": "interrupted",
                "reason": f"its stack of {len(self.trials)} ended: {self._cause(code)}",
            }
        return {"status": "failed", "reason": self._cause(code)}

    def _cause(self, code: int) -> str:
        log = self.folders[0]  # where the process's own output goes
        if shutil.disk_usage(log.path).free < FULL_BYTES:
            return "no space left on the disk"
        if code < 0:
            name = signal.Signals(-code).name
            memory = " (out of memory?)" if name == "SIGKILL" else ""
            return f"its process was ended by {name}{memory}"
        last = next((line for line in reversed(log.log_tail()) if line.strip()), "")
        return f"its process ended with exit code {code}: {last}".removesuffix(": ")


def worker_environment(out: Path) -> dict[str, str]:
    """Return the environment of a study's workers: shared compiled programs, memory that is kept."""
    environment = dict(os.environ)
    use_compilation_cache(environment, out / "cache")
    keep_memory(environment)
    environment[COMMAND_VARIABLE] = command_text(sys.argv)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def start(trials: tuple[PlannedTrial, ...], out: Path, core: int, environment: dict[str, str]) -> Worker:
    """Start the process of trials on a core.

    Call it from the main thread: the death signal of Linux, by which a worker ends with its runner, is
    tied to the thread that started it. The process leads a session of its own, so that the terminal's
    Ctrl-C reaches the runner alone, which then stops the workers in order.
    """
    folders = tuple(trial_folder(out, trial.id) for trial in trials)
    for trial, folder in zip(trials, folders, strict=True):
        folder.path.mkdir(parents=True, exist_ok=True)
        if not folder.config_file.exists():
            folder.write_config(trial.config)
    command = [sys.executable, "-m", "sweeps.worker", str(core), str(os.getpid())]
    with folders[0].log_file.open("ab") as log:
        process = subprocess.Popen(
            [*command, *(str(folder.path.absolute()) for folder in folders)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    done = [line["epoch"] + 1 for line in folders[0].read_metrics() if line["kind"] == "validation"]
    return Worker(trials, folders, core, process, epochs_before=max(done, default=0))
