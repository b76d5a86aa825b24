"""Two networks or two configurations side by side: what differs, layer by layer, and whether it shows.

    compare(out, "model.squeeze_ratio=0.5,model.pct_3x3=0.5", "t5f38") -> Comparison -> render, to_json

A side is one trial (its id, the beginning of its id, or the path of a trial's folder, also of another study),
or a configuration with all its seeds (its name in the plan, or settings that only it has).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.statistics import Difference, Estimate
from analysis.table import ACCURACIES
from sqzx.config import TrialConfig
from sqzx.counting import Network, count
from sqzx.trial import TrialFolder
from sweeps.plan import PlannedTrial, plan_folder, trial_folder

if TYPE_CHECKING:
    pass

METRICS = {
    **ACCURACIES,
    "val_loss": "validation loss",
    "test_loss": "test loss",
    "train_seconds": "seconds of training",
    "images_per_second": "images a second in training",
}
"""What is compared, with its name in words."""

MOST_NAMED = 8
"""Candidates named in a message."""


class Side(NamedTuple):
    """One of the two: a label, its configuration and network, and its trials' values of each metric by seed.

    `left_out` says of each trial that does not count why.
    """

    label: str
    config: TrialConfig
    network: Network
    trials: int
    values: dict[str, dict[int, float]]
    left_out: tuple[str, ...]


class KeyRow(NamedTuple):
    """A configuration key with two values; None is a key that one side does not have."""

    key: str
    a: Any
    b: Any


class ModuleRow(NamedTuple):
    """A module of either network; what one side lacks is None."""

    name: str
    shape_a: tuple[int, ...] | None
    shape_b: tuple[int, ...] | None
    params_a: int | None
    params_b: int | None
    macs_a: int | None
    macs_b: int | None


class MetricRow(NamedTuple):
    """A metric of both sides; `difference` is b - a."""

    metric: str
    a: Estimate
    b: Estimate
    difference: Difference


class Comparison(NamedTuple):
    """What `compare` found: `keys` holds only what differs, `modules` everything in running order."""

    a: Side
    b: Side
    keys: tuple[KeyRow, ...]
    modules: tuple[ModuleRow, ...]
    metrics: tuple[MetricRow, ...]


def compare(out: Path, a: str, b: str) -> Comparison:
    """Compare two trials or configurations of the study in `out`; what names none or several is an `InputError`."""
    trials = plan_folder(out).trials
    first, second = (_side(out, trials, text) for text in (a, b))
    return Comparison(
        first,
        second,
        _differing_keys(first, second),
        _modules(first.network, second.network),
        tuple(_metric(first, second, m) for m in METRICS if first.values[m] or second.values[m]),
    )


def _side(out: Path, trials: tuple[PlannedTrial, ...], text: str) -> Side:
    path = Path(text)
    if not any(trial.id == text for trial in trials) and (path / "config.json").is_file():
        folder = TrialFolder(path)
        config = folder.read_config()
        network = count(config.model, config.data.image_shape)
        return _side_of(str(path), config, network, [(config.seed, folder)])
    chosen = _select(trials, text)
    folders = [(trial.config.seed, trial_folder(out, trial.id)) for trial in chosen]
    label = chosen[0].id if len(chosen) == 1 else chosen[0].name
    return _side_of(label, chosen[0].config, chosen[0].network, folders)
