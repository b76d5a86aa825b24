"""Training, validation and test images of a prepared set: the same for every trial and every seed."""

from dataclasses import dataclass

import numpy as np

from sqzx.config import DataConfig
from sqzx.data.examples import Images, Subset
from sqzx.data.info import DatasetInfo
from sqzx.data.selection import SUBSET_SALT, VALIDATION_SALT, balanced_subset, hashed_part
from sqzx.data.store import load_set
from sqzx.errors import InputError


@dataclass(frozen=True)
class Split:
    """Labelled images: `images` uint8 (n, height, width, channels), `labels` int32 (n,)."""

    images: Images
    labels: np.ndarray


@dataclass(frozen=True)
class Splits:
    """What one trial trains on, selects with and is scored on.

    `mean` and `std` (float32, one value a channel) are those of the training images / 255: the population's
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
    info, examples, facts = load_set(name)
    images, labels = examples.train_images, examples.train_labels
    try:
        held_out = hashed_part(facts.hashes(VALIDATION_SALT), labels, fraction=validation_fraction)
        chosen = np.flatnonzero(~held_out)
        if train_examples is not None:
            hashes = facts.hashes(SUBSET_SALT)[chosen]
            chosen = chosen[balanced_subset(hashes, labels[chosen], count=train_examples)]
    except InputError as error:
        raise InputError(f"data set {name}: {error}") from None
    if len(np.unique(labels[chosen])) < 2:
        raise InputError(f"data.train_examples: {train_examples} leaves one class of {name} to train on")

    def split(numbers: np.ndarray) -> Split:
        taken = images[numbers] if info.storage == "arrays" else Subset(images, numbers)
        return Split(taken, labels[numbers])

    height, width, _ = info.image_shape
    mean, std = channel_statistics(*facts.channel_sums(chosen), pixels=len(chosen) * height * width)
    return Splits(
        train=split(chosen),
        validation=split(np.flatnonzero(held_out)),
        test=Split(examples.test_images, examples.test_labels),
        info=info,
        mean=mean,
        std=std,
    )


def load_splits_of(config: DataConfig) -> Splits:
    """Load what a trial of this configuration trains on; errors as `load_splits`."""
    return load_splits(
        config.name, validation_fraction=config.validation_fraction, train_examples=config.train_examples
    )


def channel_statistics(
    total: np.ndarray, squares: np.ndarray, *, pixels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of `images / 255`, float32 arrays with a value a channel.

    `total` and `squares` are sums over so many pixels, by channel, of the uint8 values and of their squares
    (uint64): of integers, so the result doesn't depend on the order of summation.
    """
    mean = total / pixels
    # Subtracting before dividing keeps the small difference of two large numbers exact.
    variance = [(pixels * int(q) - int(s) ** 2) / pixels**2 for s, q in zip(total, squares, strict=True)]
    std = np.maximum(np.sqrt(variance), 1.0)
    return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)
