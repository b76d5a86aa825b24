"""Networks from the outside world: files of tensors, told by their content, as models.

What is read: the authors' compressed network (`sqzx.authors_file`), safetensors and NumPy's .npz, each with
the names of torchvision or of the authors' Caffe files (`sqzx.layouts`), and this project's own models. Never
a pickle. Shapes are compared before any tensor is read, so that a file can't ask for memory.
"""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sqzx import authors_file, layouts, preprocessing
from sqzx.architectures import AlexNetConfig, ModelConfig
from sqzx.config import resolve, resolve_model
from sqzx.counting import Shape, count
from sqzx.errors import InputError
from sqzx.layouts import Layout, Slot
from sqzx.model import METADATA, Model, load_safetensors, open_safetensors, read_model
from sqzx.preprocessing import Preprocessing

PREPROCESSING: dict[str, Callable[[Shape], Preprocessing]] = {
    "caffe": lambda shape: preprocessing.caffe((shape[0], shape[1])),
    "torchvision": lambda shape: preprocessing.torchvision((shape[0], shape[1])),
    "unit": preprocessing.unit,
}
"""By the name that a user gives."""

_SIDES: dict[Layout, int] = {"caffe": 227, "torchvision": 224}

_CANDIDATES: dict[str, dict[str, Any]] = {
    "squeezenet_v1_0": {"model.preset": "squeezenet_v1_0"},
    "squeezenet_v1_1": {"model.preset": "squeezenet_v1_1"},
    "squeezenet_v1_0 with complex bypass": {"model.preset": "squeezenet_v1_0", "model.bypass": "complex"},
    "squeezenet_v1_1 with complex bypass": {"model.preset": "squeezenet_v1_1", "model.bypass": "complex"},
    "alexnet": {"model.preset": "alexnet"},
    "torchvision's alexnet": {
        "model.preset": "alexnet",
        "model.conv_features": (64, 192, 384, 256, 256),
        "model.conv_paddings": (2, 2, 1, 1, 1),
        "model.conv_groups": (1, 1, 1, 1, 1),
        "model.lrn_after": (),
        "model.pool_rounding": "floor",
    },
}
"""What a file without a description may hold, as settings; what it holds is told by names and shapes."""


class Source(NamedTuple):
    """A file of tensors: their shapes by plain name, and how to read one of them."""

    path: Path
    told: str
    layout: Layout
    shapes: Mapping[str, Shape]
    load: Callable[[str], np.ndarray]


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
    source = _open(path)
    if isinstance(source, Model):
        if settings or image_size or prepared:
            raise InputError(
                f"{path}: says itself what it is; only --num-classes and --class-names change it"
            )
        return _with_classes(source, num_classes, class_names, (source.source,))
    told, config, shape, settled = _network(source, settings, num_classes, image_size)
    slots = layouts.slots(config, shape, source.layout)
    classifier = list(slots.values())[-1].layer
    fresh = {name for name, slot in slots.items() if num_classes and slot.layer == classifier}
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
        source=f"{source.told} {path.name}",
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
        model = replace(model, config=config, parameters=layouts.parameters(tensors, slots), class_names=())
    if class_names:
        _check_names(class_names, model.config)
        model = replace(model, class_names=class_names)
    return Imported(model, notes)


def _network(
    source: Source,
    settings: Mapping[str, Any],
    num_classes: int | None,
    image_size: tuple[int, int] | None,
) -> tuple[str, ModelConfig, Shape, tuple[str, ...]]:
    """Return what the network is, in words and as a configuration, its images, and what is taken on trust."""
    side = _SIDES[source.layout]
    size = image_size or (side, side)
    if "data.name" in settings:
        trial = resolve(settings, str(source.path))
        return "the given configuration", trial.model, trial.data.image_shape, ()
    own = {k: v for k, v in settings.items() if k.startswith("model.")}
    candidates = {"the given configuration": own} if own else _CANDIDATES
    best: tuple[int, str, ModelConfig, Shape] | None = None
    for told, start in candidates.items():
        chosen = dict(start)
        if source.layout == "torchvision" and chosen.get("model.preset", "").startswith("squeezenet_v1"):
            chosen.setdefault("model.conv10_padding", 0)  # what torchvision's have, and shapes don't tell
        if num_classes:
            chosen["model.num_classes"] = num_classes
        elif "model.num_classes" not in chosen:
            chosen |= _classes(source, chosen, size)
        config = resolve_model(chosen, str(source.path))
        shape = (*size, _channels(source))
        count(config, shape)
        slots = layouts.slots(config, shape, source.layout)
        wrong = sum(1 for _ in _problems(slots, source.shapes, set()))
        if best is None or wrong < best[0]:
            best = wrong, told, config, shape
    assert best is not None  # there is always a candidate
    _, told, config, shape = best
    # The format of the authors' file is that of one network; names and shapes leave some things open.
    settled = () if own or source.told == _AUTHORS else (_taken_on_trust(config),)
    return told, config, shape, settled


def _classes(source: Source, settings: Mapping[str, Any], size: tuple[int, int]) -> dict[str, int]:
    """Return the number of classes that a file's classifier has, if it has one."""
    config = resolve_model(settings, str(source.path))
    *_, weight, _bias = layouts.slots(config, (*size, _channels(source)), source.layout)
    found = source.shapes.get(weight, ())
    return {"model.num_classes": found[0]} if len(found) >= 2 and found[0] >= 2 else {}


def _channels(source: Source) -> int:
    first = {"torchvision": "features.0.weight", "caffe": "conv1.weight"}[source.layout]
    found = source.shapes.get(first, ())
    return found[1] if len(found) == 4 and found[1] >= 1 else 3


def _taken_on_trust(config: ModelConfig) -> str:
    if isinstance(config, AlexNetConfig):
        return f"not told by the file, as in {'Caffe' if config.lrn_after else 'torchvision'}: poolings, LRN"
    return (
        f"not told by the file: poolings after {', '.join(map(str, config.pool_after))}, "
        f"conv10_padding {config.conv10_padding}, final_relu {str(config.final_relu).lower()}, "
        f"bypass {config.bypass}; --set model.KEY=VALUE says otherwise"
    )


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


def _checked(source: Source, name: str) -> np.ndarray:
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


# --- files -----------------------------------------------------------------------------------------------


def _open(path: Path) -> Source | Model:
    """Tell a file's format by its content, and return its tensors' shapes."""
    try:
        if path.is_dir():
            return read_model(path)
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(authors_file.COUNTS_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror})") from None
    if head.startswith(b"PK\x03\x04"):
        return _npz(path)
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        shapes, told = open_safetensors(path)
        if METADATA in told:
            return read_model(path)
        return _named(path, "safetensors", shapes, lambda name: load_safetensors(path, [name])[name])
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        raise InputError(f"{path}: a pickle, which can run any program; {_AS_SAFETENSORS}")
    if size == authors_file.PUBLISHED_BYTES or authors_file.looks_like(head, size) or path.suffix == ".net":
        return _authors(path)
    raise InputError(
        f"{path}: no format that is read: the authors' compressed network, safetensors, or .npz "
        "(of a .caffemodel save the blobs as .npz, named as its layers)"
    )


_AS_SAFETENSORS = "save its state dict with safetensors.torch.save_file"


_AUTHORS = "the authors' compressed network"


def _authors(path: Path) -> Source:
    with path.open("rb") as file:
        data = file.read(authors_file.LARGEST_BYTES + 1)
    decoded = authors_file.decode(data, str(path))
    found = {}
    for name, layer in decoded.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = layer.kernel, layer.bias
    # The decoder calls the layers as we do; Caffe's names are these with a slash.
    parts = {"squeeze.": "squeeze1x1."}
    named = {}
    for name, array in found.items():
        caffe = name.replace(".", "/", 1) if name.startswith("fire") else name
        for ours, theirs in parts.items():
            caffe = caffe.replace(ours, theirs)
        named[caffe] = array
    shapes = {name: array.shape for name, array in named.items()}
    return Source(path, _AUTHORS, "caffe", shapes, named.__getitem__)


def _npz(path: Path) -> Source:
    """Read the names and shapes of a .npz, from the headers of its members alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(member.filename.endswith(".pkl") for member in members):
                raise InputError(f"{path}: a PyTorch file, which is a pickle; {_AS_SAFETENSORS}")
            shapes = {}
            for member in members:
                if not member.filename.endswith(".npy"):
                    raise InputError(f"{path}: {member.filename} is no array; not a .npz of NumPy")
                with archive.open(member) as file:
                    shape = npy_header(file, member.file_size, f"{path}: {member.filename}")[0]
                shapes[member.filename.removesuffix(".npy")] = shape

        def load(name: str) -> np.ndarray:
            try:
                with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
                    return np.lib.format.read_array(file, allow_pickle=False)
            except _DAMAGE as error:
                raise InputError(f"{path}: {name}: damaged ({error})") from None

    except _DAMAGE as error:
        raise InputError(f"{path}: not readable as .npz ({error})") from None
    return _named(path, ".npz", shapes, load)


_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
)
"""What zipfile and NumPy raise on damage: a wrong checksum, an unknown compression, a password."""


def npy_header(file: Any, size: int, where: str) -> tuple[Shape, np.dtype]:
    """Return the shape and type of a .npy of `size` bytes; `InputError` unless the bytes are just those."""
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ValueError(f"version {version[0]}.{version[1]}")
        shape, _, dtype = read(file)
    except _DAMAGE as error:
        raise InputError(f"{where}: not readable as .npy ({' '.join(str(error).split())[:200]})") from None
    if dtype.hasobject:
        raise InputError(f"{where}: holds Python objects, which only a pickle can; save plain numbers")
    needed = math.prod(shape) * dtype.itemsize
    if size - file.tell() != needed:
        raise InputError(f"{where}: has {size - file.tell():,} bytes of numbers, its header needs {needed:,}")
    return shape, dtype


def _named(path: Path, kind: str, shapes: Mapping[str, Shape], load: Callable[[str], np.ndarray]) -> Source:
    """Give tensors their plain names."""
    originals: dict[str, str] = {}
    for name in shapes:
        plain = layouts.plain_name(name)
        if plain in originals:
            raise InputError(f"{path}: {originals[plain]} and {name} are both {plain}; keep one")
        originals[plain] = name
    layout = layouts.layout_of(list(originals))
    return Source(
        path,
        f"{kind} with {'torchvision' if layout == 'torchvision' else 'Caffe'} names",
        layout,
        {plain: tuple(shapes[name]) for plain, name in originals.items()},
        lambda plain: load(originals[plain]),
    )
