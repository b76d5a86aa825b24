"""The training step as a Flax tutorial writes it: nnx.Conv, nnx.max_pool, nnx.Optimizer, nnx.jit."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from sqzx.architectures import FireWidths, SqueezeNetConfig
from sqzx.config import TrainConfig
from sqzx.counting import pooled_size


def max_pool(x: jax.Array) -> jax.Array:
    edges = [(0, 3 + 2 * (pooled_size(n, "ceil") - 1) - n) for n in x.shape[1:3]]
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=edges)


class Fire(nnx.Module):
    def __init__(self, in_features: int, widths: FireWidths, *, rngs: nnx.Rngs):
        self.squeeze = nnx.Conv(in_features, widths.squeeze, (1, 1), rngs=rngs)
        self.expand1x1 = nnx.Conv(widths.squeeze, widths.expand1x1, (1, 1), rngs=rngs)
        self.expand3x3 = nnx.Conv(widths.squeeze, widths.expand3x3, (3, 3), padding=1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.squeeze(x))
        return jnp.concatenate([nnx.relu(self.expand1x1(x)), nnx.relu(self.expand3x3(x))], axis=-1)


class SqueezeNet(nnx.Module):
    def __init__(self, config: SqueezeNetConfig, in_features: int, *, rngs: nnx.Rngs):
        self.pool_after = config.pool_after
        self.conv1 = nnx.Conv(in_features, config.stem_features, (3, 3), padding=1, rngs=rngs)
        fires, features = [], config.stem_features
        for widths in config.fires().values():
            fires.append(Fire(features, widths, rngs=rngs))
            features = widths.expand
        self.fires = nnx.List(fires)
        self.dropout = nnx.Dropout(config.dropout_rate, rngs=rngs)
        self.conv10 = nnx.Conv(features, config.num_classes, (1, 1), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = max_pool(nnx.relu(self.conv1(x)))
        for number, fire in enumerate(self.fires, 2):
            x = fire(x)
            if number in self.pool_after:
                x = max_pool(x)
        return self.conv10(self.dropout(x)).mean(axis=(1, 2))


def stepper(
    config: SqueezeNetConfig, train: TrainConfig, images: np.ndarray, labels: np.ndarray
) -> Callable[[], None]:
    """Return a function that makes one training step and waits for it."""
    model = SqueezeNet(config, images.shape[-1], rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(
        model, optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(train.learning_rate)), wrt=nnx.Param
    )
    x, y = jnp.asarray(images, jnp.float32) / 255, jnp.asarray(labels)

    @nnx.jit
    def step(model: SqueezeNet, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> jax.Array:
        def loss_of(model: SqueezeNet) -> jax.Array:
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        loss, gradients = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, gradients)
        return loss

    def run() -> None:
        step(model, optimizer, x, y).block_until_ready()

    return run
