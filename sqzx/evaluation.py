"""Scores of a network on a split: top-1, top-5 and loss, from logits."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from sqzx.batches import made_ahead
from sqzx.data.examples import Images


class Scores(NamedTuple):
    """Mean scores over a split. `top5` is None where 5 guesses could not miss (5 classes or fewer)."""

    top1: float
    top5: float | None
    loss: float

    def named(self, prefix: str) -> dict[str, float | None]:
        """Return the scores as {"val_top1": ..., "val_top5": ..., "val_loss": ...} for the prefix "val"."""
        return {f"{prefix}_{name}": value for name, value in self._asdict().items()}


def ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many classes come before the right one (n,) in the order of logits (n, classes).

    Equal logits rank by class number, as `argmax` ranks them, so a network that says nothing (all
    logits 0) scores what always naming class 0 scores, not 100 %. A logit that is NaN comes last.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    # Not "greater" but "not at most": a logit that is NaN is then beaten by all, never the best.
    return (~(logits <= own) | ((logits == own) & earlier)).sum(axis=1)


def score(logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Score logits (n, classes) against labels (n,), by `ranks`."""
    rank = ranks(logits, labels)
    double = logits.astype(np.float64)
    shifted = double - double.max(axis=1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(axis=1)) - np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    return Scores(
        top1=float((rank == 0).mean()),
        top5=float((rank < 5).mean()) if logits.shape[1] > 5 else None,
        loss=float(loss.mean()),
    )


def full_batches(images: Images, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield all images (n, h, w, c) in batches of `size`, each with the number of its images that count.

    The last batch is filled up with black images, so that one compiled program does for all. See
    `batches.made_ahead`.
    """
    with made_ahead(_full_batches(images, size), images) as batches:
        yield from batches


def _full_batches(images: Images, size: int) -> Iterator[tuple[np.ndarray, int]]:
    for start in range(0, len(images), size):
        batch = np.asarray(images[start : start + size])
        yield np.pad(batch, ((0, size - len(batch)), (0, 0), (0, 0), (0, 0))), len(batch)


def logits_of(predict: Callable[[np.ndarray], np.ndarray], images: Images, batch_size: int) -> np.ndarray:
    """Return the logits (n, classes) of images (n, h, w, c); `predict` always gets `batch_size` of them."""
    return np.concatenate(
        [np.asarray(predict(batch))[:count] for batch, count in full_batches(images, batch_size)]
    )
