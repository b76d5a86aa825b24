"""Trials that train together in one process, in one of two ways: side by side or in turn.

`sqzx.stacking` says which way is when the faster one. To a training loop both are a `Stack`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from sqzx.config import TrialConfig
from sqzx.optimizer import hyperparameters
from sqzx.programs import Programs, compile_programs
from sqzx.stacking import side_by_side
from sqzx.streams import key_data
from sqzx.task import Task, TrainState

Batch = tuple[np.ndarray, np.ndarray]
"""Images uint8 (size, h, w, c) and labels int32 (size,)."""


class Stack(Protocol):
    """Trials in training, each at its place 0, 1, ... until it leaves.

    `evaluation_batch` is how many images `predict` takes.
    """

    evaluation_batch: int

    def step(self, batches: Mapping[int, Batch], number: np.int32) -> tuple[Any, Any]:
        """Make step `number` of each trial with its batch; return their losses and learning rates.

        Both are still on the device, and have a number at each trial's place.
        """
        ...

    def predict(self, images: np.ndarray) -> dict[int, np.ndarray]:
        """Return each trial's logits (`evaluation_batch`, classes) of the same images."""
        ...

    def states(self) -> dict[int, TrainState]:
        """Return each trial's state, in arrays of NumPy."""
        ...

    def leave(self, place: int) -> None:
        """Let go of a trial that has ended."""
        ...


def stack_of(task: Task, configs: Sequence[TrialConfig], states: Sequence[TrainState]) -> Stack:
    """Compile what trains trials of one `stacking.program_key`, from the states in which they stand."""
    on_cpu = jax.default_backend() == "cpu"
    if len(configs) > 1 and side_by_side(task.network.flops * task.size, on_cpu=on_cpu):
        return SideBySide(task, configs, states)
    return InTurn(task, configs, states)


class InTurn:
    """A `Stack` whose trials take turns with the program of one, to the bits that each would reach alone."""

    def __init__(self, task: Task, configs: Sequence[TrialConfig], states: Sequence[TrainState]):
        self._states = dict(enumerate(states))
        numbers = [_numbers(config) for config in configs]
        self._programs = compile_programs(task, configs[0], states[0], numbers[0][1])
        self._numbers = jax.device_put(numbers)  # once, not with each step
        self.evaluation_batch = self._programs.evaluation_batch

    def step(self, batches: Mapping[int, Batch], number: np.int32) -> tuple[Any, Any]:
        """See `Stack`."""
        losses, rates = {}, {}
        for place, state in self._states.items():
            self._states[place], losses[place], rates[place] = self._programs.step(
                state, *batches[place], *self._numbers[place], number
            )
        return losses, rates

    def predict(self, images: np.ndarray) -> dict[int, np.ndarray]:
        """See `Stack`."""
        found = {place: _predicted(self._programs, state, images) for place, state in self._states.items()}
        return {place: np.asarray(logits) for place, logits in found.items()}

    def states(self) -> dict[int, TrainState]:
        """See `Stack`."""
        return jax.device_get(self._states)

    def leave(self, place: int) -> None:
        """See `Stack`."""
        del self._states[place]


class SideBySide:
    """A `Stack` that is one program, with a leading axis for the trials in each of its arrays.

    A trial that has left is computed on, unseen, since other shapes would be another program.
    """

    def __init__(self, task: Task, configs: Sequence[TrialConfig], states: Sequence[TrainState]):
        self._places = list(range(len(configs)))  # of those who are still there
        self._all = tuple(self._places)
        self._state = _joined(states)
        key, hyper = _joined([_numbers(config) for config in configs])
        self._programs = compile_programs(task, configs[0], self._state, hyper, len(configs))
        self._numbers = jax.device_put((key, hyper))  # once, not with each step
        self.evaluation_batch = self._programs.evaluation_batch

    def step(self, batches: Mapping[int, Batch], number: np.int32) -> tuple[Any, Any]:
        """See `Stack`."""
        images, labels = _joined([batches.get(place, batches[self._places[0]]) for place in self._all])
        self._state, losses, rates = self._programs.step(self._state, images, labels, *self._numbers, number)
        return losses, rates

    def predict(self, images: np.ndarray) -> dict[int, np.ndarray]:
        """See `Stack`."""
        logits = np.asarray(_predicted(self._programs, self._state, images))
        return {place: logits[place] for place in self._places}

    def states(self) -> dict[int, TrainState]:
        """See `Stack`."""
        fetched = jax.device_get(self._state)
        return {place: _of_one(fetched, place) for place in self._places}

    def leave(self, place: int) -> None:
        """See `Stack`."""
        self._places.remove(place)


def _numbers(config: TrialConfig) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return in what trials of one program differ: the key of their dropout, the optimiser's numbers."""
    return key_data(config.seed, "dropout"), hyperparameters(config.train)


def _predicted(programs: Programs, state: TrainState, images: np.ndarray) -> jax.Array:
    return programs.predict(state.parameters, state.fixed, images)


def _joined(trees: Sequence[Any]) -> Any:
    """Return trees of arrays as one, with a new leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _of_one(joined: Any, place: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[place], joined)
