"""Networks from the outside world as models.

A file (`sqzx.tensor_files`) has the names of torchvision or of the authors' Caffe files (`sqzx.layouts`), or
is one of this project's own models. Its shapes are compared with a network's before any tensor is read.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sqzx import layouts, preprocessing
from sqzx.architectures import AlexNetConfig, ModelConfig
from sqzx.compression.sqz import is_sqz
from sqzx.config import resolve, resolve_model
from sqzx.counting import Shape
from sqzx.errors import ArchitectureError, InputError, printable
from sqzx.layouts import Layout, Slot
from sqzx.model import METADATA, Model, read_model
from sqzx.preprocessing import Preprocessing
from sqzx.tensor_files import AUTHORS, TensorFile, open_tensors
from sqzx.terminal import shown

PREPROCESSING: dict[str, Callable[[Shape], Preprocessing]] = {
    "caffe": lambda shape: preprocessing.caffe((shape[0], shape[1])),
    "torchvision": lambda shape: preprocessing.torchvision((shape[0], shape[1])),
    "unit": preprocessing.unit,
}
"""By the name that a user gives."""

_SIDES: dict[Layout, int] = {"caffe": 227, "torchvision": 224}

_V1_0 = {"model.preset": "squeezenet_v1_0"}
_V1_1 = {"model.preset": "squeezenet_v1_1"}
_COMPLEX = {"model.bypass": "complex"}
_UNPADDED = {"model.conv10_padding": 0}

_CANDIDATES: dict[Layout, dict[str, dict[str, Any]]] = {
    "caffe": {
        "squeezenet_v1_0": _V1_0,
        "squeezenet_v1_1": _V1_1,
        "squeezenet_v1_0 with complex bypass": _V1_0 | _COMPLEX,
        "squeezenet_v1_1 with complex bypass": _V1_1 | _COMPLEX,
        "alexnet": {"model.preset": "alexnet"},
    },
    "torchvision": {
        "squeezenet_v1_0": _V1_0 | _UNPADDED,
        "squeezenet_v1_1": _V1_1,
        "squeezenet_v1_0 with complex bypass": _V1_0 | _COMPLEX | _UNPADDED,
        "squeezenet_v1_1 with complex bypass": _V1_1 | _COMPLEX,
        "alexnet": {"model.preset": "alexnet"},
        "torchvision's alexnet": {
            "model.preset": "alexnet",
            "model.conv_features": (64, 192, 384, 256, 256),
            "model.conv_paddings": (2, 2, 1, 1, 1),
            "model.conv_groups": (1, 1, 1, 1, 1),
            "model.lrn_after": (),
            "model.pool_rounding": "floor",
        },
    },
}
"""What a file without a description may hold, as settings; what it holds is told by names and shapes."""

_UNTOLD: dict[str, tuple[str, ...]] = {
    "squeezenet": (
        *("stem_stride", "stem_padding", "pool_after", "pool_rounding", "conv10_padding", "final_relu"),
        *("activation", "squeeze_activation", "bypass"),
    ),
    "alexnet": ("stem_stride", "conv_paddings", "pool_after", "pool_rounding", "lrn_after", "activation"),
}
"""The keys that change what a network computes, but neither a name nor a shape."""


class Imported(NamedTuple):
    """A model, and what a user should know of how it came about, a line each."""

    model: Model
    notes: tuple[str, ...]


def import_model(
    path: Path,
    settings: Mapping[str, Any],
    *,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    prepared: str | None = None,
    class_names: tuple[str, ...] = (),
) -> Imported:
    """Read a network from a file.

    `settings` are typed settings that say what it is; without any, its names and shapes do. `num_classes`
    keeps all layers but the classifier, which starts afresh. `image_size` is (height, width), 227 or 224
    by default, as the layout's networks have; `prepared` names one of `PREPROCESSING`, by default the
    layout's. Raises `InputError` where tensors are missing, left over or of other shapes, with all of them.
    """
    for key in settings:
        if not key.startswith("model.") and "data.name" not in settings:
            raise InputError(f"{key}: has no effect on what a file holds; model. keys have, and data.name")
    if num_classes and settings.get("model.num_classes", num_classes) != num_classes:
        raise InputError(f"--num-classes {num_classes}: model.num_classes is {settings['model.num_classes']}")
    source = None if path.is_dir() or is_sqz(path) else open_tensors(path)
    if source is None or METADATA in source.metadata:
        if settings or image_size or prepared:
            raise InputError(
                f"{path}: says itself what it is; only --num-classes and --class-names change it"
            )
        own = read_model(path)
        return _with_classes(own, num_classes, class_names, (own.source,))
    told, config, shape, settled = _network(source, settings, num_classes, image_size)
    slots = layouts.slots(config, shape, source.layout)
    classifier = list(slots.values())[-1].layer
    fresh = {name for name, slot in slots.items() if num_classes and slot.layer == classifier}
    if not source.shapes.keys() & slots.keys():
        some = ", ".join(list(source.shapes)[:3]) or "none at all"
        number = len(source.shapes)
        raise InputError(f"{path}: none of its {number} tensors has a name of {told}: {some}, ...")
    if problems := list(_problems(slots, source.shapes, fresh)):
        hint = "" if num_classes else _classes_hint(slots, source.shapes, settings)
        raise InputError(f"{path}: doesn't fit {told}: {'; '.join(problems)}{hint}")
    found = {name: _checked(source, name) for name in slots if name not in fresh}
    if fresh:
        found |= _fresh(config, shape, {name: slots[name] for name in fresh})
    default = source.layout if shape[2] == 3 else "unit"
    chosen = _preprocessing(path, prepared or default, shape)
    _check_names(class_names, config)
    model = Model(
        config=config,
        parameters=layouts.parameters(found, slots),
        preprocessing=chosen,
        class_names=class_names,
        source=f"{source.told} {printable(path.name)}" + (f", {classifier.name} afresh" if fresh else ""),
    )
    notes = [f"{path}: {source.told}, {told}", *settled]
    if fresh:
        notes.append(_told_fresh(classifier.name, config.num_classes, len(slots) // 2 - 1))
    return Imported(model, tuple(notes))


def _with_classes(
    model: Model, num_classes: int | None, class_names: tuple[str, ...], notes: tuple[str, ...]
) -> Imported:
    """Return one of our own models, with another classifier if that is asked for."""
    if num_classes:
        shape = model.preprocessing.image_shape
        config = replace(model.config, num_classes=num_classes)
        slots = layouts.slots(config, shape, "torchvision")
        classifier = list(slots.values())[-1].layer
        kept = {name: slot for name, slot in slots.items() if slot.layer != classifier}
        tensors = layouts.tensors(model.parameters, kept)
        tensors |= _fresh(config, shape, {name: slots[name] for name in slots if name not in kept})
        notes = (*notes, _told_fresh(classifier.name, num_classes, len(kept) // 2))
        parameters = layouts.parameters(tensors, slots)
        told = f"{model.source}, {classifier.name} afresh"
        model = replace(model, config=config, parameters=parameters, class_names=(), source=told, data=None)
    if class_names:
        _check_names(class_names, model.config)
        model = replace(model, class_names=class_names)
    return Imported(model, notes)


def _network(
    source: TensorFile,
    settings: Mapping[str, Any],
    num_classes: int | None,
    image_size: tuple[int, int] | None,
) -> tuple[str, ModelConfig, Shape, tuple[str, ...]]:
    """Return what the network is, in words and as a configuration, its images, and what is taken on trust."""
    side = _SIDES[source.layout]
    size = image_size or (side, side)
    if "data.name" in settings:
        trial = resolve(settings, str(source.path))
        if num_classes not in (None, trial.model.num_classes) or image_size:
            raise InputError(
                f"{source.path}: data.name says what the images and the classes are; "
                "leave out --input-size, and --num-classes where it is another number"
            )
        return "the given configuration", trial.model, trial.data.image_shape, ()
    found: list[tuple[int, str, ModelConfig, Shape]] = []
    refused: list[ArchitectureError] = []
    whole = "model.preset" in settings or "model.family" in settings
    candidates = {"the given configuration": {}} if whole else _CANDIDATES[source.layout]
    for told, start in candidates.items():
        try:
            asked = {"model.num_classes": num_classes} if num_classes else {}
            said = {**start, **settings}
            chosen = _classes(source, said, size) | said | asked
            config = resolve_model(chosen, str(source.path))
            shape = (*size, _channels(source, config))
            slots = layouts.slots(config, shape, source.layout)
        except ArchitectureError as error:  # a key of another family, or images that are too small for it
            refused.append(error)
            continue
        found.append((sum(1 for _ in _problems(slots, source.shapes, set())), told, config, shape))
    if not found:
        raise InputError(f"{source.path}: {str(refused[0]).removeprefix(f'{source.path}: ')}")
    _, told, config, shape = min(found, key=lambda candidate: candidate[0])
    # The format of the authors' file is that of one network; names and shapes leave some things open.
    open_keys = () if source.told == AUTHORS else _UNTOLD[config.family]
    values = [f"{key}={shown(getattr(config, key))}" for key in open_keys if f"model.{key}" not in settings]
    note = f"neither names nor shapes tell: {', '.join(values)}; if it was another, --set model.KEY=VALUE"
    return told, config, shape, (note,) if values else ()


def _classes(source: TensorFile, settings: Mapping[str, Any], size: tuple[int, int]) -> dict[str, int]:
    """Return the number of classes that a file's classifier has, if it has one."""
    config = resolve_model(settings, str(source.path))
    *_, weight, _bias = layouts.slots(config, (*size, _channels(source, config)), source.layout)
    found = source.shapes.get(weight, ())
    return {"model.num_classes": found[0]} if len(found) >= 2 and found[0] >= 2 else {}


def _channels(source: TensorFile, config: ModelConfig) -> int:
    first = {"torchvision": "features.0.weight", "caffe": "conv1.weight"}[source.layout]
    found = source.shapes.get(first, ())
    groups = config.conv_groups[0] if isinstance(config, AlexNetConfig) else 1
    return groups * found[1] if len(found) == 4 and found[1] >= 1 else 3


def _problems(slots: Mapping[str, Slot], shapes: Mapping[str, Shape], fresh: set[str]) -> Iterator[str]:
    """Name each tensor that is missing, has another shape, or has no place. Those in `fresh` don't count."""
    for name, slot in slots.items():
        if name in fresh:
            continue
        if name not in shapes:
            yield f"{name} {slot.shape} is missing"
        elif shapes[name] != slot.shape:
            yield f"{name} ({slot.layer.name}) is {shapes[name]}, needs {slot.shape}"
    for name in shapes:
        if name not in slots:
            yield f"{name} {shapes[name]} has no place"


def _classes_hint(slots: Mapping[str, Slot], shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> str:
    *_, name, _bias = slots
    found, needed = shapes.get(name, ()), slots[name].shape
    asked = "model.num_classes" in settings or "data.name" in settings
    if asked and found[1:] == needed[1:] and found != needed:
        return f"; --num-classes {needed[0]} starts {slots[name].layer.name} afresh"
    return ""


def _checked(source: TensorFile, name: str) -> np.ndarray:
    """Return a tensor of finite float32 values."""
    tensor = source.load(name)
    if tensor.dtype.kind != "f" and tensor.dtype.name != "bfloat16":
        raise InputError(f"{source.path}: {name}: needs floating-point numbers, found {tensor.dtype}")
    with np.errstate(over="ignore"):
        single = tensor.astype(np.float32)
    if wrong := int((~np.isfinite(single)).sum()):
        raise InputError(f"{source.path}: {name}: {wrong:,} of {single.size:,} values are not finite float32")
    return single


def _fresh(config: ModelConfig, shape: Shape, slots: Mapping[str, Slot]) -> dict[str, np.ndarray]:
    from sqzx.network import initial_parameters

    return layouts.tensors(initial_parameters(config, shape, seed=0), slots)


def _told_fresh(classifier: str, classes: int, kept: int) -> str:
    return (
        f"{classifier} starts afresh with {classes} classes (seed 0); the other {kept} layers are the file's"
    )


def _check_names(class_names: tuple[str, ...], config: ModelConfig) -> None:
    if class_names and len(class_names) != config.num_classes:
        raise InputError(f"--class-names: {len(class_names)} names for {config.num_classes} classes")


def _preprocessing(path: Path, name: str, shape: Shape) -> Preprocessing:
    chosen = PREPROCESSING[name](shape)
    if chosen.image_shape != tuple(shape):
        raise InputError(f"{path}: the preprocessing {name} needs 3 channels, not {shape[2]}; use unit")
    return chosen
