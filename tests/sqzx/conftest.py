"""Tiny trials on digits, and random networks that fit their images."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings

from sqzx import checkpoints
from sqzx.config import SqueezeNetConfig, TrialConfig, resolve
from sqzx.counting import count
from sqzx.errors import ArchitectureError
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


class RandomNetwork(NamedTuple):
    config: SqueezeNetConfig
    input_shape: tuple[int, int, int]


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
        parameters = checkpoints.restore_parameters(folder.checkpoints)
        return Outcome(
            result={k: v for k, v in result.items() if not any(word in k for word in UNSTABLE)},
            metrics=folder.metrics_file.read_text(),
            predictions=folder.predictions_file.read_bytes(),
            parameters={k: hashlib.sha256(v.tobytes()).hexdigest() for k, v in parameters.items()},
        )

    return read


@pytest.fixture(scope="session")
def random_network() -> Callable[[int], RandomNetwork]:
    """Draw a small network, every option of the macroarchitecture among them, and images that it fits."""

    def draw(seed: int) -> RandomNetwork:
        random = np.random.default_rng(seed)
        while True:
            base_e = int(random.integers(2, 13))
            num_fires = int(random.integers(1, 5))
            layers = [1 + i for i in range(num_fires + 1) if random.random() < 0.4]
            values = {
                "base_e": base_e,
                "incr_e": int(random.choice([0, 1, base_e, 7])),
                "pct_3x3": float(random.uniform(0.1, 0.9)),
                "freq": int(random.integers(1, 4)),
                "squeeze_ratio": float(random.uniform(0.1, 1)),
                "num_fires": num_fires,
                "stem_features": int(random.choice([1, 3, base_e])),
                "stem_kernel": int(random.integers(1, 8)),
                "stem_stride": int(random.integers(1, 4)),
                "stem_padding": int(random.integers(0, 3)),
                "pool_after": tuple(random.permutation(layers).tolist()),
                "pool_rounding": str(random.choice(["ceil", "floor"])),
                "bypass": str(random.choice(["none", "simple", "complex"])),
                "conv10_padding": int(random.integers(0, 2)),
                "final_relu": bool(random.random() < 0.5),
                "activation": str(random.choice(["relu", "elu"])),
                "squeeze_activation": str(random.choice(["same", "none"])),
                "init": str(random.choice(["xavier", "kaiming"])),
                "num_classes": int(random.integers(2, 12)),
            }
            shape = (*(int(n) for n in random.integers(5, 30, 2)), int(random.integers(1, 4)))
            try:
                config = SqueezeNetConfig(**values)
                count(config, shape)
            except ArchitectureError:
                continue
            return RandomNetwork(config, shape)

    return draw
