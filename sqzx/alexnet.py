"""AlexNet in Flax NNX, as Caffe's bvlc_alexnet: convolutions in groups, normalisation, dense layers.

Paper: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks",
2012. Definition: BVLC/caffe, models/bvlc_alexnet (BSD). It is what the paper of SqueezeNet compares with.

Maps are (batch, height, width, channels), kernels (k, k, in, out), dense kernels (height x width x in, out).
"""

import jax
from flax import nnx
from jax import Array

from sqzx.architectures import AlexNetConfig
from sqzx.counting import Shape, parametric_layers
from sqzx.initializers import bias_initializer, kernel_initializer, role_of
from sqzx.layers import ACTIVATIONS, convolve, dropout, local_response_norm, max_pool


class AlexNet(nnx.Module):
    """The network of `config` for images of `image_shape` (height, width, channels), and of no other size.

    >>> AlexNet(AlexNetConfig(), (227, 227, 3), rngs=nnx.Rngs(0))(images)  # (n, 227, 227, 3) -> (n, 1000)
    """

    def __init__(self, config: AlexNetConfig, image_shape: Shape, *, rngs: nnx.Rngs):
        self.config = config
        convolutions = len(config.conv_features)
        layers = parametric_layers(config, image_shape)
        for index, layer in enumerate(layers):
            height, width, in_features, features = layer.kernel_shape
            role = role_of(layer, last=layer is layers[-1])
            kernel_init, bias_init = (
                kernel_initializer(config.init, role),
                bias_initializer(config.init, role),
            )
            if index < convolutions:
                module = nnx.Conv(
                    in_features * layer.groups,
                    features,
                    (height, width),
                    strides=layer.stride,
                    padding=config.conv_paddings[index],
                    feature_group_count=layer.groups,
                    kernel_init=kernel_init,
                    bias_init=bias_init,
                    conv_general_dilated=convolve,
                    rngs=rngs,
                )
            else:
                inputs = height * width * in_features
                module = nnx.Linear(inputs, features, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs)
            setattr(self, layer.name, module)
        self.hidden = tuple(layer.name for layer in layers[convolutions:-1])
        self.classifier = layers[-1].name

    def __call__(self, images: Array, *, dropout_keys: Array | None = None) -> Array:
        """Return the logits (n, classes) of images (n, h, w, c); `dropout_keys` (n,) turn dropout on."""
        return self.maps(images, dropout_keys=dropout_keys)["logits"]

    def maps(self, images: Array, *, dropout_keys: Array | None = None) -> dict[str, Array]:
        """Return every named map of the forward pass, from "conv1" to "logits", in running order."""
        config, maps = self.config, {}
        activation = ACTIVATIONS[config.activation]
        x = images
        for number in range(1, len(config.conv_features) + 1):
            x = maps[f"conv{number}"] = activation(getattr(self, f"conv{number}")(x))
            if number in config.lrn_after:
                x = maps[f"norm{number}"] = local_response_norm(x)
            if number in config.pool_after:
                x = maps[f"pool{number}"] = max_pool(x, config.pool_rounding)
        x = x.reshape(len(x), -1)
        for index, name in enumerate(self.hidden):
            x = maps[name] = activation(getattr(self, name)(x))
            keys = (
                None if dropout_keys is None else jax.vmap(jax.random.fold_in, (0, None))(dropout_keys, index)
            )
            x = dropout(x, config.dropout_rate, keys)
        maps["logits"] = maps[self.classifier] = getattr(self, self.classifier)(x)
        return maps
