"""A trial that pauses at an epoch, and goes on later: the same numbers as one that never paused."""

import dataclasses
import itertools
import time

import pytest

from sqzx.attempt import attempt, attempt_stack
from sqzx.checkpoints import steps
from sqzx.compression.config import CompressConfig
from sqzx.training import train
from sqzx.trial import Status, TrialFolder

EPOCHS = 4


def go(config, folder, pause=None, **options):
    folder.write_pause(pause)
    return attempt(config, folder, started=time.monotonic(), say=lambda line: None, **options)


def validated(folder):
    return [line["epoch"] + 1 for line in folder.read_metrics() if line["kind"] == "validation"]


def test_pauses_after_its_epoch_with_its_state_and_goes_on_bit_for_bit(tmp_path, tiny, outcome):
    config = tiny(train_epochs=EPOCHS)
    cut, whole = TrialFolder(tmp_path / "cut"), TrialFolder(tmp_path / "whole")
    assert go(config, whole).status == "done"
    status = go(config, cut, pause=1)
    assert (status.status, status.epoch, status.reason) == ("censored", 1, f"paused at epoch 1 of {EPOCHS}")
    assert cut.read_status() == status
    assert validated(cut) == [1]
    assert steps(cut.checkpoints)[0] == max(line["step"] for line in cut.read_metrics())
    assert cut.read_result() is None
    assert not cut.predictions_file.exists()
    assert go(config, cut, pause=3).epoch == 3
    assert validated(cut) == [1, 2, 3]
    last = go(config, cut)
    assert (last.status, last.epoch, last.attempts) == ("done", None, 3)
    assert outcome(cut) == outcome(whole)


def test_one_that_stands_at_its_pause_already_does_nothing(tmp_path, tiny):
    config, folder = tiny(train_epochs=EPOCHS), TrialFolder(tmp_path / "trial")
    status = go(config, folder, pause=2)
    before = folder.metrics_file.read_bytes()
    for pause in (1, 2):  # an earlier one, too: what is trained is not untrained
        assert go(config, folder, pause=pause) == status
    assert folder.metrics_file.read_bytes() == before


def test_a_damaged_pause_fails_the_trial_that_had_paused(tmp_path, tiny):
    config, folder = tiny(train_epochs=EPOCHS), TrialFolder(tmp_path / "trial")
    go(config, folder, pause=2)
    folder.pause_file.write_text("{}")
    status = attempt(config, folder, started=time.monotonic(), say=lambda line: None)
    assert (status.status, status.reason) == ("failed", f"{folder.pause_file}: says no epoch; delete it")


def test_it_leaves_the_others_of_its_stack_alone(tmp_path, tiny, way):
    trials = [(tiny(train_epochs=1, seed=seed), TrialFolder(tmp_path / str(seed))) for seed in range(3)]
    for _, folder in trials:
        folder.path.mkdir()
    trials[1][1].pause_file.write_text("{}")
    found = attempt_stack(trials, started=time.monotonic(), say=lambda line: None)
    assert [s.status for s in found if isinstance(s, Status)] == ["done", "failed", "done"]


def test_a_compressed_trial_has_no_pause_to_be_damaged(tmp_path, tiny, monkeypatch):
    folder, written = TrialFolder(tmp_path / "trial"), []
    folder.path.mkdir()
    folder.pause_file.write_text("{}")
    monkeypatch.setattr("sqzx.attempt._compress", lambda attempts, *_: attempts[0].end("done"))
    monkeypatch.setattr(TrialFolder, "write_status", lambda _, status: written.append(status.status))
    config = dataclasses.replace(tiny(), compress=CompressConfig())
    attempt(config, folder, started=time.monotonic(), say=lambda line: None)
    assert written == ["running", "done"]


def test_one_interrupted_before_its_pause_still_pauses_there(tmp_path, tiny):
    config, folder = tiny(train_epochs=EPOCHS), TrialFolder(tmp_path / "trial")
    calls = itertools.count(1)
    assert go(config, folder, pause=2, should_stop=lambda: next(calls) == 3).status == "interrupted"
    assert go(config, folder, pause=2).epoch == 2
    assert validated(folder) == [1, 2]


def test_a_pause_at_the_last_epoch_is_none(tmp_path, tiny):
    folder = TrialFolder(tmp_path / "trial")
    assert go(tiny(train_epochs=2), folder, pause=2).status == "done"


def test_without_a_pause_a_whole_training_writes_none(tmp_path, tiny):
    folder = TrialFolder(tmp_path / "trial")
    train(tiny(train_epochs=1), folder, say=lambda line: None)
    assert not folder.pause_file.exists()


@pytest.mark.parametrize("pauses", [(1, None), (2, 1)])
def test_of_a_stack_each_pauses_by_itself(tmp_path, tiny, way, pauses):
    trials = [
        (tiny(train_epochs=3, seed=seed), TrialFolder(tmp_path / str(seed))) for seed in range(len(pauses))
    ]
    for (_, folder), pause in zip(trials, pauses, strict=True):
        folder.write_pause(pause)
    found = attempt_stack(trials, started=time.monotonic(), say=lambda line: None)
    expected = [("done", None) if pause is None else ("censored", pause) for pause in pauses]
    assert [(s.status, s.epoch) for s in found if isinstance(s, Status)] == expected
    assert [validated(folder)[-1] for _, folder in trials] == [pause or 3 for pause in pauses]
