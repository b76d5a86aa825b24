"""A trial's `metrics.jsonl`: what each step and each epoch gave."""

import json
import math
import os
from collections.abc import Sequence
from typing import Any, Self

from sqzx.errors import NonFiniteError
from sqzx.evaluation import Scores
from sqzx.files import new_half
from sqzx.trial import TrialFolder


class MetricsLog:
    """`metrics.jsonl`: one line a step and an epoch, each step once, in order.

    Opened at `step`, it drops the lines of later steps, which a crash left behind, and is a new file under
    the old name. It is kept open: a process that has lost its claim to another writes on into its own file,
    whose name the other's has by then.
    """

    def __init__(self, folder: TrialFolder, step: int):
        kept = [line for line in folder.read_metrics() if line["step"] <= step] if step else []
        folder.path.mkdir(parents=True, exist_ok=True)
        half = new_half(folder.metrics_file.name, folder.halves or folder.path)
        self._file = half.open("wb", buffering=0)
        try:
            self._append(kept)
            self.sync()
            os.replace(half, folder.metrics_file)
        except BaseException:
            self._file.close()
            half.unlink(missing_ok=True)
            raise

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._file.close()

    def sync(self) -> None:
        """Flush to the disk: before a checkpoint that is to go on after these lines."""
        os.fsync(self._file.fileno())

    def train(self, steps: Sequence[tuple[int, int, float, float]]) -> None:
        """Write steps as (step, epoch, loss, learning rate).

        A loss that is not finite is written as null and raises `NonFiniteError`.
        """
        lines, bad = [], None
        for step, epoch, loss, rate in steps:
            value: float | None = float(loss)
            if not math.isfinite(loss):
                bad, value = bad or step, None
            lines.append(
                {"step": step, "kind": "train", "epoch": epoch, "loss": value, "learning_rate": float(rate)}
            )
        self._append(lines)
        if bad:
            raise NonFiniteError(f"the loss is not finite at step {bad}")

    def validation(self, step: int, epoch: int, scores: Scores) -> None:
        """Write the scores at the end of an epoch."""
        self._append([{"step": step, "kind": "validation", "epoch": epoch, **scores.named("val")}])

    def _append(self, lines: list[dict[str, Any]]) -> None:
        rest = memoryview("".join(map(_line, lines)).encode())
        while rest:  # what a nearly full disk takes may be less than all
            rest = rest[self._file.write(rest) :]


def reaches(folder: TrialFolder, step: int) -> bool:
    """Whether `metrics.jsonl` has each step up to `step`, so that a training can go on from there."""
    if step == 0:
        return True
    try:
        found = {line["step"] for line in folder.read_metrics() if line["kind"] == "train"}
    except (ValueError, TypeError, KeyError):
        return False
    return found.issuperset(range(1, step + 1))


def _line(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, allow_nan=False) + "\n"
