"""The kernels of a network's parameters by the name of their layer, which is its dotted path."""

from collections.abc import Iterator, Mapping
from typing import Any


def kernels_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kernel of each layer, {"fire2.squeeze": ...}, in the order of the parameters."""
    return dict(_kernels(parameters, ()))


def with_kernels(parameters: Mapping[str, Any], kernels: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with some layers' kernels replaced; all else is left as it is, and shared."""
    return _replaced(parameters, kernels, ())


def _kernels(parameters: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, inside in parameters.items():
        if isinstance(inside, Mapping):
            yield from _kernels(inside, (*path, key))
        elif key == "kernel":
            yield ".".join(path), inside


def _replaced(
    parameters: Mapping[str, Any], kernels: Mapping[str, Any], path: tuple[str, ...]
) -> dict[str, Any]:
    return {
        key: _replaced(inside, kernels, (*path, key))
        if isinstance(inside, Mapping)
        else kernels.get(".".join(path), inside)
        if key == "kernel"
        else inside
        for key, inside in parameters.items()
    }
