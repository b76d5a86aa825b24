"""The study file: strict reading of its TOML into a frozen value, and the points that it spans.

schema = 1
name = "paper"
seeds = 3                                   # replicates of every configuration: seeds 0, 1, 2

[config]                                    # what all trials share
model.preset = "squeezenet_small"

[[sweep]]                                   # blocks add up
name = "squeeze_ratio"
set.model.pct_3x3 = 0.5                     # what this block fixes
grid.model.squeeze_ratio = [0.125, 0.25]    # axes that combine with each other
zip.train.epochs = [4, 8]                   # keys that advance together, combined with the grid
zip.train.learning_rate = [2e-3, 1e-3]

[constraints]                               # counted before training; what fails is skipped
params = { max = 2_000_000 }
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqzx.config import check_version, parse_toml, read_setting, read_text, read_tree
from sqzx.counting import Network
from sqzx.errors import InputError
from sqzx.schema import Key, flatten, unknown_key

STUDY_SCHEMA = 1

CONSTRAINED = ("params", "macs", "flops", "bytes_fp32", "peak_activations")
"""The counted quantities that a study may bound; each is an attribute of `Network`."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One `[[sweep]]`: fixed settings and the axes that vary, typed, by full key."""

    name: str
    fixed: Mapping[str, Any]
    grid: Mapping[str, tuple[Any, ...]]
    zipped: Mapping[str, tuple[Any, ...]]

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The keys that vary in this block, with their values."""
        return {**self.zipped, **self.grid}

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of each point, the last axis fastest."""
        rows = [dict(zip(self.zipped, row, strict=True)) for row in zip(*self.zipped.values(), strict=True)]
        for row in rows or [{}]:
            for values in itertools.product(*self.grid.values()):
                yield {**self.fixed, **row, **dict(zip(self.grid, values, strict=True))}


@dataclass(frozen=True, kw_only=True)
class Range:
    """Inclusive bounds of a counted quantity, all of which are whole numbers; None is no bound."""

    low: int | None
    high: int | None


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as its file says it. `text` is that file, kept as it was written."""

    name: str
    seeds: int
    config: Mapping[str, Any]
    sweeps: tuple[Block, ...]
    constraints: Mapping[str, Range]
    text: str
    source: str

    def points(self) -> Iterator[tuple[Block, dict[str, Any]]]:
        """Yield every block's points over the shared settings; a point of two blocks comes twice."""
        for block in self.sweeps:
            for point in block.points():
                yield block, {**self.config, **point}

    def refusal(self, network: Network) -> str | None:
        """Return which constraint a network breaks and by how much, or None."""
        for name, bounds in self.constraints.items():
            value = getattr(network, name)
            if bounds.low is not None and value < bounds.low:
                return f"constraints.{name}: {value:,} is below the minimum of {bounds.low:,}"
            if bounds.high is not None and value > bounds.high:
                return f"constraints.{name}: {value:,} is above the maximum of {bounds.high:,}"
        return None


def read_study(path: Path) -> Study:
    """Read a study file; whatever is wrong with it is one `InputError` that names the file and the key."""
    return parse_study(read_text(path), str(path))


def parse_study(text: str, source: str) -> Study:
    """Read the text of a study file; `source` names it in errors."""
    tree = parse_toml(text, source)
    _known(tree, ("schema", "name", "seeds", "config", "sweep", "constraints"), source)
    check_version(tree.get("schema"), STUDY_SCHEMA, source)
    config = read_tree(_table(tree, "config", source), f"{source} [config]")
    _without_seed(config, f"{source} [config]")
    blocks = tree.get("sweep", [])
    if not isinstance(blocks, list):
        raise InputError(f"{source}: sweep: needs [[sweep]] with double brackets")
    study = Study(
        name=_text(tree, "name", source),
        seeds=Key("seeds", int, {"low": 1, "high": 100_000}).read(tree.get("seeds", 1), source),
        config=config,
        sweeps=tuple(_block(b, i, source) for i, b in enumerate(blocks, 1))
        or (Block(name="config", fixed={}, grid={}, zipped={}),),
        constraints=_constraints(_table(tree, "constraints", source), source),
        text=text,
        source=source,
    )
    names = [block.name for block in study.sweeps]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise InputError(f"{source}: sweep.name: {twice!r} names two blocks; each needs its own")
    return study


def _block(tree: Any, number: int, source: str) -> Block:
    where = f"{source} [[sweep]] {number}"
    if not isinstance(tree, dict):
        raise InputError(f"{where}: needs a table, found {tree!r}")
    _known(tree, ("name", "set", "grid", "zip"), where)
    name = _text(tree, "name", where) if "name" in tree else f"sweep {number}"
    if ";" in name:
        raise InputError(f"{where}: name: {name!r} has a semicolon, which separates names in tables")
    where = f"{where} ({name})"
    fixed = read_tree(_table(tree, "set", where), f"{where} set")
    grid, zipped = (_axes(_table(tree, kind, where), f"{where} {kind}") for kind in ("grid", "zip"))
    groups = {"set": fixed, "grid": grid, "zip": zipped}
    for (a, first), (b, second) in itertools.combinations(groups.items(), 2):
        if both := sorted(set(first) & set(second)):
            raise InputError(f"{where}: {both[0]}: is in {a} and in {b}; keep one")
    for keys in groups.values():
        _without_seed(keys, where)
    lengths = {key: len(values) for key, values in zipped.items()}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{key} has {n}" for key, n in lengths.items())
        raise InputError(f"{where} zip: keys that advance together need lists of one length: {counted}")
    return Block(name=name, fixed=fixed, grid=grid, zipped=zipped)


def _axes(tree: Mapping[str, Any], where: str) -> dict[str, tuple[Any, ...]]:
    axes = {}
    for key, values in flatten(tree).items():  # `grid.model.freq = {}` is left as a value, and refused
        if not isinstance(values, list):
            read_setting(key, values, where)  # an unknown key is the better message
            raise InputError(f"{where}: {key}: needs a list of values, found {values!r}; use [{values!r}]")
        if not values:
            raise InputError(f"{where}: {key}: is an empty list; give at least one value or leave it out")
        typed = (read_setting(key, value, f"{where}[{i}]") for i, value in enumerate(values))
        axes[key] = tuple(dict.fromkeys(typed))
    return axes


def _constraints(tree: Mapping[str, Any], source: str) -> dict[str, Range]:
    where = f"{source} [constraints]"
    _known(tree, CONSTRAINED, where)
    ranges = {}
    for name in tree:
        bounds = _table(tree, name, where)
        _known(bounds, ("min", "max"), f"{where} {name}")
        if not bounds:
            raise InputError(f"{where}: {name}: needs min, max or both")
        low, high = (
            Key(f"{name}.{side}", int | None, {"low": 0}).read(bounds.get(side), where)
            for side in ("min", "max")
        )
        if low is not None and high is not None and low > high:
            raise InputError(f"{where}: {name}: min {low:,} is above max {high:,}")
        ranges[name] = Range(low=low, high=high)
    return ranges


def _without_seed(settings: Mapping[str, Any], where: str) -> None:
    if "seed" in settings:
        raise InputError(f"{where}: seed: replicates are set for the whole study; use `seeds = N`")


def _known(tree: Mapping[str, Any], valid: tuple[str, ...], where: str) -> None:
    for name in tree:
        if name not in valid:
            raise unknown_key(name, valid, where)


def _table(tree: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    table = tree.get(name, {})
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: {name}: needs a table, found {table!r}")
    return table


def _text(tree: Mapping[str, Any], name: str, where: str) -> str:
    text = Key(name, str, {}).read(tree.get(name), where)
    if not text.strip() or not text.isprintable():
        raise InputError(f"{where}: {name}: needs a text of printable characters, found {text!r}")
    return text
