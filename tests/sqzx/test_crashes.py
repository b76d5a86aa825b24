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

from sqzx import checkpoints
from sqzx.attempt import attempt
from sqzx.claims import claim
from sqzx.trial import FINAL_FILES, TrialFolder

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
    elif damage == "changed":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.write_bytes(b"")
    if name == "result.json" and damage != "changed":
        found = folder.read_status()  # any view sees it
        why = why.replace("has changed", "is not readable")
    else:
        found = folder.read_checked_status(FINAL_FILES)
    assert (found.status, found.reason) == ("interrupted", why)
    status = go_on(tiny(), folder)
    assert (status.status, status.attempts, status.faults) == ("done", 2, (why,))
    assert outcome(folder) == outcome(finished)
    assert folder.read_checked_status(FINAL_FILES).status == "done"


@pytest.mark.parametrize(
    ("name", "needed"), [("predictions.npz", ()), ("model.safetensors", ()), ("model.safetensors", "needed")]
)
def test_a_large_file_that_was_removed_is_made_again_where_something_needs_it(
    finished, tiny, outcome, tmp_path, name, needed
):
    """As by a copy without large files: what is finished stays so, and `sqzx train` on it makes the file."""
    folder = TrialFolder(shutil.copytree(finished.path, tmp_path / "trial"))
    (folder.path / name).unlink()
    assert folder.read_status() == folder.read_checked_status() == finished.read_status()
    why = f"was done, but its {name} is missing"
    found = folder.read_checked_status((name,) if needed else ("compressed.sqz",))
    assert (found.status, found.faults) == (("interrupted", (why,)) if needed else ("done", ()))
    assert go_on(tiny(), folder).faults == (why,)
    assert outcome(folder) == outcome(finished)


METRICS_DAMAGE = {
    "missing": (lambda lines: [], 0),
    "a line too few": (lambda lines: lines[:3] + lines[4:], 0),
    "odd bytes": (lambda lines: [*lines[:3], b"\0\0\n", *lines[4:]], 0),
    "a cut end": (lambda lines: [*lines[:8], lines[8][:7]], 5),
    "odd bytes at the end": (lambda lines: [*lines[:8], b"\xff\xfe\n", *lines[9:]], 5),
    "no scores of the last epoch": (lambda lines: lines[:-1], 5),
    "no scores of the first epoch": (lambda lines: lines[:5] + lines[6:], 0),
}


@pytest.mark.parametrize("damage", METRICS_DAMAGE)
def test_checkpoints_that_the_metrics_do_not_reach_are_removed_and_the_one_before_serves(
    saved_twice, tiny, outcome, tmp_path, damage
):
    harm, step = METRICS_DAMAGE[damage]
    folder = TrialFolder(shutil.copytree(saved_twice.path, tmp_path / "trial"))
    folder.result_file.unlink()
    lines = folder.metrics_file.read_bytes().splitlines(keepends=True)
    folder.metrics_file.write_bytes(b"".join(harm(lines)))
    status = go_on(tiny(), folder)
    assert status.status == "done"
    assert [fault for fault in status.faults if "metrics" in fault] == [
        f"metrics.jsonl lacks lines before the checkpoint of step {lost}, which was removed"
        for lost in (10, 5)
        if lost > step
    ]
    assert outcome(folder) == outcome(saved_twice)


@pytest.fixture(scope="module")
def saved_twice(tiny, tmp_path_factory):
    """A trial that is done, with the checkpoints of both its epochs. Not to be written into."""
    folder = TrialFolder(tmp_path_factory.mktemp("saved") / "trial")
    with claim(folder) as held:
        held.folder.write_pause(1)
    assert go_on(tiny(), folder).status == "censored"
    folder.write_pause(None)
    assert go_on(tiny(), folder).status == "done"
    assert checkpoints.steps(folder.checkpoints) == [10, 5]
    return folder


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
