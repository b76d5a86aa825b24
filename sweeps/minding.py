"""What a run does to its processes: it asks them to stop, and kills what is too slow, silent or overtaken."""

import signal
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager

from sqzx.trial import Status, TrialFolder
from sweeps.elsewhere import Overtaking
from sweeps.endings import OVERTAKEN
from sweeps.executors import Handle

GRACE_SECONDS = 7.0
"""How long an asked worker may take to save and end: a compilation cannot be broken off."""


class Pulse:
    """When the metrics of trials that train as one last grew, and whether others have `overtaken` them."""

    def __init__(self, folders: Sequence[TrialFolder]):
        self.overtaken = Overtaking(folders)
        self._files = [folder.metrics_file for folder in folders]
        self._sizes, self._changed = self._seen(), time.monotonic()

    def silent_seconds(self) -> float:
        """Return how long no file has changed, as far as this was asked often."""
        if (sizes := self._seen()) != self._sizes:
            self._sizes, self._changed = sizes, time.monotonic()
        return time.monotonic() - self._changed

    def _seen(self) -> list[int]:
        return [file.stat().st_size if file.exists() else 0 for file in self._files]


def stop(running: Iterable[Handle], *, at_once: bool) -> None:
    """Ask the workers to save and end; kill those that were asked long ago, or all of them `at_once`."""
    for handle in running:
        if handle.killed_as is not None:
            continue
        if handle.asked is None and not at_once:
            handle.ask_to_stop()
        elif at_once or time.monotonic() - (handle.asked or 0) > GRACE_SECONDS:
            handle.kill(Status(status="interrupted", reason="stopped without saving its state"))


def enforce(running: Mapping[Handle, Pulse], *, time_limit: float | None, stall_limit: float | None) -> None:
    """Kill what has passed its time, or has shown no life for too long."""
    for handle, pulse in running.items():
        if handle.killed_as is not None:
            continue
        if time_limit is not None and handle.seconds > time_limit * len(handle.trials):
            reason = f"took longer than the time limit of {time_limit:g} s"
            handle.kill(Status(status="timed_out", reason=reason))
        elif stall_limit is not None and min(pulse.silent_seconds(), handle.seconds) > stall_limit:
            reason = f"stalled: no new line of metrics for {stall_limit:g} s"
            handle.kill(Status(status="timed_out", reason=reason))
        elif pulse.overtaken.is_over(handle.pid):
            handle.kill(OVERTAKEN)


@contextmanager
def stop_requests() -> Generator[Callable[[], int]]:
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
