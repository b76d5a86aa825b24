"""Strict reading of plain values (from TOML, JSON or the command line) into typed fields.

A frozen dataclass is the schema: its annotations are the types, the metadata of its fields the allowed
ranges. Nothing is guessed: `true` is no number, "3" is no integer, NaN and infinity are nothing.
Equal numbers become equal values (128.0 in an integer field is 128, -0.0 is 0.0), so that the identity
of a configuration may be taken afterwards.
"""

import dataclasses
import difflib
import functools
import math
import types
import typing
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sqzx.errors import InputError

LARGEST = 2**63
"""No whole number of a configuration is as large; the largest seed is just below."""


def ranged(default: Any, *, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field whose number (or each number of its tuple) lies in [low, high]."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def above_zero(default: Any, *, high: float | None = None, **more: Any) -> Any:
    """A dataclass field whose number is greater than 0, and at most `high`; `more` is metadata."""
    return dataclasses.field(default=default, metadata={"above": 0, "high": high, **more})


@dataclasses.dataclass(frozen=True)
class Key:
    """What one key accepts: its full dotted name, its type and its range."""

    name: str
    annotation: Any
    limits: Mapping[str, Any]

    def read(self, value: Any, where: str) -> Any:
        """Return `value` as this key's type, or raise `InputError`: where, key, what was found."""
        return _read(self.annotation, self.limits, value, f"{where}: {self.name}")


@functools.lru_cache(maxsize=64)  # a large study asks for the same few classes at every point
def keys_of(schema: Any, prefix: str = "") -> Mapping[str, Key]:
    """Return the keys of a dataclass by their full names, in the order of its fields."""
    hints = typing.get_type_hints(schema)
    fields = dataclasses.fields(schema)
    keys = {prefix + f.name: Key(prefix + f.name, hints[f.name], f.metadata) for f in fields}
    return types.MappingProxyType(keys)


def from_tree(schema: Any, tree: Any, where: str) -> Any:
    """Return the dataclass `schema` from a table that has each of its fields and no other key."""
    keys = keys_of(schema)
    if not isinstance(tree, Mapping):
        raise InputError(f"{where}: needs a table, found {_shown(tree)}")
    for name in tree:
        if name not in keys:
            raise unknown_key(str(name), keys, where)
    for name in keys:
        if name not in tree:
            raise InputError(f"{where}: {name} is missing")
    return schema(**{name: keys[name].read(value, where) for name, value in tree.items()})


def unknown_key(name: str, known: Iterable[str], where: str) -> InputError:
    """Return the error for a key that does not exist: where, its full name, the nearest valid one."""
    return InputError(f"{where}: {name}: unknown key{_odd_characters(name)}{nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the valid name closest to `name`, or all of them if none is close."""
    known = list(known)
    word, last = name.rsplit(".", 1)[-1], {k.rsplit(".", 1)[-1]: k for k in reversed(known)}
    if word in last:  # the right word under a wrong section, or without one
        close = [last[word]]
    elif not (close := difflib.get_close_matches(name, known, n=1, cutoff=0.6)):
        close = [last[n] for n in difflib.get_close_matches(word, last, n=1, cutoff=0.75)]
    return f"; did you mean {close[0]}?" if close else f"; valid: {', '.join(known)}"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one level of dotted keys: {"model": {"freq": 2}} is {"model.freq": 2}."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        # An empty table stays a value, so that a misspelt `[modle]` is an unknown key, not nothing.
        leaves = (
            flatten(value, f"{prefix}{name}.")
            if isinstance(value, Mapping) and value
            else {prefix + name: value}
        )
        for key, leaf in leaves.items():
            if key in flat:
                raise InputError(f"{key}: is set twice, once with its dots in quotes; keep one")
            flat[key] = leaf
    return flat


def _odd_characters(name: str) -> str:
    odd = [c for c in name if not c.isascii() or not c.isprintable()]
    named = ", ".join(f"{c!r} (U+{ord(c):04X} {unicodedata.name(c, 'unnamed')})" for c in odd)
    return f" with the odd character {named}" if odd else ""


def _read(annotation: Any, limits: Mapping[str, Any], value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):  # only "X | None" is used
        inner = next(a for a in arguments if a is not type(None))
        # TOML has no null; "none" is how a file or an axis spells it.
        return None if value is None or value == "none" else _read(inner, limits, value, where)
    if origin is Literal:
        if value not in arguments or not isinstance(value, str):
            hint = nearest(value, arguments) if isinstance(value, str) else f"; valid: {', '.join(arguments)}"
            raise InputError(f"{where}: {_shown(value)} is not possible here{hint}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: needs a list, found {_shown(value)}")
        return tuple(_read(arguments[0], limits, v, f"{where}[{i}]") for i, v in enumerate(value))
    if annotation is bool:
        if not isinstance(value, bool):
            raise InputError(f"{where}: needs true or false, found {_shown(value)}")
        return value
    if annotation is str:
        if not isinstance(value, str):
            raise InputError(f"{where}: needs a text in quotes, found {_shown(value)}")
        return value
    return _in_range(_number(annotation, value, where), limits, where)


def _number(annotation: type, value: Any, where: str) -> int | float:
    kind = "a whole number" if annotation is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: needs {kind}, found {_shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: needs {kind}, found {_shown(value)}, which is not finite")
    if (isinstance(value, int) or annotation is int) and abs(value) >= LARGEST:
        raise InputError(f"{where}: needs {kind} below 2^63, found {_shown(value)}")
    if annotation is float:
        return float(value) + 0.0  # -0.0 + 0.0 is 0.0: one spelling of zero
    if value != int(value):
        raise InputError(f"{where}: needs a whole number, found {_shown(value)}")
    return int(value)


def _in_range(value: int | float, limits: Mapping[str, Any], where: str) -> int | float:
    low, high, above = limits.get("low"), limits.get("high"), limits.get("above")
    if above is not None and (value <= above or (high is not None and value > high)):
        bounds = f"more than {above}" + (f" and at most {high}" if high is not None else "")
        raise InputError(f"{where}: needs {bounds}, found {value}")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"{low} to {high}" if high is not None else f"at least {low}"
        raise InputError(f"{where}: needs {bounds}, found {value}")
    return value


def _shown(value: Any) -> str:
    """A found value as a user would type it, cut to one short line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing (null)"
    text = (
        repr(value) if not isinstance(value, int) or abs(value) < LARGEST else "a number of too many digits"
    )
    return text if len(text) <= 60 else text[:57] + "..."
