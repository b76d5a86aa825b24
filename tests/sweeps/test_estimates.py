"""What a plan says a study will cost, on made-up folders of finished trials."""

import json
from pathlib import Path

import pytest

from sqzx import checkpoints, training
from sqzx.data.info import dataset_info
from sqzx.duration import training_images
from sqzx.errors import InputError
from sqzx.trial import Status
from sweeps import estimates
from sweeps.estimates import (
    Calibration,
    counted_disk_bytes,
    image_seconds,
    write_calibrations,
)
from sweeps.plan import Plan, affordable, plan_study, priced, trial_folder
from sweeps.study import parse_study

STUDY = """
schema = 1
name = "s"
seeds = 2
[config]
model.preset = "squeezenet_small"
data.train_examples = 640
train.epochs = {epochs}
{config}
[[sweep]]
grid.model.squeeze_ratio = [0.125, 0.25, 0.5]
{more}
"""
IMAGES = 1280


def plan(out: Path | None = None, more: str = "", config: str = "", epochs: int = 2) -> Plan:
    text = STUDY.format(more=more, config=config, epochs=epochs)
    return plan_study(parse_study(text, "s.toml"), out)


def finish(out: Path, trial, *, fixed: float, image: float, size: int = 0) -> None:
    """Leave a finished trial that took `fixed` and, an image, `image` seconds, of `size` bytes."""
    folder = trial_folder(out, trial.id)
    folder.write_config(trial.config)
    folder.write_status(Status(status="done", attempts=1))
    result = {"start_seconds": fixed / 2, "compile_seconds": fixed / 2, "train_seconds": image * IMAGES}
    folder.result_file.write_text(json.dumps(result))
    (folder.path / "model.safetensors").write_bytes(bytes(size))


class TestSeconds:
    def test_nothing_known_is_nothing_said(self):
        found = priced(plan(), None)
        assert [trial.est_seconds for trial in found.trials] == [None] * 6
        assert found.seconds_left(2) is None

    def test_finished_trials_tell_their_own_configuration_by_their_mean(self, tmp_path):
        first, second, *_ = plan().trials
        finish(tmp_path, first, fixed=4, image=1 / IMAGES)
        finish(tmp_path, second, fixed=2, image=1 / IMAGES)
        found = priced(plan(tmp_path), tmp_path)
        assert [trial.est_seconds for trial in found.trials[:2]] == [4, 4]

    def test_others_keep_the_start_and_scale_the_training_by_macs(self, tmp_path):
        first, *_, last = plan().trials
        finish(tmp_path, first, fixed=4, image=3 / IMAGES)
        found = priced(plan(tmp_path), tmp_path)
        ratio = last.sizes.macs / first.sizes.macs
        assert found.trials[-1].est_seconds == pytest.approx(4 + 3 * ratio)
        assert found.seconds_left(2) == pytest.approx(found.seconds_left(1) / 2)
        assert found.seconds_left(1) == pytest.approx(sum(t.est_seconds for t in found.trials[1:]))

    def test_others_scale_by_images(self, tmp_path):
        first = plan().trials[0]
        finish(tmp_path, first, fixed=4, image=3 / IMAGES)
        found = priced(plan(tmp_path, more="[[sweep]]\nset.train.epochs = 6"), tmp_path)
        assert found.trials[-1].est_seconds == pytest.approx(4 + 3 * 3)

    def test_a_damaged_result_prices_nothing(self, tmp_path):
        first = plan().trials[0]
        finish(tmp_path, first, fixed=4, image=1)
        for damage in ("{", "{}", '{"start_seconds": "1", "compile_seconds": 1, "train_seconds": 1}'):
            trial_folder(tmp_path, first.id).result_file.write_text(damage)
            assert priced(plan(tmp_path), tmp_path).trials[-1].est_seconds is None

    def test_calibrations_price_where_no_trial_is_done(self, tmp_path):
        first = plan().trials[0]
        calibrations = (Calibration(macs=first.sizes.macs, fixed_seconds=5, image_seconds=1 / IMAGES),)
        assert priced(plan(), None, calibrations).trials[0].est_seconds == pytest.approx(6)
        write_calibrations(tmp_path, calibrations)
        assert priced(plan(tmp_path), tmp_path).trials[0].est_seconds == pytest.approx(6)
        finish(tmp_path, first, fixed=1, image=1 / IMAGES)
        assert priced(plan(tmp_path), tmp_path).trials[0].est_seconds == pytest.approx(2)

    def test_two_calibrations_are_joined_by_a_line(self):
        ends = (Calibration(300, 1, 3.0), Calibration(100, 1, 2.0))
        assert [image_seconds(ends, macs) for macs in (100, 200, 300)] == [2, 2.5, 3]
        assert [image_seconds(ends, macs) for macs in (50, 600)] == [1, 6]

    @pytest.mark.parametrize("text", ["{}", "[3]", '[{"macs": 1}]', "["])
    def test_a_damaged_calibration_is_one_line(self, tmp_path, text):
        estimates.calibration_file(tmp_path).write_text(text)
        with pytest.raises(InputError, match=r"\.calibration\.json: "):
            priced(plan(), tmp_path)

    def test_images_are_whole_batches_of_what_is_not_validation(self):
        (trial, *_) = plan().trials
        assert training_images(trial.config, dataset_info) == IMAGES
        (trial, *_) = plan(config="train.batch_size = 600").trials
        assert training_images(trial.config, dataset_info) == 2 * 600
        (trial, *_) = plan(config="train.batch_size = 1000").trials
        assert training_images(trial.config, dataset_info) == IMAGES


class TestBoundedSeconds:
    MORE = "[constraints]\nest_seconds = { max = 8 }"

    def test_skips_what_has_not_begun_and_would_take_too_long(self, tmp_path):
        trials = plan().trials
        finish(tmp_path, trials[0], fixed=4, image=3 / IMAGES)
        found = plan(tmp_path, self.MORE)
        assert {t.config.model.squeeze_ratio for t in found.trials} == {0.125}
        assert [s.settings for s in found.skipped] == [
            {"model.squeeze_ratio": 0.25},
            {"model.squeeze_ratio": 0.5},
        ]
        assert {s.rule for s in found.skipped} == {"constraints.est_seconds.max"}

    def test_keeps_what_has_begun(self, tmp_path):
        trials = plan().trials
        finish(tmp_path, trials[0], fixed=4, image=3 / IMAGES)
        trial_folder(tmp_path, trials[-1].id).write_status(Status(status="interrupted", attempts=1))
        assert trials[-1].id in {trial.id for trial in plan(tmp_path, self.MORE).trials}

    def test_keeps_all_while_nothing_is_known(self):
        assert len(affordable(priced(plan(more=self.MORE), None)).trials) == 6


class TestDiskBytes:
    def test_finished_trials_tell_their_own_and_correct_the_count_of_others(self, tmp_path):
        first, *_, last = plan().trials
        finish(tmp_path, first, fixed=1, image=1, size=10**6)
        found = priced(plan(tmp_path), tmp_path)
        size = found.trials[0].est_disk_bytes
        assert 10**6 < size < 1.01 * 10**6
        counted = [counted_disk_bytes(t.config, t.sizes, dataset_info) for t in (first, last)]
        assert found.trials[-1].est_disk_bytes == pytest.approx(size * counted[1] / counted[0], abs=1)
        assert found.disk_bytes_left() == sum(t.est_disk_bytes for t in found.trials[1:])

    def test_count_is_within_30_percent_of_a_real_trial(self, tmp_path):
        config = "model.base_e = 8\nmodel.incr_e = 8\nmodel.num_fires = 2\nmodel.pool_after = [1]\n"
        trial = plan(config=config + "train.batch_size = 320").trials[-1]
        folder = trial_folder(tmp_path, trial.id)
        training.train(trial.config, folder)
        folder.write_config(trial.config)
        counted = counted_disk_bytes(trial.config, trial.sizes, dataset_info)
        assert counted == pytest.approx(estimates.folder_bytes(folder.path), rel=0.3)

    def test_a_longer_training_keeps_two_checkpoints_and_sgd_one_moment(self):
        def counted(**changes) -> int:
            trial = plan(**changes).trials[0]
            return counted_disk_bytes(trial.config, trial.sizes, dataset_info)

        short, numbers = counted(), 0.9 * 4 * 47_258
        moment = numbers + 450 * 2  # of all kernels, and of all biases
        assert short - counted(config='train.optimizer = "sgd"') == pytest.approx(moment, abs=1)
        checkpoint = numbers + 450 * 52 + 2 * moment + 3_000  # 26 layers, each with two arrays
        lines = 1998 * (155 + 10 * 97)  # of metrics, for as many more epochs of ten steps
        assert counted(epochs=2000) - short - lines == pytest.approx(checkpoint, abs=1)

    def test_the_checkpoints_are_those_of_training(self):
        assert checkpoints.KEPT == estimates.CHECKPOINTS
