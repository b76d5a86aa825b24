"""Whole trainings on digits, of networks so small that each takes a moment."""

import dataclasses
import errno
import gc
import itertools
import json
import logging
import math
import re
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from sqzx import checkpoints, training
from sqzx.attempt import attempt
from sqzx.batches import steps_per_epoch
from sqzx.counting import count
from sqzx.data.examples import Examples
from sqzx.data.info import DatasetInfo, set_folder
from sqzx.data.splits import load_splits_of
from sqzx.data.store import load_set, write_set
from sqzx.errors import ArchitectureError, InputError, Interrupted, NonFiniteError
from sqzx.evaluation import score
from sqzx.model import Model, check_fits, model_digest, read_model, write_model
from sqzx.network import initial_parameters, pure
from sqzx.optimizer import schedule
from sqzx.prediction import evaluate
from sqzx.preprocessing import unit
from sqzx.task import fresh_state, task_of
from sqzx.together import InTurn, stack_of
from sqzx.training import train
from sqzx.trial import Status, TrialFolder


def silent(line):
    pass


def run(config, path, **options):
    folder = TrialFolder(path)
    train(config, folder, say=silent, **options)
    return folder


def stop_after(calls):
    """A `should_stop` that says so at the given calls (one a step, counted from 1)."""
    numbers = itertools.count(1)
    return lambda: next(numbers) == calls


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny):
    """A finished trial of 2 epochs of 5 steps. Not to be written into."""
    folder = TrialFolder(tmp_path_factory.mktemp("done") / "trial")
    status = attempt(tiny(), folder, started=time.monotonic(), say=silent)
    assert status.status == "done", status
    return folder


class TestAFinishedTrial:
    def test_the_result_says_what_was_promised(self, done, tiny):
        result = done.read_result()
        network = count(tiny().model, (8, 8, 1))
        assert (result["params"], result["macs"]) == (network.params, network.macs)
        assert result["bytes_fp32"] == 4 * network.params
        assert result["peak_activations"] == network.peak_activations
        assert (result["epochs"], result["steps"]) == (2, 10)
        assert (result["train_examples"], result["validation_examples"], result["test_examples"]) == (
            100,
            145,
            359,
        )
        assert result["data_fingerprint"] == load_set("digits").info.fingerprint
        assert result["learned"] is True
        for split in ("val", "test"):
            assert 0 <= result[f"{split}_top1"] <= result[f"{split}_top5"] <= 1
            assert result[f"{split}_loss"] > 0
        for key in (
            "train_seconds",
            "data_wait_seconds",
            "compile_seconds",
            "start_seconds",
            "images_per_second",
            "peak_memory_mb",
        ):
            assert result[key] > 0
        assert result["peak_memory_mb"] < 10_000
        assert result["data_wait_seconds"] < result["train_seconds"]

    def test_every_file_of_the_folder_is_there_and_nothing_half(self, done):
        names = {path.name for path in done.path.iterdir()}
        assert names == {
            ".writer",
            "config.json",
            "status.json",
            "metrics.jsonl",
            "result.json",
            "predictions.npz",
            "model.safetensors",
            "checkpoint",
            "log.txt",
        }

    def test_scores_are_those_of_the_stored_predictions(self, done):
        result = done.read_result()
        with np.load(done.predictions_file) as stored:
            logits, labels = stored["test_logits"], stored["test_labels"]
        assert (logits.dtype, labels.dtype) == (np.float32, np.int32)
        assert logits.shape == (359, 10)
        assert np.array_equal(labels, load_set("digits").examples.test_labels)
        assert result["test_top1"] == np.mean(logits.argmax(axis=1) == labels)
        assert score(logits, labels).named("test") == {
            k: result[k] for k in result if k.startswith("test_") and k != "test_examples"
        }

    def test_metrics_have_each_step_once_and_each_epochs_validation(self, done, tiny):
        lines = done.read_metrics()
        train_lines = [x for x in lines if x["kind"] == "train"]
        assert [x["step"] for x in train_lines] == list(range(1, 11))
        assert [x["epoch"] for x in train_lines] == [0] * 5 + [1] * 5
        assert all(x["loss"] > 0 for x in train_lines)
        rate = schedule(tiny().train, 10)
        rates = [x["learning_rate"] for x in train_lines]
        assert rates == pytest.approx([float(rate(step)) for step in range(10)], rel=1e-6)
        validations = [x for x in lines if x["kind"] == "validation"]
        assert [(x["step"], x["epoch"]) for x in validations] == [(5, 0), (10, 1)]
        assert [x["step"] for x in lines] == sorted(x["step"] for x in lines)
        last = {k: v for k, v in validations[-1].items() if k.startswith("val_")}
        assert last == {k: v for k, v in done.read_result().items() if k in last}

    def test_the_stored_parameters_give_the_stored_predictions(self, done, tiny):
        config = tiny()
        apply = pure(config.model, (8, 8, 1))
        parameters = read_model(done.path).parameters
        splits = load_splits_of(config.data)
        images = (splits.test.images.astype(np.float32) / 255 - splits.mean) / splits.std
        with np.load(done.predictions_file) as stored:
            np.testing.assert_allclose(
                jax.jit(apply)(parameters, images), stored["test_logits"], rtol=1e-4, atol=1e-5
            )

    def test_its_last_state_is_stored(self, done):
        assert checkpoints.steps(done.checkpoints) == [10]


class TestRepetition:
    def test_the_same_configuration_gives_the_same_bits(self, done, tiny, outcome, tmp_path):
        assert outcome(run(tiny(), tmp_path)) == outcome(done)

    def test_another_seed_gives_others(self, done, tiny, outcome, tmp_path):
        here, there = outcome(run(tiny(seed=1), tmp_path)), outcome(done)
        assert here.metrics != there.metrics
        assert here.predictions != there.predictions
        assert not set(here.parameters.values()) & set(there.parameters.values())

    def test_seeds_share_their_programs(self, tiny):
        """Seed and optimiser numbers are arguments, so one entry of the compilation cache serves all."""
        texts = {programs_text(tiny(seed=seed)) for seed in (0, 1)}
        assert len(texts) == 1
        for name, value in {"learning_rate": 0.1, "weight_decay": 0.3, "gradient_clip": 2.0}.items():
            assert programs_text(tiny(**{f"train_{name}": value})) in texts, name
        assert programs_text(tiny(train_gradient_clip=None)) not in texts
        assert programs_text(tiny(train_epochs=3)) in texts  # the total below is what the schedule knows


def programs_text(config):
    """The two programs of a trial as they go to the compiler."""
    task = task_of(config)._replace(total=10)
    texts, jit = [], jax.jit

    def recording(function, **options):
        def lower(*arguments):
            texts.append(jit(function, **options).lower(*arguments).as_text())
            return SimpleNamespace(compile=lambda options: None)

        return SimpleNamespace(lower=lower)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", recording)
        stack_of(task, [config], [fresh_state(task, config)])
    assert len(texts) == 2
    return "\n".join(texts)


class TestInterruption:
    @pytest.mark.parametrize("stops", [(1,), (5,), (10,), (3, 1, 2)], ids=str)
    def test_a_cut_training_goes_on_to_the_same_bits(self, done, tiny, outcome, tmp_path, stops):
        """Stopped after so many steps, each time counted anew; 5 is the end of the first epoch."""
        folder, step = TrialFolder(tmp_path), 0
        for calls in stops:
            step += calls
            with pytest.raises(Interrupted, match=f"stopped at step {step} of 10"):
                train(tiny(), folder, should_stop=stop_after(calls), say=silent)
            assert folder.read_result() is None
            assert checkpoints.steps(folder.checkpoints)[0] == step
        train(tiny(), folder, say=silent)
        assert outcome(folder) == outcome(done)

    def test_so_does_one_that_reads_records(self, done, tiny, outcome, tmp_path, digits_as_records):
        self.test_a_cut_training_goes_on_to_the_same_bits(done, tiny, outcome, tmp_path / "cut", (3, 1))

    def test_so_does_one_with_a_checkpoint_after_each_step(self, done, tiny, outcome, tmp_path):
        folder = TrialFolder(tmp_path)
        with pytest.raises(Interrupted):
            train(tiny(), folder, should_stop=stop_after(4), say=silent, checkpoint_seconds=0)
        assert checkpoints.steps(folder.checkpoints) == [4, 3]
        train(tiny(), folder, say=silent, checkpoint_seconds=0)
        assert checkpoints.steps(folder.checkpoints) == [10, 9]
        assert outcome(folder) == outcome(done)

    @pytest.mark.parametrize("checkpoint_seconds", [0, 1e9])
    def test_so_does_one_that_died(self, done, tiny, outcome, tmp_path, monkeypatch, checkpoint_seconds):
        """Lines that were written after the newest checkpoint are not written twice."""
        monkeypatch.setattr(training, "STEPS_PER_FLUSH", 1)
        calls = itertools.count(1)

        def die():
            if next(calls) == 7:
                raise SystemExit(9)
            return False

        folder = TrialFolder(tmp_path)
        with pytest.raises(SystemExit):
            train(tiny(), folder, should_stop=die, say=silent, checkpoint_seconds=checkpoint_seconds)
        assert max(line["step"] for line in folder.read_metrics()) == 7
        with folder.metrics_file.open("a") as file:
            file.write('{"step": 8, "kind": "tr')
        train(tiny(), folder, say=silent)
        assert outcome(folder) == outcome(done)

    @pytest.mark.parametrize("damaged", [("10",), ("10", "9")], ids=["newest", "both"])
    def test_so_does_one_whose_checkpoints_were_damaged(self, done, tiny, outcome, tmp_path, damaged):
        folder = TrialFolder(tmp_path)
        run(tiny(), tmp_path, checkpoint_seconds=0)
        folder.result_file.unlink()
        for step in damaged:
            (folder.checkpoints / step / "MANIFEST.json").write_bytes(b"")
        faults = []
        train(tiny(), folder, say=silent, on_fault=faults.append)
        assert [re.findall(r"step (\d+) is damaged", fault) for fault in faults] == [[s] for s in damaged]
        assert outcome(folder) == outcome(done)

    @pytest.mark.parametrize("waited", [{}, {"wait_seconds": 500}])  # which older checkpoints do not say
    def test_the_time_before_the_cut_counts(self, tiny, tmp_path, waited):
        folder = TrialFolder(tmp_path)
        with pytest.raises(Interrupted):
            train(tiny(), folder, should_stop=stop_after(4), say=silent)
        path = folder.checkpoints / "4" / "progress.json"
        progress = json.loads(path.read_text())
        assert 0 < progress["step_seconds"] <= progress["train_seconds"]
        manifest = folder.checkpoints / "4" / "MANIFEST.json"
        # As if those four steps had taken 1000 seconds.
        old = checkpoints._digests(folder.checkpoints / "4")["progress.json"]
        path.write_text(json.dumps({"step_seconds": 1000, "train_seconds": 1000} | waited))
        new = checkpoints._digests(folder.checkpoints / "4")["progress.json"]
        manifest.write_text(manifest.read_text().replace(old, new))
        train(tiny(), folder, say=silent)
        result = folder.read_result()
        assert 1000 < result["train_seconds"] < 1100
        assert result["images_per_second"] == pytest.approx(10 * 20 / 1000, rel=0.1)
        before = waited.get("wait_seconds", 0)
        assert before < result["data_wait_seconds"] < before + 100

    def test_the_time_with_the_test_images_does_not(self, tiny, tmp_path, monkeypatch):
        real = training.full_batches

        def slow(images, size):
            if len(images) == 359:  # those of the test part
                time.sleep(3)
            return real(images, size)

        monkeypatch.setattr(training, "full_batches", slow)
        assert run(tiny(train_epochs=1), tmp_path).read_result()["train_seconds"] < 3

    def test_the_time_with_slow_batches_is_that_of_waiting(self, tiny, tmp_path, monkeypatch):
        real = training.epoch_batches

        def slow(*arguments, **options):
            for batch in real(*arguments, **options):
                time.sleep(0.2)
                yield batch

        monkeypatch.setattr(training, "epoch_batches", slow)
        result = run(tiny(train_epochs=1), tmp_path).read_result()
        assert 5 * 0.2 <= result["data_wait_seconds"] < result["train_seconds"]

    def test_the_states_it_went_on_from_are_let_go(self, tiny, tmp_path):
        held = []

        def count_states(line):
            gc.collect()
            # Not isinstance: it asks each object, and some that others left import things then.
            held.append(sum(type(one) is checkpoints.Restored for one in gc.get_objects()))

        train(tiny(train_epochs=1), TrialFolder(tmp_path), say=count_states)
        assert held == [0]


class TestAttempts:
    """The real training under `attempt`, as commands run it."""

    def test_interrupted_then_done(self, done, tiny, outcome, tmp_path):
        folder = TrialFolder(tmp_path / "t")
        first = attempt(tiny(), folder, started=0, should_stop=stop_after(6), say=silent)
        assert (first.status, first.reason) == ("interrupted", "stopped at step 6 of 10")
        second = attempt(tiny(), folder, started=0, say=silent)
        assert (second.status, second.attempts) == ("done", 2)
        assert outcome(folder) == outcome(done)

    def test_a_damaged_checkpoint_is_in_the_status_and_the_log(self, tiny, tmp_path):
        folder, lines = TrialFolder(tmp_path / "t"), []
        attempt(tiny(), folder, started=0, should_stop=stop_after(3), say=silent)
        (folder.checkpoints / "3" / "progress.json").write_text("{}")
        status = attempt(tiny(), folder, started=0, say=lines.append)
        assert status.status == "done"
        (fault,) = status.faults
        assert fault == "the checkpoint of step 3 is damaged (progress.json has changed) and was removed"
        assert f"fault: {fault}" in lines

    def test_a_full_disk_fails_the_trial_and_the_next_attempt_goes_on(
        self, done, tiny, outcome, tmp_path, monkeypatch
    ):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        folder = TrialFolder(tmp_path / "t")
        attempt(tiny(), folder, started=0, should_stop=stop_after(4), say=silent)
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "write_json", full)
            status = attempt(tiny(), folder, started=0, say=silent)
        assert (status.status, status.reason) == ("failed", "no space left on the disk")
        assert folder.read_result() is None
        assert attempt(tiny(), folder, started=0, say=silent).status == "done"
        assert outcome(folder) == outcome(done)


class TestNonFinite:
    def test_a_loss_that_is_not_finite_fails_the_trial(self, tiny, tmp_path, fast_compilation):
        folder, lines = TrialFolder(tmp_path / "t"), []
        status = attempt(
            tiny(train_recipe="paper", train_learning_rate=1e30), folder, started=0, say=lines.append
        )
        assert status.status == "failed"
        found = re.fullmatch(r"not finite: the loss is not finite at step (\d+)", status.reason)
        assert found, status.reason
        assert folder.read_result() is None
        assert not folder.predictions_file.exists()
        first = int(found[1])
        assert 1 < first <= 5
        losses = {line["step"]: line["loss"] for line in folder.read_metrics()}
        assert losses[first] is None
        assert all(losses[step] is not None for step in range(1, first))
        assert "Traceback" not in "".join(lines)

    @pytest.mark.parametrize(("call", "of"), [(1, "validation"), (3, "test")])
    def test_so_does_a_logit_that_is_not_finite(self, tiny, tmp_path, monkeypatch, call, of):
        real, calls = InTurn.predict, itertools.count(1)

        def broken(self, images):
            logits = real(self, images)[0].copy()
            if next(calls) == call:
                logits[3, 4] = np.inf
            return {0: logits}

        monkeypatch.setattr(InTurn, "predict", broken)
        folder = TrialFolder(tmp_path)
        with pytest.raises(NonFiniteError, match=rf"the logits of the {of} images .*are not finite"):
            train(tiny(), folder, say=silent)
        assert folder.read_result() is None


def dead_trial(path, config):
    """A finished trial whose conv10 has a bias of -10, so that a ReLU after it leaves only zeros."""
    folder = TrialFolder(path)
    parameters = initial_parameters(config.model, (8, 8, 1), config.seed)
    parameters["conv10"]["bias"] -= 10
    folder.write_config(config)
    plain = unit((8, 8, 1))
    dead = Model(config=config.model, parameters=parameters, preprocessing=plain, source="by hand")
    write_model(folder.model_file, dead)
    folder.write_status(Status(status="done"))
    return path


def test_a_network_whose_logits_are_all_zero_is_done_and_said_to_have_learned_nothing(
    tiny, tmp_path, fast_compilation
):
    config = tiny(model_final_relu=True)
    folder, lines = TrialFolder(tmp_path / "t"), []
    origin = dead_trial(tmp_path / "dead", config)
    status = attempt(config, folder, started=0, origin=read_model(origin), say=lines.append)
    assert status.status == "done", status
    result = folder.read_result()
    assert result["learned"] is False
    labels = load_set("digits").examples.test_labels
    assert result["test_top1"] == np.mean(labels == 0)
    assert result["test_top5"] == np.mean(labels < 5)
    assert result["val_loss"] == pytest.approx(math.log(10))
    assert all("NOT LEARNING: all logits are 0" in line for line in lines if line.startswith("epoch"))
    assert len(lines) == 2
    losses = [line["loss"] for line in folder.read_metrics() if line["kind"] == "train"]
    assert losses == pytest.approx([math.log(10)] * 10)


class TestInitFrom:
    def test_it_starts_from_those_parameters(self, done, tiny, tmp_path, fast_compilation):
        still = tiny(train_learning_rate=1e-12, seed=5)
        folder = run(still, tmp_path, origin=read_model(done.path))
        theirs, ours = (checkpoints.by_path(read_model(x.path).parameters) for x in (done, folder))
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-9)
        assert folder.read_result()["test_top1"] == done.read_result()["test_top1"]

    def test_it_keeps_their_preprocessing(self, done, tiny, tmp_path, fast_compilation):
        """Weights that learned from values of 0 to 1 would take standardised ones for something else."""
        model = read_model(done.path)
        plain = dataclasses.replace(model, preprocessing=unit((8, 8, 1)))
        folder = run(tiny(train_learning_rate=1e-12), tmp_path / "t", origin=plain)
        after = read_model(folder.path)
        assert after.preprocessing == plain.preprocessing != model.preprocessing
        assert folder.read_result()["test_top1"] == evaluate(plain, "digits")[0].top1
        assert after.source.startswith("trained on digits, seed 0, from: trained on digits, seed 0 (sha256:")
        assert model_digest(plain) != model_digest(model)

    def test_another_shape_is_refused_with_both_shapes(self, done, tiny, tmp_path):
        with pytest.raises(InputError) as error:
            run(tiny(model_base_e=8), tmp_path, origin=read_model(done.path))
        text = str(error.value)
        assert text.startswith("its layers are not this network's: fire2.squeeze: (1, 1, 4, 2) there,")
        assert "conv10: (1, 1, 4, 10) there, (1, 1, 8, 10) here" in text

    def test_a_layer_that_is_missing_or_too_many_is_refused(self, done, tiny, tmp_path):
        with pytest.raises(InputError, match=r"fire4\.expand1x1: none there, \(1, 1, 2, 2\) here"):
            run(tiny(model_num_fires=3, model_incr_e=0), tmp_path, origin=read_model(done.path))

    def test_another_number_of_classes_is_told_how_to_get_it(self, done, tiny):
        more = dataclasses.replace(tiny().model, num_classes=12)
        with pytest.raises(InputError) as error:
            check_fits(read_model(done.path), more, (8, 8, 1))
        assert str(error.value) == (
            "its layers are not this network's: conv10: (1, 1, 4, 10) there, (1, 1, 4, 12) here; "
            "sqzx import MODEL --num-classes 12 starts conv10 afresh"
        )

    def test_what_shapes_do_not_tell_is_said(self, done, tiny):
        other = tiny(model_activation="elu", model_pool_after=(), model_dropout_rate=0.1).model
        assert check_fits(read_model(done.path), other, (8, 8, 1)) == [
            "model.pool_after was (1,), is ()",
            "model.activation was relu, is elu",
        ]
        assert check_fits(read_model(done.path), tiny().model, (8, 8, 1)) == []

    @pytest.mark.parametrize("state", ["interrupted", "failed", "pending"])
    def test_an_unfinished_trial_is_refused(self, done, tiny, tmp_path, state):
        copy = TrialFolder(shutil.copytree(done.path, tmp_path / "copy"))
        copy.write_status(Status(status=state))
        with pytest.raises(InputError, match=f"this trial is {state}"):
            run(tiny(), tmp_path / "new", origin=read_model(copy.path))

    def test_a_damaged_trial_is_refused(self, done, tiny, tmp_path):
        copy = TrialFolder(shutil.copytree(done.path, tmp_path / "copy"))
        content = bytearray(copy.model_file.read_bytes())
        content[-5] ^= 1
        copy.model_file.write_bytes(content)
        with pytest.raises(InputError, match="damaged: it is not as it was written"):
            run(tiny(), tmp_path / "new", origin=read_model(copy.path))

    def test_a_folder_remembers_what_it_began_from(self, done, tiny, tmp_path):
        folder = TrialFolder(tmp_path / "t")
        status = attempt(
            tiny(), folder, started=0, origin=read_model(done.path), should_stop=stop_after(2), say=silent
        )
        assert status.init_from == model_digest(read_model(done.path))
        with pytest.raises(InputError, match=r"began from sha256:.*not from fresh parameters"):
            attempt(tiny(), folder, started=0, say=silent)
        # What the parameters are tells them, not where they lie.
        elsewhere = shutil.copytree(done.path, tmp_path / "moved")
        again = attempt(tiny(), folder, started=0, origin=read_model(elsewhere), say=silent)
        assert (again.status, again.attempts) == ("done", 2)


def test_the_step_and_the_prediction_compile_once_and_nothing_else_does(tiny, tmp_path, caplog):
    run(tiny(), tmp_path / "before")  # what JAX compiles once a process, for itself
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        run(tiny(), tmp_path / "t")
    compiled = re.findall(r"Compiling (?:jit\()?(\w+)", caplog.text)
    assert sorted(compiled) == ["predict", "train_step"], caplog.text


def test_the_programs_refuse_images_of_another_shape(tiny):
    config = tiny()
    task = task_of(config)
    stack = stack_of(task, [config], [fresh_state(task, config)])
    assert stack.evaluation_batch == 145
    images = task.splits.validation.images
    assert stack.predict(images)[0].shape == (145, 10)
    with pytest.raises(TypeError, match="types for which this computation was compiled"):
        stack.predict(images[:100])


def test_maps_that_vanish_are_refused_before_anything_is_compiled(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "stack_of", lambda *_: pytest.fail("compiled"))
    with pytest.raises(ArchitectureError, match="leaves a map of 0x0 on 8x8 images"):
        run(tiny(model_stem_kernel=7, model_stem_stride=2, model_stem_padding=0), tmp_path)


def test_a_tiny_network_learns_digits(tiny, tmp_path, fast_compilation):
    config = tiny(
        model_base_e=8, model_num_fires=1, data_train_examples=None, train_epochs=6, train_learning_rate=0.03
    )
    folder = run(config, tmp_path)
    assert folder.read_result()["test_top1"] > 0.6
    losses = [line["val_loss"] for line in folder.read_metrics() if line["kind"] == "validation"]
    assert losses[-1] < 0.7 * losses[0]


def test_a_set_smaller_than_a_batch_takes_a_step_an_epoch(tiny, tmp_path, fast_compilation):
    folder = run(tiny(data_train_examples=40, train_batch_size=128), tmp_path)
    result = folder.read_result()
    assert (result["steps"], result["train_examples"]) == (2, 40)
    assert steps_per_epoch(128, 40) == 1
    losses = [line["loss"] for line in folder.read_metrics() if line["kind"] == "train"]
    assert len(set(losses)) == 2
    assert min(losses) > 0


@pytest.fixture
def other_set(tmp_path, monkeypatch):
    """A stored set of 2 classes, in a data folder of the test's own."""
    monkeypatch.setenv("SQZX_DATA", str(tmp_path / "data"))
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(60, dtype=np.int32) % 2
    info = DatasetInfo(
        name="two_classes",
        image_shape=(8, 8, 1),
        num_classes=2,
        class_names=("a", "b"),
        train_examples=60,
        test_examples=5,
        fingerprint=None,
        source="made by a test",
        rule=None,
    )
    write_set(info, Examples(images, labels, images[:5], labels[:5]))
    return info.name


def test_two_classes_have_no_top_5(tiny, other_set, tmp_path, fast_compilation):
    config = tiny(data_name=other_set, data_train_examples=None, train_epochs=1)
    result = run(config, tmp_path).read_result()
    assert config.model.num_classes == 2
    assert (result["val_top5"], result["test_top5"]) == (None, None)
    assert result["test_examples"] == 5


@pytest.fixture
def as_records(other_set):
    """The other set, read from records a batch at a time."""
    info, examples, _ = load_set(other_set)
    return write_set(replace(info, name="as_records", storage="records"), examples).name


def test_from_records_training_is_that_from_arrays(tiny, other_set, as_records, tmp_path, outcome):
    more = {"data_train_examples": 40, "train_epochs": 2, "data_crop_padding": 1, "data_mirror": True}
    one, other = (run(tiny(data_name=name, **more), tmp_path / name) for name in (other_set, as_records))
    assert outcome(one) == outcome(other)


def test_a_damaged_record_ends_the_trial_in_one_line(tiny, as_records, tmp_path, fast_compilation):
    folder = set_folder(as_records)
    images = folder / "test_images.array_record"
    content = bytearray(images.read_bytes())
    content[content.index(load_set(as_records).examples.test_images[:1].tobytes())] ^= 1
    images.write_bytes(content)
    config = tiny(data_name=as_records, data_train_examples=None, train_epochs=1)
    status = attempt(config, TrialFolder(tmp_path / "trial"), started=0, say=silent)
    assert status.status == "failed"
    assert status.reason.startswith(f"{folder}: this data set is damaged (test_images.array_record can't be")
    assert "\n" not in status.reason


ADAMW = {
    "data_train_examples": 60,
    "data_validation_fraction": 0.2,
    "model_num_fires": 1,
    "train_epochs": 1,
}
SGD = ADAMW | {"train_optimizer": "sgd", "train_momentum": 0.5, "train_gradient_clip": 1e-3}


@pytest.fixture(scope="module")
def bases(tiny, tmp_path_factory):
    """The parameters of the trainings that one field changes, when they are first asked for."""
    known = {}

    def parameters(name, changes):
        if name not in known:
            known[name] = parameters_after(tiny(**changes), tmp_path_factory.mktemp(name))
        return known[name]

    return parameters


def parameters_after(config, path):
    return checkpoints.by_path(read_model(run(config, path).path).parameters)


class TestEveryFieldMatters:
    """A documented setting that changes nothing is a promise broken."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("train_epochs", 2),
            ("train_batch_size", 30),
            ("train_optimizer", "sgd"),
            ("train_learning_rate", 0.001),
            ("train_schedule", "linear"),
            ("train_warmup_fraction", 0.7),
            ("train_weight_decay", 0.1),
            ("train_gradient_clip", 1e-3),
            ("data_validation_fraction", 0.5),
            ("data_train_examples", 70),
            ("data_crop_padding", 1),
            ("data_mirror", True),
            ("model_dropout_rate", 0.4),
            ("model_init", "kaiming"),
        ],
    )
    def test_with_adamw(self, tiny, bases, tmp_path, fast_compilation, field, value):
        self.differs(bases("adamw", ADAMW), tiny(**ADAMW | {field: value}), tmp_path)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("train_momentum", 0.9),
            ("train_momentum", None),
            ("train_weight_decay", 0.1),
            ("train_gradient_clip", None),
        ],
    )
    def test_with_sgd(self, tiny, bases, tmp_path, fast_compilation, field, value):
        self.differs(bases("sgd", SGD), tiny(**SGD | {field: value}), tmp_path)

    def test_the_data_set(self, tiny, bases, other_set, tmp_path, fast_compilation):
        changed = tiny(**ADAMW | {"data_name": other_set, "data_train_examples": 40})
        self.differs(bases("adamw", ADAMW), changed, tmp_path, but="conv10")

    @staticmethod
    def differs(base, config, tmp_path, but="-"):
        changed = parameters_after(config, tmp_path)
        same = [n for n in base if not n.startswith(but) and np.array_equal(base[n], changed[n])]
        assert not same
