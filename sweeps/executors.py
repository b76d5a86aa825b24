"""Where the processes of a study run: the contract that the runner knows, and who fulfils it.

`sweeps.local` starts processes on this machine, `sweeps.ray_executor` on the nodes of a Ray cluster. Both
start the same process (`sweeps.worker`) on the same kind of folder; claims, statuses, stops and retries mean
the same on both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from sqzx.trial import Status, TrialFolder
from sweeps.plan import PlannedTrial
from sweeps.stacks import Stack

ExecutorName = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a worker gets: its own cores, and a share of an NVIDIA device.

    `workers` at once is by default as many as fit. `gpus` is 0 (no device), up to 1 (a share of one), or
    None: a whole one where JAX has one.
    """

    workers: int | None = None
    cores: int = 1
    gpus: float | None = None


class Handle(Protocol):
    """A stack whose process was started."""

    @property
    def trials(self) -> Stack:
        """The trials of the stack."""
        ...

    @property
    def folders(self) -> tuple[TrialFolder, ...]:
        """Where their files come to be, however far away the process runs."""
        ...

    @property
    def pid(self) -> int | None:
        """The number, on its machine, of the process that claims the trials; None as long as it has none."""
        ...

    @property
    def epochs_before(self) -> int:
        """How many epochs the first trial had made before."""
        ...

    @property
    def seconds(self) -> float:
        """How long the process has run; 0 while it waits for its machine."""
        ...

    @property
    def asked(self) -> float | None:
        """The `time.monotonic()` at which it was asked to stop."""
        ...

    @property
    def killed_as(self) -> Status | None:
        """The state and reason for which it was killed."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the process has ended, and all that it left is in the folders."""
        ...

    def ask_to_stop(self) -> None:
        """Ask the process to save its state and end."""
        ...

    def kill(self, status: Status) -> None:
        """End the process at once; its trials get the state and reason of `status`."""
        ...

    def outcomes(self) -> list[tuple[PlannedTrial, Status | None]]:
        """Return what became of each trial of an ended process; None: another runner has it."""
        ...

    def again(self, interrupted: Sequence[PlannedTrial]) -> list[Stack]:
        """Return which of its interrupted trials should run again in this run, and how."""
        ...


class Executor(Protocol):
    """Starts stacks, at most as many at once as its machines have room for."""

    @property
    def free(self) -> int:
        """How many more stacks may be started at this moment."""
        ...

    def start(self, stack: Stack) -> Handle:
        """Start the process of a stack; OSError where that is not possible."""
        ...

    def notes(self) -> list[str]:
        """Return the lines that the user should see and has not seen, such as cores that are shared."""
        ...

    def close(self) -> None:
        """End what still runs, and leave no process behind."""
        ...


def open_executor(name: ExecutorName, out: Path, resources: Resources) -> Executor:
    """Return the executor of that name for the study's folder; `InputError` where it cannot work here."""
    if name == "local":
        from sweeps.local import LocalExecutor

        return LocalExecutor(out, resources)
    from sweeps.ray_executor import RayExecutor  # Ray is an optional extra

    return RayExecutor(out, resources)
