"""A compressed network as a value, and its layers by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from sqzx.compression import half_tables, svd
from sqzx.compression.kernels import with_kernels
from sqzx.compression.weight_sharing import SharedWeights
from sqzx.counting import Shape
from sqzx.model import Model

Stage = Mapping[str, str | int | float | bool | None]
"""What one step did: at least "stage", its name, and what else a reader should know of it."""


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """A network whose parameters are exactly those that its file gives back.

    `shared` has the layers whose weights share values, by name; the model's kernel of such a layer is
    `shared[name].kernel()`. `densities` are those that were asked for, in (0, 1], of the layers that were
    pruned; `history` says what was done, in order.
    """

    model: Model
    shared: Mapping[str, SharedWeights] = field(default_factory=dict)
    densities: Mapping[str, float] = field(default_factory=dict)
    history: tuple[Stage, ...] = ()


class LayerShape(NamedTuple):
    """The shape of a layer's kernel, and whether it has a bias."""

    kernel: Shape
    has_bias: bool


def layer_shapes(model: Model) -> dict[str, LayerShape]:
    """Return the layers that a model's network has, by name in running order; its parameters don't count.

    A layer with a rank is two, of which the first has no bias. `InputError` for ranks that are none.

    >>> layer_shapes(model)["fire2.squeeze"]
    LayerShape(kernel=(1, 1, 96, 16), has_bias=True)
    """
    kernels = svd.factored_shapes(model.config, model.preprocessing.image_shape, model.ranks)
    firsts = {f"{name}.first" for name in model.ranks}
    return {name: LayerShape(tuple(kernel), name not in firsts) for name, kernel in kernels.items()}


def named_layers(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, dict[str, np.ndarray]]:
    """Return the layers of a tree by dotted name: {"fire2.squeeze": {"kernel": ..., "bias": ...}}."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, inside in parameters.items():
        if "kernel" in inside:
            layers[prefix + name] = {part: np.asarray(array) for part, array in inside.items()}
        else:
            layers |= named_layers(inside, f"{prefix}{name}.")
    return layers


def tree_of(layers: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Return layers by dotted name as the tree that `named_layers` flattens."""
    tree: dict[str, Any] = {}
    for name, arrays in layers.items():
        *modules, last = name.split(".")
        inside = tree
        for module in modules:
            inside = inside.setdefault(module, {})
        inside[last] = dict(arrays)
    return tree


def with_shared(compressed: Compressed, shared: Mapping[str, SharedWeights]) -> Compressed:
    """Return the network with these layers shared, and their kernels in the model."""
    kernels = {name: weights.kernel() for name, weights in shared.items()}
    model = replace(compressed.model, parameters=with_kernels(compressed.model.parameters, kernels))
    return replace(compressed, model=model, shared={**compressed.shared, **shared})


def with_half_tables(compressed: Compressed, *, except_codebooks: frozenset[str] = frozenset()) -> Compressed:
    """Return the network with codebooks and biases rounded to float16, where their range allows that.

    A table with a value that float16 makes infinite or 0 stays as it is, and so do the codebooks of the
    layers named. The file stores what float16 holds to the bit in two bytes, whatever the reason.
    """
    halves = {
        name: weights._replace(codebook=half_tables.rounded(weights.codebook))
        for name, weights in compressed.shared.items()
        if name not in except_codebooks
    }
    layers = {
        name: {
            part: half_tables.rounded(array) if part == "bias" else array for part, array in arrays.items()
        }
        for name, arrays in named_layers(compressed.model.parameters).items()
    }
    model = replace(compressed.model, parameters=tree_of(layers))
    return with_shared(replace(compressed, model=model), halves)
