"""What became of the trials of a process that has ended: its own last words, or else what its end tells."""

import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqzx.claims import ClaimedElsewhere, claim
from sqzx.errors import printable
from sqzx.trial import Status, TrialFolder, now
from sweeps.plan import PlannedTrial
from sweeps.stacks import Stack
from sweeps.worker import CLAIMED

FULL_BYTES = 64 * 1024
"""With less than this free a trial can't write its small files, its own last words among them."""
PATIENCE_SECONDS = 3.0
"""How long the claim of a process is waited for whose end was told by others than the process itself."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a process ended: its exit code (negative: the signal), or `lost` and why nobody knows.

    `asked`: it had been asked to stop; `killed_as`: it was killed by us, as that.
    """

    pid: int | None
    code: int | None
    asked: bool = False
    killed_as: Status | None = None
    lost: Status | None = None

    def outcomes(
        self, trials: Stack, folders: Sequence[TrialFolder]
    ) -> list[tuple[PlannedTrial, Status | None]]:
        """Return what became of each trial (None: another runner has it); write what the process could not.

        A process that ends on its own terms leaves a status with its own number and an end. One that finds
        its trial done by another runner leaves that as it is.
        """
        return [(t, self._outcome(f, folders)) for t, f in zip(trials, folders, strict=True)]

    @property
    def failed_as_one(self) -> bool:
        """Whether a stack was ended by what may be the fault of one of its trials."""
        return self.code != 130 and not (self.asked or self.killed_as or self.lost)

    def _outcome(self, folder: TrialFolder, folders: Sequence[TrialFolder]) -> Status | None:
        if self.code == CLAIMED:
            return None
        deadline = time.monotonic() + (PATIENCE_SECONDS if self.lost else 0)
        while True:
            try:
                with claim(folder) as held:
                    return self._settled(held.folder, folders)
            except OSError:  # a disk too full for a claim: the run goes on, and the next one says so, too
                return folder.read_status().but(**self._verdict(folders))
            except ClaimedElsewhere:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.05)

    def _settled(self, folder: TrialFolder, folders: Sequence[TrialFolder]) -> Status:
        status = folder.read_status()
        ended = status.pid == self.pid and status.ended_time is not None
        if ended or status.status == "done":
            return status
        status = status.but(**self._verdict(folders), ended_time=now())
        with suppress(OSError):  # a full disk: the run goes on and says so at its end
            folder.write_status(status)
        return status

    def _verdict(self, folders: Sequence[TrialFolder]) -> dict[str, Any]:
        if (told := self.killed_as or self.lost) is not None:
            return {"status": told.status, "reason": told.reason}
        code = self.code or 0
        if self.asked and code < 0:  # asked before it could listen
            return {"status": "interrupted", "reason": "stopped before it began"}
        cause = _cause(code, folders[0])  # where the process's own output goes
        if len(folders) > 1:  # which of them is to blame, each alone will tell
            return {"status": "interrupted", "reason": f"its stack of {len(folders)} ended: {cause}"}
        return {"status": "failed", "reason": cause}


def _cause(code: int, log: TrialFolder) -> str:
    if shutil.disk_usage(log.path).free < FULL_BYTES:
        return "no space left on the disk"
    if code < 0:
        name = signal.Signals(-code).name
        memory = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{memory}"
    last = next((line for line in reversed(log.log_tail()) if line.strip()), "")
    return f"its process ended with exit code {code}: {printable(last)}".removesuffix(": ")
