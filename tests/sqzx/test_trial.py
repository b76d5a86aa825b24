import os
import signal
import socket
import subprocess
import sys

import pytest

from sqzx.errors import InputError
from sqzx.files import write_text
from sqzx.processes import process_start
from sqzx.trial import STATES, Status, TrialFolder, now


@pytest.fixture
def folder(tmp_path):
    return TrialFolder(tmp_path / "t0123")


def running(**changes):
    """The status that this very process would leave while it trains."""
    status = Status(
        status="running",
        attempts=1,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_start=process_start(os.getpid()),
        started_time=now(),
    )
    return status.but(**changes)


def test_an_empty_folder_is_a_pending_trial(folder):
    assert folder.id == "t0123"
    assert folder.read_status() == Status()
    assert folder.read_status().status == "pending"
    assert folder.read_result() is None
    assert folder.read_metrics() == []
    assert folder.log_tail() == []
    assert not folder.path.exists(), "reading writes nothing"


@pytest.mark.parametrize("state", STATES)
def test_a_status_reads_back_as_it_was_written(folder, state):
    status = running(status=state, reason="why", faults=("a", "b"), provenance={"git": None}, init_from="x")
    folder.write_status(status)
    assert folder.read_status() == status


class TestRunning:
    def test_a_living_process_is_running(self, folder):
        folder.write_status(running())
        assert folder.read_status().status == "running"

    def test_a_dead_process_is_interrupted(self, folder):
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
            folder.write_status(running(pid=process.pid, process_start=process_start(process.pid)))
            assert folder.read_status().status == "running"
            process.send_signal(signal.SIGKILL)
        found = folder.read_status()
        assert found.status == "interrupted"
        assert found.reason == "its process ended without a word"
        assert found.attempts == 1

    def test_a_zombie_is_dead(self, folder):
        process = subprocess.Popen([sys.executable, "-c", ""])
        start = process_start(process.pid)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        folder.write_status(running(pid=process.pid, process_start=start))
        assert folder.read_status().status == "interrupted"
        process.wait()

    def test_a_later_process_of_the_same_number_is_another(self, folder):
        folder.write_status(running(process_start="1"))
        assert folder.read_status().status == "interrupted"

    def test_a_process_of_another_host_cannot_be_seen_and_counts_as_running(self, folder):
        folder.write_status(running(host="elsewhere", pid=2**22 + 1, process_start="1"))
        assert folder.read_status().status == "running"

    def test_reading_a_status_writes_nothing(self, folder):
        folder.write_status(running(process_start="1"))
        before = folder.status_file.read_bytes()
        folder.read_status()
        assert folder.status_file.read_bytes() == before


class TestMetrics:
    LINE = '{"step": 1, "kind": "train", "loss": 2.5}\n'

    def test_a_half_last_line_is_left_out(self, folder):
        write_text(folder.metrics_file, self.LINE * 2 + '{"step": 3, "ki')
        assert [line["step"] for line in folder.read_metrics()] == [1, 1]

    @pytest.mark.parametrize("text", ["", '{"step": 1', "{"])
    def test_nothing_whole_is_nothing(self, folder, text):
        write_text(folder.metrics_file, text)
        assert folder.read_metrics() == []


def test_the_tail_of_the_log_survives_odd_bytes(folder):
    folder.path.mkdir()
    folder.log_file.write_bytes(b"".join(b"line %d\n" % i for i in range(30)) + b"\xff\xfe")
    tail = folder.log_tail(3)
    assert tail[:2] == ["line 28", "line 29"]
    assert len(folder.log_tail()) == 20


def test_the_configuration_reads_back(folder, tiny):
    config = tiny(seed=7)
    folder.write_config(config)
    assert folder.read_config() == config


def test_a_foreign_config_json_is_an_error_that_names_it(folder):
    write_text(folder.config_file, '{"name": "something else"}')
    with pytest.raises(InputError) as error:
        folder.read_config()
    assert str(error.value).startswith(f"{folder.config_file}: ")


def test_a_process_that_is_not_there_has_no_start():
    assert process_start(os.getpid()) == process_start(os.getpid()) is not None
    assert process_start(2**22 + 1) is None


def test_times_are_utc_to_the_second():
    assert now().endswith("+00:00")
    assert len(now()) == len("2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"status": "done"}', '{"faults": [], "mood": "good"}', '{"faults": [], "status": "banana"}'],
)
def test_a_status_that_cannot_be_read_is_a_failure_of_that_trial(tmp_path, content):
    folder = TrialFolder(tmp_path)
    folder.status_file.write_text(content)
    status = folder.read_status()
    assert status.status == "failed"
    assert "status.json is not readable" in (status.reason or "")
