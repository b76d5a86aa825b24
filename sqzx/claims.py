"""Claims on trials' folders: this process's own, and what it sees of others (`sqzx.claim_protocol`)."""

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

from sqzx.claim_protocol import FREE, Holder, Standing, Watch, claimed, release
from sqzx.errors import InputError, SqzxError
from sqzx.files import new_half, sweep_halves
from sqzx.processes import this_process
from sqzx.trial import TrialFolder

PATIENCE_VARIABLE = "SQZX_PATIENCE"
PATIENCE_SECONDS = 90.0
"""How long a beat may stand still. NFS clients believe what they know of a file for up to 60 s by default
(acregmax), and writing out gigabytes, or a compiler that keeps the interpreter's lock, can hold a living
process for some more. The environment variable sets another, for all machines alike."""
BEAT_SECONDS = 2.0
"""A beat is a write of some bytes in place. A `status` looks for as long to see whether somebody works."""


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
        if self.names():
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        half = new_half(self._path.name.lstrip("."), self._path.parent)
        (half / FREE).mkdir(parents=True)
        try:
            os.rename(half, self._path)
        except OSError:
            shutil.rmtree(half)
            if not self._path.is_dir():
                raise

    def names(self) -> list[str]:
        """See `WriterFiles`."""
        try:
            return os.listdir(self._path)
        except FileNotFoundError:
            return []

    def rename(self, old: str, new: str) -> bool:
        """See `WriterFiles`."""
        try:
            os.rename(self._path / old, self._path / new)
        except FileNotFoundError:
            return False
        return True

    def renew(self, name: str) -> None:
        """See `WriterFiles`."""
        for path in (self._path / name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self._path / name / "halves").mkdir()

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


class Claim:
    """The right of this process to write into a trial's folder, while it lasts.

    `folder` is the trial's, for writing: what is written through it comes into place only while the claim
    is held.
    """

    def __init__(self, folder: TrialFolder, holder: Holder):
        self._files, self._name = WriterFolder(folder.writer), holder.name
        self.folder = replace(folder, halves=folder.writer / holder.name / "halves")
        self._lost = False
        self._ended = threading.Event()

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
        while not self._ended.wait(beat_seconds()):
            count += 1
            try:
                self._lost = not self._files.beat(self._name, count)
            except OSError:  # a server that is away: if it stays away, others will judge
                continue
            if self._lost:
                return

    def give_up(self) -> None:
        """Set the claim free, if it is still held."""
        self._ended.set()
        with suppress(OSError):
            self._files.rename(self._name, FREE)


@contextmanager
def claim(folder: TrialFolder) -> Generator[Claim]:
    """Hold the right to write into a trial's folder, or raise `ClaimedElsewhere` at once."""
    me = new_holder()
    if not claimed(WriterFolder(folder.writer), me.name):
        raise ClaimedElsewhere(f"{folder.path}: another process is at work there")
    held = Claim(folder, me)
    threading.Thread(target=held.keep_beating, name=f"claim on {folder.id}", daemon=True).start()
    try:
        sweep_halves(folder.path)
        yield held
    finally:
        held.give_up()


def is_claimed(folder: TrialFolder) -> bool:
    """Whether a process that is not seen to be dead holds the claim on a trial's folder; writes nothing."""
    return new_watch().look(WriterFolder(folder.writer), 0.0) != "free"


def holder_name(folder: TrialFolder) -> str | None:
    """Return the name of the process that holds the claim on a trial's folder, or None; writes nothing."""
    return next((name for name in WriterFolder(folder.writer).names() if name != FREE), None)


def look(watch: Watch, folder: TrialFolder) -> Standing:
    """Look at the claim on a trial's folder now; writes nothing."""
    return watch.look(WriterFolder(folder.writer), time.monotonic())


def set_free(watch: Watch, folder: TrialFolder) -> None:
    """Give up a claim by force that `watch` found abandoned, if it is still the one that it watched."""
    if watch.name is not None:
        release(WriterFolder(folder.writer), new_holder().name, watch.name)


def wait_for(folder: TrialFolder, say: Callable[[str], None]) -> bool:
    """Watch the claim on a trial's folder until its holder is seen to live (False) or it is free (True)."""
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
        time.sleep(watch.period / 4)


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
