"""One trial's configuration: frozen, typed, resolved from presets and dotted keys.

`model.squeeze_ratio` is spelled so in a configuration file, in a study, after `--set`, in `config.json` and
as a column of the table. `resolve` turns such settings into a `TrialConfig`, in which every key has its
value: presets and recipes are gone, and what the data decides (classes, image shape) is filled in.
"""

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqzx.data.info import dataset_info
from sqzx.errors import ArchitectureError, InputError
from sqzx.schema import Key, above_zero, flatten, keys_of, ranged, unknown_key

SCHEMA_VERSION = 1
"""Version of the keys below; a part of every trial's identity."""


@dataclass(frozen=True, kw_only=True)
class FireWidths:
    """Filters of one Fire module: s1x1, e1x1 and e3x3 in the paper's words."""

    squeeze: int
    expand1x1: int
    expand3x3: int

    @property
    def expand(self) -> int:
        """Filters of the module's output, e = e1x1 + e3x3."""
        return self.expand1x1 + self.expand3x3


@dataclass(frozen=True, kw_only=True)
class SqueezeNetConfig:
    """A SqueezeNet by the paper's metaparameters (section 5.1) and its macroarchitecture.

    The defaults are SqueezeNet v1.0 as its authors' Caffe files have it. Where sources differ:

    - `pool_rounding`: Caffe and torchvision round the size of a pooled map up, the Keras port down.
    - `conv10_padding`: 1 in the authors' v1.0 file (its 15x15 map is why they count 1.72 GFLOP), 0 in
      their v1.1, in torchvision and in the paper's Table 1 (13x13).
    - `final_relu`: all reference implementations have a ReLU after conv10, before the average pooling
      (with another `activation`, that one). On small data it leaves most seeds dead (all logits 0), so
      `squeezenet_small` is without.
    - `activation`: "elu" is the variant that ducha-aiki trained (55.5 against 53.0 % top-1 at 128 px).
    - `squeeze_activation`: "none" leaves out the activation after the squeeze layers (miaow1988's "v1.2");
      "same" takes `activation`, as the paper does.
    - `init`: "xavier" is Caffe's filler, U(-a, a) with a = sqrt(3 / fan_in), as in the authors' files;
      "kaiming" is torchvision's, U(-a, a) with a = sqrt(6 / fan_in). conv10 is N(0, 0.01) in both.
    - `bypass`: the paper's Figure 2. A module whose input and output widths are equal gets an identity
      with "simple" and "complex"; "complex" gives every other module a 1x1 convolution with a ReLU.
    """

    family: Literal["squeezenet"] = "squeezenet"
    base_e: int = ranged(128, low=1)
    incr_e: int = ranged(128, low=0)
    pct_3x3: float = ranged(0.5, low=0, high=1)
    freq: int = ranged(2, low=1)
    squeeze_ratio: float = ranged(0.125, low=0, high=1)
    num_fires: int = ranged(8, low=1, high=1000)
    stem_features: int = ranged(96, low=1)
    stem_kernel: int = ranged(7, low=1)
    stem_stride: int = ranged(2, low=1)
    stem_padding: int = ranged(0, low=0)
    pool_after: tuple[int, ...] = ranged((1, 4, 8), low=1)
    pool_rounding: Literal["ceil", "floor"] = "ceil"
    bypass: Literal["none", "simple", "complex"] = "none"
    dropout_rate: float = ranged(0.5, low=0, high=0.999)
    conv10_padding: int = ranged(1, low=0)
    final_relu: bool = True
    activation: Literal["relu", "elu"] = "relu"
    squeeze_activation: Literal["same", "none"] = "same"
    init: Literal["xavier", "kaiming"] = "xavier"
    num_classes: int = ranged(1000, low=2)

    def __post_init__(self) -> None:
        """Put `pool_after` in order (any order is the same network) and refuse what no data could run."""
        object.__setattr__(self, "pool_after", tuple(sorted(self.pool_after)))
        if len(set(self.pool_after)) < len(self.pool_after):
            raise ArchitectureError(f"model.pool_after: {list(self.pool_after)} names a layer twice")
        last = self.num_fires + 1
        if self.pool_after and self.pool_after[-1] > last:
            raise ArchitectureError(
                f"model.pool_after: there is no layer {self.pool_after[-1]}; "
                f"conv1 counts as 1 and the last Fire module as {last}"
            )
        for number, widths in self.fires().items():
            for key, part, width in (
                ("squeeze_ratio", "squeeze1x1", widths.squeeze),
                ("pct_3x3", "expand1x1", widths.expand1x1),
                ("pct_3x3", "expand3x3", widths.expand3x3),
            ):
                if width < 1:
                    raise ArchitectureError(
                        f"model.{key}: {getattr(self, key)} gives fire{number}'s {part} a width of 0 "
                        f"(of {widths.expand} expand filters); each needs at least 1"
                    )

    def fires(self) -> dict[int, FireWidths]:
        """Return the widths of fire2, fire3, ... by number.

        e_i = base_e + incr_e * floor(i / freq) with i = 0 for fire2 (section 5.1). The paper gives no
        rounding: e3x3 and s1x1 are rounded half up in double precision, and e1x1 = e - e3x3, so that
        the sum is exact.
        """
        widths = {}
        for i in range(self.num_fires):
            e = self.base_e + self.incr_e * (i // self.freq)
            expand3x3 = math.floor(e * self.pct_3x3 + 0.5)
            squeeze = math.floor(e * self.squeeze_ratio + 0.5)
            widths[i + 2] = FireWidths(squeeze=squeeze, expand1x1=e - expand3x3, expand3x3=expand3x3)
        return widths

    def bypass_of(self, in_features: int, out_features: int) -> Literal["none", "identity", "conv1x1"]:
        """Return what bypasses a Fire module of these widths (section 6, for any metaparameters)."""
        if self.bypass == "none":
            return "none"
        if in_features == out_features:
            return "identity"
        return "conv1x1" if self.bypass == "complex" else "none"


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
    biases; with SGD it is Caffe's L2 term on every parameter. `momentum` belongs to SGD alone.
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

    def __post_init__(self) -> None:
        """Refuse a momentum that nothing would use; no momentum and a momentum of 0 are the same SGD."""
        if self.optimizer == "adamw" and self.momentum is not None:
            raise InputError(f"train.momentum: {self.momentum} has no effect with adamw; leave it out")
        if self.optimizer == "sgd" and self.momentum is None:
            object.__setattr__(self, "momentum", 0.0)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One network, one data set, one recipe, one seed: everything that decides a trial's outcome."""

    model: SqueezeNetConfig
    data: DataConfig
    train: TrainConfig
    seed: int = ranged(0, low=0, high=2**63 - 1)

    def settings(self) -> dict[str, Any]:
        """Return every key with its value, flat: {"model.squeeze_ratio": 0.125, ..., "seed": 0}."""
        return flatten(dataclasses.asdict(self))

    def to_json(self) -> dict[str, Any]:
        """Return the content of `config.json`, which `read_settings` reads back."""
        return {"schema": SCHEMA_VERSION} | json.loads(json.dumps(dataclasses.asdict(self)))


MODEL_PRESETS: dict[str, dict[str, Any]] = {
    # The released networks: github.com/forresti/SqueezeNet, SqueezeNet_v1.0 and SqueezeNet_v1.1.
    "squeezenet_v1_0": {},
    "squeezenet_v1_1": {
        "model.stem_features": 64,
        "model.stem_kernel": 3,
        "model.pool_after": (1, 3, 5),
        "model.conv10_padding": 0,
    },
    # For images of 8 to 64 pixels.
    "squeezenet_small": {
        "model.base_e": 32,
        "model.incr_e": 32,
        "model.stem_features": 32,
        "model.stem_kernel": 3,
        "model.stem_stride": 1,
        "model.stem_padding": 1,
        "model.conv10_padding": 0,
        "model.final_relu": False,
    },
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

KEYS: dict[str, Key] = {
    **{name: Key(name, Literal[tuple(table)], {}) for name, table in _STARTING_POINTS.items()},  # type: ignore
    **keys_of(SqueezeNetConfig, "model."),
    **keys_of(DataConfig, "data."),
    **keys_of(TrainConfig, "train."),
    "seed": keys_of(TrialConfig)["seed"],
}
"""Every key that a user may set, by its full name."""


def read_setting(name: str, value: Any, where: str) -> Any:
    """Return the value of one key as its type; an unknown key or a wrong value is an `InputError`."""
    if name not in KEYS:
        raise unknown_key(name, KEYS, where)
    return KEYS[name].read(value, where)


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


def parse_assignment(text: str, where: str = "--set") -> tuple[str, Any]:
    """Read "model.squeeze_ratio=0.5": the value is TOML, and a bare word is a text."""
    name, equals, value = text.partition("=")
    if not equals or "\n" in text:
        raise InputError(f"{where} {text}: needs KEY=VALUE, as in model.squeeze_ratio=0.5")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")["value"]
    except ValueError:
        parsed = value.strip()
    return name.strip(), read_setting(name.strip(), parsed, where)


def resolve(settings: Mapping[str, Any], where: str) -> TrialConfig:
    """Turn typed settings by full key into a whole trial.

    The data set's metadata fills `model.num_classes` and `data.image_shape`; another value there is an
    `InputError`. A network that cannot exist is an `ArchitectureError`. `where` begins every message.
    """
    try:
        data = dataset_info(settings.get("data.name", DataConfig.name))
        known = {"model.num_classes": data.num_classes, "data.image_shape": tuple(data.image_shape)}
        for name, value in known.items():
            if settings.get(name, value) != value:
                raise InputError(f"{name}: {data.name} has {value}, found {settings[name]}; leave it out")
        return from_settings(_with_starting_points(settings) | known)
    except InputError as error:
        raise type(error)(f"{where}: {error}") from None


def from_settings(settings: Mapping[str, Any]) -> TrialConfig:
    """Put together a trial whose settings are resolved already, as those of a `config.json` are."""
    return TrialConfig(
        model=SqueezeNetConfig(**_section(settings, "model.")),
        data=DataConfig(**_section(settings, "data.")),
        train=TrainConfig(**_section(settings, "train.")),
        seed=settings.get("seed", 0),
    )


def resolve_model(settings: Mapping[str, Any], where: str) -> SqueezeNetConfig:
    """Turn the `model.` keys alone into a network, for where there is no data set."""
    try:
        return SqueezeNetConfig(**_section(_with_starting_points(settings), "model."))
    except InputError as error:
        raise type(error)(f"{where}: {error}") from None


def _with_starting_points(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace `model.preset` and `train.recipe` by the keys they stand for, under the user's own."""
    full: dict[str, Any] = {}
    for name, table in _STARTING_POINTS.items():
        if name in settings:
            section = name.partition(".")[0] + "."
            if all(k in settings for k in KEYS if k.startswith(section) and k not in _STARTING_POINTS):
                raise InputError(f"{name}: has no effect where each {section} key is set; set single keys")
            full |= table[settings[name]]
    full |= {k: v for k, v in settings.items() if k not in _STARTING_POINTS}
    if full.get("train.optimizer") == "adamw" and "train.momentum" not in settings:
        full["train.momentum"] = None  # the recipe's, which belonged to its own optimiser
    return full


def _section(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in settings.items() if k.startswith(prefix)}
