"""The programs that a trial compiles: a training step, in parts where that is faster, and a prediction."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from sqzx.config import TrialConfig
from sqzx.data.examples import Images
from sqzx.duration import training_seconds
from sqzx.memory import micro_batch
from sqzx.network import Parameters
from sqzx.optimizer import optimizer_of, schedule
from sqzx.streams import key_data
from sqzx.task import Task, TrainState

EVALUATION_BATCH = 256

QUICK: dict[str, Any] = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
"""Options of XLA's CPU compiler that halve the time to compile a trial's programs (7.4 to 3.6 s on one core)
and cost a twentieth of their speed, on 8x8 images up to a sixth."""

SHORT_SECONDS = 60.0
"""A training expected to be shorter compiles quickly: there both cost the same."""


class Gradient(NamedTuple):
    """A loss and its gradient, of a batch or of a part of one."""

    loss: Any
    parameters: Parameters


class Programs(NamedTuple):
    """The compiled functions of one trial, or of several whose arrays have a leading axis.

    `step(state, images, labels, key, hyper, number) -> (state, loss, learning_rate)`, with images that are
    uint8 (batch, h, w, c), and `predict(parameters, fixed, images) -> logits` (`evaluation_batch`, classes),
    the first two of a state; all replicates get the same images to predict.
    """

    step: Callable[..., Any]
    predict: Callable[..., Any]
    evaluation_batch: int


def compile_programs(
    task: Task, config: TrialConfig, state: TrainState, hyper: dict[str, np.ndarray], replicates: int = 1
) -> Programs:
    """Compile the training step and the prediction, ahead of time.

    A compiled program refuses other shapes, so nothing can recompile unseen. The seed and the optimiser's
    numbers (`hyper`, see `optimizer.hyperparameters`) come in as arguments only: all trials that differ in
    them alone share one entry of the compilation cache. Where there are several `replicates`, the arrays of
    `state` and `hyper` have a leading axis for them.

    On a CPU a batch may be the sum of smaller ones (`memory.micro_batch`), each a call of one program: a
    loop inside of a program runs slower there.
    """
    apply, splits, preprocessing, form = task.apply, task.splits, task.preprocessing, task.form
    size, total = task.size, task.total
    on_cpu = jax.default_backend() == "cpu"
    peak = task.network.peak_activations * replicates
    part = micro_batch(size, peak) if on_cpu else size

    def at_precision(tree: Any) -> Any:
        dtype = {"f32": jnp.float32, "bf16": jnp.bfloat16}[config.train.precision]
        return jax.tree.map(lambda x: x.astype(dtype), tree)

    def of_each(function: Callable[..., Any], shared: int = 0) -> Callable[..., Any]:
        """Return a function for all replicates, whose last `shared` arguments are the same for each."""
        if replicates == 1:
            return function

        @functools.wraps(function)  # its name is that of the compiled program
        def mapped(*arguments: Any) -> Any:
            own = len(arguments) - shared
            return jax.vmap(function, in_axes=(0,) * own + (None,) * shared)(*arguments)

        return mapped

    def gradient(
        so_far: Gradient,
        parameters: Parameters,
        fixed: Any,
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
            network = at_precision(form.expand(parameters, fixed))
            logits = apply(network, inputs, keys).astype(jnp.float32)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum() / size

        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        return jax.tree.map(jnp.add, so_far, Gradient(loss, gradients))

    def update(
        state: TrainState, whole: Gradient, hyper: dict[str, Array], number: Array
    ) -> tuple[Any, Any, Any, Any]:
        optimizer = form.wrap(optimizer_of(config.train, hyper, total))
        updates, moments = optimizer.update(whole.parameters, state.optimizer, state.parameters)
        parameters: Any = optax.apply_updates(state.parameters, updates)
        rate = schedule(dataclasses.replace(config.train, **hyper), total)(number)
        nothing = jax.tree.map(jnp.zeros_like, whole)
        return TrainState(parameters, moments, state.fixed), whole.loss, rate, nothing

    def train_step(
        state: TrainState, images: Array, labels: Array, key: Array, hyper: dict[str, Array], number: Array
    ) -> tuple[Any, Any, Any]:
        zero = jax.tree.map(jnp.zeros_like, Gradient(jnp.float32(0), state.parameters))
        whole = gradient(zero, state.parameters, state.fixed, images, labels, key, number, np.int32(0))
        return update(state, whole, hyper, number)[:3]

    def predict(parameters: Parameters, fixed: Any, images: Array) -> Array:
        return apply(form.expand(parameters, fixed), preprocessing.normalise(images))

    each = () if replicates == 1 else (replicates,)

    def shaped(array: Images | np.ndarray, n: int, lead: tuple[int, ...] = ()) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*lead, n, *array.shape[1:]), array.dtype)

    is_short = training_seconds(task.network.flops, size * total * replicates) < SHORT_SECONDS
    options = QUICK if on_cpu and is_short else {}

    images, labels = shaped(splits.train.images, part, each), shaped(splits.train.labels, part, each)
    key = jax.ShapeDtypeStruct((*each, *key_data(0).shape), key_data(0).dtype)
    evaluation_batch = min(EVALUATION_BATCH, len(splits.validation.labels))
    if on_cpu:
        evaluation_batch = micro_batch(evaluation_batch, peak)
    predicting = jax.jit(of_each(predict, 1))
    black = shaped(splits.train.images, evaluation_batch)
    predicting = predicting.lower(state.parameters, state.fixed, black)
    predicting = _compile(predicting, options)
    number = np.int32(0)
    if part == size:
        whole_step = jax.jit(of_each(train_step, 1), donate_argnums=0)
        whole_step = _compile(whole_step.lower(state, images, labels, key, hyper, number), options)
        return Programs(whole_step, predicting, evaluation_batch)

    nothing = Gradient(np.zeros(each, np.float32), jax.tree.map(np.zeros_like, state.parameters))
    adding = jax.jit(of_each(gradient, 2), donate_argnums=0)
    adding = _compile(
        adding.lower(nothing, state.parameters, state.fixed, images, labels, key, number, np.int32(0)),
        options,
    )
    updating = jax.jit(of_each(update, 1), donate_argnums=(0, 1))
    updating = _compile(updating.lower(state, nothing, hyper, number), options)

    def step_in_parts(
        state: TrainState,
        images: np.ndarray,
        labels: np.ndarray,
        key: np.ndarray,
        hyper: Any,
        number: np.ndarray,
    ) -> tuple[Any, Any, Any]:
        nonlocal nothing
        whole = nothing
        for first in range(0, size, part):
            chosen = (*(slice(None) for _ in each), slice(first, first + part))
            whole = adding(
                whole,
                state.parameters,
                state.fixed,
                images[chosen],
                labels[chosen],
                key,
                number,
                np.int32(first),
            )
        state, loss, rate, nothing = updating(state, whole, hyper, number)
        return state, loss, rate

    return Programs(step_in_parts, predicting, evaluation_batch)


def _compile(lowered: Any, options: dict[str, Any]) -> Any:
    """Compile a lowered program; options that this version of XLA has no more are left out."""
    try:
        return lowered.compile(options or None)
    except Exception as error:
        if options and "compile option" in str(error):
            return lowered.compile()
        raise
