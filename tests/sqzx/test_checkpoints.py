import os
import shutil

import numpy as np
import pytest

from sqzx import checkpoints
from sqzx.processes import this_place
from sqzx.programs import TrainState


def state_of(step):
    random = np.random.default_rng(step)
    parameters = {
        "conv1": {"kernel": random.normal(size=(3, 3, 1, 8)).astype(np.float32)},
        "fire2": {"squeeze": {"bias": random.normal(size=5).astype(np.float32)}},
    }
    return TrainState(parameters, ({"count": np.int32(step)}, (), random.normal(size=(50, 50))))


START = state_of(0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of the steps 5 and 10."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoint"
    for step in (5, 10):
        checkpoints.save(folder, step, state_of(step), {"train_seconds": 0.5 * step})
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of them to do harm to."""
    return shutil.copytree(saved, tmp_path / "checkpoint")


def assert_is_step(restored, step):
    assert restored.step == step
    expected = checkpoints.by_path(state_of(step))
    found = checkpoints.by_path(restored.state)
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype, name
        assert np.array_equal(found[name], expected[name]), name


def largest_file(path):
    return max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


DAMAGE = {
    "an empty file": lambda path: largest_file(path).write_bytes(b""),
    "a cut file": lambda path: os.truncate(largest_file(path), largest_file(path).stat().st_size // 2),
    "a missing file": lambda path: largest_file(path).unlink(),
    "a flipped bit": lambda path: flip_a_bit(largest_file(path)),
    "a file too many": lambda path: (path / "state" / "more").write_bytes(b"x"),
    "no state": lambda path: shutil.rmtree(path / "state"),
    "no progress": lambda path: (path / "progress.json").unlink(),
    "changed progress": lambda path: flip_a_bit(path / "progress.json"),
    "no manifest": lambda path: (path / "MANIFEST.json").unlink(),
    "an empty manifest": lambda path: (path / "MANIFEST.json").write_bytes(b""),
    "a manifest of nothing": lambda path: (path / "MANIFEST.json").write_text("{}"),
    "a manifest that is no table": lambda path: (path / "MANIFEST.json").write_text("[]"),
    "a cut manifest": lambda path: os.truncate(path / "MANIFEST.json", 100),
    "a flipped bit in the manifest": lambda path: flip_a_bit(path / "MANIFEST.json"),
}


def test_the_newest_checkpoint_comes_back_to_the_bit(saved):
    restored = checkpoints.restore(saved, START)
    assert_is_step(restored, 10)
    assert isinstance(restored.state, TrainState)
    assert restored.progress == {"train_seconds": 5.0}
    assert restored.faults == ()


def test_without_a_checkpoint_the_start_is_returned(tmp_path):
    restored = checkpoints.restore(tmp_path / "none", START)
    assert restored == (0, START, {}, ())


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_is_removed_and_named(folder, damage):
    DAMAGE[damage](folder / "10")
    restored = checkpoints.restore(folder, START)
    assert_is_step(restored, 5)
    assert restored.progress == {"train_seconds": 2.5}
    (fault,) = restored.faults
    assert fault.startswith("the checkpoint of step 10 is damaged (")
    assert fault.endswith(") and was removed")


def test_with_both_damaged_it_starts_again(folder):
    DAMAGE["a flipped bit"](folder / "10")
    DAMAGE["an empty file"](folder / "5")
    restored = checkpoints.restore(folder, START)
    assert restored.step == 0
    assert restored.state is START
    assert [fault[:29] for fault in restored.faults] == [
        "the checkpoint of step 10 is ",
        "the checkpoint of step 5 is d",
    ]


def test_a_damaged_one_does_not_take_the_place_of_a_whole_one(folder):
    DAMAGE["a flipped bit"](folder / "10")
    checkpoints.restore(folder, START)
    checkpoints.save(folder, 7, state_of(7), {})
    assert checkpoints.steps(folder) == [7, 5]
    assert checkpoints.restore(folder, START).faults == ()


def test_two_are_kept_and_leftovers_removed(folder):
    half = folder / f".7.01234567.{this_place()}.{2**22 + 1}.1.half"
    (half / "state").mkdir(parents=True)
    (half / "state" / "a").write_bytes(b"half")
    checkpoints.save(folder, 15, state_of(15), {})
    assert sorted(os.listdir(folder)) == ["10", "15"]


def test_half_folders_are_no_checkpoints(folder):
    shutil.copytree(folder / "10", folder / ".20.half")
    (folder / "notes").mkdir()
    restored = checkpoints.restore(folder, START)
    assert_is_step(restored, 10)
    assert restored.faults == ()


def test_a_folder_that_a_late_writer_made_is_no_checkpoint_and_goes(folder):
    (folder / "20").mkdir()
    assert checkpoints.steps(folder) == [10, 5]
    checkpoints.save(folder, 15, state_of(15), {})
    assert sorted(os.listdir(folder)) == ["10", "15"]


def test_a_save_that_fails_leaves_the_others_and_nothing_half(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_json", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(folder, 15, state_of(15), {})
    assert sorted(os.listdir(folder)) == ["10", "5"]


def test_a_checkpoint_of_a_step_can_be_written_again(folder):
    DAMAGE["an empty file"](folder / "10")
    checkpoints.save(folder, 10, state_of(10), {})
    assert_is_step(checkpoints.restore(folder, START), 10)


def test_a_checkpoint_with_other_arrays_is_told_and_removed(folder):
    """An older version named the moments otherwise: its trials begin again, and say why."""
    other = TrainState(START.parameters, {"moments of today": np.zeros(3, np.float32)})
    newest = checkpoints.steps(folder)[0]
    found = checkpoints.restore(folder, other)
    assert (found.step, found.state) == (0, other)
    assert f"step {newest} is damaged (it has no 'optimizer/moments of today'" in found.faults[0]
    assert checkpoints.steps(folder) == []


def test_a_state_of_another_shape_is_refused_with_both_shapes(saved):
    other = TrainState(
        {"conv1": {"kernel": np.zeros((3, 3, 1, 9), np.float32)}, "fire2": START.parameters["fire2"]},
        START.optimizer,
    )
    with pytest.raises(ValueError, match=r"conv1/kernel: .*\(3, 3, 1, 8\), needed float32\(3, 3, 1, 9\)"):
        checkpoints.restore(saved, other)
