"""The plan of a study: every trial with its identity, its size and what has become of it.

A plan is made from the study file and the trial folders alone, and can be made again at any time. Nothing
is trained, compiled or written.
"""

import dataclasses
import functools
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqzx.config import TrialConfig, resolve
from sqzx.counting import Network, count
from sqzx.data.info import dataset_info
from sqzx.errors import ArchitectureError, InputError
from sqzx.terminal import shown
from sqzx.trial import STATES, Status, TrialFolder
from sweeps.identity import config_id, trial_id
from sweeps.study import Study, read_study

PENDING = Status()


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a study. `name` tells its configuration, `sweeps` the blocks that it is a member of."""

    id: str
    config_id: str
    name: str
    sweeps: tuple[str, ...]
    config: TrialConfig
    network: Network
    status: Status = PENDING
    est_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the trial as `sqzx sweep plan --json` prints it."""
        return {
            "id": self.id,
            "config_id": self.config_id,
            "name": self.name,
            "seed": self.config.seed,
            "sweeps": list(self.sweeps),
            "config": self.config.to_json(),
            "params": self.network.params,
            "macs": self.network.macs,
            "bytes_fp32": self.network.bytes_fp32,
            "status": self.status.status,
            "reason": self.status.reason,
            "est_seconds": self.est_seconds,
        }


@dataclass(frozen=True)
class Skipped:
    """A point that cannot or may not be trained, and why."""

    sweep: str
    settings: Mapping[str, Any]
    reason: str

    @property
    def text(self) -> str:
        """The point and its reason in one line."""
        return f"{self.sweep}: {_name(self.settings) or 'its one point'}: {self.reason}"


@dataclass(frozen=True)
class Plan:
    """All trials of a study in the order in which they run, and the points left out."""

    study: Study
    trials: tuple[PlannedTrial, ...]
    skipped: tuple[Skipped, ...]

    def counts(self) -> dict[str, int]:
        """Return the number of trials of each status, every status named."""
        found = Counter(trial.status.status for trial in self.trials)
        return {state: found[state] for state in STATES}

    def seconds_left(self, workers: int) -> float | None:
        """Return the expected wall time of what is pending on `workers` processes, or None if unknown."""
        waiting = [t.est_seconds for t in self.trials if t.status.status in ("pending", "interrupted")]
        if any(s is None for s in waiting):
            return None
        return sum(s for s in waiting if s is not None) / workers


def plan_study(study: Study, out: Path | None = None) -> Plan:
    """Enumerate a study: resolve, identify and count every point.

    With `out` the trials carry what has become of them there (`with_statuses`). Raises `InputError` where
    every point is left out.
    """
    counted = functools.cache(count)  # networks of trials that differ in their training alone are one
    trials: dict[str, PlannedTrial] = {}
    skipped: list[Skipped] = []
    naming = _naming_keys(study)
    for block, settings in study.points():
        try:
            config = resolve(settings, study.source)
            network = counted(config.model, config.data.image_shape)
        except ArchitectureError as error:
            reason = str(error).removeprefix(f"{study.source}: ")
            skipped.append(Skipped(block.name, _spelled(settings, naming), reason))
            continue
        if reason := study.refusal(network):
            skipped.append(Skipped(block.name, _spelled(settings, naming), reason))
            continue
        name = _name(_spelled(settings, naming)) or study.name
        for seed in range(study.seeds):
            trial = dataclasses.replace(config, seed=seed)
            key = trial_id(trial)
            if (known := trials.get(key)) is None:
                member = (block.name,)
                trials[key] = PlannedTrial(key, config_id(trial), name, member, trial, network)
            elif block.name not in known.sweeps:
                trials[key] = dataclasses.replace(known, sweeps=(*known.sweeps, block.name))
    if not trials:
        raise InputError(
            f"{study.source}: no point is left to train; the first of {len(skipped)} skipped: "
            f"{skipped[0].text}"
        )
    plan = Plan(study, tuple(trials.values()), tuple(skipped))
    return plan if out is None else with_statuses(plan, out)


def with_statuses(plan: Plan, out: Path) -> Plan:
    """Return a plan whose trials carry what has become of them in the folder `out`.

    Trials of that folder that are no more in the study come last, as "removed".
    """
    if not trials_dir(out).exists():
        return plan
    seen = (
        dataclasses.replace(trial, status=trial_folder(out, trial.id).read_status()) for trial in plan.trials
    )
    removed = _removed(out, {trial.id for trial in plan.trials})
    return dataclasses.replace(plan, trials=(*seen, *removed))


def priced(plan: Plan, out: Path) -> Plan:
    """Return a plan with expected seconds, measured by the finished trials of its folder.

    Those of the same configuration count first, else all, scaled by their work.
    """
    measured: dict[str, list[float]] = {}
    rates = []
    for trial in plan.trials:
        if trial.status.status == "done" and (result := trial_folder(out, trial.id).read_result()):
            seconds = sum(result[part] for part in ("start_seconds", "compile_seconds", "train_seconds"))
            seconds /= trial.status.stack  # those of its whole stack
            measured.setdefault(trial.config_id, []).append(seconds)
            rates.append(seconds / _work(trial))

    def estimate(trial: PlannedTrial) -> float | None:
        if same := measured.get(trial.config_id):
            return statistics.fmean(same)
        return statistics.median(rates) * _work(trial) if rates else None

    trials = tuple(dataclasses.replace(trial, est_seconds=estimate(trial)) for trial in plan.trials)
    return dataclasses.replace(plan, trials=trials)


def plan_folder(out: Path) -> Plan:
    """Return the plan of a study folder, from the study file that was frozen there by its last run."""
    return plan_study(read_study(study_file(out)), out)


def study_file(out: Path) -> Path:
    """Return the frozen study file of a folder; a folder without one is an `InputError`."""
    file = out / "study.toml"
    if not file.is_file():
        what = "no such folder" if not out.exists() else "not a study's folder (no study.toml in it)"
        raise InputError(f"{out}: {what}; `sqzx sweep run STUDY --out {out}` makes one")
    return file


def trials_dir(out: Path) -> Path:
    """Return the folder of the trial folders."""
    return out / "trials"


def trial_folder(out: Path, trial: str) -> TrialFolder:
    """Return the folder of one trial by its id."""
    return TrialFolder(trials_dir(out) / trial)


def _naming_keys(study: Study) -> list[str]:
    """Return the keys that tell configurations apart: set in a block, with more than one value."""
    values: dict[str, set[Any]] = {}
    for block in study.sweeps:
        for key in (*block.axes, *block.fixed):
            values.setdefault(key, set())
    for block in study.sweeps:
        for key, found in values.items():
            fixed = block.fixed.get(key, study.config.get(key))
            found.update(block.axes.get(key, (fixed,)))
    return [key for key, found in values.items() if len(found) > 1]


def _spelled(settings: Mapping[str, Any], keys: list[str]) -> dict[str, Any]:
    return {key: settings[key] for key in keys if key in settings}


def _name(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]}={shown(value)}" for key, value in settings.items())


def _work(trial: PlannedTrial) -> int:
    """Return the multiply-accumulates of a training, up to a constant factor."""
    data = trial.config.data
    examples = data.train_examples or dataset_info(data.name).train_examples
    return trial.network.macs * trial.config.train.epochs * examples


def _removed(out: Path, planned: set[str]) -> Iterator[PlannedTrial]:
    for path in sorted(trials_dir(out).iterdir()):
        folder = TrialFolder(path)
        if path.name in planned or not folder.config_file.is_file():
            continue
        config = folder.read_config()
        status = folder.read_status().but(status="removed", reason="no more in the study file")
        network = count(config.model, config.data.image_shape)
        yield PlannedTrial(path.name, config_id(config), path.name, (), config, network, status)
