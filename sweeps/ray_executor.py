"""Worker processes on the nodes of a Ray cluster: one Ray task a stack, with its resources.

`RAY_ADDRESS` names the cluster; without it one is started on this machine, on its loopback address, and
ended with the run. Ray finds the node and tells when it is gone; identity, resume and failure stay ours: its
retries are off, and a stack whose node died runs again once, from its newest checkpoint.

A stop travels as an order on a board (an actor beside the runner), not as Ray's cancellation, after which a
task can't say any more how its process ended. Only a task that heeds no order is cancelled.
"""

import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from sqzx.claims import Claim, ClaimedElsewhere, claim
from sqzx.errors import InputError
from sqzx.files import write_text
from sqzx.provenance import command_text
from sqzx.trial import Status, TrialFolder
from sweeps.devices import workers_a_device
from sweeps.endings import Ending
from sweeps.executors import Resources
from sweeps.local import epochs_before, prepared_folders
from sweeps.plan import PlannedTrial, trials_dir
from sweeps.ray_cluster import connected
from sweeps.ray_task import Board, Job, run_stack
from sweeps.stacks import Stack
from sweeps.transfer import pack, unpack
from sweeps.worker import CLAIMED

COUNT_SECONDS = 2.0
"""How often the nodes are counted anew: they may come and go."""
KILL_SECONDS = 2.0
"""How long a task may take to kill its process; then the task itself is killed, and the process with it."""
LOSSES = 2
"""A stack that has lost so many nodes has failed: it may be what they die of."""
SETTINGS = ("JAX_", "XLA_", "SQZX_")
"""The runner's variables that change what a program computes; the others are the node's own."""


@dataclass(eq=False)
class Task:
    """A stack whose task was given to Ray; see `executors.Handle`."""

    trials: Stack
    folders: tuple[TrialFolder, ...]
    before: tuple[Status, ...]
    epochs_before: int
    asked: float | None = None
    killed_as: Status | None = None
    _: KW_ONLY
    ray: Any
    stream: Any
    order: Callable[[str], object]
    losses: Counter[str]
    notes: list[str]
    _claims: ExitStack = field(default_factory=ExitStack)
    _held: list[Claim] = field(default_factory=list)
    _pid: int | None = None
    _host: str = ""
    _began: float | None = None
    _killed: float | None = None
    _foreign: bool = False
    _ending: Ending | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process, or this one's where it has claimed the trials for it."""
        return os.getpid() if self._held else self._pid

    @property
    def seconds(self) -> float:
        """How long the process has run; 0 while Ray looks for a node."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def ended(self) -> bool:
        """Whether the task has ended; what it has told meanwhile is taken."""
        while self._ending is None and self.ray.wait([self.stream], timeout=0)[0]:
            try:
                self._take(self.ray.get(next(self.stream)))
            except (StopIteration, self.ray.exceptions.RayError) as error:
                self._end(code=None, lost=self._loss(error))
        if self._killed is not None and time.monotonic() - self._killed > KILL_SECONDS:
            self._killed = None
            self.abandon()
        return self._ending is not None

    def ask_to_stop(self) -> None:
        """Ask the process to save its state and end."""
        self.asked = time.monotonic()
        self.order("stop")

    def kill(self, status: Status) -> None:
        """End the process at once; its trials get the state and reason of `status`."""
        self.killed_as = status
        self._killed = time.monotonic()
        self.order("kill")

    def abandon(self) -> None:
        """Have Ray end the task, and its process with it."""
        if self._ending is None:
            self.ray.cancel(self.stream, force=True)

    def outcomes(self) -> list[tuple[PlannedTrial, Status | None]]:
        """Return what became of each trial."""
        assert self._ending is not None
        return self._ending.outcomes(self.trials, self.folders)

    def again(self, interrupted: Sequence[PlannedTrial]) -> list[Stack]:
        """Return what a lost node left, together; the trials of a stack that died, each alone."""
        assert self._ending is not None
        if self._ending.lost is not None and not (self.asked or self.killed_as):
            return [tuple(interrupted)] if interrupted else []
        alone = len(self.trials) > 1 and self._ending.failed_as_one
        return [(trial,) for trial in interrupted] if alone else []

    def close(self) -> None:
        """Give up the claims; what still comes is kept no more."""
        self._claims.close()
        self._held.clear()

    def _take(self, told: dict[str, Any]) -> None:
        if "host" in told:
            self._host, self._pid, self._began = told["host"], told["pid"], time.monotonic()
            if told["note"]:
                self.notes.append(f"{self._host}: {told['note']}")
            if not told["sees"]:
                self._claim()
        if told.get("files") and self._held:
            try:
                unpack(told["files"], self.folders[0].path.parent, self._halves())
            except OSError as error:  # a full disk is these trials' failure
                if not all(held.is_held() for held in self._held):
                    self._foreign = True
                self.kill(Status(status="failed", reason=f"its files could not be kept: {error.strerror}"))
        if "code" in told:
            self._end(code=CLAIMED if self._foreign else told["code"])

    def _claim(self) -> None:
        """Claim the folders here for a process that has none in reach; another runner's go first."""
        try:
            for folder, before in zip(self.folders, self.before, strict=True):
                self._held.append(self._claims.enter_context(claim(folder)))
                if folder.read_status() != before:
                    raise ClaimedElsewhere(f"{folder.path}: another process was at work there")
        except ClaimedElsewhere:
            self._foreign = True
            self.close()
            self.order("kill")
        except OSError as error:  # a full disk is these trials' failure
            self.close()
            self.kill(Status(status="failed", reason=f"its folder could not be claimed: {error.strerror}"))

    def _halves(self) -> dict[str, Path]:
        """Return the folder of each claim, by the trial's id: what is put in place comes from there."""
        return {held.folder.id: held.folder.halves for held in self._held if held.folder.halves is not None}

    def _end(self, *, code: int | None, lost: Status | None = None) -> None:
        self.close()
        self._ending = Ending(
            pid=self._pid,
            code=code,
            before=self.before,
            asked=self.asked is not None,
            killed_as=self.killed_as,
            lost=lost,
        )

    def _loss(self, error: Exception) -> Status:
        """Return what the end of a task means that did not come from its process."""
        errors = self.ray.exceptions
        if isinstance(error, errors.OutOfMemoryError):
            return Status(status="failed", reason=f"Ray ended it: {self._host} ran out of memory")
        if isinstance(error, errors.RayTaskError | errors.RuntimeEnvSetupError):
            cause = str(error).strip().splitlines()[-1]
            return Status(status="failed", reason=f"its Ray task failed: {cause}")
        self.losses.update(trial.id for trial in self.trials)
        if max(self.losses[trial.id] for trial in self.trials) < LOSSES:
            return Status(
                status="interrupted", reason=f"its node was lost ({self._host or 'before it began'})"
            )
        return Status(status="failed", reason=f"its node was lost, {LOSSES} times")


class RayExecutor:
    """Runs stacks as processes on the nodes of a Ray cluster; see `executors.Executor`."""

    def __init__(self, out: Path, resources: Resources):
        self._out, self._cores = out.absolute(), resources.cores
        self._tasks: list[Task] = []
        self._losses: Counter[str] = Counter()
        self._started = 0
        self._notes: list[str] = []
        with ExitStack() as exits:
            self._ray = connected(exits, resources)
            has_devices = self._ray.cluster_resources().get("GPU", 0) > 0
            self._share = float(has_devices) if resources.gpus is None else resources.gpus
            self._room, self._counted = self._count(), time.monotonic()
            if not self._room:
                devices = f" and {self._share:g} of a GPU" if self._share else ""
                raise InputError(
                    f"--executor ray: no node of the cluster has the {self._cores} cores{devices} of a "
                    "worker; see --cores-per-worker and --gpus-per-worker"
                )
            self._asked_for = resources.workers
            if resources.workers is not None and resources.workers > self._room:
                self._notes.append(
                    f"{resources.workers} workers at once, and room in the cluster for {self._room}"
                )
            self._token = secrets.token_hex(16)
            self._marker = self._out / f".seen-by-{self._token[:8]}"
            write_text(self._marker, self._token)
            exits.callback(self._marker.unlink, missing_ok=True)
            remote, here = self._ray.remote, self._ray.get_runtime_context().get_node_id()
            affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
            self._board = (
                remote(Board)
                .options(num_cpus=0, max_concurrency=10_000, scheduling_strategy=affinity)
                .remote()
            )
            self._run_stack = remote(run_stack).options(
                num_cpus=self._cores, num_gpus=self._share, max_retries=0, num_returns="streaming"
            )
            self._exits = exits.pop_all()

    @property
    def free(self) -> int:
        """How many more stacks the nodes have room for."""
        self._tasks = [task for task in self._tasks if not task.ended]
        if time.monotonic() - self._counted > COUNT_SECONDS:
            self._room, self._counted = self._count(), time.monotonic()
        return min(self._asked_for or self._room, self._room) - len(self._tasks)

    def start(self, stack: Stack) -> Task:
        """Give a stack to Ray, with its files, which travel only where the node doesn't see them."""
        folders = prepared_folders(stack, self._out)
        before = tuple(folder.read_status() for folder in folders)
        self._started += 1
        number, ids = self._started, [trial.id for trial in stack]
        job: Job = {
            "out": str(self._out),
            "marker": str(self._marker),
            "token": self._token,
            "trials": ids,
            "number": number,
            "cores": self._cores,
            "gpus": self._share,
            "command": command_text(sys.argv),
            "settings": {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)},
        }
        files, _ = pack(trials_dir(self._out), ids, {})
        task = Task(
            stack,
            folders,
            before,
            epochs_before(folders[0]),
            ray=self._ray,
            stream=self._run_stack.remote(job, self._board, [self._ray.put(files)]),
            order=lambda order: self._board.write.remote(number, order),
            losses=self._losses,
            notes=self._notes,
        )
        self._tasks.append(task)
        return task

    def notes(self) -> list[str]:
        """Return what the user should know and has not been told."""
        told = self._notes.copy()
        self._notes.clear()
        return told

    def close(self) -> None:
        """End what still runs, the cluster too if it was started here."""
        for task in self._tasks:
            task.abandon()
            task.close()
        self._exits.close()

    def _count(self) -> int:
        """Return how many workers the nodes of this moment have room for."""
        room = 0
        for node in self._ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            fit = int(has.get("CPU", 0) // self._cores)
            if self._share:
                fit = min(fit, int(has.get("GPU", 0)) * workers_a_device(self._share))
            room += fit
        return room
