"""Training of one trial, from its configuration to the numbers and files of its folder.

The loop reads from top to bottom in `train`. It may be stopped between any two steps and goes on from its
newest checkpoint to the same parameters, metrics and predictions, bit for bit, that it would have reached
uncut (on the same number of cores): every random stream depends on the seed, its name and the step alone.
"""

import json
import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import Array

from sqzx import checkpoints
from sqzx.batches import batch_size, epoch_batches, steps_per_epoch
from sqzx.config import TrialConfig
from sqzx.counting import count
from sqzx.data.splits import Split, load_splits_of
from sqzx.errors import Interrupted, NonFiniteError
from sqzx.evaluation import Scores, logits_of, score
from sqzx.files import write_json, write_text, write_whole
from sqzx.model import Model, check_fits, model_digest, write_model
from sqzx.network import Parameters, initial_parameters, pure
from sqzx.optimizer import make_optimizer
from sqzx.preprocessing import of_training_images
from sqzx.programs import Programs, TrainState, compile_programs
from sqzx.streams import key_data
from sqzx.trial import TrialFolder

CHECKPOINT_SECONDS = 15.0
"""The time between two checkpoints: what a crash costs at most. Saving takes about 0.1 s."""
STEPS_PER_FLUSH = 100
"""Losses wait on the device for so many steps, so that no step waits for the one before it."""


def train(
    config: TrialConfig,
    folder: TrialFolder,
    *,
    origin: Model | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_fault: Callable[[str], None] = lambda fault: None,
    say: Callable[[str], None] = print,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    started: float | None = None,
) -> dict[str, Any]:
    """Train the network of `config`, write its files into `folder` and return the content of `result.json`.

    `origin` is a model from whose parameters it starts, and whose preprocessing it keeps: weights mean
    nothing without it. `should_stop` is asked between steps; where it says so, the state is saved and
    `Interrupted` raised. `on_fault` hears of damage that was got round, `say` gets a line an epoch.
    `started` is the `time.monotonic()` at which the process began.

    Raises `NonFiniteError` where a loss, or a logit of the validation or test images, is not finite.
    """
    started = time.monotonic() if started is None else started
    network = count(config.model, config.data.image_shape)  # refuses maps that shrink to nothing
    splits = load_splits_of(config.data)
    per_epoch = steps_per_epoch(config.train.batch_size, len(splits.train.labels))
    size = batch_size(config.train.batch_size, len(splits.train.labels))
    total = per_epoch * config.train.epochs

    apply = pure(config.model, config.data.image_shape)
    preprocessing = of_training_images(splits)
    if origin is None:
        parameters = initial_parameters(config.model, config.data.image_shape, config.seed)
    else:
        check_fits(origin, config.model, config.data.image_shape)
        parameters = origin.parameters
        sides = preprocessing.size
        preprocessing = replace(origin.preprocessing, size=sides, cover=sides)
    optimizer = make_optimizer(config.train, total)
    fresh = TrainState(parameters, jax.tree.map(np.asarray, optimizer.init(parameters)))
    step, state, progress, faults = checkpoints.restore(folder.checkpoints, fresh)
    for fault in faults:
        on_fault(fault)
    metrics = MetricsLog(folder, step)
    start_seconds = time.monotonic() - started

    clock = time.monotonic()
    programs = compile_programs(config, apply, optimizer, splits, preprocessing, state, size, total)
    compile_seconds = time.monotonic() - clock
    key = key_data(config.seed, "dropout")
    step_seconds, train_seconds = progress.get("step_seconds", 0.0), progress.get("train_seconds", 0.0)
    saved = clock = time.monotonic()

    def save() -> None:
        metrics.flush()
        now = time.monotonic()
        unfinished = now - begun if step % per_epoch else 0.0  # of the epoch under way
        so_far = {"step_seconds": step_seconds + unfinished, "train_seconds": train_seconds + now - clock}
        checkpoints.save(folder.checkpoints, step, state, so_far)

    def save_if_due() -> None:
        nonlocal saved
        stop = should_stop()
        if stop or time.monotonic() - saved > checkpoint_seconds:
            save()
            saved = time.monotonic()
        if stop:
            raise Interrupted(f"stopped at step {step} of {total}")

    for epoch in range(step // per_epoch, config.train.epochs):
        begun = time.monotonic()
        done = step % per_epoch
        for images, labels in epoch_batches(
            splits.train, config.data, size, seed=config.seed, epoch=epoch, first=done
        ):
            state, loss, rate = programs.step(state, images, labels, key, np.int32(step))
            step += 1
            metrics.train(step, epoch, loss, rate)
            if step % per_epoch:  # a checkpoint at the end of an epoch comes after its validation
                save_if_due()
        metrics.flush()
        step_seconds += time.monotonic() - begun
        scores, learned = validate(programs, state.parameters, splits.validation, step)
        metrics.validation(step, epoch, scores)
        say(f"epoch {epoch + 1}/{config.train.epochs}: {_told(scores, learned)}")
        save_if_due()
    if step not in checkpoints.steps(folder.checkpoints):
        save()
    train_seconds += time.monotonic() - clock

    scores, learned = validate(programs, state.parameters, splits.validation, step)
    test_logits = _logits(programs, state.parameters, splits.test, "test images")
    _write_predictions(folder, test_logits, splits.test.labels)
    trained = Model(
        config=config.model,
        parameters=jax.tree.map(np.asarray, state.parameters),
        preprocessing=preprocessing,
        class_names=splits.info.class_names,
        source=f"trained on {config.data.name}, seed {config.seed}"
        + (f", from: {origin.source} ({model_digest(origin)})" if origin else ""),
        data=config.data.name,
    )
    write_model(folder.model_file, trained)
    result = {
        **scores.named("val"),
        **score(test_logits, splits.test.labels).named("test"),
        "learned": learned,
        "params": network.params,
        "macs": network.macs,
        "bytes_fp32": network.bytes_fp32,
        "peak_activations": network.peak_activations,
        "epochs": config.train.epochs,
        "steps": step,
        "train_examples": len(splits.train.labels),
        "validation_examples": len(splits.validation.labels),
        "test_examples": len(splits.test.labels),
        "data_fingerprint": splits.info.fingerprint,
        "start_seconds": start_seconds,
        "compile_seconds": compile_seconds,
        "train_seconds": train_seconds,
        "images_per_second": total * size / step_seconds,
        "peak_memory_mb": peak_memory_mb(),
    }
    write_json(folder.result_file, result)
    return result


def validate(programs: Programs, parameters: Parameters, split: Split, step: int) -> tuple[Scores, bool]:
    """Return the scores on a split, and whether the network says anything (not all logits are 0)."""
    logits = _logits(programs, parameters, split, f"validation images after step {step}")
    return score(logits, split.labels), bool(logits.any())


class MetricsLog:
    """`metrics.jsonl`: one line a step and an epoch, each step once, in order.

    Opened at `step`, it drops the lines of later steps, which a crash left behind.
    """

    def __init__(self, folder: TrialFolder, step: int):
        kept = [line for line in folder.read_metrics() if line["step"] <= step]
        write_text(folder.metrics_file, "".join(map(_line, kept)))
        self._path = folder.metrics_file
        self._waiting: list[tuple[int, int, Any, Any]] = []

    def train(self, step: int, epoch: int, loss: Array, rate: Array) -> None:
        """Take the loss and learning rate of a step, still on the device."""
        self._waiting.append((step, epoch, loss, rate))
        if len(self._waiting) == STEPS_PER_FLUSH:
            self.flush()

    def validation(self, step: int, epoch: int, scores: Scores) -> None:
        """Write the scores at the end of an epoch."""
        self._append([{"step": step, "kind": "validation", "epoch": epoch, **scores.named("val")}])

    def flush(self) -> None:
        """Write what waits; a loss that is not finite is written as null and raises `NonFiniteError`."""
        fetched, self._waiting = jax.device_get(self._waiting), []
        lines, bad = [], None
        for step, epoch, loss, rate in fetched:
            value: float | None = float(loss)
            if not math.isfinite(loss):
                bad, value = bad or step, None
            lines.append(
                {"step": step, "kind": "train", "epoch": epoch, "loss": value, "learning_rate": float(rate)}
            )
        self._append(lines)
        if bad:
            raise NonFiniteError(f"the loss is not finite at step {bad}")

    def _append(self, lines: list[dict[str, Any]]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(map(_line, lines)))


def peak_memory_mb() -> float:
    """Return the largest resident size of this process so far, in MB (1e6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _logits(programs: Programs, parameters: Parameters, split: Split, of: str) -> np.ndarray:
    logits = logits_of(
        lambda images: programs.predict(parameters, images), split.images, programs.evaluation_batch
    )
    if not np.isfinite(logits).all():
        raise NonFiniteError(f"the logits of the {of} are not finite")
    return logits


def _write_predictions(folder: TrialFolder, logits: np.ndarray, labels: np.ndarray) -> None:
    write_whole(
        folder.predictions_file,
        lambda file: np.savez_compressed(file, test_logits=logits, test_labels=labels),
    )


def _line(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, allow_nan=False) + "\n"


def _told(scores: Scores, learned: bool) -> str:
    silent = "" if learned else "; NOT LEARNING: all logits are 0"
    return f"validation loss {scores.loss:.4f}, top-1 {scores.top1:.4f}{silent}"
