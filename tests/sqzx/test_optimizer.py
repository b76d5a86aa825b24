import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sqzx.config import TRAIN_RECIPES, TrainConfig
from sqzx.optimizer import make_optimizer, schedule

PARAMETERS = {
    "conv1": {"kernel": np.full((1, 1, 2, 2), 2.0, np.float32), "bias": np.full(2, -3.0, np.float32)}
}

ZERO = {"conv1": {"kernel": np.zeros((1, 1, 2, 2), np.float32), "bias": np.zeros(2, np.float32)}}
THREES = {"conv1": {"kernel": np.full((1, 1, 2, 2), 3.0, np.float32), "bias": np.zeros(2, np.float32)}}


def rates(config, steps):
    rate = schedule(config, steps)
    return [float(rate(step)) for step in range(steps + 1)]


def paper(**changes):
    recipe = {k.removeprefix("train."): v for k, v in TRAIN_RECIPES["paper"].items()}
    return TrainConfig(**recipe | changes)


def updated(config, gradients, steps=10):
    optimizer = make_optimizer(config, steps)
    moved, _ = optimizer.update(gradients, optimizer.init(PARAMETERS), PARAMETERS)
    return moved["conv1"]


class TestSchedule:
    """'linearly decrease the learning rate': base * (1 - t / steps), Caffe's poly policy of power 1."""

    def test_linear_without_warm_up_is_caffes(self):
        steps = 170_000
        rate = schedule(paper(), steps)
        for step in (0, 1, 1000, steps // 2, steps - 1, steps):
            assert float(rate(step)) == pytest.approx(0.04 * (1 - step / steps), rel=1e-4, abs=1e-9)
        assert float(rate(0)) == pytest.approx(0.04)
        assert float(rate(steps // 2)) == pytest.approx(0.02)
        assert float(rate(steps)) == 0

    def test_cosine_is_half_at_half_way_and_ends_at_0(self):
        found = rates(TrainConfig(schedule="cosine", warmup_fraction=0, learning_rate=1.0), 100)
        expected = [(1 + math.cos(math.pi * step / 100)) / 2 for step in range(101)]
        assert found == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("kind", ["linear", "cosine"])
    @pytest.mark.parametrize(("fraction", "steps"), [(0.1, 100), (0.5, 10), (0.1, 10), (0.3, 7)])
    def test_a_warm_up_rises_evenly_to_the_peak_and_the_rest_falls_to_0(self, kind, fraction, steps):
        config = TrainConfig(schedule=kind, warmup_fraction=fraction, learning_rate=0.5)
        found, warmup = rates(config, steps), round(fraction * steps)
        rise = [0.5 * (step + 1) / warmup for step in range(warmup)]
        assert found[:warmup] == pytest.approx(rise)
        assert found[warmup] == pytest.approx(0.5)
        assert all(a > b for a, b in zip(found[warmup:], found[warmup + 1 :], strict=False))
        assert found[-1] == pytest.approx(0, abs=1e-7)
        assert min(found[:-1]) > 0

    def test_a_warm_up_over_everything_ends_at_the_peak(self):
        found = rates(TrainConfig(warmup_fraction=1, learning_rate=0.5), 4)
        assert found[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])

    @pytest.mark.parametrize("fraction", [0, 0.1, 0.9, 1])
    def test_a_single_step_learns(self, fraction):
        assert rates(TrainConfig(warmup_fraction=fraction), 1)[0] == pytest.approx(2e-3)


class TestDecay:
    def test_adamw_decays_kernels_only(self):
        config = TrainConfig(learning_rate=0.5, weight_decay=0.25, warmup_fraction=0)
        moved = updated(config, ZERO)
        assert np.asarray(moved["kernel"]) == pytest.approx(np.full((1, 1, 2, 2), -0.5 * 0.25 * 2))
        assert np.asarray(moved["bias"]) == pytest.approx(np.zeros(2))

    def test_sgd_decays_biases_too_as_caffe_does(self):
        moved = updated(paper(learning_rate=0.5, weight_decay=0.25), ZERO)
        assert np.asarray(moved["kernel"]) == pytest.approx(np.full((1, 1, 2, 2), -0.5 * 0.25 * 2))
        assert np.asarray(moved["bias"]) == pytest.approx(np.full(2, 0.5 * 0.25 * 3))


class TestClipping:
    def test_gradients_longer_than_the_limit_are_cut_to_it(self):
        config = paper(learning_rate=1.0, weight_decay=0.0, gradient_clip=1.5)
        # Four threes have length 6, and are scaled by 1.5 / 6.
        assert np.asarray(updated(config, THREES)["kernel"]) == pytest.approx(np.full((1, 1, 2, 2), -0.75))

    @pytest.mark.parametrize("limit", [None, 6.5])
    def test_shorter_ones_stay(self, limit):
        config = paper(learning_rate=1.0, weight_decay=0.0, gradient_clip=limit)
        assert np.asarray(updated(config, THREES)["kernel"]) == pytest.approx(np.full((1, 1, 2, 2), -3))

    def test_the_decay_is_added_after_the_cut_as_in_caffe(self):
        config = paper(learning_rate=1.0, weight_decay=1.0, gradient_clip=1.5)
        moved = updated(config, THREES)
        assert np.asarray(moved["kernel"]) == pytest.approx(np.full((1, 1, 2, 2), -0.75 - 2))


def test_the_papers_steps_are_caffes():
    """history = momentum * history + rate * (gradient + decay * weight); weight -= history.

    The rate is inside of the history (SGDSolver::ComputeUpdateValue), so it matters that it changes.
    """
    steps, config = 6, paper(learning_rate=0.3, weight_decay=0.1)
    start = np.random.default_rng(0).normal(size=(1, 1, 3, 2)).astype(np.float32)
    optimizer = make_optimizer(config, steps)
    parameters = {"conv1": {"kernel": jnp.asarray(start)}}
    state = optimizer.init(parameters)
    weight, history = start.astype(np.float64), np.zeros(start.shape)
    for step in range(steps):
        moved, state = optimizer.update(
            {"conv1": {"kernel": parameters["conv1"]["kernel"] ** 2}}, state, parameters
        )
        parameters = optax.apply_updates(parameters, moved)
        rate = 0.3 * (1 - step / steps)
        history = 0.9 * history + rate * (weight**2 + 0.1 * weight)
        weight = weight - history
        assert np.asarray(parameters["conv1"]["kernel"]) == pytest.approx(weight, rel=1e-4, abs=1e-5)


def test_sgd_without_momentum_is_the_plain_gradient():
    config = TrainConfig(optimizer="sgd", learning_rate=0.5, weight_decay=0.0, warmup_fraction=0)
    optimizer = make_optimizer(config, 10)
    state = optimizer.init(PARAMETERS)
    for step in range(3):
        moved, state = optimizer.update(THREES, state, PARAMETERS)
        length = 6.0
        expected = -0.5 * (1 + math.cos(math.pi * step / 10)) / 2 * 3 / length
        assert np.asarray(moved["conv1"]["kernel"]) == pytest.approx(np.full((1, 1, 2, 2), expected))
