"""Batches of a trial: the order of each epoch and the changes to its images, from the seed alone."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from sqzx.config import DataConfig
from sqzx.data.examples import Images
from sqzx.data.splits import Split
from sqzx.streams import generator

AHEAD = 2
"""Batches that are made before they are asked for, where images are read from a file."""


def batch_size(wanted: int, examples: int) -> int:
    """Return the size of a training batch: all examples where there are fewer than a batch."""
    return min(wanted, examples)


def steps_per_epoch(wanted: int, examples: int) -> int:
    """Return the number of full batches in an epoch, at least 1.

    What is over is left out of this epoch; another order leaves out others in the next.
    """
    return examples // batch_size(wanted, examples)


def epoch_batches(
    split: Split, config: DataConfig, size: int, *, seed: int, epoch: int, first: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield an epoch's batches of uint8 images (size, h, w, c) and int32 labels (size,), from number `first`.

    Every batch draws its crops and mirrors from a stream of its own, so a resumed epoch goes on as the
    uncut one would have.
    """
    order = generator(seed, "order", epoch).permutation(len(split.labels))
    for number in range(first, len(order) // size):
        chosen = order[number * size : (number + 1) * size]
        images = np.asarray(split.images[chosen])
        yield augmented(images, config, generator(seed, "augment", epoch, number)), split.labels[chosen]


@contextmanager
def made_ahead(batches: Iterator[Any], images: Images) -> Generator[Iterator[Any]]:
    """Open an iterator over batches of images, made by a thread up to `AHEAD` before they are asked for.

    At its end the one that is being made is waited for.
    From images in memory they are made when they are asked for. That takes 0.1 ms for 128 of 28x28 pixels,
    and what a thread would save a core's step it takes to wake it; an accelerator has work for longer.
    """
    if isinstance(images, np.ndarray):
        yield batches
        return
    thread = ThreadPoolExecutor(1)

    def taken() -> Iterator[Any]:
        waiting = deque(thread.submit(next, batches, None) for _ in range(AHEAD))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, batches, None))
            yield batch

    try:
        yield taken()
    finally:
        thread.shutdown(cancel_futures=True)


def augmented(images: np.ndarray, config: DataConfig, random: np.random.Generator) -> np.ndarray:
    """Return images (n, h, w, c) shifted by up to `crop_padding` pixels and mirrored, as `config` asks.

    The border of a shifted image is black (0).
    """
    n, height, width, _ = images.shape
    if pad := config.crop_padding:
        framed = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        top, left = random.integers(0, 2 * pad + 1, (2, n))
        rows = (top[:, None] + np.arange(height))[:, :, None]
        columns = (left[:, None] + np.arange(width))[:, None, :]
        images = framed[np.arange(n)[:, None, None], rows, columns]
    if config.mirror:
        flip = random.random(n) < 0.5
        images = np.where(flip[:, None, None, None], images[:, :, ::-1], images)
    return images
