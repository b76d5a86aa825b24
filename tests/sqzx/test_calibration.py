"""Timed steps of one configuration, in a process as a user starts it."""

import json
import subprocess
import sys

from sqzx.config import resolve
from sqzx.trial import TrialFolder

TINY = {
    "model.preset": "squeezenet_small",
    "model.base_e": 4,
    "model.incr_e": 4,
    "model.num_fires": 2,
    "model.stem_features": 4,
    "model.pool_after": (1,),
    "data.name": "digits",
    "data.train_examples": 100,
    "train.batch_size": 50,
    "train.epochs": 2,
}


def calibrate(folder, **settings) -> subprocess.CompletedProcess[str]:
    trial = TrialFolder(folder)
    trial.write_config(resolve(TINY | settings, "test"))
    command = [sys.executable, "-m", "sqzx.calibration", str(trial.config_file), "0"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_times_the_start_and_an_image_and_writes_nothing(tmp_path):
    done = calibrate(tmp_path)
    assert done.returncode == 0, done.stderr
    timing = json.loads(done.stdout)
    assert timing.keys() == {"fixed_seconds", "image_seconds"}
    assert 0 < timing["image_seconds"] < timing["fixed_seconds"] < 100
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_data_that_is_not_there_is_one_line(tmp_path):
    done = calibrate(tmp_path, **{"data.name": "fashion_mnist"})
    assert done.returncode == 2
    assert "sqzx data prepare fashion_mnist" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
