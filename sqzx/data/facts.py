"""What choosing among training images, and normalising them, needs to know of each of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sqzx.data.examples import Images, Subset, blocks
from sqzx.data.selection import SUBSET_SALT, VALIDATION_SALT, content_hashes


class Facts(Protocol):
    """Facts of n labelled images, by their numbers."""

    def hashes(self, salt: str) -> np.ndarray:
        """Return `selection.content_hashes` with one of the salts of that module: uint64 (n,)."""
        ...

    def channel_sums(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sums of the values and of their squares over all pixels of some images: uint64 (c,)."""
        ...


@dataclass(frozen=True)
class Computed:
    """`Facts` of images in memory, found when they are asked for."""

    images: Images
    labels: np.ndarray

    def hashes(self, salt: str) -> np.ndarray:
        """See `Facts`."""
        return content_hashes(self.images, self.labels, salt)

    def channel_sums(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Facts`."""
        total, squares = np.zeros((2, self.images.shape[-1]), np.uint64)
        for block in blocks(Subset(self.images, chosen)):
            for so_far, sums in zip((total, squares), image_sums(block), strict=True):
                so_far += sums.sum(axis=0)
        return total, squares


@dataclass(frozen=True)
class Kept:
    """`Facts` that were found once, so that nobody need look at all images again.

    `by_salt` are hashes, `sums` and `squares` those of each image: uint64 (n, c).
    """

    by_salt: Mapping[str, np.ndarray]
    sums: np.ndarray
    squares: np.ndarray

    @staticmethod
    def of(found: Iterable[np.ndarray], labels: np.ndarray, channels: int) -> "Kept":
        """Find the facts of images that come in blocks, in order (see `examples.blocks`)."""
        shape = len(labels), channels
        kept = Kept(
            {salt: np.empty(len(labels), np.uint64) for salt in (VALIDATION_SALT, SUBSET_SALT)},
            np.empty(shape, np.uint64),
            np.empty(shape, np.uint64),
        )
        start = 0
        for block in found:
            part = slice(start, start := start + len(block))
            for salt, hashes in kept.by_salt.items():
                hashes[part] = content_hashes(block, labels[part], salt)
            kept.sums[part], kept.squares[part] = image_sums(block)
        return kept

    def hashes(self, salt: str) -> np.ndarray:
        """See `Facts`."""
        return self.by_salt[salt]

    def channel_sums(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Facts`."""
        return self.sums[chosen].sum(axis=0), self.squares[chosen].sum(axis=0)


def image_sums(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of the values and of their squares over the pixels of each image: uint64 (n, c)."""
    pixels = images.reshape(len(images), -1, images.shape[-1]).astype(np.uint32)
    return pixels.sum(axis=1, dtype=np.uint64), np.square(pixels).sum(axis=1, dtype=np.uint64)
