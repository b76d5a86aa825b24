"""Parameters, multiply-accumulates, activations and bytes of a network, by shape alone.

Nothing is built or compiled, so a grid of many thousand networks is counted in a moment. The figures are
those of the published counts: a MAC is one multiplication with its addition, taps that fall on padding
count, biases and activations cost nothing, and FLOPs are 2 x MACs.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from sqzx.config import FireWidths, SqueezeNetConfig
from sqzx.errors import ArchitectureError

Shape = tuple[int, ...]
"""Height, width, channels."""

POOL_SIZE, POOL_STRIDE = 3, 2


class Layer(NamedTuple):
    """One convolution or pooling. `activations` is its input and output elements at batch 1."""

    name: str
    module: str
    kind: Literal["conv", "max_pool", "mean_pool"]
    output_shape: Shape
    params: int
    macs: int
    activations: int


class Module(NamedTuple):
    """A row of the paper's Table 1: a Fire module with all its convolutions, or a layer by itself."""

    name: str
    output_shape: Shape
    layers: tuple[Layer, ...]
    widths: FireWidths | None = None

    @property
    def params(self) -> int:
        """Weights and biases."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(layer.macs for layer in self.layers)


class Network(NamedTuple):
    """A counted network."""

    input_shape: Shape
    modules: tuple[Module, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All convolutions and poolings in running order."""
        return tuple(layer for module in self.modules for layer in module.layers)

    @property
    def params(self) -> int:
        """Weights and biases."""
        return sum(module.params for module in self.modules)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(module.macs for module in self.modules)

    @property
    def flops(self) -> int:
        """Floating-point operations for one image, 2 x MACs."""
        return 2 * self.macs

    @property
    def bytes_fp32(self) -> int:
        """Bytes of all parameters as 32-bit floats."""
        return 4 * self.params

    @property
    def peak_activations(self) -> int:
        """The largest number of input and output elements of one layer (batch 1, inference)."""
        return max(layer.activations for layer in self.layers)


def pooled_size(size: int, rounding: Literal["ceil", "floor"]) -> int:
    """Return the side of a map after 3x3/2 max pooling without padding.

    "ceil" lets the last window hang over the edge, as Caffe does: ceil((n - 3) / 2) + 1.
    """
    steps = (size - POOL_SIZE) / POOL_STRIDE
    return (math.ceil(steps) if rounding == "ceil" else math.floor(steps)) + 1


def count(config: SqueezeNetConfig, input_shape: Shape) -> Network:
    """Count a network on images of `input_shape` (height, width, channels).

    Raises `ArchitectureError` where a feature map shrinks to nothing.
    """
    return Network(tuple(input_shape), tuple(_modules(config, tuple(input_shape))))


def _modules(config: SqueezeNetConfig, shape: Shape) -> Iterator[Module]:
    image = shape

    def checked(module: Module) -> Module:
        if min(module.output_shape) < 1:
            raise ArchitectureError(
                f"model: {module.name} leaves a map of {'x'.join(map(str, module.output_shape[:2]))} "
                f"on {image[0]}x{image[1]} images; use a smaller model.stem_stride or fewer model.pool_after"
                " (preset squeezenet_small is for 8 to 64 pixels)"
            )
        return module

    def alone(layer: Layer) -> Module:
        return checked(Module(layer.module, layer.output_shape, (layer,)))

    def pool_after(number: int, shape: Shape) -> Iterator[Module]:
        if number in config.pool_after:
            out = (*(pooled_size(n, config.pool_rounding) for n in shape[:2]), shape[2])
            size = math.prod(shape) + math.prod(out)
            yield alone(Layer(f"pool{number}", f"pool{number}", "max_pool", out, 0, 0, size))

    stem = conv(
        "conv1", shape, config.stem_features, config.stem_kernel, config.stem_stride, config.stem_padding
    )
    yield alone(stem)
    shape = stem.output_shape
    for pool in pool_after(1, shape):
        yield pool
        shape = pool.output_shape
    for number, widths in config.fires().items():
        yield checked(_fire(config, f"fire{number}", widths, shape))
        shape = (*shape[:2], widths.expand)
        for pool in pool_after(number, shape):
            yield pool
            shape = pool.output_shape
    classifier = conv("conv10", shape, config.num_classes, 1, 1, config.conv10_padding)
    yield alone(classifier)
    shape, out = classifier.output_shape, (1, 1, config.num_classes)
    yield alone(Layer("pool10", "pool10", "mean_pool", out, 0, 0, math.prod(shape) + math.prod(out)))


def _fire(config: SqueezeNetConfig, name: str, widths: FireWidths, shape: Shape) -> Module:
    squeeze = conv(f"{name}.squeeze", shape, widths.squeeze, 1)
    layers = [
        squeeze,
        conv(f"{name}.expand1x1", squeeze.output_shape, widths.expand1x1, 1),
        conv(f"{name}.expand3x3", squeeze.output_shape, widths.expand3x3, 3, padding=1),
    ]
    if config.bypass_of(shape[2], widths.expand) == "conv1x1":
        layers.append(conv(f"{name}.bypass", shape, widths.expand, 1))
    return Module(name, (*shape[:2], widths.expand), tuple(layers), widths)


def conv(name: str, shape: Shape, features: int, kernel: int, stride: int = 1, padding: int = 0) -> Layer:
    """Count one convolution with a square kernel and a bias on a map of `shape`."""
    height, width = ((n + 2 * padding - kernel) // stride + 1 for n in shape[:2])
    out = (height, width, features)
    weights = kernel * kernel * shape[2] * features
    return Layer(
        name=name,
        module=name.partition(".")[0],
        kind="conv",
        output_shape=out,
        params=weights + features,
        macs=height * width * weights,
        activations=math.prod(shape) + math.prod(out),
    )
