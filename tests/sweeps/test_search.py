"""Search: the same points after any kill, replicates as one point, refused points told and not trained."""

import builtins
import dataclasses
import json
import math
import os
import shutil
import signal
import statistics
import sys
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from sqzx.errors import InputError
from sqzx.trial import Status
from sweeps.listing import plan_totals, print_plan
from sweeps.plan import Plan, plan_study, trial_folder
from sweeps.search import Batch, Told, batch_file, read_batches, write_batch
from sweeps.searching import begun, choose, next_batch, outcomes
from sweeps.study import Study, parse_study

TEXT = """
schema = 1
name = "s"
seeds = {seeds}
[config]
model.preset = "squeezenet_small"
{config}
{more}
[search]
sampler = "{sampler}"
size = "{size}"
trials = {trials}
batch = {batch}
seed = {seed}
{axes}
"""
AXES = """
uniform.model.pct_3x3 = [0.1, 0.9]
log.train.learning_rate = [1e-4, 1e-2]
integer.model.base_e = [8, 32, 8]
power_of_two.train.batch_size = [16, 128]
choices.model.bypass = ["none", "simple"]
"""
SAMPLERS = ("nsga2", "tpe")


def study(**changes) -> Study:
    values = {"seeds": 1, "config": "", "more": "", "sampler": "nsga2", "size": "params", "trials": 24,
              "batch": 4, "seed": 0, "axes": AXES} | changes  # fmt: skip
    return parse_study(TEXT.format(**values), "s.toml")


def accuracy(trial) -> float:
    """A made-up accuracy: wide networks and middle learning rates do well, each seed a little differently."""
    config = trial.config
    rate = abs(math.log10(config.train.learning_rate) + 3)
    return 0.5 + config.model.base_e / 100 - rate / 10 + config.seed / 64


def train(plan: Plan, out: Path, only=lambda trial: True, score=accuracy) -> None:
    """Finish what waits, as if it were trained; a `score` of None fails."""
    for trial in plan.waiting():
        if only(trial):
            folder = trial_folder(out, trial.id)
            folder.write_config(trial.config)
            value = score(trial)
            if value is None:
                folder.write_status(Status(status="failed", reason="not finite", attempts=1))
                continue
            folder.write_status(Status(status="done", attempts=1))
            folder.result_file.write_text(json.dumps({"val_top1": value, "learned": value > 0}))


def search(study: Study, out: Path, score=accuracy) -> Plan:
    """Run a whole search with a made-up objective."""
    while (plan := next_batch(study, out)) is not None:
        train(plan, out, score=score)
    return plan_study(study, out)


def points(study: Study, out: Path) -> list:
    return [choice for batch in read_batches(study, out) for choice in batch.points]


class TestResumes:
    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_from_any_batch_with_the_points_of_an_uncut_search(self, tmp_path, sampler):
        """A kill leaves a prefix of the files, and of the last batch's trials; the rest follows."""
        one = study(sampler=sampler, seeds=2)
        search(one, tmp_path / "whole")
        whole = points(one, tmp_path / "whole")
        assert len(whole) == 24
        for kept in (0, 1, 4):
            cut = tmp_path / f"cut{kept}"
            (cut / "search").mkdir(parents=True)
            for number in range(1, kept + 1):
                shutil.copy(batch_file(tmp_path / "whole", number), batch_file(cut, number))
            for number, trial in enumerate(plan_study(one, cut).trials):
                if number < 8 * (kept - 1) + 3:  # of the last batch three trials were done
                    train(plan_study(one, cut), cut, only=lambda t, own=trial.id: t.id == own)
            train(plan_study(one, cut), cut)
            search(one, cut)
            assert points(one, cut) == whole

    def test_a_batch_is_chosen_before_anything_of_it_is_known(self, tmp_path):
        one = study()
        plan = next_batch(one, tmp_path)
        assert len(plan.trials) == 4
        train(plan, tmp_path, only=lambda trial: trial.id != plan.trials[2].id)
        assert next_batch(one, tmp_path) is None
        train(plan_study(one, tmp_path), tmp_path)
        assert len(next_batch(one, tmp_path).trials) == 8

    def test_a_retried_failure_changes_no_point_that_was_chosen(self, tmp_path):
        one = study()
        first = next_batch(one, tmp_path)
        train(first, tmp_path, score=lambda t: None if t.id == first.trials[0].id else accuracy(t))
        next_batch(one, tmp_path)
        chosen = points(one, tmp_path)
        trial_folder(tmp_path, first.trials[0].id).write_status(Status())
        train(plan_study(one, tmp_path), tmp_path)
        search(one, tmp_path)
        assert points(one, tmp_path)[:8] == chosen
        assert read_batches(one, tmp_path)[0].told[0] == Told("failed", reason="not finite")

    def test_of_two_runners_the_first_one_s_batch_stays(self, tmp_path):
        one = study()
        write_batch(one, tmp_path, 1, (), choose(one.search, []))
        before = batch_file(tmp_path, 1).read_bytes()
        write_batch(one, tmp_path, 1, (), choose(dataclasses.replace(one.search, seed=9), []))
        assert batch_file(tmp_path, 1).read_bytes() == before
        assert [path.name for path in (tmp_path / "search").iterdir()] == ["0001.json"]

    def test_more_trials_go_on_where_it_ended(self, tmp_path):
        search(study(trials=10), tmp_path)
        before = points(study(trials=10), tmp_path)
        assert [len(batch.points) for batch in read_batches(study(), tmp_path)] == [4, 4, 2]
        search(study(trials=13), tmp_path)
        after = points(study(trials=13), tmp_path)
        assert len(after) == 13
        assert after[:10] == before

    @pytest.mark.parametrize(
        "change",
        [{"seed": 1}, {"sampler": "tpe"}, {"size": "macs"}, {"batch": 6}, {"config": "train.epochs = 3"},
         {"axes": AXES.replace("0.9", "0.8")}],
    )  # fmt: skip
    def test_another_search_in_the_same_folder_is_refused(self, tmp_path, change):
        next_batch(study(), tmp_path)
        with pytest.raises(InputError, match=r"holds a search with other settings .* choose another --out"):
            plan_study(study(**change), tmp_path)


class TestReplicates:
    def test_are_one_point_with_their_mean(self, tmp_path):
        one = study(seeds=3)
        plan = next_batch(one, tmp_path)
        assert len(plan.trials) == 12
        train(plan, tmp_path)
        told = outcomes(plan_study(one, tmp_path), points(one, tmp_path), tmp_path)
        assert len(told) == 4
        for number, found in enumerate(told):
            own = plan.trials[3 * number : 3 * number + 3]
            mean = sum(Fraction(accuracy(trial)) for trial in own) / 3
            assert found.val_top1 == pytest.approx(float(mean), rel=1e-15)
            assert found.size == own[0].sizes.params

    def test_that_failed_or_learnt_nothing_do_not_count(self, tmp_path):
        one = study(seeds=3)
        plan = next_batch(one, tmp_path)
        train(plan, tmp_path, score=lambda t: {0: None, 1: 0.0, 2: 0.75}[t.config.seed])
        told = outcomes(plan_study(one, tmp_path), points(one, tmp_path), tmp_path)
        assert [found.val_top1 for found in told] == [0.75] * 4

    def test_none_of_which_counts_are_a_failed_point(self, tmp_path):
        one = study(seeds=2)
        train(next_batch(one, tmp_path), tmp_path, score=lambda t: None)
        told = outcomes(plan_study(one, tmp_path), points(one, tmp_path), tmp_path)
        assert told == [Told("failed", reason="not finite")] * 4
        assert len(next_batch(one, tmp_path).trials) == 16


LIMIT = "[constraints]\nparams = { max = 40_000 }"


class TestConstraints:
    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_a_refused_point_is_told_with_its_reason_and_not_trained(self, tmp_path, sampler):
        one = study(more=LIMIT, sampler=sampler)
        plan = search(one, tmp_path)
        told = [found for batch in read_batches(one, tmp_path)[:-1] for found in batch.told]
        refused = [found for found in told if found.state == "refused"]
        assert refused
        assert all("above the maximum of 40,000" in found.reason for found in refused)
        assert all(found.val_top1 is None for found in refused)
        assert {trial.sizes.params <= 40_000 for trial in plan.trials} == {True}
        assert len(plan.trials) + len(plan.skipped) == 24  # counted, so that a search ends

    def test_points_that_are_all_refused_end_the_search(self, tmp_path):
        one = study(more="[constraints]\nparams = { max = 40 }")
        assert next_batch(one, tmp_path) is None
        assert len(points(one, tmp_path)) == 24

    def test_the_sampler_learns_what_is_refused(self):
        """Pruned points weigh on the next ones: without them other points are chosen."""
        one = study(sampler="tpe").search
        first = tuple(choose(one, []))
        scores = [Told("scored", 0.5 + n / 10, 1000 * n) for n in range(3)]
        refused = Batch(first, (*scores, Told("refused", reason="too large")))
        failed = Batch(first, (*scores, Told("failed", reason="not finite")))
        assert choose(one, [refused]) != choose(one, [failed])


class TestIdentity:
    def test_a_point_that_is_there_already_is_not_trained_twice(self, tmp_path):
        axes = 'choices.model.bypass = ["none", "simple"]\ninteger.model.base_e = [8, 16, 8]'
        block = '[[sweep]]\ngrid.model.base_e = [8, 16]\ngrid.model.bypass = ["none", "simple"]'
        one = study(axes=axes, trials=12, more=block)
        plan = search(one, tmp_path)
        assert len(points(one, tmp_path)) == 12
        assert len(plan.trials) == 4
        assert {trial.sweeps for trial in plan.trials} >= {("sweep 1", "search")}
        told = [found for batch in read_batches(one, tmp_path)[:-1] for found in batch.told]
        assert {found.state for found in told} == {"scored"}

    def test_values_are_those_of_random_axes(self, tmp_path):
        one = study(trials=40, batch=40)
        next_batch(one, tmp_path)
        found = [choice.settings for choice in points(one, tmp_path)]
        assert {point["model.base_e"] for point in found} == {8, 16, 24, 32}
        assert {point["train.batch_size"] for point in found} == {16, 32, 64, 128}
        assert {point["model.bypass"] for point in found} == {"none", "simple"}
        assert all(0.1 <= point["model.pct_3x3"] <= 0.9 for point in found)
        assert all(1e-4 <= point["train.learning_rate"] <= 1e-2 for point in found)
        low = sum(point["train.learning_rate"] < 1e-3 for point in found)
        assert 10 <= low <= 30  # evenly in the logarithm: about half, where a uniform range has a tenth


class TestGoals:
    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_accuracy_is_raised_and_size_is_lowered(self, tmp_path, sampler):
        """Later batches dominate the first: of accuracies that rise with nothing but falling size."""
        axes = "integer.model.base_e = [8, 128]\ninteger.model.incr_e = [8, 128]\nlog.model.freq = [1, 8]"
        one = study(trials=100, batch=10, sampler=sampler, axes=axes)
        search(one, tmp_path, score=lambda t: 1 / t.sizes.params)
        told = [found.size for batch in read_batches(one, tmp_path)[:-1] for found in batch.told]
        assert statistics.median(told[-20:]) < statistics.median(told[:20]) / 2

    def test_the_named_size_is_the_one_that_is_told(self, tmp_path):
        for size in ("params", "macs", "bytes_fp32", "peak_activations"):
            one = study(size=size)
            out = tmp_path / size
            train(next_batch(one, out), out)
            plan = plan_study(one, out)
            told = outcomes(plan, points(one, out), out)
            assert [found.size for found in told] == [getattr(trial.sizes, size) for trial in plan.trials]

    @pytest.mark.parametrize("change", [{"seed": 1}, {"batch": 6}, {"sampler": "tpe"}])
    def test_each_key_changes_the_points(self, tmp_path, change):
        found = []
        for number, one in enumerate((study(), study(**change))):
            search(one, tmp_path / str(number))
            found.append([choice.settings for choice in points(one, tmp_path / str(number))])
        assert found[0] != found[1]


class TestPlans:
    def test_say_how_much_is_known_and_to_come(self, tmp_path, capsys):
        one = study(more=LIMIT)
        plan = next_batch(one, tmp_path)
        print_plan(plan, 1)
        found, refused = len(points(one, tmp_path)), len(plan.skipped)
        assert 0 < refused < found < 24
        assert (
            f"search by nsga2, validation top-1 against params: {found} of 24 points chosen "
            f"({refused} of them refused), {24 - found} to come"
        ) in capsys.readouterr().out
        assert plan_totals(plan, 1)["search_points_chosen"] == found
        assert plan_totals(plan, 1)["search_points_to_come"] == 24 - found

    def test_need_no_optuna(self, tmp_path, monkeypatch):
        one = study()
        next_batch(one, tmp_path)
        without_optuna(monkeypatch)
        assert len(plan_study(one, tmp_path).trials) == 4
        assert plan_study(one).trials == ()

    def test_without_optuna_a_search_is_one_line(self, tmp_path, monkeypatch):
        without_optuna(monkeypatch)
        with pytest.raises(InputError, match=r"\[search\] needs Optuna: pip install 'sqzx\[search\]'"):
            begun(study(), tmp_path)
        assert not list(tmp_path.iterdir())


def without_optuna(monkeypatch):
    monkeypatch.delitem(sys.modules, "sweeps.choosing", raising=False)
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.partition(".")[0] == "optuna":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


class TestMistakes:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"sampler": "nsga"}, "[search]: sampler: 'nsga' is not possible here; did you mean nsga2?"),
            ({"size": "parms"}, "[search]: size: 'parms' is not possible here; did you mean params?"),
            ({"trials": 0}, "[search]: trials: needs 1 to"),
            ({"batch": 1}, "[search]: batch: needs 2 to"),
            ({"seed": -1}, "[search]: seed: needs 0 to"),
            ({"axes": ""}, "[search]: has no range; give one of uniform"),
            ({"axes": "grid.model.freq = [1]"}, "[search]: grid: unknown key"),
            ({"axes": "integer.model.freqs = [1, 2]"}, "model.freqs: unknown key; did you mean model.freq?"),
            ({"more": "[halving]\nmin_epochs = 1\nbins = 1"}, "a search learns from whole trainings"),
            ({"more": '[[sweep]]\nname = "search"'}, "'search' is that of the points of [search]"),
        ],
    )  # fmt: skip
    def test_are_one_line_with_file_and_key(self, change, message):
        with pytest.raises(InputError) as error:
            study(**change)
        assert message in str(error.value)
        assert str(error.value).startswith("s.toml")

    def test_a_damaged_batch_is_one_line(self, tmp_path):
        next_batch(study(), tmp_path)
        batch_file(tmp_path, 1).write_text("[]")
        with pytest.raises(InputError, match=r"0001\.json: is no batch of a search"):
            plan_study(study(), tmp_path)


SEARCH = """
[search]
sampler = "tpe"
size = "params"
trials = 4
batch = 2
choices.model.bypass = ["none", "simple"]
log.train.learning_rate = [1e-3, 1e-2]
"""


def test_a_real_search_killed_in_the_middle_ends_like_an_uncut_one(tiny, tmp_path, compiled):
    whole = type(tiny)(tmp_path / "whole", compiled)
    for one in (tiny, whole):
        one.write(seeds=1, epochs=2, more=SEARCH)
        head, _, rest = one.file.read_text().partition("[[sweep]]")
        one.file.write_text(head + rest.partition("[search]")[1] + rest.partition("[search]")[2])
    assert whole.run()[0] == 0
    process = tiny.start_run()
    tiny.wait_for_training(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    tiny.wait_for_no_process()
    code, text = tiny.run()
    assert code == 0, text
    assert tiny.trials().keys() == whole.trials().keys()
    for number in (1, 2):
        files = (batch_file(one.out, number).read_text() for one in (tiny, whole))
        assert len(set(files)) == 1
    for name, folder in tiny.trials().items():
        assert tiny.stable(folder) == tiny.stable(whole.trials()[name])
