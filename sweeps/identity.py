"""The identity of a trial: a hash of its whole, typed configuration.

Two spellings of one point are one trial, since the hash is taken after the schema has typed every value
and presets are resolved away. A field that is added to a configuration class later carries
`metadata={"introduced_as": value}`, the value at which everything before it ran; at that value it is left
out of the hash, so that trials from before keep their ids.
"""

import dataclasses
import functools
import hashlib
import json
from typing import Any

from sqzx.config import SCHEMA_VERSION, TrialConfig

DIGITS = 16
"""Hexadecimal digits of an id: 64 bits, so a million trials collide with a chance of 3e-8."""

def trial_id(config: TrialConfig) -> str:
    """Return the id of a trial: "t" and 16 hexadecimal digits."""
    return "t" + _digest(_hashed(config))


def config_id(config: TrialConfig) -> str:
    """Return the id of a trial's configuration without its seed: "c" and 16 hexadecimal digits."""
    return "c" + _digest({k: v for k, v in _hashed(config).items() if k != "seed"})


def _hashed(config: Any) -> dict[str, Any]:
    """Return the fields on which identity rests, of the whole or of one of its parts."""
    tree = dict(vars(config))
    for name, value in _introduced(type(config)).items():
        if tree[name] == value:
            del tree[name]
    return tree


@functools.lru_cache(maxsize=64)  # by class, of which there are a few
def _introduced(schema: type) -> dict[str, Any]:
    """Return the fields that came later, with the value at which everything before them ran."""
    metadata = {field.name: field.metadata for field in dataclasses.fields(schema)}
    return {name: found["introduced_as"] for name, found in metadata.items() if "introduced_as" in found}


# JSON writes a double as the shortest text that reads back as the same double: no rounding.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_hashed)


def _digest(tree: dict[str, Any]) -> str:
    canonical = _CANONICAL.encode({"schema": SCHEMA_VERSION} | tree)
    return hashlib.sha256(canonical.encode()).hexdigest()[:DIGITS]
