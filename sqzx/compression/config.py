"""The `compress.` keys: how a network is compressed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqzx.config import parse_assignment
from sqzx.errors import InputError
from sqzx.schema import keys_of, ranged

_PREFIX = "compress."


@dataclass(frozen=True, kw_only=True)
class CompressConfig:
    """How weights are shared and coded.

    The weights of a layer share 2^`bits` - 1 values, and 0. `coder` makes the file of them: "huffman", as in
    Deep Compression, or "range", which is about 1 % smaller. `tables` is the type of codebooks and biases:
    "f16" rounds each that has a layer's range in float16, and leaves the others alone; "f32" rounds none.
    """

    bits: int = ranged(6, low=1, high=8)
    coder: Literal["huffman", "range"] = "huffman"
    tables: Literal["f16", "f32"] = "f16"


_LOSSLESS: dict[str, Any] = {"bits": 8, "tables": "f32"}


def read_assignments(assignments: Iterable[str], *, lossless: bool = False) -> CompressConfig:
    """Return the configuration of texts such as "compress.bits=5"; the last of a key counts.

    `lossless` is 8 bits and tables of f32, and refuses anything else.
    """
    keys = keys_of(CompressConfig, _PREFIX)
    said = dict(parse_assignment(text, keys=keys) for text in assignments)
    values = {key.removeprefix(_PREFIX): value for key, value in said.items()}
    if not lossless:
        return CompressConfig(**values)
    for key, value in _LOSSLESS.items():
        if values.get(key, value) != value:
            raise InputError(f"--lossless: is {_PREFIX}{key}={value}, found {values[key]}; leave out either")
    return CompressConfig(**values | _LOSSLESS)
