"""The part of a search that is Optuna's: points for the next batch, from all that came before.

Imports Optuna, an optional extra; `sweeps.searching` does without until it chooses.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from sqzx.config import read_setting
from sweeps.random_axes import Axis, Levels, Log, Uniform
from sweeps.search import Batch, Choice, Search

STATES = {"scored": TrialState.COMPLETE, "refused": TrialState.PRUNED, "failed": TrialState.FAIL}


def choose(search: Search, history: Sequence[Batch]) -> list[Choice]:
    """Return the points of the batch after the batches of `history`, each of which has been told.

    Told once more, batch by batch and in their order, the earlier points make a sampler of this batch's own
    seed know what it would know in a search that was never stopped.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    earlier = [choice.coordinates for batch in history for choice in batch.points]
    sampler = Repeating(_sampler(search, number=len(history)), earlier)
    study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"])
    axes = {key: _distribution(axis) for key, axis in search.axes.items()}
    for batch in history:
        asked = [study.ask(axes) for _ in batch.points]
        for trial, told in zip(asked, batch.told or (), strict=True):
            if told.reason is not None:
                trial.set_user_attr("reason", told.reason)
            values = None if told.val_top1 is None or told.size is None else (told.val_top1, told.size)
            study.tell(trial, values, STATES[told.state])
    coordinates = [study.ask(axes).params for _ in range(search.next_size(history))]
    return [Choice(point, _settings(search.axes, point)) for point in coordinates]


class Repeating(BaseSampler):
    """A sampler that first gives points which were chosen earlier, whatever it would choose now.

    The wrapped one is asked each time, since it keeps account (nsga2 numbers its generations then), but its
    choice counts only after the earlier points. `Study.enqueue_trial` would pass it over.
    """

    def __init__(self, sampler: BaseSampler, earlier: Sequence[Mapping[str, int | float]]):
        self._sampler, self._earlier = sampler, earlier

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what the wrapped sampler chooses together."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values that are chosen together."""
        found = self._sampler.sample_relative(study, trial, search_space)
        if trial.number < len(self._earlier):
            return {key: self._earlier[trial.number][key] for key in found}
        return found

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a value that is chosen by itself."""
        if trial.number < len(self._earlier):
            return self._earlier[trial.number][param_name]
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Let the wrapped sampler know."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Let the wrapped sampler know."""
        self._sampler.after_trial(study, trial, state, values)


def _sampler(search: Search, number: int) -> BaseSampler:
    digest = hashlib.sha256(f"{search.seed}/{number}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")  # NumPy takes 32 bits
    if search.sampler == "nsga2":
        return NSGAIISampler(population_size=search.batch, seed=seed)
    return TPESampler(n_startup_trials=search.batch, seed=seed)


def _distribution(axis: Axis) -> BaseDistribution:
    """Return the coordinate of an axis: a share of its range, or the number of a level."""
    if isinstance(axis, Uniform | Log):
        return FloatDistribution(0.0, 1.0)
    if isinstance(axis, Levels) and not axis.ordered:
        return CategoricalDistribution(tuple(range(axis.number)))
    return IntDistribution(0, axis.number - 1)


def _settings(axes: Mapping[str, Axis], coordinates: Mapping[str, int | float]) -> dict[str, Any]:
    """Return the typed settings of a point."""
    found = {}
    for key, axis in axes.items():
        place = coordinates[key]
        share = place if isinstance(axis, Uniform | Log) else (place + 0.5) / axis.number
        found[key] = read_setting(key, axis.at(share), "[search]")
    return found
