"""Trials trained together against the same trials trained one by one."""

import json
import logging
import re
import shutil
import time

import jax
import numpy as np
import pytest

from sqzx import checkpoints
from sqzx import together as together_module
from sqzx.attempt import attempt_stack
from sqzx.claims import claim
from sqzx.counting import count
from sqzx.duration import FLOPS_PER_SECOND, training_seconds
from sqzx.model import read_model
from sqzx.stacking import MOST, TOGETHER_SECONDS, automatic_stack, program_key, side_by_side
from sqzx.task import fresh_state, task_of
from sqzx.training import train
from sqzx.trial import TrialFolder


@pytest.fixture
def together(tmp_path):
    """Train configurations in one stack, in folders "0", "1", ..., and return these with the statuses."""

    def run(configs, **options):
        folders = [TrialFolder(tmp_path / str(number)) for number in range(len(configs))]
        trials = list(zip(configs, folders, strict=True))
        return folders, attempt_stack(trials, started=time.monotonic(), say=lambda line: None, **options)

    return run


@pytest.fixture
def alone(tmp_path):
    def run(config, name="alone"):
        folder = TrialFolder(tmp_path / name)
        train(config, folder, say=lambda line: None)
        return folder

    return run


def assert_alike(ours: TrialFolder, theirs: TrialFolder) -> None:
    """Equal to float tolerance: every step's loss, the trained parameters, the test logits."""
    here, there = ours.read_metrics(), theirs.read_metrics()
    assert [(x["step"], x["kind"]) for x in here] == [(x["step"], x["kind"]) for x in there]
    for key in ("loss", "learning_rate", "val_loss"):
        np.testing.assert_allclose(*([x[key] for x in side if key in x] for side in (here, there)), rtol=1e-4)
    parameters = [checkpoints.by_path(read_model(folder.path).parameters) for folder in (ours, theirs)]
    for name in parameters[0]:
        np.testing.assert_allclose(parameters[0][name], parameters[1][name], rtol=1e-3, atol=1e-5)
    logits = [np.load(folder.predictions_file)["test_logits"] for folder in (ours, theirs)]
    np.testing.assert_allclose(*logits, rtol=1e-3, atol=1e-4)


def test_a_stack_of_seeds_is_its_trials_one_by_one(tiny, way, together, alone):
    """Order of images, crops, mirrors and dropout are each trial's own."""
    configs = [tiny(seed=seed, data_crop_padding=1, data_mirror=True) for seed in range(3)]
    folders, statuses = together(configs)
    assert [(s.status, s.stack) for s in statuses] == [("done", 3)] * 3
    for config, folder in zip(configs, folders, strict=True):
        assert_alike(folder, alone(config, f"alone{config.seed}"))
    losses = {folder.read_result()["val_loss"] for folder in folders}
    assert len(losses) == 3


def test_in_turn_trials_reach_the_bits_that_they_reach_alone(tiny, together, alone, outcome, monkeypatch):
    """With a batch in parts, too, and where one trial is a short training and all together are not."""
    monkeypatch.setattr("sqzx.stacking.SIDE_BY_SIDE_FLOPS", 0.0)
    monkeypatch.setattr("sqzx.programs.micro_batch", lambda batch, peak: 10 if batch == 20 else batch)
    configs = [tiny(seed=seed, data_mirror=True) for seed in range(3)]
    config = configs[0]
    seconds = training_seconds(count(config.model, (8, 8, 1)).flops, 10 * 20)
    monkeypatch.setattr("sqzx.programs.SHORT_SECONDS", 2 * seconds)
    folders, _ = together(configs)
    for config, folder in zip(configs, folders, strict=True):
        assert outcome(folder) == outcome(alone(config, f"alone{config.seed}"))


def test_a_stack_that_reads_records_is_that_of_arrays(tiny, way, together, tmp_path, outcome, request):
    """One of its trials ends before the others, while batches are made ahead."""
    wild = {"train_optimizer": "sgd", "train_momentum": 0.9, "train_gradient_clip": None}
    configs = [tiny(**wild, train_learning_rate=rate, data_mirror=True) for rate in (0.01, 1e30, 0.02)]
    expected = [outcome(folder) for folder in together(configs)[0][::2]]
    for number in range(3):
        shutil.rmtree(tmp_path / str(number))
    request.getfixturevalue("digits_as_records")
    folders, statuses = together(configs)
    assert [s.status for s in statuses] == ["done", "failed", "done"]
    assert [outcome(folder) for folder in folders[::2]] == expected


@pytest.mark.parametrize("number", [2, 5])
def test_a_stack_compiles_as_often_as_one_trial(tiny, way, together, alone, caplog, number):
    alone(tiny(seed=9))  # what JAX compiles once a process, for itself
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        together([tiny(seed=seed) for seed in range(10, 10 + number)])
    compiled = re.findall(r"Compiling (?:jit\()?(\w+)", caplog.text)
    assert sorted(compiled) == ["predict", "train_step"], caplog.text


def test_small_networks_train_side_by_side_on_a_cpu_and_all_on_an_accelerator():
    assert [side_by_side(flops, on_cpu=True) for flops in (10**6, 10**9)] == [True, False]
    assert [side_by_side(flops, on_cpu=False) for flops in (10**6, 10**9)] == [True, True]


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_the_rule_is_asked_with_the_operations_of_a_whole_batch(tiny, monkeypatch, fast_compilation, factor):
    configs = [tiny(seed=seed) for seed in range(2)]
    task = task_of(configs[0])
    monkeypatch.setattr("sqzx.stacking.SIDE_BY_SIDE_FLOPS", factor * task.network.flops * task.size)
    stack = together_module.stack_of(task, configs, [fresh_state(task, config) for config in configs])
    assert isinstance(stack, together_module.SideBySide if factor > 1 else together_module.InTurn)


@pytest.mark.parametrize(
    ("optimizer", "changes"),
    [
        ("adamw", {"train_learning_rate": 0.004, "train_weight_decay": 0.3, "train_gradient_clip": 0.05}),
        ("sgd", {"train_learning_rate": 0.02, "train_weight_decay": 0.03, "train_momentum": 0.5}),
    ],
)
def test_trials_of_one_stack_may_differ_in_the_optimisers_numbers(tiny, together, alone, optimizer, changes):
    base = {"train_optimizer": optimizer, **({"train_momentum": 0.9} if optimizer == "sgd" else {})}
    configs = [tiny(**base), tiny(**base | changes)]
    folders, _ = together(configs)
    for number, folder in enumerate(folders):
        assert_alike(folder, alone(configs[number], f"alone{number}"))


def test_a_step_in_parts_is_the_same(tiny, way, together, alone, monkeypatch):
    monkeypatch.setattr("sqzx.programs.micro_batch", lambda batch, peak: 10 if batch == 20 else batch)
    configs = [tiny(seed=seed) for seed in range(2)]
    folders, _ = together(configs)
    assert_alike(folders[1], alone(configs[1]))


def test_a_loss_that_is_not_finite_leaves_the_others_alone(tiny, way, together, alone):
    wild = {"train_optimizer": "sgd", "train_momentum": 0.9, "train_gradient_clip": None}
    configs = [tiny(**wild, train_learning_rate=rate) for rate in (0.01, 1e30, 0.02)]
    folders, statuses = together(configs)
    assert [s.status for s in statuses] == ["done", "failed", "done"]
    assert statuses[1].reason.startswith("not finite: the loss is not finite at step")
    assert folders[1].read_result() is None
    assert any(line["loss"] is None for line in folders[1].read_metrics())
    assert_alike(folders[0], alone(configs[0], "alone0"))
    assert_alike(folders[2], alone(configs[2], "alone2"))


def test_in_turn_a_trial_that_ended_is_trained_no_further(tiny, together, monkeypatch):
    monkeypatch.setattr("sqzx.stacking.SIDE_BY_SIDE_FLOPS", 0.0)
    monkeypatch.setattr("sqzx.training.STEPS_PER_FLUSH", 1)
    real, steps = together_module.compile_programs, []

    def counting(*arguments):
        programs = real(*arguments)

        def step(*arguments):
            steps.append(float(arguments[4]["learning_rate"]))
            return programs.step(*arguments)

        return programs._replace(step=step)

    monkeypatch.setattr(together_module, "compile_programs", counting)
    wild = {"train_optimizer": "sgd", "train_momentum": 0.9, "train_gradient_clip": None}
    folders, statuses = together([tiny(**wild, train_learning_rate=rate) for rate in (0.125, 1e30)])
    assert [s.status for s in statuses] == ["done", "failed"]
    failed_at = max(line["step"] for line in folders[1].read_metrics())
    assert failed_at < 10
    assert (steps.count(0.125), len(steps)) == (10, 10 + failed_at)


def test_the_seconds_of_a_stack_are_shared_out(tiny, way, together):
    began = time.monotonic()
    folders, _ = together([tiny(seed=seed) for seed in range(2)])
    whole = time.monotonic() - began
    results = [folder.read_result() for folder in folders]
    for result in results:
        assert result["images_per_second"] > 10 * 20 / result["train_seconds"]
    for name in ("start_seconds", "compile_seconds"):
        assert results[0][name] == results[1][name] > 0
    parts = ("compile_seconds", "train_seconds")  # `started` of the fixture is when the stack began
    total = sum(result[part] for result in results for part in parts)
    assert 0.5 * whole < total < whole
    assert results[0]["data_wait_seconds"] == results[1]["data_wait_seconds"]
    assert 0 < 2 * results[0]["data_wait_seconds"] < whole


def test_a_stack_that_was_cut_goes_on_to_the_bits_of_an_uncut_one(tiny, way, together, tmp_path, outcome):
    configs = [tiny(seed=seed) for seed in range(2)]
    asked = iter([False, False, True])
    folders, statuses = together(configs, should_stop=lambda: next(asked))
    assert {s.status for s in statuses} == {"interrupted"}
    assert [checkpoints.steps(folder.checkpoints) for folder in folders] == [[3], [3]]
    folders, statuses = together(configs)
    assert {s.status for s in statuses} == {"done"}
    uncut = [TrialFolder(tmp_path / f"uncut{number}") for number in range(2)]
    attempt_stack(list(zip(configs, uncut, strict=True)), started=0, say=lambda line: None)
    for folder, whole in zip(folders, uncut, strict=True):
        assert outcome(folder) == outcome(whole)


def test_trials_that_stand_at_different_steps_all_end_well(tiny, way, together, alone):
    configs = [tiny(seed=seed) for seed in range(2)]
    asked = iter([False, False, True])
    folders, _ = together(configs, should_stop=lambda: next(asked))
    manifest = folders[1].checkpoints / "3" / "MANIFEST.json"
    manifest.unlink()
    folders, statuses = together(configs)
    assert [s.status for s in statuses] == ["done", "done"]
    assert len(statuses[1].faults) == 1
    for config, folder in zip(configs, folders, strict=True):
        assert_alike(folder, alone(config, f"alone{config.seed}"))


def test_what_is_done_or_claimed_is_left_as_it_is_and_the_rest_trains(tiny, together, tmp_path):
    configs = [tiny(seed=seed) for seed in range(3)]
    together(configs[:1])
    before = (tmp_path / "0" / "status.json").read_bytes()
    with claim(TrialFolder(tmp_path / "1")):
        _, statuses = together(configs)
    assert (tmp_path / "0" / "status.json").read_bytes() == before
    assert statuses[1] is None
    assert (statuses[2].status, statuses[2].stack) == ("done", 1)


def test_an_error_of_the_stack_is_no_trials_failure(tiny, together, monkeypatch):
    def broken(jobs, **options):
        raise MemoryError("so many")

    monkeypatch.setattr("sqzx.training.train_stack", broken)
    _, statuses = together([tiny(seed=seed) for seed in range(2)])
    assert {(s.status, s.reason) for s in statuses} == {
        ("interrupted", "its stack of 2 failed: MemoryError: so many")
    }


class TestWhichTrialsAreOneProgram:
    def test_seeds_and_the_optimisers_numbers(self, tiny):
        changes = (
            {"seed": 1},
            {"train_learning_rate": 0.5},
            {"train_weight_decay": 0.0},
            {"train_gradient_clip": 3.0},
        )
        assert {program_key(tiny(**change)) for change in changes} == {program_key(tiny())}

    @pytest.mark.parametrize(
        "change",
        [
            {"model_squeeze_ratio": 0.25},
            {"data_mirror": True},
            {"train_epochs": 3},
            {"train_batch_size": 10},
            {"train_optimizer": "sgd"},
            {"train_gradient_clip": None},
            {"train_schedule": "linear"},
            {"train_warmup_fraction": 0.3},
            {"train_precision": "bf16"},
            {"model_dropout_rate": 0.2},
        ],
        ids=json.dumps,
    )
    def test_nothing_else(self, tiny, change):
        assert program_key(tiny(**change)) != program_key(tiny())

    def test_auto_fills_an_accelerator(self, tiny):
        network = count(tiny().model, (8, 8, 1))
        assert automatic_stack(network, 10**9, on_accelerator=True) == MOST

    @pytest.mark.parametrize(("share", "trials"), [(0.1, MOST), (0.49, 2), (0.51, 1), (3.0, 1)])
    def test_auto_gives_a_process_of_a_cpu_so_much_training(self, tiny, share, trials):
        network = count(tiny().model, (8, 8, 1))
        images = int(share * TOGETHER_SECONDS * FLOPS_PER_SECOND / (3 * network.flops))
        assert automatic_stack(network, images, on_accelerator=False) == trials
