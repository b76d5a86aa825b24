"""A network of any family as a pure function of its parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array

from sqzx.alexnet import AlexNet
from sqzx.architectures import AlexNetConfig, ModelConfig
from sqzx.counting import Shape, parametric_layers
from sqzx.factored import factor_layers
from sqzx.initializers import bias_initializer, kernel_initializer, role_of
from sqzx.squeezenet import SqueezeNet
from sqzx.streams import generator

Parameters = dict[str, Any]
"""Kernels and biases by layer, as nested dictionaries: {"fire2": {"squeeze": {"kernel": ..., ...}}}."""

Apply = Callable[..., Array]
"""`apply(parameters, images, dropout_keys=None) -> logits`, pure."""


def build(
    config: ModelConfig, image_shape: Shape, ranks: Mapping[str, int] | None = None, *, rngs: nnx.Rngs
) -> SqueezeNet | AlexNet:
    """Return the module of a configuration for images of `image_shape` (height, width, channels).

    Each layer that has a rank, by its dotted path, is two: `first` and `second` (`sqzx.compression.svd`).
    """
    if isinstance(config, AlexNetConfig):
        network = AlexNet(config, image_shape, rngs=rngs)
    else:
        network = SqueezeNet(config, image_shape[2], rngs=rngs)
    factor_layers(network, ranks or {}, rngs=rngs)
    return network


def functional(config: ModelConfig, image_shape: Shape, seed: int) -> tuple[Apply, Parameters]:
    """Return the network as a pure function, with the initial parameters of `seed`. Nothing is compiled."""
    return pure(config, image_shape), initial_parameters(config, image_shape, seed)


def pure(config: ModelConfig, image_shape: Shape, ranks: Mapping[str, int] | None = None) -> Apply:
    """Return the network as a pure function of its parameters; layers with a rank are two, as in `build`."""
    graph, state = nnx.split(nnx.eval_shape(lambda: build(config, image_shape, ranks, rngs=nnx.Rngs(0))))

    def apply(parameters: Parameters, images: Array, dropout_keys: Array | None = None) -> Array:
        whole = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(whole, parameters)
        return nnx.merge(graph, whole)(images, dropout_keys=dropout_keys)

    return apply


def initial_parameters(config: ModelConfig, image_shape: Shape, seed: int) -> Parameters:
    """Return the initial parameters of `seed` (float32 NumPy arrays), each layer's from its own stream."""
    layers = parametric_layers(config, image_shape)
    parameters: Parameters = {}
    for layer in layers:
        path = layer.name.split(".")
        stream, role = generator(seed, "init", *path), role_of(layer, last=layer is layers[-1])
        kernel = kernel_initializer(config.init, role)(stream, layer.kernel_shape, np.float32)
        bias = bias_initializer(config.init, role)(stream, layer.kernel_shape[-1:], np.float32)
        if layer.kind == "dense":  # one axis for all inputs, in the order of the map that it sees
            kernel = kernel.reshape(-1, kernel.shape[-1])
        inside = parameters
        for module in path[:-1]:
            inside = inside.setdefault(module, {})
        inside[path[-1]] = {"bias": bias, "kernel": kernel}
    return parameters
