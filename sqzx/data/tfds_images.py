"""Labelled images out of TensorFlow Datasets: from a prepared builder to uint8 arrays."""

import contextlib
import io
import math
import textwrap
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from sqzx.data.info import TOO_LARGE, DatasetInfo
from sqzx.data.network import answers
from sqzx.data.selection import TEST_FRACTION, TEST_SALT, hashed_part
from sqzx.data.store import Arrays
from sqzx.errors import InputError, MissingDataError, SqzxError
from sqzx.images import fit

MAX_BYTES = 4 * 2**30
_BLOCK = 1000  # examples decoded at a time


class ExampleSource(Protocol):
    """TFDS's random-access source: examples as dicts of arrays, read by blocks of indices."""

    def __len__(self) -> int: ...
    def __getitems__(self, indices: range) -> list[Mapping[str, Any]]: ...


@contextlib.contextmanager
def tfds_at_work(name: str) -> Generator[None]:
    """Keep TFDS's prints, bars and warnings off the terminal, and make one line of what it raises.

    That line, an `InputError`, names the data set; so do our own errors once they have passed here.
    """
    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except SqzxError as error:
        raise type(error)(f"data set {name}: {error}") from error
    except Exception as error:  # TFDS and its 245 builders raise anything
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 500)
        raise InputError(f"data set {name}: TensorFlow Datasets failed: {reason}") from error
    finally:
        logging.set_verbosity(verbosity)


def image_and_label(features: Any) -> tuple[tfds.features.Image, tfds.features.ClassLabel]:
    """The features `image` and `label` of a set, the one an 8-bit image, the other a class label.

    A set without them (several labels an image, boxes, 16-bit images) is an `InputError`.
    """
    named = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    image, label = named.get("image"), named.get("label")
    has = f"the set has {', '.join(sorted(named)) or 'no named features'}"
    if not isinstance(label, tfds.features.ClassLabel):
        raise InputError(f"{has}; an image classification set has a class label named 'label'")
    if not isinstance(image, tfds.features.Image) or len(image.shape) != 3 or image.np_dtype != np.uint8:
        raise InputError(f"{has}; an image classification set has an 8-bit image named 'image'")
    return image, label


def check_size(examples: int, shape: tuple[int | None, ...]) -> None:
    """Refuse a set that would exceed 4 GiB as arrays with an `InputError`.

    `shape` is an image's (height, width, channels), None where it isn't known yet.
    """
    size = examples * math.prod(side or 1 for side in shape)
    if size > MAX_BYTES:
        sides = "x".join(str(side or "?") for side in shape)
        raise InputError(f"{examples} images of {sides} are {size / 2**30:.1f} GiB: {TOO_LARGE}")


def choose_splits(names: Collection[str]) -> tuple[str, str | None, str | None]:
    """Which of a set's splits are the training and the test part, and the rule if it isn't plain.

    Training and test part where the set has both. Without `test`, `validation` is the test part. A set
    with one split has None as test part: a hash divides it. Other sets are an `InputError`.
    """
    if "train" in names and "test" in names:
        return "train", "test", None
    if "train" in names and "validation" in names:
        return "train", "validation", "test is the split 'validation': the set has no split 'test'"
    if len(names) == 1:
        (only,) = names
        rule = f"test is a fifth of each class of the one split {only!r}, chosen by a hash of the image"
        return only, None, rule
    raise InputError(f"no training and test part: the set has the splits {', '.join(sorted(names))}")


def read_split(
    source: ExampleSource, channels: int, image_size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode one split: images uint8 (n, H, W, C), labels int32 (n,).

    `source` is TFDS's random-access source; grey images of a set with 3 `channels` become RGB. Without
    `image_size` all images must have one shape, else an `InputError` counts the shapes; with it,
    (height, width), each image goes through `fit`. A split without images is refused as well.
    """
    labels = np.empty(len(source), np.int32)
    shapes: Counter[tuple[int, ...]] = Counter()
    images = np.empty(0, np.uint8)
    for index, example in enumerate(_in_blocks(source)):
        image = _with_channels(example["image"], channels)
        if image_size is not None:
            image = fit(image, image_size)
        if not shapes:
            check_size(len(source), image.shape)
            images = np.empty((len(source), *image.shape), np.uint8)
        shapes[image.shape] += 1
        if len(shapes) == 1:
            images[index] = image
        else:
            images = np.empty(0, np.uint8)  # from here on only the counts are of use
        labels[index] = example["label"]
    if not shapes:
        raise InputError("a split without images")
    if len(shapes) > 1:
        counts = ", ".join(f"{h}x{w}x{c}: {n}" for (h, w, c), n in shapes.most_common(5))
        more = f" and {len(shapes) - 5} more" if len(shapes) > 5 else ""
        raise InputError(f"images of {len(shapes)} shapes ({counts}{more}): prepare it with --image-size HxW")
    return images, labels


def prepare_builder(
    name: str, builder: Any, source: Path | None, image_size: tuple[int, int] | None
) -> tuple[DatasetInfo, Arrays]:
    """Let a TFDS builder download and prepare its set, unless it has, and decode it as `read_builder` does.

    `source` is a folder with files that were downloaded by hand. What can be refused is refused before
    anything is downloaded; without a network it is a `MissingDataError`.
    """
    image_and_label(builder.info.features)
    if not builder.is_prepared():
        if source is None and builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            raise InputError("its files must be downloaded by hand first, into a folder given as --from DIR")
        urls = [url for url in builder.url_infos or () if url.startswith("http")]
        if source is None and urls and not answers(urls[0]):
            raise MissingDataError(f"{urls[0]} doesn't answer, and nothing is prepared yet")
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=source, force_checksums_validation=True)
        )
    return read_builder(name, builder, image_size)


def read_builder(name: str, builder: Any, image_size: tuple[int, int] | None) -> tuple[DatasetInfo, Arrays]:
    """Decode the splits of a prepared TFDS builder (`builder.info`, `builder.as_data_source`).

    `InputError` for a set that `image_and_label`, `check_size`, `choose_splits` or `read_split` refuses.
    """
    image, label = image_and_label(builder.info.features)
    splits = builder.info.splits
    channels = image.shape[2] or 3  # a set of both grey and RGB images is read as RGB
    train, test, rule = choose_splits(splits.keys())
    parts = [part for part in (train, test) if part is not None]
    sides = image_size or image.shape[:2]
    check_size(sum(splits[part].num_examples for part in parts), (*sides, channels))
    decoded = {part: read_split(builder.as_data_source(split=part), channels, image_size) for part in parts}
    images, labels = decoded[train]
    if test is None:
        held_out = hashed_part(images, labels, fraction=TEST_FRACTION, salt=TEST_SALT)
        arrays = Arrays(images[~held_out], labels[~held_out], images[held_out], labels[held_out])
    else:
        arrays = Arrays(images, labels, *decoded[test])
    if arrays.train_images.shape[1:] != arrays.test_images.shape[1:]:
        raise InputError(
            "images of the training and the test part differ in shape: prepare it with --image-size HxW"
        )
    resized = f"; resized to cover {image_size[0]}x{image_size[1]}, centre crop" if image_size else ""
    info = DatasetInfo(
        name=name,
        image_shape=arrays.train_images.shape[1:],
        num_classes=len(label.names),
        class_names=tuple(label.names),
        train_examples=len(arrays.train_labels),
        test_examples=len(arrays.test_labels),
        fingerprint=None,
        source=f"TensorFlow Datasets {builder.info.full_name}{resized}",
        rule=rule,
    )
    return info, arrays


def _in_blocks(source: ExampleSource) -> Iterator[Mapping[str, Any]]:
    # A block at a time is read three times as fast as one by one.
    for start in range(0, len(source), _BLOCK):
        yield from source.__getitems__(range(start, min(start + _BLOCK, len(source))))


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if image.shape[-1] == channels:
        return image
    if image.shape[-1] == 1:
        return np.repeat(image, channels, axis=-1)
    return image[..., :channels]  # RGB without its alpha
