"""A trial that is killed before any one of its changes to the folder goes on to the bits of an uncut one.

A process forks once for each change: the child trains the trial anew, counts the changes that it is about to
make to its folder, and sends itself SIGKILL before the n-th. Renames count, and what else is made or removed;
in the claim's own `halves/` renames alone, since what lies there is nothing to anybody until it is renamed.
JAX is imported once, and started in each child.
"""

import json
import shutil
import subprocess
import sys

import pytest

from sqzx.attempt import attempt
from sqzx.trial import TrialFolder

KILLED = """
import json, os, signal, sys, time
from pathlib import Path
from sqzx import training
from sqzx.attempt import attempt
from sqzx.config import from_settings
from sqzx.trial import TrialFolder

config, root = from_settings(json.loads(sys.argv[1])), sys.argv[2]
training.train_stack.__kwdefaults__["checkpoint_seconds"] = 0.0  # a checkpoint after each step

def kill_before(change, folder):
    left = change
    def watch(event, arguments):
        nonlocal left
        if not arguments or not str(arguments[0]).startswith(folder):
            return
        path = str(arguments[0])
        if event == "open":
            changes = arguments[2] & (os.O_WRONLY | os.O_RDWR) and not path.endswith("beat")  # by the clock
        else:
            changes = event in ("os.mkdir", "os.remove", "os.rmdir")
        if event == "os.rename" or (changes and "/halves/" not in path):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

for change in range(1, 1000):
    folder = os.path.join(root, str(change))
    child = os.fork()
    if child == 0:
        kill_before(change, folder)
        status = attempt(config, TrialFolder(Path(folder)), started=time.monotonic(), say=lambda line: None)
        os._exit(0 if status.status == "done" else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != -signal.SIGKILL:
        print(json.dumps([change, code]))
        break
"""


def go_on(config, folder):
    return attempt(config, folder, started=0, say=lambda line: None)


def test_killed_before_any_change_it_goes_on_to_the_bits_of_an_uncut_one(tiny, outcome, tmp_path):
    config = tiny(train_epochs=1, train_batch_size=50)  # 2 steps
    command = [sys.executable, "-c", KILLED, json.dumps(config.settings()), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    changes, code = json.loads(done.stdout)
    assert code == 0, TrialFolder(tmp_path / str(changes)).log_tail()
    assert changes > 20, "so many changes a trial makes at least"
    whole = outcome(TrialFolder(tmp_path / str(changes)))
    states = set()
    for change in range(1, changes):
        folder = TrialFolder(tmp_path / str(change))
        states.add(folder.read_status().status)
        status = go_on(config, folder)
        assert (status.status, status.faults) == ("done", ()), change
        assert outcome(folder) == whole, change
        assert not list(folder.path.rglob("*.half")), change
        shutil.rmtree(folder.path)
    assert states == {"pending", "interrupted", "done"}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A trial that is done. Not to be written into."""
    folder = TrialFolder(tmp_path_factory.mktemp("finished") / "trial")
    assert go_on(tiny(), folder).status == "done"
    return folder


@pytest.mark.parametrize("name", ["result.json", "predictions.npz", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "changed", "empty"])
def test_a_file_of_a_finished_trial_that_is_lost_or_damaged_is_made_again(
    finished, tiny, outcome, tmp_path, name, damage
):
    folder = TrialFolder(shutil.copytree(finished.path, tmp_path / "trial"))
    file, why = folder.path / name, f"was done, but its {name} has changed"
    if damage == "missing":
        file.unlink()
        why = f"was done, but its {name} is missing"
        assert folder.read_status().status == "interrupted"
    elif damage == "changed":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.write_bytes(b"")
    found = folder.read_checked_status()
    assert (found.status, found.reason) == ("interrupted", why)
    status = go_on(tiny(), folder)
    assert (status.status, status.attempts, status.faults) == ("done", 2, (why,))
    assert outcome(folder) == outcome(finished)
    assert folder.read_checked_status().status == "done"


@pytest.mark.parametrize("damage", ["missing", "a line too few", "odd bytes"])
def test_metrics_that_do_not_reach_the_checkpoint_are_made_again(finished, tiny, outcome, tmp_path, damage):
    folder = TrialFolder(shutil.copytree(finished.path, tmp_path / "trial"))
    folder.result_file.unlink()
    lines = folder.metrics_file.read_bytes().splitlines(keepends=True)
    if damage == "missing":
        folder.metrics_file.unlink()
    else:
        folder.metrics_file.write_bytes(
            b"".join(lines[:3] + [b"\0\0\n"] * (damage == "odd bytes") + lines[4:])
        )
    status = go_on(tiny(), folder)
    assert status.status == "done"
    assert "metrics.jsonl lacks steps before the checkpoint of step 10: it began again" in status.faults
    assert outcome(folder) == outcome(finished)


def test_a_late_writer_of_metrics_is_not_heard(tmp_path):
    """One that opened the log before another took over goes on into a file that has no name."""
    from sqzx.metrics import MetricsLog

    folder = TrialFolder(tmp_path)
    with MetricsLog(folder, 0) as late:
        late.train([(1, 0, 2.5, 0.1)])
        with MetricsLog(folder, 1) as ours:
            late.train([(2, 0, 2.4, 0.1)])
            ours.train([(2, 0, 2.3, 0.1)])
            late.train([(3, 0, 2.2, 0.1)])
    assert [(line["step"], line["loss"]) for line in folder.read_metrics()] == [(1, 2.5), (2, 2.3)]
