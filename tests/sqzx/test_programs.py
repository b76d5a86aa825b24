"""A training step in parts against the same step as a whole."""

import logging
import re

import jax
import numpy as np
import pytest

from sqzx import memory, programs
from sqzx.task import fresh_state, task_of
from sqzx.together import stack_of

SIZE = 20


@pytest.fixture
def made(tiny, monkeypatch, fast_compilation):
    """Compile a tiny trial whose parts have so many images, and make its first steps."""

    def make(part, steps=3, **changes):
        config = tiny(train_batch_size=SIZE, train_optimizer="sgd", train_momentum=0.9, **changes)
        task = task_of(config)._replace(size=SIZE, total=10)
        monkeypatch.setattr("sqzx.programs.micro_batch", lambda batch, peak: part if batch == SIZE else batch)
        stack = stack_of(task, [config], [fresh_state(task, config)])
        train, losses = task.splits.train, []
        for step in range(steps):
            chosen = slice(step * SIZE, (step + 1) * SIZE)
            loss, rate = stack.step({0: (train.images[chosen], train.labels[chosen])}, np.int32(step))
            losses.append((float(loss[0]), float(rate[0])))
        return jax.tree.leaves(stack.states()), losses

    return make


@pytest.mark.parametrize("part", [1, 4, 10])
def test_parts_make_the_step_of_the_whole_batch(made, part):
    """Loss, gradient, what dropout drops and all: only the order of additions differs."""
    whole, losses = made(SIZE)
    in_parts, losses_in_parts = made(part)
    np.testing.assert_allclose(losses_in_parts, losses, rtol=1e-5)
    for ours, theirs in zip(in_parts, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert losses[0] != losses[1]


def test_the_comparison_would_see_another_dropout(made):
    dropped, kept = made(SIZE)[0], made(SIZE, model_dropout_rate=0.0)[0]
    far = [not np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(dropped, kept, strict=True)]
    assert any(far)


def test_a_step_in_parts_compiles_two_programs_once(made, caplog):
    made(4, steps=1)  # what JAX compiles once a process, for itself
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        made(4)
    compiled = re.findall(r"Compiling (?:jit\()?(\w+)", caplog.text)
    assert sorted(compiled) == ["gradient", "predict", "update"], caplog.text


def test_the_rule_decides(tiny, monkeypatch):
    """Where a part of the batch is all that is near, it is what runs."""
    monkeypatch.setattr(memory, "NEAR_BYTES", 4 * 4 * 1024)
    peak = 1024
    assert memory.micro_batch(SIZE, peak) == 4


class TestQuickCompilation:
    @pytest.fixture
    def options(self, made, monkeypatch):
        """Return the options that the programs of a trial were compiled with."""

        def of(**changes):
            found = []
            real = programs._compile
            monkeypatch.setattr(
                programs, "_compile", lambda lowered, options: found.append(options) or real(lowered, {})
            )
            made(SIZE, steps=0, **changes)
            monkeypatch.setattr(programs, "_compile", real)
            return found

        return of

    def test_a_short_training_compiles_quickly_and_a_long_one_well(self, options, monkeypatch):
        assert options() == [programs.QUICK] * 2
        monkeypatch.setattr(programs, "SHORT_SECONDS", 0.0)
        assert options() == [{}] * 2

    def test_quick_programs_compute_the_same(self, made, monkeypatch):
        quick, losses = made(SIZE)
        monkeypatch.setattr(programs, "SHORT_SECONDS", 0.0)
        well, other_losses = made(SIZE)
        np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
        for ours, theirs in zip(quick, well, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)

    def test_an_option_that_xla_has_no_more_is_left_out(self):
        lowered = jax.jit(lambda x: x + 1).lower(1.0)
        assert programs._compile(lowered, {"xla_cpu_no_such_option": True})(1.0) == 2

    def test_another_error_is_not_hidden(self):
        class Broken:
            def compile(self, options=None):
                raise ValueError("out of memory")

        with pytest.raises(ValueError, match="out of memory"):
            programs._compile(Broken(), programs.QUICK)


class TestPrecision:
    def test_half_precision_is_near_and_not_the_same(self, made):
        exact, coarse = made(SIZE), made(SIZE, train_precision="bf16")
        losses, coarse_losses = np.array(exact[1]), np.array(coarse[1])
        np.testing.assert_allclose(coarse_losses, losses, rtol=0.02)
        assert not np.array_equal(coarse_losses, losses)

    def test_parameters_and_moments_stay_single(self, made):
        assert {leaf.dtype for leaf in made(4, train_precision="bf16")[0]} <= {
            np.dtype(np.float32),
            np.dtype(np.int32),
        }

    def test_small_changes_are_not_lost(self, made):
        """In bfloat16 a weight of 0.1 has no neighbour nearer than 0.0004; this step moves it by less."""
        before = made(SIZE, steps=0)[0]
        after = made(SIZE, steps=1, train_precision="bf16", train_learning_rate=0.01)[0]
        weights = [
            (a, b) for a, b in zip(before, after, strict=True) if a.ndim == 4 and np.abs(a).max() > 0.1
        ]
        moved = [np.abs(a - b).max() for a, b in weights]
        assert moved
        assert all(0 < m < 0.0004 for m in moved)
