"""What compression costs: each compressed configuration against the network that it was made of.

The paper's Table 2 of a study: bytes, how many times smaller, accuracy, and a test on the same images that
pairs the networks of a seed. Retraining is a part of a recipe, so a compressed network has trained longer.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.paired import Paired, holm, paired, verdict
from analysis.predictions import Predictions, read_predictions
from analysis.sides import Side, side
from analysis.statistics import Estimate, mean_interval
from sweeps.identity import config_id
from sweeps.plan import Plan, PlannedTrial, trial_folder

DENSE, COMPRESSED = "the dense network", "the compressed one"


class Against(NamedTuple):
    """A configuration, dense or compressed, and how it compares with the dense one.

    `size` is the mean of its bytes, `ratio` how many times smaller than the dense network's 32-bit
    parameters. `found` is None for a dense one; `adjusted` is Holm's p over all compressed ones.
    """

    name: str
    recipe: str | None
    size: float
    ratio: float
    accuracy: Estimate
    found: Paired | None
    adjusted: float | None

    @property
    def verdict(self) -> str:
        """Say which of the two is more accurate, or why that cannot be said."""
        return "" if self.found is None else verdict(self.found, self.adjusted, DENSE, COMPRESSED)


def against_dense(plan: Plan, out: Path) -> list[Against]:
    """Return the dense networks of a study with what was made of each below it, in the order of the plan.

    Configurations without a trial that counts are left out, and none are left where nothing is compressed.
    """
    groups: dict[str, list[PlannedTrial]] = {}
    for trial in plan.trials:
        if trial.status.status != "removed":
            groups.setdefault(trial.config_id, []).append(trial)
    families: dict[str, list[str]] = {}
    for key, trials in groups.items():
        families.setdefault(config_id(trials[0].config.dense()), []).append(key)
    rows: list[Against] = []
    for dense, members in families.items():
        made = [key for key in members if key != dense]
        if dense not in groups or not made:
            continue
        first = _read(groups[dense], out)
        rows += [
            row for row in (_row(first, None), *(_row(_read(groups[m], out), first) for m in made)) if row
        ]
    adjusted = iter(holm([row.found.p for row in rows if row.found is not None]))
    return [row if row.found is None else row._replace(adjusted=next(adjusted)) for row in rows]


class _Read(NamedTuple):
    side: Side
    predictions: Predictions | None


def _read(trials: list[PlannedTrial], out: Path) -> _Read:
    found = side(trials[0].name, [(trial, trial_folder(out, trial.id)) for trial in trials])
    return _Read(found, read_predictions(found.scored_folders())[0])


def _row(own: _Read, dense: _Read | None) -> Against | None:
    values = own.side.values("test_top1")
    if not values:
        return None
    config = own.side.trials[0].config
    counted = own.side.frame[own.side.frame["seed"].isin(list(values))]
    whole = float(counted["bytes_fp32"].iloc[0])
    size = whole if config.compress is None else float(counted["bytes_compressed"].mean())
    return Against(
        name=own.side.label,
        recipe=None if config.compress is None else config.compress.recipe,
        size=size,
        ratio=whole / size,
        accuracy=mean_interval(list(values.values())),
        found=None if dense is None else _paired(dense.predictions, own.predictions),
        adjusted=None,
    )


def _paired(dense: Predictions | None, made: Predictions | None) -> Paired:
    if dense is None or made is None:
        return Paired(0, None, None, None, (), None, "no predictions to compare")
    return paired(dense, made, matched=True)


def table(rows: list[Against]) -> pd.DataFrame:
    """Return the rows as a table; accuracies are shares, and a difference is compressed minus dense."""
    return pd.DataFrame(
        {
            "name": [row.name for row in rows],
            "recipe": pd.Series([row.recipe for row in rows], dtype="str"),
            "bytes": [row.size for row in rows],
            "ratio": [row.ratio for row in rows],
            "n": [row.accuracy.n for row in rows],
            **{
                column: pd.Series([getattr(row.accuracy, name) for row in rows], dtype="float64")
                for column, name in (("test_top1", "mean"), ("low", "low"), ("high", "high"))
            },
            **{
                column: pd.Series([getattr(row.found, name, None) for row in rows], dtype="float64")
                for column, name in (
                    ("difference", "difference"),
                    ("difference_low", "low"),
                    ("difference_high", "high"),
                )
            },
            "p_adjusted": pd.Series([row.adjusted for row in rows], dtype="float64"),
            "verdict": [row.verdict for row in rows],
        }
    )
