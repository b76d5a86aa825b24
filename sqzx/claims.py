"""Claims on trials' folders: this process's own, and what it sees of others (`sqzx.claim_protocol`)."""

import errno
import math
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sqzx.claim_protocol import FREE, Holder, Standing, Watch, claimed, release
from sqzx.errors import InputError, Interrupted, SqzxError
from sqzx.files import remove_whole, sweep_halves
from sqzx.processes import this_process
from sqzx.trial import TrialFolder, lives

T = TypeVar("T")

PATIENCE_VARIABLE = "SQZX_PATIENCE"
PATIENCE_SECONDS = 90.0
"""How long a beat may stand still. NFS clients believe what they know of a file for up to 60 s by default
(acregmax), and writing out gigabytes, or a compiler that keeps the interpreter's lock, can hold a living
process for some more. The environment variable sets another, for all machines alike."""
BEAT_SECONDS = 2.0
"""A beat is a write of some bytes in place. A `status` looks for as long to see whether somebody works."""
AWAY = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
"""Of a server of files that does not answer for a while: nothing is known of a claim then."""
PAUSE_SECONDS = 0.1
"""Given to a slow process that still writes into an entry, before that is emptied again."""


class ClaimedElsewhere(SqzxError):
    """Another process is at work in this trial's folder."""


class ClaimLost(SqzxError):
    """Another process has taken this trial over while this one was stopped or slow."""


class WriterFolder:
    """`WriterFiles` in a real folder."""

    def __init__(self, path: Path):
        self._path = path

    def found(self) -> None:
        """See `WriterFiles`."""
        if not self.names():
            (self._path / FREE).mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """See `WriterFiles`."""
        try:
            found = os.listdir(self._path)
        except FileNotFoundError:
            return []
        return sorted(name for name in found if name == FREE or Holder.of(name))

    def rename(self, old: str, new: str) -> bool:
        """See `WriterFiles`."""
        try:
            os.rename(self._path / old, self._path / new)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True

    def renew(self, name: str) -> None:
        """See `WriterFiles`."""
        for path in (self._path / name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._halves(name).mkdir()

    def remove(self, name: str) -> None:
        """See `WriterFiles`."""
        for path in (self._halves(name), self._path / name):
            with suppress(FileNotFoundError):
                shutil.rmtree(path)

    def beat(self, name: str, count: int) -> bool:
        """See `WriterFiles`. In place: a rename would need more of a slow server, and a reader takes any."""
        try:
            file = os.open(self._path / name / "beat", os.O_WRONLY | os.O_CREAT, 0o644)
        except FileNotFoundError:
            return False
        try:
            os.write(file, f"{count:016d}\n".encode())
        finally:
            os.close(file)
        return True

    def heard(self, name: str) -> str:
        """See `WriterFiles`."""
        try:
            return (self._path / name / "beat").read_text()
        except OSError:
            return ""

    def lives(self, name: str) -> bool | None:
        """See `WriterFiles`."""
        holder = Holder.of(name)
        return None if holder is None else holder.process.lives()

    def pause(self) -> None:
        """See `WriterFiles`."""
        time.sleep(PAUSE_SECONDS)

    def _halves(self, name: str) -> Path:
        return self._path / name / "halves"


class Claim:
    """The right of this process to write into a trial's folder, while it lasts.

    `folder` is the trial's, for writing: what is written through it comes into place only while the claim
    is held. Raises `InputError` where `patience_seconds` does.
    """

    def __init__(self, folder: TrialFolder):
        self._files, self._name = WriterFolder(folder.writer), new_holder().name
        self._beat_seconds = beat_seconds()
        self.folder = replace(folder, halves=folder.writer / self._name / "halves")
        self._lost = False
        self._ended = threading.Event()

    def take(self) -> bool:
        """Become the holder if nobody is who is not seen to be dead; writes nothing else."""
        return not _has_old_writer(self.folder) and claimed(self._files, self._name)

    def is_held(self) -> bool:
        """Whether this process still has the claim; asks the file system."""
        return self.folder.halves is not None and self.folder.halves.is_dir()

    def check(self) -> None:
        """Raise `ClaimLost` where another process has taken over; as of the last beat, and free of cost."""
        if self._lost:
            raise ClaimLost(f"{self.folder.path}: another process has taken over")

    def keep_beating(self) -> None:
        """Beat until the claim is given up or lost; the work of a thread."""
        count = 0
        while not self._ended.wait(self._beat_seconds):
            count += 1
            try:
                self._lost = not (self._files.beat(self._name, count) and self.is_held())
            except OSError:  # a server that is away: if it stays away, others will judge
                continue
            if self._lost:
                return

    def give_up(self) -> None:
        """Set the claim free, if it is still held."""
        self._ended.set()
        with suppress(OSError):
            release(self._files, self._name, self._name)

    def end_folder(self) -> None:
        """Remove the folder, in which nothing is left but the claim, and with it the claim, if it is held."""
        self._ended.set()
        with suppress(OSError):  # lost, or somebody begins anew there
            remove_whole(self.folder.writer / self._name, halves=self.folder.path)
            self.folder.writer.rmdir()
            self.folder.path.rmdir()


@contextmanager
def claim(folder: TrialFolder) -> Generator[Claim]:
    """Hold the right to write into a trial's folder, or raise `ClaimedElsewhere` at once."""
    held = Claim(folder)
    if not held.take():
        raise ClaimedElsewhere(f"{folder.path}: another process is at work there")
    threading.Thread(target=held.keep_beating, name=f"claim on {folder.id}", daemon=True).start()
    try:
        for path in (folder.path, folder.checkpoints):
            sweep_halves(path)
        folder.old_claim_file.unlink(missing_ok=True)
        yield held
    finally:
        held.give_up()


def holders(folder: TrialFolder) -> list[Holder] | None:
    """Return the processes that have entries in a trial's folder, dead or not; writes nothing.

    Nearly always there is at most one; a study that was copied over another has several
    (`sqzx.claim_protocol`). None where the file system doesn't answer.
    """
    try:
        found = [Holder.of(name) for name in WriterFolder(folder.writer).names()]
    except OSError as error:
        if error.errno in AWAY:
            return None
        raise
    return [holder for holder in found if holder is not None]


def look(watch: Watch, folder: TrialFolder) -> Standing:
    """Look at the claim on a trial's folder now; writes nothing.

    Where the file system doesn't answer the claim is held, and its holder no more silent than before.
    """
    try:
        standing = watch.look(WriterFolder(folder.writer), time.monotonic())
        return "beating" if standing == "free" and _has_old_writer(folder) else standing
    except OSError as error:
        if error.errno in AWAY:
            return "held"
        raise


def set_free(watch: Watch, folder: TrialFolder) -> None:
    """Give up a claim by force that `watch` found abandoned, if it is still the one that it watched.

    A disk that lets nothing be changed is no error: the claim is abandoned at the next look, too.
    """
    for name in watch.beats:
        with suppress(OSError):
            release(WriterFolder(folder.writer), new_holder().name, name)


def wait_for(
    folder: TrialFolder, say: Callable[[str], None], should_stop: Callable[[], bool] = lambda: False
) -> bool:
    """Watch the claim on a trial's folder until its holder is seen to live (False) or it is free (True).

    Raises `Interrupted` where `should_stop` says so meanwhile.
    """
    watch, told = new_watch(), False
    while True:
        match look(watch, folder):
            case "free":
                return True
            case "beating":
                return False
            case "abandoned":
                set_free(watch, folder)
            case "held":
                if watch.still > 2 * watch.period and not told:
                    say(f"{folder.path}: claimed; waiting {watch.patience:g} s for a sign of life")
                    told = True
        if should_stop():
            raise Interrupted(f"{folder.path}: stopped while waiting for another process")
        time.sleep(watch.period / 4)


def when_free(
    folder: TrialFolder,
    act: Callable[[], T | None],
    say: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> T:
    """Return what `act` does in a trial's folder, once it is not None: another process was at work there.

    It is waited for (`wait_for`); `ClaimedElsewhere` where it is seen to live.
    """
    while (done := act()) is None:
        if not wait_for(folder, say, should_stop):
            raise ClaimedElsewhere(f"{folder.path}: another process is at work there")
    return done


def _has_old_writer(folder: TrialFolder) -> bool:
    """Whether a process of this machine writes there that is older than this protocol."""
    if folder.writer.exists():
        return False
    status = folder.read_status()
    return status.status == "running" and status.place is None and bool(lives(status))


def new_holder() -> Holder:
    """Return this process under a new name."""
    return Holder(secrets.token_hex(8), this_process())


def new_watch() -> Watch:
    """Return a watch that has seen nothing yet."""
    return Watch(patience_seconds(), beat_seconds())


def patience_seconds() -> float:
    """Return how long a beat may stand still; `InputError` where the environment variable is no such time."""
    text = os.environ.get(PATIENCE_VARIABLE) or str(PATIENCE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds < math.inf:
        raise InputError(f"{PATIENCE_VARIABLE}: {text!r} is no number of seconds from 0.1; the default is 90")
    return seconds


def beat_seconds() -> float:
    """Return the time between two beats: a tenth of a patience that is shorter than usual."""
    return min(BEAT_SECONDS, patience_seconds() / 10)
