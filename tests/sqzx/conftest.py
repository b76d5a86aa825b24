"""Tiny trials on digits."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import pytest
from hypothesis import settings

from sqzx import checkpoints
from sqzx.config import TrialConfig, resolve
from sqzx.data.prepare import prepare
from sqzx.model import read_model
from sqzx.trial import TrialFolder

settings.register_profile("sqzx", deadline=None, database=None, print_blob=True)
settings.load_profile("sqzx")

TINY = {
    "model.preset": "squeezenet_small",
    "model.base_e": 4,
    "model.incr_e": 4,
    "model.num_fires": 2,
    "model.stem_features": 4,
    "model.pool_after": (1,),
    "model.squeeze_ratio": 0.5,
    "data.train_examples": 100,
    "train.batch_size": 20,
    "train.epochs": 2,
}
"""10 steps, 5 an epoch."""

UNSTABLE = ("seconds", "second", "time", "memory", "fault")


class Outcome(NamedTuple):
    """What a cut and an uncut run of a trial must agree on, to the bit."""

    result: dict[str, Any]
    metrics: str
    predictions: bytes
    parameters: dict[str, str]


@pytest.fixture(scope="session")
def tiny() -> Callable[..., TrialConfig]:
    """Make the configuration of a tiny trial, with some keys changed (`_` stands for the dot)."""

    def make(**changes: Any) -> TrialConfig:
        return resolve(TINY | {k.replace("_", ".", 1): v for k, v in changes.items()}, "test")

    return make


@pytest.fixture(scope="session")
def outcome() -> Callable[[TrialFolder], Outcome]:
    """Read the outcome of a finished trial."""

    def read(folder: TrialFolder) -> Outcome:
        result = folder.read_result()
        assert result is not None
        parameters = checkpoints.by_path(read_model(folder.path).parameters)
        return Outcome(
            result={k: v for k, v in result.items() if not any(word in k for word in UNSTABLE)},
            metrics=folder.metrics_file.read_text(),
            predictions=folder.predictions_file.read_bytes(),
            parameters={k: hashlib.sha256(v.tobytes()).hexdigest() for k, v in parameters.items()},
        )

    return read


@pytest.fixture
def fast_compilation():
    """Leave out most of XLA's optimisations, for trainings that share no program with others."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def digits_as_records(tmp_path, monkeypatch):
    """Have the digits read from records, a batch at a time."""
    monkeypatch.setenv("SQZX_DATA", str(tmp_path / "records"))
    prepare("digits", source=None, storage="records")


@pytest.fixture(params=["side by side", "in turn"])
def way(request, monkeypatch):
    """Have stacks train in one of the two ways, whatever the rule says of the tiny networks here."""
    monkeypatch.setattr("sqzx.stacking.SIDE_BY_SIDE_FLOPS", 1e30 if request.param == "side by side" else 0.0)
    return request.param
