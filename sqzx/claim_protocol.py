"""The protocol by which one process at a time may write into a trial's folder, on any number of machines.

What is there. `.writer/` in a trial's folder holds exactly one folder. Its name is `free`, or it is the
name of the holder: a random token and the process (its place, its number, when it started). In it are
`beat`, a counter that the holder raises every `claims.beat_seconds()`, and `halves/`, where everything that
the holder writes is until it is whole.

Why there are never two writers.
1. `.writer/` comes into being whole, with `free` in it, by one rename of a folder (`found`). A rename onto
   a folder that is not empty fails, so only the first of several succeeds, and it is never empty again.
2. A claim is taken, given up and taken over in one way: the folder inside is renamed from the name that was
   seen to a new one (`take`). The file system does that once: of two that rename the same name one
   succeeds, and to the other there is no such folder. A name is never used again but for `free`, and
   whoever takes `free` is right to. So a slow process can't take by mistake what has changed hands since it
   looked.
3. Whatever a holder puts in place (status, checkpoint, result, model, predictions, metrics) it renames from
   `.writer/<its name>/halves/`, and what it removes it first renames to there (`sqzx.files`). When the name
   has gone that rename fails: the check of the token and the write are one operation, and no moment lies
   between them in which a process could be stopped. One that is stopped for a day and wakes up can finish
   nothing that it had begun: it gets an error, finds that it is not the holder (`claims.Claim`), and ends.
4. `metrics.jsonl` grows in place, by a file that its writer holds open. The next one puts a new file under
   that name before it trains, so lines of a late writer end in a file without a name. The log is told to by
   whoever has something to say; nothing is computed from it.
5. A client of a network file system may remember for a while which folder a name was. So a taker, before it
   reads or writes anything else, removes what the folder has and makes new `halves/` (`renew`): a late
   rename from the old ones fails at the server, whatever the client believes. Renames that the server did
   before are whole files of the state that the taker then reads.

Why no trial is left for ever. Somebody who wants a claim looks at it again and again (`Watch`).
6. A holder whose place is ours is looked up in the table of processes: a dead one's claim is taken at once.
7. Any other is judged by its beat: by whether it changes, not by what it says. We add up our own monotonic
   time between looks that saw no change, and no more than a beat's time for each look, so that a watcher
   that was itself stopped does not take its own pause for the holder's. After `claims.patience_seconds()` the
   claim is given up by force (`release`, which is a taking and a giving up). No clock is compared with
   another's.
8. So a holder that died elsewhere, or between taking a name and its first beat, or that is stopped, loses
   its claim. One that lives and is only slow may lose it, too: that costs work since its last checkpoint,
   and by 3. nothing else.

What is asked of the file system: a rename of a folder that is atomic, and fails onto a folder that is not
empty (POSIX; local ones and NFS). Locks are not: those that NFS has are often switched off, and for
processes of one machine the table of processes says the same as soon.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from sqzx.processes import Process

FREE = "free"


class Holder(NamedTuple):
    """Who holds a claim: a random token, so that no claim is taken for another, and the process."""

    token: str
    process: Process

    @property
    def name(self) -> str:
        """The name of its folder in `.writer/`."""
        return ".".join(map(str, (self.token, *self.process)))

    @classmethod
    def of(cls, name: str) -> "Holder | None":
        """Return the holder of a name, or None where the name is none's."""
        parts = name.split(".")
        if len(parts) != 4 or not parts[2].isdigit():
            return None
        token, place, pid, start = parts
        return cls(token, Process(place, int(pid), start))


class WriterFiles(Protocol):
    """What the protocol asks of a file system. Any call may be the last that a process makes."""

    def found(self) -> None:
        """Make `.writer/` with `free` in it, at once, unless it is there."""

    def names(self) -> list[str]:
        """Return what is in `.writer/`; while a name changes it may be neither or both."""
        ...

    def rename(self, old: str, new: str) -> bool:
        """Rename atomically; False where `old` is no more."""
        ...

    def renew(self, name: str) -> None:
        """Remove what is in a folder, and make new `halves/`."""

    def beat(self, name: str, count: int) -> bool:
        """Write the beat of a folder; False where the folder is no more."""
        ...

    def heard(self, name: str) -> str:
        """Return the beat of a folder, or nothing where there is none."""
        ...

    def lives(self, name: str) -> bool | None:
        """Whether the process of a name lives; None where it cannot be seen from here."""
        ...


def take(files: WriterFiles, me: str, old: str = FREE) -> bool:
    """Become the holder in place of `old`; False where that is no more the name."""
    if not files.rename(old, me):
        return False
    try:
        files.renew(me)
        return files.beat(me, 0)
    except OSError:  # a full disk, say; or taken over already, after a long sleep just here
        if files.rename(me, FREE):
            raise
        return False


def claimed(files: WriterFiles, me: str) -> bool:
    """Become the holder if the claim is free, or its holder is seen to be dead."""
    files.found()
    if take(files, me):
        return True
    dead = (name for name in files.names() if name != FREE and files.lives(name) is False)
    return any(take(files, me, name) for name in dead)


def release(files: WriterFiles, me: str, name: str) -> None:
    """Set a claim free whose holder was watched in vain, unless it has changed hands."""
    if take(files, me, name):
        files.rename(me, FREE)


Standing = Literal["free", "held", "beating", "abandoned"]
"""Of a claim: anybody may take it; or its holder was not seen to live yet, was, or is silent too long."""


@dataclass
class Watch:
    """What a process has seen of a claim, look by look."""

    patience: float
    period: float
    name: str | None = None
    beat: str | None = None
    still: float = 0.0  # seconds that we have looked without a change
    changed: bool = False  # the beat of this holder, while we looked
    last: float | None = None

    def look(self, files: WriterFiles, now: float) -> Standing:
        """Look at a claim at our own monotonic time `now`."""
        names = [name for name in files.names() if name != FREE]
        if not names or files.lives(names[0]) is False:
            self.name = None
            return "free"
        (name, *_) = names
        beat = files.heard(name)
        since = 0.0 if self.last is None else min(now - self.last, self.period)
        self.last = now
        if name != self.name:
            self.name, self.beat, self.still, self.changed = name, beat, 0.0, False
        elif beat != self.beat:
            self.beat, self.still, self.changed = beat, 0.0, True
        else:
            self.still += since
        if self.still >= self.patience:
            return "abandoned"
        return "beating" if self.changed else "held"
