"""Replicates that share a process: `sqzx sweep run --stack`."""

import json
import os
import re
import signal

import pytest

from sweeps.plan import plan_study
from sweeps.stacks import stacks
from sweeps.study import parse_study

STUDY = """
schema = 1
name = "rates"
seeds = 3
[config]
model.preset = "squeezenet_small"
[[sweep]]
name = "rates"
grid.model.squeeze_ratio = [0.25, 0.5]
grid.train.learning_rate = [1e-3, 2e-3]
"""


def statuses(tiny):
    return {name: json.loads((p / "status.json").read_text()) for name, p in tiny.trials().items()}


def test_replicates_in_one_process_end_as_they_would_alone(tiny, tmp_path, compiled):
    single = type(tiny)(tmp_path / "single", compiled)
    for study, options in ((tiny, ("--stack", "2")), (single, ())):
        study.write(seeds=3)
        code, text = study.run(*options)
        assert code == 0, text
        assert text.count("started") == text.count("done  ") == 6
    assert tiny.trials().keys() == single.trials().keys()
    assert sorted(s["stack"] for s in statuses(tiny).values()) == [1, 1, 2, 2, 2, 2]
    for name, folder in tiny.trials().items():
        ours, theirs = (json.loads((f / "result.json").read_text()) for f in (folder, single.trials()[name]))
        assert ours.keys() == theirs.keys()
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-4)


def test_auto_stacks_what_is_small(tiny):
    tiny.write(seeds=2)
    code, text = tiny.run("--stack", "auto")
    assert code == 0, text
    assert {s["stack"] for s in statuses(tiny).values()} == {2}
    assert len({s["pid"] for s in statuses(tiny).values()}) == 2


def test_a_killed_runner_loses_nothing_of_a_stack(tiny, tmp_path, compiled):
    whole = type(tiny)(tmp_path / "whole", compiled)
    for study in (tiny, whole):
        study.write((0.25,), seeds=2, epochs=150)
    assert whole.run("--stack", "2")[0] == 0
    process = tiny.start_run("--stack", "2")
    tiny.wait_for_training(process, trials=2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    tiny.wait_for_no_process()
    assert tiny.run("--stack", "2")[0] == 0
    for name, folder in tiny.trials().items():
        assert tiny.stable(folder) == tiny.stable(whole.trials()[name])


def test_the_trials_of_a_stack_that_died_are_tried_alone(tiny):
    tiny.write((0.25,), seeds=2, epochs=150)
    process = tiny.start_run("--stack", "2")
    os.kill(tiny.wait_for_training(process, trials=2)[0], signal.SIGKILL)
    code, text = tiny.finished(process)
    assert code == 0, text
    assert "its stack of 2 ended: its process was ended by SIGKILL" in text
    assert {(s["status"], s["stack"], s["attempts"]) for s in statuses(tiny).values()} == {("done", 1, 2)}


def test_a_stack_has_the_time_of_its_trials(tiny):
    tiny.write((0.25,), seeds=2, epochs=100_000)
    code, text = tiny.run("--stack", "2", "--time-limit", "5")
    assert code == 1
    assert text.count("took longer than the time limit of 5 s") == 2
    assert min(int(seconds) for seconds in re.findall(r"limit of 5 s  \((\d+) s\)", text)) >= 10


@pytest.mark.parametrize("size", ["0", "-1", "1.5", "all"])
def test_impossible_sizes(tiny, size):
    code, text = tiny.run("--stack", size)
    assert code == 2
    assert f"--stack {size}: needs a whole number of at least 1, or auto" in text


class TestWhichTrainTogether:
    @pytest.fixture
    def trials(self):
        return plan_study(parse_study(STUDY, "rates.toml")).trials

    def test_seeds_and_rates_of_one_network_and_nothing_else(self, trials):
        found = stacks(trials, {t.id for t in trials}, 6)
        assert [len(stack) for stack in found] == [6, 6]
        for stack in found:
            assert len({t.config.model for t in stack}) == 1
            assert len({(t.config.seed, t.config.train.learning_rate) for t in stack}) == 6

    def test_one_by_one_all_first_seeds_come_first(self, trials):
        found = stacks(trials, {t.id for t in trials}, 1)
        assert [stack[0].config.seed for stack in found] == [0] * 4 + [1] * 4 + [2] * 4

    def test_what_has_ended_is_left_out_of_its_stack_and_moves_no_other(self, trials):
        every = stacks(trials, {t.id for t in trials}, 4)
        gone = every[0][1].id
        found = stacks(trials, {t.id for t in trials} - {gone}, 4)
        assert [tuple(t.id for t in stack) for stack in found] == [
            tuple(t.id for t in stack if t.id != gone) for stack in every
        ]
