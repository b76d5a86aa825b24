"""The names and axes that other programs give a network's tensors.

Both layouts that are known have kernels as (out, in, height, width) and dense kernels as (out, in), where
`in` runs over channels, rows and columns of the map that a dense layer sees. Ours are (height, width, in,
out) and (in, out), over rows, columns and channels.

- "torchvision": the names of its state dicts. The parts of a network are numbered in the order in which they
  run, activations and poolings too: `features.3.squeeze.weight`, `classifier.1.bias`. Local response
  normalisation, which torchvision's AlexNet hasn't, has no number.
- "caffe": the names of the authors' prototxt: `fire2/squeeze1x1.weight`, `conv10.bias`.
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from sqzx.architectures import AlexNetConfig, ModelConfig
from sqzx.counting import Layer, Shape, parametric_layers

Layout = Literal["torchvision", "caffe"]

_CAFFE_PARTS = {"squeeze": "squeeze1x1", "bypass": "bypass1x1"}


class Slot(NamedTuple):
    """Where a tensor belongs: the kernel or the bias of a layer."""

    layer: Layer
    part: Literal["kernel", "bias"]

    @property
    def shape(self) -> Shape:
        """The shape of the tensor outside."""
        height, width, inputs, outputs = self.layer.kernel_shape
        if self.part == "bias":
            return (outputs,)
        if self.layer.kind == "dense":
            return (outputs, inputs * height * width)
        return (outputs, inputs, height, width)

    def outward(self, array: np.ndarray) -> np.ndarray:
        """Return one of our arrays as the tensor outside; no value changes."""
        if self.part == "bias":
            return array
        return np.ascontiguousarray(
            array.reshape(self.layer.kernel_shape).transpose(3, 2, 0, 1).reshape(self.shape)
        )

    def inward(self, tensor: np.ndarray) -> np.ndarray:
        """Return a tensor from outside as our array, float32; no value changes where it was float32."""
        if self.part == "bias":
            return np.array(tensor, np.float32)
        height, width, inputs, outputs = self.layer.kernel_shape
        kernel = tensor.reshape(outputs, inputs, height, width).transpose(2, 3, 1, 0).astype(np.float32)
        return np.ascontiguousarray(kernel.reshape(-1, outputs) if self.layer.kind == "dense" else kernel)


def slots(config: ModelConfig, image_shape: Shape, layout: Layout) -> dict[str, Slot]:
    """Return what each tensor of a network is called, in running order."""
    layers = parametric_layers(config, image_shape)
    names = _torchvision(config, layers) if layout == "torchvision" else [caffe_name(x.name) for x in layers]
    parts: dict[str, Literal["kernel", "bias"]] = {"weight": "kernel", "bias": "bias"}
    return {
        f"{name}.{word}": Slot(layer, part)
        for name, layer in zip(names, layers, strict=True)
        for word, part in parts.items()
    }


def layout_of(names: list[str]) -> Layout:
    """Tell a layout by its names."""
    return "caffe" if any(re.match(r"conv\d|fire\d|fc\d", name) for name in names) else "torchvision"


def plain_name(name: str) -> str:
    """Return a tensor's name without what programs add to it.

    `module.` is what PyTorch's data parallelism puts before each; Caffe's blobs are numbered 0 and 1, or are
    called by a dozen words for weight and bias, or the weight has the layer's own name.
    """
    name = name.removeprefix("module.")
    if layout_of([name]) == "torchvision":
        return name
    found = re.fullmatch(r"(.+?)(?:[/_.](0|w|weights?|kernel)|[/_.](1|b|bias|biases))?", name)
    assert found is not None  # any text matches
    return f"{found[1]}.{'bias' if found[3] else 'weight'}"


def tensors(parameters: Mapping[str, Mapping], outside: Mapping[str, Slot]) -> dict[str, np.ndarray]:
    """Return parameters as the tensors of a layout."""
    return {name: slot.outward(_layer_of(parameters, slot)[slot.part]) for name, slot in outside.items()}


def parameters(found: Mapping[str, np.ndarray], outside: Mapping[str, Slot]) -> dict:
    """Return the tensors of a layout, of the right shapes, as parameters."""
    tree: dict = {}
    for name, slot in outside.items():
        inside = tree
        for step in slot.layer.name.split("."):
            inside = inside.setdefault(step, {})
        inside[slot.part] = slot.inward(found[name])
    return tree


def _layer_of(parameters: Mapping[str, Mapping], slot: Slot) -> Mapping:
    for step in slot.layer.name.split("."):
        parameters = parameters[step]
    return parameters


def caffe_name(layer: str) -> str:
    """Return what the authors' prototxt calls a layer of ours (but for a bypass, which it has not)."""
    module, _, part = layer.partition(".")
    return f"{module}/{_CAFFE_PARTS.get(part, part)}" if part else module


def _torchvision(config: ModelConfig, layers: list[Layer]) -> list[str]:
    numbers, number = {}, 0
    modules = list(dict.fromkeys(layer.module for layer in layers))
    for position, module in enumerate(modules, start=1):
        numbers[module] = number
        # A Fire module has its activations inside; a convolution's is a part of its own.
        number += (1 if module.startswith("fire") else 2) + (position in config.pool_after)
    names = []
    for layer in layers:
        part = layer.name.removeprefix(layer.module)
        names.append(f"features.{numbers[layer.module]}{part}")
    if isinstance(config, AlexNetConfig):
        hidden = len(config.fc_features)
        # Dropout, dense, activation; the last dense layer has no dropout before it.
        numbers_of_dense = [*(3 * i + 1 for i in range(hidden)), 3 * hidden]
        names[-hidden - 1 :] = [f"classifier.{n}" for n in numbers_of_dense]
    else:
        names[-1] = "classifier.1"  # after the dropout
    return names
