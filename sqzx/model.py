"""A model in one file: parameters with everything that is needed to use them.

`model.safetensors` holds the tensors in torchvision's layout (`sqzx.layouts`), so that other programs can
read it, and in its metadata, under "sqzx", a JSON text:

    version         1
    model           the network, each of its keys
    preprocessing   how an image becomes its input
    class_names     by number, or empty where nobody knows them
    source          where the parameters came from, in one line
    data            the data set that it was trained on, or null
    sha256          of the parameters and of all the above

The file depends on its content alone: equal models are equal files.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from sqzx import layouts
from sqzx.architectures import ModelConfig
from sqzx.compression import svd
from sqzx.config import check_version, read_tree, resolve_model
from sqzx.counting import Shape, count, parametric_layers
from sqzx.errors import InputError, printable
from sqzx.files import write_whole
from sqzx.preprocessing import Preprocessing
from sqzx.schema import from_tree
from sqzx.tensor_files import load_safetensors, open_safetensors
from sqzx.trial import TrialFolder

VERSION = 1
METADATA = "sqzx"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network with its parameters (`sqzx.network.Parameters`) and what they need to be used.

    `ranks` names the layers that are two (`sqzx.compression.svd`); by default none is.
    """

    config: ModelConfig
    parameters: dict[str, Any]
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = ()
    source: str
    data: str | None = None
    ranks: Mapping[str, int] = field(default_factory=dict)

    def whole(self) -> "Model":
        """Return the same model with each layer one, the factors of those that were two multiplied out."""
        layers = parametric_layers(self.config, self.preprocessing.image_shape)
        return replace(self, parameters=svd.whole(self.parameters, layers, self.ranks), ranks={})

    def class_name(self, number: int) -> str:
        """Return what a class is called, on one line that any terminal takes."""
        if not self.class_names:
            return f"class {number}"
        return printable(" ".join(self.class_names[number].split()))


def write_model(path: Path, model: Model, *, halves: Path | None = None) -> None:
    """Write a model as one file, whole or not at all; `halves` as in `files.in_place_of`.

    The factors of layers that are two are multiplied out: torchvision's layout has no such layers.
    """
    model = model.whole()
    slots = layouts.slots(model.config, model.preprocessing.image_shape, "torchvision")
    tensors = layouts.tensors(model.parameters, slots)
    told = {"version": VERSION} | description(model)
    told["sha256"] = _seal(told, tensors)
    # One entry: the library writes several in any order.
    text = json.dumps(told, ensure_ascii=False, allow_nan=False)
    write_whole(path, lambda file: file.write(save(tensors, {METADATA: text})), halves=halves)


def read_model(path: Path) -> Model:
    """Read a finished trial's folder, the folder of an imported model, the file in either, or a `.sqz`.

    Anything else is an `InputError`, as is a file in which a byte has changed.
    """
    file = path
    if path.is_dir():
        folder = TrialFolder(path)
        file = folder.compressed_file if folder.compressed_file.is_file() else folder.model_file
        if reason := _why_no_model(folder, file):
            raise InputError(f"{path}: {reason}")
    from sqzx.compression import sqz  # which builds on this module

    if sqz.is_sqz(file):
        return sqz.read_sqz(file).model
    shapes, told = open_safetensors(file)
    if METADATA not in told:
        raise InputError(f"{file}: says nothing of its network; `sqzx import` makes a model of it")
    return _read(file, shapes, told[METADATA])


def _read(file: Path, shapes: Mapping[str, tuple[int, ...]], text: str) -> Model:
    try:
        told = json.loads(text)
        if not isinstance(told, dict):
            raise ValueError("no table")
        sealed = {key: value for key, value in told.items() if key != "sha256"}
        version, said = told.pop("version"), told.pop("sha256")
    except (ValueError, KeyError, RecursionError) as error:
        raise InputError(f"{file}: damaged: its metadata is not readable ({error})") from None
    check_version(version, VERSION, str(file))
    described = read_description(told, str(file))
    slots = layouts.slots(described.config, described.preprocessing.image_shape, "torchvision")
    if {name: slot.shape for name, slot in slots.items()} != shapes:
        raise InputError(f"{file}: damaged: its tensors are not those of its network")
    tensors = load_safetensors(file, list(slots))
    if _seal(sealed, tensors) != said:
        raise InputError(f"{file}: damaged: it is not as it was written")
    return replace(described, parameters=layouts.parameters(tensors, slots))


def description(model: Model) -> dict[str, Any]:
    """Return everything of a model but its parameters, as JSON has it."""
    return {
        "model": asdict(model.config),
        "preprocessing": asdict(model.preprocessing),
        "class_names": model.class_names,
        "source": model.source,
        "data": model.data,
    }


def read_description(told: Mapping[str, Any], where: str) -> Model:
    """Return the model that a `description` tells of, without parameters, which are still to be put in.

    `InputError` unless it has just the keys of one, and describes a network that its images fit.
    """
    needed = ("model", "preprocessing", "class_names", "source", "data")
    if missing := [key for key in needed if key not in told]:
        raise InputError(f"{where}: damaged: its metadata is not readable ({missing[0]!r})")
    settings = read_tree({"model": told["model"]}, where)
    config = resolve_model(settings, where)
    if settings.keys() != {f"model.{key}" for key in asdict(config)}:
        raise InputError(f"{where}: damaged: it doesn't say each key of its network")
    try:
        preprocessing = from_tree(Preprocessing, told["preprocessing"], "preprocessing")
        count(config, preprocessing.image_shape)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    class_names, source, data = told["class_names"], told["source"], told["data"]
    texts = (source, *class_names) if isinstance(class_names, list) else (None,)
    if len(told) > len(needed) or not all(map(_is_text, texts)) or not (data is None or _is_text(data)):
        raise InputError(f"{where}: damaged: its metadata has other keys or values than expected")
    if len(class_names) not in (0, config.num_classes):
        raise InputError(f"{where}: {len(class_names)} class names for {config.num_classes} classes")
    return Model(
        config=config,
        parameters={},
        preprocessing=preprocessing,
        class_names=tuple(class_names),
        source=source,
        data=data,
    )


def model_digest(model: Model) -> str:
    """Return a short digest of what a training that starts from a model takes of it, and of nothing else.

    That is parameters and preprocessing: "sha256:" and 16 hexadecimal digits.
    """
    model = model.whole()
    slots = layouts.slots(model.config, model.preprocessing.image_shape, "torchvision")
    taken = {"preprocessing": asdict(model.preprocessing)}
    return f"sha256:{_seal(taken, layouts.tensors(model.parameters, slots))[:16]}"


def check_fits(origin: Model, config: ModelConfig, image_shape: Shape) -> list[str]:
    """Return the keys in which a network differs from the model whose parameters it is to take, a line each.

    `InputError` where a layer is missing, left over, two or of another shape: the parameters don't fit.
    """
    if origin.ranks:
        raise InputError(f"its layers {', '.join(origin.ranks)} are two each; sqzx export makes them one")
    theirs, ours = (
        {layer.name: layer.kernel_shape for layer in parametric_layers(*of)}
        for of in ((origin.config, origin.preprocessing.image_shape), (config, image_shape))
    )
    if wrong := [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]:
        told = "; ".join(f"{n}: {theirs.get(n, 'none')} there, {ours.get(n, 'none')} here" for n in wrong)
        last = list(ours)[-1]
        hint = f"; sqzx import MODEL --num-classes {config.num_classes} starts {last} afresh"
        raise InputError(f"its layers are not this network's: {told}{hint if wrong == [last] else ''}")
    there, here = asdict(origin.config), asdict(config)
    unlike = (key for key in here if here[key] != there[key] and key not in ("init", "dropout_rate"))
    return [f"model.{key} was {there[key]}, is {here[key]}" for key in unlike]


def _is_text(value: Any) -> bool:
    """Whether a value of JSON is a text that can be written; halves of surrogate pairs can't."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _seal(told: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of a model: of its tensors, and of what it says of itself in one spelling."""
    text = json.dumps(told, sort_keys=True)  # ASCII, whatever the names
    return hashlib.sha256(f"{digest(tensors)}\n{text}".encode()).hexdigest()


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of tensors, their names, types and shapes."""
    told = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        told.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        told.update(np.ascontiguousarray(tensor).tobytes())
    return told.hexdigest()


def _why_no_model(folder: TrialFolder, file: Path) -> str | None:
    if folder.config_file.exists() and (state := folder.read_status().status) != "done":
        return f"this trial is {state}; a finished one has a model"
    return None if file.is_file() else f"holds no model (no {file.name} in it)"
