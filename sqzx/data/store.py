"""Prepared data sets on the disk: a folder of four `.npy` files and `info.json`, whole or absent.

`train_images.npy` and `test_images.npy` are uint8 (n, height, width, channels); `train_labels.npy` and
`test_labels.npy` are int32 (n,), from 0 to num_classes - 1; `info.json` is a `DatasetInfo`.
"""

import hashlib
import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sqzx.data.info import DatasetInfo, damaged, missing, read_info, set_folder, write_info
from sqzx.errors import InputError, SqzxError


class Arrays(NamedTuple):
    """The decoded examples of a set: images uint8 (n, H, W, C), labels int32 (n,)."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def fingerprint(arrays: Arrays) -> str:
    """SHA-256 over the four arrays in their order: for each its type, its shape, its bytes in C order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Refuse labels that are no integers from 0 to num_classes - 1 with an `InputError`."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"labels are {labels.dtype} {labels.shape}, where one integer an image is needed")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise InputError(f"{len(wrong)} labels, {wrong[0]} the first, are not in 0 to {num_classes - 1}")


def write_set(info: DatasetInfo, arrays: Arrays, root: Path | None = None) -> DatasetInfo:
    """Store a set under `root` and return `info` with the fingerprint of `arrays`.

    If `info` already has a fingerprint and the arrays have another, that is an `InputError`.
    The folder is filled under another name and renamed whole. If another process was faster, its
    folder stays and this copy is dropped: both were made from the same source.
    """
    final = set_folder(info.name, root)
    for labels in (arrays.train_labels, arrays.test_labels):
        check_labels(labels, info.num_classes)
    if info.fingerprint not in (None, found := fingerprint(arrays)):
        raise InputError(
            f"data set {info.name}: the decoded arrays have fingerprint {found}, this version of sqzx"
            f" expects {info.fingerprint}"
        )
    info = replace(info, fingerprint=found)
    half = final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}.half")
    try:
        half.mkdir(parents=True)
        for name, array in arrays._asdict().items():
            with (half / f"{name}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        write_info(half, info)
        half.rename(final)
    except OSError as error:
        if not (final / "info.json").is_file():
            raise SqzxError(f"{final}: could not be written ({error.strerror})") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return info


def load_arrays(name: str, root: Path | None = None) -> tuple[DatasetInfo, Arrays]:
    """Open a prepared set, memory-mapped and checked against its `info.json`.

    `digits` is made on first use. Any other set that isn't there is a `MissingDataError` at once:
    nothing is ever downloaded here. A damaged folder is an `InputError` that says what to delete.
    """
    folder = set_folder(name, root)
    if not folder.exists():
        if name != "digits":
            raise missing(name, root)
        from sqzx.data.digits import digits  # it chooses its test images with NumPy and scikit-learn

        write_set(*digits(), root)
    info = read_info(folder)
    arrays = Arrays(*(_open(folder, part) for part in Arrays._fields))
    for part, count in (("train", info.train_examples), ("test", info.test_examples)):
        images, labels = getattr(arrays, f"{part}_images"), getattr(arrays, f"{part}_labels")
        if (images.dtype, images.shape) != (np.uint8, (count, *info.image_shape)):
            raise damaged(folder, f"{part}_images.npy is {images.dtype} {images.shape}")
        if (labels.dtype, labels.shape) != (np.int32, (count,)):
            raise damaged(folder, f"{part}_labels.npy is {labels.dtype} {labels.shape}")
        try:
            check_labels(labels, info.num_classes)
        except InputError as error:
            raise damaged(folder, f"{part}_labels.npy: {error}") from None
    if fingerprint(arrays) != info.fingerprint:
        raise damaged(folder, "the arrays are not those that were written: their fingerprint differs")
    return info, arrays


def _open(folder: Path, name: str) -> np.ndarray:
    try:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise damaged(folder, f"{name}.npy is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise damaged(folder, f"{name}.npy can't be read: {error}") from None
