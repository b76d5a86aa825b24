"""What a training has beside its numbers: the network, the data, how many steps of how many images."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from sqzx.batches import batch_size, steps_per_epoch
from sqzx.config import TrialConfig
from sqzx.counting import Network, count
from sqzx.data.splits import Splits, load_splits_of
from sqzx.forms import PLAIN, Form
from sqzx.model import Model, check_fits, model_digest
from sqzx.network import Apply, Parameters, initial_parameters, pure
from sqzx.optimizer import make_optimizer
from sqzx.preprocessing import Preprocessing, of_training_images


class TrainState(NamedTuple):
    """What a training step changes: `parameters` are what is trained, in their place too (`sqzx.forms`).

    `fixed` goes along unchanged.
    """

    parameters: Parameters
    optimizer: Any
    fixed: Any = ()


class Task(NamedTuple):
    """What the trials of a stack share; `total` steps, `per_epoch` of them an epoch, of `size` images."""

    network: Network
    apply: Apply
    splits: Splits
    preprocessing: Preprocessing
    size: int
    per_epoch: int
    total: int
    form: Form
    origin: str


def task_of(config: TrialConfig, origin: Model | None = None, form: Form = PLAIN) -> Task:
    """Return what the training of a configuration needs; `origin` and `form` as in `sqzx.training`."""
    network = count(config.model, config.data.image_shape)  # refuses maps that shrink to nothing
    splits = load_splits_of(config.data)
    per_epoch = steps_per_epoch(config.train.batch_size, len(splits.train.labels))
    preprocessing, told = of_training_images(splits), ""
    if origin is not None:
        check_fits(origin, config.model, config.data.image_shape)
        sides = preprocessing.size
        preprocessing = replace(origin.preprocessing, size=sides, cover=sides)
        told = f", from: {origin.source} ({model_digest(origin)})"
    return Task(
        network=network,
        apply=pure(config.model, config.data.image_shape, form.ranks),
        splits=splits,
        preprocessing=preprocessing,
        size=batch_size(config.train.batch_size, len(splits.train.labels)),
        per_epoch=per_epoch,
        total=per_epoch * config.train.epochs,
        form=form,
        origin=told,
    )


def fresh_state(task: Task, config: TrialConfig) -> TrainState:
    """Return the state of a trial before its first step."""
    start, form = task.form.start, task.form
    if start is None:
        start = initial_parameters(config.model, config.data.image_shape, config.seed)
    moments = form.wrap(make_optimizer(config.train, task.total)).init(start)
    return TrainState(start, jax.tree.map(np.asarray, moments), form.fixed)
