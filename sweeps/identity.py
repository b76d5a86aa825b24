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
    before, after = _around_seed(config)
    return "t" + _digest(before, f'"seed":{config.seed}', after)


def config_id(config: TrialConfig) -> str:
    """Return the id of a trial's configuration without its seed: "c" and 16 hexadecimal digits."""
    return "c" + _digest(*_around_seed(config))


def ids_of_seeds(config: TrialConfig, seeds: int) -> tuple[str, list[str]]:
    """Return the id of a configuration and those of its trials with the seeds 0 to `seeds` - 1."""
    before, after = _around_seed(config)
    trials = ["t" + _digest(before, f'"seed":{seed}', after) for seed in range(seeds)]
    return "c" + _digest(before, after), trials


def _around_seed(config: TrialConfig) -> tuple[str, str]:
    """Return what identity rests on as canonical JSON, the sorted keys before "seed" and those after it."""
    tree = {"schema": SCHEMA_VERSION, **_hashed(config)}
    before = {name: value for name, value in tree.items() if name < "seed"}
    after = {name: value for name, value in tree.items() if name > "seed"}
    return _CANONICAL.encode(before)[1:-1], _CANONICAL.encode(after)[1:-1]


def _hashed(config: Any) -> dict[str, Any]:
    """Return the fields on which identity rests, of the whole or of one of its parts."""
    tree = dict(vars(config))
    for name, value in _introduced(type(config)).items():
        if tree[name] == value:
            del tree[name]
    return tree


@functools.lru_cache(maxsize=64)  # by class, of which there are a few
def _introduced(schema: Any) -> dict[str, Any]:
    """Return the fields that came later, with the value at which everything before them ran."""
    metadata = {field.name: field.metadata for field in dataclasses.fields(schema)}
    return {name: found["introduced_as"] for name, found in metadata.items() if "introduced_as" in found}


# JSON writes a double as the shortest text that reads back as the same double: no rounding.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_hashed)


def _digest(*parts: str) -> str:
    return hashlib.sha256(f"{{{','.join(parts)}}}".encode()).hexdigest()[:DIGITS]
