"""Prepared data sets on the disk: a folder of images, labels and `info.json`, whole or absent.

`info.json` is a `DatasetInfo`; its `storage` is the form of the images there, `arrays` or `records`.
"""

import hashlib
import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from sqzx.data import arrays, records
from sqzx.data.examples import Examples, blocks
from sqzx.data.facts import Facts
from sqzx.data.info import DatasetInfo, Storage, damaged, missing, read_info, set_folder, write_info
from sqzx.errors import InputError, SqzxError

_STORAGES: dict[Storage, ModuleType] = {"arrays": arrays, "records": records}


class StoredSet(NamedTuple):
    """A prepared set: its metadata, its examples, and the facts of its training images."""

    info: DatasetInfo
    examples: Examples
    facts: Facts


def fingerprint(examples: Examples) -> str:
    """SHA-256 over the four arrays in their order: for each its type, its shape, its bytes in C order.

    However they are stored, it is the same.
    """
    digest = hashlib.sha256()
    for array in examples:
        digest.update(f"{array.dtype.name} {array.shape}\n".encode())
        for block in blocks(array):
            digest.update(np.ascontiguousarray(block, array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Refuse labels that are no integers from 0 to num_classes - 1 with an `InputError`."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"labels are {labels.dtype} {labels.shape}, where one integer an image is needed")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise InputError(f"{len(wrong)} labels, {wrong[0]} the first, are not in 0 to {num_classes - 1}")


def write_set(info: DatasetInfo, examples: Examples, root: Path | None = None) -> DatasetInfo:
    """Store a set under `root` in the form `info.storage`, and return `info` with its fingerprint.

    That is of what was written, read back. If `info` already has another, that is an `InputError`.
    The folder is filled under another name and renamed whole. If another process was faster, its
    folder stays and this copy is dropped: both were made from the same source. What is returned is then
    the info of the other.
    """
    final = set_folder(info.name, root)
    for labels in (examples.train_labels, examples.test_labels):
        check_labels(labels, info.num_classes)
    half = final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}.half")
    try:
        half.mkdir(parents=True)
        storage = _STORAGES[info.storage]
        storage.write(half, examples)
        sizes = {"train_examples": len(examples.train_labels), "test_examples": len(examples.test_labels)}
        written, _ = storage.read(half, replace(info, **sizes, image_shape=examples.train_images.shape[1:]))
        if info.fingerprint not in (None, found := fingerprint(written)):
            raise InputError(
                f"data set {info.name}: the decoded arrays have fingerprint {found}, this version of sqzx"
                f" expects {info.fingerprint}"
            )
        info = replace(info, fingerprint=found)
        write_info(half, info)
        try:
            half.rename(final)
        except OSError:
            if (final / "info.json").is_file():
                return read_info(final)
            raise
    except OSError as error:
        raise SqzxError(f"{final}: could not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return info


def load_set(name: str, root: Path | None = None) -> StoredSet:
    """Open a prepared set, checked against its `info.json`; its images are read when they are asked for.

    Arrays are checked as a whole, against the fingerprint, and each record when it is read. `digits` is
    made on first use. Any other set that isn't there is a `MissingDataError` at once: nothing is ever
    downloaded here. A damaged folder is an `InputError` that says what to delete.
    """
    folder = set_folder(name, root)
    if not folder.exists():
        if name != "digits":
            raise missing(name, root)
        from sqzx.data.digits import digits  # it chooses its test images with NumPy and scikit-learn

        write_set(*digits(), root)
    info = read_info(folder)
    examples, facts = _STORAGES[info.storage].read(folder, info)
    for part in ("train", "test"):
        try:
            check_labels(getattr(examples, f"{part}_labels"), info.num_classes)
        except InputError as error:
            raise damaged(folder, f"{part}_labels: {error}") from None
    if info.storage == "arrays":
        _check_fingerprint(folder, info, examples)
    return StoredSet(info, examples, facts)


def checked_info(name: str, root: Path | None = None) -> DatasetInfo:
    """Return the info of a prepared set of which every byte was looked at; errors as `load_set`."""
    info, examples, _ = load_set(name, root)
    if info.storage == "records":
        _check_fingerprint(set_folder(name, root), info, examples)
    return info


def _check_fingerprint(folder: Path, info: DatasetInfo, examples: Examples) -> None:
    if fingerprint(examples) != info.fingerprint:
        raise damaged(folder, "its examples are not those that were written: their fingerprint differs")
