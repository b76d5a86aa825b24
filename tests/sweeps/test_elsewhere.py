"""Trials that other processes claim: what a run makes of them, look by look."""

import errno
import json
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sqzx.claim_protocol import Holder
from sqzx.claims import claim, new_watch
from sqzx.processes import Process, this_place, this_process
from sqzx.trial import Status, TrialFolder
from sweeps.elsewhere import GONE_SECONDS, LOOK_SECONDS, Overtaking, as_seen, look_elsewhere
from sweeps.endings import OVERTAKEN, Ending
from sweeps.plan import Plan, plan_study, trial_folder, with_statuses
from sweeps.retrying import set_back
from sweeps.study import parse_study
from sweeps.worker import CLAIMED

ME = this_process()
DEAD = Process(this_place(), 2**22 + 1, "1")
FAR = Process("a" * 12, ME.pid, "1")
"""A process of another machine, or of an earlier boot of this one."""


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Our own monotonic time, which runs as a test says; sleeping costs none of any other."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", sleep)
    return now


@pytest.fixture
def plan(monkeypatch) -> Plan:
    monkeypatch.setenv("SQZX_PATIENCE", "90")
    text = 'schema = 1\nname = "s"\nseeds = 2\n[config]\nmodel.preset = "squeezenet_small"\n'
    return plan_study(parse_study(text, "s.toml"))


def hold(folder: TrialFolder, process: Process, token: str = "0" * 16) -> Path:
    """Have a process hold the claim on a trial's folder, as it looks from outside."""
    folder.writer.mkdir(parents=True, exist_ok=True)
    for entry in folder.writer.iterdir():
        entry.rename(folder.writer / Holder(token, process).name)
    path = folder.writer / Holder(token, process).name
    (path / "halves").mkdir(parents=True, exist_ok=True)
    return path


def free(folder: TrialFolder) -> None:
    for entry in folder.writer.iterdir():
        entry.rename(folder.writer / "free")


def failing(number: int) -> Callable[[Any], Any]:
    """A call of the system that ends with an error."""

    def call(path: Any) -> Any:
        raise OSError(number, os.strerror(number), path)

    return call


def write(folder: TrialFolder, **status: Any) -> Status:
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_status(Status(**status))
    return folder.read_status()


class TestOvertaking:
    def over(self, overtaking: Overtaking, clock: list[float], pid: int, seconds: float) -> bool:
        """Ask for so long, as a run does."""
        end, over = clock[0] + seconds, False
        while clock[0] < end:
            clock[0] += 0.1
            over = overtaking.is_over(pid)
        return over

    @pytest.fixture
    def folder(self, tmp_path) -> TrialFolder:
        return TrialFolder(tmp_path / "t")

    def test_a_worker_that_is_slow_to_claim_what_a_dead_one_left_is_let_be(self, folder, clock):
        hold(folder, DEAD)
        overtaking = Overtaking([folder])
        assert not self.over(overtaking, clock, ME.pid, 60)
        hold(folder, ME, "f" * 16)
        assert not self.over(overtaking, clock, ME.pid, 60)

    def test_a_worker_that_comes_after_another_runner_s_is_let_be(self, folder, clock):
        hold(folder, FAR._replace(pid=1))
        overtaking = Overtaking([folder])
        assert not self.over(overtaking, clock, ME.pid, 2)
        free(folder)
        assert not self.over(overtaking, clock, ME.pid, 60)
        hold(folder, ME)
        assert not self.over(overtaking, clock, ME.pid, 60)

    @pytest.mark.parametrize("taken", [True, False])
    def test_it_is_over_some_time_after_the_claim_has_gone(self, folder, clock, taken):
        hold(folder, ME)
        overtaking = Overtaking([folder])
        assert not self.over(overtaking, clock, ME.pid, 10)
        hold(folder, FAR._replace(pid=1), "f" * 16)
        if not taken:
            free(folder)
        assert not self.over(overtaking, clock, ME.pid, GONE_SECONDS - 2 * LOOK_SECONDS)
        assert self.over(overtaking, clock, ME.pid, 3 * LOOK_SECONDS)

    @pytest.mark.parametrize("token", ["0" * 16, "f" * 16])
    def test_an_entry_that_was_copied_beside_its_own_changes_nothing(self, folder, clock, token):
        own = hold(folder, ME, "8" * 16)
        (own.parent / Holder(token, FAR._replace(pid=1)).name).mkdir()
        assert not self.over(Overtaking([folder]), clock, ME.pid, 60)

    def test_a_server_that_is_away_says_nothing_of_a_worker(self, folder, clock, monkeypatch):
        hold(folder, ME)
        overtaking = Overtaking([folder])
        assert not self.over(overtaking, clock, ME.pid, 10)
        monkeypatch.setattr("os.listdir", failing(errno.ESTALE))
        assert not self.over(overtaking, clock, ME.pid, 60)

    def test_a_stack_goes_on_as_long_as_it_has_one_of_its_trials(self, tmp_path, clock):
        folders = [TrialFolder(tmp_path / name) for name in "ab"]
        for folder in folders:
            hold(folder, ME)
        overtaking = Overtaking(folders)
        assert not self.over(overtaking, clock, ME.pid, 1)
        free(folders[0])
        assert not self.over(overtaking, clock, ME.pid, 60)
        free(folders[1])
        assert self.over(overtaking, clock, ME.pid, GONE_SECONDS + 2 * LOOK_SECONDS)


class TestLooks:
    """`look_elsewhere`, asked every second."""

    @pytest.fixture
    def looked(self, plan, tmp_path, clock):
        trial = plan.trials[0]
        elsewhere, statuses = deque([(trial, new_watch())]), {trial.id: Status()}

        def look(seconds: int) -> list[Any]:
            found = []
            for _ in range(seconds):
                clock[0] += 1
                found += look_elsewhere(elsewhere, statuses, tmp_path)
            return found

        return SimpleNamespace(
            look=look, elsewhere=elsewhere, trial=trial, folder=trial_folder(tmp_path, trial.id)
        )

    @pytest.mark.parametrize("state", ["censored", "running", "pending", "interrupted"])
    def test_what_may_go_on_is_watched_as_long_as_it_is_claimed(self, looked, state):
        holder = hold(looked.folder, FAR)
        write(looked.folder, status=state, epoch=1, host="far")
        for count in range(30):
            (holder / "beat").write_text(str(count))
            assert looked.look(10) == []
        assert [trial for trial, _ in looked.elsewhere] == [looked.trial]

    @pytest.mark.parametrize(("state", "ours"), [("censored", False), ("running", True), ("pending", True)])
    def test_a_silent_claim_is_set_free_after_the_patience(self, looked, state, ours):
        hold(looked.folder, FAR)
        write(looked.folder, status=state, epoch=1, host="far")
        assert looked.look(45) == []
        assert looked.elsewhere
        left = looked.look(60)
        assert os.listdir(looked.folder.writer) == ["free"]
        assert not looked.elsewhere
        assert left == ([(looked.trial,)] if ours else [])  # the pauses decide who goes on

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
    def test_a_server_that_is_away_says_nothing_of_a_claim(self, looked, monkeypatch, number):
        hold(looked.folder, FAR)
        write(looked.folder, status="running", host="far")
        assert looked.look(45) == []
        with monkeypatch.context() as away:
            away.setattr("os.listdir", failing(number))
            assert looked.look(600) == []
            assert looked.elsewhere  # ten minutes in which nobody was seen to be silent
        assert looked.look(30) == []
        assert looked.look(60) == [(looked.trial,)]

    def test_an_error_that_does_not_pass_is_told(self, looked, monkeypatch):
        hold(looked.folder, FAR)
        monkeypatch.setattr("os.listdir", failing(errno.EACCES))
        with pytest.raises(PermissionError):
            looked.look(1)

    @pytest.mark.parametrize("state", ["done", "failed", "timed_out"])
    def test_what_has_ended_is_watched_no_more(self, looked, state):
        hold(looked.folder, FAR)
        write(looked.folder, status=state)
        assert looked.look(1) == []
        assert not looked.elsewhere


class TestSeen:
    def test_a_foreign_running_trial_whose_claim_is_free_was_left_behind(self, plan, tmp_path):
        folder = trial_folder(tmp_path, plan.trials[0].id)
        with claim(folder) as held:
            held.folder.write_status(Status(status="running", host="far", pid=1))
        (trial, _) = with_statuses(plan, tmp_path).trials
        assert (trial.status.status, trial.status.reason) == (
            "interrupted",
            "left behind by a process on far",
        )

    @pytest.mark.parametrize("host", [None, "far"])
    def test_a_silent_claim_says_where_its_trial_began(self, plan, tmp_path, clock, host):
        folder = trial_folder(tmp_path, plan.trials[0].id)
        hold(folder, FAR)
        here = os.uname().nodename
        write(folder, status="running", host=host or here, place=FAR.place, pid=1, started_time="noon")
        (trial, _) = as_seen(with_statuses(plan, tmp_path), tmp_path).trials
        where = "on far" if host else "before this host's last start, or in another container of its name,"
        assert trial.status.status == "unknown"
        assert trial.status.reason == f"began {where} at noon; no sign of life is seen from here"


class TestSettingBack:
    @pytest.fixture
    def failed(self, plan, tmp_path) -> list[TrialFolder]:
        folders = [trial_folder(tmp_path, trial.id) for trial in plan.trials]
        for folder in folders:
            write(folder, status="failed", reason="so it was")
        return folders

    def set_back(self, plan: Plan, out: Path, *, should_stop=lambda: False) -> list[str]:
        return list(set_back(with_statuses(plan, out), out, should_stop=should_stop))

    def states(self, folders: list[TrialFolder]) -> list[str]:
        return [folder.read_status().status for folder in folders]

    def test_failed_trials_are_pending_again(self, plan, tmp_path, failed):
        assert self.set_back(plan, tmp_path) == []
        assert self.states(failed) == ["pending", "pending"]

    def test_claims_that_were_left_are_waited_for_together(self, plan, tmp_path, failed, clock):
        for folder in failed:
            hold(folder, FAR)
        said = self.set_back(plan, tmp_path)
        assert said == ["2 failed trials are claimed; waiting 90 s for a sign of life"]
        assert self.states(failed) == ["pending", "pending"]
        assert 90 <= clock[0] < 95

    def test_a_trial_that_another_process_has_is_left_to_it_and_told(
        self, plan, tmp_path, failed, clock, monkeypatch
    ):
        beat = hold(failed[0], FAR) / "beat"

        def sleep(seconds: float) -> None:
            clock[0] += seconds
            beat.write_text(str(clock[0]))

        monkeypatch.setattr("time.sleep", sleep)
        trial = plan.trials[0]
        assert self.set_back(plan, tmp_path)[1:] == [
            f"not set back: {trial.id}  {trial.name}: another process is at work there"
        ]
        assert self.states(failed) == ["failed", "pending"]

    def test_a_trial_that_was_finished_meanwhile_is_left_alone(self, plan, tmp_path, failed):
        seen = with_statuses(plan, tmp_path)
        write(failed[0], status="done")
        assert list(set_back(seen, tmp_path, should_stop=lambda: False)) == []
        assert self.states(failed) == ["done", "pending"]

    def test_a_request_to_stop_is_heeded(self, plan, tmp_path, failed, clock):
        for folder in failed:
            hold(folder, FAR)
        self.set_back(plan, tmp_path, should_stop=lambda: clock[0] > 5)
        assert clock[0] < 6
        assert self.states(failed) == ["failed", "failed"]

    def test_a_full_disk_is_told(self, plan, tmp_path, failed, monkeypatch):
        def full(self: TrialFolder, status: Status) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(TrialFolder, "write_status", full)
        said = self.set_back(plan, tmp_path)
        assert [line.rpartition(": ")[2] for line in said] == ["No space left on device"] * 2


class TestEnds:
    """What `Ending` makes of what a process left, and others wrote."""

    KILLED = -9

    @pytest.fixture
    def trial(self, plan, tmp_path):
        trial = plan.trials[0]
        folder = trial_folder(tmp_path, trial.id)
        folder.path.mkdir(parents=True)
        return trial, folder

    def outcome(self, trial, before: Status, code: int, pid: int = 7, **ended: Any) -> Status | None:
        ending = Ending(pid=pid, code=code, before=[before], **ended)
        ((_, status),) = ending.outcomes((trial[0],), [trial[1]])
        return status

    @pytest.mark.parametrize(("code", "ended"), [(CLAIMED, {}), (-9, {"killed_as": OVERTAKEN})])
    def test_a_trial_that_others_have_is_left_to_them(self, trial, code, ended):
        before = write(trial[1], status="interrupted", pid=1)
        assert self.outcome(trial, before, code, **ended) is None
        assert trial[1].read_status() == before

    def test_one_that_was_slow_to_end_after_its_last_word_is_not_overtaken(self, trial):
        done = write(trial[1], status="done", pid=7, ended_time="2")
        assert self.outcome(trial, Status(), self.KILLED, killed_as=OVERTAKEN) == done

    @pytest.mark.parametrize("state", ["failed", "timed_out", "censored", "interrupted", "pending"])
    def test_what_another_process_wrote_since_stays(self, trial, state):
        before = write(trial[1], status="interrupted", pid=1, ended_time="1")
        after = write(trial[1], status=state, pid=8, ended_time="2")
        killed_as = Status(status="timed_out", reason="too long")
        assert self.outcome(trial, before, self.KILLED, killed_as=killed_as) is None
        assert trial[1].read_status() == after

    def test_one_that_had_paused_before_it_was_started_stays_so(self, trial):
        """Another runner was faster: the process found nothing to do, and left the status as it was."""
        before = write(trial[1], status="censored", pid=1, ended_time="1")
        assert self.outcome(trial, before, code=0) == before
        status = self.outcome(trial, before, self.KILLED)
        assert status is not None
        assert status.status == "failed"

    def test_one_that_died_before_it_began_has_failed(self, trial):
        before = write(trial[1], status="interrupted", pid=1, ended_time="1")
        status = self.outcome(trial, before, self.KILLED)
        assert status is not None
        assert (status.status, trial[1].read_status()) == ("failed", status)

    def test_so_has_one_with_the_number_of_an_earlier_process(self, trial):
        before = write(trial[1], status="interrupted", pid=7, ended_time="1")
        status = self.outcome(trial, before, self.KILLED)
        assert status is not None
        assert status.status == "failed"

    def test_a_done_trial_is_done_on_a_full_disk_too(self, trial, monkeypatch):
        done = write(trial[1], status="done", pid=7, ended_time="2")

        def full(folder: TrialFolder) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("sweeps.endings.claim", full)
        assert self.outcome(trial, Status(), 0) == done
        assert self.outcome(trial, done, 0, pid=8) == done  # found done by another runner

    def test_a_done_trial_with_a_changed_file_whose_process_died_at_once_is_not_done(self, trial):
        (trial[1].path / "result.json").write_text('{"learned": true}')
        files = trial[1].digests()
        (trial[1].path / "result.json").write_text('{"learned": false}')
        before = write(trial[1], status="done", pid=1, ended_time="1", files=files)
        status = self.outcome(trial, before, self.KILLED)
        assert status is not None
        assert (status.status, status.files) == ("failed", {})
        assert status.faults == ("was done, but its result.json has changed",)
        assert json.loads(trial[1].status_file.read_text())["files"] == {}
