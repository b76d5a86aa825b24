"""What a trial will cost, in seconds on one worker, memory and bytes on disk, by what is known so far.

Seconds: the mean of finished trials of the same configuration; else, from all finished trials, their usual
start and compilation, and their training scaled by MACs and images; else the same from a few calibrated
steps (`sqzx.calibration`); else unknown.

Bytes: the mean of finished trials of the same configuration; else a count of what a trial writes, corrected
by how far that count is off for the finished trials.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqzx.config import TrialConfig
from sqzx.data.info import DatasetInfo
from sqzx.duration import CHECKPOINT_SECONDS, training_images, training_seconds
from sqzx.errors import InputError
from sqzx.files import read_json, write_json
from sqzx.schema import from_tree
from sqzx.trial import TrialFolder

if TYPE_CHECKING:
    from sweeps.constraints import Sizes
    from sweeps.plan import PlannedTrial

InfoOf = Callable[[str], DatasetInfo]
"""Where the metadata of a data set comes from, by its name."""

CHECKPOINTS = 2
"""That a trial keeps: `checkpoints.KEPT` of sqzx, whose import would start JAX."""
ARRAY_RATIO = 0.9
"""Of a checkpoint's arrays to what they are uncompressed; 0.8 to 0.93 were seen."""
CHECKPOINT_BYTES, CHECKPOINT_ARRAY_BYTES = 3_000, 450
"""Of each checkpoint and of each of its arrays, beside the numbers themselves."""
TRAIN_LINE_BYTES, VALIDATION_LINE_BYTES = 97, 155
"""Of one line in `metrics.jsonl`."""
COMPRESSED = 10
"""How many times smaller a compressed network is supposed to be."""
SMALL_FILES_BYTES = 8_000
"""Configuration, status, result and log."""


@dataclass(frozen=True)
class Calibration:
    """Timed steps of one network on one worker: start and compilation, then the training of one image."""

    macs: int
    fixed_seconds: float
    image_seconds: float


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """What is known of the cost of trials. Both mappings are by the id of a configuration."""

    seconds_of: Mapping[str, float]
    disk_bytes_of: Mapping[str, float]
    fixed_seconds: float | None
    mac_seconds: float | None
    disk_ratio: float
    calibrations: tuple[Calibration, ...]
    info_of: InfoOf

    def seconds(self, trial: "PlannedTrial") -> float | None:
        """Return the expected seconds of a trial on one worker, or None where nothing is known."""
        if (mean := self.seconds_of.get(trial.config_id)) is not None:
            return mean
        images, macs = training_images(trial.config, self.info_of), trial.sizes.macs
        if self.fixed_seconds is not None and self.mac_seconds is not None:
            return self.fixed_seconds + self.mac_seconds * macs * images
        if self.calibrations:
            fixed = statistics.fmean(c.fixed_seconds for c in self.calibrations)
            return fixed + image_seconds(self.calibrations, macs) * images
        return None

    def memory_mb(self, trial: "PlannedTrial") -> float:
        """Return the expected peak memory of a trial's process, in MB (`sqzx.memory`)."""
        info = self.info_of(trial.config.data.name)
        return round(trial.sizes.expected_memory_mb(trial.config, info))

    def disk_bytes(self, trial: "PlannedTrial") -> int:
        """Return the expected size of a trial's folder."""
        if (mean := self.disk_bytes_of.get(trial.config_id)) is not None:
            return round(mean)
        return round(self.disk_ratio * counted_disk_bytes(trial.config, trial.sizes, self.info_of))


def measured(
    trials: Iterable["PlannedTrial"],
    folder_of: Callable[[str], TrialFolder],
    calibrations: tuple[Calibration, ...],
    info_of: InfoOf,
) -> Estimates:
    """Learn from finished trials what the others will cost."""
    seconds: dict[str, list[float]] = {}
    sizes: dict[str, list[int]] = {}
    fixed, rates, ratios = [], [], []
    for trial in trials:
        if trial.status.status != "done" or (times := _times(folder_of(trial.id))) is None:
            continue
        work = trial.sizes.macs * training_images(trial.config, info_of)
        seconds.setdefault(trial.config_id, []).append(sum(times))
        fixed.append(times.start_seconds + times.compile_seconds)
        if work:
            rates.append(times.train_seconds / work)
        size = folder_bytes(folder_of(trial.id).path)
        sizes.setdefault(trial.config_id, []).append(size)
        ratios.append(size / counted_disk_bytes(trial.config, trial.sizes, info_of))
    return Estimates(
        seconds_of={key: statistics.fmean(values) for key, values in seconds.items()},
        disk_bytes_of={key: statistics.fmean(values) for key, values in sizes.items()},
        fixed_seconds=statistics.median(fixed) if fixed else None,
        mac_seconds=statistics.median(rates) if rates else None,
        disk_ratio=statistics.median(ratios) if ratios else 1.0,
        calibrations=calibrations,
        info_of=info_of,
    )


class _Times(NamedTuple):
    start_seconds: float
    compile_seconds: float
    train_seconds: float


def _times(folder: TrialFolder) -> _Times | None:
    """Return what a finished trial took; None where its result does not say so."""
    try:
        result = folder.read_result() or {}
    except InputError:  # one damaged file must not keep the others from their plan
        return None
    values = [result.get(name) for name in _Times._fields]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return _Times(*numbers) if len(numbers) == len(values) else None


def image_seconds(calibrations: tuple[Calibration, ...], macs: int) -> float:
    """Return the training time of one image by MACs: on the line between two networks, else in proportion."""
    points = sorted((c.macs, c.image_seconds) for c in calibrations)
    (low, first), (high, last) = points[0], points[-1]
    if low < macs < high:
        return first + (last - first) * (macs - low) / (high - low)
    nearest, seconds = (low, first) if macs <= low else (high, last)
    return seconds * macs / nearest


def counted_disk_bytes(config: TrialConfig, sizes: "Sizes", info_of: InfoOf) -> int:
    """Count what a finished trial leaves: checkpoints, model, predictions, metrics and small files."""
    info = info_of(config.data.name)
    if config.compress is not None:  # a small file, and no checkpoint that stays
        return (
            sizes.bytes_fp32 // COMPRESSED
            + 4 * info.test_examples * (info.num_classes + 1)
            + SMALL_FILES_BYTES
        )
    moments = 2 if config.train.optimizer == "adamw" else 1
    arrays = 2 * sizes.parametric_layers + 2 * moments  # kernels and biases; a moment has two vectors
    checkpoint = (
        ARRAY_RATIO * sizes.bytes_fp32 * (1 + moments) + CHECKPOINT_ARRAY_BYTES * arrays + CHECKPOINT_BYTES
    )
    predictions = 4 * info.test_examples * (info.num_classes + 1)
    images = training_images(config, info_of)
    steps = images // min(config.train.batch_size, images)
    metrics = TRAIN_LINE_BYTES * steps + VALIDATION_LINE_BYTES * config.train.epochs
    has_one = training_seconds(sizes.flops, images) < CHECKPOINT_SECONDS
    kept = 1 if has_one else CHECKPOINTS
    return round(kept * checkpoint) + sizes.bytes_fp32 + predictions + metrics + SMALL_FILES_BYTES


def folder_bytes(path: Path) -> int:
    """Return the size of all files under a folder; a file that goes meanwhile counts nothing."""
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:
            continue
    return total


def calibration_file(out: Path) -> Path:
    """Where a study's folder keeps its calibration; the dot leaves a folder without a run "empty"."""
    return out / ".calibration.json"


def write_calibrations(out: Path, calibrations: tuple[Calibration, ...]) -> None:
    """Keep calibrations in a study's folder, for later plans and runs."""
    write_json(calibration_file(out), [vars(calibration) for calibration in calibrations])


def read_calibrations(out: Path) -> tuple[Calibration, ...]:
    """Return the calibrations of a study's folder, none where there are none."""
    file = calibration_file(out)
    if not file.exists():
        return ()
    found: Any = read_json(file)
    if not isinstance(found, list):
        raise InputError(f"{file}: is no list of calibrations; delete it")
    return tuple(from_tree(Calibration, tree, str(file)) for tree in found)
