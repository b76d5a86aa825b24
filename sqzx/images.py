"""Image files as arrays for a network: one rule for colour, depth, transparency, orientation and size."""

import os
import re
import stat
import textwrap
import warnings
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from sqzx.errors import InputError

MAX_PIXELS = 2**28 // 3
"""89 million, where Pillow begins to warn: 256 MiB of RGB."""

MAX_BYTES = 2**27
"""A damaged part of a PNG is held in memory, for a moment twice."""

MAX_WEBP_BYTES = 2**25
"""The decoder holds the whole file, and of a damaged one a list of parts that is longer still."""

_FEWER = f"at most {MAX_PIXELS} are read: make it smaller"
_SIGNATURES = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "BMP": rb"BM",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF(?s:.{4})WEBP",
}
_TURNS = {  # how the picture of an EXIF orientation is set upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY_STEPS = {"L;2": 85, "L;4": 17}  # by Pillow's name of the depth in the file
_EIGHT_BITS = ((np.arange(2**16) + 128) // 257).astype(np.uint8)  # round(v / 257)


def read_image(path: Path, channels: Literal[1, 3]) -> np.ndarray:
    """Read a PNG, JPEG, BMP, GIF or WebP file, told by its content: uint8 (height, width, channels).

    One rule for all: the picture is upright (EXIF orientation) and lies on white where it is transparent;
    of an animation it is the first frame. With 3 channels it is RGB: grey three times, palettes and CMYK
    converted, colour profiles ignored. With 1 channel colour becomes grey by ITU-R 601 (299 R + 587 G +
    114 B) / 1000. A 16-bit grey v becomes round(v / 257); of 16-bit colour the high byte is kept.

    An `InputError`, one line that begins with the path, for what is no such file, is damaged, has a side
    below 2 pixels, or has more than `MAX_PIXELS` (judged by the header, before decoding), `MAX_BYTES` or
    `MAX_WEBP_BYTES`.
    """
    with _opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, on odd metadata and on sizes that are checked here
        kind = _kind(file.read(16))
        if kind is None:
            *kinds, last = _SIGNATURES
            raise InputError(f"{path}: not an image of a format that is read ({', '.join(kinds)} or {last})")
        length, most = os.fstat(file.fileno()).st_size, MAX_WEBP_BYTES if kind == "WebP" else MAX_BYTES
        if length > most:
            raise InputError(f"{path}: {length} bytes of {kind}; at most {most} are read: make it smaller")
        try:
            with Image.open(file, formats=[kind]) as image:
                _check_sides(path, *image.size)
                return _pixels(image, channels)
        except InputError:
            raise
        except Image.DecompressionBombError as error:  # of twice as many pixels, before the size is known
            raise InputError(f"{path}: more than {2 * MAX_PIXELS} pixels; {_FEWER}") from error
        except UnidentifiedImageError as error:  # its text is an address in memory
            raise InputError(f"{path}: truncated or damaged {kind} (its header isn't readable)") from error
        except Exception as error:  # the decoders raise anything
            reason = textwrap.shorten(str(error) or type(error).__name__, 200)
            raise InputError(f"{path}: truncated or damaged {kind} ({reason})") from error


def fit(image: np.ndarray, size: tuple[int, int], cover: tuple[int, int] | None = None) -> np.ndarray:
    """Scale uint8 (H, W, C) so that it just covers `cover`, and cut `size` out of its centre.

    Both are (height, width); `cover` is `size` unless given, and never smaller. An image that has the size
    is returned as it is. Bilinear with antialiasing; sides and offsets are those of torchvision's `Resize`
    of the short side (the long one is truncated) and `CenterCrop` (a half is rounded to even).
    """
    height, width = size
    cover_height, cover_width = cover or size
    if cover_height < height or cover_width < width:
        raise ValueError(f"an image that covers {cover_height}x{cover_width} has no {height}x{width} inside")
    old_height, old_width, channels = image.shape
    if (old_height, old_width) == (height, width):
        return image
    # The side that is shorter in proportion gets the length asked for; the other can't fall below it.
    if cover_height * old_width >= cover_width * old_height:
        rows, columns = cover_height, cover_height * old_width // old_height
    else:
        rows, columns = cover_width * old_height // old_width, cover_width
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    pixels = Image.fromarray(image[..., 0] if channels == 1 else image)
    if rows * columns <= MAX_PIXELS:
        scaled = pixels.resize((columns, rows), Image.Resampling.BILINEAR)
        scaled = scaled.crop((left, top, left + width, top + height))
    else:  # of a very long strip the rest isn't computed; the price is a rounding error in the box
        x, y = old_width / columns, old_height / rows
        box = (left * x, top * y, (left + width) * x, (top + height) * y)
        scaled = pixels.resize((width, height), Image.Resampling.BILINEAR, box)
    return np.array(scaled).reshape(height, width, channels)


def _opened(path: Path) -> BinaryIO:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: a folder, not an image file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a regular file")
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InputError(f"{path}: can't be opened ({reason})") from error


def _kind(start: bytes) -> str | None:
    return next((kind for kind, signature in _SIGNATURES.items() if re.match(signature, start)), None)


def _check_sides(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: an image {width} wide and {height} high: too many pixels; {_FEWER}")
    if min(width, height) < 2:
        raise InputError(f"{path}: an image {width} wide and {height} high; each side needs 2 pixels")


def _pixels(image: ImageFile.ImageFile, channels: Literal[1, 3]) -> np.ndarray:
    flat = _flattened(image)
    turn = _turn(image)
    if turn is not None:
        flat = flat.transpose(turn)
    array = np.array(_in_mode(flat, "L" if channels == 1 else "RGB"))
    return array.reshape(*array.shape[:2], channels)


def _flattened(image: ImageFile.ImageFile) -> Image.Image:
    # 8 bits, grey (L) or RGB, over white.
    depth = image.tile[0].args if image.tile else None
    image.load()
    key = image.info.get("transparency")
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        deep = np.asarray(image).astype(np.uint16)
        grey = _EIGHT_BITS[deep]
        if key is not None:
            grey[deep == key] = 255
        return Image.fromarray(grey)
    # Pillow scales pixels to 8 bits, but not always the value that stands for a transparent one.
    if isinstance(key, int) and depth in _GREY_STEPS:
        image.info["transparency"] = key * _GREY_STEPS[depth]
    elif isinstance(key, tuple) and depth == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)

    opaque, transparent = ("L", "LA") if image.mode in ("1", "L", "LA") else ("RGB", "RGBA")
    if not image.has_transparency_data:
        return _in_mode(image, opaque)
    layer = _in_mode(image, transparent)
    white = Image.new(opaque, image.size, "white")
    white.paste(layer.convert(opaque), mask=layer.getchannel("A"))
    return white


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # else even the same mode is a copy


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block raises anything, and turns nothing
        return None
