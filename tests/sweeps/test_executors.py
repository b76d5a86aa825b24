"""One contract for all executors: what a stack's process does, wherever it runs, means the same."""

import json
import os
import signal
import time
from collections import Counter
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from sqzx.claims import ClaimedElsewhere, claim
from sqzx.processes import process_start
from sqzx.trial import Status
from sweeps.executors import Resources, open_executor
from sweeps.local import prepared_folders
from sweeps.plan import plan_study
from sweeps.study import read_study

WAIT_SECONDS = 120


def finish(executor, handle):
    """Wait for the end of a stack, and return what became of its trials."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not handle.ended:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert executor.free > 0
    return [status for _, status in handle.outcomes()]


def wait_for_status(handle):
    """Wait until the process says that it runs, and return what it says."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        assert not handle.ended, handle.folders[0].log_tail()
        assert time.monotonic() < deadline
        if handle.folders[0].status_file.exists():
            status = json.loads(handle.folders[0].status_file.read_text())
            if status["status"] == "running":
                return status
        time.sleep(0.02)


def wait_for_metrics(handle):
    deadline = time.monotonic() + WAIT_SECONDS
    while not handle.folders[0].read_metrics():
        assert not handle.ended, handle.folders[0].log_tail()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_death(pid):
    deadline = time.monotonic() + 10
    while process_start(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Contract:
    """Both executors fulfil it."""

    name = ""

    @pytest.fixture
    def opened(self, tiny, monkeypatch, tmp_path):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # cores that other tests use are free here

        def opened(**resources):
            return closing(open_executor(self.name, tiny.out, Resources(**resources)))

        tiny.out.mkdir(exist_ok=True)
        return opened

    @pytest.fixture
    def trials(self, tiny):
        """Two seeds that would train for long."""
        return plan_study(read_study(tiny.write((0.25,), seeds=2, epochs=100_000).file)).trials

    def test_stopped_and_started_again_a_trial_ends_as_uncut_on_this_machine(self, tiny, opened, uncut):
        (trial,) = plan_study(read_study(tiny.write((0.25,), epochs=150).file)).trials
        with opened(workers=1) as executor:
            handle = executor.start((trial,))
            assert executor.free == 0
            wait_for_metrics(handle)
            handle.ask_to_stop()
            (status,) = finish(executor, handle)
            assert (status.status, handle.again([trial])) == ("interrupted", [])
            assert list(handle.folders[0].path.glob("checkpoint/*/MANIFEST.json"))
            handle = executor.start((trial,))
            (status,) = finish(executor, handle)
            assert (status.status, status.attempts, status.faults) == ("done", 2, ())
            assert handle.seconds > 0
        assert tiny.stable(handle.folders[0].path) == uncut

    def test_a_worker_has_the_cores_asked_for(self, opened, trials):
        if len(os.sched_getaffinity(0)) < 2:
            pytest.skip("needs two cores")
        with opened(cores=2, workers=1) as executor:
            handle = executor.start(trials[:1])
            assert len(wait_for_status(handle)["provenance"]["cores"]) == 2
            handle.kill(Status(status="timed_out", reason="enough"))
            (status,) = finish(executor, handle)
        assert (status.status, status.reason) == ("timed_out", "enough")
        assert handle.folders[0].read_status() == status
        assert handle.again([]) == []

    def test_a_stack_that_a_signal_ends_is_tried_one_by_one(self, opened, trials):
        with opened(workers=1) as executor:
            handle = executor.start(trials)
            os.kill(wait_for_status(handle)["pid"], signal.SIGABRT)
            statuses = finish(executor, handle)
        reason = "its stack of 2 ended: its process was ended by SIGABRT"
        assert {(s.status, s.reason) for s in statuses} == {("interrupted", reason)}
        assert handle.again(trials) == [(trials[0],), (trials[1],)]

    def test_a_trial_that_another_process_has_is_left_to_it(self, opened, trials):
        with opened(workers=1) as executor:
            handle = executor.start(trials[:1])
            handle.kill(Status(status="interrupted"))
            finish(executor, handle)
            with claim(handle.folders[0]):
                handle = executor.start(trials[:1])
                assert finish(executor, handle) == [None]

    def test_closing_leaves_no_process(self, opened, trials):
        with opened(workers=1) as executor:
            pid = wait_for_status(executor.start(trials[:1]))["pid"]
        wait_for_death(pid)

    def test_more_workers_than_there_is_room_for_is_said(self, opened):
        with opened(workers=1000) as executor:
            assert any("1000 workers at once" in note for note in executor.notes())


class TestLocal(Contract):
    name = "local"

    def test_a_core_that_another_runner_uses_is_shared_last_and_said(self, opened, trials, monkeypatch):
        monkeypatch.setattr("sweeps.local.available_cores", lambda: [0])
        with opened() as executor, opened() as other:
            first, second = executor.start(trials[:1]), other.start(trials[1:])
            assert (first.loan.shared, second.loan.shared) == ((), (0,))
            assert executor.notes() == []
            assert other.notes() == ["core 0: another worker uses it, too; both will be slower"]

    @pytest.mark.parametrize(("share", "fraction"), [(0.5, "0.45"), (1, None), (0, None)])
    def test_each_worker_sees_its_own_device(self, opened, trials, monkeypatch, share, fraction):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,7")
        with opened(gpus=share, workers=2) as executor:
            handles = [executor.start((trial,)) for trial in trials]
            seen = [wait_for_status(handle)["provenance"]["devices"] for handle in handles]
        visible = ["", ""] if share == 0 else ["3", "7"]
        assert [devices["CUDA_VISIBLE_DEVICES"] for devices in seen] == visible
        assert {devices.get("XLA_PYTHON_CLIENT_MEM_FRACTION") for devices in seen} == {fraction}
        assert all(devices.get("JAX_PLATFORMS") == "cpu" for devices in seen) == (share == 0)


def test_a_disk_too_full_for_a_claim_fails_a_ray_task_s_trials_with_that_reason(tiny, monkeypatch):
    """Where the node doesn't see the folder, the runner claims it; what the node sends is kept no more."""
    from sweeps import ray_executor

    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ray_executor, "claim", full)
    monkeypatch.setattr("sweeps.endings.claim", full)
    (trial,) = plan_study(read_study(tiny.write((0.25,)).file)).trials
    folders, orders = prepared_folders((trial,), tiny.out), []
    task = ray_executor.Task(
        (trial,),
        folders,
        (folders[0].read_status(),),
        0,
        ray=None,
        stream=None,
        order=orders.append,
        losses=Counter(),
        notes=[],
    )
    task._take({"host": "far", "pid": 7, "sees": False, "note": ""})
    assert orders == ["kill"]
    task._take({"files": b"no tar", "code": -9})
    ((_, status),) = task.outcomes()
    assert status is not None
    assert status.status == "failed"
    assert status.reason == "its folder could not be claimed: No space left on device"
    assert not folders[0].status_file.exists()


@pytest.fixture(scope="module")
def cluster():
    """One cluster of this machine for all tests, to which each executor connects."""
    from sweeps.ray_cluster import connected

    with ExitStack() as exits:
        yield connected(exits, Resources())


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.usefixtures("cluster")
class TestRay(Contract):
    name = "ray"

    def test_where_the_study_s_folder_is_not_seen_it_travels_there_and_back(self, tiny, opened, uncut):
        (trial,) = plan_study(read_study(tiny.write((0.25,), epochs=150).file)).trials
        with opened(workers=1) as executor:
            (marker,) = tiny.out.glob(".seen-by-*")
            marker.write_text("another folder of that name")
            handle = executor.start((trial,))
            assert wait_for_status(handle)["attempts"] == 1  # it comes while the trial runs
            with pytest.raises(ClaimedElsewhere), claim(handle.folders[0]):
                pass
            handle.ask_to_stop()
            (status,) = finish(executor, handle)
            assert status.status == "interrupted"
            assert list(handle.folders[0].path.glob("checkpoint/*/MANIFEST.json"))
            handle = executor.start((trial,))
            (status,) = finish(executor, handle)
            assert (status.status, status.attempts, status.faults) == ("done", 2, ())
        assert tiny.stable(handle.folders[0].path) == uncut
        assert not list(tiny.out.glob(".seen-by-*"))

    def test_a_lost_task_s_trials_run_again_once(self, opened, trials):
        with opened(workers=1) as executor:
            for loss in (1, 2):
                handle = executor.start(trials)
                os.kill(process_parent(wait_for_status(handle)["pid"]), signal.SIGKILL)
                (status, _) = finish(executor, handle)
                if loss == 1:
                    assert status.status == "interrupted"
                    assert status.reason.startswith("its node was lost (")
                    assert handle.again(trials) == [trials]
        assert (status.status, status.reason) == ("failed", "its node was lost, 2 times")
        assert handle.again([]) == []


def process_parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
