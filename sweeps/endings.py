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
CLAIM_SECONDS = 3.0
"""How long the claim of a process is waited for whose end was told by others than the process itself."""
OVERTAKEN = Status(status="interrupted", reason="stood still for so long that another runner took over")
"""As what a process is killed whose trials others have by now: these tell what becomes of them."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a process ended: its exit code (negative: the signal), or `lost` and why nobody knows.

    `before`: the status of each of its trials when it was started. `asked`: it had been asked to stop;
    `killed_as`: it was killed by us, as that.
    """

    pid: int | None
    code: int | None
    before: Sequence[Status]
    asked: bool = False
    killed_as: Status | None = None
    lost: Status | None = None

    def outcomes(
        self, trials: Stack, folders: Sequence[TrialFolder]
    ) -> list[tuple[PlannedTrial, Status | None]]:
        """Return what became of each trial (None: another runner has it); write what the process could not.

        A process that ends on its own terms leaves a status with its own number and an end. What others
        have written since it was started stays as it is.
        """
        return [
            (trial, self._outcome(folder, before, folders))
            for trial, folder, before in zip(trials, folders, self.before, strict=True)
        ]

    @property
    def failed_as_one(self) -> bool:
        """Whether a stack was ended by what may be the fault of one of its trials."""
        return self.code != 130 and not (self.asked or self.killed_as or self.lost)

    def _outcome(self, folder: TrialFolder, before: Status, folders: Sequence[TrialFolder]) -> Status | None:
        if self.code == CLAIMED:
            return None
        deadline = time.monotonic() + (CLAIM_SECONDS if self.lost else 0)
        while True:
            status = folder.read_status()
            if status != before and status.pid != self.pid:
                return None
            if status != before and status.ended_time is not None:
                return status
            if self.code == 0 and status.status in ("done", "censored"):  # it found nothing to do
                return status
            if self.killed_as == OVERTAKEN:
                return None
            try:
                with claim(folder) as held:
                    if folder.read_status() == status:
                        return self._settled(held.folder, folders)
            except OSError:  # a disk too full for a claim: the run goes on, and the next one says so, too
                return self._judged(folder, folders)
            except ClaimedElsewhere:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.05)

    def _settled(self, folder: TrialFolder, folders: Sequence[TrialFolder]) -> Status:
        status = self._judged(folder, folders)
        if status.status != "done":
            with suppress(OSError):  # a full disk: the run goes on and says so at its end
                folder.write_status(status)
        return status

    def _judged(self, folder: TrialFolder, folders: Sequence[TrialFolder]) -> Status:
        """Return the status of a trial of which the process has told no end."""
        status = folder.read_checked_status()
        return status if status.status == "done" else status.but(**self._verdict(folders), ended_time=now())

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
