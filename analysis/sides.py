"""What `sqzx compare` is asked to compare: texts that name trials or configurations of a study.

A side is one trial (its id, the beginning of its id, or the path of a trial's folder, also in another study),
or a configuration with all its seeds (its name in the plan, or settings that no other has).
"""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.table import left_out, scored, tidy
from sqzx.config import parse_assignment
from sqzx.counting import Network, count
from sqzx.errors import InputError
from sqzx.trial import TrialFolder
from sweeps.constraints import Sizes
from sweeps.identity import config_id
from sweeps.plan import PlannedTrial, trial_folder

MOST_NAMED = 6
"""Candidates named in a message."""


class Side(NamedTuple):
    """One of those compared: its trials, all of one configuration, their folders, and their table."""

    label: str
    trials: tuple[PlannedTrial, ...]
    folders: tuple[TrialFolder, ...]
    frame: pd.DataFrame

    @property
    def network(self) -> Network:
        """The counted network, which all its trials share."""
        return self.trials[0].network

    def values(self, metric: str) -> dict[int, float]:
        """Return the metric of each seed that counts."""
        counted = scored(self.frame, metric)
        return {int(seed): float(v) for seed, v in zip(counted["seed"], counted[metric], strict=True)}

    def left_out(self) -> dict[int, str]:
        """Return why a seed does not count, for those that do not."""
        return {int(seed): why for seed, why in left_out(self.frame)[["seed", "why"]].itertuples(index=False)}

    def scored_folders(self) -> list[tuple[int, TrialFolder]]:
        """Return the seed and the folder of each trial that counts."""
        seeds = self.values("test_top1")
        pairs = zip(self.trials, self.folders, strict=True)
        return [(trial.config.seed, folder) for trial, folder in pairs if trial.config.seed in seeds]


def side_of(out: Path, planned: Iterable[PlannedTrial], text: str) -> Side:
    """Return the side that a text names; one that names none or several is an `InputError`."""
    planned = tuple(planned)
    path = Path(text)
    if not any(trial.id == text for trial in planned) and _is_trial(path):
        config = TrialFolder(path).read_config()
        network = count(config.model, config.data.image_shape)
        trial = PlannedTrial(path.name, config_id(config), path.name, (), {}, config, Sizes.of(network))
        return side(str(path), [(trial, TrialFolder(path))])
    chosen = select(planned, text)
    label = chosen[0].name if len(chosen) > 1 else f"{chosen[0].name} ({chosen[0].id})"
    return side(label, [(trial, trial_folder(out, trial.id)) for trial in chosen])


def select(planned: Iterable[PlannedTrial], text: str) -> list[PlannedTrial]:
    """Return the trials that a text names: one by its id, or those of one configuration."""
    planned = list(planned)
    by_id = [trial for trial in planned if trial.id == text] or [
        trial for trial in planned if text and trial.id.startswith(text)
    ]
    if len(by_id) == 1:
        return by_id
    if by_id:
        raise _ambiguous(text, [trial.id for trial in by_id], "trials")
    current = [trial for trial in planned if trial.status.status != "removed"]
    if found := [trial for trial in current if trial.name == text]:
        return found
    if "=" not in text:
        raise InputError(
            f"{text}: no trial's id, configuration's name, trial's folder or key=value; "
            f"the study has {_shortened(_names(current))}"
        )
    # Values may hold commas ("model.pool_after=[1,3,5]"), so a comma only ends one before another key.
    wanted = dict(parse_assignment(part, "compare") for part in re.split(r",(?=\s*[A-Za-z_.0-9]+\s*=)", text))
    found = [t for t in current if all(t.config.settings().get(k) == v for k, v in wanted.items())]
    if not found:
        raise InputError(
            f"{text}: no configuration of the study has these; it has {_shortened(_names(current))}"
        )
    if len({trial.config_id for trial in found}) > 1:
        raise _ambiguous(text, _names(found), "configurations")
    return found


def side(label: str, pairs: list[tuple[PlannedTrial, TrialFolder]]) -> Side:
    """Return a side of trials of one configuration, by what their folders say now."""
    # A trial that is no more in the study may be compared all the same, by what its folder says of it.
    pairs = [(dataclasses.replace(trial, status=folder.read_status()), folder) for trial, folder in pairs]
    trials, folders = (tuple(part) for part in zip(*pairs, strict=True))
    return Side(label, trials, folders, tidy(pairs))


def _is_trial(path: Path) -> bool:
    try:
        return (path / "config.json").is_file()
    except (OSError, ValueError):  # a selection too long for a file's name, or with a NUL
        return False


def _ambiguous(text: str, candidates: list[str], kind: str) -> InputError:
    return InputError(f"{text}: fits {len(candidates)} {kind}; say which: {_shortened(candidates)}")


def _names(trials: list[PlannedTrial]) -> list[str]:
    return list(dict.fromkeys(trial.name for trial in trials))


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return "; ".join(f"'{name}'" for name in names[:MOST_NAMED]) + more
