"""Cores are lent to one worker each, across runners, and shared only where there are none left."""

import os
import subprocess
import sys

import pytest

from sweeps.cores import Cores, Loan

HOLD = """
import sys, time
from pathlib import Path
from sweeps.cores import Cores
print(Cores([3, 5], Path(sys.argv[1])).lend(1).cores, flush=True)
time.sleep(60)
"""


def test_each_worker_gets_cores_of_its_own(tmp_path):
    cores = Cores([3, 5, 8, 9], tmp_path)
    assert [cores.lend(2), cores.lend(1), cores.lend(1)] == [Loan((3, 5)), Loan((8,)), Loan((9,))]


def test_runners_on_one_machine_use_different_cores(tmp_path):
    first, second = Cores([3, 5], tmp_path), Cores([3, 5], tmp_path)
    assert first.lend(1) == Loan((3,))
    assert second.lend(1) == Loan((5,))


def test_a_core_given_back_is_lent_again_to_anybody(tmp_path):
    first, second = Cores([3, 5], tmp_path), Cores([3, 5], tmp_path)
    first.take_back(first.lend(1))
    assert second.lend(2) == Loan((3, 5))


def test_a_killed_runner_keeps_no_core(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "(3,)\n"
    assert Cores([3, 5], tmp_path).lend(1) == Loan((5,))
    process.kill()
    process.communicate()
    assert Cores([3, 5], tmp_path).lend(1) == Loan((3,))


def test_more_workers_than_cores_share_those_that_fewest_use(tmp_path):
    cores = Cores([3, 5], tmp_path)
    loans = [cores.lend(1) for _ in range(5)]
    assert [loan.cores for loan in loans] == [(3,), (5,), (3,), (5,), (3,)]
    assert [bool(loan.shared) for loan in loans] == [False, False, True, True, True]
    assert cores.lend(2) == Loan((3, 5), shared=(3, 5))


def test_a_core_stays_taken_while_one_of_its_sharers_works(tmp_path):
    ours, theirs = Cores([3], tmp_path), Cores([3, 5], tmp_path)
    first, second = ours.lend(1), ours.lend(1)
    ours.take_back(first)
    assert theirs.lend(1) == Loan((5,))
    ours.take_back(second)
    assert Cores([3], tmp_path).lend(1) == Loan((3,))


def test_a_folder_that_takes_no_locks_is_no_reason_to_stop(tmp_path):
    assert Cores([3, 5], tmp_path / "missing").lend(1) == Loan((3,))


def test_a_lock_file_of_another_user_is_locked_and_a_link_not_followed(tmp_path):
    (tmp_path / "sqzx-core-3.lock").touch()
    (tmp_path / "sqzx-core-3.lock").chmod(0o444)
    (tmp_path / "sqzx-core-5.lock").symlink_to(tmp_path / "elsewhere")
    assert Cores([3, 5], tmp_path).lend(2) == Loan((3, 5))
    assert Cores([3], tmp_path).lend(1).shared == (3,)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_two_runs_at_once_pin_their_workers_to_different_cores(tiny, tmp_path, compiled, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # other tests use cores, too
    (tmp_path / "other").mkdir()
    studies = [tiny, type(tiny)(tmp_path / "other", compiled)]
    runs = []
    for study in studies:
        study.write(ratios=(0.25,), epochs=100_000)
        runs.append(study.start_run("--workers", "1"))
    try:
        used = []
        for study, run in zip(studies, runs, strict=True):
            study.wait_for_training(run)
            (folder,) = study.trials().values()
            used.append(tuple(study.read_status(folder)["provenance"]["cores"]))
        assert len(set(used)) == 2
        assert {len(cores) for cores in used} == {1}
    finally:
        for run in runs:
            run.kill()
            run.communicate()
    for study in studies:
        study.wait_for_no_process()
