"""Low rank: a layer as two thinner ones, by a singular value decomposition (Denton et al. 2014).

A kernel is taken as a matrix of (height x width x in, out). Of its singular values the `rank` largest are
kept, and the layer becomes two: `first`, of the layer's own size, stride, padding and groups, from its
inputs to `rank` maps, without a bias; and `second`, 1x1, from these to its outputs, with its bias. A dense
layer becomes two dense layers. In a convolution in groups each group is a matrix of its own, all of one rank.
In the parameters, layer L becomes L.first.kernel, L.second.kernel and L.second.bias.

Denton, Zaremba, Bruna, LeCun and Fergus, "Exploiting linear structure within convolutional networks for
efficient evaluation", arXiv:1404.1269, decompose convolutions into more parts than these two; dense layers
as here. The paper's Table 2 has no more than the result.
"""

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from sqzx.architectures import ModelConfig
from sqzx.compression.budget import Option, least, within_cost
from sqzx.compression.kernels import kernels_of
from sqzx.counting import Layer, Shape, parametric_layers
from sqzx.errors import InputError

Ranks = Mapping[str, int]
"""The rank of each layer that is two; a layer without one is whole."""


WHOLE = 0
"""Among ranks to choose from, that of a layer which stays one."""


class Sides(NamedTuple):
    """A layer as a matrix, or as one of each group: its rows, and the columns of all groups together."""

    rows: int
    columns: int
    groups: int

    def weights(self, rank: int) -> int:
        """Return the weights of the two layers."""
        return rank * (self.groups * self.rows + self.columns)

    @property
    def most(self) -> int:
        """The highest rank at which two layers have fewer weights than the one; 0 where none has."""
        return (self.rows * self.columns - 1) // (self.groups * self.rows + self.columns)


def sides(layer: Layer) -> Sides:
    """Return a layer as a matrix."""
    return Sides(math.prod(layer.kernel_shape[:-1]), layer.kernel_shape[-1], layer.groups)


def check_ranks(layers: Sequence[Layer], ranks: Ranks) -> None:
    """Refuse, by `InputError`, a layer that isn't there and a rank that saves nothing."""
    by_name = {layer.name: layer for layer in layers}
    for name, rank in ranks.items():
        if name not in by_name:
            near = get_close_matches(name, by_name, 1)
            raise InputError(f"{name}: there is no such layer" + (f"; is it {near[0]}?" if near else ""))
        matrix = sides(by_name[name])
        if rank < 1:
            raise InputError(f"{name}: rank needs at least 1, found {rank}")
        if rank > matrix.most:
            inputs, weights = matrix.groups * matrix.rows, matrix.rows * matrix.columns
            hint = f"use at most {matrix.most}" if matrix.most else "leave this layer whole"
            raise InputError(
                f"{name}: rank {rank} saves nothing: {rank} x ({inputs:,} + {matrix.columns:,}) = "
                f"{matrix.weights(rank):,} weights for the {weights:,} of the layer; {hint}"
            )


def factor(kernel: np.ndarray, rank: int, groups: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernels of the two layers, float32, that come nearest to a kernel's own (least squares).

    Of (k, k, in / groups, out): (k, k, in / groups, groups x rank) and (1, 1, rank, out); of (in, out):
    (in, rank) and (rank, out). Both get the root of each singular value, so that they train alike.
    """
    left, values, right = np.linalg.svd(_matrices(kernel, groups), full_matrices=False)
    roots = np.sqrt(values[:, :rank])
    first = left[:, :, :rank] * roots[:, None, :]
    second = roots[:, :, None] * right[:, :rank]
    before = _kernel(first).reshape(*kernel.shape[:-1], -1)
    after = _kernel(second)
    return before, after if kernel.ndim == 2 else after[None, None]


def multiplied(first: np.ndarray, second: np.ndarray, groups: int = 1) -> np.ndarray:
    """Return the one kernel, float32, that does what two do: the inverse of `factor` up to rounding."""
    product = _matrices(first, groups) @ _matrices(second, groups)
    return _kernel(product).reshape(*first.shape[:-1], -1)


def _matrices(kernel: np.ndarray, groups: int) -> np.ndarray:
    """Return (groups, rows, columns of one group) in double."""
    rows = kernel.reshape(-1, groups, kernel.shape[-1] // groups)
    return rows.transpose(1, 0, 2).astype(np.float64)


def _kernel(matrices: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrices.transpose(1, 0, 2).reshape(matrices.shape[1], -1), np.float32)


def ranks_by_energy(parameters: Mapping[str, Any], layers: Sequence[Layer], share: float) -> dict[str, int]:
    """Return for each layer the least rank that keeps `share` of its energy, the sum of its squared weights.

    A layer that saves nothing at that rank is left out, and stays whole. `InputError` unless 0 < share < 1.
    """
    if not 0 < share < 1:
        raise InputError(f"energy: needs more than 0 and less than 1, found {share}")
    kernels, ranks = kernels_of(parameters), {}
    for layer in layers:
        gains = _gains(kernels[layer.name], layer)
        rank = 1 + int(np.searchsorted(np.cumsum(gains), share * gains.sum()))
        if rank <= sides(layer).most:
            ranks[layer.name] = rank
    return ranks


def ranks_by_bytes(parameters: Mapping[str, Any], layers: Sequence[Layer], most: float) -> dict[str, int]:
    """Return ranks at which a network's parameters, biases too, take at most `most` bytes as float32.

    From rank 1 everywhere, ranks rise where that adds the largest share of a layer's energy for each weight
    that it costs, up to the whole layer, which then has no rank. `InputError` where rank 1 is too much.
    """
    kernels = kernels_of(parameters)
    options = {layer.name: _options(kernels[layer.name], layer) for layer in layers}
    biases = sum(layer.kernel_shape[-1] for layer in layers)
    if (size := 4 * (least(options).cost + biases)) > most:
        raise InputError(f"bytes: {most:,.0f} are too few, {size:,.0f} are needed at rank 1")
    return {name: rank for name, rank in within_cost(options, most / 4 - biases).items() if rank != WHOLE}


def _options(kernel: np.ndarray, layer: Layer) -> list[Option]:
    """Return each rank that saves weights and the whole layer: its weights, the share of energy it loses."""
    matrix, gains = sides(layer), _gains(kernel, layer)
    lost = np.maximum(0.0, 1.0 - np.cumsum(gains) / gains.sum()) if gains.any() else np.zeros(len(gains))
    options = [
        Option(rank, matrix.weights(rank), float(lost[rank - 1])) for rank in range(1, matrix.most + 1)
    ]
    return [*options, Option(WHOLE, matrix.rows * matrix.columns, 0.0)]


def _gains(kernel: np.ndarray, layer: Layer) -> np.ndarray:
    """Return the energy that each further rank adds."""
    return np.square(np.linalg.svd(_matrices(kernel, layer.groups), compute_uv=False)).sum(axis=0)


def factored(parameters: Mapping[str, Any], layers: Sequence[Layer], ranks: Ranks) -> dict[str, Any]:
    """Return parameters in which each layer with a rank is two. `InputError` as `check_ranks` has it."""
    check_ranks(layers, ranks)
    groups = {layer.name: layer.groups for layer in layers}

    def split(name: str, layer: Mapping[str, Any]) -> dict[str, Any]:
        first, second = factor(layer["kernel"], ranks[name], groups[name])
        return {"first": {"kernel": first}, "second": {"kernel": second, "bias": layer["bias"]}}

    return _rebuilt(parameters, ranks, split)


def whole(parameters: Mapping[str, Any], layers: Sequence[Layer], ranks: Ranks) -> dict[str, Any]:
    """Return the parameters of a factored network as those of the plain one, factors multiplied out."""
    groups = {layer.name: layer.groups for layer in layers}

    def join(name: str, layer: Mapping[str, Any]) -> dict[str, Any]:
        kernel = multiplied(layer["first"]["kernel"], layer["second"]["kernel"], groups[name])
        return {"kernel": kernel, "bias": layer["second"]["bias"]}

    return _rebuilt(parameters, ranks, join)


def _rebuilt(parameters: Mapping[str, Any], names: Ranks, change: Any, path: str = "") -> dict[str, Any]:
    rebuilt = {}
    for key, inside in parameters.items():
        name = f"{path}.{key}" if path else key
        if name in names:
            rebuilt[key] = change(name, inside)
        else:
            rebuilt[key] = _rebuilt(inside, names, change, name) if isinstance(inside, Mapping) else inside
    return rebuilt


def factored_shapes(config: ModelConfig, image_shape: Shape, ranks: Ranks) -> dict[str, Shape]:
    """Return the shape of each kernel of a network of which some layers are two, in running order.

    {"fire2.squeeze.first": (1, 1, 96, 8), "fire2.squeeze.second": (1, 1, 8, 16), ...}; a dense layer's is
    (in, out). Biases have the last side of each kernel, but for a `first`, which has none. `InputError` as
    `check_ranks` has it.
    """
    layers, shapes = parametric_layers(config, image_shape), {}
    check_ranks(layers, ranks)
    for layer in layers:
        *before, outputs = layer.kernel_shape
        inside, dense = tuple(before), layer.kind == "dense"
        if dense:
            inside = (math.prod(before),)
        if layer.name not in ranks:
            shapes[layer.name] = (*inside, outputs)
            continue
        rank = ranks[layer.name]
        shapes[f"{layer.name}.first"] = (*inside, layer.groups * rank)
        shapes[f"{layer.name}.second"] = (rank, outputs) if dense else (1, 1, rank, outputs)
    return shapes


def factored_params(config: ModelConfig, image_shape: Shape, ranks: Ranks) -> int:
    """Return the weights and biases of a network of which some layers are two."""
    shapes = factored_shapes(config, image_shape, ranks)
    biases = sum(layer.kernel_shape[-1] for layer in parametric_layers(config, image_shape))
    return sum(math.prod(shape) for shape in shapes.values()) + biases
