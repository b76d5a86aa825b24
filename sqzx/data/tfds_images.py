"""Labelled images out of TensorFlow Datasets: from a prepared builder to decoded examples."""

import contextlib
import io
import math
import textwrap
from collections.abc import Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from sqzx.data.examples import BLOCK, Examples, Images, Subset
from sqzx.data.info import VALIDATION_IS_TEST, DatasetInfo, Storage
from sqzx.data.network import answers
from sqzx.data.selection import TEST_FRACTION, TEST_SALT, content_hashes, hashed_part
from sqzx.errors import InputError, MissingDataError, SqzxError
from sqzx.images import fit

MOST_ARRAY_BYTES = 4 * 2**30

SECRET = -1
"""The label that TensorFlow Datasets gives to images whose class only the judges of a contest know."""


class ExampleSource(Protocol):
    """TFDS's random-access source: examples as dicts of arrays, read by blocks of indices."""

    def __len__(self) -> int: ...
    def __getitems__(self, indices: Sequence[int]) -> list[Mapping[str, Any]]: ...


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


def storage_for(examples: int, shape: tuple[int, ...]) -> Storage:
    """Return the form for so many images of `shape` where the user has chosen none: above 4 GiB, records."""
    return "records" if examples * math.prod(shape) > MOST_ARRAY_BYTES else "arrays"


def choose_splits(names: Collection[str]) -> tuple[str, str | None, str | None]:
    """Which of a set's splits are the training and the test part, and the rule if it isn't plain.

    Training and test part where the set has both. Without `test`, `validation` is the test part. A set
    with one split has None as test part: a hash divides it. Other sets are an `InputError`.
    """
    if "train" in names and "test" in names:
        return "train", "test", None
    if "train" in names and "validation" in names:
        return "train", "validation", VALIDATION_IS_TEST
    if len(names) == 1:
        (only,) = names
        rule = f"test is a fifth of each class of the one split {only!r}, chosen by a hash of the image"
        return only, None, rule
    raise InputError(f"no training and test part: the set has the splits {', '.join(sorted(names))}")


class DecodedImages:
    """The images of a split, decoded when they are asked for; see `examples.Images`.

    Grey images of a set with 3 `channels` become RGB. Without `image_size` all images must have one shape,
    else reading the first other one is an `InputError`; with it, (height, width), each goes through `fit`.
    `shape` is (n, height, width, channels). A split without images is refused.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, source: ExampleSource, channels: int, image_size: tuple[int, int] | None = None):
        if not len(source):
            raise InputError("a split without images")
        self._source, self._channels, self._size = source, channels, image_size
        self.shape = (len(source), *self._decoded([0])[0].shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: slice | np.ndarray, /) -> np.ndarray:
        numbers = range(*chosen.indices(len(self))) if isinstance(chosen, slice) else chosen.tolist()
        images = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for start in range(0, len(numbers), BLOCK):
            part = numbers[start : start + BLOCK]
            for place, image in enumerate(self._decoded(part), start):
                if image.shape != self.shape[1:]:
                    here, first = ("x".join(map(str, shape)) for shape in (image.shape, self.shape[1:]))
                    raise InputError(
                        f"images of several shapes ({first} the first, {here} number {numbers[place] + 1}): "
                        "prepare it with --image-size HxW"
                    )
                images[place] = image
        return images

    def _decoded(self, numbers: Sequence[int]) -> list[np.ndarray]:
        try:
            found = self._source.__getitems__(numbers)
        except Exception as error:  # TFDS, its readers and its decoders raise anything
            reason = textwrap.shorten(f"{type(error).__name__}: {error}", 500)
            raise InputError(
                f"of images {numbers[0] + 1} to {numbers[-1] + 1} not all can be read: {reason}"
            ) from error
        images = [_with_channels(example["image"], self._channels) for example in found]
        return [fit(image, self._size) for image in images] if self._size else images


def decoded_labels(builder: Any, split: str) -> np.ndarray:
    """Return the labels of a split, int32 (n,), without decoding its images."""
    source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), BLOCK):
        found = source.__getitems__(range(start, min(start + BLOCK, len(source))))
        labels[start : start + len(found)] = [example["label"] for example in found]
    return labels


def prepare_builder(
    name: str,
    builder: Any,
    source: Path | None,
    image_size: tuple[int, int] | None,
    storage: Storage | None = None,
) -> tuple[DatasetInfo, Examples]:
    """Let a TFDS builder download and prepare its set, unless it has, and open it as `read_builder` does.

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
    return read_builder(name, builder, image_size, storage)


def read_builder(
    name: str, builder: Any, image_size: tuple[int, int] | None, storage: Storage | None = None
) -> tuple[DatasetInfo, Examples]:
    """Open the splits of a prepared TFDS builder (`builder.info`, `builder.as_data_source`).

    Images are decoded when they are asked for. They are to be stored as `storage`, and by `storage_for`
    without it. `InputError` for a set that `image_and_label`, `choose_splits` or `DecodedImages` refuses.
    """
    image, label = image_and_label(builder.info.features)
    channels = image.shape[2] or 3  # a set of both grey and RGB images is read as RGB
    names = set(builder.info.splits)
    train, test, rule = choose_splits(names)
    labels = decoded_labels(builder, train)
    test_labels = labels[:0] if test is None else decoded_labels(builder, test)
    if "validation" in names and len(test_labels) and (test_labels == SECRET).all():
        test, rule = "validation", VALIDATION_IS_TEST
        test_labels = decoded_labels(builder, test)

    def opened(split: str) -> DecodedImages:
        return DecodedImages(builder.as_data_source(split=split), channels, image_size)

    images = opened(train)
    shape = images.shape[1:]
    kept = storage or storage_for(len(labels) + len(test_labels), shape)

    def at_hand(images: DecodedImages) -> Images:
        return images[:] if kept == "arrays" else images  # records are decoded as they are written

    if test is None:
        whole = at_hand(images)
        held_out = hashed_part(content_hashes(whole, labels, TEST_SALT), labels, fraction=TEST_FRACTION)
        parts = [(Subset(whole, mask.nonzero()[0]), labels[mask]) for mask in (~held_out, held_out)]
        examples = Examples(*parts[0], *parts[1])
    else:
        tests = opened(test)
        if tests.shape[1:] != shape:
            raise InputError(
                "images of the training and the test part differ in shape: prepare it with --image-size HxW"
            )
        examples = Examples(at_hand(images), labels, at_hand(tests), test_labels)
    resized = f"; resized to cover {image_size[0]}x{image_size[1]}, centre crop" if image_size else ""
    info = DatasetInfo(
        name=name,
        image_shape=shape,
        num_classes=len(label.names),
        class_names=tuple(label.names),
        train_examples=len(examples.train_labels),
        test_examples=len(examples.test_labels),
        fingerprint=None,
        source=f"TensorFlow Datasets {builder.info.full_name}{resized}",
        rule=rule,
        storage=kept,
    )
    return info, examples


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if image.shape[-1] == channels:
        return image
    if image.shape[-1] == 1:
        return np.repeat(image, channels, axis=-1)
    return image[..., :channels]  # RGB without its alpha
