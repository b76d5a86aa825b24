"""What becomes of a trial, with trainings that end in every way. `test_training` has real ones."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from sqzx.attempt import attempt, attempt_stack
from sqzx.claims import ClaimedElsewhere, claim, look, new_watch, set_free
from sqzx.errors import InputError, Interrupted, NonFiniteError
from sqzx.trial import Status, TrialFolder

HOLD = """
import sys, time
from pathlib import Path
from sqzx.claims import claim
from sqzx.trial import TrialFolder
with claim(TrialFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def is_claimed(folder):
    return look(new_watch(), folder) != "free"


@pytest.fixture
def folder(tmp_path):
    return TrialFolder(tmp_path / "trial")


@pytest.fixture
def ending(monkeypatch):
    """Let every training end as told: by an error, or by a function of its arguments."""

    def set_ending(end):
        def train_stack(jobs, **options):
            for job in jobs:
                if isinstance(end, NonFiniteError):
                    job.on_end(end)
                elif isinstance(end, BaseException):
                    raise end
                else:
                    end(job.config, job.folder, say=job.say, on_fault=job.on_fault, **options)
                    job.on_end(None)

        monkeypatch.setattr("sqzx.training.train_stack", train_stack)

    return set_ending


def run(config, folder, **options):
    lines = []
    return attempt(config, folder, started=time.monotonic(), say=lines.append, **options), lines


@pytest.mark.parametrize(("before", "after", "told"), [((3,), (5,), 0), ((3,), (3, 5), 1), ((3, 5), (3,), 1)])
@pytest.mark.parametrize("saved", [True, False])
def test_another_number_of_cores_is_told_where_a_saved_state_goes_on(
    tiny, folder, ending, monkeypatch, before, after, told, saved
):
    def stop(config, folder, **options):
        if saved:
            (folder.checkpoints / "7").mkdir(parents=True)
        raise Interrupted("stopped at step 7 of 9")

    for cores, end in ((before, stop), (after, lambda *arguments, **options: None)):
        monkeypatch.setattr("sqzx.attempt.provenance", lambda cores=cores: {"cores": list(cores)})
        ending(end)
        status, _ = run(tiny(), folder)
    assert len(status.faults) == told * saved
    for fault in status.faults:
        assert fault.startswith(f"began on {number(before)} and goes on on {number(after)}: ")
        assert f"fault: {fault}" in folder.log_tail()
    assert status.status == "done"


def number(cores):
    return "1 core" if len(cores) == 1 else f"{len(cores)} cores"


class TestClaim:
    def test_a_claim_keeps_other_processes_out_until_it_is_given_up(self, folder):
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, folder.path], stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert is_claimed(folder)
            with pytest.raises(ClaimedElsewhere, match=str(folder.path)), claim(folder):
                pass
            holder.send_signal(signal.SIGKILL)
        assert not is_claimed(folder)
        with claim(folder):
            assert is_claimed(folder)

    def test_a_claim_is_given_up_when_its_block_ends_in_an_error(self, folder):
        with pytest.raises(KeyError), claim(folder):
            raise KeyError
        assert not is_claimed(folder)

    def test_a_claimed_trial_is_left_alone(self, folder, tiny, ending):
        ending(lambda *_, **__: pytest.fail("trained in a claimed folder"))
        with claim(folder), pytest.raises(ClaimedElsewhere):
            run(tiny(), folder)
        assert os.listdir(folder.path) == [".writer"]


def take_over(folder):
    """What another host does to a claim that it found abandoned."""
    watch = new_watch()
    look(watch, folder)
    set_free(watch, folder)


class TestALostClaim:
    """A stopped process that wakes up finds that its claim is gone, and writes nothing."""

    @pytest.mark.parametrize(
        "end", ["done", ValueError("odd"), Interrupted("stopped"), NonFiniteError("nan")]
    )
    def test_however_it_ends_nothing_is_said(self, folder, tiny, ending, end):
        before = {}

        def wake_up(config, folder, **_):
            take_over(folder)
            before.update({p: p.read_bytes() for p in folder.path.iterdir() if p.is_file()})
            if isinstance(end, Exception):
                raise end

        ending(wake_up)
        (status,) = attempt_stack([(tiny(), folder)], started=0, say=lambda line: None)
        assert status is None
        assert {p: p.read_bytes() for p in folder.path.iterdir() if p.is_file()} == before
        assert folder.read_status().status == "running"

    def test_it_stops_at_the_next_step_and_its_stack_with_it(self, tmp_path, tiny, monkeypatch):
        monkeypatch.setenv("SQZX_PATIENCE", "0.5")
        folders = [TrialFolder(tmp_path / name) for name in "ab"]

        def train_stack(jobs, *, should_stop, **_):
            assert not should_stop()
            take_over(jobs[0].folder)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                assert not should_stop()
                time.sleep(0.01)

        monkeypatch.setattr("sqzx.training.train_stack", train_stack)
        trials = [(tiny(seed=seed), folder) for seed, folder in enumerate(folders)]
        lost, other = attempt_stack(trials, started=0, say=lambda line: None)
        assert lost is None
        assert other is not None
        assert (other.status, other.reason) == (
            "interrupted",
            f"its stack of 2 ended: {folders[0].path}: another process has taken over",
        )

    def test_one_trial_alone_is_waited_for_and_gone_on_with(self, folder, tiny, ending, monkeypatch):
        monkeypatch.setenv("SQZX_PATIENCE", "0.5")
        calls = []

        def lose_once(config, folder, **_):
            calls.append(folder)
            if len(calls) == 1:
                take_over(folder)

        ending(lose_once)
        status, _ = run(tiny(), folder)
        assert (status.status, status.attempts) == ("done", 2)

    def test_asked_to_stop_while_it_waits_it_is_interrupted_and_has_written_nothing(
        self, folder, tiny, ending
    ):
        ending(lambda *_, **__: pytest.fail("trained in a claimed folder"))
        with claim(folder):
            pass
        os.rename(folder.writer / "free", folder.writer / "00ff.aaaaaaaaaaaa.1.1")
        asked = iter([False, True])
        with pytest.raises(Interrupted, match="stopped while waiting"):
            run(tiny(), folder, should_stop=lambda: next(asked))
        assert os.listdir(folder.path) == [".writer"]

    def test_the_device_that_jax_computed_on_is_told_with_the_end(self, folder, tiny, ending):
        during = []
        ending(lambda config, folder, **_: during.append(folder.read_status().provenance))
        status, _ = run(tiny(), folder)
        assert "device" not in during[0]
        assert status.provenance["device"]["platform"] == "cpu"
        assert status.provenance["device"]["count"] >= 1
        assert folder.read_status().provenance == status.provenance


class TestEndings:
    def test_while_it_trains_it_is_running_in_this_process(self, folder, tiny, ending):
        seen = []
        ending(lambda config, folder, **_: seen.append((folder.read_status(), folder.read_config())))
        status, _ = run(tiny(), folder)
        during, config = seen[0]
        assert (during.status, during.pid, during.attempts) == ("running", os.getpid(), 1)
        assert during.started_time is not None
        assert during.provenance["versions"]["jax"]
        assert config == tiny()
        assert (status.status, status.reason) == ("done", None)
        assert status.ended_time is not None

    @pytest.mark.parametrize(
        ("error", "state", "reason"),
        [
            (Interrupted("stopped at step 3 of 10"), "interrupted", "stopped at step 3 of 10"),
            (
                NonFiniteError("the loss is not finite at step 3"),
                "failed",
                "not finite: the loss is not finite at step 3",
            ),
            (InputError("f: no such file"), "failed", "f: no such file"),
            (ValueError("odd\nand more"), "failed", "ValueError: odd"),
            (ZeroDivisionError(), "failed", "ZeroDivisionError"),
            (MemoryError(), "failed", "MemoryError"),
            (OSError(errno.ENOSPC, "No space left on device", "f"), "failed", "no space left on the disk"),
            (
                ValueError("RESOURCE_EXHAUSTED: Failed to write 80 bytes: No space left on device"),
                "failed",
                "no space left on the disk",
            ),
            (
                OSError(errno.EACCES, "Permission denied"),
                "failed",
                "PermissionError: [Errno 13] Permission denied",
            ),
        ],
        ids=repr,
    )
    def test_an_error_becomes_a_status_with_a_reason(self, folder, tiny, ending, error, state, reason):
        ending(error)
        status, lines = run(tiny(), folder)
        assert (status.status, status.reason) == (state, reason)
        assert folder.read_status() == status
        assert f"{state}: {reason}" in lines
        assert not is_claimed(folder)

    def test_an_unforeseen_error_leaves_its_traceback_in_the_log(self, folder, tiny, ending):
        ending(ValueError("odd"))
        text = "\n".join(run(tiny(), folder)[1])
        assert "Traceback (most recent call last)" in text
        assert text.count("ValueError: odd") == 2

    def test_a_foreseen_one_does_not(self, folder, tiny, ending):
        ending(NonFiniteError("the loss is not finite at step 3"))
        assert run(tiny(), folder)[1] == ["failed: not finite: the loss is not finite at step 3"]

    def test_a_log_that_cannot_be_written_costs_the_line_and_not_the_trial(self, folder, tiny, ending):
        def say(line):
            raise OSError(errno.ENOSPC, "No space left on device")

        ending(lambda config, folder, *, say, **_: say("epoch 1"))
        assert attempt(tiny(), folder, started=0, say=say).status == "done"

    def test_faults_are_kept_over_attempts(self, folder, tiny, ending):
        def damaged(config, folder, *, on_fault, **_):
            on_fault(f"damage {folder.read_status().attempts}")
            raise Interrupted("stopped")

        ending(damaged)
        run(tiny(), folder)
        status, lines = run(tiny(), folder)
        assert status.faults == folder.read_status().faults == ("damage 1", "damage 2")
        assert "fault: damage 2" in lines


class TestAttempts:
    def test_one_that_was_done_and_failed_before_it_could_be_made_again_has_no_fault_without_a_reason(
        self, folder, tiny, ending
    ):
        """A runner has settled what its process could not, and `retry` has made that pending."""
        folder.write_status(Status(status="done", files={"result.json": "00"}))
        folder.write_status(folder.read_status().but(status="failed", reason="killed"))
        folder.write_status(folder.read_status().but(status="pending", reason=None))
        ending(lambda *_, **__: None)
        status, _ = run(tiny(), folder)
        assert status.faults == ("was done, but its result.json is missing",)

    def test_attempts_are_counted_and_what_is_done_stays_done(self, folder, tiny, ending):
        ending(Interrupted("stopped"))
        assert run(tiny(), folder)[0].attempts == 1
        ending(ValueError("odd"))
        assert run(tiny(), folder)[0].attempts == 2
        ending(lambda *_, **__: None)
        done, _ = run(tiny(), folder)
        assert (done.status, done.attempts, done.reason) == ("done", 3, None)
        ending(lambda *_, **__: pytest.fail("trained what was done"))
        before = folder.status_file.read_bytes()
        assert run(tiny(), folder)[0] == done
        assert folder.status_file.read_bytes() == before

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"seed": 1}, "seed is 0 there, 1 here"),
            ({"train_epochs": 3}, "train.epochs is 2 there, 3 here"),
            ({"model_squeeze_ratio": 0.75}, "model.squeeze_ratio is 0.5 there, 0.75 here"),
        ],
    )
    @pytest.mark.parametrize("end", [Interrupted("stopped"), lambda *_, **__: None], ids=["cut", "done"])
    def test_another_configuration_is_refused_by_its_key(self, folder, tiny, ending, end, changes, message):
        ending(end)
        run(tiny(), folder)
        before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
        with pytest.raises(InputError) as error:
            run(tiny(**changes), folder)
        assert str(error.value) == f"{folder.path}: holds another trial ({message}); choose another folder"
        after = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
        assert after == before
        assert not is_claimed(folder)
