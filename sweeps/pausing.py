"""Up to which epoch each trial of a study may train at this moment: what a run asks before it starts one."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from sqzx.claims import ClaimedElsewhere, claim
from sqzx.trial import Status
from sweeps.curves import validation_curve
from sweeps.halving import Halving, Rung, Standing, decide, pause_of, standing
from sweeps.plan import Plan, PlannedTrial, trial_folder

NOBODY = ("failed", "timed_out", "removed")
"""A trial with one of these statuses has no say at a rung, and nobody waits for it.

Nor has one whose log is damaged, until an attempt at it has begun the log anew."""


class Pauses:
    """The pauses of a study's trials in its folder, as `halving` has them; without it there is none.

    They are those of the moment at which `lifted` was last asked.
    """

    def __init__(self, plan: Plan, out: Path, halving: Halving | None):
        self._out, self._halving, self._trials = out, halving, plan.trials
        self._curves: dict[str, tuple[tuple[int, int], list[float] | None]] = {}
        self._rungs: dict[str, list[Rung]] = {}
        self._configurations: dict[str, list[PlannedTrial]] = {}
        for trial in plan.trials:
            if trial.status.status != "removed":
                self._configurations.setdefault(trial.config_id, []).append(trial)
        self._bins = _bins(self._configurations, halving) if halving else []

    def lifted(self, statuses: Mapping[str, Status], but: Collection[str]) -> set[str]:
        """Decide anew, and return the ids of all censored trials, except some, that may go on by now."""
        self._decide(statuses)
        return {t.id for t in self._trials if t.id not in but and self.lifts(t, statuses[t.id])}

    def _decide(self, statuses: Mapping[str, Status]) -> None:
        if self._halving is None:
            return
        for members in self._bins:
            rungs = self._halving.rungs(self._configurations[members[0]][0].config.train.epochs)
            found = {name: self._standing(name, rungs, statuses) for name in members}
            standings = {name: one for name, one in found.items() if one is not None}
            decided = decide(standings, rungs, self._halving.reduction)
            self._rungs |= dict.fromkeys(members, decided)

    def of(self, trial: PlannedTrial) -> int | None:
        """Return the epoch at which a trial is to pause, or None: it may train to its end."""
        return pause_of(trial.config_id, self._rungs.get(trial.config_id, ()))

    def lifts(self, trial: PlannedTrial, status: Status) -> bool:
        """Whether a trial is censored and may go on by now."""
        if status.status != "censored":
            return False
        pause = self.of(trial)
        return pause is None or pause > (status.epoch or 0)

    def tell(self, trial: PlannedTrial) -> None:
        """Write a trial's pause where its worker reads it."""
        trial_folder(self._out, trial.id).write_pause(self.of(trial))

    def explain(self, statuses: dict[str, Status]) -> None:
        """Give each censored trial its reason: how its configuration stood at the rung where it paused."""
        for trial in self._trials:
            status = statuses[trial.id]
            if status.status != "censored" or (reason := self._reason(trial, status)) == status.reason:
                continue
            folder = trial_folder(self._out, trial.id)
            with suppress(ClaimedElsewhere, OSError), claim(folder) as held:
                if (now := folder.read_status()) == status:  # else another runner has taken it up again
                    held.folder.write_status(now.but(reason=reason))
                    statuses[trial.id] = now.but(reason=reason)

    def _reason(self, trial: PlannedTrial, status: Status) -> str | None:
        told = f"stopped at epoch {status.epoch} of {trial.config.train.epochs}"
        for rung in self._rungs.get(trial.config_id, ()):
            if rung.epoch == status.epoch and trial.config_id in rung.ranking:
                place = rung.ranking.index(trial.config_id) + 1
                went = len(rung.going_on)
                return f"{told}: number {place} of {len(rung.ranking)} in its bin, of which {went} went on"
        return status.reason

    def _standing(self, name: str, rungs: tuple[int, ...], statuses: Mapping[str, Status]) -> Standing | None:
        """Return the standing of a configuration; None where none of its trials has a say."""
        assert self._halving is not None
        trials = self._configurations[name]
        curves = [self._curve(trial) for trial in trials if statuses[trial.id].status not in NOBODY]
        told = [curve for curve in curves if curve is not None]
        return standing(self._halving.size(trials[0].sizes), told, rungs) if told else None

    def _curve(self, trial: PlannedTrial) -> list[float] | None:
        """Return a trial's validation top-1 by epoch, None where its log is damaged.

        The file is read again where it has changed.
        """
        folder = trial_folder(self._out, trial.id)
        try:
            found = folder.metrics_file.stat()
        except OSError:
            return []
        version = found.st_mtime_ns, found.st_size
        known = self._curves.get(trial.id)
        if known is None or known[0] != version:
            known = self._curves[trial.id] = (version, validation_curve(folder))
        return known[1]


def _bins(configurations: Mapping[str, list[PlannedTrial]], halving: Halving) -> list[list[str]]:
    """Return the configurations that compete: of one data set, one number of epochs and one size bin."""
    alike: dict[tuple[str, int], dict[str, int]] = {}
    for name, (first, *_) in configurations.items():
        key = first.config.data.name, first.config.train.epochs
        alike.setdefault(key, {})[name] = halving.size(first.sizes)
    found: dict[tuple[str, int, int], list[str]] = {}
    for key, sizes in alike.items():
        for name, place in halving.bins_of(sizes).items():
            found.setdefault((*key, place), []).append(name)
    return list(found.values())
