"""Worker processes on this machine: one a trial or a stack of them, each on cores of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqzx.compilation import keep_memory, use_compilation_cache
from sqzx.errors import InputError
from sqzx.provenance import COMMAND_VARIABLE, available_cores, command_text
from sqzx.trial import Status, TrialFolder
from sweeps.cores import Cores, Loan
from sweeps.curves import validation_curve
from sweeps.devices import (
    Devices,
    device_environment,
    has_accelerator,
    visible_devices,
    workers_a_device,
)
from sweeps.endings import Ending
from sweeps.executors import Resources
from sweeps.plan import PlannedTrial, trial_folder
from sweeps.stacks import Stack


@dataclass(eq=False)
class Worker:
    """A process of this machine that trains a trial, or several together; see `executors.Handle`."""

    trials: Stack
    folders: tuple[TrialFolder, ...]
    process: subprocess.Popen[bytes]
    loan: Loan
    device: str | None
    before: tuple[Status, ...]
    epochs_before: int
    asked: float | None = None
    killed_as: Status | None = None
    _began: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self.process.pid

    @property
    def seconds(self) -> float:
        """How long the process has run."""
        return time.monotonic() - self._began

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def ask_to_stop(self) -> None:
        """Ask the process to save its state and end."""
        self.asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)

    def kill(self, status: Status) -> None:
        """End the process at once; its trials get the state and reason of `status`."""
        self.killed_as = status
        self.process.kill()

    def outcomes(self) -> list[tuple[PlannedTrial, Status | None]]:
        """Return what became of each trial."""
        return self._ending.outcomes(self.trials, self.folders)

    def again(self, interrupted: Sequence[PlannedTrial]) -> list[Stack]:
        """Return the trials of a stack that died: each alone may do well, or fail alone."""
        alone = len(self.trials) > 1 and self._ending.failed_as_one
        return [(trial,) for trial in interrupted] if alone else []

    @property
    def _ending(self) -> Ending:
        return Ending(
            pid=self.pid,
            code=self.process.returncode,
            before=self.before,
            asked=self.asked is not None,
            killed_as=self.killed_as,
        )


class LocalExecutor:
    """Runs stacks as processes of this machine; see `executors.Executor`."""

    def __init__(self, out: Path, resources: Resources):
        self._out, self._each = out, resources.cores
        self._workers: list[Worker] = []
        self._cores = Cores(available_cores())
        found = visible_devices(os.environ)
        self._share = (
            (1.0 if has_accelerator(os.environ) else 0.0) if resources.gpus is None else resources.gpus
        )
        self._devices = Devices(found if self._share else [])
        self._hidden = bool(found) and resources.gpus == 0
        cores = len(self._cores.numbers)
        if resources.cores > cores:
            raise InputError(f"--cores-per-worker {resources.cores}: there are {cores} cores here")
        if self._share and not found:
            raise InputError(
                f"--gpus-per-worker {self._share:g}: found no NVIDIA device (/dev/nvidia*, or what "
                "CUDA_VISIBLE_DEVICES leaves of them); give 0 to train on cores"
            )
        fit = cores // resources.cores
        if self._share:
            fit = min(fit, len(found) * workers_a_device(self._share))
        self._most = resources.workers or fit
        self._notes = []
        if self._most > fit:
            self._notes.append(f"{self._most} workers at once, and room for {fit}: they share, and slow down")
        if self._share and not has_accelerator(os.environ):
            self._notes.append("JAX has no CUDA plugin here (the extra cuda): trials will train on cores")
        self._tells_sharing = self._most <= fit
        self._environment = worker_environment(os.environ, out / "cache", command_text(sys.argv))

    @property
    def free(self) -> int:
        """How many more workers may start; what ended ones used is taken back."""
        for worker in [w for w in self._workers if w.ended]:
            self._workers.remove(worker)
            self._cores.take_back(worker.loan)
            self._devices.take_back(worker.device)
        return self._most - len(self._workers)

    def start(self, stack: Stack) -> Worker:
        """Start the process of a stack.

        Call it from the main thread: the death signal of Linux, by which a worker ends with its runner, is
        tied to the thread that started it.
        """
        folders = prepared_folders(stack, self._out)
        before = tuple(folder.read_status() for folder in folders)
        loan, device = self._cores.lend(self._each), self._devices.lend()
        own = device_environment(device, self._share) if device or self._hidden else {}
        try:
            process = launch(folders, loan.cores, self._environment | own)
        except OSError:
            self._cores.take_back(loan)
            self._devices.take_back(device)
            raise
        worker = Worker(stack, folders, process, loan, device, before, epochs_before(folders[0]))
        self._workers.append(worker)
        if loan.shared and self._tells_sharing:
            self._tells_sharing = False
            self._notes.append(shared_text(loan))
        return worker

    def notes(self) -> list[str]:
        """Return what the user should know and has not been told."""
        told, self._notes = self._notes, []
        return told

    def close(self) -> None:
        """End what still runs."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
        _ = self.free


def prepared_folders(stack: Stack, out: Path) -> tuple[TrialFolder, ...]:
    """Return the folders of a stack, made where they are missing, each with its configuration."""
    folders = tuple(trial_folder(out, trial.id) for trial in stack)
    for trial, folder in zip(stack, folders, strict=True):
        folder.path.mkdir(parents=True, exist_ok=True)
        if not folder.config_file.exists():
            folder.write_config(trial.config)
    return folders


def worker_environment(base: Mapping[str, str], cache: Path, command: str) -> dict[str, str]:
    """Return the environment of workers: shared compiled programs, memory that is kept, the command line."""
    environment = dict(base)
    use_compilation_cache(environment, cache)
    keep_memory(environment)
    environment[COMMAND_VARIABLE] = command
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def launch(
    folders: Sequence[TrialFolder], cores: Sequence[int], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the process of trials in their folders, on cores of its own; its output goes to the first's log.

    The process leads a session of its own, so that the terminal's Ctrl-C reaches the runner alone, which then
    stops the workers in order.
    """
    command = [sys.executable, "-m", "sweeps.worker", ",".join(map(str, cores)), str(os.getpid())]
    with folders[0].log_file.open("ab") as log:
        return subprocess.Popen(
            [*command, *(str(folder.path.absolute()) for folder in folders)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def epochs_before(folder: TrialFolder) -> int:
    """Return how many epochs of a trial are validated already."""
    return len(validation_curve(folder) or ())


def shared_text(loan: Loan) -> str:
    """Say that other workers use a worker's cores, too."""
    cores = ", ".join(map(str, loan.shared))
    return f"core {cores}: another worker uses it, too; both will be slower"
