"""The space of a study: blocks of settings and axes, and the points that they span.

A block's points are the product of its `points`, its `zip`, its `random` and its `grid` axes over what it
`set`s. A `when` part of a block then refines the points that have certain settings by axes of its own.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqzx.config import read_tree
from sqzx.errors import InputError
from sweeps.random_axes import RandomAxes, read_random
from sweeps.reading import (
    check_disjoint,
    check_key,
    check_known,
    read_name,
    read_table,
    read_tables,
    read_values,
)

Settings = Mapping[str, Any]
"""Typed values by full key."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Fixed settings and the axes that vary, by full key."""

    fixed: Settings
    listed: tuple[Settings, ...]
    zipped: Mapping[str, tuple[Any, ...]]
    random: RandomAxes | None
    grid: Mapping[str, tuple[Any, ...]]

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of each point, the last axis of the grid fastest."""
        nothing: tuple[dict[str, Any]] = ({},)
        together = [
            dict(zip(self.zipped, row, strict=True)) for row in zip(*self.zipped.values(), strict=True)
        ]
        drawn = self.random.points() if self.random else nothing
        for rows in itertools.product(self.listed or nothing, together or nothing, drawn):
            start = dict(self.fixed)
            for row in rows:
                start.update(row)
            for values in itertools.product(*self.grid.values()):
                yield {**start, **dict(zip(self.grid, values, strict=True))}

    def values(self) -> dict[str, set[Any]]:
        """Return what each key may be, those that vary first. None stands for a point that leaves it out."""
        found: dict[str, set[Any]] = {}
        for row in self.listed:
            for key, value in row.items():
                found.setdefault(key, set()).add(value)
        for key in found:
            found[key].update(self.fixed.get(key) for row in self.listed if key not in row)
        for row in self.random.points() if self.random else ():
            for key, value in row.items():
                found.setdefault(key, set()).add(value)
        found |= {key: set(values) for key, values in (*self.zipped.items(), *self.grid.items())}
        return found | {key: {value} for key, value in self.fixed.items() if key not in found}


@dataclass(frozen=True, kw_only=True)
class When:
    """A part of a block: the points that have the settings of `condition` are refined by `space`."""

    condition: Settings
    space: Space


@dataclass(frozen=True, kw_only=True)
class Block:
    """One `[[sweep]]`."""

    name: str
    space: Space
    whens: tuple[When, ...] = ()

    def points(self, shared: Settings) -> Iterator[dict[str, Any]]:
        """Yield the settings of each point, over those that the study's trials share."""
        for point in self.space.points():
            yield from _refined({**shared, **point}, self.whens)

    def values(self) -> dict[str, set[Any]]:
        """Return what each key may be, those that vary first."""
        found = self.space.values()
        for when in self.whens:
            for key, values in when.space.values().items():
                found.setdefault(key, set()).update(values)
        return found

    def everywhere(self) -> set[str]:
        """Return the keys that each point of the block has."""
        space = self.space
        listed = set.intersection(*map(set, space.listed)) if space.listed else set()
        drawn = space.random.axes if space.random else {}
        return {*space.fixed, *space.zipped, *space.grid, *drawn, *listed}


ONE_POINT = Space(fixed={}, listed=(), zipped={}, random=None, grid={})
"""What a study without blocks spans."""


def _refined(point: dict[str, Any], whens: tuple[When, ...]) -> Iterator[dict[str, Any]]:
    for number, when in enumerate(whens):
        if all(point.get(key) == value for key, value in when.condition.items()):
            for more in when.space.points():
                yield from _refined({**point, **more}, whens[number + 1 :])
            return
    yield point


def read_block(tree: Settings, number: int, shared: Settings, source: str) -> Block:
    """Read block `number` of a study file whose trials share the settings `shared`."""
    where = f"{source} [[sweep]] {number}"
    check_known(tree, ("name", *_KINDS, "when"), where)
    name = read_name(tree, where) if "name" in tree else f"sweep {number}"
    if ";" in name:
        raise InputError(f"{where}: name: {name!r} has a semicolon, which separates names in tables")
    where = f"{where} ({name})"
    space = _read_space(tree, where)
    known = {**shared, **space.values()}
    whens: list[When] = []
    for index, part in enumerate(read_tables(tree, "when", where), 1):
        when = _read_when(part, known, f"{where} when {index}")
        _check_apart(when, space, whens, f"{where} when {index}")
        known |= when.space.values()
        whens.append(when)
    return Block(name=name, space=space, whens=tuple(whens))


_KINDS = ("set", "points", "zip", "random", "grid")


def _read_space(tree: Settings, where: str) -> Space:
    fixed = read_tree(read_table(tree, "set", where), f"{where} set")
    listed = _read_points(tree, where)
    zipped, grid = (read_values(read_table(tree, kind, where), f"{where} {kind}") for kind in ("zip", "grid"))
    random = read_random(read_table(tree, "random", where), f"{where} random")
    groups = {
        "set": fixed,
        "points": dict.fromkeys(key for row in listed for key in row),
        "zip": zipped,
        "random": random.axes if random else {},
        "grid": grid,
    }
    for key in fixed:
        check_key(key, where)
    check_disjoint(groups, where)
    lengths = {key: len(values) for key, values in zipped.items()}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{key} has {n}" for key, n in lengths.items())
        raise InputError(f"{where} zip: keys that advance together need lists of one length: {counted}")
    once = {key: tuple(dict.fromkeys(values)) for key, values in grid.items()}
    return Space(fixed=fixed, listed=listed, zipped=zipped, random=random, grid=once)


def _read_points(tree: Settings, where: str) -> tuple[Settings, ...]:
    rows = []
    for number, row in enumerate(read_tables(tree, "points", where), 1):
        here = f"{where} points {number}"
        settings = read_tree(row, here)
        if not settings:
            raise InputError(f"{here}: is an empty table; give at least one key")
        for key in settings:
            check_key(key, here)
        rows.append(settings)
    if "points" in tree and not rows:
        raise InputError(f"{where}: points: is an empty list; give at least one table or leave it out")
    return tuple(rows)


def _read_when(tree: Settings, known: Settings, where: str) -> When:
    check_known(tree, ("if", *_KINDS), where)
    condition = read_tree(read_table(tree, "if", where), f"{where} if")
    if not condition:
        raise InputError(f'{where}: if: needs a setting, as in if.model.family = "alexnet"')
    for key in condition:
        if key not in known:
            raise InputError(
                f"{where}: if.{key}: nothing before it sets this key; set it in the block or in [config]"
            )
    space = _read_space(tree, where)
    if not space.values():
        raise InputError(f"{where}: has no axes; give one of {', '.join(_KINDS)}")
    return When(condition=condition, space=space)


def _check_apart(when: When, space: Space, earlier: list[When], where: str) -> None:
    """Refuse a key that the block has already, or that another part may give to the same point."""
    keys = when.space.values()
    check_disjoint({"the block": space.values(), "this part": keys}, where)
    for number, other in enumerate(earlier, 1):
        exclusive = any(
            other.condition[key] != value for key, value in when.condition.items() if key in other.condition
        )
        if not exclusive:
            check_disjoint({f"when {number}": other.space.values(), "this part": keys}, where)
