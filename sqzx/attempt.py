"""One attempt at a trial: claim its folder, train, and say in `status.json` what became of it.

This is the one place where exceptions become statuses. It serves `sqzx train` and the workers of a sweep.
"""

import errno
import os
import socket
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import filelock

from sqzx.config import TrialConfig
from sqzx.errors import InputError, Interrupted, NonFiniteError, Paused, SqzxError
from sqzx.provenance import provenance
from sqzx.trial import State, Status, TrialFolder, now, process_start

if TYPE_CHECKING:
    from sqzx.model import Model


class ClaimedElsewhere(SqzxError):
    """Another process is at work in this trial's folder."""


@contextmanager
def claim(folder: TrialFolder) -> Generator[None]:
    """Hold the right to write into a trial's folder, or raise `ClaimedElsewhere` at once.

    The lock is the kernel's: it goes when its process ends, however it ends, so a dead process never
    keeps a trial and a living one never loses it. It holds on one machine, and between machines as far as
    their shared file system passes locks on.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.claim_file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ClaimedElsewhere(f"{folder.path}: another process is at work there") from None
    try:
        yield
    finally:
        lock.release()


def is_claimed(folder: TrialFolder) -> bool:
    """Whether a process holds the claim on a trial's folder at this moment."""
    try:
        with claim(folder):
            return False
    except ClaimedElsewhere:
        return True


def attempt(
    config: TrialConfig,
    folder: TrialFolder,
    *,
    started: float,
    origin: "Model | None" = None,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> Status:
    """Train one trial in its folder, or go on with it, and return what became of it; see `attempt_stack`.

    Raises `ClaimedElsewhere` where another process is at work there.
    """
    (status,) = attempt_stack(
        [(config, folder)], started=started, origin=origin, should_stop=should_stop, say=say
    )
    if status is None:
        raise ClaimedElsewhere(f"{folder.path}: another process is at work there")
    return status


def attempt_stack(
    trials: Sequence[tuple[TrialConfig, TrialFolder]],
    *,
    started: float,
    origin: "Model | None" = None,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> list[Status | None]:
    """Train trials as one program, each in its folder, and return what became of each.

    That is None for a trial on which another process is at work, and a finished one is left as it is.
    `started` is the `time.monotonic()` at which the process began; `say` gets the lines that also go to the
    trials' logs, and may fail. Raises `InputError` where a folder holds another configuration, or a trial
    that began from another model than `origin`.

    An error that is no trial's own ends them all. It is the failure of a trial that was alone; those of a
    stack are interrupted by it, so that a run tries each alone.
    """
    began = _digest(origin)
    with ExitStack() as claims:
        attempts: list[_Attempt | None] = []
        for config, folder in trials:
            try:
                claims.enter_context(claim(folder))
            except ClaimedElsewhere:
                attempts.append(None)
            else:
                attempts.append(_Attempt(config, folder, began, say))
        open_ones = [a for a in attempts if a is not None and a.status.status != "done"]
        for one in open_ones:
            one.begin(len(open_ones))
        if open_ones:
            _train(open_ones, started, origin, should_stop)
        return [None if one is None else one.status for one in attempts]


class _Attempt:
    """A trial whose folder is claimed, and its status while the attempt lasts."""

    def __init__(
        self, config: TrialConfig, folder: TrialFolder, began: str | None, say: Callable[[str], None]
    ):
        self.config, self.folder, self._say = config, folder, say
        self.status, self._began = folder.read_status(), began
        if folder.config_file.exists():
            _check_same(folder, folder.read_config(), config)
            if self.status.attempts and self.status.init_from != began:
                old, new = (found or "fresh parameters" for found in (self.status.init_from, began))
                raise InputError(f"{folder.path}: began from {old}, not from {new}; choose another folder")

    def begin(self, stack: int) -> None:
        """Say that the trial runs, in a stack of so many."""
        before = self.status
        self.folder.write_config(self.config)
        self.status = Status(
            status="running",
            attempts=before.attempts + 1,
            host=socket.gethostname(),
            pid=os.getpid(),
            process_start=process_start(os.getpid()),
            started_time=now(),
            faults=before.faults,
            init_from=self._began,
            stack=stack,
            provenance=provenance(),
        )
        self.folder.write_status(self.status)
        old, new = (len(status.provenance.get("cores", ())) for status in (before, self.status))
        if old and old != new and self.folder.checkpoints.exists():
            self.on_fault(
                f"began on {_cores(old)} and goes on on {_cores(new)}: the numbers need not be, bit for bit, "
                "those of an uncut run"
            )

    def tell(self, line: str) -> None:
        """Put a line into the trial's log; a full disk or a closed pipe costs the line, not the trial."""
        with suppress(OSError):
            self._say(line)
        with suppress(OSError), self.folder.log_file.open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def on_fault(self, fault: str) -> None:
        """Keep and tell damage that was got round."""
        self.tell(f"fault: {fault}")
        self.status = self.status.but(faults=(*self.status.faults, fault))
        self.folder.write_status(self.status)

    def on_end(self, error: NonFiniteError | Paused | None) -> None:
        """Say that the trial is done, where it paused, or what its numbers came to."""
        if error is None:
            self.end("done")
        elif isinstance(error, Paused):
            self.status = self.status.but(epoch=error.epoch)
            self.end("censored", str(error))
        else:
            self.end("failed", f"not finite: {error}")

    def end(self, state: State, reason: str | None = None) -> None:
        """Say what became of the trial."""
        self.status = self.status.but(status=state, reason=reason, ended_time=now())
        if reason:
            self.tell(f"{state}: {reason}")
        self.folder.write_status(self.status)


def _train(
    attempts: Sequence[_Attempt],
    started: float,
    origin: "Model | None",
    should_stop: Callable[[], bool],
) -> None:
    """Train, and give each trial whose end the training does not tell the end that its error means."""
    try:
        from sqzx.training import Job, train_stack  # JAX starts here, after the claim

        jobs = [
            Job(
                config=one.config,
                folder=one.folder,
                say=one.tell,
                on_fault=one.on_fault,
                on_end=one.on_end,
                pause=one.folder.read_pause(),
            )
            for one in attempts
        ]
        train_stack(jobs, origin=origin, should_stop=should_stop, started=started)
    except Interrupted as error:
        _end_rest(attempts, "interrupted", str(error))
    except SqzxError as error:
        _end_rest(attempts, "failed", str(error))
    except Exception as error:
        for one in attempts:
            if one.status.status == "running":
                one.tell(traceback.format_exc())
        if len(attempts) == 1:
            _end_rest(attempts, "failed", _cause(error))
        else:
            _end_rest(attempts, "interrupted", f"its stack of {len(attempts)} failed: {_cause(error)}")


def _end_rest(attempts: Sequence[_Attempt], state: State, reason: str) -> None:
    for one in attempts:
        if one.status.status == "running":
            one.end(state, reason)


def _cores(number: int) -> str:
    return "1 core" if number == 1 else f"{number} cores"


def _digest(origin: "Model | None") -> str | None:
    """Name the model that a trial starts from by what it is, wherever it lies."""
    if origin is None:
        return None
    from sqzx.model import model_digest

    return model_digest(origin)


def _cause(error: Exception) -> str:
    """Return an unforeseen error as one line."""
    # Orbax turns the system's error into a ValueError that quotes it.
    if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
        return "no space left on the disk"
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")


def _check_same(folder: TrialFolder, there: TrialConfig, here: TrialConfig) -> None:
    old, new = there.settings(), here.settings()
    for key in new:
        if old[key] != new[key]:
            raise InputError(
                f"{folder.path}: holds another trial ({key} is {old[key]} there, {new[key]} here); "
                "choose another folder"
            )
