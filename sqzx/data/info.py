"""What is known of a data set before any image is read, with the standard library alone."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from sqzx.errors import InputError, MissingDataError
from sqzx.files import cache_home, read_json, write_json

Storage = Literal["arrays", "records"]
"""The form in which images are stored: arrays for memory, or records that are read a batch at a time."""


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """The metadata of one data set.

    `image_shape` is (height, width, channels); `class_names` is empty where nobody needs the names.
    `fingerprint` is the SHA-256 of the decoded arrays (`store.fingerprint`), None while unknown.
    `source` is one line: where the set came from, its version and licence. `rule` says how training
    and test images were told apart if the set didn't come with both parts, else None.
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    class_names: tuple[str, ...]
    train_examples: int
    test_examples: int
    fingerprint: str | None
    source: str
    rule: str | None
    storage: Storage = "arrays"


VALIDATION_IS_TEST = "test is the split 'validation': the set has no split 'test' with labels"
"""The rule of sets that are part of a contest, say."""

KNOWN: Mapping[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            name="digits",
            image_shape=(8, 8, 1),
            num_classes=10,
            class_names=tuple("0123456789"),
            train_examples=1438,
            test_examples=359,
            fingerprint="411ac16ee73910bbb661a1a02defc17ebaade1d901b8f16032302c98f84cfe6a",
            source="scikit-learn's load_digits: the test part of UCI's optical digits, CC BY 4.0",
            rule="test is a fifth of each class, chosen by a hash of the image",
        ),
        DatasetInfo(
            name="fashion_mnist",
            image_shape=(28, 28, 1),
            num_classes=10,
            class_names=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            train_examples=60_000,
            test_examples=10_000,
            fingerprint="d8b9509a04c0301e816f5f6bf8ffbe4fe47f6fb691dec896d968ed8cdc06915d",
            source="TensorFlow Datasets fashion_mnist 3.0.1: Zalando's Fashion-MNIST, MIT",
            rule=None,
        ),
        DatasetInfo(
            name="imagenet2012",
            image_shape=(227, 227, 3),  # the crop of the paper's network
            num_classes=1000,
            class_names=(),
            train_examples=1_281_167,
            test_examples=50_000,
            fingerprint=None,
            source="ILSVRC 2012 classification, terms of image-net.org",
            rule=VALIDATION_IS_TEST,
            storage="records",
        ),
    )
}


def data_root() -> Path:
    """The folder of all prepared sets: `$SQZX_DATA`, else `sqzx/data` in the user's cache folder."""
    if chosen := os.environ.get("SQZX_DATA"):
        return Path(chosen).expanduser()
    return cache_home() / "data"


def set_folder(name: str, root: Path | None = None) -> Path:
    """The folder of the set `name` under `root` (`data_root()` by default).

    Names are those of TensorFlow Datasets: `emnist`, or `emnist/balanced` for a configuration of it,
    whose slash becomes a plus. Anything else is an `InputError`.
    """
    if len(name) > 100 or not re.fullmatch(r"[A-Za-z0-9_]+(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?", name):
        raise InputError(
            f"data set {name!r}: a name is letters, digits and _, with one optional /config"
            + _suggestion(name)
        )
    return (root or data_root()) / name.replace("/", "+")


def dataset_info(name: str) -> DatasetInfo:
    """What is known of the set `name`: its own `info.json` if it is prepared, else `KNOWN`.

    A set that is neither is a `MissingDataError` with the command that prepares it.
    """
    folder = set_folder(name)
    if (folder / "info.json").is_file():
        return read_info(folder)
    if name in KNOWN:
        return KNOWN[name]
    raise missing(name)


def prepared_sets() -> list[DatasetInfo]:
    """Every prepared set under `data_root()`, by name."""
    # A name with a leading dot is somebody's half-written or temporary folder.
    files = data_root().glob("[!.]*/info.json")
    return sorted((read_info(file.parent) for file in files), key=lambda info: info.name)


def missing(name: str, root: Path | None = None) -> MissingDataError:
    """The error for a set that isn't prepared, with the exact command."""
    command = f"sqzx data prepare {name}"
    if name == "imagenet2012":
        command = f"{command} --from DIR (DIR: its two .tar files)"
    offline = f"; without a network: {command} {FROM_DIR}" if name == "fashion_mnist" else ""
    return MissingDataError(
        f"data set {name!r} is not prepared in {root or data_root()}: run {command}{offline}"
        + ("" if name in KNOWN else _suggestion(name))
    )


FROM_DIR = (
    "--from DIR (DIR: the four published .gz files, or Debian's package dataset-fashion-mnist unpacked)"
)


def damaged(folder: Path, what: str) -> InputError:
    """The error for a prepared folder that isn't as it was written, with what to do about it."""
    name = folder.name.replace("+", "/")
    return InputError(
        f"{folder}: this data set is damaged ({what}): delete the folder and run sqzx data prepare {name}"
    )


def write_info(folder: Path, info: DatasetInfo) -> None:
    """Write `info` as `folder/info.json`."""
    write_json(folder / "info.json", asdict(info))


def read_info(folder: Path) -> DatasetInfo:
    """Read `folder/info.json` strictly; anything but what `write_info` writes is an `InputError`."""
    try:
        found = read_json(folder / "info.json")
    except InputError:
        raise damaged(folder, "info.json can't be read as JSON") from None
    # Sets from before there were records do not say how they are stored.
    record: dict[str, Any] = {"storage": "arrays"} | (found if isinstance(found, dict) else {})
    if record.keys() != {field.name for field in fields(DatasetInfo)}:
        raise damaged(folder, "info.json has other keys than expected")
    for key, is_valid in _VALID.items():
        if not is_valid(record[key]):
            raise damaged(folder, f"info.json: {key} is {record[key]!r}")
    record |= {"image_shape": tuple(record["image_shape"]), "class_names": tuple(record["class_names"])}
    info = DatasetInfo(**record)
    if info.name.replace("/", "+") != folder.name:
        raise damaged(folder, f"info.json is that of {info.name!r}")
    if len(info.class_names) not in (0, info.num_classes):
        raise damaged(folder, f"info.json: {len(info.class_names)} names for {info.num_classes} classes")
    expected = KNOWN[info.name].fingerprint if info.name in KNOWN else None
    if expected not in (None, info.fingerprint):
        raise damaged(folder, f"fingerprint {info.fingerprint}, this version of sqzx expects {expected}")
    return info


def _count(value: Any) -> bool:
    return type(value) is int and value > 0  # not isinstance: True is no count


def _text(value: Any) -> bool:
    return isinstance(value, str)


_VALID = {
    "name": _text,
    "image_shape": lambda value: isinstance(value, list) and len(value) == 3 and all(map(_count, value)),
    "num_classes": _count,
    "class_names": lambda value: isinstance(value, list) and all(map(_text, value)),
    "train_examples": _count,
    "test_examples": _count,
    "fingerprint": lambda value: _text(value) and re.fullmatch("[0-9a-f]{64}", value),
    "source": _text,
    "rule": lambda value: value is None or _text(value),
    "storage": lambda value: value in get_args(Storage),
}


def _suggestion(name: str) -> str:
    near = difflib.get_close_matches(name[:100].lower(), KNOWN, n=1, cutoff=0.75)
    return f" (did you mean {near[0]!r}?)" if near else ""
