"""What finished trials said of each test image: right or wrong, read from their `predictions.npz`."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sqzx.errors import InputError
from sqzx.evaluation import ranks
from sqzx.files import DAMAGED_ARCHIVE
from sqzx.trial import TrialFolder

TOLERANCE = 1e-6
"""Largest difference of the accuracy in `predictions.npz` and in `result.json` that rounding may explain."""


class Predictions(NamedTuple):
    """Networks on the same test images: `right` (networks, images), `labels` (images,), their `seeds`."""

    right: np.ndarray
    labels: np.ndarray
    seeds: tuple[int, ...]


def read_right(folder: TrialFolder) -> tuple[np.ndarray, np.ndarray]:
    """Return which test images (n,) a trial names rightly, and their labels (n,).

    The class named is that of the largest logit, the first of equal ones, as `sqzx.evaluation` scores. A
    missing or damaged file, and one that does not give the accuracy of `result.json`, is an `InputError`.
    """
    file = folder.predictions_file
    try:
        # Opened here, since np.load leaves the file open when it is no whole archive.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            logits, labels = content["test_logits"], content["test_labels"]
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (*DAMAGED_ARCHIVE, KeyError) as error:
        raise InputError(f"{file}: not readable ({' '.join(str(error).split())})") from None
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(f"{file}: logits {logits.shape} and labels {labels.shape} do not belong together")
    if not len(labels) or labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise InputError(f"{file}: labels are not all from 0 to {logits.shape[1] - 1}")
    right = ranks(logits, labels) == 0
    said = (folder.read_result() or {}).get("test_top1")
    if not isinstance(said, int | float) or abs(right.mean() - said) > TOLERANCE:
        raise InputError(f"{file}: its accuracy is {right.mean():.4f}, that of result.json {said}")
    return right, labels.astype(np.int64)


def read_predictions(trials: Iterable[tuple[int, TrialFolder]]) -> tuple[Predictions | None, dict[int, str]]:
    """Return what the trials (seed, folder) said, and by seed why a trial is left out.

    None where no trial can be read. A trial on other images than the first is left out.
    """
    read: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    why: dict[int, str] = {}
    for seed, folder in trials:
        try:
            right, labels = read_right(folder)
        except InputError as error:
            why[seed] = str(error)
            continue
        first = next(iter(read.values()), None)
        if first is not None and not np.array_equal(first[1], labels):
            why[seed] = "not the same test images"
        else:
            read[seed] = (right, labels)
    if not read:
        return None, why
    labels = next(iter(read.values()))[1]
    return Predictions(np.stack([right for right, _ in read.values()]), labels, tuple(read)), why
