"""The optimiser of a training configuration, in optax."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax

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
    """Return the optimiser for a training of `steps` steps."""
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


def _kernels(parameters: Any) -> Any:
    """Mark the kernels, which decay, among the parameters; biases are left alone, as is usual with AdamW."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", parameters)
