"""One attempt at a trial: claim its folder, train, and say in `status.json` what became of it.

This is the one place where exceptions become statuses. It serves `sqzx train` and the workers of a sweep.
"""

import errno
import os
import socket
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from sqzx.claims import Claim, ClaimedElsewhere, ClaimLost, claim, when_free
from sqzx.config import TrialConfig
from sqzx.errors import InputError, Interrupted, NonFiniteError, Paused, SqzxError
from sqzx.processes import this_process
from sqzx.provenance import device, provenance
from sqzx.trial import FINAL_FILES, State, Status, TrialFolder, now

if TYPE_CHECKING:
    from sqzx.model import Model


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

    Raises `ClaimedElsewhere` where another process is seen to be at work there, or has taken over. A process
    of another host that says nothing is waited for (`claims.wait_for`); `Interrupted` where `should_stop`
    says so meanwhile.
    """

    def act() -> Status | None:
        (status,) = attempt_stack(
            [(config, folder)], started=started, origin=origin, should_stop=should_stop, say=say
        )
        return status

    return when_free(folder, act, say, should_stop)


def attempt_stack(
    trials: Sequence[tuple[TrialConfig, TrialFolder]],
    *,
    started: float,
    origin: "Model | None" = None,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> list[Status | None]:
    """Train trials of one program together, each in its folder, and return what became of each.

    That is None for a trial on which another process is at work, from the start or because this one was
    stopped for so long that it lost its claim; one that is done, or has paused where it should, is left as it
    is.
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
                held = claims.enter_context(claim(folder))
            except ClaimedElsewhere:
                attempts.append(None)
            else:
                attempts.append(_Attempt(config, held, began, say))
        open_ones = [a for a in attempts if a is not None and not a.is_over()]
        if open_ones:
            _train(open_ones, started, origin, should_stop)
        return [None if one is None or one.lost else one.status for one in attempts]


class _Attempt:
    """A trial whose folder is claimed, and its status; `lost` where the claim did not last."""

    def __init__(self, config: TrialConfig, held: Claim, began: str | None, say: Callable[[str], None]):
        self.config, self.claim, self._say = config, held, say
        self.folder = folder = held.folder
        self.status, self._began, self.lost = folder.read_checked_status(FINAL_FILES), began, False
        self.ended = False
        self.pause: int | None = None
        self.pause_damage: str | None = None
        try:
            self.pause = folder.read_pause()
        except InputError as error:
            self.pause_damage = str(error)
        if folder.config_file.exists():
            _check_same(folder, folder.read_config(), config)
            if self.status.attempts and self.status.init_from != began:
                old, new = (found or "fresh parameters" for found in (self.status.init_from, began))
                raise InputError(f"{folder.path}: began from {old}, not from {new}; choose another folder")

    def is_over(self) -> bool:
        """Whether nothing is left to do, as where another runner was faster."""
        if self.status.status != "censored":
            return self.status.status == "done"
        return self.pause is not None and self.pause <= (self.status.epoch or 0)

    def begin(self, stack: int) -> None:
        """Say that the trial runs, in a stack of so many."""
        before, me = self.status, this_process()
        self.folder.write_config(self.config)
        self.status = Status(
            status="running",
            attempts=before.attempts + 1,
            host=socket.gethostname(),
            pid=me.pid,
            process_start=me.start,
            place=me.place,
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
        if not self.claim.is_held():
            return
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
        """Say what became of the trial, and of one that is done on which device and into which files."""
        ended = self.status.but(status=state, reason=reason, ended_time=now())
        if state == "done":
            told = self.status.provenance | {"device": device()}
            ended = ended.but(files=self.folder.digests(), provenance=told)
        if reason:
            self.tell(f"{state}: {reason}")
        self.folder.write_status(ended)
        self.status, self.ended = ended, True  # not before: an end that could not be written is none

    def still_ours(self) -> bool:
        """Whether the claim is held; once it was not, nothing more is written."""
        self.lost = self.lost or not self.claim.is_held()
        return not self.lost

    def end_after_error(self, state: State, reason: str) -> None:
        """Say what became of a trial that training left running, unless it is another process's by now."""
        if not self.ended and self.still_ours():
            try:
                self.end(state, reason)
            except OSError:
                if self.still_ours():
                    raise


def _train(
    attempts: Sequence[_Attempt],
    started: float,
    origin: "Model | None",
    should_stop: Callable[[], bool],
) -> None:
    """Train, and give each trial whose end the training does not tell the end that its error means."""

    def stop_asked() -> bool:
        for one in attempts:
            one.claim.check()
        return should_stop()

    def end_rest(state: State, reason: str) -> None:
        for one in attempts:
            one.end_after_error(state, reason)

    try:
        for one in attempts:
            one.begin(len(attempts))
        if attempts[0].config.compress is not None:  # such a trial has no pauses
            _compress(attempts, origin, stop_asked)
            return
        for one in attempts:
            if one.pause_damage:
                one.end("failed", one.pause_damage)
        from sqzx.training import Job, train_stack  # JAX starts here, after the claim

        jobs = [
            Job(
                config=one.config,
                folder=one.folder,
                say=one.tell,
                on_fault=one.on_fault,
                on_end=one.on_end,
                pause=one.pause,
            )
            for one in attempts
            if not one.ended
        ]
        if jobs:
            train_stack(jobs, origin=origin, should_stop=stop_asked, started=started)
    except Interrupted as error:
        end_rest("interrupted", str(error))
    except ClaimLost as error:
        end_rest("interrupted", f"its stack of {len(attempts)} ended: {error}")
    except SqzxError as error:
        end_rest("failed", str(error))
    except Exception as error:
        for one in attempts:
            if not one.ended:
                one.tell(traceback.format_exc())
        if len(attempts) == 1:
            end_rest("failed", _cause(error))
        else:
            end_rest("interrupted", f"its stack of {len(attempts)} failed: {_cause(error)}")


def _compress(attempts: Sequence[_Attempt], dense: "Model | None", should_stop: Callable[[], bool]) -> None:
    """Compress `dense` as a trial says, which has no others beside it."""
    from sqzx.compression.compressed_trial import compress_trial
    from sqzx.compression.stages import Listener

    (one,) = attempts
    assert dense is not None, "a compressed trial starts from the network of its dense one"
    listener = Listener(say=one.tell, on_fault=one.on_fault, should_stop=should_stop)
    compress_trial(one.config, one.folder, dense, listener)
    one.end("done")


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
    for key in {**new, **old}:
        if (was := old.get(key)) != (now := new.get(key)):
            raise InputError(
                f"{folder.path}: holds another trial ({key} is {was} there, {now} here); "
                "choose another folder"
            )
