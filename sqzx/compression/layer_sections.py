"""A layer of a network as the bytes of a section: its kernel, shared or plain, and its bias.

    number       length of the name
    ...          the name, as in "fire2.squeeze"
    number       D, axes of the kernel
    number x D   its shape, as this project has it: (height, width, in, out) or (in, out)
    u8           1 if its weights share values, 0 if they are plain
    u8           W: 0 is dense; 2 to 8 is sparse, with gaps of W bits
    u8           type of the values: 0 is float32, 1 float16
    u8           0 if there is no bias, 1 if it is float32, 2 float16
    number       E, the entries: each weight where it is dense, else nonzeros and fillers
  if shared
    number       K, values of the codebook, 1 to 256
    table of K-1 the codebook but for its first value, which is 0.0
    stream       the E codes, below K (`sqzx.compression.coded_streams`)
  if plain
    table of E   the values
  if sparse
    stream       the E gaps, below 2^W (`sqzx.compression.relative_indices`)
  if there is a bias
    table of out the bias

Numbers are those of `sqzx.compression.byte_reader`. Weights come in the order of the axes (in, out, height,
width), the last running fastest: the spatial axes of a filter are what its zeros have in common. An entry is
a filler if its code is 0, or its value +0.0. A table of float16 begins with its exponent, an i8
(`sqzx.compression.half_tables`). Values are finite and little-endian. A section ends with its last part.
"""

import math
import struct
from typing import NamedTuple

import numpy as np

from sqzx.compression import coded_streams, half_tables, relative_indices
from sqzx.compression.byte_reader import ByteReader, number
from sqzx.compression.coded_streams import Code, Coder
from sqzx.compression.sqz_errors import LayerError, LengthError, SqzError, ValueRangeError
from sqzx.compression.weight_sharing import SharedWeights

_TYPES = ("<f4", "<f2")


class Layer(NamedTuple):
    """What a section holds. `kernel` and `bias` are float32; `shared` gives the kernel where it is there."""

    kernel: np.ndarray
    bias: np.ndarray | None
    shared: SharedWeights | None


class Measured(NamedTuple):
    """How a layer was stored. A stream's bits are those of its coded symbols, without tables."""

    entries: int
    fillers: int
    width: int
    """Bits of a gap; 0 where the layer is dense."""
    value_bits: int
    """Bits of an entry's code or value before coding."""
    coded_value_bits: int
    """Bits of all codes or values."""
    coded_gap_bits: int
    """Bits of all gaps."""


def write_layer(name: str, layer: Layer, coder: Coder) -> bytes:
    """Return the section of a layer; every value is read back to the bit.

    Dense or sparse, the width of the gaps and the types of the values are whatever makes it smallest.
    """
    spelled, shape = name.encode(), layer.kernel.shape
    head = [number(len(spelled)), spelled, *map(number, (len(shape), *shape))]
    bias = b""
    bias_type = 0
    if layer.bias is not None:
        bias_type, bias = _packed(layer.bias)
        bias_type += 1
    body = _shared(layer.shared, coder) if layer.shared else _plain(_scanned(layer.kernel), coder)
    fields = bytes([layer.shared is not None, body.width, body.value_type, bias_type])
    return b"".join([*head, fields, number(body.entries), body.data, bias])


def read_layer(
    data: bytes, name: str, shape: tuple[int, ...], has_bias: bool, coder: Coder
) -> tuple[Layer, Measured]:
    """Read the section of the layer `name`, whose kernel must have this shape; a `SqzError` names it."""
    try:
        return _read(data, name, shape, has_bias, coder)
    except SqzError as error:
        raise type(error)(f"{name}: {error}") from None


class _Body(NamedTuple):
    """A kernel's part of a section, from the codebook to the gaps."""

    data: bytes
    width: int
    value_type: int
    entries: int


def _shared(shared: SharedWeights, coder: Coder) -> _Body:
    value_type, values = _packed(shared.codebook[1:])
    size = shared.codebook.size
    codes = _scanned(shared.codes)
    positions = np.flatnonzero(codes)
    code = coded_streams.best_code(codes, size, coder)
    best, chosen = code.bytes, (0, codes, code)
    gaps: tuple[np.ndarray, Code] | None = None
    for width in relative_indices.WIDTHS:
        entries = relative_indices.entries_of(positions, width)
        symbols = entries.symbols(codes[positions])
        gap_code = coded_streams.best_code(entries.gaps, 2**width, coder)
        if gap_code.bytes >= best:
            continue
        code = coded_streams.best_code(symbols, size, coder)
        if code.bytes + gap_code.bytes < best:
            best, chosen, gaps = code.bytes + gap_code.bytes, (width, symbols, code), (entries.gaps, gap_code)
    width, symbols, code = chosen
    data = number(size) + values + coded_streams.encode(symbols, size, code, coder)
    if gaps is not None:
        data += coded_streams.encode(gaps[0], 2**width, gaps[1], coder)
    return _Body(data, width, value_type, symbols.size)


def _plain(weights: np.ndarray, coder: Coder) -> _Body:
    value_type, values = _packed(weights)
    best, chosen = len(values), _Body(values, 0, value_type, weights.size)
    positions = np.flatnonzero(weights.view(np.uint32))  # -0.0 is a value, and comes back as it was
    for width in relative_indices.WIDTHS:
        entries = relative_indices.entries_of(positions, width)
        _, values = _packed(entries.symbols(weights[positions]))
        code = coded_streams.best_code(entries.gaps, 2**width, coder)
        if len(values) + code.bytes < best:
            best = len(values) + code.bytes
            gaps = coded_streams.encode(entries.gaps, 2**width, code, coder)
            chosen = _Body(values + gaps, width, value_type, entries.gaps.size)
    return chosen


def _read(
    data: bytes, name: str, shape: tuple[int, ...], has_bias: bool, coder: Coder
) -> tuple[Layer, Measured]:
    reader = ByteReader(data)
    found = reader.take("name", reader.number("name"))
    if found != name.encode():
        raise LayerError(f"name: the network has this layer here, the file {found!r}")
    if (axes := reader.number("shape")) != len(shape):
        raise LayerError(f"shape: the network's kernel has {len(shape)} axes, the file's {axes}")
    found_shape = tuple(reader.number("shape") for _ in shape)
    if found_shape != shape:
        raise LayerError(f"shape: the network's kernel is {shape}, the file's {found_shape}")
    is_shared, width, value_type, bias_type = reader.take("fields", 4)
    entries = reader.number("entries")
    size = math.prod(shape)
    if is_shared > 1 or value_type > 1 or bias_type > 2 or (width and width not in relative_indices.WIDTHS):
        raise LayerError(f"fields: {is_shared}, {width}, {value_type}, {bias_type} have no known meaning")
    if (bias_type > 0) != has_bias:
        raise LayerError(f"bias: the network has {'one' if has_bias else 'none'}, the file differs")
    if entries > size or (not width and entries != size):
        raise LengthError(f"entries: {entries:,} for {size:,} weights")
    codebook = None
    if is_shared:
        codebook = _codebook(reader, value_type)
        symbols, coded = coded_streams.decode(reader, codebook.size, entries, coder)
        value_bits = (codebook.size - 1).bit_length()
        is_filler = symbols == 0
    else:
        symbols = _table(reader, "values", value_type, entries)
        value_bits = 8 * np.dtype(_TYPES[value_type]).itemsize
        coded = value_bits * entries
        is_filler = symbols.view(np.uint32) == 0
    flat, gap_bits, fillers = symbols, 0, 0
    if width:
        gaps, gap_bits = coded_streams.decode(reader, 2**width, entries, coder)
        positions = relative_indices.positions_of(gaps, is_filler, width, size)
        flat = np.zeros(size, symbols.dtype)
        flat[positions] = symbols[~is_filler]
        fillers = int(is_filler.sum())
    bias = _table(reader, "bias", bias_type - 1, shape[-1]) if bias_type else None
    reader.check_end()
    stored = _unscanned(flat, shape)
    shared = None if codebook is None else SharedWeights(codebook, stored)
    kernel = stored if shared is None else shared.kernel()
    return Layer(kernel, bias, shared), Measured(entries, fillers, width, value_bits, coded, gap_bits)


def _codebook(reader: ByteReader, value_type: int) -> np.ndarray:
    size = reader.number("codebook")
    if not 1 <= size <= 256:
        raise LengthError(f"codebook: needs 1 to 256 values, found {size}")
    return np.append(np.float32(0), _table(reader, "codebook", value_type, size - 1))


def _table(reader: ByteReader, part: str, value_type: int, count: int) -> np.ndarray:
    exponent = reader.unpack(part, "<b")[0] if value_type == 1 else 0
    dtype = np.dtype(_TYPES[value_type])
    raw = np.frombuffer(reader.take(part, count * dtype.itemsize), dtype)
    found = half_tables.from_half(exponent, raw) if value_type == 1 else raw.astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueRangeError(f"{part}: holds NaN or infinity")
    return found


def _packed(values: np.ndarray) -> tuple[int, bytes]:
    """Return the number of a table's type, float16 where that holds it to the bit, and the table."""
    if not half_tables.holds(values):
        return 0, values.astype("<f4").tobytes()
    exponent, halves = half_tables.in_half(values)
    return 1, struct.pack("<b", exponent) + halves.astype("<f2").tobytes()


def _scanned(kernel: np.ndarray) -> np.ndarray:
    """Return the weights in the file's order: the last two axes, in and out, come first."""
    return np.ascontiguousarray(np.moveaxis(kernel, (-2, -1), (0, 1))).reshape(-1)


def _unscanned(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    turned = flat.reshape(*shape[-2:], *shape[:-2])
    return np.ascontiguousarray(np.moveaxis(turned, (0, 1), (-2, -1)))
