"""A model in one file: parameters with everything that is needed to use them.

`model.safetensors` holds the tensors in torchvision's layout (`sqzx.layouts`), so that other programs can
read it, and in its metadata, under "sqzx", a JSON text:

    version         1
    model           the network, each of its keys
    preprocessing   how an image becomes its input
    class_names     by number, or empty where nobody knows them
    source          where the parameters came from, in one line
    data            the data set that it was trained on, or null
    sha256          of the parameters

The file depends on its content alone: equal models are equal files.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sqzx import layouts
from sqzx.architectures import ModelConfig
from sqzx.config import check_version, read_tree, resolve_model
from sqzx.errors import InputError
from sqzx.files import write_whole
from sqzx.preprocessing import Preprocessing
from sqzx.schema import from_tree
from sqzx.trial import TrialFolder

VERSION = 1
METADATA = "sqzx"
LARGEST_HEADER = 2**22
"""Bytes of names, shapes and metadata; those of AlexNet with 1000 named classes are 20 thousand."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network with its parameters (`sqzx.network.Parameters`) and what they need to be used."""

    config: ModelConfig
    parameters: dict[str, Any]
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = ()
    source: str
    data: str | None = None

    def class_name(self, number: int) -> str:
        """Return what a class is called."""
        return self.class_names[number] if self.class_names else f"class {number}"


def write_model(path: Path, model: Model) -> None:
    """Write a model as one file, whole or not at all."""
    slots = layouts.slots(model.config, model.preprocessing.image_shape, "torchvision")
    tensors = layouts.tensors(model.parameters, slots)
    told = {
        "version": VERSION,
        "model": asdict(model.config),
        "preprocessing": asdict(model.preprocessing),
        "class_names": model.class_names,
        "source": model.source,
        "data": model.data,
        "sha256": digest(tensors),
    }
    # One entry: the library writes several in any order.
    text = json.dumps(told, ensure_ascii=False, allow_nan=False)
    write_whole(path, lambda file: file.write(save(tensors, {METADATA: text})))


def read_model(path: Path) -> Model:
    """Read a finished trial's folder, the folder of an imported model, or the file in either.

    Anything else is an `InputError`, as is a file in which a byte has changed.
    """
    file = path
    if path.is_dir():
        file = TrialFolder(path).model_file
        if reason := _why_no_model(TrialFolder(path)):
            raise InputError(f"{path}: {reason}")
    shapes, told = open_safetensors(file)
    if METADATA not in told:
        raise InputError(f"{file}: says nothing of its network; `sqzx import` makes a model of it")
    return _read(file, shapes, told[METADATA])


def _read(file: Path, shapes: Mapping[str, tuple[int, ...]], text: str) -> Model:
    try:
        told = json.loads(text)
        version, said = told.pop("version"), told.pop("sha256")
        config_tree, preprocessing_tree = told.pop("model"), told.pop("preprocessing")
        class_names, source, data = (told.pop(key) for key in ("class_names", "source", "data"))
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: damaged: its metadata is not readable ({error})") from None
    check_version(version, VERSION, str(file))
    config = resolve_model(read_tree({"model": config_tree}, str(file)), str(file))
    preprocessing = from_tree(Preprocessing, preprocessing_tree, f"{file}: preprocessing")
    texts = (source, *class_names) if isinstance(class_names, list) else (None,)
    if told or not all(isinstance(x, str) for x in texts) or not isinstance(data, str | None):
        raise InputError(f"{file}: damaged: its metadata has other keys or values than expected")
    if len(class_names) not in (0, config.num_classes):
        raise InputError(f"{file}: {len(class_names)} class names for {config.num_classes} classes")
    slots = layouts.slots(config, preprocessing.image_shape, "torchvision")
    if {name: slot.shape for name, slot in slots.items()} != shapes:
        raise InputError(f"{file}: damaged: its tensors are not those of its network")
    tensors = load_safetensors(file, list(slots))
    if digest(tensors) != said:
        raise InputError(f"{file}: damaged: its parameters are not as they were written")
    return Model(
        config=config,
        parameters=layouts.parameters(tensors, slots),
        preprocessing=preprocessing,
        class_names=tuple(class_names),
        source=source,
        data=data,
    )


def model_digest(path: Path) -> str:
    """Return a short digest of a model's parameters, as "sha256:" and 16 hexadecimal digits."""
    model = read_model(path)
    slots = layouts.slots(model.config, model.preprocessing.image_shape, "torchvision")
    return f"sha256:{digest(layouts.tensors(model.parameters, slots))[:16]}"


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of tensors, their names, types and shapes."""
    told = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        told.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        told.update(np.ascontiguousarray(tensor).tobytes())
    return told.hexdigest()


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
    except (OSError, SafetensorError, TypeError) as error:
        raise InputError(f"{path}: not readable as safetensors ({error})") from None


def _why_no_model(folder: TrialFolder) -> str | None:
    if folder.config_file.exists() and (state := folder.read_status().status) != "done":
        return f"this trial is {state}; a finished one has a model"
    return None if folder.model_file.is_file() else f"holds no model (no {folder.model_file.name} in it)"
