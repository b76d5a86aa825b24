"""A trial's `metrics.jsonl`: what each step and each epoch gave."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Self

from sqzx.errors import NonFiniteError
from sqzx.evaluation import Scores
from sqzx.files import in_place_of
from sqzx.trial import TrialFolder


class MetricsLog:
    """`metrics.jsonl`: one line a step and an epoch, each step once, in order.

    Opened at `step`, it drops the lines of later steps, which a crash left behind, and is a new file under
    the old name. It is kept open: a process that has lost its claim to another writes on into its own file,
    whose name the other's has by then.
    """

    def __init__(self, folder: TrialFolder, step: int):
        kept = [line for line in _readable(folder) if line["step"] <= step] if step else []
        with ExitStack() as on_error:
            with in_place_of(folder.metrics_file, halves=folder.halves) as half:
                self._file = on_error.enter_context(half.open("wb", buffering=0))
                self._append(kept)
                self.sync()
            on_error.pop_all()

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


def reached(folder: TrialFolder, per_epoch: int) -> int:
    """Return the last step from which a training can go on after `metrics.jsonl`, of so many steps an epoch.

    It has each step up to there, in order, and the scores of each epoch that ended.
    """
    found = [(line["kind"], line["step"]) for line in _readable(folder)]
    step = place = 0
    while True:
        due = [("train", step + 1)] + [("validation", step + 1)] * ((step + 1) % per_epoch == 0)
        if found[place : place + len(due)] != due:
            return step
        step, place = step + 1, place + len(due)


def _readable(folder: TrialFolder) -> Iterator[dict[str, Any]]:
    """Yield the lines of `metrics.jsonl` up to the first that is damaged, or still being written."""
    try:
        lines = folder.metrics_file.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return
    for text in lines:
        try:
            line = json.loads(text)
            line["step"], line["kind"]
        except (ValueError, TypeError, KeyError):
            return
        yield line


def _line(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, allow_nan=False) + "\n"
