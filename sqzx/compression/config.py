"""The `compress.` keys: how a network is compressed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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


def read_assignments(assignments: Iterable[str]) -> CompressConfig:
    """Return the configuration of texts such as "compress.bits=5"; the last of a key counts."""
    keys = keys_of(CompressConfig, _PREFIX)
    said = dict(parse_assignment(text, keys=keys) for text in assignments)
    return CompressConfig(**{key.removeprefix(_PREFIX): value for key, value in said.items()})


def check_lossless(config: CompressConfig) -> CompressConfig:
    """Return the configuration for a file without loss; `InputError` for a key that says otherwise."""
    untouched = CompressConfig()
    if config.bits not in (untouched.bits, 8) or config.tables not in (untouched.tables, "f32"):
        raise InputError(
            f"--lossless: is 8 bits with tables of f32; compress.bits={config.bits} and "
            f"compress.tables={config.tables} would lose something"
        )
    return CompressConfig(bits=8, coder=config.coder, tables="f32")
