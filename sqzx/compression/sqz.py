"""The `.sqz` file, version 1: a compressed network, whole, in as few bytes as its weights need.

All numbers are little-endian. The file begins with a header,

    offset       type       meaning
    0            8 bytes    magic: 89 53 51 5A 0D 0A 1A 0A ("\\x89SQZ\\r\\n\\x1a\\n")
    8            u16        version, 1
    10           u16        required flags: bit 0 is set where symbols are range coded, else they are Huffman
                            coded; a reader must refuse a file with any other bit
    12           u32        N, the number of sections, at least 1
    16           u64        size of the whole file in bytes
    24           u32 x N    the length of each section, without its checksum
    24 + 4 N     u32        CRC-32 of all before

then come the sections, each followed by

    u32          CRC-32 of its number (u32, from 0) and its bytes

and at the end

    32 bytes     SHA-256 of all before

Section 0 is JSON in UTF-8 (no NaN, no key but these):

    model, preprocessing, class_names, source, data
                 what `sqzx.model` says of a network, key by key
    ranks        the rank of each layer that is two, "first" and "second" (`sqzx.compression.svd`), by name
    densities    by layer, the density in (0, 1] that pruning was asked for; layers without it are left out
    history      what was done, in order: tables with at least "stage"

Each other section is a layer of that network (`sqzx.compression.layer_sections`), in running order: the
network's shapes are known from section 0, and a layer of another name or shape is refused before its weights
take memory. The file has no time stamp and no other free choice: equal networks are equal files.

A writer must not, and a reader must refuse to,

- leave a gap between parts, or go on after the last;
- have more than 2^29 bytes;
- use a network of more than 2^26 parameters, or of more than 2^23 and 64 for each byte of the file;
- use metadata of more than 2^22 bytes;
- use a code that is not complete or has words that nothing uses, padding bits other than 0, a relative index
  that leaves its kernel, or a value that is not finite.

Reading takes the memory of the file, about 6 bytes for each weight of the network, and a few MB. What is
wrong with a file is told by an error of `sqzx.compression.sqz_errors`, each an `InputError` that names the
check.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sqzx.compression import layer_sections
from sqzx.compression.coded_streams import Coder
from sqzx.compression.compressed import Compressed, LayerShape, Stage, layer_shapes, named_layers, tree_of
from sqzx.compression.layer_sections import Layer, Measured
from sqzx.compression.sqz_errors import (
    LayerError,
    LengthError,
    MetadataError,
    SqzError,
    ValueRangeError,
)
from sqzx.compression.sqz_frame import CRC, HEAD, MAGIC, check_head, framed, unframed
from sqzx.errors import InputError
from sqzx.files import write_whole
from sqzx.model import description, read_description

LARGEST_METADATA = 2**22
MOST_PARAMETERS = 2**26
MOST_PARAMETERS_OF_A_SMALL_FILE = 2**23
MOST_PARAMETERS_A_BYTE = 64
"""Zeros cost nothing, so a file could ask for any memory. Compressed networks have 2 to 30 weights a byte."""


class Opened(NamedTuple):
    """A file as it was read: what it holds, how each layer was stored, and where its bytes are.

    `section_bytes` has each section with its checksum, the metadata first; `frame_bytes` is all else.
    """

    compressed: Compressed
    coder: Coder
    measured: Mapping[str, Measured]
    section_bytes: tuple[int, ...]
    frame_bytes: int


def is_sqz(path: Path) -> bool:
    """Whether a file says that it is a `.sqz`, whole or damaged, by its magic or its name."""
    if path.suffix == ".sqz":
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def encode(compressed: Compressed, *, coder: Coder = "huffman") -> bytes:
    """Return a network as the bytes of a file. `decode` gives back all of it, to the bit.

    Raises `ValueError` where the network is not what its own description, densities and shared weights say,
    and `ValueRangeError` for a parameter that is not finite.
    """
    layers = _layers(compressed)
    sections = [_told(compressed)]
    for name, layer in layers.items():
        sections.append(layer_sections.write_layer(name, layer, coder))
    return framed(sections, coder)


def decode(data: bytes, where: str) -> Compressed:
    """Read the bytes of a file; `where` names it in the `SqzError` that one which is not valid raises."""
    return open_sqz(data, where).compressed


def open_sqz(data: bytes, where: str) -> Opened:
    """Read the bytes of a file, and tell how they are spent."""
    try:
        return _opened(data)
    except SqzError as error:
        raise type(error)(f"{where}: {error}") from None


def write_sqz(
    path: Path, compressed: Compressed, *, coder: Coder = "huffman", halves: Path | None = None
) -> int:
    """Write a network as a file, whole or not at all, read it back, and return its size in bytes.

    The file is decoded and compared with the network before it takes its name.
    """
    data = encode(compressed, coder=coder)
    if not _same(decode(data, str(path)), compressed):
        raise RuntimeError(f"{path}: what is read back is not what was written; nothing is kept")
    write_whole(path, lambda file: file.write(data), halves=halves)
    if path.read_bytes() != data:
        raise OSError(f"{path}: the disk does not give back what was written")
    return len(data)


def read_sqz(path: Path) -> Compressed:
    """Read a file; anything but a valid one is an `InputError`."""
    return decode(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file whose header fits its size; others are not read."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            head = file.read(HEAD.size)
            check_head(head, size)
            return head + file.read(size)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror})") from None
    except SqzError as error:
        raise type(error)(f"{path}: {error}") from None


def _same(a: Compressed, b: Compressed) -> bool:
    """Whether two networks are equal, each of their values to the bit."""

    def arrays(compressed: Compressed) -> dict[tuple[str, str], bytes]:
        parts = {name: dict(inside) for name, inside in named_layers(compressed.model.parameters).items()}
        for name, shared in compressed.shared.items():
            parts[name] |= shared._asdict()
        return {(n, part): array.tobytes() for n, inside in parts.items() for part, array in inside.items()}

    return _told(a) == _told(b) and arrays(a) == arrays(b)


def _told(compressed: Compressed) -> bytes:
    """Return everything of a network but its weights, as section 0 has it."""
    told = description(compressed.model) | {
        "ranks": dict(sorted(compressed.model.ranks.items())),
        "densities": dict(sorted(compressed.densities.items())),
        "history": [dict(stage) for stage in compressed.history],
    }
    return json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _layers(compressed: Compressed) -> dict[str, Layer]:
    """Return the layers in running order, after checking that they are those of the network."""
    shapes = layer_shapes(compressed.model)
    arrays = named_layers(compressed.model.parameters)
    if arrays.keys() != shapes.keys() or not compressed.shared.keys() <= shapes.keys():
        raise ValueError(f"the network has the layers {list(shapes)}, not {list(arrays)}")
    if not _are_densities(compressed.densities, shapes) or not all(map(_is_stage, compressed.history)):
        raise ValueError("densities are numbers in (0, 1] by layer, the history tables with a stage each")
    return {
        name: _checked(name, arrays[name], compressed.shared.get(name), shape)
        for name, shape in shapes.items()
    }


def _checked(name: str, arrays: Mapping[str, np.ndarray], shared: Any, shape: LayerShape) -> Layer:
    kernel, bias = np.asarray(arrays["kernel"], np.float32), arrays.get("bias")
    if (kernel.shape, bias is not None) != shape or (bias is not None and bias.shape != shape.kernel[-1:]):
        raise ValueError(f"{name}: the network has {shape}, not a kernel of {kernel.shape}")
    if shared is not None:
        if shared.codebook[:1].tobytes() != bytes(4) or shared.codes.max(initial=0) >= shared.codebook.size:
            raise ValueError(f"{name}: a codebook begins with 0.0 and has a value for each code")
        if shared.kernel().tobytes() != kernel.tobytes():
            raise ValueError(f"{name}: the kernel is not that of the shared weights")
    for part, values in (("kernel", kernel), ("bias", bias), ("codebook", shared and shared.codebook)):
        if values is not None and not np.isfinite(values).all():
            raise ValueRangeError(f"{name}: {part}: holds NaN or infinity")
    return Layer(kernel, None if bias is None else np.asarray(bias, np.float32), shared)


def _opened(data: bytes) -> Opened:
    coder, sections = unframed(data)
    told, shapes = _metadata(sections[0], len(data))
    if len(sections) - 1 != len(shapes):
        raise LayerError(f"layers: the network has {len(shapes)}, the file {len(sections) - 1}")
    layers, shared, measured = {}, {}, {}
    for (name, shape), section in zip(shapes.items(), sections[1:], strict=True):
        layer, measured[name] = layer_sections.read_layer(section, name, *shape, coder)
        layers[name] = {"kernel": layer.kernel} | ({} if layer.bias is None else {"bias": layer.bias})
        if layer.shared is not None:
            shared[name] = layer.shared
    model = replace(told.model, parameters=tree_of(layers))
    sizes = tuple(len(section) + CRC.size for section in sections)
    compressed = replace(told, model=model, shared=shared)
    return Opened(compressed, coder, measured, sizes, len(data) - sum(sizes))


def _metadata(section: bytes, size: int) -> tuple[Compressed, dict[str, LayerShape]]:
    """Return what section 0 of a file of `size` bytes tells, and the shapes of its layers."""
    if len(section) > LARGEST_METADATA:
        raise LengthError(f"metadata: {len(section):,} bytes, of at most {LARGEST_METADATA:,}")
    try:
        told = json.loads(section.decode(), parse_constant=_no_constant)
        ranks, densities, history = (told.pop(key) for key in ("ranks", "densities", "history"))
        if not isinstance(ranks, dict) or not all(type(rank) is int for rank in ranks.values()):
            raise ValueError("ranks: needs whole numbers by layer")
        model = replace(read_description(told, "metadata"), ranks=ranks)
        shapes = layer_shapes(model)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MetadataError(f"metadata: not readable ({' '.join(str(error).split())[:200]})") from None
    except InputError as error:
        raise MetadataError(str(error)) from None
    _check_parameters(shapes, size)
    if not _are_densities(densities, shapes):
        raise MetadataError("metadata: densities: needs numbers in (0, 1] by layer")
    if not isinstance(history, list) or not all(map(_is_stage, history)):
        raise MetadataError('metadata: history: needs tables with "stage" and plain values')
    stages: tuple[Stage, ...] = tuple(history)
    return Compressed(model=model, densities=densities, history=stages), shapes


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _are_densities(densities: Any, shapes: Mapping[str, LayerShape]) -> bool:
    return isinstance(densities, Mapping) and all(
        name in shapes and type(density) in (int, float) and 0 < density <= 1
        for name, density in densities.items()
    )


def _is_stage(stage: Any) -> bool:
    plain = isinstance(stage, Mapping) and isinstance(stage.get("stage"), str)
    return plain and all(v is None or isinstance(v, str | int | float) for v in stage.values())


def _check_parameters(shapes: Mapping[str, LayerShape], size: int) -> None:
    parameters = sum(math.prod(s.kernel) + s.has_bias * s.kernel[-1] for s in shapes.values())
    most = max(MOST_PARAMETERS_OF_A_SMALL_FILE, min(MOST_PARAMETERS, MOST_PARAMETERS_A_BYTE * size))
    if parameters > most:
        raise LengthError(
            f"parameters: a network of {parameters:,} in {size:,} bytes, which may have {most:,} at most"
        )
