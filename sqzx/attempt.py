"""One attempt at a trial: claim its folder, train, and say in `status.json` what became of it.

This is the one place where exceptions become statuses. It serves `sqzx train` and the workers of a sweep.
"""

import errno
import os
import socket
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import filelock

from sqzx.config import TrialConfig
from sqzx.errors import InputError, Interrupted, NonFiniteError, SqzxError
from sqzx.provenance import provenance
from sqzx.trial import Status, TrialFolder, now, process_start

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
    """Train the trial in its claimed folder, or go on with it, and return what became of it.

    A finished trial is left as it is. `started` is the `time.monotonic()` at which the process began;
    `say` gets the lines of the log, and may fail. Raises `InputError` where the folder holds another
    configuration, or a trial that began from another model than `origin`.
    """

    def tell(line: str) -> None:
        with suppress(OSError):  # a full disk or a closed pipe costs the line, not the trial
            say(line)

    with claim(folder):
        before = folder.read_status()
        began = _digest(origin)
        if folder.config_file.exists():
            _check_same(folder, folder.read_config(), config)
            if before.attempts and before.init_from != began:
                old, new = (found or "fresh parameters" for found in (before.init_from, began))
                raise InputError(f"{folder.path}: began from {old}, not from {new}; choose another folder")
        if before.status == "done":
            return before
        folder.write_config(config)
        status = Status(
            status="running",
            attempts=before.attempts + 1,
            host=socket.gethostname(),
            pid=os.getpid(),
            process_start=process_start(os.getpid()),
            started_time=now(),
            faults=before.faults,
            init_from=began,
            provenance=provenance(),
        )
        folder.write_status(status)

        def on_fault(fault: str) -> None:
            nonlocal status
            tell(f"fault: {fault}")
            status = status.but(faults=(*status.faults, fault))
            folder.write_status(status)

        try:
            from sqzx.training import train  # JAX starts here, after the claim

            train(
                config,
                folder,
                origin=origin,
                should_stop=should_stop,
                on_fault=on_fault,
                say=tell,
                started=started,
            )
            status = status.but(status="done")
        except Interrupted as error:
            status = status.but(status="interrupted", reason=str(error))
        except NonFiniteError as error:
            status = status.but(status="failed", reason=f"not finite: {error}")
        except SqzxError as error:
            status = status.but(status="failed", reason=str(error))
        except Exception as error:
            tell(traceback.format_exc())
            status = status.but(status="failed", reason=_cause(error))
        status = status.but(ended_time=now())
        if status.reason:
            tell(f"{status.status}: {status.reason}")
        folder.write_status(status)
        return status


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
