"""A prepared set as four `.npy` files, for sets that fit into memory.

`train_images.npy` and `test_images.npy` are uint8 (n, height, width, channels); `train_labels.npy` and
`test_labels.npy` are int32 (n,), from 0 to num_classes - 1.
"""

import os
from pathlib import Path

import numpy as np

from sqzx.data.examples import Examples
from sqzx.data.facts import Computed, Facts
from sqzx.data.info import DatasetInfo, damaged


def write(folder: Path, examples: Examples) -> None:
    """Write the files of a set into its folder."""
    for name, array in examples._asdict().items():
        with (folder / f"{name}.npy").open("wb") as file:
            np.save(file, array[:], allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())


def read(folder: Path, info: DatasetInfo) -> tuple[Examples, Facts]:
    """Open a set of `info`, memory-mapped; a file that is no such array is an `InputError`."""
    opened = Examples(*(_open(folder, name) for name in Examples._fields))
    for part, count in (("train", info.train_examples), ("test", info.test_examples)):
        images, labels = getattr(opened, f"{part}_images"), getattr(opened, f"{part}_labels")
        if (images.dtype, images.shape) != (np.uint8, (count, *info.image_shape)):
            raise damaged(folder, f"{part}_images.npy is {images.dtype} {images.shape}")
        if (labels.dtype, labels.shape) != (np.int32, (count,)):
            raise damaged(folder, f"{part}_labels.npy is {labels.dtype} {labels.shape}")
    return opened, Computed(opened.train_images, opened.train_labels)


def _open(folder: Path, name: str) -> np.ndarray:
    try:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise damaged(folder, f"{name}.npy is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise damaged(folder, f"{name}.npy can't be read: {error}") from None
