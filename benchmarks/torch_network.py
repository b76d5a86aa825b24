"""The two families in PyTorch, by the paper's words and Caffe's definitions: a twin for tests and timings.

Nothing of the networks of `sqzx` is used but their metaparameters. Maps are (batch, channels, height,
width), as in Caffe, and layers have the names that `sqzx` gives them, so that `load` can hand over
parameters and `gradients` can hand gradients back.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sqzx.architectures import AlexNetConfig, ModelConfig, SqueezeNetConfig
from sqzx.counting import Shape

if TYPE_CHECKING:  # what is raced against JAX must not have to import it
    from sqzx.network import Parameters


def network(config: ModelConfig, image_shape: Shape) -> nn.Module:
    """Return the network of a configuration for images of `image_shape` (height, width, channels)."""
    if isinstance(config, AlexNetConfig):
        return AlexNet(config, image_shape)
    return SqueezeNet(config, image_shape[2])


class Fire(nn.Module):
    """Section 3.2 and, for the bypass, section 6 with Figure 2."""

    def __init__(self, config: SqueezeNetConfig, in_features: int, expand: int):
        super().__init__()
        expand3x3 = _half_up(expand * config.pct_3x3)
        squeeze = _half_up(expand * config.squeeze_ratio)
        self.squeeze = nn.Conv2d(in_features, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand - expand3x3, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand3x3, 3, padding=1)
        self.identity = config.bypass != "none" and in_features == expand
        if config.bypass == "complex" and in_features != expand:
            self.bypass = nn.Conv2d(in_features, expand, 1)
        self.activation = _activation(config)
        self.between = self.activation if config.squeeze_activation == "same" else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squeezed = self.between(self.squeeze(x))
        expanded = [self.activation(self.expand1x1(squeezed)), self.activation(self.expand3x3(squeezed))]
        out = torch.cat(expanded, 1)
        if self.identity:
            return out + x
        if hasattr(self, "bypass"):
            return out + self.activation(self.bypass(x))
        return out


class SqueezeNet(nn.Module):
    """Table 1, Figure 2 and section 5.1, with the options of the reference implementations."""

    def __init__(self, config: SqueezeNetConfig, in_features: int):
        super().__init__()
        features = config.stem_features
        self.conv1 = nn.Conv2d(
            in_features, features, config.stem_kernel, config.stem_stride, config.stem_padding
        )
        for i in range(config.num_fires):
            expand = config.base_e + config.incr_e * math.floor(i / config.freq)
            self.add_module(f"fire{i + 2}", Fire(config, features, expand))
            features = expand
        self.conv10 = nn.Conv2d(features, config.num_classes, 1, padding=config.conv10_padding)
        self.fires, self.pool_after = range(2, config.num_fires + 2), config.pool_after
        self.activation, self.pool = _activation(config), _pool(config)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.last = self.activation if config.final_relu else nn.Identity()
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.conv1(x))
        if 1 in self.pool_after:
            x = self.pool(x)
        for number in self.fires:
            x = self.get_submodule(f"fire{number}")(x)
            if number in self.pool_after:
                x = self.pool(x)
        return self.mean(self.last(self.conv10(self.dropout(x))))


class AlexNet(nn.Module):
    """Caffe's bvlc_alexnet with its lists as they are given: convolve, activate, normalise, pool."""

    def __init__(self, config: AlexNetConfig, image_shape: Shape):
        super().__init__()
        features, number = image_shape[2], 0  # of channels, of the layer
        # A map of no image, to learn from PyTorch how large the first dense layer's input is.
        empty = torch.zeros(1, features, *image_shape[:2])
        self.convolutions = []
        for number, (out, kernel, padding, groups) in enumerate(
            zip(
                config.conv_features,
                config.conv_kernels,
                config.conv_paddings,
                config.conv_groups,
                strict=True,
            ),
            start=1,
        ):
            stride = config.stem_stride if number == 1 else 1
            self.add_module(f"conv{number}", nn.Conv2d(features, out, kernel, stride, padding, groups=groups))
            after: list[nn.Module] = [_activation(config)]
            if number in config.lrn_after:
                after.append(nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0))
            if number in config.pool_after:
                after.append(_pool(config))
            self.add_module(f"after{number}", nn.Sequential(*after))
            self.convolutions.append(number)
            with torch.no_grad():
                empty = self._convolved(empty, number)
            features = out
        self.map_shape = tuple(empty.shape[1:])
        inputs = math.prod(self.map_shape)
        self.hidden = []
        for out in config.fc_features:
            number += 1
            self.add_module(f"fc{number}", nn.Linear(inputs, out))
            self.hidden.append(f"fc{number}")
            inputs = out
        self.classifier = f"fc{number + 1}"
        self.add_module(self.classifier, nn.Linear(inputs, config.num_classes))
        self.activation, self.dropout = _activation(config), nn.Dropout(config.dropout_rate)

    def _convolved(self, x: torch.Tensor, number: int) -> torch.Tensor:
        return self.get_submodule(f"after{number}")(self.get_submodule(f"conv{number}")(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number in self.convolutions:
            x = self._convolved(x, number)
        x = x.flatten(1)  # channels, height, width, as Caffe's InnerProduct layer has it
        for name in self.hidden:
            x = self.dropout(self.activation(self.get_submodule(name)(x)))
        return self.get_submodule(self.classifier)(x)


def load(module: nn.Module, parameters: "Parameters") -> None:
    """Copy the parameters of `sqzx` into a network; every one has its place."""
    left = {".".join(path) for path in _paths(parameters)}
    for name, layer, shape in _layers(module):
        values = parameters
        for part in name.split("."):
            values = values[part]
        kernel = np.asarray(values["kernel"])
        if isinstance(layer, nn.Linear):
            channels, height, width = shape
            kernel = kernel.reshape(height, width, channels, -1).transpose(3, 2, 0, 1)
            kernel = kernel.reshape(kernel.shape[0], -1)
        else:
            kernel = kernel.transpose(3, 2, 0, 1)
        for tensor, array in ((layer.weight, kernel), (layer.bias, np.asarray(values["bias"]))):
            if tensor.shape != array.shape:
                raise ValueError(f"{name}: {array.shape} given, {tuple(tensor.shape)} wanted")
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(array)))
        left -= {f"{name}.kernel", f"{name}.bias"}
    if left:
        raise ValueError(f"no place for {sorted(left)}")


def gradients(module: nn.Module) -> "Parameters":
    """Return the gradients of all parameters after a backward pass, in the shapes and names of `sqzx`."""
    tree: Parameters = {}
    for name, layer, shape in _layers(module):
        kernel, bias = layer.weight.grad.numpy(), layer.bias.grad.numpy()
        if isinstance(layer, nn.Linear):
            kernel = kernel.reshape(-1, *shape).transpose(2, 3, 1, 0)
            kernel = kernel.reshape(-1, kernel.shape[-1])
        else:
            kernel = kernel.transpose(2, 3, 1, 0)
        *outer, last = name.split(".")
        inside = tree
        for part in outer:
            inside = inside.setdefault(part, {})
        inside[last] = {"bias": bias, "kernel": kernel}
    return tree


def _layers(module: nn.Module) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Yield the name of each layer with parameters, itself, and the map (c, h, w) that a dense one sees."""
    shape = getattr(module, "map_shape", ())
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear):
            yield name, layer, shape
            shape = (layer.out_features, 1, 1)
        elif isinstance(layer, nn.Conv2d):
            yield name, layer, ()


def _paths(tree: "Parameters") -> Iterator[tuple[str, ...]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from ((key, *rest) for rest in _paths(value))
        else:
            yield (key,)


def _activation(config: ModelConfig) -> nn.Module:
    kinds: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU}
    return kinds[config.activation]()


def _pool(config: ModelConfig) -> nn.Module:
    # Without padding, PyTorch's ceil mode is Caffe's rule, ceil((n - 3) / 2) + 1, from 2 pixels up.
    return nn.MaxPool2d(3, 2, ceil_mode=config.pool_rounding == "ceil")


def _half_up(x: float) -> int:
    return math.floor(x + 0.5)
