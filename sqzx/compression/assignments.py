"""The `compress.` keys of the command line."""

from collections.abc import Iterable
from typing import Any

from sqzx.compression.config import PREFIX, CompressConfig
from sqzx.config import parse_assignment
from sqzx.errors import InputError
from sqzx.schema import Key, keys_of

_LOSSLESS: dict[str, Any] = {"bits": 8, "tables": "f32"}


def read_assignments(
    assignments: Iterable[str], *, recipe: str | None = None, lossless: bool = False
) -> CompressConfig:
    """Return the configuration of texts such as "compress.bits=5"; the last of a key counts.

    `recipe` is that of its own option. `lossless` is 8 bits and tables of f32, and refuses anything else.
    """
    keys = keys_of(CompressConfig, PREFIX)
    said = dict(parse_assignment(text, keys=keys) for text in assignments)
    values = {key.removeprefix(PREFIX): value for key, value in said.items()}
    if recipe is not None:
        option = Key("the recipe", keys[f"{PREFIX}recipe"].annotation, {})
        values["recipe"] = option.read(recipe, "--recipe")
    if not lossless:
        return CompressConfig(**values)
    for key, value in _LOSSLESS.items():
        if values.get(key, value) != value:
            raise InputError(f"--lossless: is {PREFIX}{key}={value}, found {values[key]}; leave out either")
    if values.get("recipe"):
        raise InputError("--lossless: keeps every weight, so it has no recipe; leave out either")
    return CompressConfig(**values | _LOSSLESS)
