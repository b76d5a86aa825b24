"""Training, validation and test images of a prepared set: the same for every trial and every seed."""

from dataclasses import dataclass

import numpy as np

from sqzx.config import DataConfig
from sqzx.data.info import DatasetInfo
from sqzx.data.selection import balanced_subset, hashed_part
from sqzx.data.store import load_arrays
from sqzx.errors import InputError

_VALIDATION_SALT, _SUBSET_SALT = "sqzx validation 1", "sqzx subset 1"


@dataclass(frozen=True)
class Split:
    """Labelled images: `images` uint8 (n, height, width, channels), `labels` int32 (n,)."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Splits:
    """What one trial trains on, selects with and is scored on.

    `mean` and `std` (float32, one value a channel) are those of `train.images / 255`: the population's
    standard deviation, and at least one grey level, so that dividing by it is always safe.
    """

    train: Split
    validation: Split
    test: Split
    info: DatasetInfo
    mean: np.ndarray
    std: np.ndarray


def load_splits(name: str, *, validation_fraction: float, train_examples: int | None) -> Splits:
    """Load the set `name`, with `validation_fraction` of each class of its training part set aside.

    The validation images are chosen by a hash of their content (`selection.hashed_part`), so they
    don't depend on order, machine or seed. `train_examples` keeps a fixed, balanced subset of what is
    left for training (None: all of it), in the order of the set; validation and test stay whole.
    Errors: `MissingDataError` if the set isn't prepared; `InputError` for a damaged set, a fraction
    that isn't between 0 and 1, more examples than there are, fewer than two classes in the training
    part, a class with a single image.
    """
    if not 0 < validation_fraction < 1:
        raise InputError(f"data.validation_fraction = {validation_fraction}: between 0 and 1, both excluded")
    info, arrays = load_arrays(name)
    images, labels = arrays.train_images, arrays.train_labels
    try:
        held_out = hashed_part(images, labels, fraction=validation_fraction, salt=_VALIDATION_SALT)
        train = Split(images[~held_out], labels[~held_out])
        if train_examples is not None:
            kept = balanced_subset(train.images, train.labels, count=train_examples, salt=_SUBSET_SALT)
            train = Split(train.images[kept], train.labels[kept])
    except InputError as error:
        raise InputError(f"data set {name}: {error}") from None
    if len(np.unique(train.labels)) < 2:
        raise InputError(f"data.train_examples: {train_examples} leaves one class of {name} to train on")
    mean, std = channel_statistics(train.images)
    return Splits(
        train=train,
        validation=Split(images[held_out], labels[held_out]),
        test=Split(np.asarray(arrays.test_images), np.asarray(arrays.test_labels)),
        info=info,
        mean=mean,
        std=std,
    )


def load_splits_of(config: DataConfig) -> Splits:
    """Load what a trial of this configuration trains on; errors as `load_splits`."""
    return load_splits(
        config.name, validation_fraction=config.validation_fraction, train_examples=config.train_examples
    )


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of `images / 255` (uint8, NHWC), float32 arrays with a value a channel.

    The sums are of integers, so the result doesn't depend on the order of summation.
    """
    channels = images.shape[-1]
    total, squares = np.zeros(channels, np.uint64), np.zeros(channels, np.uint64)
    for start in range(0, len(images), 1024):  # blocks, since a set in 32 bits is four times the set
        block = images[start : start + 1024].reshape(-1, channels).astype(np.uint32)
        total += block.sum(axis=0, dtype=np.uint64)
        squares += np.square(block).sum(axis=0, dtype=np.uint64)
    count = images.size // channels
    mean = total / count
    # Subtracting before dividing keeps the small difference of two large numbers exact.
    variance = [(count * int(q) - int(s) ** 2) / count**2 for s, q in zip(total, squares, strict=True)]
    std = np.maximum(np.sqrt(variance), 1.0)
    return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)
