"""How an image becomes a network's input. It travels with the model: weights mean nothing without it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sqzx.data.splits import Splits
from sqzx.errors import InputError
from sqzx.schema import above_zero, ranged

Order = Literal["RGB", "BGR", "grey", "other"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The input is (values / divisor - mean) / std, by channel, of uint8 values in `channel_order`.

    Values come as RGB and are turned around for BGR. `size` is (height, width) of the network's images. An
    image file of another size is scaled to cover `cover`, and its centre is taken. "other" is for channels
    that no image file has.
    """

    channel_order: Order
    divisor: float = above_zero(255.0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = above_zero(())
    size: tuple[int, ...] = ranged((), low=1)
    cover: tuple[int, ...] = ranged((), low=1)

    def __post_init__(self) -> None:
        """Refuse what no image could go through."""
        channels = {"RGB": 3, "BGR": 3, "grey": 1}.get(self.channel_order, len(self.mean))
        if not (len(self.mean) == len(self.std) == channels > 0):
            raise InputError(
                f"preprocessing: {self.channel_order} needs a mean and a std a channel, "
                f"found {len(self.mean)} and {len(self.std)}"
            )
        if not len(self.size) == len(self.cover) == 2 or any(
            outer < inner for outer, inner in zip(self.cover, self.size, strict=True)
        ):
            raise InputError(
                f"preprocessing: size and cover need a height and a width, and cover at least size; "
                f"found {list(self.size)} and {list(self.cover)}"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the network's input."""
        height, width = self.size
        return height, width, len(self.mean)

    def normalise(self, images: Any) -> Any:
        """Return the float32 input for uint8 images (n, height, width, channels), of NumPy or of JAX."""
        mean, std = (np.asarray(x, np.float32).reshape(1, 1, 1, -1) for x in (self.mean, self.std))
        ordered = images[..., ::-1] if self.channel_order == "BGR" else images
        return (ordered.astype(np.float32) / self.divisor - mean) / std

    def told(self) -> str:
        """Return it in one line."""
        numbers = [", ".join(f"{x:g}" for x in values) for values in (self.mean, self.std)]
        height, width = self.size
        order = self.channel_order if self.channel_order != "other" else f"{len(self.mean)} channels"
        scaled = (
            "" if self.cover == self.size else f", others scaled to cover {'x'.join(map(str, self.cover))}"
        )
        return (
            f"{height}x{width} {order}, values 0 to 255 divided by {self.divisor:g}, "
            f"minus ({numbers[0]}), divided by ({numbers[1]}){scaled}"
        )


def read_for(preprocessing: Preprocessing, path: Path) -> np.ndarray:
    """Read an image file as one image of the network's size: uint8 (height, width, channels).

    `InputError` for what is no image, and for one that would have to be enlarged more than eight times.
    """
    from sqzx.images import fit, read_image

    height, width, channels = preprocessing.image_shape
    if channels not in (1, 3):
        raise InputError(f"{path}: this network takes {channels} channels, which no image file has")
    image = read_image(path, channels)
    if 8 * image.shape[0] < height or 8 * image.shape[1] < width:
        raise InputError(
            f"{path}: {image.shape[0]}x{image.shape[1]} pixels; the network's {height}x{width} "
            "are more than eight times as many a side"
        )
    cover_height, cover_width = preprocessing.cover
    return fit(image, (height, width), (cover_height, cover_width))


def caffe(size: tuple[int, int]) -> Preprocessing:
    """Return that of the authors' Caffe files: BGR values of 0 to 255 minus ImageNet's mean pixel."""
    return Preprocessing(
        channel_order="BGR",
        divisor=1.0,
        mean=(104.0, 117.0, 123.0),
        std=(1.0, 1.0, 1.0),
        size=size,
        cover=size,
    )


def torchvision(size: tuple[int, int]) -> Preprocessing:
    """Return that of torchvision's weights: RGB of 0 to 1, standardised, the centre of a larger image.

    Its transform scales the short side to 256 for 224 pixels; other sizes are in proportion.
    """
    height, width = (round(n * 256 / 224) for n in size)
    return Preprocessing(
        channel_order="RGB",
        divisor=255.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        size=size,
        cover=(height, width),
    )


def unit(image_shape: tuple[int, ...]) -> Preprocessing:
    """Return the plain one, values of 0 to 1, for images of any channels."""
    channels = image_shape[2]
    order: dict[int, Order] = {1: "grey", 3: "RGB"}
    return Preprocessing(
        channel_order=order.get(channels, "other"),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        size=image_shape[:2],
        cover=image_shape[:2],
    )


def of_training_images(splits: Splits) -> Preprocessing:
    """Return that of a data set: its own mean and spread, from its training images."""
    mean, std = (tuple(map(float, values)) for values in (splits.mean, splits.std))
    return replace(unit(splits.train.images.shape[1:]), mean=mean, std=std)
