"""A trial's `metrics.jsonl`: what each step and each epoch gave."""

import json
import math
from collections.abc import Sequence
from typing import Any

from sqzx.errors import NonFiniteError
from sqzx.evaluation import Scores
from sqzx.files import write_text
from sqzx.trial import TrialFolder


class MetricsLog:
    """`metrics.jsonl`: one line a step and an epoch, each step once, in order.

    Opened at `step`, it drops the lines of later steps, which a crash left behind.
    """

    def __init__(self, folder: TrialFolder, step: int):
        kept = [line for line in folder.read_metrics() if line["step"] <= step]
        write_text(folder.metrics_file, "".join(map(_line, kept)))
        self._path = folder.metrics_file

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
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(map(_line, lines)))


def _line(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, allow_nan=False) + "\n"
