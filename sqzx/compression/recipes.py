"""The recipes of the paper on a trained network: SVD, pruning, Deep Compression, dense-sparse-dense training.

A recipe is a row of stages. Each takes a compressed network and returns the next one, which is written as a
`.sqz` file of its own into a work folder: what a stage costs in accuracy and saves in bytes is measured on
that file, and a run that was cut goes on from the last of them. Training may be cut between any two of its
steps. No stage sees the test images; they are scored once, at the end, by what is read back from the last
file.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sqzx.claims import ClaimedElsewhere, claim, when_free
from sqzx.compression import stages
from sqzx.compression.compressed import Compressed, named_layers
from sqzx.compression.config import CompressConfig
from sqzx.compression.sqz import read_sqz, write_sqz
from sqzx.compression.stages import Listener, Setting
from sqzx.config import TrialConfig
from sqzx.counting import count
from sqzx.data.splits import Split, Splits, load_splits_of
from sqzx.errors import InputError
from sqzx.evaluation import Scores, score
from sqzx.files import holds_files, read_json, remove_whole, write_json
from sqzx.model import Model, check_fits, model_digest
from sqzx.prediction import model_logits
from sqzx.trial import TrialFolder

RECIPE = "recipe.json"
"""What the work folder is for; the stages beside it are those of this recipe."""


class Measured(NamedTuple):
    """What a stage left: its name and facts, the bytes of its file, and how it does on validation images."""

    stage: Mapping[str, Any]
    bytes: int
    validation: Scores


@dataclass(frozen=True, kw_only=True)
class Made:
    """A recipe's file: its network as it is read back, every stage, and the scores of the file.

    `before` are the validation scores of the network that it was made of. `seconds` are those of all
    trainings, by the names of a trial's result, `epochs` and `steps` counted over them, and
    `images_per_second` is their mean.
    """

    compressed: Compressed
    stages: tuple[Measured, ...]
    bytes: int
    before: Scores
    validation: Scores
    test: Scores
    test_logits: np.ndarray
    splits: Splits
    seconds: Mapping[str, float]
    images_per_second: float | None
    epochs: int
    steps: int

    @property
    def params_kept(self) -> int:
        """Parameters that are not pruned: weights other than 0, and all biases."""
        layers = named_layers(self.compressed.model.parameters).values()
        return sum(
            int(np.count_nonzero(array)) if part == "kernel" else array.size
            for arrays in layers
            for part, array in arrays.items()
        )


def compress(
    dense: Model,
    trial: TrialConfig,
    config: CompressConfig,
    out: Path,
    work: Path,
    listener: Listener,
    *,
    halves: Path | None = None,
) -> Made:
    """Compress a network by a recipe into the file `out`; `trial` says how it was trained.

    What is found in the folder `work` is gone on with, and the folder is removed at the end, unless there is
    a claim on it. `InputError` where it holds another compression, where the network has layers that are two,
    and where its images or classes are not those of the data; `Interrupted` where the listener asks to stop.
    `halves` is where files are until they are whole, as in `files.in_place_of`.
    """
    check_fits(dense, trial.model, trial.data.image_shape)
    _begin(work, dense, trial, config, halves)
    splits = load_splits_of(trial.data)
    setting = Setting(dense=dense, trial=trial, config=config, listener=listener)
    before = _scores(dense, splits.validation)
    listener.say(f"none: {_told(before, count(trial.model, trial.data.image_shape).bytes_fp32)}")
    compressed = Compressed(model=dense)
    measured: list[Measured] = []
    for number, (name, stage) in enumerate(stages.of(config, trial.train.epochs), 1):
        file, folder = work / f"{number}-{name}.sqz", TrialFolder(work / f"{number}-{name}", halves)
        found = _found(file, listener)
        if found is None:
            done = stage(setting, compressed, folder)
            scores = _scores(done.compressed.model, splits.validation)
            told = {"stage": name, **done.facts, "val_top1": scores.top1}
            found = replace(done.compressed, history=(*compressed.history, told))
            write_sqz(file, found, coder=config.coder, halves=halves)
        else:
            scores = _scores(found.model, splits.validation)
        compressed = found
        measured.append(Measured(compressed.history[-1], file.stat().st_size, scores))
        listener.say(f"{stage_text(measured[-1].stage)}: {_told(scores, measured[-1].bytes)}")
    size = write_sqz(out, compressed, coder=config.coder, halves=halves)
    read_back = read_sqz(out)
    test_logits = model_logits(read_back.model, splits.test.images)
    trainings = [result for path in sorted(work.iterdir()) if (result := TrialFolder(path).read_result())]
    speeds = [result["images_per_second"] for result in trainings]
    made = Made(
        compressed=read_back,
        stages=tuple(measured),
        bytes=size,
        before=before,
        validation=_scores(read_back.model, splits.validation),
        test=score(test_logits, splits.test.labels),
        test_logits=test_logits,
        splits=splits,
        seconds={
            # A stage that was trained before data_wait_seconds were told has none.
            name: sum(result.get(name, 0.0) for result in trainings)
            for name in ("start_seconds", "compile_seconds", "train_seconds", "data_wait_seconds")
        },
        images_per_second=sum(speeds) / len(speeds) if speeds else None,
        epochs=sum(result["epochs"] for result in trainings),
        steps=sum(result["steps"] for result in trainings),
    )
    _end(work, halves)
    return made


def compress_alone(
    dense: Model, trial: TrialConfig, config: CompressConfig, out: Path, listener: Listener
) -> Made:
    """Compress into `out` as `compress` does, while no other process does; the work folder is beside it.

    Raises `ClaimedElsewhere` where another process is seen to be at work there, or has taken over.
    """
    work = TrialFolder(out.with_name(f"{out.name}.work"))

    def act() -> Made | None:
        try:
            with claim(work) as held:

                def should_stop() -> bool:
                    held.check()
                    return listener.should_stop()

                own, halves = replace(listener, should_stop=should_stop), held.folder.halves
                try:
                    return compress(dense, trial, config, out, work.path, own, halves=halves)
                except Exception:
                    if held.is_held():
                        raise
                    return None
                finally:
                    if not holds_files(work.path):
                        held.end_folder()
        except ClaimedElsewhere:
            return None

    return when_free(work, act, listener.say, listener.should_stop)


def _end(work: Path, halves: Path | None) -> None:
    """Remove what is in the work folder but a claim on it, last of all what says what it is for."""
    for path in sorted(work.iterdir(), key=lambda path: path.name == RECIPE):
        if path.name != TrialFolder(work).writer.name:
            remove_whole(path, halves=halves)
    with suppress(OSError):
        work.rmdir()


def _begin(work: Path, dense: Model, trial: TrialConfig, config: CompressConfig, halves: Path | None) -> None:
    """Say in the work folder what it is for, or refuse one that is for something else."""
    told = {"model": model_digest(dense), **replace(trial, compress=config).to_json()}
    file = work / RECIPE
    if not file.exists():
        write_json(file, told, halves=halves)
    elif read_json(file) != told:
        raise InputError(
            f"{work}: holds the work of another compression (another model or other settings); "
            "finish that one, delete the folder or choose another --out"
        )


def _found(file: Path, listener: Listener) -> Compressed | None:
    """Return what an earlier run left of a stage."""
    if not file.exists():
        return None
    try:
        return read_sqz(file)
    except InputError as error:
        listener.on_fault(f"{error}; the stage is done again")
        return None


def _scores(model: Model, split: Split) -> Scores:
    return score(model_logits(model, split.images), split.labels)


def _told(scores: Scores, size: int) -> str:
    return f"{size:,} bytes, validation top-1 {scores.top1:.4f}"


def stage_text(stage: Mapping[str, Any]) -> str:
    """Return a stage and what there is to say of it: "prune (kept 100, weights 300)"."""
    facts = ", ".join(
        f"{name} {_number(value)}" for name, value in stage.items() if name not in ("stage", "val_top1")
    )
    return f"{stage['stage']} ({facts})" if facts else str(stage["stage"])


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else value
