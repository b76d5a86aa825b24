"""However a trial ends, it has a status with a reason, its log is one command away, and the others go on."""

import json
import os

import pytest

from sqzx.trial import TrialFolder
from sweeps.minding import Pulse

DAMAGE = '''
"""Ends the worker of the trial named in DOOMED soon after its start, in the way of DOOM."""
import os, sys
if "sweeps.worker" in sys.orig_argv and any(os.environ["DOOMED"] in word for word in sys.orig_argv):
    print("the last words before the end \\x1b[31m", flush=True)
    if os.environ["DOOM"] == "memory":
        import resource
        # Address space: 100 MB of it glibc keeps for the thread that beats, of which 0.1 MB are ever used.
        resource.setrlimit(resource.RLIMIT_AS, (480 << 20, 480 << 20))
    else:
        import threading
        way = {"abort": os.abort, "exit": lambda: os._exit(3)}[os.environ["DOOM"]]
        threading.Timer(0.2, way).start()
'''


@pytest.mark.parametrize(
    ("doom", "told"), [("abort", "ended by SIGABRT"), ("exit", "ended with exit code 3"), ("memory", "")]
)
def test_the_end_of_one_trial_is_its_own(tiny, tmp_path, monkeypatch, doom, told):
    plan = json.loads(tiny.command("sweep", "plan", str(tiny.file), "--json")[1])
    doomed, other = (trial["id"] for trial in plan["trials"])
    (tmp_path / "sitecustomize.py").write_text(DAMAGE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("DOOMED", doomed)
    monkeypatch.setenv("DOOM", doom)
    code, text = tiny.run()
    assert code == 1, text
    found = {trial["id"]: trial for trial in tiny.status()["trials"]}
    assert found[other]["status"] == "done"
    assert found[doomed]["status"] == "failed"
    assert told in found[doomed]["reason"]
    assert found[doomed]["reason"]

    code, text = tiny.command("sweep", "status", str(tiny.out))
    assert f"sqzx sweep status {tiny.out} --log {doomed}" in text
    code, text = tiny.command("sweep", "status", str(tiny.out), "--log", doomed)
    assert code == 0
    assert found[doomed]["reason"] in text
    assert "the last words before the end" in text
    assert "\x1b" not in text
    told = json.loads(tiny.command("sweep", "status", str(tiny.out), "--log", doomed[:6], "--json")[1])
    assert (told["id"], told["status"]) == (doomed, "failed")
    assert any("the last words" in line for line in told["log"])


def test_a_trial_that_shows_no_life_is_ended(tiny):
    tiny.write(ratios=(0.25,))
    code, text = tiny.run("--stall-limit", "0.2")
    assert code == 1
    assert "stalled: no new line of metrics for 0.2 s" in text
    assert tiny.status()["counts"]["timed_out"] == 1
    tiny.wait_for_no_process()


def test_any_new_line_of_metrics_is_life(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("sweeps.minding.time.monotonic", lambda: clock[0])
    folders = [TrialFolder(tmp_path / "a"), TrialFolder(tmp_path / "b")]
    pulse = Pulse(folders)
    clock[0] = 10.0
    assert pulse.silent_seconds() == 10
    folders[1].path.mkdir()
    folders[1].metrics_file.write_text("{}\n")
    assert pulse.silent_seconds() == 0
    clock[0] = 13.0
    assert pulse.silent_seconds() == 3


@pytest.mark.parametrize(
    "options",
    [
        ("--stall-limit", "0"), ("--cores-per-worker", "0"), ("--gpus-per-worker", "1.5"),
        ("--gpus-per-worker", "-1"), ("--cores-per-worker", "4097"), ("--executor", "cloud"),
    ],
)  # fmt: skip
def test_impossible_options(tiny, options):
    code, text = tiny.run(*options)
    assert code == 2
    assert options[0] in text
    assert len(text.strip().splitlines()) == 1


def test_the_log_of_no_trial(tiny):
    code, text = tiny.command("sweep", "status", str(tiny.out), "--log", "t")
    assert code == 2
    assert "--log t: is the id of 2 trials" in text
