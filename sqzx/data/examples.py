"""Labelled images, in memory or read a few at a time from where they lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

BLOCK = 1024
"""Images at a time where all of a set are looked at."""


class Images(Protocol):
    """Images (n, height, width, channels) that need not be in memory.

    A slice, or an array of numbers from 0, gives those images as an array, in that order.
    """

    @property
    def shape(self) -> tuple[Any, ...]:
        """Number, height, width, channels."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values: uint8."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: Any, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Subset:
    """Some of other images, by their `numbers` there, read when they are asked for."""

    images: Images
    numbers: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Images`."""
        return (len(self.numbers), *self.images.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `Images`."""
        return self.images.dtype

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: slice | np.ndarray, /) -> np.ndarray:
        return self.images[self.numbers[chosen]]


class Examples(NamedTuple):
    """The decoded examples of a set: images uint8 (n, H, W, C), labels int32 (n,)."""

    train_images: Images
    train_labels: np.ndarray
    test_images: Images
    test_labels: np.ndarray


def blocks(images: Images) -> Iterator[np.ndarray]:
    """Yield all images in order, `BLOCK` or fewer at a time."""
    for start in range(0, len(images), BLOCK):
        yield images[start : start + BLOCK]
