"""The networks by their metaparameters: one frozen class a family, and the named starting points.

Each field is a key that a study may sweep. Nothing here knows of images or training; a configuration that
no data could run is refused when it is made.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sqzx.errors import ArchitectureError
from sqzx.schema import ranged


@dataclass(frozen=True, kw_only=True)
class FireWidths:
    """Filters of one Fire module: s1x1, e1x1 and e3x3 in the paper's words."""

    squeeze: int
    expand1x1: int
    expand3x3: int

    @property
    def expand(self) -> int:
        """Filters of the module's output, e = e1x1 + e3x3."""
        return self.expand1x1 + self.expand3x3


@dataclass(frozen=True, kw_only=True)
class SqueezeNetConfig:
    """A SqueezeNet by the paper's metaparameters (section 5.1) and its macroarchitecture.

    The defaults are SqueezeNet v1.0 as its authors' Caffe files have it. On these all sources agree, so they
    are no options: conv1 and the poolings have no border but the one that is asked for (flax would add
    one), an activation follows each convolution before the concatenation, dropout comes after the last
    Fire module and its bypass. Neither is the order of the channels, expand1x1 before expand3x3:
    songhan/SqueezeNet-Generator has them the other way round, which is the same network with its filters
    renamed. Where sources differ:

    - `pool_rounding`: Caffe and torchvision round the size of a pooled map up, the Keras port down.
    - `conv10_padding`: 1 in the authors' v1.0 file (its 15x15 map is why they count 1.72 GFLOP), 0 in
      their v1.1, in torchvision and in the paper's Table 1 (13x13).
    - `final_relu`: all reference implementations have a ReLU after conv10, before the average pooling
      (with another `activation`, that one). On small data it leaves most seeds dead (all logits 0), so
      `squeezenet_small` is without.
    - `activation`: "elu" is the variant that ducha-aiki trained (55.5 against 53.0 % top-1 at 128 px).
    - `squeeze_activation`: "none" leaves out the activation after the squeeze layers (miaow1988's "v1.2");
      "same" takes `activation`, as the paper does.
    - `init`: "xavier" is Caffe's filler, U(-a, a) with a = sqrt(3 / fan_in), as in the authors' files;
      "kaiming" is torchvision's, U(-a, a) with a = sqrt(6 / fan_in). conv10 is N(0, 0.01) in both.
    - `bypass`: the paper's Figure 2. A module whose input and output widths are equal gets an identity
      with "simple" and "complex"; "complex" gives every other module a 1x1 convolution with a bias and an
      activation of its own, as songhan/SqueezeNet-Generator has it (the paper is silent on both).
    """

    family: Literal["squeezenet"] = "squeezenet"
    base_e: int = ranged(128, low=1)
    incr_e: int = ranged(128, low=0)
    pct_3x3: float = ranged(0.5, low=0, high=1)
    freq: int = ranged(2, low=1)
    squeeze_ratio: float = ranged(0.125, low=0, high=1)
    num_fires: int = ranged(8, low=1, high=1000)
    stem_features: int = ranged(96, low=1)
    stem_kernel: int = ranged(7, low=1)
    stem_stride: int = ranged(2, low=1)
    stem_padding: int = ranged(0, low=0)
    pool_after: tuple[int, ...] = ranged((1, 4, 8), low=1)
    pool_rounding: Literal["ceil", "floor"] = "ceil"
    bypass: Literal["none", "simple", "complex"] = "none"
    dropout_rate: float = ranged(0.5, low=0, high=0.999)
    conv10_padding: int = ranged(1, low=0)
    final_relu: bool = True
    activation: Literal["relu", "elu"] = "relu"
    squeeze_activation: Literal["same", "none"] = "same"
    init: Literal["xavier", "kaiming"] = "xavier"
    num_classes: int = ranged(1000, low=2, high=1_000_000)

    def __post_init__(self) -> None:
        """Put `pool_after` in order (any order is the same network) and refuse what no data could run."""
        _put_in_order(self, "pool_after", self.num_fires + 1, "conv1 counts as 1 and the last Fire module as")
        for number, widths in self.fires().items():
            for key, part, width in (
                ("squeeze_ratio", "squeeze1x1", widths.squeeze),
                ("pct_3x3", "expand1x1", widths.expand1x1),
                ("pct_3x3", "expand3x3", widths.expand3x3),
            ):
                if width < 1:
                    raise ArchitectureError(
                        f"model.{key}: {getattr(self, key)} gives fire{number}'s {part} a width of 0 "
                        f"(of {widths.expand} expand filters); each needs at least 1"
                    )

    def fires(self) -> Mapping[int, FireWidths]:
        """Return the widths of fire2, fire3, ... by number.

        e_i = base_e + incr_e * floor(i / freq) with i = 0 for fire2 (section 5.1). The paper gives no
        rounding: e3x3 and s1x1 are rounded half up in double precision, and e1x1 = e - e3x3, so that
        the sum is exact.
        """
        return _widths(self.num_fires, self.base_e, self.incr_e, self.freq, self.pct_3x3, self.squeeze_ratio)

    def bypass_of(self, in_features: int, out_features: int) -> Literal["none", "identity", "conv1x1"]:
        """Return what bypasses a Fire module of these widths (section 6, for any metaparameters)."""
        if self.bypass == "none":
            return "none"
        if in_features == out_features:
            return "identity"
        return "conv1x1" if self.bypass == "complex" else "none"


@dataclass(frozen=True, kw_only=True)
class AlexNetConfig:
    """An AlexNet: convolutions, some in groups, then fully connected layers.

    The defaults are Caffe's bvlc_alexnet, the network that the paper compares with: ReLU after each layer
    but the last, then local response normalisation, then max pooling 3x3/2. The five lists have an entry a
    convolution, so another depth is other lists. Where sources differ:

    - `conv_groups`: Krizhevsky's and Caffe's second, fourth and fifth convolutions see half of the channels
      each (he trained on two GPUs); torchvision's have no groups, and other widths.
    - `lrn_after`: the layers with a local response normalisation over 5 channels (alpha 1e-4 divided by 5,
      beta 0.75), after 1 and 2 in Caffe, none in torchvision. Krizhevsky divides alpha by nothing.
    - `pool_rounding`: Caffe rounds up, torchvision's AlexNet down; at 227 pixels both give 27, 13 and 6.
    - `dropout_rate`: after each hidden fully connected layer, as in Caffe; torchvision has it before them.
    - `init`: "gaussian" is Caffe's, N(0, 0.01), in hidden fully connected layers N(0, 0.005), where
      grouped convolutions and hidden fully connected layers start with biases of 0.1. It needs the width
      of the original to train. "xavier" and "kaiming" are SqueezeNet's two, for smaller networks;
      torchvision's AlexNet has PyTorch's default, which is neither.
    """

    family: Literal["alexnet"] = "alexnet"
    conv_features: tuple[int, ...] = ranged((96, 256, 384, 384, 256), low=1)
    conv_kernels: tuple[int, ...] = ranged((11, 5, 3, 3, 3), low=1)
    conv_paddings: tuple[int, ...] = ranged((0, 2, 1, 1, 1), low=0)
    conv_groups: tuple[int, ...] = ranged((1, 2, 1, 2, 2), low=1)
    stem_stride: int = ranged(4, low=1)
    lrn_after: tuple[int, ...] = ranged((1, 2), low=1)
    pool_after: tuple[int, ...] = ranged((1, 2, 5), low=1)
    pool_rounding: Literal["ceil", "floor"] = "ceil"
    fc_features: tuple[int, ...] = ranged((4096, 4096), low=1)
    dropout_rate: float = ranged(0.5, low=0, high=0.999)
    activation: Literal["relu", "elu"] = "relu"
    init: Literal["gaussian", "xavier", "kaiming"] = "gaussian"
    num_classes: int = ranged(1000, low=2, high=1_000_000)

    def __post_init__(self) -> None:
        """Put the layer numbers in order and refuse what no data could run."""
        depth = len(self.conv_features)
        if not depth:
            raise ArchitectureError("model.conv_features: an AlexNet needs at least one convolution")
        for key in ("conv_kernels", "conv_paddings", "conv_groups"):
            if len(getattr(self, key)) != depth:
                raise ArchitectureError(
                    f"model.{key}: {list(getattr(self, key))} has {len(getattr(self, key))} entries, "
                    f"model.conv_features has {depth}; each convolution needs one"
                )
        for key in ("lrn_after", "pool_after"):
            _put_in_order(self, key, depth, "the last convolution is")
        for number in range(1, depth + 1):
            groups = self.conv_groups[number - 1]
            for features in self.conv_features[max(0, number - 2) : number]:
                if features % groups:
                    raise ArchitectureError(
                        f"model.conv_groups: conv{number} can't have {groups} groups: "
                        f"they don't divide {features} channels"
                    )


@functools.lru_cache(maxsize=64)  # each network is asked several times, one after the other
def _widths(
    number: int, base_e: int, incr_e: int, freq: int, pct_3x3: float, squeeze_ratio: float
) -> Mapping[int, FireWidths]:
    widths = {}
    for i in range(number):
        e = base_e + incr_e * (i // freq)
        expand3x3 = math.floor(e * pct_3x3 + 0.5)
        squeeze = math.floor(e * squeeze_ratio + 0.5)
        widths[i + 2] = FireWidths(squeeze=squeeze, expand1x1=e - expand3x3, expand3x3=expand3x3)
    return MappingProxyType(widths)


ModelConfig = SqueezeNetConfig | AlexNetConfig

FAMILIES: dict[str, type[ModelConfig]] = {"squeezenet": SqueezeNetConfig, "alexnet": AlexNetConfig}


def _put_in_order(config: ModelConfig, key: str, last: int, told: str) -> None:
    """Sort layer numbers (any order is the same network); refuse one that is named twice or is none."""
    numbers = tuple(sorted(getattr(config, key)))
    object.__setattr__(config, key, numbers)
    if len(set(numbers)) < len(numbers):
        raise ArchitectureError(f"model.{key}: {list(numbers)} names a layer twice")
    if numbers and numbers[-1] > last:
        raise ArchitectureError(f"model.{key}: there is no layer {numbers[-1]}; {told} {last}")


MODEL_PRESETS: dict[str, dict[str, Any]] = {
    # The released networks: github.com/forresti/SqueezeNet, SqueezeNet_v1.0 and SqueezeNet_v1.1.
    "squeezenet_v1_0": {"model.family": "squeezenet"},
    "squeezenet_v1_1": {
        "model.family": "squeezenet",
        "model.stem_features": 64,
        "model.stem_kernel": 3,
        "model.pool_after": (1, 3, 5),
        "model.conv10_padding": 0,
    },
    # For images of 8 to 64 pixels.
    "squeezenet_small": {
        "model.family": "squeezenet",
        "model.base_e": 32,
        "model.incr_e": 32,
        "model.stem_features": 32,
        "model.stem_kernel": 3,
        "model.stem_stride": 1,
        "model.stem_padding": 1,
        "model.conv10_padding": 0,
        "model.final_relu": False,
    },
    # Caffe's bvlc_alexnet, the yardstick of the paper's tables.
    "alexnet": {"model.family": "alexnet"},
    # The same shape of network for images of 8 to 64 pixels.
    "alexnet_small": {
        "model.family": "alexnet",
        "model.conv_features": (24, 64, 96, 96, 64),
        "model.conv_kernels": (5, 5, 3, 3, 3),
        "model.conv_paddings": (2, 2, 1, 1, 1),
        "model.stem_stride": 1,
        "model.fc_features": (1024, 1024),
        "model.init": "xavier",
    },
}
