"""What is kept of each layer, as a text: "paper", or layers with their densities.

    conv10=0.2, *.expand3x3=0.33, conv1=1

A star stands for any part of a name; of several that fit a layer the last counts. Layers that none fits have
the density of the whole. "paper" are the published ones: Table 1 of SqueezeNet's paper for networks with
those layers, Table 4 of Han et al. 2015 for AlexNet. Densities are decimals as they are written
(`sqzx.compression.pruning.kept_count`).
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from sqzx.errors import ArchitectureError, InputError
from sqzx.schema import nearest

SQUEEZENET_V1_0: dict[str, float] = {
    "conv1": 1.0,
    **{f"fire{n}.squeeze": 0.5 if n in (7, 9) else 1.0 for n in range(2, 10)},
    **{f"fire{n}.expand1x1": 0.5 if n in (6, 8) else 1.0 for n in range(2, 10)},
    **{f"fire{n}.expand3x3": 0.3 if n in (8, 9) else 0.33 for n in range(2, 10)},
    "conv10": 0.2,
}
"""What the paper's Table 1 keeps of each layer of SqueezeNet v1.0.

With all biases that is 421,098 parameters, each row of the table's last column too. For the 3x3 filters of
fire8 the table prints 33 %, but its own count is that of 30 %.
"""

ALEXNET: dict[str, float] = {
    "conv1": 0.84,
    "conv2": 0.38,
    "conv3": 0.35,
    "conv4": 0.37,
    "conv5": 0.37,
    "fc6": 0.09,
    "fc7": 0.09,
    "fc8": 0.25,
}
"""What Han et al. 2015 (Table 4) keep of each layer of AlexNet; 11 % in all, a ninth."""

PAPER = "paper"
_KEY = "compress.densities"


def check_text(text: str) -> None:
    """Refuse a text that is none."""
    if text != PAPER:
        _pairs(text)


def densities_of(layers: Iterable[str], density: float | None, text: str | None) -> dict[str, float]:
    """Return the density of each layer: `density`, or what a text says of it.

    `ArchitectureError` for a name that no layer has, and for "paper" where the network has other layers.
    """
    layers = list(layers)
    if text == PAPER:
        published = ALEXNET if layers and layers[-1] in ALEXNET else SQUEEZENET_V1_0
        if missing := [name for name in layers if name not in published]:
            raise ArchitectureError(f"{_KEY}: the paper has no {missing[0]}; say the density of each layer")
        return {name: published[name] for name in layers}
    assert density is not None  # only "paper" goes without
    found = dict.fromkeys(layers, density)
    for pattern, value in _pairs(text) if text else ():
        fitting = [name for name in layers if fnmatchcase(name, pattern)]
        if not fitting:
            raise ArchitectureError(f"{_KEY}: {pattern}: no layer has this name{nearest(pattern, layers)}")
        found |= dict.fromkeys(fitting, value)
    return found


def _pairs(text: str) -> list[tuple[str, float]]:
    return [_pair(part) for part in text.split(",")]


def _pair(text: str) -> tuple[str, float]:
    name, equals, value = (part.strip() for part in text.partition("="))
    try:
        density = float(value)
    except ValueError:
        density = 0.0
    if not name or not equals or not 0 < density <= 1:
        raise InputError(
            f'{_KEY}: needs "paper" or LAYER=DENSITY, ... with densities above 0 and at most 1, as in '
            f'"conv10=0.2, *.expand3x3=0.33"; found {text.strip()!r}'
        )
    return name, density
