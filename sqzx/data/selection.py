"""Fixed parts of a set of labelled images, chosen by a hash of their content.

Which images are chosen depends on the images and labels alone: not on their order, the machine or a
seed. A salt makes the choices for different purposes independent of each other.
"""

import hashlib
from itertools import chain

import numpy as np

from sqzx.data.examples import Images, blocks
from sqzx.errors import InputError

# The test part of a set that came in one part.
TEST_FRACTION, TEST_SALT = 0.2, "sqzx test 1"
VALIDATION_SALT, SUBSET_SALT = "sqzx validation 1", "sqzx subset 1"


def content_hashes(images: Images, labels: np.ndarray, salt: str) -> np.ndarray:
    """A hash of each example, uint64 of shape (n,); equal only for equal images with equal labels.

    The first eight bytes of SHA-256 over the salt, the image's bytes (`images` is uint8, (n, H, W, C))
    and the label. Among 1.3 million examples two hashes collide with a chance of 5e-8.
    """
    start = hashlib.sha256(salt.encode() + b"\0")
    tails = np.ascontiguousarray(labels, "<i4").reshape(-1, 1).view("V4")[:, 0]
    digests = bytearray()
    for image, tail in zip(chain.from_iterable(blocks(images)), tails, strict=True):
        digest = start.copy()
        digest.update(np.ascontiguousarray(image).data)
        digest.update(tail)
        digests += digest.digest()[:8]
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def hashed_part(hashes: np.ndarray, labels: np.ndarray, *, fraction: float) -> np.ndarray:
    """Choose `fraction` of each class: a bool mask of shape (n,), True for the chosen examples.

    `hashes` are the examples' `content_hashes`.
    Of a class of k examples the round(fraction * k) with the lowest hashes are chosen, at least one
    and never all. Equal images of a class stay together, so a class may give a few more or less.
    A class with one image (or only copies of one), and fewer than two classes, are an `InputError`.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise InputError(f"{len(classes)} class in {len(labels)} images: two are needed to learn anything")
    chosen = np.zeros(len(labels), bool)
    for label, size in zip(classes, sizes, strict=True):
        members = np.flatnonzero(labels == label)
        distinct, copies = np.unique(hashes[members], return_counts=True)
        if len(distinct) < 2:
            raise InputError(
                f"class {label} has {size} image{'s, all the same' if size > 1 else ''}:"
                " at least two different ones are needed, one on each side of a split"
            )
        wanted = int(fraction * size + 0.5)
        # The last distinct hash that is chosen; the one after it stays, whatever the fraction.
        last = min(int(np.searchsorted(np.cumsum(copies), wanted)), len(distinct) - 2)
        chosen[members] = hashes[members] <= distinct[last]
    return chosen


def balanced_subset(hashes: np.ndarray, labels: np.ndarray, *, count: int) -> np.ndarray:
    """Choose `count` examples spread evenly over the classes: their indices, ascending, int64 (count,).

    `hashes` are the examples' `content_hashes`.
    The classes give one example each in turn, lowest hash first, until `count` are chosen; a class
    that has run out is passed over. So a smaller subset is part of a larger one. Asking for more
    examples than there are, or for none, is an `InputError`.
    """
    if not 1 <= count <= len(labels):
        raise InputError(f"{count} training examples asked for, 1 to {len(labels)} can be had")
    by_class = np.lexsort((hashes, labels))
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    turn = np.empty(len(labels), np.int64)
    turn[by_class] = np.arange(len(labels)) - np.repeat(starts, sizes)
    return np.sort(np.lexsort((hashes, turn))[:count])
