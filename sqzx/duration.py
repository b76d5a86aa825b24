"""How long a training will take, guessed without measuring: for choices that both ways are right."""

from collections.abc import Callable

from sqzx.config import TrialConfig
from sqzx.data.info import DatasetInfo

CHECKPOINT_SECONDS = 15.0
"""The time between two checkpoints: what a crash costs at most. Saving takes about 0.1 s."""

FLOPS_PER_SECOND = 50e9
"""Floating-point operations a second of training on one core of a CPU."""


def training_seconds(flops: int, images: int) -> float:
    """Return the guess for so many images of a network with `flops` a forward pass (`counting.Network`).

    The gradients of a layer's inputs and of its parameters take as many again each.
    """
    return 3 * flops * images / FLOPS_PER_SECOND


def training_images(config: TrialConfig, info_of: Callable[[str], DatasetInfo]) -> int:
    """Return how many images a training sees in all its epochs; without metadata an approximation."""
    data, train = config.data, config.train
    epochs = train.epochs if config.compress is None else config.compress.epochs(train.epochs)
    examples = data.train_examples or round(
        info_of(data.name).train_examples * (1 - data.validation_fraction)
    )
    size = min(train.batch_size, examples)
    return epochs * (examples // size) * size
