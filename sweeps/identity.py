"""The identity of a trial: a hash of its whole, typed configuration.

Two spellings of one point are one trial, since the hash is taken after the schema has typed every value
and presets are resolved away. A field that is added to a configuration class later carries
`metadata={"introduced_as": value}`, the value at which everything before it ran; at that value it is left
out of the hash, so that trials from before keep their ids.
"""

import dataclasses
import hashlib
import json
from typing import Any

from sqzx.config import SCHEMA_VERSION, TrialConfig

DIGITS = 16
"""Hexadecimal digits of an id: 64 bits, so a million trials collide with a chance of 3e-8."""

_ABSENT = object()


def trial_id(config: TrialConfig) -> str:
    """Return the id of a trial: "t" and 16 hexadecimal digits."""
    return "t" + _digest(_hashed(config))


def config_id(config: TrialConfig) -> str:
    """Return the id of a trial's configuration without its seed: "c" and 16 hexadecimal digits."""
    return "c" + _digest({k: v for k, v in _hashed(config).items() if k != "seed"})


def _hashed(config: Any) -> dict[str, Any]:
    """Return what identity rests on, as plain nested values."""
    tree = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            value = _hashed(value)
        if value != field.metadata.get("introduced_as", _ABSENT):
            tree[field.name] = value
    return tree


def _digest(tree: dict[str, Any]) -> str:
    # JSON writes a double as the shortest text that reads back as the same double: no rounding.
    canonical = json.dumps({"schema": SCHEMA_VERSION} | tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:DIGITS]
