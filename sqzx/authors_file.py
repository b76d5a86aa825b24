"""The compressed SqueezeNet that the paper's authors published, `compressed_SqueezeNet.net`.

It is SqueezeNet v1.0 for 1000 classes, pruned and with 8-bit shared weights; Huffman coding is not applied.
All numbers are little-endian, and nothing is aligned. There is no magic, version, length or checksum, so
that a reader must know the network: the 26 convolutions of `SHAPES`, in that order.

    offset   type      count          meaning
    0        uint32    26             E, the number of entries of each layer

and then for each layer, at offsets from its beginning (F is the number of its filters):

    0        float32   256            codebook: the values that its weights share; value 0 is 0.0
    1024     float32   F              biases
    + 4 F    uint8     E              codes: for each entry the number of its value in the codebook
    + E      uint8     ceil(E / 2)    skips: for each entry 4 bits, the zeros between it and the entry before;
                                      the low half of a byte comes first

The entries are the weights that are not zero, in the order of the kernel as filters x channels x height x
width, the last running fastest. The first entry skips from the beginning of the kernel; what no entry
reaches is zero. A skip holds at most 15. To cross more zeros, a filler is put between: an entry with code 0
and a skip of 15, which is 16 zeros.

A file is valid if

- each E is at least 1 and at most the weights of its layer;
- all values and biases are finite, and value 0 of each codebook is 0.0;
- each entry with code 0 skips 15;
- the last entry of each layer lies inside the kernel;
- the half byte that an odd E leaves over is 0;
- it ends with the skips of the last layer.

These checks cannot see a bit that changed within a code or a value. The published file, 675,763 bytes, is
therefore known by its SHA-256, too: a valid file of just this length with another digest is refused as a
damaged copy. A file of any other length is another network in the same format, and is taken on these checks
alone.

The authors' own reader (decode.py in songhan/SqueezeNet-Deep-Compression) checks nothing. It also knows
16 values and 4-bit codes, for layers without "conv" in their names; this network has none.
"""

import hashlib
import math
from typing import NamedTuple

import numpy as np

from sqzx.errors import InputError

PUBLISHED_BYTES = 675_763
PUBLISHED_SHA256 = "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261"

VALUES = 256
FILLER_SKIP = 15

_FIRES = {  # filters of the squeeze layer and of each of the two expand layers, from the paper's Table 1
    "fire2": (16, 64),
    "fire3": (16, 64),
    "fire4": (32, 128),
    "fire5": (32, 128),
    "fire6": (48, 192),
    "fire7": (48, 192),
    "fire8": (64, 256),
    "fire9": (64, 256),
}


def _shapes() -> dict[str, tuple[int, int, int, int]]:
    shapes = {"conv1": (96, 3, 7, 7)}
    channels = 96
    for fire, (squeeze, expand) in _FIRES.items():
        shapes[f"{fire}.squeeze"] = (squeeze, channels, 1, 1)
        shapes[f"{fire}.expand1x1"] = (expand, squeeze, 1, 1)
        shapes[f"{fire}.expand3x3"] = (expand, squeeze, 3, 3)
        channels = 2 * expand
    return shapes | {"conv10": (1000, channels, 1, 1)}


SHAPES = _shapes()
"""Filters, channels, height and width of each kernel, in the order of the file."""

COUNTS_BYTES = 4 * len(SHAPES)
LARGEST_BYTES = COUNTS_BYTES + sum(
    4 * VALUES + 4 * shape[0] + math.prod(shape) + (math.prod(shape) + 1) // 2 for shape in SHAPES.values()
)
"""The size of a file with an entry for each weight. No more than this and one byte need ever be read."""


class DecodedLayer(NamedTuple):
    """A layer as it is used, and what it took to store: `entries` of codes and skips, `fillers` of them."""

    kernel: np.ndarray
    """float32; filters, channels, height, width."""
    bias: np.ndarray
    """float32; filters."""
    entries: int
    fillers: int


def looks_like(head: bytes, size: int) -> bool:
    """Whether a file of `size` bytes that begins with `head` may be of this format, whole or damaged.

    104 bytes of `head` are enough. A format without a magic can only be guessed, from the entry counts: of
    those that `head` holds, at least 8, not more than one in 13 may be impossible (a damaged copy).
    """
    counts = np.frombuffer(head[: min(len(head), COUNTS_BYTES) // 4 * 4], "<u4").tolist()
    weights = (math.prod(shape) for shape in SHAPES.values())
    impossible = sum(not 1 <= count <= most for count, most in zip(counts, weights, strict=False))
    return size <= LARGEST_BYTES and len(counts) >= 8 and 13 * impossible <= len(counts)


def decode(data: bytes, where: str) -> dict[str, DecodedLayer]:
    """Decode a whole file; `where` names it in the `InputError` that one which is not valid raises."""
    try:
        layers = _decoded(data)
        if len(data) == PUBLISHED_BYTES:
            _check_digest(data)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return layers


def _decoded(data: bytes) -> dict[str, DecodedLayer]:
    if len(data) > LARGEST_BYTES:
        raise InputError(f"has more than {LARGEST_BYTES:,} bytes, the most that this format can have")
    reader = _Reader(data)
    counts = dict(zip(SHAPES, reader.take("the entry counts", "<u4", len(SHAPES)).tolist(), strict=True))
    for name, count in counts.items():
        weights = math.prod(SHAPES[name])
        if not 1 <= count <= weights:
            raise InputError(f"{name}: needs 1 to {weights:,} entries, one a weight at most, found {count:,}")
    layers = {name: _layer(reader, name, count) for name, count in counts.items()}
    if reader.offset < len(data):
        surplus = len(data) - reader.offset
        raise InputError(f"ends, by its entry counts, at byte {reader.offset:,}, but has {surplus:,} more")
    return layers


def _layer(reader: "_Reader", name: str, entries: int) -> DecodedLayer:
    shape = SHAPES[name]
    codebook = reader.take(f"{name}: the codebook's values", "<f4", VALUES)
    bias = reader.take(f"{name}: the biases", "<f4", shape[0])
    codes = reader.take(f"{name}: the codes", "u1", entries)
    packed = reader.take(f"{name}: the skips", "u1", (entries + 1) // 2)

    for what, values in (("value {} of the codebook", codebook), ("bias {}", bias)):
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            found = values[wrong[0]]
            raise InputError(f"{name}: {what.format(wrong[0])} is {found}, where a finite number is needed")
    if codebook[0] != 0:
        raise InputError(f"{name}: value 0 of the codebook is {codebook[0]:g}, where 0 is needed")

    skips = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
    if skips[entries:].any():
        raise InputError(f"{name}: the half byte after the last skip is {skips[-1]}, where 0 is needed")
    skips = skips[:entries]
    is_filler = codes == 0
    wrong = np.flatnonzero(is_filler & (skips != FILLER_SKIP))
    if wrong.size:
        found = skips[wrong[0]]
        raise InputError(f"{name}: entry {wrong[0]:,} has code 0 and skips {found}, where a filler skips 15")

    places = np.cumsum(skips + 1, dtype=np.int64) - 1
    kernel = np.zeros(math.prod(shape), np.float32)
    if places[-1] >= kernel.size:
        raise InputError(f"{name}: the entries reach to weight {places[-1] + 1:,} of {kernel.size:,}")
    kernel[places] = codebook[codes]
    return DecodedLayer(kernel.reshape(shape), bias.astype(np.float32), entries, int(is_filler.sum()))


def _check_digest(data: bytes) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != PUBLISHED_SHA256:
        raise InputError(
            f"is a damaged copy of the published file: it has its {PUBLISHED_BYTES:,} bytes, "
            f"but the SHA-256 {found} and not {PUBLISHED_SHA256}; get it again"
        )


class _Reader:
    """Takes one part of a file after the other, and nothing that is not there."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    def take(self, part: str, dtype: str, count: int) -> np.ndarray:
        end = self.offset + count * np.dtype(dtype).itemsize
        if end > len(self.data):
            raise InputError(
                f"{part} end at byte {end:,}, the file at {len(self.data):,}; it is cut short or damaged"
            )
        values = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset = end
        return values
