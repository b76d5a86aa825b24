"""Claims in real folders; `test_claim_protocol` has the interleavings, `sweeps/test_runner` the processes."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sqzx import checkpoints
from sqzx.claims import (
    ClaimedElsewhere,
    ClaimLost,
    claim,
    holders,
    look,
    new_watch,
    patience_seconds,
    set_free,
    wait_for,
    when_free,
)
from sqzx.errors import InputError, Interrupted
from sqzx.files import remove_whole, write_json
from sqzx.metrics import MetricsLog
from sqzx.processes import process_start, this_place, this_process
from sqzx.trial import Status, TrialFolder

ELSEWHERE = "0123456789abcdef.aaaaaaaaaaaa.1.1"


def holder_name(folder):
    """Return the name of the first entry that is a process's, or None."""
    return next((holder.name for holder in holders(folder) or ()), None)


def is_claimed(folder):
    return look(new_watch(), folder) != "free"


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


def paths_of(path):
    return sorted(p for p in path.rglob("*") if ".writer" not in p.parts)


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
            lambda folder: checkpoints.forget(folder.checkpoints, 5, halves=folder.halves),
            lambda folder: MetricsLog(replace(folder, path=folder.path / "work" / "1-retrain"), 0),
            lambda folder: write_json(folder.checkpoints / "9" / "a.json", {}, halves=folder.halves),
        ],
        ids=[
            "status",
            "result",
            "checkpoint",
            "removal",
            "forgetting",
            "metrics",
            "a file below a new folder",
        ],
    )
    def test_nothing_comes_into_place_and_nothing_goes(self, lost, write):
        before = paths_of(lost.folder.path), files_of(lost.folder.path)
        with pytest.raises(OSError):
            write(lost.folder)
        assert (paths_of(lost.folder.path), files_of(lost.folder.path)) == before

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


class TestSeveralEntries:
    """A study that was copied over an earlier copy of itself, and what other programs leave in folders."""

    OLD = f"0123456789abcdef.{this_place()}.{2**22 + 1}.1"

    @pytest.fixture
    def copied(self, folder):
        with claim(folder):
            pass
        shutil.copytree(folder.writer / "free", folder.writer / self.OLD)
        return folder

    def test_free_and_a_dead_one_become_one_that_is_held(self, copied):
        with claim(copied) as held:
            assert held.is_held()
            assert os.listdir(copied.writer) == [holder_name(copied)]
        assert os.listdir(copied.writer) == ["free"]

    def test_while_one_lives_nobody_takes_the_other(self, folder):
        with claim(folder) as held:
            shutil.copytree(folder.writer / holder_name(folder), folder.writer / "free")
            with pytest.raises(ClaimedElsewhere), claim(folder):
                pass
            assert held.is_held()
        assert os.listdir(folder.writer) == ["free"]

    def test_silent_ones_elsewhere_are_all_set_free_after_one_patience(self, copied):
        for name in (ELSEWHERE, ELSEWHERE.replace("0", "f", 1)):
            shutil.copytree(copied.writer / "free", copied.writer / name)
        assert wait_for(copied, lambda line: None)
        with claim(copied) as held:
            assert held.is_held()

    @pytest.mark.parametrize("name", [".DS_Store", "@eaDir", "free 2"])
    def test_what_else_lies_there_is_nothing(self, folder, name):
        (folder.writer / name).mkdir(parents=True)
        assert not is_claimed(folder)
        with claim(folder) as held:
            assert held.is_held()
            assert holder_name(folder) != name
        assert sorted(os.listdir(folder.writer)) == sorted(["free", name])


class TestErrors:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ESTALE])
    def test_setting_a_claim_free_raises_nothing(self, folder, monkeypatch, number):
        held_elsewhere(folder)
        watch = new_watch()
        look(watch, folder)
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(number, "away")))
            set_free(watch, folder)
        assert holder_name(folder) == ELSEWHERE
        set_free(watch, folder)
        assert not is_claimed(folder)

    def test_a_living_one_that_still_writes_into_what_is_taken_is_waited_for(self, folder, monkeypatch):
        """Its checkpoint of many files meets the removal of its folder."""
        holder, remove, late = held_elsewhere(folder), shutil.rmtree, iter(range(2))

        def removed_while_written_to(path, **keys):
            remove(path, **keys)
            if Path(path).name == "halves" and next(late, None) is not None:
                Path(path).mkdir()
                raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))

        monkeypatch.setattr(shutil, "rmtree", removed_while_written_to)
        assert (holder / "halves").is_dir()
        take_over(folder)
        with claim(folder) as held:
            assert held.is_held()
        assert next(late, None) is None

    def test_one_that_never_ends_to_write_keeps_others_out(self, folder, monkeypatch):
        held_elsewhere(folder)
        take_over(folder)

        def never(path, **keys):
            raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", never)
            with pytest.raises(ClaimedElsewhere), claim(folder):
                pass
        assert os.listdir(folder.writer) == ["free"]


class TestOlderVersions:
    """Runners from before the protocol hold a lock of the kernel, `.claim`, and their status has no place."""

    def write_running(self, folder, process):
        folder.path.mkdir()
        folder.write_status(
            Status(
                status="running",
                host=socket.gethostname(),
                pid=process.pid,
                process_start=process_start(process.pid),
            )
        )

    def test_one_that_lives_here_keeps_its_trial(self, folder):
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
            self.write_running(folder, process)
            with pytest.raises(ClaimedElsewhere), claim(folder):
                pass
            assert not wait_for(folder, lambda line: None)
            assert not folder.writer.exists()
            process.kill()
        with claim(folder) as held:
            assert held.is_held()

    def test_what_they_left_is_swept(self, folder):
        (folder.checkpoints / ".20.half" / "state").mkdir(parents=True)
        for path in (folder.path / ".claim", folder.path / ".status.json.4711.01234567.half"):
            path.write_text("")
        with claim(folder):
            assert paths_of(folder.path) == [folder.checkpoints]


class TestWaiting:
    def test_asked_to_stop_it_ends_as_interrupted(self, folder):
        held_elsewhere(folder)
        with pytest.raises(Interrupted) as error:
            wait_for(folder, lambda line: None, lambda: True)
        assert error.value.exit_code == 130

    def test_what_another_did_not_let_be_done_is_done_once_it_is_silent(self, folder):
        held_elsewhere(folder)
        calls = []

        def act():
            calls.append(holder_name(folder))
            return "done" if len(calls) > 1 else None

        assert when_free(folder, act, lambda line: None, lambda: False) == "done"
        assert calls == [ELSEWHERE, None]


def test_a_folder_of_which_nothing_is_left_but_the_claim_goes_with_it(folder):
    with claim(folder) as held:
        held.end_folder()
        assert not folder.path.exists()
    assert not folder.path.exists()


def test_a_lost_claim_ends_no_folder(folder):
    with claim(folder) as held:
        take_over(folder)
        held.end_folder()
        assert os.listdir(folder.writer) == ["free"]


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


def test_with_such_a_patience_nothing_is_claimed(folder, monkeypatch):
    monkeypatch.setenv("SQZX_PATIENCE", "90s")
    with pytest.raises(InputError, match="SQZX_PATIENCE"), claim(folder):
        pass
    assert not folder.path.exists()


def test_the_patience_is_that_of_the_environment(monkeypatch):
    monkeypatch.delenv("SQZX_PATIENCE", raising=False)
    assert patience_seconds() == 90
    monkeypatch.setenv("SQZX_PATIENCE", "7.5")
    assert patience_seconds() == 7.5
