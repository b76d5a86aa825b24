"""The plan of a study: every trial with its identity, its size and what has become of it.

A plan is made from the study file and the trial folders alone, and can be made again at any time. Nothing
is trained, compiled or written.
"""

import dataclasses
import functools
import gc
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqzx.claims import look, new_watch
from sqzx.config import TrialConfig, resolve
from sqzx.counting import Network, count
from sqzx.data.info import dataset_info
from sqzx.errors import ArchitectureError, InputError
from sqzx.terminal import shown
from sqzx.trial import STATES, Status, TrialFolder, lives
from sweeps.constraints import Refusal, Sizes, sizes_of
from sweeps.dense import with_dense
from sweeps.estimates import Calibration, InfoOf, measured, read_calibrations
from sweeps.identity import config_id, ids_of_seeds, trial_id
from sweeps.search import with_choices
from sweeps.study import Study, read_study

PENDING = Status()
WAITING = ("pending", "interrupted")
"""What a run will start. A running trial is another runner's; a failed one runs again only when asked."""
FAILED = ("failed", "timed_out")


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a study. `name` tells its configuration, `sweeps` the blocks that it is a member of.

    `settings` are those by which the study's configurations differ, as the study spells them.
    A compressed trial starts from the network of a dense one and runs `after` it. `est_seconds` on one
    worker and `est_disk_bytes` are what a trial is expected to cost, None while unknown.
    """

    id: str
    config_id: str
    name: str
    sweeps: tuple[str, ...]
    settings: Mapping[str, Any]
    config: TrialConfig
    sizes: Sizes
    status: Status = PENDING
    after: str | None = None
    est_seconds: float | None = None
    est_memory_mb: float | None = None
    est_disk_bytes: int | None = None

    @property
    def network(self) -> Network:
        """The network layer by layer, counted anew: a plan of many trials keeps its totals alone."""
        return count(self.config.model, self.config.data.image_shape)


@dataclass(frozen=True)
class Skipped:
    """A point that cannot or may not be trained, and why; `rule` is the same for all of the same kind."""

    sweep: str
    settings: Mapping[str, Any]
    rule: str
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
        """Return the number of trials of each status, every status named, and of unknown ones if any are."""
        found = Counter(trial.status.status for trial in self.trials)
        return {state: found[state] for state in STATES} | {s: n for s, n in found.items() if s not in STATES}

    def skipped_by_rule(self) -> dict[str, list[Skipped]]:
        """Return the points left out by what they break, in the order of their first."""
        groups: dict[str, list[Skipped]] = {}
        for skipped in self.skipped:
            groups.setdefault(skipped.rule, []).append(skipped)
        return groups

    def waiting(self) -> list[PlannedTrial]:
        """Return the trials that a run will start."""
        return [trial for trial in self.trials if trial.status.status in WAITING]

    def seconds_left(self, workers: int) -> float | None:
        """Return the expected wall time of what is waiting on `workers` processes, or None if unknown."""
        waiting = [trial.est_seconds for trial in self.waiting()]
        if any(s is None for s in waiting):
            return None
        return sum(s for s in waiting if s is not None) / workers

    def disk_bytes_left(self) -> int:
        """Return the expected size on disk of what is waiting."""
        return sum(trial.est_disk_bytes or 0 for trial in self.waiting())


def plan_study(study: Study, out: Path | None = None) -> Plan:
    """Enumerate a study: resolve, identify and count every point.

    With `out` the trials carry what has become of them there (`with_statuses`), and what a search has chosen
    there is planned. Raises `InputError` where every point is left out.
    """
    if out is not None and study.search is not None:
        study = with_choices(study, out)
    with _no_collections():
        plan = _enumerated(study)
    return plan if out is None else with_statuses(plan, out)


def _enumerated(study: Study) -> Plan:
    info_of = functools.cache(dataset_info)  # of one name or a few, and no file may change in mid-plan
    naming = study.naming_keys()
    trials: dict[str, PlannedTrial] = {}
    skipped: list[Skipped] = []
    for block, settings in study.points():
        spelled = {key: settings[key] for key in naming if key in settings}
        found = judged(settings, study, info_of)
        if isinstance(found, Refusal):
            skipped.append(Skipped(block.name, spelled, *found))
            continue
        config, sizes = found
        name = _name(spelled) or study.name
        of_all_seeds, keys = ids_of_seeds(config, study.seeds)
        for seed, key in enumerate(keys):
            if (known := trials.get(key)) is None:
                trial = dataclasses.replace(config, seed=seed) if seed else config
                after = trial_id(trial.dense()) if trial.compress else None
                trials[key] = PlannedTrial(
                    key, of_all_seeds, name, (block.name,), spelled, trial, sizes, after=after
                )
            elif block.name not in known.sweeps:
                trials[key] = dataclasses.replace(known, sweeps=(*known.sweeps, block.name))
    if not trials and study.search is None:
        raise InputError(
            f"{study.source}: no point is left to train; the first of {len(skipped):,} skipped: "
            f"{skipped[0].text}"
        )
    return Plan(study, tuple(with_dense(trials, _name)), tuple(skipped))


@contextmanager
def _no_collections() -> Generator[None]:
    """Pause the search for cycles: plain values make none, and it took a quarter of a large plan's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def judged(settings: Mapping[str, Any], study: Study, info_of: InfoOf) -> tuple[TrialConfig, Sizes] | Refusal:
    """Resolve and count a point, or return why it is left out."""
    try:
        config = resolve(settings, study.source, info_of=info_of)
        sizes = sizes_of(config)
    except ArchitectureError as error:
        reason = str(error).removeprefix(f"{study.source}: ")
        return Refusal(reason.partition(": ")[0], reason)  # the key that no network can have
    return study.constraints.refusal(settings, config, sizes, info_of(config.data.name)) or (config, sizes)


def with_statuses(plan: Plan, out: Path) -> Plan:
    """Return a plan whose trials carry what has become of them in the folder `out`.

    Trials of that folder that are no more in the study come last, as "removed". Where the study bounds the
    expected time, what has not begun and is expected to take too long is skipped.
    """
    if trials_dir(out).exists():
        there = {path.name for path in trials_dir(out).iterdir()}
        seen = (
            dataclasses.replace(trial, status=_status(trial_folder(out, trial.id)))
            if trial.id in there
            else trial
            for trial in plan.trials
        )
        removed = _removed(out, there - {trial.id for trial in plan.trials})
        plan = dataclasses.replace(plan, trials=(*seen, *removed))
    return plan if plan.study.constraints.seconds is None else affordable(priced(plan, out))


def priced(plan: Plan, out: Path | None, calibrations: tuple[Calibration, ...] = ()) -> Plan:
    """Return a plan with the expected cost of each trial, as `sweeps.estimates` tells it.

    What is known comes from the finished trials of the folder `out` and from `calibrations`, by default
    those that the folder keeps.
    """
    info_of = functools.cache(dataset_info)
    planned = [trial for trial in plan.trials if trial.status.status != "removed"]
    finished = planned if out is not None else []
    known = measured(
        finished,
        lambda trial: trial_folder(out or Path(), trial),
        calibrations or (read_calibrations(out) if out else ()),
        info_of,
    )
    with _no_collections():
        trials = tuple(
            trial
            if trial.status.status == "removed"
            else dataclasses.replace(
                trial,
                est_seconds=known.seconds(trial),
                est_memory_mb=known.memory_mb(trial),
                est_disk_bytes=known.disk_bytes(trial),
            )
            for trial in plan.trials
        )
    return dataclasses.replace(plan, trials=trials)


def affordable(plan: Plan) -> Plan:
    """Leave out what has not begun and breaks the study's bounds of the expected time, where it is known."""
    bounds = plan.study.constraints.seconds
    if bounds is None:
        return plan
    kept: list[PlannedTrial] = []
    skipped: dict[str, Skipped] = {}  # a configuration once, whatever its seeds
    lost: set[str] = set()
    for trial in plan.trials:
        seconds = trial.est_seconds if trial.status == PENDING else None
        if seconds is not None and (refusal := bounds.refusal(round(seconds, 1))):
            skipped[trial.config_id] = Skipped(trial.sweeps[0], trial.settings, *refusal)
            lost.add(trial.id)
        elif trial.after in lost:  # it stands behind its dense trial
            reason = f"constraints.{bounds.name}: its dense trial is skipped"
            skipped[trial.config_id] = Skipped(trial.sweeps[0], trial.settings, bounds.name, reason)
        else:
            kept.append(trial)
    return dataclasses.replace(plan, trials=tuple(kept), skipped=(*plan.skipped, *skipped.values()))


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


def _name(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]}={shown(value)}" for key, value in settings.items())


def _status(folder: TrialFolder) -> Status:
    """Return what has become of a trial; one that runs elsewhere while its claim is free was left behind."""
    status = folder.read_status()
    if status.status == "running" and lives(status) is None and look(new_watch(), folder) == "free":
        status = folder.read_status()  # a claim that is free has the last one
        if status.status == "running":
            return status.but(status="interrupted", reason=f"left behind by a process on {status.host}")
    return status


def _removed(out: Path, names: set[str]) -> Iterator[PlannedTrial]:
    for name in sorted(names):
        folder = trial_folder(out, name)
        if not folder.config_file.is_file():
            continue
        config = folder.read_config()
        status = folder.read_status().but(status="removed", reason="no more in the study file")
        sizes = sizes_of(config)
        yield PlannedTrial(name, config_id(config), name, (), {}, config, sizes, status)
