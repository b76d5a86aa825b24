"""A study on real Ray clusters, as a user runs it: nodes die, a person stops it, Ray is not there."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

CLUSTER = """
import sys
from ray.cluster_utils import Cluster

node = dict(num_cpus=1, node_ip_address="127.0.0.1", include_dashboard=False, object_store_memory=80 << 20)
cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0})
nodes = [cluster.add_node(**node) for _ in range(2)]
print(cluster.address, flush=True)
for line in sys.stdin:  # the process of a raylet that must die
    (node,) = [n for n in nodes if n.all_processes["raylet"][0].process.pid == int(line)]
    cluster.remove_node(node, allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()
"""
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture
def short():
    """A folder with a short name: Ray's sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="sqzx-t-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(short, monkeypatch):
    """A head without cores and two nodes of one core each, on loopback; its process takes orders."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    (short / "ray").mkdir()  # Ray notes its newest cluster there, and makes the folder too late
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    monkeypatch.setenv("RAY_ADDRESS", address)
    yield process
    process.communicate()
    assert address.startswith("127.0.0.1:")
    assert processes_with(str(short)) == []


def processes_with(text):
    """Return the command lines of living processes that hold a text."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, UnicodeDecodeError):
            continue
        if text in command and state != "Z":
            found.append(command)
    return found


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_node_loses_no_trial_and_repeats_none(cluster, tiny, tmp_path, compiled):
    whole = type(tiny)(tmp_path / "whole", compiled)
    for study in (tiny, whole):
        study.write((0.25, 0.5), epochs=150)
    assert whole.run("--workers", "1")[0] == 0
    run = tiny.start_run("--executor", "ray")
    pid = tiny.wait_for_training(run)[0]
    cluster.stdin.write(f"{parent(parent(pid))}\n")  # the raylet of its node
    cluster.stdin.flush()
    assert "removed\n" in cluster.stdout
    code, text = tiny.finished(run)
    assert code == 0, text
    assert "\x1b" not in text
    assert text.count("its node was lost (") == 1
    assert text.count("\nstarted ") == 3, text
    assert sorted(tiny.attempts().values()) == [1, 2]
    assert tiny.trials().keys() == whole.trials().keys()
    for name, folder in tiny.trials().items():
        assert tiny.stable(folder) == tiny.stable(whole.trials()[name])
    tiny.wait_for_no_process()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_stopped_it_leaves_saved_trials_and_no_process(tiny, short, monkeypatch, number):
    monkeypatch.setenv("TMPDIR", str(short))
    tiny.write((0.25,), epochs=100_000)
    run = tiny.start_run("--executor", "ray", "--workers", "1")
    tiny.wait_for_training(run)
    assert processes_with(str(short))
    if number == signal.SIGKILL:
        os.kill(run.pid, number)
        run.communicate()
    else:
        os.killpg(run.pid, number)  # as a terminal does: all processes of its group
        code, text = tiny.finished(run)
        assert code == 130, text
        assert tiny.status()["counts"]["interrupted"] == 1
        assert list(tiny.out.glob("trials/*/checkpoint/*/MANIFEST.json"))
    deadline = time.monotonic() + 10
    while processes_with(str(short)) or tiny.processes():
        assert time.monotonic() < deadline, (processes_with(str(short)), tiny.processes())
        time.sleep(0.1)


class TestMistakes:
    def one_line(self, tiny, *options):
        code, text = tiny.run("--executor", "ray", *options)
        assert code == 2
        assert len(text.strip().splitlines()) == 1, text
        return text

    def test_ray_is_not_installed(self, tiny, tmp_path, monkeypatch):
        (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('no ray')")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
        assert "--executor ray: Ray is not installed; pip install 'ray>=2.60'" in self.one_line(tiny)

    @pytest.mark.parametrize(
        ("address", "told"),
        [
            ("ray://127.0.0.1:10001", "needs the cluster's own address"),
            ("127.0.0.1:9", "no cluster to work with"),
            ("nonsense", "no cluster to work with"),
        ],
    )
    def test_no_cluster_is_there(self, tiny, monkeypatch, address, told):
        monkeypatch.setenv("RAY_ADDRESS", address)
        text = self.one_line(tiny)
        assert f"RAY_ADDRESS={address}: " in text
        assert told in text

    def test_no_node_has_so_many_cores(self, tiny):
        text = self.one_line(tiny, "--cores-per-worker", "4097")
        assert "no node of the cluster has the 4097 cores of a worker" in text
