"""A prepared set as files of array_record, for sets larger than memory: images are read when they are needed.

`train_images.array_record` and `test_images.array_record` have one record an image, its uint8 values (height,
width, channels) in C order, uncompressed; each has a checksum, which is compared with every reading.
`index.npz` holds `train_labels` and `test_labels`, int32 (n,), and the `facts.Kept` of the training images:
without it, choosing the validation images would take a pass over all of them.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import (  # ty: ignore[import-not-found]  # compiled, without stubs
    ArrayRecordReader,
    ArrayRecordWriter,
)

from sqzx.data.examples import Examples, Images, blocks
from sqzx.data.facts import Facts, Kept
from sqzx.data.info import DatasetInfo, damaged
from sqzx.data.selection import SUBSET_SALT, VALIDATION_SALT
from sqzx.files import DAMAGED_ARCHIVE

_HASHES = {VALIDATION_SALT: "validation_hashes", SUBSET_SALT: "subset_hashes"}


class RecordImages:
    """Images of a file of array_record; see `examples.Images`. `shape` is (n, height, width, channels).

    A damaged or missing file is an `InputError`, a damaged record when it is read.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, file: Path, shape: tuple[int, ...]):
        self.shape = shape
        self._file = file
        if not file.is_file():
            raise damaged(file.parent, f"{file.name} is missing")
        # Reading ahead is for readings in order: for a record here and there it would read most in vain.
        self._reader = ArrayRecordReader(str(file), "readahead_buffer_size:0")
        if (found := self._reader.num_records()) != len(self):
            raise damaged(file.parent, f"{file.name} has {found} images of {len(self)}")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: slice | np.ndarray, /) -> np.ndarray:
        numbers = range(*chosen.indices(len(self))) if isinstance(chosen, slice) else chosen.tolist()
        shape = (len(numbers), *self.shape[1:])
        try:
            records = self._reader.read(list(numbers))
            return np.frombuffer(b"".join(records), np.uint8).reshape(shape)
        except (RuntimeError, ValueError) as error:  # its library's error, or records of another length
            raise damaged(self._file.parent, f"{self._file.name} can't be read: {error}") from None


def write(folder: Path, examples: Examples) -> None:
    """Write the files of a set into its folder, images a block at a time."""
    train, test = examples.train_images, examples.test_images
    written = _written(_images_file(folder, "train_images"), train)
    facts = Kept.of(written, examples.train_labels, train.shape[-1])
    for _ in _written(_images_file(folder, "test_images"), test):
        pass
    index = {
        "train_labels": examples.train_labels,
        "test_labels": examples.test_labels,
        "sums": facts.sums,
        "squares": facts.squares,
        **{name: facts.hashes(salt) for salt, name in _HASHES.items()},
    }
    with (folder / "index.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **index)
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path, info: DatasetInfo) -> tuple[Examples, Facts]:
    """Open a set of `info`; files that are not those that were written are an `InputError`."""
    index = _read_index(folder, info)
    shapes = [(n, *info.image_shape) for n in (info.train_examples, info.test_examples)]
    examples = Examples(
        train_images=RecordImages(_images_file(folder, "train_images"), shapes[0]),
        train_labels=index["train_labels"],
        test_images=RecordImages(_images_file(folder, "test_images"), shapes[1]),
        test_labels=index["test_labels"],
    )
    hashes = {salt: index[name] for salt, name in _HASHES.items()}
    return examples, Kept(hashes, index["sums"], index["squares"])


def _images_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.array_record"


def _written(file: Path, images: Images) -> Iterator[np.ndarray]:
    """Write images into a file, and yield each block once it is written: decoding takes long, reading too."""
    # One image a group, so that reading one does not read its neighbours.
    writer = ArrayRecordWriter(str(file), "group_size:1,uncompressed")
    try:
        for block in blocks(images):
            for image in block:
                writer.write(image.tobytes())
            yield block
        writer.close()  # what was wrong with any writing is told here
    except RuntimeError as error:  # its library's; what decodes images has errors of our own
        reason = str(error).partition(";")[0].removeprefix("write() failed: ")
        raise OSError(errno.EIO, reason) from error
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _read_index(folder: Path, info: DatasetInfo) -> dict[str, np.ndarray]:
    n, channels = info.train_examples, info.image_shape[-1]
    expected: dict[str, tuple[Any, tuple[int, ...]]] = {
        "train_labels": (np.int32, (n,)),
        "test_labels": (np.int32, (info.test_examples,)),
        "sums": (np.uint64, (n, channels)),
        "squares": (np.uint64, (n, channels)),
        **dict.fromkeys(_HASHES.values(), (np.uint64, (n,))),
    }
    try:
        # Opened here, since np.load leaves the file open when it is no whole archive.
        with (folder / "index.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            index = {name: file[name] for name in expected}
    except FileNotFoundError:
        raise damaged(folder, "index.npz is missing") from None
    except (*DAMAGED_ARCHIVE, KeyError) as error:
        raise damaged(folder, f"index.npz can't be read: {error}") from None
    for name, (dtype, shape) in expected.items():
        if (index[name].dtype, index[name].shape) != (dtype, shape):
            raise damaged(folder, f"index.npz: {name} is {index[name].dtype} {index[name].shape}")
    return index
