"""Running a study: what is missing runs, and nothing else, whatever happens in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

import sweeps.runner
from sqzx.cli import run
from sqzx.trial import TrialFolder
from sweeps.plan import plan_folder
from sweeps.view import PlainView


def counts(tiny) -> dict[str, int]:
    return {state: n for state, n in tiny.status()["counts"].items() if n}


def test_a_run_leaves_every_trial_done_with_readable_files(tiny):
    code, text = tiny.run()
    assert code == 0, text
    assert "2 done" in text
    assert "\x1b" not in text  # no control codes in a pipe
    for folder in tiny.trials().values():
        assert {p.name for p in folder.iterdir()} >= {
            "config.json", "status.json", "metrics.jsonl", "result.json",
            "predictions.npz", "checkpoint", "log.txt",
        }  # fmt: skip
        result = json.loads((folder / "result.json").read_text())
        for key in ("val_top1", "val_top5", "test_top1", "test_top5", "params", "macs", "bytes_fp32", "steps",
                    "train_seconds", "images_per_second", "compile_seconds"):  # fmt: skip
            assert isinstance(result[key], int | float), key
        status = json.loads((folder / "status.json").read_text())
        assert len(status["provenance"]["cores"]) == 1  # pinned
        assert "sweep run" in status["provenance"]["command"]


def test_a_second_run_does_nothing(tiny):
    tiny.run()
    before = {p: p.stat().st_mtime_ns for p in (tiny.out / "trials").rglob("*")}
    code, text = tiny.run()
    assert code == 0
    assert "started" not in text
    assert {p: p.stat().st_mtime_ns for p in (tiny.out / "trials").rglob("*")} == before


def test_an_added_value_runs_alone_and_a_removed_one_stays(tiny):
    tiny.run()
    tiny.write((0.5, 0.75))
    code, text = tiny.run()
    assert code == 0, text
    assert text.count("started") == 1
    assert counts(tiny) == {"done": 2, "removed": 1}
    assert len(tiny.trials()) == 3


def test_a_misspelt_key_stops_before_anything_happens(tiny):
    tiny.run()
    frozen = (tiny.out / "study.toml").read_text()
    tiny.file.write_text(tiny.file.read_text().replace("grid.model.squeeze_ratio", "grid.model.squeze_ratio"))
    code, text = tiny.run()
    assert code == 2
    assert "model.squeze_ratio: unknown key; did you mean model.squeeze_ratio?" in text
    assert (tiny.out / "study.toml").read_text() == frozen


def test_a_killed_runner_takes_its_workers_along_and_the_next_run_finishes_alike(tiny, tmp_path, compiled):
    whole = type(tiny)(tmp_path / "whole", compiled)
    for study in (tiny, whole):
        study.write(seeds=2, epochs=150)
    assert whole.run()[0] == 0
    process = tiny.start_run()
    tiny.wait_for_training(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    tiny.wait_for_no_process()
    assert counts(tiny).get("running") is None
    assert tiny.run()[0] == 0
    assert counts(tiny) == {"done": 4}
    assert tiny.trials().keys() == whole.trials().keys()
    for name, folder in tiny.trials().items():
        assert tiny.stable(folder) == tiny.stable(whole.trials()[name])


def test_a_killed_worker_fails_its_trial_alone_until_retried(tiny):
    tiny.write(epochs=150)
    process = tiny.start_run()
    os.kill(tiny.wait_for_training(process)[0], signal.SIGKILL)
    code, text = tiny.finished(process)
    assert code == 1
    assert "SIGKILL" in text
    assert "sqzx sweep retry" in text
    assert counts(tiny) == {"done": 1, "failed": 1}

    code, text = tiny.run()  # a failed trial runs again only when asked
    assert code == 1
    assert "started" not in text

    code, text = tiny.command("sweep", "retry", str(tiny.out))
    assert code == 0, text
    assert counts(tiny) == {"done": 2}
    assert sorted(tiny.attempts().values()) == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_stop_it_saves_and_the_next_run_goes_on(tiny, number):
    tiny.write(epochs=400)
    process = tiny.start_run()
    tiny.wait_for_training(process)
    os.kill(process.pid, number)
    code, text = tiny.finished(process)
    assert code == 130, text
    tiny.wait_for_no_process()
    assert "interrupted" in counts(tiny)
    saved = list(tiny.out.glob("trials/*/checkpoint/*/MANIFEST.json"))
    assert saved
    steps = int(saved[0].parent.name)

    tiny.write(epochs=400)
    code, text = tiny.run()
    assert code == 0, text
    lines = [json.loads(x) for x in (saved[0].parents[2] / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if x["kind"] == "train"] == list(range(1, 801))
    assert 0 < steps < 800


def test_asked_twice_it_stops_at_once(tiny):
    tiny.write(epochs=4000)
    process = tiny.start_run()
    tiny.wait_for_training(process)
    for _ in range(2):
        os.kill(process.pid, signal.SIGINT)
    code, _ = tiny.finished(process)
    assert code == 130
    tiny.wait_for_no_process(2)
    assert set(counts(tiny)) <= {"interrupted", "pending"}


def test_a_time_limit_ends_the_trial_that_passes_it(tiny):
    tiny.write(ratios=(0.25,), epochs=100_000)
    code, text = tiny.run("--time-limit", "6")
    assert code == 1
    assert "took longer than the time limit of 6 s" in text
    assert counts(tiny) == {"timed_out": 1}
    tiny.wait_for_no_process()


def test_a_trial_that_goes_non_finite_fails_without_an_accuracy(tiny):
    tiny.write(ratios=(0.25, 0.5), more="\n".join([
        '[[sweep]]', 'name = "wild"', 'set.train.recipe = "paper"', "set.train.learning_rate = 1e30",
        "set.model.squeeze_ratio = 0.5",
    ]))  # fmt: skip
    code, text = tiny.run()
    assert code == 1
    assert "not finite" in text
    assert counts(tiny) == {"done": 2, "failed": 1}
    failed = next(t["id"] for t in tiny.status()["trials"] if t["status"] == "failed")
    assert not (tiny.trials()[failed] / "result.json").exists()


def test_fail_fast_starts_nothing_after_the_first_failure(tiny):
    tiny.write(ratios=(0.25,), seeds=6, config='train.recipe = "paper"\ntrain.learning_rate = 1e30')
    code, _ = tiny.run("--workers", "1", "--fail-fast")
    assert code == 1
    assert counts(tiny) == {"failed": 1, "pending": 5}


def test_two_runners_share_a_folder_and_no_trial_runs_twice(tiny):
    tiny.write(seeds=3)
    runners = [tiny.start_run("--workers", "2") for _ in range(2)]
    for runner in runners:
        code, text = tiny.finished(runner)
        assert code == 0, text
    assert counts(tiny) == {"done": 6}
    assert set(tiny.attempts().values()) == {1}


def test_a_trial_left_running_under_another_host_s_name_is_taken_over(tiny):
    tiny.write(ratios=(0.25,))
    tiny.run()
    (folder,) = tiny.trials().values()
    status = json.loads((folder / "status.json").read_text()) | {
        "status": "running",
        "host": "gone-container",
    }
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "result.json").unlink()
    assert counts(tiny) == {"interrupted": 1}  # its claim is free
    code, text = tiny.run()
    assert code == 0, text
    assert counts(tiny) == {"done": 1}


def test_a_stopped_worker_loses_its_trial_and_writes_nothing_when_it_wakes_up(
    tiny, tmp_path, compiled, monkeypatch
):
    monkeypatch.setenv("SQZX_PATIENCE", "1")
    whole = type(tiny)(tmp_path / "whole", compiled)
    for study in (tiny, whole):
        study.write(ratios=(0.25,), epochs=150)
    assert whole.run()[0] == 0
    first = tiny.start_run()
    (stopped,) = tiny.wait_for_training(first)
    os.kill(stopped, signal.SIGSTOP)
    try:
        second = tiny.start_run()
        tiny.wait_for_training(second, but=stopped)
        (folder,) = tiny.trials().values()
        assert json.loads((folder / "status.json").read_text())["attempts"] == 2
        os.kill(stopped, signal.SIGCONT)
        for runner in (first, second):
            code, text = tiny.finished(runner)
            assert code == 0, text
    finally:
        with suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGKILL)
    status = json.loads((folder / "status.json").read_text())
    assert (status["status"], status["attempts"], status["faults"]) == ("done", 2, [])
    assert status["pid"] != stopped
    assert tiny.stable(folder) == tiny.stable(whole.trials()[folder.name])


def test_a_runner_whose_worker_never_wakes_up_ends_with_the_one_that_took_over(tiny, monkeypatch):
    monkeypatch.setenv("SQZX_PATIENCE", "1")
    tiny.write(ratios=(0.25,), epochs=150)
    first = tiny.start_run()
    (stopped,) = tiny.wait_for_training(first)
    os.kill(stopped, signal.SIGSTOP)
    for runner in (tiny.start_run(), first):
        code, text = tiny.finished(runner)
        assert code == 0, text
    tiny.wait_for_no_process()
    assert counts(tiny) == {"done": 1}


def test_what_died_before_this_host_s_last_start_is_waited_for_and_said_so(tiny, monkeypatch):
    monkeypatch.setenv("SQZX_PATIENCE", "1")
    tiny.write(ratios=(0.25,))
    tiny.run()
    (folder,) = tiny.trials().values()
    status = json.loads((folder / "status.json").read_text())
    before = {"status": "running", "place": "a" * 12, "ended_time": None}
    (folder / "status.json").write_text(json.dumps(status | before))
    (folder / ".writer" / "free").rename(folder / ".writer" / "0123456789abcdef.aaaaaaaaaaaa.1.1")
    (trial,) = tiny.status()["trials"]
    assert "began before this host's last start, or in another container of its name," in trial["reason"]
    code, text = tiny.run()
    assert code == 0, text
    assert (
        "waiting for 1 trials that other processes have claimed: those that are silent for 1 s are taken over"
    ) in text
    assert counts(tiny) == {"done": 1}


def test_a_dense_trial_is_made_again_where_its_network_is_missing_and_needed(tiny):
    tiny.write(ratios=(0.5,))
    tiny.run()
    (folder,) = tiny.trials().values()
    (folder / "model.safetensors").unlink()
    assert "started" not in tiny.run()[1]  # nothing needs it
    block = ["[[sweep]]", 'name = "svd"', "set.model.squeeze_ratio = 0.5", 'set.compress.recipe = "svd"']
    tiny.write(ratios=(0.5,), more="\n".join(block))
    code, text = tiny.run()
    assert code == 0, text
    assert counts(tiny) == {"done": 2}
    assert tiny.read_status(folder)["faults"] == ["was done, but its model.safetensors is missing"]


def test_the_files_of_finished_trials_are_checked_once_a_run(tiny, monkeypatch):
    """Not for each batch that a search adds."""
    tiny.run()
    plan, checks, ran = plan_folder(tiny.out), [], []
    batches = iter([plan, plan, None])
    read = TrialFolder.read_checked_status
    monkeypatch.setattr(
        TrialFolder, "read_checked_status", lambda folder, needed=(): checks.append(1) or read(folder, needed)
    )
    monkeypatch.setattr(sweeps.runner, "next_batch", lambda study, out: next(batches))
    monkeypatch.setattr(
        sweeps.runner, "_run", lambda plan, *_: ran.append(plan) or sweeps.runner.Outcome(plan, False)
    )
    sweeps.runner.run(plan.study, tiny.out, sweeps.runner.RunOptions(), PlainView())
    assert len(ran) == 2
    assert len(checks) == 2  # trials


def test_a_log_is_shown_without_listening_for_others(tiny, monkeypatch, capsys):
    tiny.run()
    trial = next(iter(tiny.trials()))
    monkeypatch.setattr("sweeps.elsewhere.as_seen", lambda *_: pytest.fail("listens"))
    assert run(["sweep", "status", str(tiny.out), "--log", trial]) == 0
    assert run(["sweep", "status", str(tiny.out), "--log", "nothing"]) == 2
    assert "is the id of 0 trials" in capsys.readouterr().err


def test_another_hosts_running_trial_is_told_by_its_beat_and_nothing_is_written(tiny, monkeypatch, capsys):
    tiny.write(ratios=(0.25,))
    tiny.run()
    (folder,) = tiny.trials().values()
    status = json.loads((folder / "status.json").read_text())
    there = status | {"status": "running", "host": "elsewhere", "pid": 1, "ended_time": None}
    (folder / "status.json").write_text(json.dumps(there))
    holder = folder / ".writer" / "0123456789abcdef.aaaaaaaaaaaa.1.1"
    (folder / ".writer" / "free").rename(holder)
    before = {path: path.stat().st_mtime_ns for path in tiny.out.rglob("*")}
    monkeypatch.setenv("SQZX_PATIENCE", "2")  # silence is told sooner
    capsys.readouterr()
    assert run(["sweep", "plan", str(tiny.file), "--out", str(tiny.out), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert run(["report", str(tiny.out), "--out", str(tiny.out.parent / "report.html")]) == 0
    assert "1 unknown" in (tiny.out.parent / "report.html").read_text()
    for (trial,) in (planned["trials"], tiny.status()["trials"]):
        assert trial["status"] == "unknown"
        assert "elsewhere" in trial["reason"]
    assert planned["totals"]["counts"]["unknown"] == 1
    monkeypatch.delenv("SQZX_PATIENCE")
    assert {path: path.stat().st_mtime_ns for path in tiny.out.rglob("*")} == before

    beating = threading.Event()

    def beat():
        count = 100
        while not beating.wait(0.2):
            count += 1
            (holder / "beat").write_text(f"{count}")

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        assert counts(tiny) == {"running": 1}
    finally:
        beating.set()
        thread.join()


def test_a_worker_stopped_from_outside_leaves_the_run_unfinished(tiny):
    tiny.write(ratios=(0.25,), epochs=2000)
    process = tiny.start_run()
    os.kill(tiny.wait_for_training(process)[0], signal.SIGTERM)
    code, _ = tiny.finished(process)
    assert code == 1
    assert counts(tiny) == {"interrupted": 1}


CLOSED_TERMINAL = """
import os, re, sys
pid, terminal = os.forkpty()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-m", "sqzx", *sys.argv[1:]])
shown = b""
while not re.search(rb"[1-9][0-9]*/4000", shown):  # the view leaves out most epochs
    try:
        shown += os.read(terminal, 65536)
    except OSError:
        sys.exit(f"ended before it was asked to: {shown.decode()}")
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_closed_terminal_is_a_request_to_stop(tiny):
    tiny.write(ratios=(0.25,), epochs=4000)
    command = [sys.executable, "-c", CLOSED_TERMINAL, "sweep", "run", str(tiny.file), "--out", str(tiny.out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 130, done.stderr
    tiny.wait_for_no_process()
    assert counts(tiny) == {"interrupted": 1}
    assert list(tiny.out.glob("trials/*/checkpoint/*/MANIFEST.json"))


def test_an_edited_config_json_is_no_longer_that_trial(tiny):
    tiny.write(ratios=(0.25,))
    tiny.run()
    (folder,) = tiny.trials().values()
    config = json.loads((folder / "config.json").read_text())
    config["train"]["epochs"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "status.json").unlink()
    code, text = tiny.run()
    assert code == 1
    assert "is not the configuration of" in text


def test_a_full_disk_fails_the_trial_and_not_the_runner(tiny, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        tiny.write()
        code, text = tiny.command("sweep", "run", str(tiny.file), "--out", str(disk / "out"))
        assert code == 1
        assert "no space left on" in text.lower()
        assert "Traceback" not in text
        assert all(path.stat().st_size for path in disk.rglob("*.json"))
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        code, text = tiny.command("sweep", "retry", str(disk / "out"))
        assert code == 0, text
        assert "2 done" in text
    finally:
        subprocess.run(["umount", disk], check=True)


def test_workers_limits_how_many_run_at_once(tiny):
    tiny.write(seeds=2)
    _, text = tiny.run("--workers", "1")
    events = [line.split()[0] for line in text.splitlines() if line.startswith(("started", "done"))]
    assert events == ["started", "done"] * 4


def test_a_study_edited_while_it_runs_changes_nothing_until_the_next_run(tiny):
    tiny.write(epochs=150)
    process = tiny.start_run()
    tiny.wait_for_training(process)
    tiny.write((0.75,), epochs=150)
    assert tiny.finished(process)[0] == 0
    assert counts(tiny) == {"done": 2}
    assert tiny.run()[0] == 0
    assert counts(tiny) == {"done": 1, "removed": 2}


def test_the_plan_foretells_the_memory_of_a_trial(tiny):
    tiny.write((0.25,))
    tiny.run()
    code, text = tiny.command("sweep", "plan", str(tiny.file), "--out", str(tiny.out), "--json")
    assert code == 0
    (trial,) = json.loads(text)["trials"]
    result = json.loads((tiny.trials()[trial["id"]] / "result.json").read_text())
    assert trial["est_memory_mb"] == pytest.approx(result["peak_memory_mb"], rel=0.3)


def test_finished_trials_price_the_others(tiny):
    tiny.run()
    tiny.write((0.25, 0.5, 0.75), seeds=2)
    code, text = tiny.command("sweep", "plan", str(tiny.file), "--out", str(tiny.out), "--json")
    assert code == 0
    plan = json.loads(text)
    assert all(t["est_seconds"] > 0 for t in plan["trials"])
    pending = [t["est_seconds"] for t in plan["trials"] if t["status"] == "pending"]
    assert len(pending) == 4
    assert plan["totals"]["est_seconds_left"] == pytest.approx(sum(pending) / plan["totals"]["workers"])


def test_calibrated_steps_price_a_study_and_bound_what_runs(tiny):
    shutil.rmtree(tiny.out)
    options = ("--out", str(tiny.out), "--workers", "1", "--json")
    csv = tiny.out.parent / "plan.csv"
    code, text = tiny.command("sweep", "plan", str(tiny.file), "--calibrate", "--csv", str(csv), *options)
    assert code == 0, text
    plan = json.loads(text)
    seconds = [trial["est_seconds"] for trial in plan["trials"]]
    assert all(s > 0 for s in seconds)
    assert plan["totals"]["est_seconds_left"] == pytest.approx(sum(seconds))
    assert len(csv.read_text().splitlines()) == 3
    assert not (tiny.out / "trials").exists()
    # Kept in the folder: a run leaves out what is expected to take too long, and says so.
    tiny.write(more=f"[constraints]\nest_seconds = {{ max = {min(seconds) / 2} }}")
    code, text = tiny.run()
    assert code == 0, text
    assert "skipped 2 points by constraints.est_seconds.max" in text
    assert not (tiny.out / "trials").exists()


def test_calibration_writes_nothing_into_a_folder_that_is_no_study(tiny):
    (tiny.out.parent / "mine").mkdir()
    (tiny.out.parent / "mine" / "thesis.tex").write_text("...")
    arguments = ("--calibrate", "--out", str(tiny.out.parent / "mine"))
    code, text = tiny.command("sweep", "plan", str(tiny.file), *arguments)
    assert code == 2
    assert "no study.toml in it" in text


class TestMistakes:
    def test_a_folder_of_another_study_is_left_alone(self, tiny):
        tiny.run()
        tiny.file.write_text(tiny.file.read_text().replace('name = "tiny"', 'name = "other"'))
        code, text = tiny.run()
        assert code == 2
        assert "holds the study 'tiny', not 'other'; choose another --out" in text

    def test_a_folder_that_is_no_study_is_left_alone(self, tiny, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").write_text("...")
        code, text = tiny.command("sweep", "run", str(tiny.file), "--out", str(tmp_path / "mine"))
        assert code == 2
        assert "no study.toml in it" in text
        assert os.listdir(tmp_path / "mine") == ["thesis.tex"]

    def test_missing_data_is_one_line_with_the_command(self, tiny, monkeypatch, tmp_path):
        monkeypatch.setenv("SQZX_DATA", str(tmp_path / "nothing"))
        tiny.file.write_text(tiny.file.read_text().replace('"digits"', '"fashion_mnist"'))
        code, text = tiny.run()
        assert code == 2
        assert "sqzx data prepare fashion_mnist" in text
        assert len(text.strip().splitlines()) == 1
        assert "fashion_mnist" not in (tiny.out / "study.toml").read_text()

    @pytest.mark.parametrize("command", [["sweep", "status"], ["sweep", "retry"], ["report"], ["table"]])
    def test_commands_of_a_folder_want_a_study(self, tiny, tmp_path, command):
        code, text = tiny.command(*command, str(tmp_path / "no"))
        assert code == 2
        assert "no such folder" in text
        assert len(text.strip().splitlines()) == 1

    def test_more_examples_than_there_are_stop_before_anything_starts(self, tiny):
        tiny.file.write_text(tiny.file.read_text().replace("train_examples = 100", "train_examples = 99_999"))
        code, text = tiny.run()
        assert code == 2
        assert "1,293" in text or "1293" in text
        assert not (tiny.out / "trials").exists()

    def test_a_file_is_no_folder(self, tiny, tmp_path):
        (tmp_path / "file").write_text("")
        code, text = tiny.command("sweep", "run", str(tiny.file), "--out", str(tmp_path / "file"))
        assert code == 2
        assert len(text.strip().splitlines()) == 1

    @pytest.mark.parametrize("options", [("--workers", "0"), ("--time-limit", "0"), ("--time-limit", "-1")])
    def test_impossible_options(self, tiny, options):
        code, text = tiny.run(*options)
        assert code == 2
        assert options[0] in text
