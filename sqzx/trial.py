"""A trial's folder: the names of its files, and its status as a value.

    config.json       the resolved configuration
    status.json       what became of it, and where it came from: attempts, process, host, versions
    metrics.jsonl     one line a step (`kind` "train") and an epoch (`kind` "validation")
    result.json       the numbers of a finished trial
    predictions.npz   the logits on the test set
    model.safetensors the trained network, with all that is needed to use it
    compressed.sqz    of a compressed trial, in the place of model.safetensors
    checkpoint/       the newest states, one folder a step
    log.txt           what the process printed
    pause.json        the epoch at which the trial is to pause, where its study says so

Every file is written whole and renamed into place but `log.txt` and `metrics.jsonl`, which grow. Who may
write is told by `.writer/` (`sqzx.claim_protocol`).
"""

import dataclasses
import datetime
import hashlib
import json
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqzx.config import TrialConfig, from_settings, read_settings
from sqzx.errors import InputError
from sqzx.files import read_json, write_json
from sqzx.processes import process_start, this_place

State = Literal[
    "pending", "running", "done", "failed", "timed_out", "interrupted", "censored", "removed", "unknown"
]
STATES: tuple[State, ...] = State.__args__[:-1]  # type: ignore[attr-defined]
"""What may be. "unknown" is no state of a trial, but what a view says that cannot see it."""

FINAL_FILES = ("result.json", "predictions.npz", "model.safetensors", "compressed.sqz")
"""What a finished trial leaves. Its status keeps their digests (`TrialFolder.read_checked_status`)."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What became of a trial. `reason` is one line; `provenance` says what ran it."""

    status: State = "pending"
    reason: str | None = None
    attempts: int = 0
    host: str | None = None
    pid: int | None = None
    process_start: str | None = None  # tells a process from a later one with the same number
    place: str | None = None  # what `pid` is a number of; see `sqzx.processes`
    started_time: str | None = None
    ended_time: str | None = None
    faults: tuple[str, ...] = ()  # what went wrong and was mended, such as a damaged checkpoint
    stack: int = 1  # how many trials its process trained together
    epoch: int | None = None  # at which a censored trial paused
    init_from: str | None = None  # digest of the parameters that it began from, if they were not fresh
    files: dict[str, str] = field(default_factory=dict)  # of a trial that is done: SHA-256 by name
    provenance: dict[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> "Status":
        """Return this status with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class TrialFolder:
    """The paths of one trial, and the reading and writing of its small files.

    `halves` is where its files are until they are renamed into place: None is beside them. Where the folder
    is claimed it is the claim's own (`sqzx.claims`), and goes with it: a process that has lost its claim can
    put nothing in place.
    """

    path: Path
    halves: Path | None = None

    @property
    def id(self) -> str:
        """The folder's name; inside a study it is the hash of the configuration."""
        return self.path.name

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.json"

    @property
    def status_file(self) -> Path:
        """What became of the trial."""
        return self.path / "status.json"

    @property
    def metrics_file(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def result_file(self) -> Path:
        """The numbers of a finished trial."""
        return self.path / "result.json"

    @property
    def predictions_file(self) -> Path:
        """`test_logits` (n, classes) float32 and `test_labels` (n,) int32."""
        return self.path / "predictions.npz"

    @property
    def model_file(self) -> Path:
        """The trained network; see `sqzx.model`."""
        return self.path / "model.safetensors"

    @property
    def compressed_file(self) -> Path:
        """The network of a compressed trial; see `sqzx.compression.sqz`."""
        return self.path / "compressed.sqz"

    @property
    def checkpoints(self) -> Path:
        """The folder of the states."""
        return self.path / "checkpoint"

    @property
    def log_file(self) -> Path:
        """What the trial's process printed, all attempts."""
        return self.path / "log.txt"

    @property
    def pause_file(self) -> Path:
        """The epoch at which the trial is to pause."""
        return self.path / "pause.json"

    @property
    def writer(self) -> Path:
        """Who may write here; see `sqzx.claims`."""
        return self.path / ".writer"

    @property
    def old_claim_file(self) -> Path:
        """What runners from before `writer` locked, and left behind."""
        return self.path / ".claim"

    def write_config(self, config: TrialConfig) -> None:
        """Write `config.json`."""
        write_json(self.config_file, config.to_json(), halves=self.halves)

    def read_config(self) -> TrialConfig:
        """Read `config.json`; a missing or foreign file is an `InputError`."""
        return from_settings(read_settings(self.config_file))

    def write_status(self, status: Status) -> None:
        """Write `status.json`."""
        write_json(self.status_file, dataclasses.asdict(status), halves=self.halves)

    def read_status(self) -> Status:
        """Read `status.json`. Without one a trial is pending; "running" of a dead process is interrupted.

        So is one that was done and whose result is lost since: all its numbers are there. A file that says
        nothing sensible is a failure of that trial alone, and the others go on.
        """
        try:
            if not self.status_file.exists():
                return Status()
            raw = read_json(self.status_file)
            status = Status(**(raw | {"faults": tuple(raw["faults"])}))
            if status.status not in STATES:
                raise InputError(f"{self.status_file}: status: {status.status!r} is none")
        except (InputError, OSError, KeyError, TypeError) as error:
            return Status(status="failed", reason=f"its status.json is not readable: {error}")
        if status.status == "running" and lives(status) is False:
            return status.but(status="interrupted", reason="its process ended without a word")
        if status.status == "done" and (name := self.result_file.name) in status.files:
            try:
                if self.read_result() is None:
                    return _undone(status, f"its {name} is missing")
            except InputError:
                return _undone(status, f"its {name} is not readable")
        return status

    def read_checked_status(self, needed: Collection[str] = ()) -> Status:
        """Read `status.json` and all files of a trial that is done, for whoever may train it again.

        One with a file that has changed is interrupted, and says so in its faults. Others than `result.json`
        may be missing: whoever looks after a study removes large ones, or copies it without. Of `FINAL_FILES`
        those that are `needed` may not.
        """
        status = self.read_status()
        if status.status == "done":
            found = self.digests()
            for name, digest in status.files.items():
                if name in found and found[name] != digest:
                    return _undone(status, f"its {name} has changed")
                if name not in found and name in needed:
                    return _undone(status, f"its {name} is missing")
        return status

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of `FINAL_FILES` that is there."""
        files = (self.path / name for name in FINAL_FILES)
        return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}

    def read_result(self) -> dict[str, Any] | None:
        """Read `result.json`, or return None where the trial has none; damage is an `InputError`."""
        if not self.result_file.exists():
            return None
        result = read_json(self.result_file)
        if not isinstance(result, dict):
            raise InputError(f"{self.result_file}: is no table of numbers")
        return result

    def write_pause(self, epoch: int | None) -> None:
        """Write `pause.json`; with None the trial trains to its end, and has none."""
        if epoch is None:
            self.pause_file.unlink(missing_ok=True)
        else:
            write_json(self.pause_file, {"epoch": epoch})

    def read_pause(self) -> int | None:
        """Return the epoch at which the trial is to pause, or None; damage is an `InputError`."""
        if not self.pause_file.exists():
            return None
        found = read_json(self.pause_file)
        if not isinstance(found, dict) or type(epoch := found.get("epoch")) is not int or epoch < 1:
            raise InputError(f"{self.pause_file}: says no epoch; delete it")
        return epoch

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read `metrics.jsonl`; a last line that is still being written is left out."""
        if not self.metrics_file.exists():
            return []
        whole, _, _ = self.metrics_file.read_text(encoding="utf-8").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def log_tail(self, lines: int = 20) -> list[str]:
        """Return the last lines of the log."""
        if not self.log_file.exists():
            return []
        return self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]


def _undone(status: Status, why: str) -> Status:
    """Return the status of a trial that is to be made again, and says so from now on."""
    reason = f"was done, but {why}"
    return status.but(status="interrupted", reason=reason, faults=(*status.faults, reason), files={})


def now() -> str:
    """Return the time in UTC, to the second, as status files have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def lives(status: Status) -> bool | None:
    """Whether the process of a running trial is there; None where it cannot be seen from here."""
    here = status.host == socket.gethostname() and status.place in (None, this_place())
    if not here or status.pid is None:
        return None
    return process_start(status.pid) == status.process_start
