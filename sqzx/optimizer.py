"""The optimiser of a training configuration, in optax."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from sqzx.config import HYPERPARAMETERS, TrainConfig


def hyperparameters(config: TrainConfig) -> dict[str, np.ndarray]:
    """Return the numbers of a configuration that are arguments of its training step, float32 scalars."""
    values = {name: getattr(config, name) for name in HYPERPARAMETERS}
    return {name: np.asarray(value, np.float32) for name, value in values.items() if value is not None}


def optimizer_of(config: TrainConfig, values: dict[str, Any], steps: int) -> optax.GradientTransformation:
    """Return the optimiser with `values` in the place of the configuration's own (traced ones, say)."""
    return make_optimizer(dataclasses.replace(config, **values), steps)


def schedule(config: TrainConfig, steps: int) -> optax.Schedule:
    """Return the learning rate by step: a linear warm-up to the peak, then the fall to 0 at `steps`.

    "linear" without warm-up is Caffe's poly policy with power 1, base * (1 - t / steps), the paper's.
    """
    warmup = round(config.warmup_fraction * steps)
    rest = max(1, steps - warmup)
    if config.schedule == "cosine":
        fall = optax.cosine_decay_schedule(config.learning_rate, rest)
    else:
        fall = optax.linear_schedule(config.learning_rate, 0.0, rest)
    if warmup == 0:
        return fall
    # The first step of a warm-up moves a little: a rate of 0 would waste it.
    rise = optax.linear_schedule(config.learning_rate / warmup, config.learning_rate, max(1, warmup - 1))
    return optax.join_schedules([rise, fall], [warmup])


def make_optimizer(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """Return the optimiser for a training of `steps` steps.

    Its state has two vectors for each moment, of all kernels and of all biases.
    """
    return _side_by_side(_transformation(config, steps))


def _transformation(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    clip = [] if config.gradient_clip is None else [optax.clip_by_global_norm(config.gradient_clip)]
    rate = schedule(config, steps)
    if config.optimizer == "adamw":
        return optax.chain(*clip, optax.adamw(rate, weight_decay=config.weight_decay, mask=_kernels))
    # Caffe adds the decay to the gradient, before the momentum, and (unless told otherwise) for biases too.
    # Its momentum sums steps, each at the rate of its own time; optax.sgd sums gradients, as PyTorch does.
    return optax.chain(
        *clip,
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_learning_rate(rate),
        optax.trace(0.0 if config.momentum is None else config.momentum),
    )


def _side_by_side(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Let an optimiser see all kernels as one vector, and all biases as another.

    What it does is by element, or over all of them (the norm of a clip). With operations for each of the 52
    arrays of a SqueezeNet the training step takes up to twice as long to compile.
    """

    def init(params: Any) -> Any:
        joined = jax.eval_shape(_joined, params)
        return inner.init(jax.tree.map(lambda vector: np.zeros(vector.shape, vector.dtype), joined))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        joined, state = inner.update(_joined(updates), state, None if params is None else _joined(params))
        return _parted(joined, updates), state

    return optax.GradientTransformation(init, update)


def _joined(tree: Any) -> dict[str, Array]:
    """Return the arrays of each kind ("kernel", "bias", ...: the last key of their path) end to end."""
    kinds: dict[str, list[Array]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        kinds.setdefault(path[-1].key, []).append(jnp.ravel(leaf))
    return {kind: jnp.concatenate(leaves) for kind, leaves in kinds.items()}


def _parted(joined: Any, like: Any) -> Any:
    """Return the arrays of `_joined` in the tree `like`, whose leaves tell their shapes."""
    used = dict.fromkeys(joined, 0)

    def part(path: Any, leaf: Array) -> Array:
        kind = path[-1].key
        start, used[kind] = used[kind], used[kind] + leaf.size
        return lax.slice_in_dim(joined[kind], start, used[kind]).reshape(leaf.shape)

    return jax.tree_util.tree_map_with_path(part, like)


def _kernels(parameters: Any) -> Any:
    """Mark the kernels, which decay, among the parameters; biases are left alone, as is usual with AdamW."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", parameters)
