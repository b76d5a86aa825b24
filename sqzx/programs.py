"""The programs that a trial compiles: a training step, in parts where that is faster, and a prediction."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from sqzx.batches import micro_batch
from sqzx.config import TrialConfig
from sqzx.counting import count
from sqzx.data.splits import Splits
from sqzx.network import Apply, Parameters
from sqzx.optimizer import schedule
from sqzx.preprocessing import Preprocessing
from sqzx.streams import key_data

EVALUATION_BATCH = 256

QUICK: dict[str, Any] = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
"""Options of XLA's CPU compiler that halve the time to compile a trial's programs (7.4 to 3.6 s on one core)
and cost up to a third of their speed."""

SHORT_SECONDS = 10.0
"""A training expected to be shorter compiles quickly: there both cost the same."""

EXPECTED_FLOPS = 50e9
"""Floating-point operations a second of training on one core, by which a training's length is guessed."""


class TrainState(NamedTuple):
    """What a training step changes."""

    parameters: Parameters
    optimizer: Any


class Gradient(NamedTuple):
    """A loss and its gradient, of a batch or of a part of one."""

    loss: Any
    parameters: Parameters


class Programs(NamedTuple):
    """What a trial has compiled.

    `step(state, images, labels, key, number) -> (state, loss, learning_rate)` and
    `predict(parameters, images) -> logits`; images are uint8 (batch, h, w, c).
    """

    step: Callable[..., Any]
    predict: Callable[..., Any]
    evaluation_batch: int


def compile_programs(
    config: TrialConfig,
    apply: Apply,
    optimizer: optax.GradientTransformation,
    splits: Splits,
    preprocessing: Preprocessing,
    state: TrainState,
    size: int,
    total: int,
) -> Programs:
    """Compile the training step for batches of `size` and the prediction, ahead of time.

    A compiled program refuses other shapes, so nothing can recompile unseen. The seed comes in as an
    argument only: all seeds of a configuration share one entry of the compilation cache.

    On a CPU a batch may be the sum of smaller ones (`batches.micro_batch`), each a call of one program: a
    loop inside of a program runs slower there.
    """
    rate_at = schedule(config.train, total)
    network = count(config.model, config.data.image_shape)
    peak = network.peak_activations
    part = micro_batch(size, peak) if jax.default_backend() == "cpu" else size

    def at_precision(tree: Any) -> Any:
        dtype = {"f32": jnp.float32, "bf16": jnp.bfloat16}[config.train.precision]
        return jax.tree.map(lambda x: x.astype(dtype), tree)

    def gradient(
        so_far: Gradient,
        parameters: Parameters,
        images: Array,
        labels: Array,
        key: Array,
        number: Array,
        first: Array | np.int32,
    ) -> Gradient:
        """Add the gradient of images `first`, `first` + 1, ... of the batch of step `number`."""
        step_key = jax.random.fold_in(jax.random.wrap_key_data(key), number)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(step_key, first + np.arange(part, dtype=np.int32))

        def loss_of(parameters: Parameters) -> Array:
            inputs = at_precision(preprocessing.normalise(images))
            logits = apply(at_precision(parameters), inputs, keys).astype(jnp.float32)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum() / size

        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        return jax.tree.map(jnp.add, so_far, Gradient(loss, gradients))

    def update(state: TrainState, whole: Gradient, number: Array) -> tuple[Any, Any, Any, Any]:
        updates, moments = optimizer.update(whole.parameters, state.optimizer, state.parameters)
        parameters: Any = optax.apply_updates(state.parameters, updates)
        nothing = jax.tree.map(jnp.zeros_like, whole)
        return TrainState(parameters, moments), whole.loss, rate_at(number), nothing

    def train_step(
        state: TrainState, images: Array, labels: Array, key: Array, number: Array
    ) -> tuple[Any, Any, Any]:
        zero = jax.tree.map(jnp.zeros_like, Gradient(jnp.float32(0), state.parameters))
        whole = gradient(zero, state.parameters, images, labels, key, number, np.int32(0))
        return update(state, whole, number)[:3]

    def predict(parameters: Parameters, images: Array) -> Array:
        return apply(parameters, preprocessing.normalise(images))

    def shaped(array: np.ndarray, n: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((n, *array.shape[1:]), array.dtype)

    expected = 3 * network.flops * size * total / EXPECTED_FLOPS
    options = QUICK if jax.default_backend() == "cpu" and expected < SHORT_SECONDS else {}

    images, labels = splits.train.images, splits.train.labels
    inputs = (shaped(images, part), shaped(labels, part), key_data(0), np.int32(0))
    evaluation_batch = min(EVALUATION_BATCH, len(splits.validation.labels))
    if jax.default_backend() == "cpu":
        evaluation_batch = micro_batch(evaluation_batch, peak)
    predicting = jax.jit(predict).lower(state.parameters, shaped(images, evaluation_batch))
    predicting = _compiled(predicting, options)
    if part == size:
        whole_step = _compiled(jax.jit(train_step, donate_argnums=0).lower(state, *inputs), options)
        return Programs(whole_step, predicting, evaluation_batch)

    nothing = Gradient(np.zeros((), np.float32), jax.tree.map(np.zeros_like, state.parameters))
    adding = jax.jit(gradient, donate_argnums=0)
    adding = _compiled(adding.lower(nothing, state.parameters, *inputs, np.int32(0)), options)
    updating = _compiled(jax.jit(update, donate_argnums=(0, 1)).lower(state, nothing, np.int32(0)), options)

    def step_in_parts(
        state: TrainState, images: np.ndarray, labels: np.ndarray, key: np.ndarray, number: np.ndarray
    ) -> tuple[Any, Any, Any]:
        nonlocal nothing
        whole = nothing
        for first in range(0, size, part):
            chosen = slice(first, first + part)
            whole = adding(
                whole, state.parameters, images[chosen], labels[chosen], key, number, np.int32(first)
            )
        state, loss, rate, nothing = updating(state, whole, number)
        return state, loss, rate

    return Programs(step_in_parts, predicting, evaluation_batch)


def _compiled(lowered: Any, options: dict[str, Any]) -> Any:
    """Compile a lowered program; options that this version of XLA has no more are left out."""
    try:
        return lowered.compile(options or None)
    except Exception as error:
        if options and "compile option" in str(error):
            return lowered.compile()
        raise
