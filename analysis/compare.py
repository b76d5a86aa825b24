"""Two networks or configurations side by side: what differs, module by module, and whether it shows.

    compare(out, "model.squeeze_ratio=0.25", "t5f38f40c") -> Comparison -> render(...) or to_json(...)

A side is one trial (its id, the beginning of its id, or the path of a trial's folder, also in another study),
or a configuration with all its seeds (its name in the plan, or settings that no other has).
"""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.statistics import Difference, Estimate, mean_difference, mean_interval
from analysis.table import ACCURACIES, left_out, scored, tidy
from sqzx.config import parse_assignment
from sqzx.counting import count
from sqzx.describing import ModuleRow, module_rows
from sqzx.errors import InputError
from sqzx.trial import TrialFolder
from sweeps.constraints import Sizes
from sweeps.identity import config_id
from sweeps.plan import PlannedTrial, plan_folder, trial_folder

METRICS = {
    **ACCURACIES,
    "val_loss": "validation loss",
    "test_loss": "test loss",
    "train_seconds": "seconds of training",
    "images_per_second": "training images a second",
}
"""What is compared, with its name in words."""

MOST_NAMED = 6
"""Candidates named in a message."""


class Side(NamedTuple):
    """One of the two: its trials, all of one configuration, and their table."""

    label: str
    trials: tuple[PlannedTrial, ...]
    frame: pd.DataFrame

    def values(self, metric: str) -> dict[int, float]:
        """Return the metric of each seed that counts."""
        counted = scored(self.frame, metric)
        return {int(seed): float(v) for seed, v in zip(counted["seed"], counted[metric], strict=True)}

    def left_out(self) -> dict[int, str]:
        """Return why a seed does not count, for those that do not."""
        return {int(seed): why for seed, why in left_out(self.frame)[["seed", "why"]].itertuples(index=False)}


class KeyRow(NamedTuple):
    """A configuration key whose two values differ; None is no value."""

    key: str
    a: Any
    b: Any


class MetricRow(NamedTuple):
    """A metric: each seed's value and the mean of both sides, and the difference b - a."""

    metric: str
    values_a: dict[int, float]
    values_b: dict[int, float]
    a: Estimate
    b: Estimate
    difference: Difference


class Comparison(NamedTuple):
    """`keys` holds only what differs; `modules` has every module of either network in running order."""

    a: Side
    b: Side
    keys: tuple[KeyRow, ...]
    modules: tuple[ModuleRow, ...]
    metrics: tuple[MetricRow, ...]


def compare(out: Path, a: str, b: str) -> Comparison:
    """Compare two sides of the study in `out`; a text that names none or several is an `InputError`."""
    planned = plan_folder(out).trials
    first, second = (_side(out, planned, text) for text in (a, b))
    networks = (side.trials[0].network for side in (first, second))
    return Comparison(
        first, second, _key_rows(first, second), module_rows(*networks), _metric_rows(first, second)
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as `sqzx compare --json` prints it."""
    sides = {
        name: {
            "label": side.label,
            "trials": [trial.id for trial in side.trials],
            "left_out": {str(seed): why for seed, why in side.left_out().items()},
            **{k: getattr(side.trials[0].network, k) for k in ("params", "macs", "bytes_fp32")},
        }
        for name, side in (("a", comparison.a), ("b", comparison.b))
    }
    metrics = {
        row.metric: {
            "values_a": {str(seed): value for seed, value in row.values_a.items()},
            "values_b": {str(seed): value for seed, value in row.values_b.items()},
            "a": row.a._asdict(),
            "b": row.b._asdict(),
            "difference": row.difference._asdict(),
        }
        for row in comparison.metrics
    }
    return {
        **sides,
        "keys": [row._asdict() for row in comparison.keys],
        "modules": [row._asdict() for row in comparison.modules],
        "metrics": metrics,
    }


def _side(out: Path, planned: Iterable[PlannedTrial], text: str) -> Side:
    planned = tuple(planned)
    path = Path(text)
    if not any(trial.id == text for trial in planned) and _is_trial(path):
        config = TrialFolder(path).read_config()
        network = count(config.model, config.data.image_shape)
        trial = PlannedTrial(path.name, config_id(config), path.name, (), {}, config, Sizes.of(network))
        return _side_of(str(path), [(trial, TrialFolder(path))])
    chosen = select(planned, text)
    label = chosen[0].name if len(chosen) > 1 else f"{chosen[0].name} ({chosen[0].id})"
    return _side_of(label, [(trial, trial_folder(out, trial.id)) for trial in chosen])


def _is_trial(path: Path) -> bool:
    try:
        return (path / "config.json").is_file()
    except OSError:  # a selection of many keys is too long for a file's name
        return False


def _side_of(label: str, pairs: list[tuple[PlannedTrial, TrialFolder]]) -> Side:
    # A trial that is no more in the study may be compared all the same, by what its folder says of it.
    pairs = [(dataclasses.replace(trial, status=folder.read_status()), folder) for trial, folder in pairs]
    return Side(label, tuple(trial for trial, _ in pairs), tidy(pairs))


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


def _ambiguous(text: str, candidates: list[str], kind: str) -> InputError:
    return InputError(f"{text}: fits {len(candidates)} {kind}; say which: {_shortened(candidates)}")


def _names(trials: list[PlannedTrial]) -> list[str]:
    return list(dict.fromkeys(trial.name for trial in trials))


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return "; ".join(f"'{name}'" for name in names[:MOST_NAMED]) + more


def _key_rows(a: Side, b: Side) -> tuple[KeyRow, ...]:
    of_a, of_b = (side.trials[0].config.settings() for side in (a, b))
    keys = dict.fromkeys([*of_a, *of_b])
    if len(a.trials) > 1 or len(b.trials) > 1:
        del keys["seed"]  # a configuration has all its seeds
    rows = (KeyRow(key, of_a.get(key), of_b.get(key)) for key in keys)
    return tuple(row for row in rows if row.a != row.b)


def _metric_rows(a: Side, b: Side) -> tuple[MetricRow, ...]:
    rows = []
    for metric in METRICS:
        of_a, of_b = a.values(metric), b.values(metric)
        if of_a or of_b:
            x, y = list(of_a.values()), list(of_b.values())
            estimates = mean_interval(x), mean_interval(y)
            rows.append(MetricRow(metric, of_a, of_b, *estimates, mean_difference(x, y)))
    return tuple(rows)
