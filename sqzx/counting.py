"""Parameters, multiply-accumulates, activations and bytes of a network, by shape alone.

Nothing is built or compiled, so a grid of many thousand networks is counted in a moment. The figures are
those of the published counts: a MAC is one multiplication with its addition, taps that fall on padding
count, biases, activations and normalisation cost nothing, and FLOPs are 2 x MACs.
"""

import functools
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from sqzx.architectures import AlexNetConfig, FireWidths, ModelConfig, SqueezeNetConfig
from sqzx.errors import ArchitectureError

Shape = tuple[int, ...]
"""Height, width, channels."""

POOL_SIZE, POOL_STRIDE = 3, 2

REMEMBERED = 4096
"""Parts whose counts are kept: the networks of a study share most of theirs."""


class Layer(NamedTuple):
    """One layer of a network.

    `activations` is its input and output elements at batch 1. `kernel_shape` is (height, width, channels
    in of one group, out), empty for a layer without parameters; a fully connected layer ("dense") is
    counted as a convolution by a kernel of its whole input.
    """

    name: str
    module: str
    kind: Literal["conv", "dense", "norm", "max_pool", "mean_pool"]
    output_shape: Shape
    params: int
    macs: int
    activations: int
    kernel_shape: Shape = ()
    stride: int = 1
    groups: int = 1

    @property
    def flops(self) -> int:
        """Floating-point operations for one image, 2 x MACs."""
        return 2 * self.macs

    @property
    def bytes_fp32(self) -> int:
        """Bytes of its parameters as 32-bit floats."""
        return 4 * self.params


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


def size_label(size: int) -> str:
    """Return a size in bytes as the paper writes it: MiB *rounded up* to two digits, but called MB.

    That is how `ls -lh` writes sizes (from 100 on, three digits). It gives 13 of the 14 labels of Figure
    3; the odd one, pct_3x3 = 0.375, is 11.11 MiB and printed as 11MB. What is not 1 MiB even when rounded
    up is in KiB by the same rule, called KB.

    >>> size_label(4 * 1_248_424)
    '4.8MB'
    """
    unit, name = (2**20, "MB") if size > 1023 * 2**10 else (2**10, "KB")
    tenths = -(-10 * size // unit)
    return f"{tenths / 10:.1f}{name}" if tenths < 100 else f"{-(-size // unit)}{name}"


def count(config: ModelConfig, input_shape: Shape) -> Network:
    """Count a network on images of `input_shape` (height, width, channels).

    Raises `ArchitectureError` where a feature map shrinks to nothing.
    """
    shape = tuple(input_shape)
    modules = []
    for module in (
        _alexnet(config, shape) if isinstance(config, AlexNetConfig) else _squeezenet(config, shape)
    ):
        if min(module.output_shape) < 1:
            height, width = (max(0, side) for side in module.output_shape[:2])
            raise ArchitectureError(
                f"model: {module.name} leaves a map of {height}x{width} on {shape[0]}x{shape[1]} images; use "
                "larger images, smaller kernels, a smaller model.stem_stride or fewer model.pool_after"
                f" (preset {config.family}_small is for 8 to 64 pixels)"
            )
        modules.append(module)
    return Network(shape, tuple(modules))


def parametric_layers(config: ModelConfig, input_shape: Shape) -> list[Layer]:
    """Return the layers that have parameters, in running order; the last is the classifier."""
    return [layer for layer in count(config, input_shape).layers if layer.kernel_shape]


def _squeezenet(config: SqueezeNetConfig, shape: Shape) -> Iterator[Module]:
    stem = conv(
        "conv1", shape, config.stem_features, config.stem_kernel, config.stem_stride, config.stem_padding
    )
    yield _alone(stem)
    shape = stem.output_shape
    for pool in _pool_after(1, config, shape):
        yield pool
        shape = pool.output_shape
    for number, widths in config.fires().items():
        bypassed = config.bypass_of(shape[2], widths.expand) == "conv1x1"
        yield _fire(f"fire{number}", widths, shape, bypassed)
        shape = (*shape[:2], widths.expand)
        for pool in _pool_after(number, config, shape):
            yield pool
            shape = pool.output_shape
    classifier = conv("conv10", shape, config.num_classes, 1, 1, config.conv10_padding)
    yield _alone(classifier)
    shape, out = classifier.output_shape, (1, 1, config.num_classes)
    yield _alone(Layer("pool10", "pool10", "mean_pool", out, 0, 0, math.prod(shape) + math.prod(out)))


@functools.lru_cache(maxsize=REMEMBERED)
def _fire(name: str, widths: FireWidths, shape: Shape, bypassed: bool) -> Module:
    squeeze = conv(f"{name}.squeeze", shape, widths.squeeze, 1)
    layers = [
        squeeze,
        conv(f"{name}.expand1x1", squeeze.output_shape, widths.expand1x1, 1),
        conv(f"{name}.expand3x3", squeeze.output_shape, widths.expand3x3, 3, padding=1),
    ]
    if bypassed:
        layers.append(conv(f"{name}.bypass", shape, widths.expand, 1))
    return Module(name, (*shape[:2], widths.expand), tuple(layers), widths)


def _alexnet(config: AlexNetConfig, shape: Shape) -> Iterator[Module]:
    convolutions = zip(
        config.conv_features, config.conv_kernels, config.conv_paddings, config.conv_groups, strict=True
    )
    for number, (features, kernel, padding, groups) in enumerate(convolutions, start=1):
        if shape[2] % groups:
            raise ArchitectureError(
                f"model.conv_groups: conv{number} can't have {groups} groups: "
                f"they don't divide {shape[2]} channels"
            )
        stride = config.stem_stride if number == 1 else 1
        layer = conv(f"conv{number}", shape, features, kernel, stride, padding, groups)
        yield _alone(layer)
        shape = layer.output_shape
        if number in config.lrn_after:
            yield _alone(Layer(f"norm{number}", f"norm{number}", "norm", shape, 0, 0, 2 * math.prod(shape)))
        for pool in _pool_after(number, config, shape):
            yield pool
            shape = pool.output_shape
    for number, features in enumerate(
        (*config.fc_features, config.num_classes), len(config.conv_features) + 1
    ):
        layer = conv(f"fc{number}", shape, features, shape[:2])
        yield _alone(layer._replace(kind="dense"))
        shape = layer.output_shape


def _alone(layer: Layer) -> Module:
    return Module(layer.module, layer.output_shape, (layer,))


def _pool_after(number: int, config: ModelConfig, shape: Shape) -> Iterator[Module]:
    if number in config.pool_after:
        out = (*(pooled_size(n, config.pool_rounding) for n in shape[:2]), shape[2])
        yield _max_pool(f"pool{number}", shape, out)


@functools.lru_cache(maxsize=REMEMBERED)
def _max_pool(name: str, shape: Shape, out: Shape) -> Module:
    return _alone(Layer(name, name, "max_pool", out, 0, 0, math.prod(shape) + math.prod(out)))


@functools.lru_cache(maxsize=REMEMBERED)
def conv(
    name: str,
    shape: Shape,
    features: int,
    kernel: int | Shape,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Layer:
    """Count one convolution with a bias on a map of `shape`; one number is the side of a square kernel."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    height, width = ((n + 2 * padding - k) // stride + 1 for n, k in zip(shape[:2], sides, strict=True))
    out = (height, width, features)
    kernel_shape = (*sides, shape[2] // groups, features)
    weights = math.prod(kernel_shape)
    return Layer(
        name=name,
        module=name.partition(".")[0],
        kind="conv",
        output_shape=out,
        params=weights + features,
        macs=height * width * weights,
        activations=math.prod(shape) + math.prod(out),
        kernel_shape=kernel_shape,
        stride=stride,
        groups=groups,
    )
