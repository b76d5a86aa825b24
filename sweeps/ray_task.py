"""What runs on a node of a Ray cluster: the task of one stack, which minds the worker process.

The process is the one that the local executor starts, on cores that nobody else on the node uses; it dies
with the task, and the task with its node. Plain values and bytes travel, no objects of our own.
"""

import asyncio
import os
import socket
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict

from sqzx.files import cache_home
from sqzx.provenance import available_cores
from sweeps.cores import Cores
from sweeps.devices import device_environment, memory_environment, visible_devices
from sweeps.local import launch, shared_text, worker_environment
from sweeps.plan import trial_folder, trials_dir
from sweeps.transfer import Stamps, pack, unpack

POLL_SECONDS = 0.1
SYNC_SECONDS = 5.0
"""How often the changed files of a running trial travel, where the node doesn't see the study's folder."""
FIRST_SYNC_SECONDS = 1.0
"""By then it says that it is running."""


class Job(TypedDict):
    """What a task needs to know: the study's folder with a marker file and its text, the trials, the means.

    `settings` are those of the runner's environment that change what a program computes.
    """

    out: str
    marker: str
    token: str
    trials: list[str]
    number: int
    cores: int
    gpus: float
    command: str
    settings: dict[str, str]


class Board:
    """An actor on which the runner writes orders to its tasks, by their numbers: "stop", "kill"."""

    def __init__(self) -> None:
        self._orders: defaultdict[int, asyncio.Queue[str]] = defaultdict(asyncio.Queue)

    async def write(self, number: int, order: str) -> None:
        """Leave an order for a task."""
        self._orders[number].put_nowait(order)

    async def next_order(self, number: int) -> str:
        """Wait for the next order to a task."""
        return await self._orders[number].get()


def run_stack(job: Job, board: Any, files: list[Any]) -> Iterator[dict[str, Any]]:
    """Run the process of a stack, and yield what the runner should know.

    First where it runs; then, where the node doesn't see the study's folder, the changed files now and then;
    last the exit code. `files` holds the reference to the packed trial folders, fetched only if needed.
    """
    import ray

    with ExitStack() as exits:
        sees = _sees(job)
        if sees:
            root, cache = Path(job["out"]), Path(job["out"]) / "cache"
        else:
            root = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="sqzx-")))
            cache = cache_home() / "compiled"
            unpack(ray.get(files[0]), trials_dir(root))
        cores = Cores(available_cores())
        loan = cores.lend(job["cores"])
        exits.callback(cores.take_back, loan)
        stamps: Stamps = {}

        def changed() -> bytes:
            nonlocal stamps
            if sees:
                return b""
            packed, stamps = pack(trials_dir(root), job["trials"], stamps)
            return packed

        changed()  # what came needs not go back
        environment = worker_environment(_environment(job, sees), cache, job["command"])
        process = launch([trial_folder(root, t) for t in job["trials"]], loan.cores, environment)
        exits.callback(process.wait)
        exits.callback(process.kill)
        yield {
            "host": socket.gethostname(),
            "pid": process.pid,
            "sees": sees,
            "note": shared_text(loan) if loan.shared else "",
        }
        order = board.next_order.remote(job["number"])
        due = time.monotonic() + FIRST_SYNC_SECONDS
        while process.poll() is None:
            if ray.wait([order], timeout=0)[0]:
                (process.terminate if ray.get(order) == "stop" else process.kill)()
                order = board.next_order.remote(job["number"])
            if not sees and time.monotonic() > due:
                yield {"files": changed()}
                due = time.monotonic() + SYNC_SECONDS
            time.sleep(POLL_SECONDS)
        yield {"files": changed(), "code": process.returncode}


def _sees(job: Job) -> bool:
    """Whether this node sees the study's folder, and not another one of that name."""
    try:
        return Path(job["marker"]).read_text() == job["token"]
    except OSError:
        return False


def _environment(job: Job, sees: bool) -> dict[str, str]:
    """Return the node's environment with the runner's settings; paths only where both see the same files."""
    passed = {name: value for name, value in job["settings"].items() if sees or not name.startswith("SQZX_")}
    environment = dict(os.environ) | passed
    if job["gpus"]:  # Ray has chosen the device
        return environment | memory_environment(job["gpus"])
    return environment | (device_environment(None, 0) if visible_devices(environment) else {})
