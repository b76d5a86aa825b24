"""Random axes: values drawn by a seed, the same on every machine and in every version.

    random.count = 20                                  # points to draw
    random.seed = 1                                    # 0 by default
    random.sobol = true                                # evenly spread, instead of independent draws
    random.uniform.model.pct_3x3 = [0.1, 0.9, 0.1]     # low, high and, if wanted, a step from low on
    random.log.train.learning_rate = [1e-4, 1e-2]      # evenly in the logarithm
    random.integer.model.base_e = [16, 64, 8]          # whole numbers; the step is 1 by default
    random.power_of_two.train.batch_size = [16, 256]   # 16, 32, 64, 128, 256
    random.choices.model.bypass = ["none", "simple"]   # any values

A draw is a number u in [0, 1), from a hash of the seed, the key and the number of the point, or from the
Sobol sequence moved by such a hash. So the first n points of a larger count are the same points, and an
axis that is added leaves the values of the others alone (with Sobol, added at the end). Both ends of a range
can be drawn. Two equal draws are one point.

A step counts in decimal: from 0.1 in steps of 0.1 comes 0.3 and not 0.30000000000000004. A draw without a
step is cut to six digits of its range (uniform) or of itself (log): short in a table, and independent of
the last bit of a machine's logarithm.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_args

from sqzx.config import KEYS, read_setting
from sqzx.errors import InputError
from sweeps.reading import check_disjoint, check_known, read_count, read_flag, read_lists, read_table

DIGITS = 6
"""Significant digits of a draw from a range without a step."""

LARGEST_COUNT = 1_000_000


@dataclass(frozen=True)
class Levels:
    """Values that are equally likely; `ordered` where the next one is near."""

    values: tuple[Any, ...]
    ordered: bool = False

    @property
    def number(self) -> int:
        """How many values there are; number i is at (i + 1/2) / number."""
        return len(self.values)

    def at(self, u: float) -> Any:
        """Return the value at `u` in [0, 1)."""
        return self.values[int(u * len(self.values))]

    def ends(self) -> tuple[Any, ...]:
        """Return every value."""
        return self.values


@dataclass(frozen=True)
class Steps:
    """`low`, `low` + `step`, ... up to `high`, exactly as they are written in decimal."""

    low: int | float
    high: int | float
    step: int | float

    @property
    def number(self) -> int:
        """How many values there are; number i is at (i + 1/2) / number."""
        return int((_decimal(self.high) - _decimal(self.low)) // _decimal(self.step)) + 1

    def at(self, u: float) -> int | float:
        """Return the value at `u` in [0, 1)."""
        return self._value(int(u * self.number))

    def ends(self) -> tuple[int | float, int | float]:
        """Return the first and the last value."""
        return self._value(0), self._value(self.number - 1)

    def _value(self, index: int) -> int | float:
        value = _decimal(self.low) + index * _decimal(self.step)
        return int(value) if all(isinstance(n, int) for n in (self.low, self.step)) else float(value)


@dataclass(frozen=True)
class Uniform:
    """Any number from `low` to `high`."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """Return the value at `u` in [0, 1)."""
        span = self.high - self.low
        digits = DIGITS - 1 - _decimal(span).adjusted()
        return min(self.high, max(self.low, round(self.low + u * span, digits)))

    def ends(self) -> tuple[float, float]:
        """Return the bounds."""
        return self.low, self.high


@dataclass(frozen=True)
class Log:
    """Any number from `low` to `high`, its logarithm uniform; whole numbers only where `whole`."""

    low: float
    high: float
    whole: bool

    def at(self, u: float) -> int | float:
        """Return the value at `u` in [0, 1)."""
        value = self.low * math.exp(u * math.log(self.high / self.low))
        value = round(value) if self.whole else float(f"{value:.{DIGITS}g}")
        return min(self.high, max(self.low, value))

    def ends(self) -> tuple[float, float]:
        """Return the bounds."""
        return self.low, self.high


Axis = Levels | Steps | Uniform | Log


@dataclass(frozen=True, kw_only=True)
class RandomAxes:
    """So many draws from the product of some ranges."""

    count: int
    seed: int
    sobol: bool
    axes: Mapping[str, Axis]

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the different ones of `count` points: for each key its typed value."""
        seen = set()
        for row in _sobol(self.seed, list(self.axes), self.count) if self.sobol else self._independent():
            drawn = zip(self.axes.items(), row, strict=True)
            point = {key: read_setting(key, axis.at(u), "random") for (key, axis), u in drawn}
            if (values := tuple(point.values())) not in seen:
                seen.add(values)
                yield point

    def _independent(self) -> Iterator[list[float]]:
        for number in range(self.count):
            yield [_hashed(self.seed, key, number) for key in self.axes]


def read_random(tree: Mapping[str, Any], where: str) -> RandomAxes | None:
    """Read the table `random` of a block, or return None where it is empty."""
    if not tree:
        return None
    check_known(tree, ("count", "seed", "sobol", *RANGES), where)
    axes = read_axes(tree, where)
    return RandomAxes(
        count=read_count(tree, "count", where, low=1, high=LARGEST_COUNT, default=None),
        seed=read_count(tree, "seed", where, low=0, high=2**63 - 1, default=0),
        sobol=read_flag(tree, "sobol", where),
        axes=axes,
    )


def read_axes(tree: Mapping[str, Any], where: str) -> dict[str, Axis]:
    """Read the ranges of a table by full key; there has to be one."""
    groups = {kind: read_lists(read_table(tree, kind, where), f"{where} {kind}") for kind in RANGES}
    check_disjoint(groups, where)
    # In the order of the file: an axis that is added at its end leaves Sobol's other dimensions alone.
    axes = {
        key: _read_axis(kind, key, values, f"{where} {kind}")
        for kind in tree
        for key, values in groups.get(kind, {}).items()
    }
    if not axes:
        raise InputError(f"{where}: has no range; give one of {', '.join(RANGES)}")
    return axes


def _read_axis(kind: str, key: str, values: list[Any], where: str) -> Axis:
    axis = _READERS[kind](key, values, f"{where}: {key}")
    for end in axis.ends():
        read_setting(key, end, where)
    return axis


def _read_uniform(key: str, values: list[Any], where: str) -> Axis:
    _check_numeric(key, where)
    if _is_whole(key):
        raise InputError(f"{where}: takes whole numbers; use random.integer")
    low, high, step = _read_range(values, where)
    return Uniform(low, high) if step is None else Steps(low, high, step)


def _read_log(key: str, values: list[Any], where: str) -> Axis:
    _check_numeric(key, where)
    low, high, step = _read_range(values, where)
    if step is not None:
        raise InputError(f"{where}: a logarithmic range has no step; give [low, high]")
    if low <= 0:
        raise InputError(f"{where}: a logarithmic range begins above 0, found {low!r}")
    return Log(low, high, whole=_is_whole(key))


def _read_integer(key: str, values: list[Any], where: str) -> Axis:
    _check_numeric(key, where)
    whole = [int(n) if isinstance(n, float) and n.is_integer() else n for n in values]
    for value in whole:
        if isinstance(value, float):
            raise InputError(f"{where}: needs whole numbers, found {value!r}; use random.uniform")
    low, high, step = _read_range(whole, where)
    return Steps(low, high, 1 if step is None else step)


def _read_power_of_two(key: str, values: list[Any], where: str) -> Axis:
    _check_numeric(key, where)
    low, high, step = _read_range(values, where)
    if step is not None or low <= 0:
        raise InputError(f"{where}: needs [low, high] with low above 0, found {values!r}")
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    powers = tuple(2**n if n >= 0 else 2.0**n for n in range(first, last + 1))
    if not powers:
        raise InputError(f"{where}: no power of two is in {values!r}")
    return Levels(powers, ordered=True)


def _read_choices(key: str, values: list[Any], where: str) -> Axis:
    return Levels(tuple(values))


_READERS: Mapping[str, Callable[[str, list[Any], str], Axis]] = {
    "uniform": _read_uniform,
    "log": _read_log,
    "integer": _read_integer,
    "power_of_two": _read_power_of_two,
    "choices": _read_choices,
}
"""The kinds of ranges: each reads the key's list, untyped, and names it in errors by `where`."""

RANGES = tuple(_READERS)


def _read_range(values: Sequence[Any], where: str) -> tuple[Any, Any, Any]:
    """Return low, high and step (None without one) of a list that says them."""
    if len(values) not in (2, 3):
        raise InputError(f"{where}: needs [low, high] or [low, high, step], found {list(values)!r}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{where}: needs numbers, found {value!r}")
    low, high, *steps = values
    if low >= high:
        raise InputError(f"{where}: low {low!r} is not below high {high!r}")
    for step in steps:
        if not 0 < _decimal(step) <= _decimal(high) - _decimal(low):
            raise InputError(f"{where}: the step has to be above 0 and fit the range, found {step!r}")
    return low, high, steps[0] if steps else None


def _check_numeric(key: str, where: str) -> None:
    if not numeric(key):
        raise InputError(f"{where}: takes no single number; use random.choices")


def numeric(key: str) -> bool:
    """Whether the values of a key are numbers (or none)."""
    return bool({int, float} & _types(key))


def _is_whole(key: str) -> bool:
    return int in _types(key)


def _types(key: str) -> set[Any]:
    annotation = KEYS[key].annotation
    return {annotation, *(get_args(annotation) if type(None) in get_args(annotation) else ())}


def _decimal(number: int | float) -> Decimal:
    """Return a number as it is written: the double 0.1 is 1/10."""
    return Decimal(repr(number))


def _hashed(seed: int, key: str, number: int) -> float:
    """Return a number in [0, 1) of 53 bits, a double's precision."""
    digest = hashlib.sha256(f"{seed}/{key}/{number}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _sobol(seed: int, keys: list[str], count: int) -> Iterator[list[float]]:
    """Yield points of the Sobol sequence, each dimension moved (modulo 1) by an amount of the seed's own.

    The move keeps the even spread and gives each seed points of its own. SciPy's scrambling would, too,
    but draws from NumPy's generators, whose numbers may change with a version.
    """
    from scipy.stats import qmc

    shifts = [_hashed(seed, key, -1) for key in keys]
    # A power of two, as the sequence asks for; its first points don't depend on how many follow.
    points = qmc.Sobol(d=len(keys), scramble=False).random_base2((count - 1).bit_length())
    for point in points[:count].tolist():
        yield [(u + shift) % 1.0 for u, shift in zip(point, shifts, strict=True)]
