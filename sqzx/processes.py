"""Processes as values: which one wrote something, and whether it lives, as far as can be seen from here."""

import functools
import hashlib
import os
import socket
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process that no other is taken for: its place, its number there, and when it started.

    `place` stands for what sees its number: one boot of one machine, one PID namespace (a container).
    """

    place: str
    pid: int
    start: str

    def lives(self) -> bool | None:
        """Whether it runs (or is stopped) at this moment; None where its place cannot be seen from here."""
        return process_start(self.pid) == self.start if self.place == this_place() else None


def this_process() -> Process:
    """Return the process that asks."""
    return Process(this_place(), os.getpid(), process_start(os.getpid()) or "")


@functools.cache
def this_place() -> str:
    """Return 12 hexadecimal digits for what this process shares its process numbers with.

    The host's name alone would not do: containers choose theirs, and numbers begin anew with each boot.
    """
    told = [socket.gethostname()]
    for read in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        try:
            told.append(read())
        except OSError:  # macOS has neither
            told.append("")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def process_start(pid: int) -> str | None:
    """Return when a local process started, in the kernel's ticks, or None if there is no such process.

    Where there is no /proc (macOS) a living process is "alive": its number alone tells it.
    """
    try:
        # Field 22, counted after the command's name, which may hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"
