"""Networks or configurations beside each other: what differs, module by module, and whether it shows.

    compare(out, ["model.squeeze_ratio=0.25", "t5f38f40c"]) -> Comparison

`analysis.sides` says what a text may name. `analysis.comparison_tables` puts a comparison into words, for the
terminal and for a page.
"""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

import numpy as np

from analysis.history import history
from analysis.paired import OTHER_IMAGES, Paired, holm, paired, verdict
from analysis.predictions import Predictions, read_predictions
from analysis.sides import Side, side_of
from analysis.statistics import Difference, Estimate, mean_difference, mean_interval
from analysis.table import ACCURACIES
from sqzx.data.info import dataset_info
from sqzx.describing import ModuleRow, module_rows
from sqzx.errors import InputError
from sweeps.identity import config_id
from sweeps.plan import plan_folder

METRICS = {
    **ACCURACIES,
    "val_loss": "validation loss",
    "test_loss": "test loss",
    "train_seconds": "seconds of training",
    "images_per_second": "training images a second",
}
"""What is compared, with its name in words."""

SAME_TRIALS = "both have trials in common, and tests are of independent ones"

NOT_ENVIRONMENT = ("started", "last trial ended", "command")
"""Rows of `analysis.history` that differ between any two trials."""


class KeyRow(NamedTuple):
    """A configuration key whose values differ; `has` says which sides have the key at all."""

    key: str
    values: tuple[Any, ...]
    has: tuple[bool, ...]


class MetricRow(NamedTuple):
    """A metric: each side's value by seed and its mean, and the difference of each further side to A."""

    metric: str
    values: tuple[dict[int, float], ...]
    means: tuple[Estimate, ...]
    differences: tuple[Difference, ...]


class ClassRow(NamedTuple):
    """A class of the test set that not all sides name as often: mean shares, and differences to A."""

    label: int
    name: str
    images: int
    shares: tuple[float, ...]
    differences: tuple[Difference, ...]


class PairRow(NamedTuple):
    """Two sides (their places) on the same images; `adjusted` is Holm's p over all pairs."""

    a: int
    b: int
    found: Paired
    adjusted: float | None
    verdict: str


class EnvironmentRow(NamedTuple):
    """Something about where the trials ran that is not the same for all sides."""

    name: str
    values: tuple[str, ...]


class Comparison(NamedTuple):
    """`keys`, `classes` and `environment` hold only what differs; `modules` has every module.

    `unread` says which trials' predictions could not be used, and why.
    """

    sides: tuple[Side, ...]
    keys: tuple[KeyRow, ...]
    modules: tuple[ModuleRow, ...]
    metrics: tuple[MetricRow, ...]
    pairs: tuple[PairRow, ...]
    classes: tuple[ClassRow, ...]
    environment: tuple[EnvironmentRow, ...]
    unread: tuple[str, ...]

    @property
    def letters(self) -> str:
        """What the sides are called: "AB", "ABC"."""
        return ascii_uppercase[: len(self.sides)]


def compare(out: Path, texts: Sequence[str]) -> Comparison:
    """Compare sides of the study in `out`; a text that names none or several is an `InputError`."""
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise InputError(f"compare: needs 2 to {len(ascii_uppercase)} sides, found {len(texts)}")
    planned = plan_folder(out).trials
    sides = tuple(side_of(out, planned, text) for text in texts)
    read = [read_predictions(side.scored_folders()) for side in sides]
    predictions = [found for found, _ in read]
    return Comparison(
        sides=sides,
        keys=_key_rows(sides),
        modules=module_rows(*(side.network for side in sides)),
        metrics=_metric_rows(sides),
        pairs=_pair_rows(sides, predictions),
        classes=_class_rows(sides, predictions),
        environment=_environment_rows(sides),
        unread=tuple(
            f"{letter}, seed {seed}: {why}"
            for letter, (_, left_out) in zip(ascii_uppercase, read, strict=False)
            for seed, why in left_out.items()
        ),
    )


def to_json(found: Comparison) -> dict[str, Any]:
    """Return the comparison as `sqzx compare --json` prints it: a list has an item a side, in their order."""
    return {
        "sides": [
            {
                "letter": letter,
                "label": side.label,
                "trials": [trial.id for trial in side.trials],
                "left_out": {str(seed): why for seed, why in side.left_out().items()},
                **{name: getattr(side.network, name) for name in ("params", "macs", "bytes_fp32")},
            }
            for letter, side in zip(found.letters, found.sides, strict=True)
        ],
        "keys": [{"key": row.key, "values": row.values} for row in found.keys],
        "modules": [row._asdict() for row in found.modules],
        "metrics": {
            row.metric: {
                "values": [{str(seed): value for seed, value in own.items()} for own in row.values],
                "means": [mean._asdict() for mean in row.means],
                "differences_to_a": [difference._asdict() for difference in row.differences],
            }
            for row in found.metrics
        },
        "pairs": [
            {
                "pair": found.letters[row.a] + found.letters[row.b],
                **row.found._asdict(),
                "tests": [test._asdict() for test in row.found.tests],
                "holm_p": row.adjusted,
                "verdict": row.verdict,
            }
            for row in found.pairs
        ],
        "classes": [
            row._asdict() | {"differences": [difference._asdict() for difference in row.differences]}
            for row in found.classes
        ],
        "environment": [row._asdict() for row in found.environment],
        "unread": list(found.unread),
    }


def _key_rows(sides: Sequence[Side]) -> tuple[KeyRow, ...]:
    settings = [side.trials[0].config.settings() for side in sides]
    keys = dict.fromkeys(key for own in settings for key in own)
    if any(len(side.trials) > 1 for side in sides):
        del keys["seed"]  # a configuration has all its seeds
    rows = (
        KeyRow(key, tuple(own.get(key) for own in settings), tuple(key in own for own in settings))
        for key in keys
    )
    return tuple(row for row in rows if any(value != row.values[0] for value in row.values))


def _metric_rows(sides: Sequence[Side]) -> tuple[MetricRow, ...]:
    rows = []
    for metric in METRICS:
        values = tuple(side.values(metric) for side in sides)
        if any(values):
            first, *others = (list(own.values()) for own in values)
            means = tuple(mean_interval(list(own.values())) for own in values)
            rows.append(
                MetricRow(metric, values, means, tuple(mean_difference(first, own) for own in others))
            )
    return tuple(rows)


def _pair_rows(sides: Sequence[Side], predictions: Sequence[Predictions | None]) -> tuple[PairRow, ...]:
    pairs = list(itertools.combinations(range(len(sides)), 2))
    found = [_paired(sides, predictions, a, b) for a, b in pairs]
    adjusted = holm([one.p for one in found])
    return tuple(
        PairRow(a, b, one, p, verdict(one, p, ascii_uppercase[a], ascii_uppercase[b]))
        for (a, b), one, p in zip(pairs, found, adjusted, strict=True)
    )


def _paired(sides: Sequence[Side], predictions: Sequence[Predictions | None], a: int, b: int) -> Paired:
    first, second = predictions[a], predictions[b]
    if set(_paths(sides[a])) & set(_paths(sides[b])):
        return Paired(0, None, None, None, (), None, SAME_TRIALS)
    if first is None or second is None:
        return Paired(0, None, None, None, (), None, "no predictions to compare")
    if _data(sides[a]) != _data(sides[b]):
        return Paired(0, None, None, None, (), None, OTHER_IMAGES)
    shared = set(first.seeds) & set(second.seeds)
    return paired(first, second, matched=bool(shared) and made_of_one(sides[a], sides[b]))


def made_of_one(a: Side, b: Side) -> bool:
    """Whether networks of one seed belong together: one was made of the other, or both of a third.

    That is so where the two differ in how they are compressed alone.
    """
    first, second = a.trials[0].config, b.trials[0].config
    are_other = config_id(first) != config_id(second)
    return are_other and config_id(first.dense()) == config_id(second.dense())


def _paths(side: Side) -> list[Path]:
    return [folder.path.resolve() for folder in side.folders]


def _data(side: Side) -> set[tuple[str, str]]:
    """Return the name and the fingerprint of the data of the trials that count."""
    counted = side.frame[side.frame["seed"].isin(list(side.values("test_top1")))]
    return set(counted[["data.name", "data_fingerprint"]].astype(str).itertuples(index=False, name=None))


def _class_rows(sides: Sequence[Side], predictions: Sequence[Predictions | None]) -> tuple[ClassRow, ...]:
    read = [found for found in predictions if found is not None]
    same = (
        all(np.array_equal(found.labels, read[0].labels) for found in read)
        and len({str(_data(side)) for side in sides}) == 1
    )
    if len(read) < len(sides) or not same:
        return ()
    labels = read[0].labels
    names = _class_names(sides[0], int(labels.max()) + 1)
    rows = []
    for label in sorted(set(labels.tolist())):
        of_class = labels == label
        first, *others = (found.right[:, of_class].mean(axis=1) for found in read)
        shares = tuple(float(own.mean()) for own in (first, *others))
        if len(set(shares)) > 1:
            differences = tuple(mean_difference(first, own) for own in others)
            rows.append(ClassRow(label, names[label], int(of_class.sum()), shares, differences))
    return tuple(sorted(rows, key=lambda row: min(row.shares) - max(row.shares)))


def _class_names(side: Side, fewest: int) -> tuple[str, ...]:
    """Return what the data set calls its classes; their numbers where it does not say."""
    with suppress(InputError):  # a set that is not on the machine which compares
        names = dataset_info(side.trials[0].config.data.name).class_names
        if len(names) >= fewest:
            return names
    return tuple(map(str, range(fewest)))


def _environment_rows(sides: Sequence[Side]) -> tuple[EnvironmentRow, ...]:
    known = [history(trial.status for trial in side.trials) for side in sides]
    names = dict.fromkeys(name for own in known for name in own if name not in NOT_ENVIRONMENT)
    rows = (EnvironmentRow(name, tuple(own.get(name, "") for own in known)) for name in names)
    return tuple(row for row in rows if len(set(row.values)) > 1)
