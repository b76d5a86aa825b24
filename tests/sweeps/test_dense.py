"""Compressed trials in a study: the dense ones that they start from, what waits and what is lost."""

import json
from collections import deque

import numpy as np
import pytest

from sqzx.compression.kernels import kernels_of
from sqzx.config import resolve
from sqzx.errors import InputError
from sqzx.model import read_model
from sqzx.trial import Status
from sweeps.dense import take_lost, take_ready
from sweeps.identity import trial_id
from sweeps.plan import plan_study
from sweeps.stacks import stacks
from sweeps.study import parse_study

HEAD = """
schema = 1
name = "t"
seeds = 2
[config]
model.preset = "squeezenet_small"
"""
COMPRESSED = """
[[sweep]]
name = "compressed"
set.compress.recipe = "deep_compression"
grid.compress.density = [0.2, 0.5]
"""


def plan_of(text):
    return plan_study(parse_study(HEAD + text, "s.toml"))


class TestPlan:
    def test_the_dense_trial_of_each_seed_is_added_once_before_its_compressed_ones(self):
        trials = plan_of(COMPRESSED).trials
        dense = [trial for trial in trials if trial.after is None]
        assert [(trial.name, trial.config.seed) for trial in dense] == [("dense", 0), ("dense", 1)]
        assert len(trials) == 6
        for trial in trials[1:]:
            if trial.after is not None:
                assert trial.after == trial_id(trial.config.dense())
                assert [t.id for t in trials].index(trial.after) < trials.index(trial)
        assert dense[0].sweeps == ("compressed",)

    def test_one_that_the_study_has_is_not_added(self):
        trials = plan_of(COMPRESSED + '[[sweep]]\nname = "itself"\n').trials
        assert len(trials) == 6
        assert [trial.sweeps for trial in trials if trial.after is None] == [("itself",)] * 2
        assert trials[0].after is None

    def test_none_is_the_dense_one(self):
        axis = '[[sweep]]\ngrid.compress.recipe = ["none", "svd"]\n'
        assert [trial.config.compress is None for trial in plan_of(axis).trials].count(True) == 2

    def test_a_key_changes_the_id_and_a_default_spelled_out_does_not(self):
        def key(**keys):
            settings = {"model.preset": "squeezenet_small", "compress.recipe": "pruning"} | {
                f"compress.{k}": v for k, v in keys.items()
            }
            return trial_id(resolve(settings, "t"))

        assert key() == key(density=0.3)
        ids = {key(), key(density=0.5), key(rounds=2), key(retrain_epochs=3), key(coder="range"),
               key(learning_rate=0.5), key(densities="conv1=1"), key(tables="f16")}  # fmt: skip
        assert len(ids) == 8

    def test_a_key_without_a_recipe_is_refused(self):
        with pytest.raises(InputError, match=r"compress\.density: has no effect without compress\.recipe"):
            plan_of("[[sweep]]\ngrid.compress.density = [0.5]\n")

    def test_a_network_without_the_named_layers_is_skipped(self):
        text = (
            '[[sweep]]\nset.compress.recipe = "pruning"\ngrid.compress.densities = ["conv1=1", "fc6=0.1"]\n'
        )
        plan = plan_of(text)
        (skipped,) = plan.skipped
        assert "fc6: no layer has this name" in skipped.reason

    def test_they_run_alone(self):
        trials = plan_of(COMPRESSED).trials
        found = stacks(trials, {trial.id for trial in trials}, 8)
        assert sorted(len(stack) for stack in found) == [1, 1, 1, 1, 2]


class TestQueue:
    def queue(self, state):
        trials = plan_of(COMPRESSED).trials
        dense, compressed = trials[0], [t for t in trials if t.after == trials[0].id]
        statuses = {dense.id: Status(status=state, reason="so it was")}
        return deque((trial,) for trial in compressed), statuses

    @pytest.mark.parametrize("state", ["pending", "running", "interrupted"])
    def test_a_compressed_trial_waits_for_its_dense_one(self, state):
        queue, statuses = self.queue(state)
        assert take_ready(queue, statuses) is None
        assert take_lost(queue, statuses) == []
        assert len(queue) == 2

    def test_it_starts_when_that_is_done(self):
        queue, statuses = self.queue("done")
        first = queue[0]
        assert take_ready(queue, statuses) == first
        assert first not in queue

    @pytest.mark.parametrize("state", ["failed", "timed_out"])
    def test_it_is_lost_where_that_failed(self, state):
        queue, statuses = self.queue(state)
        assert take_ready(queue, statuses) is None
        lost = take_lost(queue, statuses)
        assert len(lost) == 2
        assert not queue
        assert lost[0][1] == f"its dense trial {lost[0][0].after} {state.replace('_', ' ')}: so it was"


BLOCK = """
[[sweep]]
name = "compressed"
set.model.squeeze_ratio = 0.5
set.compress.recipe = "deep_compression"
set.compress.density = 0.5
set.compress.bits = 3
"""


def test_a_compressed_trial_starts_from_the_finished_dense_one(tiny):
    code, text = tiny.write((0.5,), more=BLOCK).run("--workers", "2")
    assert code == 0, text
    results = {json.loads((f / "config.json").read_text()).get("compress") is None: f
               for f in tiny.trials().values()}  # fmt: skip
    assert len(results) == len(tiny.trials()) == 2  # the dense one trained once
    compressed = results[False]
    result = json.loads((compressed / "result.json").read_text())
    size = (compressed / "compressed.sqz").stat().st_size
    assert result["bytes_compressed"] == size
    assert result["compression_ratio"] == result["bytes_fp32"] / size
    assert [stage["stage"] for stage in result["stages"]] == ["prune", "retrain", "share", "tune", "round"]
    assert not (compressed / "work").exists()
    assert not (compressed / "checkpoint").exists()
    kernels = kernels_of(read_model(compressed).parameters).values()
    assert all(np.count_nonzero(kernel) <= -(-kernel.size // 2) for kernel in kernels)

    from analysis import load

    frame = load(tiny.out).set_index("id")
    row = frame.loc[compressed.name]
    assert (row["bytes_compressed"], row["compress.recipe"], row["compress.bits"]) == (
        size,
        "deep_compression",
        3,
    )
    assert frame["bytes_compressed"].dtype == "Int64"
    dense = frame.loc[results[True].name]
    assert frame.isna().loc[dense.name, ["compress.recipe", "compress.density", "bytes_compressed"]].all()
    assert row["test_top1"] == result["test_top1"]


def test_it_fails_where_the_dense_one_failed_with_that_reason(tiny):
    tiny.write((0.5,), more=BLOCK, config='train.learning_rate = 1e30\ntrain.gradient_clip = "none"')
    code, text = tiny.run()
    assert code == 1, text
    states = tiny.status()["trials"]
    assert {trial["status"] for trial in states} == {"failed"}
    (reason,) = {trial["reason"] for trial in states if "its dense trial" in trial["reason"]}
    assert "failed: not finite" in reason
