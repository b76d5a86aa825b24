"""Which cores of this machine a worker gets: free ones first, also where several runners share the machine.

A core in use is locked through a file of the machine's temporary folder. The lock is the kernel's: it goes
when the process that holds it ends, however it ends. It is advice among runners, not a claim on a trial:
where no core is free a worker shares one, and that is said.
"""

import fcntl
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Loan(NamedTuple):
    """Cores for one worker. `shared` are those that another worker uses at the same time."""

    cores: tuple[int, ...]
    shared: tuple[int, ...] = ()


class Cores:
    """The cores that the workers of one runner may use.

    `numbers` are the kernel's; `folder` holds the lock files (default: the system's temporary folder).
    """

    def __init__(self, numbers: Iterable[int], folder: Path | None = None):
        self.numbers = sorted(numbers)
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._uses: Counter[int] = Counter()
        self._locks: dict[int, int] = {}

    def lend(self, count: int) -> Loan:
        """Lend `count` different cores: those that nobody uses, then those that this runner uses least."""
        taken = []
        for core in self.numbers:
            if len(taken) < count and not self._uses[core] and self._lock(core):
                taken.append(core)
        others = [core for core in self.numbers if core not in taken]
        shared = sorted(others, key=lambda core: (self._uses[core], core))[: count - len(taken)]
        loan = Loan(tuple(sorted([*taken, *shared])), tuple(sorted(shared)))
        self._uses.update(loan.cores)
        return loan

    def take_back(self, loan: Loan) -> None:
        """Take the cores of a worker that has ended back."""
        self._uses.subtract(loan.cores)
        for core in loan.cores:
            if not self._uses[core] and core in self._locks:
                os.close(self._locks.pop(core))

    def _lock(self, core: int) -> bool:
        """Whether nobody else uses a core; it is locked then. A folder that takes no locks tells nothing."""
        try:
            file = _open(self._folder / f"sqzx-core-{core}.lock")
        except OSError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._locks[core] = file
        return True


def _open(path: Path) -> int:
    """Open a lock file that may be another user's: to lock it, reading is enough. Links aren't followed."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644))
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
