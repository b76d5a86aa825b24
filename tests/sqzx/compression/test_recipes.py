"""Recipes end to end on a tiny network, cut and uncut, and what each key of them changes."""

import os
import time
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from sqzx.claims import ClaimedElsewhere, claim
from sqzx.compression import recipes, stages
from sqzx.compression.compressed import Compressed
from sqzx.compression.config import CompressConfig
from sqzx.compression.kernels import kernels_of
from sqzx.compression.pruning import kept_count
from sqzx.compression.sqz import read_sqz
from sqzx.compression.stages import Listener, Setting
from sqzx.data.splits import load_splits_of
from sqzx.errors import InputError, Interrupted
from sqzx.evaluation import score
from sqzx.files import remove_whole
from sqzx.model import Model
from sqzx.network import initial_parameters
from sqzx.prediction import evaluate, model_logits
from sqzx.preprocessing import of_training_images
from sqzx.trial import TrialFolder

SILENT = Listener(say=lambda line: None)


@pytest.fixture(scope="module")
def trial(tiny):
    return tiny(model_base_e=8, train_gradient_clip=None, train_weight_decay=0.1)


@pytest.fixture(scope="module")
def dense(trial):
    splits = load_splits_of(trial.data)
    return Model(
        config=trial.model,
        parameters=initial_parameters(trial.model, trial.data.image_shape, 0),
        preprocessing=of_training_images(splits),
        source="a test",
        data="digits",
    )


@pytest.fixture
def stage(dense, trial):
    """Run the named stage of a configuration on a network, by default the dense one."""

    def run(name, config, compressed=None, folder=None):
        found = dict(stages.of(config, trial.train.epochs))[name]
        setting = Setting(dense=dense, trial=trial, config=config, listener=SILENT)
        return found(setting, compressed or Compressed(model=dense), folder or TrialFolder(None)).compressed

    return run


def config_of(recipe="deep_compression", **keys):
    return CompressConfig(recipe=recipe, **keys)


DEEP = config_of(density=0.4, bits=3, retrain_epochs=1, share_epochs=1)


@pytest.fixture(scope="module")
def uncut(dense, trial, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncut")
    out = folder / "a.sqz"
    return out, recipes.compress(dense, trial, DEEP, out, folder / "work", SILENT)


class TestDeepCompression:
    def test_its_stages_in_order_and_each_with_its_bytes(self, uncut):
        out, made = uncut
        names = [measured.stage["stage"] for measured in made.stages]
        assert names == ["prune", "retrain", "share", "tune", "round"]
        assert made.bytes == out.stat().st_size == made.stages[-1].bytes
        assert made.stages[2].bytes < made.stages[1].bytes
        assert not (out.parent / "work").exists()

    def test_weights_are_pruned_exactly_and_share_few_values(self, uncut):
        kernels = kernels_of(read_sqz(uncut[0]).model.parameters)
        for name, kernel in kernels.items():
            assert np.count_nonzero(kernel) <= kept_count(0.4, kernel.size), name
            assert len(np.unique(kernel[kernel != 0])) <= 7, name
        assert uncut[1].params_kept == sum(np.count_nonzero(kernel) for kernel in kernels.values()) + sum(
            kernel.shape[-1] for kernel in kernels.values()
        )

    def test_its_accuracies_are_those_of_the_file(self, uncut, trial):
        out, made = uncut
        model = read_sqz(out).model
        scores, images, _ = evaluate(model)
        assert (scores, images) == (made.test, 359)
        splits = load_splits_of(trial.data)
        assert model_logits(model, splits.test.images).tobytes() == made.test_logits.tobytes()
        assert made.validation == made.stages[-1].validation
        assert made.validation == score(
            model_logits(model, splits.validation.images), splits.validation.labels
        )

    def test_training_moves_weights_and_then_shared_values(self, uncut, stage):
        made = uncut[1]
        told = [measured.validation.loss for measured in made.stages[:4]]
        assert told[0] != told[1]
        assert told[2] != told[3]
        assert (made.epochs, made.steps) == (2, 10)

    @pytest.mark.parametrize("asked", [3, 9])
    def test_a_cut_run_goes_on_to_the_same_file(self, uncut, dense, trial, tmp_path, asked):
        """Cut in the middle of the retraining, or of the tuning of shared values."""
        calls = []

        def should_stop():
            calls.append(1)
            return len(calls) == asked

        out, work = tmp_path / "a.sqz", tmp_path / "work"
        with pytest.raises(Interrupted):
            recipes.compress(dense, trial, DEEP, out, work, replace(SILENT, should_stop=should_stop))
        assert not out.exists()
        assert (work / "3-share.sqz").exists() == (asked > 5)
        made = recipes.compress(dense, trial, DEEP, out, work, SILENT)
        assert out.read_bytes() == uncut[0].read_bytes()
        assert [m.validation for m in made.stages] == [m.validation for m in uncut[1].stages]
        assert made.test == uncut[1].test


class TestDenseSparseDense:
    def test_a_share_trains_alone_and_then_all_weights(self, dense, trial, tmp_path, monkeypatch):
        kept = []
        write = recipes.write_sqz

        def watched(path, compressed, **keys):
            kept.append({n: np.count_nonzero(k) for n, k in kernels_of(compressed.model.parameters).items()})
            return write(path, compressed, **keys)

        monkeypatch.setattr(recipes, "write_sqz", watched)
        config = config_of("dsd", dsd_density=0.4, retrain_epochs=1, dsd_learning_rate=1.0)
        made = recipes.compress(dense, trial, config, tmp_path / "a.sqz", tmp_path / "work", SILENT)
        assert [m.stage["stage"] for m in made.stages] == ["sparse", "retrain", "dense", "retrain"]
        sizes = {name: kernel.size for name, kernel in kernels_of(dense.parameters).items()}
        assert kept[0] == kept[1] == kept[2] == {n: kept_count(0.4, size) for n, size in sizes.items()}
        assert sum(kept[3].values()) > 1.5 * sum(kept[2].values())  # not all: some see a dead ReLU
        assert (
            made.stages[3].validation.loss != made.stages[2].validation.loss == made.stages[1].validation.loss
        )
        assert made.epochs == config.epochs(trial.train.epochs) == 2

    def test_weights_come_back_from_zero_and_nothing_else_changes(self, stage):
        config = config_of("dsd", dsd_density=0.4)
        sparse = stage("sparse", config)
        again = stage("dense", config, sparse)
        assert (sparse.densities["conv10"], again.densities) == (0.4, {})
        assert again.model is sparse.model

    @pytest.mark.parametrize(
        ("recipe", "rest"), [("pruning", []), ("deep_compression", ["share", "tune", "round"])]
    )
    def test_it_comes_before_pruning_and_deep_compression(self, recipe, rest):
        config = config_of(recipe, dsd_density=0.5)
        names = [name for name, _ in stages.of(config, 2)]
        assert names == ["sparse", "retrain", "dense", "retrain", "prune", "retrain", *rest]

    def test_its_rates(self, stage, trial, monkeypatch):
        seen = []

        def retrain(config, folder, form, **_):
            seen.append(config.train.learning_rate / trial.train.learning_rate)
            return form.start

        monkeypatch.setattr(stages, "retrain", retrain)
        for rate in (0.1, 0.2):
            config = config_of("dsd", learning_rate=0.7, dsd_learning_rate=rate)
            for name, run in stages.of(config, 2):
                if name == "retrain":
                    setting = Setting(
                        dense=stage("dense", config).model, trial=trial, config=config, listener=SILENT
                    )
                    run(setting, stage("dense", config), TrialFolder(None))
        assert seen == pytest.approx([0.7, 0.1, 0.7, 0.2])


def test_a_damaged_stage_is_done_again_and_said(dense, trial, tmp_path):
    config = config_of("pruning", retrain_epochs=0, density=0.5, rounds=2)
    work, faults = tmp_path / "work", []

    def stop_before_the_last(line):
        if line.startswith("prune (round 1"):
            raise Interrupted("a test")

    with pytest.raises(Interrupted):
        recipes.compress(dense, trial, config, tmp_path / "a.sqz", work, Listener(say=stop_before_the_last))
    (work / "1-prune.sqz").write_bytes(b"damaged")
    recipes.compress(dense, trial, config, tmp_path / "a.sqz", work, replace(SILENT, on_fault=faults.append))
    assert len(faults) == 1
    assert "1-prune.sqz" in faults[0]


class TestAlone:
    """`compress_alone`: one process at a time has the work folder."""

    SHARE = config_of(density=0.4, bits=3, retrain_epochs=0, share_epochs=0)
    ELSEWHERE = "0123456789abcdef.aaaaaaaaaaaa.1.1"

    @pytest.fixture
    def out(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SQZX_PATIENCE", "0.5")
        return tmp_path / "a.sqz"

    @pytest.fixture
    def folder(self, out):
        return TrialFolder(out.with_name("a.sqz.work"))

    def test_nothing_is_left_but_the_file(self, out, dense, trial):
        recipes.compress_alone(dense, trial, self.SHARE, out, SILENT)
        assert os.listdir(out.parent) == ["a.sqz"]

    def test_input_that_is_refused_leaves_nothing(self, out, trial, dense):
        other = replace(trial, model=replace(trial.model, base_e=16))
        with pytest.raises(InputError):
            recipes.compress_alone(dense, other, self.SHARE, out, SILENT)
        assert os.listdir(out.parent) == []

    def test_a_silent_process_of_another_boot_is_waited_for_and_followed(self, out, folder, dense, trial):
        (folder.writer / self.ELSEWHERE).mkdir(parents=True)
        said = []
        recipes.compress_alone(dense, trial, self.SHARE, out, replace(SILENT, say=said.append))
        assert said[0] == f"{folder.path}: claimed; waiting 0.5 s for a sign of life"
        assert os.listdir(out.parent) == ["a.sqz"]

    def test_while_it_waits_it_can_be_asked_to_stop(self, out, folder, dense, trial):
        (folder.writer / self.ELSEWHERE).mkdir(parents=True)
        with pytest.raises(Interrupted):
            recipes.compress_alone(dense, trial, self.SHARE, out, replace(SILENT, should_stop=lambda: True))

    def test_where_another_is_at_work_nothing_is_written(self, out, folder, dense, trial):
        with claim(folder), pytest.raises(ClaimedElsewhere):
            recipes.compress_alone(dense, trial, self.SHARE, out, SILENT)
        assert os.listdir(folder.path) == [".writer"]
        assert not out.exists()

    @pytest.mark.parametrize("at", ["none", "prune", "round"])
    def test_one_that_was_overtaken_writes_and_removes_nothing_of_the_others(
        self, out, folder, dense, trial, at
    ):
        """It wakes up while the other is at work, and is refused; the other's claim and files stay."""
        others = []

        def sleep(line):
            if line.startswith(at) and not others:
                mine = next(name for name in os.listdir(folder.writer))
                os.rename(folder.writer / mine, folder.writer / "free")
                others.append(stack.enter_context(claim(folder)))
                others.append({p: p.read_bytes() for p in folder.path.iterdir() if p.is_file()})

        with ExitStack() as stack:
            with pytest.raises(ClaimedElsewhere):
                recipes.compress_alone(dense, trial, self.SHARE, out, replace(SILENT, say=sleep))
            held, before = others
            assert held.is_held()
            assert {p: p.read_bytes() for p in folder.path.iterdir() if p.is_file()} == before
            assert os.listdir(out.parent) == ["a.sqz.work"]

    def test_a_training_stops_at_the_step_at_which_it_finds_that_it_was_overtaken(
        self, out, folder, dense, trial
    ):
        steps = []

        def should_stop():
            steps.append(1)
            if len(steps) == 1:
                (mine,) = os.listdir(folder.writer)
                os.rename(folder.writer / mine, folder.writer / "free")
                time.sleep(0.2)  # four beats
            return len(steps) > 3

        with pytest.raises(Interrupted, match="stopped at step"):
            recipes.compress_alone(dense, trial, DEEP, out, replace(SILENT, should_stop=should_stop))
        assert len(steps) == 4, "once as itself, and then as the next"

    def test_cut_in_the_end_it_goes_on_with_nothing_of_another_recipe(
        self, out, folder, dense, trial, monkeypatch
    ):
        """What says which recipe the work is of goes last."""
        gone = []

        def killed(path, **keys):
            gone.append(path.name)
            if len(gone) > 1:
                raise KeyboardInterrupt
            remove_whole(path, **keys)

        monkeypatch.setattr(recipes, "remove_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            recipes.compress_alone(dense, trial, self.SHARE, out, SILENT)
        monkeypatch.undo()
        with pytest.raises(InputError, match="holds the work of another compression"):
            recipes.compress_alone(dense, trial, replace(self.SHARE, bits=4), out, SILENT)
        recipes.compress_alone(dense, trial, self.SHARE, out, SILENT)
        assert os.listdir(out.parent) == ["a.sqz"]


def test_the_work_of_another_compression_is_refused(dense, trial, tmp_path):
    work = tmp_path / "work"
    with pytest.raises(Interrupted):
        recipes.compress(
            dense, trial, DEEP, tmp_path / "a.sqz", work, replace(SILENT, should_stop=lambda: True)
        )
    other = replace(DEEP, bits=4)
    with pytest.raises(InputError, match="holds the work of another compression"):
        recipes.compress(dense, trial, other, tmp_path / "a.sqz", work, SILENT)


def test_no_stage_looks_at_the_test_images(dense, trial, tmp_path, monkeypatch):
    seen = []

    def watched(model, images):
        seen.append(len(images))
        return model_logits(model, images)

    monkeypatch.setattr(recipes, "model_logits", watched)
    monkeypatch.setattr(recipes, "remove_whole", lambda path, halves: None)
    made = recipes.compress(
        dense,
        trial,
        config_of("svd", retrain_epochs=1, energy=0.5),
        tmp_path / "a.sqz",
        tmp_path / "w",
        SILENT,
    )
    assert seen.count(359) == 1
    stage = TrialFolder(tmp_path / "w" / "2-retrain")
    assert "val_top1" in stage.read_result()
    assert not [key for key in stage.read_result() if key.startswith("test_") and key != "test_examples"]
    assert not stage.predictions_file.exists()
    assert made.compressed.model.ranks
    assert made.stages[0].validation.loss != made.stages[1].validation.loss  # its factors are trained


class TestKeys:
    def density(self, compressed):
        kernels = kernels_of(compressed.model.parameters).values()
        return sum(np.count_nonzero(kernel) for kernel in kernels) / sum(kernel.size for kernel in kernels)

    def test_density_and_densities(self, stage):
        low, high = (stage("prune", config_of("pruning", density=d)) for d in (0.2, 0.6))
        assert self.density(low) < 0.25 < 0.55 < self.density(high)
        text = "conv1=1, *.expand3x3=0.07"
        kernels = kernels_of(
            stage("prune", config_of("pruning", density=0.5, densities=text)).model.parameters
        )
        for name, kernel in kernels.items():
            density = {"conv1": 1, "expand3x3": 0.07}.get(name.split(".")[-1], 0.5)
            assert np.count_nonzero(kernel) == kept_count(density, kernel.size), name

    def test_rounds_reach_the_density_in_steps(self, trial):
        names = [name for name, _ in stages.of(config_of("pruning", rounds=3), trial.train.epochs)]
        assert names == ["prune", "retrain"] * 3

    def test_the_first_of_two_rounds_keeps_the_root(self, stage, dense, trial):
        config = config_of("pruning", density=0.25, rounds=2)
        setting = Setting(dense=dense, trial=trial, config=config, listener=SILENT)
        first = stages.of(config, 2)[0][1](setting, Compressed(model=dense), TrialFolder(None)).compressed
        assert self.density(first) == pytest.approx(0.5, abs=0.02)

    def test_bits_error_and_bytes_choose_what_layers_share(self, stage):
        def largest(**keys):
            shared = stage("share", config_of(**keys)).shared.values()
            return [len(weights.codebook) for weights in shared]

        assert max(largest(bits=2)) <= 4 < max(largest(bits=5))
        assert sum(largest(error=0.2)) < sum(largest(error=0.01))
        assert sum(largest(bytes=400)) < sum(largest(bytes=900))

    def test_energy_and_bytes_choose_ranks(self, stage):
        def ranks(**keys):
            return sum(stage("factor", config_of("svd", **keys)).model.ranks.values())

        assert ranks(energy=0.3) < ranks(energy=0.6)
        assert (
            stage("factor", config_of("svd", bytes=1600)).model.ranks
            != stage("factor", config_of("svd", bytes=2000)).model.ranks
        )

    def test_tables_round_codebooks_only_where_asked(self, trial):
        names = {t: [n for n, _ in stages.of(config_of(tables=t), 2)] for t in ("f16", "f32")}
        assert [n for n in names["f16"] if n not in names["f32"]] == ["round"]

    def test_rates_are_shares_of_the_first_training(self, stage, monkeypatch):
        seen = []

        def retrain(config, folder, form, **_):
            seen.append((config.train.epochs, config.train.learning_rate, config.model.dropout_rate))
            return form.start

        monkeypatch.setattr(stages, "retrain", retrain)
        config = config_of(
            density=0.25, bits=3, retrain_epochs=7, learning_rate=0.5, share_epochs=3, share_learning_rate=0.1
        )
        pruned = stage("prune", config)
        stage("retrain", config, pruned)
        stage("tune", config, stage("share", config, pruned))
        # Of conv10, which sees what is dropped, a quarter is left: sqrt(1 / 4) of the rate.
        assert seen == [
            (7, pytest.approx(1e-3), pytest.approx(0.25, abs=2e-3)),
            (3, pytest.approx(2e-4), pytest.approx(0.25, abs=2e-3)),
        ]

    def test_epochs_follow_from_the_training(self):
        config = config_of(rounds=2)
        assert [config.rounds_epochs(9), config.sharing_epochs(9), config.epochs(9)] == [5, 3, 13]
        assert config_of("svd").epochs(9) == 5
        assert config_of("dsd").epochs(9) == 10
        assert config_of(rounds=2, dsd_density=0.5).epochs(9) == 23
        assert config_of(retrain_epochs=0, share_epochs=0).epochs(9) == 0


class TestConfig:
    def test_what_is_left_out_is_filled_in_so_that_one_compression_is_one_configuration(self):
        assert config_of() == config_of(
            density=0.3, rounds=1, bits=6, learning_rate=1.0, share_learning_rate=0.05, tables="f16"
        )
        assert config_of("pruning").tables == "f32"
        assert config_of("dsd") == config_of("dsd", dsd_density=0.33, dsd_learning_rate=0.1)
        assert config_of(dsd_density=0.33).dsd_learning_rate == 0.1

    @pytest.mark.parametrize(
        ("recipe", "keys", "line"),
        [
            ("svd", {"density": 0.5}, "compress.density: has no effect with the recipe svd; leave it out"),
            ("pruning", {"bits": 5}, "compress.bits: has no effect with the recipe pruning; leave it out"),
            (None, {"rounds": 2}, "compress.rounds: has no effect without a recipe; leave it out"),
            (
                "svd",
                {"energy": 0.5, "bytes": 10},
                "compress.energy: and compress.bytes say the same",
            ),
            (
                "pruning",
                {"dsd_learning_rate": 0.1},
                "compress.dsd_learning_rate: has no effect without compress.dsd_density; leave it out",
            ),
            ("dsd", {"density": 0.5}, "compress.density: has no effect with the recipe dsd; leave it out"),
            ("svd", {"energy": 1.0}, "compress.energy: needs less than 1, found 1"),
            ("pruning", {"densities": "conv1"}, 'compress.densities: needs "paper" or LAYER=DENSITY'),
            ("pruning", {"densities": "conv1=0"}, 'compress.densities: needs "paper" or LAYER=DENSITY'),
            ("pruning", {"densities": "conv1=1.5"}, 'compress.densities: needs "paper" or LAYER=DENSITY'),
        ],
    )
    def test_what_has_no_effect_or_sense_is_refused(self, recipe, keys, line):
        with pytest.raises(InputError) as error:
            CompressConfig(recipe=recipe, **keys)
        assert str(error.value).startswith(line)


def test_the_papers_densities_need_the_papers_layers(stage):
    with pytest.raises(InputError, match="no layer has this name; did you mean conv1"):
        stage("prune", config_of("pruning", densities="conv11=0.5"))
    kernels = kernels_of(stage("prune", config_of("pruning", densities="paper")).model.parameters)
    assert np.count_nonzero(kernels["conv10"]) == kept_count(0.2, kernels["conv10"].size)
