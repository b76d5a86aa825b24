"""The protocol by which one process at a time may write into a trial's folder, on any number of machines.

What is there. `.writer/` in a trial's folder holds entries, which are folders; nearly always there is one.
An entry's name is `free`, or it is the name of a process that has taken it: a random token and the process
(its place, its number, when it started). In it are `beat`, a counter that its process raises every
`claims.beat_seconds()`, and `halves/`, where everything that the process writes is until it is whole. What
else lies in `.writer/` (`.DS_Store`, `@eaDir`) is nothing.

Why there are never two writers.
1. An entry is taken, given up and taken over in one way: it is renamed from the name that was seen to
   another (`take`, `release`). The file system does that once: of two that rename the same name one
   succeeds, and to the other there is no such folder. A name is never used again but for `free`, and
   whoever takes `free` is right to. So a slow process can't take by mistake what has changed hands since it
   looked.
2. A process holds the claim when it has taken an entry and afterwards seen that there is no other
   (`claimed`). Of two that have taken one each, the one that renamed later looks later, and sees the name of
   the other, which stands still until that one gives up: so it is not the holder, and removes its entry.
   Whatever makes entries is therefore harmless, be it two processes that begin a folder at once (`found`), or
   a study that is copied over an earlier copy of itself. All entries that are free, or whose processes are
   seen to be dead, are taken and removed one by one until the last, which is held; while another's is there,
   none is taken.
3. Whatever a holder puts in place (status, checkpoint, result, model, predictions, metrics) it renames from
   `.writer/<its name>/halves/`, and what it removes it first renames to there (`sqzx.files`). When the name
   has gone that rename fails: the check of the token and the write are one operation, and no moment lies
   between them in which a process could be stopped. One that is stopped for a day and wakes up can finish
   nothing that it had begun: it gets an error, finds that it is not the holder (`claims.Claim`), and ends.
   It may still make an empty folder on the way, which is no checkpoint (`checkpoints.steps`).
4. `metrics.jsonl` grows in place, by a file that its writer holds open. The next one puts a new file under
   that name before it trains, so lines of a late writer end in a file without a name. The log is told to by
   whoever has something to say; nothing is computed from it.
5. A client of a network file system may remember for a while which folder a name was. So a taker, before it
   reads or writes anything else, removes what the entry has and makes new `halves/` (`renew`): a late
   rename from the old ones fails at the server, whatever the client believes. Renames that the server did
   before are whole files of the state that the taker then reads. An entry that is removed loses its `halves/`
   first, and as long as it is seen nobody else holds the claim.
6. Runners from before this protocol held a lock of the kernel, and know of no `.writer/`. Their status has no
   `place`; while it says that the trial runs in a process that lives here, the claim is that one's
   (`claims.look`). Elsewhere such a process can't be seen: all runners of a folder are to be of one age.

Why no trial is left for ever. Somebody who wants a claim looks at it again and again (`Watch`).
7. A process whose place is ours is looked up in the table of processes: a dead one's entry is taken at once.
8. Any others are judged by their beats: by whether one changes, not by what they say. We add up our own
   monotonic time between looks that saw no change, and no more than a beat's time for each look, so that a
   watcher that was itself stopped does not take its own pause for the holder's. After
   `claims.patience_seconds()` all that were watched are set free by force (`release`). No clock is compared
   with another's.
9. So a process that died elsewhere, or between taking a name and its first beat, or that is stopped, loses
   its claim. One that lives and is only slow may lose it, too: that costs work since its last checkpoint,
   and by 3. nothing else. Two that have each taken an entry may both remove it: then there is none, and the
   next one begins the folder anew. Each round leaves fewer entries than there were.
10. An error of the disk (full, or a server that is away) may come at any rename. Before an entry is taken it
   changes nothing. Afterwards the entry is given up and the error told; where that fails, too, the entry
   stands under our name without a beat, and falls to 7. or 8. Where the old `halves/` can't be emptied since
   a slow process still writes there, that is tried again, and then the entry is given up. A look at a server
   that is away says nothing of the holder, and counts as no silence (`claims.look`).

What is asked of the file system: a rename of a folder that is atomic, and fails onto a folder that is not
empty (POSIX; local ones and NFS). Locks are not: those that NFS has are often switched off, and for
processes of one machine the table of processes says the same as soon.
"""

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from sqzx.processes import Process

FREE = "free"
NAME = re.compile(r"([0-9a-f]+)\.(\w+)\.([0-9]+)\.(\w*)", re.ASCII)
BUSY = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ESTALE)
"""Of emptying a folder in which a slow process still writes and removes, on NFS also one that it has open."""
TRIES = 5


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
        found = NAME.fullmatch(name)
        if found is None:
            return None
        token, place, pid, start = found.groups()
        return cls(token, Process(place, int(pid), start))


class WriterFiles(Protocol):
    """What the protocol asks of a file system. Any call may be the last that a process makes.

    Any may raise `OSError`.
    """

    def found(self) -> None:
        """Make `.writer/` with `free` in it, unless it has an entry."""

    def names(self) -> list[str]:
        """Return the entries: `free`, and `Holder`s. While a name changes it may be neither or both."""
        ...

    def rename(self, old: str, new: str) -> bool:
        """Rename atomically; False where `old` is no more, or `new` is there and not empty."""
        ...

    def renew(self, name: str) -> None:
        """Remove what is in an entry, and make new `halves/`."""

    def remove(self, name: str) -> None:
        """Remove what is in an entry, its `halves/` first, and then the entry."""

    def beat(self, name: str, count: int) -> bool:
        """Write the beat of an entry; False where the entry is no more."""
        ...

    def heard(self, name: str) -> str:
        """Return the beat of an entry, or nothing where there is none."""
        ...

    def lives(self, name: str) -> bool | None:
        """Whether the process of a name lives; None where it cannot be seen from here."""
        ...

    def pause(self) -> None:
        """Give a slow process time to end what it is doing."""


def take(files: WriterFiles, me: str, old: str = FREE) -> bool:
    """Put an entry under our name; False where `old` is no more its name."""
    if not files.rename(old, me):
        return False
    try:
        for _ in range(TRIES):
            try:
                files.renew(me)
                return files.beat(me, 0)
            except OSError as error:
                if error.errno not in BUSY:
                    raise
            files.pause()
    except OSError:  # a full disk, say
        release(files, me, me)
        raise
    release(files, me, me)  # unless it was taken over already, after a long sleep just here
    return False


def claimed(files: WriterFiles, me: str) -> bool:
    """Become the holder if nobody has an entry but processes that are seen to be dead."""
    files.found()
    while names := files.names():
        if not all(_is_vacant(files, name) for name in names) or not take(files, me, names[0]):
            return False
        if files.names() == [me]:
            return True
        files.remove(me)
    return False


def release(files: WriterFiles, me: str, name: str) -> None:
    """Set an entry free: our own, or by force one that was watched in vain; none that has changed hands.

    Where `free` is there already, the entry is removed.
    """
    if not files.rename(name, FREE) and files.rename(name, me):
        files.remove(me)


def _is_vacant(files: WriterFiles, name: str) -> bool:
    return name == FREE or files.lives(name) is False


Standing = Literal["free", "held", "beating", "abandoned"]
"""Of a claim: anybody may take it; or its holder was not seen to live yet, was, or is silent too long."""


@dataclass
class Watch:
    """What a process has seen of a claim, look by look."""

    patience: float
    period: float
    beats: Mapping[str, str] = field(default_factory=dict)  # of those not seen to be dead, by name
    still: float = 0.0  # seconds that we have looked without a change
    changed: bool = False  # a beat of these, while we looked
    last: float | None = None

    def look(self, files: WriterFiles, now: float) -> Standing:
        """Look at a claim at our own monotonic time `now`."""
        before = self.beats
        self.beats = {name: files.heard(name) for name in files.names() if not _is_vacant(files, name)}
        since = 0.0 if self.last is None else min(now - self.last, self.period)
        self.last = now
        if not self.beats:
            return "free"
        if self.beats.keys() != before.keys():
            self.still, self.changed = 0.0, False
        elif self.beats != before:
            self.still, self.changed = 0.0, True
        else:
            self.still += since
        if self.still >= self.patience:
            return "abandoned"
        return "beating" if self.changed else "held"
