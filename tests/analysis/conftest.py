"""Hand-made study folders: a study file, and trial folders as a run would have left them."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sqzx.trial import Status
from sweeps.plan import PlannedTrial, plan_study, trial_folder
from sweeps.study import parse_study

PAPER = """\
schema = 1
name = "paper on digits"
seeds = 3

[config]
model.preset = "squeezenet_small"
data.name = "digits"
train.epochs = 40

[[sweep]]
name = "squeeze_ratio"
set.model.pct_3x3 = 0.5
grid.model.squeeze_ratio = [0.125, 0.25, 0.5, 0.75, 1.0]

[[sweep]]
name = "pct_3x3"
set.model.squeeze_ratio = 0.5
grid.model.pct_3x3 = [0.0625, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.9375]
"""

SMALL = """\
schema = 1
name = "small"
seeds = 3

[config]
model.preset = "squeezenet_small"
model.num_fires = 2
model.pool_after = [1]

[[sweep]]
name = "squeeze_ratio"
grid.model.squeeze_ratio = [0.25, 0.5]
"""

HEAD = """schema = 1
name = "s"
seeds = 2
[config]
model.preset = "squeezenet_small"
model.num_fires = 2
model.pool_after = [1]
"""

Outcome = Callable[[PlannedTrial], "dict[str, Any] | Status | None"]


def accuracy(trial: PlannedTrial) -> float:
    """A made-up test accuracy in the shape of real ones: a gain, then a plateau, and a spread over seeds."""
    model = trial.config.model
    if model.family == "alexnet":
        return 324 / 360
    base = 1 - 0.085 * (0.125 / model.squeeze_ratio) ** 0.7 - 0.03 * (0.0625 / model.pct_3x3) ** 0.8
    spread = 0.004 + 0.016 * (0.125 / model.squeeze_ratio)
    hits = round(360 * (base + spread * (0.0, 0.8, -0.7)[trial.config.seed % 3]))
    return hits / 360


def make_result(trial: PlannedTrial, **changes: Any) -> dict[str, Any]:
    """The content of a `result.json`."""
    top1 = accuracy(trial)
    return {
        "val_top1": round(137 * top1) / 137,
        "val_top5": 0.99,
        "test_top1": top1,
        "test_top5": 0.995,
        "val_loss": 0.2,
        "test_loss": 0.25,
        "params": trial.network.params,
        "macs": trial.network.macs,
        "bytes_fp32": trial.network.bytes_fp32,
        "peak_activations": trial.network.peak_activations,
        "steps": 800,
        "epochs": 40,
        "learned": True,
        "train_seconds": 8.5,
        "images_per_second": 6000.0,
        "compile_seconds": 3.0,
        "start_seconds": 2.0,
        "peak_memory_mb": 600.0,
        "train_examples": 1300,
        "validation_examples": 137,
        "test_examples": 360,
        "data_fingerprint": "ab" * 32,
    } | changes


def write_trial(out: Path, trial: PlannedTrial, outcome: dict[str, Any] | Status | None) -> None:
    """Leave a trial folder: a result makes it done, a status is taken as it is, None leaves it pending."""
    if outcome is None:
        return
    folder = trial_folder(out, trial.id)
    folder.path.mkdir(parents=True)
    folder.write_config(trial.config)
    provenance = {
        "versions": {
            "python": "3.11.7",
            "sqzx": "0.1.0",
            "jax": "0.10.2",
            "flax": "0.12.8",
            "orbax-checkpoint": None,
        },
        "platform": "Linux-6.1-x86_64",
        "processor": "AMD EPYC",
        "cores": [0],
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "command": "sqzx sweep run study.toml --out runs/paper",
        "xla_flags": "",
    }
    times = {"started_time": "2026-11-25T10:00:00+00:00", "ended_time": "2026-11-25T10:00:14+00:00"}
    status = outcome if isinstance(outcome, Status) else Status(status="done")
    folder.write_status(status.but(attempts=1, host="laptop", provenance=provenance, **times))
    if not isinstance(outcome, Status):
        folder.result_file.write_text(json.dumps(outcome))
        write_predictions(folder.predictions_file, outcome, trial.config.seed)


def write_predictions(file: Path, result: dict[str, Any], seed: int) -> None:
    """Leave logits with the accuracy of `result`: the later images are harder, in another order each seed.

    Of 360 images the label is the number modulo 10, and a wrong answer is the next class.
    """
    images = result["test_examples"]
    labels = np.arange(images) % 10
    hits = round(images * (result["test_top1"] or 0))
    hard = (np.arange(images) + (seed + 1) * (np.arange(images) % 3 == 0) * images / 10).argsort(
        kind="stable"
    )
    named = (labels + 1) % 10
    named[hard[:hits]] = labels[hard[:hits]]
    np.savez(file, test_logits=np.eye(10, dtype=np.float32)[named], test_labels=labels)


def write_study(out: Path, text: str, outcome: Outcome) -> Path:
    """Make a study folder; `outcome` says what became of each trial."""
    (out / "trials").mkdir(parents=True)
    (out / "study.toml").write_text(text, encoding="utf-8")
    for trial in plan_study(parse_study(text, "study.toml")).trials:
        write_trial(out, trial, outcome(trial))
    return out


FRAME_DEFAULTS = {
    "model.num_classes": 10,
    "data.name": "digits",
    "params": 1,
    "macs": 1,
    "peak_activations": 1,
}


def make_frame(
    configurations: Mapping[str, Sequence[float | None]],
    *,
    sizes: Mapping[str, int] | None = None,
    metric: str = "val_top1",
    keys: Mapping[str, Mapping[str, Any]] | None = None,
    sweeps: str = "all",
) -> pd.DataFrame:
    """A table of configurations with the metric of each seed; None is a trial that failed.

    The other metrics are 0.5 throughout. `keys` are the configuration keys of each, by default
    `model.squeeze_ratio` in eighths.
    """
    rows = []
    for place, (name, values) in enumerate(configurations.items()):
        for seed, value in enumerate(values):
            own = {"model.squeeze_ratio": (place + 1) / 8} if keys is None else keys[name]
            rows.append(
                FRAME_DEFAULTS
                | {
                    "id": f"t{name}{seed}",
                    "config_id": f"c{name}",
                    "name": name,
                    "sweeps": sweeps,
                    "status": "failed" if value is None else "done",
                    "seed": seed,
                    "bytes_fp32": sizes[name] if sizes else 1000 * (place + 1),
                    "learned": None if value is None else True,
                    **dict.fromkeys(("val_top1", "val_top5", "test_top1", "test_top5"), 0.5),
                    metric: float("nan") if value is None else value,
                    **own,
                }
            )
    return pd.DataFrame(rows).astype({"learned": "boolean"})


@pytest.fixture(scope="session")
def paper_study(tmp_path_factory) -> Path:
    """The paper's two sweeps, finished: 13 configurations, 3 seeds each. Not to be written into."""
    return write_study(tmp_path_factory.mktemp("study") / "paper", PAPER, make_result)


@pytest.fixture(scope="session")
def study_frame() -> Callable[..., pd.DataFrame]:
    """Make a table of a study by hand, for statistics that need no folders."""
    return make_frame


@pytest.fixture
def make_study(tmp_path) -> Callable[..., Path]:
    """Make another study folder: by default two small configurations with 3 seeds, all done."""
    numbers = itertools.count()

    def make(text: str = SMALL, outcome: Outcome = make_result) -> Path:
        return write_study(tmp_path / f"study{next(numbers)}", text, outcome)

    return make


@pytest.fixture
def result() -> Callable[..., dict[str, Any]]:
    """The content of a finished trial's `result.json`, with some values changed."""
    return make_result


@pytest.fixture(scope="session")
def study_of() -> Callable[..., str]:
    """The text of a study of small networks with two seeds and the given blocks."""
    return lambda *blocks: HEAD + "".join(f"\n[[sweep]]\n{block}\n" for block in blocks)
