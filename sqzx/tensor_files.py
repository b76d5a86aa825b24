"""Files of tensors from anywhere: their names and shapes first, their values when asked.

A format is told by a file's content: the authors' compressed network (`sqzx.authors_file`), safetensors, or
NumPy's .npz. Never a pickle. Nothing is believed before it is compared with the size of the file, so that
none can ask for memory.
"""

import io
import math
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from sqzx import authors_file, layouts
from sqzx.counting import Shape
from sqzx.errors import InputError
from sqzx.files import DAMAGED_ARCHIVE
from sqzx.layouts import Layout

AUTHORS = "the authors' compressed network"

LARGEST_HEADER = 2**22
"""Bytes of names, shapes and metadata of a safetensors file; those of AlexNet with 1000 named classes are 20
thousand."""

LARGEST_NPY_HEADER = 10_000
"""Bytes, as NumPy has it."""

LARGEST_RATIO = 64
"""A pruned network with shared weights is packed to a tenth; what is packed to less than this is a trap."""

_AS_SAFETENSORS = "save its state dict with safetensors.torch.save_file"


class TensorFile(NamedTuple):
    """A file's tensors: their shapes by plain name (`layouts.plain_name`), and how to read one of them.

    `told` says in words what it is, `metadata` what a safetensors file says of itself.
    """

    path: Path
    told: str
    layout: Layout
    shapes: Mapping[str, Shape]
    load: Callable[[str], np.ndarray]
    metadata: Mapping[str, str] = {}


def open_tensors(path: Path) -> TensorFile:
    """Open a file of any format that is read; another is an `InputError`."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'no file' if path.exists() else 'no such file'}")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(authors_file.COUNTS_BYTES)
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror})") from None
    if head.startswith(b"PK\x03\x04"):
        return _npz(path)
    authors = authors_file.looks_like(head, size)
    if (head[8:9] == b"{" and not authors) or path.suffix == ".safetensors":
        shapes, metadata = open_safetensors(path)
        named = _named(path, "safetensors", shapes, lambda name: load_safetensors(path, [name])[name])
        return named._replace(metadata=metadata)
    if not authors and head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        raise InputError(f"{path}: a pickle, which can run any program; {_AS_SAFETENSORS}")
    if size == authors_file.PUBLISHED_BYTES or authors or path.suffix == ".net":
        return _authors(path)
    raise InputError(
        f"{path}: no format that is read: the authors' compressed network, safetensors, or .npz "
        "(of a .caffemodel save the blobs as .npz, named as its layers)"
    )


def open_safetensors(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return the shapes by name and the metadata of a safetensors file, without reading a tensor."""
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        # Asked before the library does: a header of 100 MB is many times that in memory.
        if header > min(LARGEST_HEADER, path.stat().st_size):
            raise InputError(f"{path}: its header would have {header:,} bytes; damaged, or no safetensors")
        with safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return shapes, file.metadata() or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not readable as safetensors ({error})") from None


def load_safetensors(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Return some tensors of a safetensors file."""
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, TypeError, AttributeError) as error:  # types that NumPy hasn't
        raise InputError(f"{path}: not readable as safetensors ({error})") from None


def _authors(path: Path) -> TensorFile:
    with path.open("rb") as file:
        data = file.read(authors_file.LARGEST_BYTES + 1)
    named = {}
    for name, layer in authors_file.decode(data, str(path)).items():
        caffe = layouts.caffe_name(name)
        named[f"{caffe}.weight"], named[f"{caffe}.bias"] = layer.kernel, layer.bias
    shapes = {name: array.shape for name, array in named.items()}
    return TensorFile(path, AUTHORS, "caffe", shapes, named.__getitem__)


def _npz(path: Path) -> TensorFile:
    """Read the names and shapes of a .npz, from the headers of its members alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(member.filename.endswith(".pkl") for member in members):
                raise InputError(f"{path}: a PyTorch file, which is a pickle; {_AS_SAFETENSORS}")
            shapes = {}
            unpacked = sum(member.file_size for member in members)
            if unpacked > LARGEST_RATIO * path.stat().st_size:
                raise InputError(f"{path}: would unpack to {unpacked:,} bytes, more than weights do")
            for member in members:
                if not member.filename.isprintable():
                    raise InputError(f"{path}: {member.filename!a} is no name of an array")
                if member.filename.removesuffix(".npy") in shapes:
                    raise InputError(f"{path}: has {member.filename} twice")
                if not member.filename.endswith(".npy"):
                    raise InputError(f"{path}: {member.filename} is no array; not a .npz of NumPy")
                with archive.open(member) as file:
                    shape = npy_header(file, member.file_size, f"{path}: {member.filename}")[0]
                shapes[member.filename.removesuffix(".npy")] = shape

        def load(name: str) -> np.ndarray:
            try:
                with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
                    return np.lib.format.read_array(file, allow_pickle=False)
            except DAMAGED_ARCHIVE as error:
                raise InputError(f"{path}: {name}: damaged ({error})") from None

    except DAMAGED_ARCHIVE as error:
        raise InputError(f"{path}: not readable as .npz ({error})") from None
    return _named(path, ".npz", shapes, load)


def npy_header(file: Any, size: int, where: str) -> tuple[Shape, np.dtype]:
    """Return the shape and type of a .npy of `size` bytes; `InputError` unless the bytes are just those."""
    try:
        start = file.read(8)
        width = {1: 2, 2: 4}.get(start[6] if len(start) == 8 else 0)
        if start[:6] != b"\x93NUMPY" or width is None:
            raise ValueError("no .npy of version 1 or 2")
        length = file.read(width)
        # Asked before NumPy does, which reads first: a few bytes may unpack to gigabytes.
        if int.from_bytes(length, "little") > LARGEST_NPY_HEADER:
            raise ValueError(f"a header of {int.from_bytes(length, 'little'):,} bytes")
        whole = io.BytesIO(length + file.read(int.from_bytes(length, "little")))
        read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            shape, _, dtype = read(whole)
        if dtype.subdtype or any(n < 0 for n in shape):
            raise ValueError(f"{dtype}, {shape}")
    except Exception as error:  # NumPy raises anything: TokenError, IndexError
        raise InputError(f"{where}: not readable as .npy ({' '.join(str(error).split())[:200]})") from None
    if dtype.hasobject:
        raise InputError(f"{where}: holds Python objects, which only a pickle can; save plain numbers")
    needed = math.prod(shape) * dtype.itemsize
    if size - file.tell() != needed:
        raise InputError(f"{where}: has {size - file.tell():,} bytes of numbers, its header needs {needed:,}")
    return shape, dtype


def _named(
    path: Path, kind: str, shapes: Mapping[str, Shape], load: Callable[[str], np.ndarray]
) -> TensorFile:
    """Give tensors their plain names."""
    originals: dict[str, str] = {}
    for name in shapes:
        if not name.isprintable():
            raise InputError(f"{path}: {name!a} {tuple(shapes[name])} has no place")
        plain = layouts.plain_name(name)
        if plain in originals:
            raise InputError(f"{path}: {originals[plain]} and {name} are both {plain}; keep one")
        originals[plain] = name
    layout = layouts.layout_of(list(originals))
    return TensorFile(
        path,
        f"{kind} with {'torchvision' if layout == 'torchvision' else 'Caffe'} names",
        layout,
        {plain: tuple(shapes[name]) for plain, name in originals.items()},
        lambda plain: load(originals[plain]),
    )
