"""Getting a data set: from its source, checked, into the folder that training reads."""

import difflib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from sqzx.data.digits import digits
from sqzx.data.examples import Examples
from sqzx.data.info import KNOWN, DatasetInfo, Storage, data_root, set_folder
from sqzx.data.store import checked_info, write_set
from sqzx.errors import InputError, SqzxError


def prepare(
    name: str,
    *,
    source: Path | None,
    root: Path | None = None,
    image_size: tuple[int, int] | None = None,
    storage: Storage | None = None,
) -> DatasetInfo:
    """Get the set `name`, check it and store it under `root` (`data_root()` by default).

    `digits` is embedded; `fashion_mnist` needs no TensorFlow; any other set of TensorFlow Datasets
    needs the extra `prepare`. `source` is a folder with the set's files, already downloaded.
    `image_size`, (height, width), is for sets whose images differ in size. `storage` is the form in
    which images are stored: by default arrays up to 4 GiB, else records. A set that is there and
    intact is returned at once; whatever goes wrong, no half-written set is left. The info's `rule` is
    for the user to see. Errors: `InputError`, and `MissingDataError` without a network.
    """
    root = root or data_root()
    folder = set_folder(name, root)
    if name in KNOWN and image_size is not None:
        raise InputError(f"data set {name}: all its images have one size; an image size is for other sets")
    if source is not None and not source.is_dir():
        raise InputError(f"{source}: no such folder")
    if folder.exists():
        return _as_prepared(name, root, image_size, storage)
    if name == "digits":
        if source is not None:
            raise InputError("data set digits: it is part of sqzx, there is nothing to take from a folder")
        return _write(*digits(), root, storage)
    if name == "fashion_mnist":
        from sqzx.data.fashion_mnist import fashion_mnist

        with _scratch_folder(root) as scratch:
            return _write(*fashion_mnist(source, scratch), root, storage)
    if name in KNOWN:
        height, width, _ = KNOWN[name].image_shape
        image_size = height, width
    return _prepare_with_tensorflow(name, source, root, image_size, storage)


def _as_prepared(
    name: str, root: Path, image_size: tuple[int, int] | None, storage: Storage | None
) -> DatasetInfo:
    """Return the info of a set that is there, checked, and refuse to change how it was prepared."""
    folder, info = set_folder(name, root), checked_info(name, root)
    if storage not in (None, info.storage):
        raise InputError(f"{folder}: prepared as {info.storage}; delete it to change that")
    if image_size not in (None, info.image_shape[:2]):
        height, width, _ = info.image_shape
        raise InputError(f"{folder}: prepared with images of {height}x{width}; delete it to change that")
    return info


def _write(info: DatasetInfo, examples: Examples, root: Path, storage: Storage | None) -> DatasetInfo:
    return write_set(replace(info, storage=storage or info.storage), examples, root)


@contextmanager
def _scratch_folder(root: Path) -> Generator[Path]:
    # Beside the sets rather than in /tmp, which may be too small or kept in memory.
    with _files_named():
        root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=root, prefix=".scratch."))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _files_named() -> Generator[None]:
    """Make one line of a file that can't be read or written: a full disk, a folder without the right."""
    try:
        yield
    except OSError as error:
        raise SqzxError(f"{error.filename or 'data'}: {error.strerror or error}") from error


def _prepare_with_tensorflow(
    name: str,
    source: Path | None,
    root: Path,
    image_size: tuple[int, int] | None,
    storage: Storage | None,
) -> DatasetInfo:
    """Prepare any other image classification set of TFDS.

    TFDS works in `root/.tfds/<name>`, which stays after a failure, so that a second attempt (with an
    image size, say) downloads nothing again, and is removed once the set is stored.
    """
    import tensorflow_datasets as tfds

    from sqzx.data.tfds_images import prepare_builder, tfds_at_work

    available = tfds.list_builders(with_community_datasets=False)
    if name.partition("/")[0] not in available:
        near = difflib.get_close_matches(name, [*available, *KNOWN], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"data set {name!r}: TensorFlow Datasets has no such set{hint}")
    if importlib.util.find_spec("tensorflow") is None:
        raise InputError(
            f"data set {name}: preparing it needs TensorFlow: run pip install -e '.[prepare]' in the folder"
            " of sqzx, and then this command again (training doesn't need it)"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported: its C++ notices
    work = root / ".tfds" / set_folder(name, root).name
    with _files_named():
        work.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{work}.lock"):
        if set_folder(name, root).exists():  # another process was faster, this one waited for its lock
            return _as_prepared(name, root, image_size, storage)
        with tfds_at_work(name):
            builder = tfds.builder(name, data_dir=work, file_format="array_record")
            info = write_set(*prepare_builder(name, builder, source, image_size, storage), root)
        shutil.rmtree(work, ignore_errors=True)
        return info
