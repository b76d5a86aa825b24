"""Strict reading of a study's tables: a mistake is one line that names the file, the table and the key."""

from collections.abc import Mapping
from typing import Any

from sqzx.config import KEYS, read_setting
from sqzx.errors import InputError
from sqzx.schema import Key, flatten, unknown_key


def check_known(tree: Mapping[str, Any], valid: tuple[str, ...], where: str) -> None:
    """Refuse a table with a key that is not one of `valid`."""
    for name in tree:
        if name not in valid:
            raise unknown_key(name, valid, where)


def read_table(tree: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """Return the table `name`, empty where there is none."""
    table = tree.get(name, {})
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: {name}: needs a table, found {table!r}")
    return table


def read_tables(tree: Mapping[str, Any], name: str, where: str) -> list[Mapping[str, Any]]:
    """Return the list of tables `name`, empty where there is none."""
    tables = tree.get(name, [])
    if not isinstance(tables, list):
        raise InputError(f"{where}: {name}: needs a list of tables, found {tables!r}")
    for number, table in enumerate(tables, 1):
        if not isinstance(table, Mapping):
            raise InputError(f"{where}: {name} {number}: needs a table, found {table!r}")
    return tables


def read_name(tree: Mapping[str, Any], where: str) -> str:
    """Return the `name` of a table: printable, and not only blanks."""
    text = Key("name", str, {}).read(tree.get("name"), where)
    if not text.strip() or not text.isprintable():
        raise InputError(f"{where}: name: needs a text of printable characters, found {text!r}")
    return text


def read_flag(tree: Mapping[str, Any], name: str, where: str) -> bool:
    """Return a value that is true or false, false where there is none."""
    return Key(name, bool, {}).read(tree.get(name, False), where)


def read_count(tree: Mapping[str, Any], name: str, where: str, *, low: int, high: int, default: Any) -> int:
    """Return a whole number from `low` to `high`; with a `default` of None it has to be there."""
    return Key(name, int, {"low": low, "high": high}).read(tree.get(name, default), where)


def read_lists(tree: Mapping[str, Any], where: str) -> dict[str, list[Any]]:
    """Return the lists of a table of axes by full key, each of at least one value, not yet typed."""
    lists = {}
    for key, values in _flat(tree, where).items():  # `grid.model.freq = {}` is left as a value, and refused
        check_key(key, where)
        if not isinstance(values, list):
            read_setting(key, values, where)  # a wrong value is the better message
            raise InputError(f"{where}: {key}: needs a list of values, found {values!r}; use [{values!r}]")
        if not values:
            raise InputError(f"{where}: {key}: is an empty list; give at least one value or leave it out")
        lists[key] = values
    return lists


def read_values(tree: Mapping[str, Any], where: str) -> dict[str, tuple[Any, ...]]:
    """Return the axes of a table: for each full key its typed values."""
    return {
        key: tuple(read_setting(key, value, f"{where}[{i}]") for i, value in enumerate(values))
        for key, values in read_lists(tree, where).items()
    }


def check_key(key: str, where: str) -> None:
    """Refuse what is no key of a configuration, and the seed, which no part of a study sets."""
    if key == "seed":
        raise InputError(f"{where}: seed: replicates are set for the whole study; use `seeds = N`")
    if key not in KEYS:
        raise unknown_key(key, KEYS, where)


def check_disjoint(groups: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Refuse a key that two kinds of axes of one block set."""
    seen: dict[str, str] = {}
    for kind, keys in groups.items():
        for key in keys:
            if key in seen:
                raise InputError(f"{where}: {key}: is in {seen[key]} and in {kind}; keep one")
            seen[key] = kind


def _flat(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    try:
        return flatten(tree)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
