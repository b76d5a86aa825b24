"""A study that is watched: what each look shows, and when the looks end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from sqzx.cli import run
from sqzx.processes import process_start
from sqzx.trial import Status
from sweeps.plan import plan_folder, trial_folder
from tests.sweeps.conftest import TinyStudy

HERE = Status(
    status="running",
    host=socket.gethostname(),
    pid=os.getpid(),
    process_start=process_start(os.getpid()),
    attempts=1,
    started_time="noon",
)


@pytest.fixture
def told(tiny: TinyStudy, monkeypatch) -> Callable[..., list[float]]:
    """Have the states of the two trials change between looks, and return how long was slept."""

    def script(*states: tuple[Status, Status]) -> list[float]:
        tiny.write()
        tiny.out.mkdir(exist_ok=True)
        (tiny.out / "study.toml").write_text(tiny.file.read_text())
        folders = [trial_folder(tiny.out, trial.id) for trial in plan_folder(tiny.out).trials]
        coming, slept = iter(states), []

        def change(seconds: float) -> None:
            slept.append(seconds)
            for folder, status in zip(folders, next(coming), strict=True):
                folder.path.mkdir(parents=True, exist_ok=True)
                folder.write_status(status)

        clock = SimpleNamespace(sleep=change, process_time=time.process_time)
        monkeypatch.setattr("sweeps.watching.time", clock)
        change(0)
        return slept

    return script


FAILED = HERE.but(status="failed", reason="no memory")
CENSORED = HERE.but(status="censored", reason="others were better", epoch=1)


def test_each_change_is_a_line_until_every_trial_has_ended(tiny, told, capsys):
    slept = told((HERE, Status()), (HERE, Status()), (FAILED, HERE), (FAILED, CENSORED))
    assert run(["sweep", "status", str(tiny.out), "--watch"]) == 0
    ids = [trial.id for trial in plan_folder(tiny.out).trials]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("1 pending, 1 running")
    assert [line.split()[:2] for line in lines[1:]] == [
        ["running", ids[0]],
        ["failed", ids[0]],
        ["running", ids[1]],
        ["censored", ids[1]],
    ]
    assert "no memory" in lines[2]
    assert len(slept) == 4  # with the first state; none after the end
    assert all(seconds >= 2 for seconds in slept[1:])


def test_a_trial_that_was_begun_again_between_two_looks_is_told(tiny, told, capsys):
    told((HERE, FAILED), (HERE.but(attempts=2), FAILED), (FAILED, FAILED))
    assert run(["sweep", "status", str(tiny.out), "--watch"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["running", "failed"]


def test_trials_that_the_study_has_no_more_are_not_waited_for(tiny, told, capsys):
    told((HERE, FAILED), (FAILED, FAILED))
    for trial in plan_folder(tiny.out).trials:
        trial_folder(tiny.out, trial.id).write_config(trial.config)
    (tiny.out / "study.toml").write_text(tiny.write(ratios=(0.25,)).file.read_text())
    assert plan_folder(tiny.out).counts()["removed"] == 1
    assert run(["sweep", "status", str(tiny.out), "--watch"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("no memory  [0/1 done]")


def test_as_json_each_change_is_a_line(tiny, told, capsys):
    told((HERE, Status()), (HERE, Status()), (FAILED, FAILED))
    assert run(["sweep", "status", str(tiny.out), "--watch", "--json"]) == 0
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["counts"]["running"], first["counts"]["pending"]) == (1, 1)
    assert last["counts"]["failed"] == 2


def test_a_terminal_shows_how_far_trials_are_and_at_the_end_the_status(tiny, told, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    told((HERE, Status()), (FAILED, FAILED))
    folder = trial_folder(tiny.out, plan_folder(tiny.out).trials[0].id)
    folder.metrics_file.write_text('{"kind": "train", "step": 1, "epoch": 1, "loss": 1.25}\n')
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["sweep", "status", str(tiny.out), "--watch"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b[" in shown
    assert "2/2" in shown
    assert "1.2500" in shown
    assert "no memory" in shown[shown.rindex("2 failed") :]


def test_the_log_of_a_trial_is_not_watched(tiny, capsys):
    assert run(["sweep", "status", str(tiny.out), "--watch", "--log", "t"]) == 2
    assert "leave --watch out" in capsys.readouterr().err


def test_what_is_no_study_is_not_watched(tmp_path, capsys):
    assert run(["sweep", "status", str(tmp_path), "--watch"]) == 2
    assert "study.toml" in capsys.readouterr().err


HEEDING = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
runpy.run_module("sqzx", run_name="__main__")
"""


def test_watching_ends_when_it_is_interrupted_and_has_written_nothing(tiny, told):
    told((Status(), Status()))
    before = {path: path.stat().st_mtime_ns for path in tiny.out.rglob("*")}
    command = [sys.executable, "-c", HEEDING, "sweep", "status", str(tiny.out), "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert "2 pending" in process.stdout.readline()
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
    assert {path: path.stat().st_mtime_ns for path in tiny.out.rglob("*")} == before
