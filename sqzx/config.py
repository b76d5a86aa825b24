"""One trial's configuration: frozen, typed, resolved from presets and dotted keys.

`model.squeeze_ratio` is spelled so in a configuration file, in a study, after `--set`, in `config.json` and
as a column of the table. `resolve` turns such settings into a `TrialConfig`, in which every key has its
value: presets and recipes are gone, and what the data decides (classes, image shape) is filled in.
"""

import dataclasses
import functools
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from sqzx.architectures import FAMILIES, MODEL_PRESETS, ModelConfig, SqueezeNetConfig
from sqzx.compression.config import CompressConfig
from sqzx.compression.densities import densities_of
from sqzx.counting import parametric_layers
from sqzx.data.info import DatasetInfo, dataset_info
from sqzx.errors import ArchitectureError, InputError
from sqzx.schema import Key, above_zero, flatten, keys_of, ranged, unknown_key

SCHEMA_VERSION = 1
"""Version of the keys below; a part of every trial's identity."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a trial learns from.

    `image_shape` (height, width, channels) comes with the data set. `validation_fraction` of the training
    set, chosen by a hash of its content, selects and is never trained on; `train_examples` is the size of
    a fixed, balanced subset of the rest. Each training image may be shifted by up to `crop_padding`
    pixels (zero padding and random crop) and mirrored.
    """

    name: str = "digits"
    image_shape: tuple[int, ...] = ranged((8, 8, 1), low=1)
    validation_fraction: float = ranged(0.1, low=0.001, high=0.9)
    train_examples: int | None = ranged(None, low=1)
    crop_padding: int = ranged(0, low=0)
    mirror: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a trial learns: the optimiser, its schedule and its length.

    `learning_rate` is the peak, reached after `warmup_fraction` of all steps, from where the schedule
    ("cosine" or "linear", the paper's) falls to 0. With AdamW the decay is decoupled and spares the
    biases; with SGD it is Caffe's L2 term on every parameter. `momentum` belongs to SGD alone. With a
    `precision` of "bf16" a training step computes maps and gradients in bfloat16, which accelerators are
    built for (a CPU is slower with it); parameters, loss, optimiser and all evaluation stay float32.
    """

    epochs: int = ranged(10, low=1)
    batch_size: int = ranged(64, low=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = above_zero(2e-3)
    schedule: Literal["cosine", "linear"] = "cosine"
    warmup_fraction: float = ranged(0.1, low=0, high=1)
    weight_decay: float = ranged(1e-4, low=0)
    momentum: float | None = ranged(None, low=0, high=0.9999)
    gradient_clip: float | None = above_zero(1.0)
    precision: Literal["f32", "bf16"] = dataclasses.field(default="f32", metadata={"introduced_as": "f32"})

    def __post_init__(self) -> None:
        """Refuse a momentum that nothing would use; no momentum and a momentum of 0 are the same SGD."""
        if self.optimizer == "adamw" and self.momentum is not None:
            raise InputError(f"train.momentum: {self.momentum} has no effect with adamw; leave it out")
        if self.optimizer == "sgd" and self.momentum is None:
            object.__setattr__(self, "momentum", 0.0)


HYPERPARAMETERS = ("learning_rate", "weight_decay", "momentum", "gradient_clip")
"""The keys of `train` that a compiled training step takes as arguments: trials that differ in them alone are
one program. One that is None is left out of the step, which makes another program."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One network, one data set, one recipe, one seed: everything that decides a trial's outcome.

    With `compress` the trial is that of the network compressed, from what it is without.
    """

    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    seed: int = ranged(0, low=0, high=2**63 - 1)
    compress: CompressConfig | None = dataclasses.field(default=None, metadata={"introduced_as": None})

    def settings(self) -> dict[str, Any]:
        """Return every key with its value, flat: {"model.squeeze_ratio": 0.125, ..., "seed": 0}."""
        return flatten(_present(dataclasses.asdict(self)))

    def to_json(self) -> dict[str, Any]:
        """Return the content of `config.json`, which `read_settings` reads back."""
        return {"schema": SCHEMA_VERSION} | _present(_plain(self))

    def dense(self) -> "TrialConfig":
        """Return the trial that a compressed one starts from; another is it itself."""
        return dataclasses.replace(self, compress=None)


def _present(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if name != "compress" or value is not None}


def _plain(config: Any) -> dict[str, Any]:
    """Return a dataclass as JSON reads it back: tables of plain values and lists."""
    # Faster than `asdict`, by which a study of many thousand trials would spend most of its time.
    return {
        name: list(value)
        if isinstance(value, tuple)
        else _plain(value)
        if dataclasses.is_dataclass(value)
        else value
        for name, value in vars(config).items()
    }


TRAIN_RECIPES: dict[str, dict[str, Any]] = {
    "adamw": {},
    # The authors' solver since 2016-03-25. It is known to stay at ln(classes) for many seeds.
    "paper": {
        "train.optimizer": "sgd",
        "train.learning_rate": 0.04,
        "train.schedule": "linear",
        "train.warmup_fraction": 0.0,
        "train.weight_decay": 2e-4,
        "train.momentum": 0.9,
        "train.gradient_clip": None,
    },
}

_STARTING_POINTS = {"model.preset": MODEL_PRESETS, "train.recipe": TRAIN_RECIPES}


def _any_of(*schemas: Mapping[str, Key]) -> dict[str, Key]:
    """Return the keys of all schemas; one that several have accepts what any of them does."""
    merged: dict[str, Key] = {}
    for name, key in (pair for schema in schemas for pair in schema.items()):
        if name in merged and merged[name] != key:
            # Only words may differ (a family's name, its inits): a range has no union.
            assert get_origin(merged[name].annotation) is get_origin(key.annotation) is Literal, name
            words = (*get_args(merged[name].annotation), *get_args(key.annotation))
            key = Key(name, Literal[tuple(dict.fromkeys(words))], {})
        merged[name] = key
    return merged


KEYS: dict[str, Key] = {
    **{name: Key(name, Literal[tuple(table)], {}) for name, table in _STARTING_POINTS.items()},  # type: ignore
    **_any_of(*(keys_of(family, "model.") for family in FAMILIES.values())),
    **keys_of(DataConfig, "data."),
    **keys_of(TrainConfig, "train."),
    **keys_of(CompressConfig, "compress."),
    "seed": keys_of(TrialConfig)["seed"],
}
"""Every key that a user may set, by its full name."""


def read_setting(name: str, value: Any, where: str, keys: Mapping[str, Key] = KEYS) -> Any:
    """Return the value of one of `keys` as its type; an unknown key or a wrong value is an `InputError`."""
    if name not in keys:
        raise unknown_key(name, keys, where)
    return keys[name].read(value, where)


def read_tree(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return nested tables as typed settings by full key."""
    try:
        flat = flatten(tree)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    # A section whose keys are all commented out is an empty table, and says nothing.
    said = {k: v for k, v in flat.items() if v != {} or not any(key.startswith(f"{k}.") for key in KEYS)}
    return {name: read_setting(name, value, where) for name, value in said.items()}


def read_settings(path: Path) -> dict[str, Any]:
    """Read a configuration file: TOML, or a trial's `config.json`."""
    if path.suffix != ".json":
        return read_tree(read_toml(path), str(path))
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: is no table, as the config.json of a trial is")
    check_version(tree.pop("schema", None), SCHEMA_VERSION, str(path))
    return read_tree(tree, str(path))


def check_version(found: Any, needed: int, where: str) -> None:
    """Refuse a file of another schema than this program reads."""
    if type(found) is not int or found != needed:
        shown = "nothing" if found is None else repr(found)
        raise InputError(f"{where}: schema: needs {needed}, found {shown}")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; anything else is an `InputError` that names the file."""
    return parse_toml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read a text file (UTF-8, a byte order mark is fine); anything else is an `InputError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error})") from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Read the text of a TOML file; `where` names it in errors."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also of a number with thousands of digits
        raise InputError(f"{where}: not readable as TOML ({error})") from None


def parse_assignment(text: str, where: str = "--set", keys: Mapping[str, Key] = KEYS) -> tuple[str, Any]:
    """Read "model.squeeze_ratio=0.5", one of `keys`: the value is TOML, and a bare word is a text."""
    name, equals, value = text.partition("=")
    if not equals or "\n" in text:
        raise InputError(f"{where} {text}: needs KEY=VALUE, as in model.squeeze_ratio=0.5")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")["value"]
    except ValueError:
        parsed = value.strip()
    return name.strip(), read_setting(name.strip(), parsed, where, keys)


def resolve(
    settings: Mapping[str, Any], where: str, *, info_of: Callable[[str], DatasetInfo] = dataset_info
) -> TrialConfig:
    """Turn typed settings by full key into a whole trial.

    The data set's metadata (`info_of` its name) fills `model.num_classes` and `data.image_shape`; another
    value there is an `InputError`. A network that cannot exist is an `ArchitectureError`. `where` begins
    every message.
    """
    try:
        data = info_of(settings.get("data.name", DataConfig.name))
        known = {"model.num_classes": data.num_classes, "data.image_shape": tuple(data.image_shape)}
        for name, value in known.items():
            if settings.get(name, value) != value:
                raise InputError(f"{name}: {data.name} has {value}, found {settings[name]}; leave it out")
        trial = from_settings(_with_starting_points(settings) | known)
        _check_densities(trial)
        return trial
    except InputError as error:
        raise type(error)(f"{where}: {error}") from None


def from_settings(settings: Mapping[str, Any]) -> TrialConfig:
    """Put together a trial whose settings are resolved already, as those of a `config.json` are."""
    return TrialConfig(
        model=_model(settings),
        data=DataConfig(**_section(settings, "data.")),
        train=TrainConfig(**_section(settings, "train.")),
        seed=settings.get("seed", 0),
        compress=_compress(_section(settings, "compress.")),
    )


def _compress(values: dict[str, Any]) -> CompressConfig | None:
    """Return how a trial's network is compressed: not at all without a recipe, which other keys need."""
    if values.get("recipe") is None:
        for key, value in values.items():
            if value is not None:
                raise InputError(f"compress.{key}: has no effect without compress.recipe")
        return None
    return CompressConfig(**values)


def _check_densities(trial: TrialConfig) -> None:
    if trial.compress is not None and trial.compress.prunes:
        layers = [layer.name for layer in parametric_layers(trial.model, trial.data.image_shape)]
        densities_of(layers, trial.compress.density, trial.compress.densities)


def resolve_model(settings: Mapping[str, Any], where: str) -> ModelConfig:
    """Turn the `model.` keys alone into a network, for where there is no data set."""
    try:
        return _model(_with_starting_points(settings))
    except InputError as error:
        raise type(error)(f"{where}: {error}") from None


def _model(settings: Mapping[str, Any]) -> ModelConfig:
    """Put together the network of resolved settings; another family's key is an `ArchitectureError`."""
    family = settings.get("model.family", SqueezeNetConfig.family)
    known, narrower = keys_of(FAMILIES[family], "model."), _narrower(family)
    values = {}
    for name, value in settings.items():
        if name.startswith("model."):
            if name not in known:
                raise ArchitectureError(f"{name}: a network of family {family} has no such key")
            if name in narrower:
                try:
                    value = known[name].read(value, f"family {family}")
                except InputError as error:
                    raise ArchitectureError(str(error)) from None
            values[name.removeprefix("model.")] = value
    return FAMILIES[family](**values)


@functools.lru_cache(maxsize=len(FAMILIES))
def _narrower(family: str) -> frozenset[str]:
    """Return the keys of which a family takes less than another does: typed values may still be wrong."""
    return frozenset(name for name, key in keys_of(FAMILIES[family], "model.").items() if key != KEYS[name])


def _with_starting_points(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace `model.preset` and `train.recipe` by the keys they stand for, under the user's own."""
    full: dict[str, Any] = {}
    if preset := settings.get("model.preset"):
        start = MODEL_PRESETS[preset]
        family = start["model.family"]
        if settings.get("model.family", family) != family:
            raise ArchitectureError(f"model.family: the preset {preset} is no {settings['model.family']}")
        _check_effect(settings, "model.preset", FAMILIES[family])
        full |= start
    if recipe := settings.get("train.recipe"):
        _check_effect(settings, "train.recipe", TrainConfig)
        full |= TRAIN_RECIPES[recipe]
    full |= {k: v for k, v in settings.items() if k not in _STARTING_POINTS}
    if full.get("train.optimizer") == "adamw" and "train.momentum" not in settings:
        full["train.momentum"] = None  # the recipe's, which belonged to its own optimiser
    return full


def _check_effect(settings: Mapping[str, Any], name: str, schema: Any) -> None:
    section = name.partition(".")[0] + "."
    if all(key in settings for key in keys_of(schema, section)):
        raise InputError(f"{name}: has no effect where each {section} key is set; set single keys")


def _section(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in settings.items() if k.startswith(prefix)}
