"""What a study refuses to train: sizes out of range, keys that do not go together, excluded points.

    exclude = [{ model.squeeze_ratio = 1.0, model.pct_3x3 = 0.9 }]   # points that have all of these settings

    [constraints]
    params = { max = 2_000_000 }            # ranges of counted quantities, both ends included
    est_memory_mb = { max = 4000 }          # of a trial's process: see `sqzx.memory`
    est_seconds = { max = 3600 }            # as far as it is known: see `sweeps.estimates`
    require = ["model.base_e <= model.incr_e", "train.batch_size >= 16"]   # between keys, or key and number

A requirement compares with one of < <= > >= == !=. It says nothing of a point that lacks one of its keys
(networks of another family) or has "none" there.
"""

import functools
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqzx.architectures import ModelConfig
from sqzx.config import TrialConfig, read_tree
from sqzx.counting import Network, count
from sqzx.data.info import DatasetInfo
from sqzx.errors import InputError
from sqzx.memory import expected_memory_mb
from sqzx.schema import Key
from sweeps.random_axes import numeric
from sweeps.reading import check_key, check_known, read_table, read_tables


class Sizes(NamedTuple):
    """The counted sizes of a network, as `sqzx.counting.Network` has them.

    `parametric_layers` is the number of layers with parameters.
    """

    params: int
    macs: int
    flops: int
    bytes_fp32: int
    peak_activations: int
    parametric_layers: int

    def expected_memory_mb(self, config: TrialConfig, info: DatasetInfo) -> float:
        """Return the expected peak memory of a trial of such a network, in MB; see `sqzx.memory`."""
        return expected_memory_mb(
            config,
            info,
            params=self.params,
            layers=self.parametric_layers,
            peak_activations=self.peak_activations,
        )

    @classmethod
    def of(cls, network: Network) -> "Sizes":
        """Add up a counted network, in one pass: a large study has many."""
        params = macs = peak = parametric = 0
        for module in network.modules:
            for layer in module.layers:
                params += layer.params
                macs += layer.macs
                peak = max(peak, layer.activations)
                parametric += layer.params > 0
        return cls(params, macs, 2 * macs, 4 * params, peak, parametric)


def sizes_of(config: TrialConfig) -> Sizes:
    """Count the network of a configuration; raises `ArchitectureError` where there is none such."""
    return _sizes_of(config.model, config.data.image_shape)


# A large study often differs in its training alone: networks are counted once.
@functools.lru_cache(maxsize=2**17)
def _sizes_of(model: ModelConfig, image_shape: tuple[int, ...]) -> Sizes:
    return Sizes.of(count(model, image_shape))


class Quantity(NamedTuple):
    """What a study may bound: the type of its bounds, and what it is for a trial."""

    annotation: type
    of: Callable[[TrialConfig, Sizes, DatasetInfo], int | float]


QUANTITIES: Mapping[str, Quantity] = {
    "params": Quantity(int, lambda config, sizes, info: sizes.params),
    "macs": Quantity(int, lambda config, sizes, info: sizes.macs),
    "flops": Quantity(int, lambda config, sizes, info: sizes.flops),
    "bytes_fp32": Quantity(int, lambda config, sizes, info: sizes.bytes_fp32),
    "peak_activations": Quantity(int, lambda config, sizes, info: sizes.peak_activations),
    "est_memory_mb": Quantity(float, lambda config, sizes, info: sizes.expected_memory_mb(config, info)),
}
"""The quantities that a configuration alone decides."""

SIZES = tuple(name for name in QUANTITIES if name in Sizes._fields)
"""Those of them that are counted whole numbers, and the same for any training of a network."""

SECONDS = "est_seconds"
"""The one quantity that depends on a study's folder, too: what its finished trials took."""

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}


class Refusal(NamedTuple):
    """Why a point is skipped. `rule` is what it breaks, the same for all points that break it."""

    rule: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Range:
    """Inclusive bounds of a quantity; None is no bound."""

    name: str
    low: int | float | None
    high: int | float | None

    def refusal(self, value: int | float) -> Refusal | None:
        """Return how a value breaks the bounds, or None."""
        where = f"constraints.{self.name}"
        if self.low is not None and value < self.low:
            return Refusal(f"{where}.min", f"{where}: {value:,} is below the minimum of {self.low:,}")
        if self.high is not None and value > self.high:
            return Refusal(f"{where}.max", f"{where}: {value:,} is above the maximum of {self.high:,}")
        return None


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A comparison of a key with another or with a number; `text` is how the study says it."""

    text: str
    key: str
    comparison: str
    other: str | int | float

    def refusal(self, config: TrialConfig) -> Refusal | None:
        """Return how a configuration breaks it, or None where it holds or says nothing."""
        left = value_of(config, self.key)
        right = value_of(config, self.other) if isinstance(self.other, str) else self.other
        if left is None or right is None or OPERATORS[self.comparison](left, right):
            return None
        found = f"{self.key} is {left}" + (f", {self.other} is {right}" if self.other != right else "")
        return Refusal(f"constraints.require {self.text!r}", f"constraints.require: {self.text}: {found}")


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """All that a study refuses. `seconds` are the bounds of the expected time."""

    ranges: tuple[Range, ...] = ()
    seconds: Range | None = None
    requirements: tuple[Requirement, ...] = ()
    exclusions: tuple[Mapping[str, Any], ...] = ()

    def refusal(
        self, settings: Mapping[str, Any], config: TrialConfig, sizes: Sizes, info: DatasetInfo
    ) -> Refusal | None:
        """Return the first reason to skip a point, given as settings, resolved and counted, or None.

        `info` is the metadata of the point's data.
        """
        for number, excluded in enumerate(self.exclusions, 1):
            if all(_has(settings, config, key, value) for key, value in excluded.items()):
                told = ", ".join(f"{key} = {value}" for key, value in excluded.items())
                return Refusal(f"exclude {number}", f"exclude {number}: has {told}")
        for requirement in self.requirements:
            if refusal := requirement.refusal(config):
                return refusal
        for bounds in self.ranges:
            if refusal := bounds.refusal(QUANTITIES[bounds.name].of(config, sizes, info)):
                return refusal
        return None


def value_of(config: TrialConfig, key: str) -> Any:
    """Return a resolved configuration's value of a full key; None where it has none."""
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name, None)


def _has(settings: Mapping[str, Any], config: TrialConfig, key: str, value: Any) -> bool:
    # Of presets and recipes, which are resolved away, only the settings tell.
    return value in (settings.get(key, value_of(config, key)), value_of(config, key))


def read_constraints(tree: Mapping[str, Any], source: str, known: set[str]) -> Constraints:
    """Read `exclude` and `[constraints]` of a study's tree, in which the keys `known` are set somewhere."""
    table, where = read_table(tree, "constraints", source), f"{source} [constraints]"
    check_known(table, (*QUANTITIES, SECONDS, "require"), where)
    return Constraints(
        ranges=tuple(
            _read_range(table, name, quantity.annotation, where)
            for name, quantity in QUANTITIES.items()
            if name in table
        ),
        seconds=_read_range(table, SECONDS, float, where) if SECONDS in table else None,
        requirements=_read_requirements(table, where),
        exclusions=_read_exclusions(tree, source, known),
    )


def _read_range(tree: Mapping[str, Any], name: str, annotation: type, where: str) -> Range:
    bounds = read_table(tree, name, where)
    check_known(bounds, ("min", "max"), f"{where} {name}")
    if not bounds:
        raise InputError(f"{where}: {name}: needs min, max or both")
    low, high = (
        Key(f"{name}.{side}", annotation, {"low": 0}).read(bounds[side], where) if side in bounds else None
        for side in ("min", "max")
    )
    if low is not None and high is not None and low > high:
        raise InputError(f"{where}: {name}: min {low:,} is above max {high:,}")
    return Range(name=name, low=low, high=high)


def _read_requirements(tree: Mapping[str, Any], where: str) -> tuple[Requirement, ...]:
    texts = tree.get("require", [])
    if not isinstance(texts, list) or ("require" in tree and not texts):
        raise InputError(f"{where}: require: needs a list of comparisons, found {texts!r}")
    return tuple(_read_requirement(text, f"{where} require {n}") for n, text in enumerate(texts, 1))


def _read_requirement(text: Any, where: str) -> Requirement:
    if not isinstance(text, str):
        raise InputError(f"{where}: needs a text in quotes, found {text!r}")
    sides = re.fullmatch(r"\s*(\S+?)\s*(<=|>=|==|!=|<|>)\s*([^\s<>=!]+)\s*", text)
    if sides is None:
        raise InputError(
            f"{where}: {text!r} does not compare a key with a key or a number, by {' '.join(OPERATORS)}"
        )
    key, comparison, right = sides.groups()
    _check_comparable(key, where)
    other: str | int | float = right
    if re.fullmatch(r"[+-]?\d.*", right):
        other = _read_number(right, where)
    else:
        _check_comparable(right, where)
    return Requirement(text=text.strip(), key=key, comparison=comparison, other=other)


def _read_number(text: str, where: str) -> int | float:
    for kind in (int, float):
        try:
            return Key("number", kind, {}).read(kind(text), where)
        except ValueError:
            continue
    raise InputError(f"{where}: {text!r} is neither a key nor a number")


def _check_comparable(key: str, where: str) -> None:
    check_key(key, where)
    if not numeric(key):
        raise InputError(f"{where}: {key}: is no number, so it can't be compared; use exclude")


def _read_exclusions(tree: Mapping[str, Any], source: str, known: set[str]) -> tuple[Mapping[str, Any], ...]:
    exclusions = []
    for number, entry in enumerate(read_tables(tree, "exclude", source), 1):
        where = f"{source} exclude {number}"
        settings = read_tree(entry, where)
        if not settings:
            raise InputError(f"{where}: is an empty table, which every point has; give at least one key")
        for key in settings:
            check_key(key, where)
            if key not in known:
                raise InputError(f"{where}: {key}: no block sets this key, so it tells no points apart")
        exclusions.append(settings)
    return tuple(exclusions)
