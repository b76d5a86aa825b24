"""Claims in real folders; `test_claim_protocol` has the interleavings, `sweeps/test_runner` the processes."""

import os
import shutil
import threading
import time

import pytest

from sqzx import checkpoints
from sqzx.claims import (
    ClaimedElsewhere,
    ClaimLost,
    claim,
    holder_name,
    is_claimed,
    look,
    new_watch,
    patience_seconds,
    set_free,
    wait_for,
)
from sqzx.errors import InputError
from sqzx.files import remove_whole, write_json
from sqzx.processes import this_place, this_process
from sqzx.trial import Status, TrialFolder

ELSEWHERE = "0123456789abcdef.aaaaaaaaaaaa.1.1"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SQZX_PATIENCE", "0.5")
    return TrialFolder(tmp_path / "trial")


def held_elsewhere(folder):
    """Make a folder's claim one of a process on another host."""
    with claim(folder):
        pass
    holder = folder.writer / ELSEWHERE
    os.rename(folder.writer / "free", holder)
    return holder


def take_over(folder):
    watch = new_watch()
    look(watch, folder)
    set_free(watch, folder)


def check_for(held, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        held.check()
        time.sleep(0.01)


def files_of(path):
    return {p: p.read_bytes() for p in path.rglob("*") if p.is_file() and ".writer" not in p.parts}


class TestAHeldClaim:
    def test_it_names_its_process_and_is_free_afterwards(self, folder):
        with claim(folder) as held:
            name = holder_name(folder)
            assert name is not None
            assert name.split(".")[1:3] == [this_place(), str(os.getpid())]
            assert held.is_held()
            held.check()
        assert os.listdir(folder.writer) == ["free"]
        assert not held.is_held()
        assert not is_claimed(folder)

    def test_it_beats(self, folder):
        watch = new_watch()
        with claim(folder):
            deadline = time.monotonic() + 60
            while look(watch, folder) != "beating":
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def test_at_any_time_one_has_it(self, folder):
        inside, most, taken = [], [], []

        def work():
            while len(taken) < 40:
                try:
                    with claim(folder):
                        inside.append(1)
                        most.append(len(inside))
                        time.sleep(0.001)
                        inside.pop()
                        taken.append(1)
                except ClaimedElsewhere:
                    time.sleep(0.001)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(most) == {1}

    def test_what_killed_writers_left_is_swept(self, folder):
        folder.path.mkdir()
        dead, living, far = (
            folder.path / f".config.json.01234567.{place}.{pid}.1.half"
            for place, pid in [(this_place(), 2**22 + 1), (this_place(), os.getpid()), ("a" * 12, 2**22 + 1)]
        )
        living = living.with_name(living.name.replace(".1.half", f".{this_process().start}.half"))
        for half in (dead, living, far):
            half.write_text("{")
        with claim(folder):
            assert sorted(folder.path.glob("*.half")) == sorted([living, far])

    def test_a_disk_too_full_for_a_claim_leaves_it_free(self, folder, monkeypatch):
        with claim(folder):
            pass
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
            with pytest.raises(OSError, match="No space"), claim(folder):
                pass
        assert not is_claimed(folder)


class TestALostClaim:
    """The check of the token and the write are one operation: a rename out of the claim's own folder."""

    @pytest.fixture
    def lost(self, folder):
        with claim(folder) as held:
            held.folder.write_status(Status(status="running"))
            checkpoints.save(held.folder.checkpoints, 5, {"x": 1.0}, {}, halves=held.folder.halves)
            take_over(folder)
            yield held

    @pytest.mark.parametrize(
        "write",
        [
            lambda folder: folder.write_status(Status(status="done")),
            lambda folder: write_json(folder.result_file, {}, halves=folder.halves),
            lambda folder: checkpoints.save(folder.checkpoints, 9, {"x": 2.0}, {}, halves=folder.halves),
            lambda folder: remove_whole(folder.checkpoints / "5", halves=folder.halves),
            lambda folder: checkpoints.forget(folder.checkpoints, halves=folder.halves),
        ],
        ids=["status", "result", "checkpoint", "removal", "forgetting"],
    )
    def test_nothing_comes_into_place_and_nothing_goes(self, lost, write):
        before = files_of(lost.folder.path)
        assert before
        with pytest.raises(OSError):
            write(lost.folder)
        assert files_of(lost.folder.path) == before

    def test_a_write_that_had_begun_comes_to_nothing(self, folder):
        with claim(folder) as held:
            held.folder.write_status(Status(status="running"))
            before = files_of(folder.path)
            half = held.folder.halves / "half"
            half.write_text("late")
            take_over(folder)
            with pytest.raises(FileNotFoundError):
                os.replace(half, folder.status_file)
            with claim(folder) as ours:
                assert ours.folder.halves is not None
                assert os.listdir(ours.folder.halves) == []
        assert files_of(folder.path) == before

    def test_it_is_noticed_by_the_next_beat(self, lost):
        assert not lost.is_held()
        with pytest.raises(ClaimLost, match="another process has taken over"):
            check_for(lost, 60)

    def test_giving_it_up_leaves_the_next_ones_alone(self, folder):
        with claim(folder) as late:
            take_over(folder)
            with claim(folder) as ours:
                late.give_up()
                assert ours.is_held()


class TestAnothersClaim:
    def test_a_silent_one_is_waited_for_and_taken(self, folder):
        held_elsewhere(folder)
        with pytest.raises(ClaimedElsewhere), claim(folder):
            pass
        said = []
        assert wait_for(folder, said.append)
        assert said == [f"{folder.path}: claimed; waiting 0.5 s for a sign of life"]
        with claim(folder) as ours:
            assert ours.is_held()

    def test_a_beating_one_is_left_alone(self, folder):
        holder = held_elsewhere(folder)
        threading.Timer(0.1, lambda: (holder / "beat").write_text("1")).start()
        assert not wait_for(folder, lambda line: None)
        assert is_claimed(folder)

    def test_one_that_changed_hands_meanwhile_is_left_alone(self, folder):
        holder, watch = held_elsewhere(folder), new_watch()
        look(watch, folder)
        later = holder.with_name(ELSEWHERE.replace("0", "f", 1))
        os.rename(holder, later)
        set_free(watch, folder)
        assert os.listdir(folder.writer) == [later.name]

    def test_looking_writes_nothing(self, folder):
        assert not is_claimed(folder)
        assert not folder.path.exists()

    def test_a_folder_whose_claim_was_copied_without_what_is_in_it_can_be_claimed(self, folder):
        with claim(folder):
            pass
        shutil.rmtree(folder.writer / "free")
        with claim(folder) as held:
            assert held.is_held()


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_patience_that_is_no_time_is_an_error_that_names_it(monkeypatch, text):
    monkeypatch.setenv("SQZX_PATIENCE", text)
    with pytest.raises(InputError) as error:
        patience_seconds()
    assert str(error.value) == (
        f"SQZX_PATIENCE: {text!r} is no number of seconds from 0.1; the default is 90"
    )


def test_the_patience_is_that_of_the_environment(monkeypatch):
    monkeypatch.delenv("SQZX_PATIENCE", raising=False)
    assert patience_seconds() == 90
    monkeypatch.setenv("SQZX_PATIENCE", "7.5")
    assert patience_seconds() == 7.5
