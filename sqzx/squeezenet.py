"""SqueezeNet in Flax NNX: the Fire module and the network, by the paper's names.

Paper: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
arXiv:1602.07360. Original definition: github.com/forresti/SqueezeNet (Caffe, BSD). What the sources disagree
on is an option of `SqueezeNetConfig`, whose docstring says which source does what.

Maps are (batch, height, width, channels), kernels (k, k, in, out), all float32.
"""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array

from sqzx.architectures import FireWidths, SqueezeNetConfig
from sqzx.initializers import kernel_initializer
from sqzx.layers import ACTIVATIONS, convolve, dropout, max_pool


class Fire(nnx.Module):
    """Squeeze to few 1x1 filters, expand with 1x1 and 3x3 filters side by side (section 3.2, Figure 1)."""

    def __init__(self, config: SqueezeNetConfig, in_features: int, widths: FireWidths, *, rngs: nnx.Rngs):
        self.squeeze = _conv(config, in_features, widths.squeeze, 1, rngs=rngs)
        self.expand1x1 = _conv(config, widths.squeeze, widths.expand1x1, 1, rngs=rngs)
        self.expand3x3 = _conv(config, widths.squeeze, widths.expand3x3, 3, padding=1, rngs=rngs)
        self.bypass_kind = config.bypass_of(in_features, widths.expand)
        if self.bypass_kind == "conv1x1":
            self.bypass = _conv(config, in_features, widths.expand, 1, rngs=rngs)
        self.activation = config.activation
        self.squeeze_activation = config.squeeze_activation

    def __call__(self, x: Array) -> Array:
        """Map (n, h, w, in) to (n, h, w, e1x1 + e3x3); the 1x1 filters come first."""
        activation = ACTIVATIONS[self.activation]
        squeezed = self.squeeze(x)
        if self.squeeze_activation == "same":
            squeezed = activation(squeezed)
        expanded = (activation(self.expand1x1(squeezed)), activation(self.expand3x3(squeezed)))
        out = jnp.concatenate(expanded, axis=-1)
        # Figure 2: a plain sum, with no activation after it. The 1x1 convolution of the complex bypass
        # has its own, as in songhan/SqueezeNet-Generator; the paper is silent on it.
        if self.bypass_kind == "identity":
            return out + x
        if self.bypass_kind == "conv1x1":
            return out + activation(self.bypass(x))
        return out


class SqueezeNet(nnx.Module):
    """The network of `config` for images of `in_features` channels.

    >>> SqueezeNet(SqueezeNetConfig(), 3, rngs=nnx.Rngs(0))(images)  # (n, 227, 227, 3) -> (n, 1000)
    """

    def __init__(self, config: SqueezeNetConfig, in_features: int, *, rngs: nnx.Rngs):
        self.config = config
        self.conv1 = _conv(
            config,
            in_features,
            config.stem_features,
            config.stem_kernel,
            strides=config.stem_stride,
            padding=config.stem_padding,
            rngs=rngs,
        )
        features = config.stem_features
        for number, widths in config.fires().items():
            setattr(self, f"fire{number}", Fire(config, features, widths, rngs=rngs))
            features = widths.expand
        self.conv10 = _conv(
            config,
            features,
            config.num_classes,
            1,
            padding=config.conv10_padding,
            role="classifier",
            rngs=rngs,
        )

    def __call__(self, images: Array, *, dropout_keys: Array | None = None) -> Array:
        """Return the logits (n, classes) of images (n, h, w, c); `dropout_keys` (n,) turn dropout on."""
        return self.maps(images, dropout_keys=dropout_keys)["logits"]

    def maps(self, images: Array, *, dropout_keys: Array | None = None) -> dict[str, Array]:
        """Return every named map of the forward pass, from "conv1" to "logits", in running order."""
        config, maps = self.config, {}
        activation = ACTIVATIONS[config.activation]

        stem = self.conv1(images)
        x = maps["conv1"] = activation(stem)
        if 1 in config.pool_after:
            # An activation that never falls may as well come after the pooling, on a quarter of the pixels:
            # the maxima are the same, and so are the gradients. "conv1" costs nothing where nobody asks.
            x = maps["pool1"] = activation(max_pool(stem, config.pool_rounding))
        for number in config.fires():
            x = maps[f"fire{number}"] = getattr(self, f"fire{number}")(x)
            if number in config.pool_after:
                x = maps[f"pool{number}"] = max_pool(x, config.pool_rounding)
        x = dropout(x, config.dropout_rate, dropout_keys)
        x = self.conv10(x)
        maps["conv10"] = activation(x) if config.final_relu else x
        maps["logits"] = maps["conv10"].mean(axis=(1, 2))
        return maps


def _conv(
    config: SqueezeNetConfig,
    in_features: int,
    out_features: int,
    kernel: int,
    *,
    strides: int = 1,
    padding: int = 0,
    role: Literal["conv", "classifier"] = "conv",
    rngs: nnx.Rngs,
) -> nnx.Conv:
    return nnx.Conv(
        in_features,
        out_features,
        (kernel, kernel),
        strides=strides,
        padding=padding,
        kernel_init=kernel_initializer(config.init, role),
        conv_general_dilated=convolve,
        rngs=rngs,
    )
