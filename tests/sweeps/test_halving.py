"""Successive halving within size bins: the rule against slow twins and closed forms, and real runs."""

import json
import math
import os
import signal
import statistics
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.errors import InputError
from sqzx.trial import Status
from sweeps.halving import Halving, Standing, decide, pause_of, standing
from sweeps.local import epochs_before
from sweeps.pausing import Pauses
from sweeps.plan import plan_study, trial_folder
from sweeps.study import parse_study
from sweeps.view import progress

HEAD = 'schema = 1\nname = "s"\n[config]\nmodel.preset = "squeezenet_small"\n'


def halving(**changes) -> Halving:
    return Halving(**{"min_epochs": 1, "reduction": 3, "bins": 1, "quantity": "params", **changes})


def read(table: str) -> Halving:
    found = parse_study(f"{HEAD}[halving]\n{table}", "s.toml").halving
    assert found is not None
    return found


class TestRungs:
    def test_each_is_so_many_times_the_one_before_and_below_the_end(self):
        assert halving(min_epochs=3, reduction=3).rungs(100) == (3, 9, 27, 81)
        assert halving(min_epochs=3, reduction=4).rungs(48) == (3, 12)
        assert halving(min_epochs=5, reduction=2).rungs(5) == ()


class TestBins:
    def test_quantile_bins_are_equally_full_where_no_sizes_are_equal(self):
        sizes = {f"c{n}": 10 * n * n for n in range(12)}
        found = halving(bins=4).bins_of(sizes)
        assert [found[f"c{n}"] for n in range(12)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]

    def test_equal_sizes_share_a_bin(self):
        found = halving(bins=2).bins_of({"a": 1, "b": 5, "c": 5, "d": 5})
        assert found == {"a": 0, "b": 0, "c": 0, "d": 0}
        assert halving(bins=2).bins_of({"a": 1, "b": 1, "c": 5, "d": 5}) == {"a": 0, "b": 0, "c": 1, "d": 1}

    def test_an_edge_belongs_to_the_bin_above(self):
        assert halving(bins=(10, 20)).bins_of({"a": 9, "b": 10, "c": 19, "d": 20}) == {
            "a": 0, "b": 1, "c": 1, "d": 2,
        }  # fmt: skip

    @given(st.dictionaries(st.integers(0, 30).map(str), st.integers(1, 9), min_size=1), st.integers(1, 6))
    @settings(max_examples=60, deadline=None)
    def test_quantiles_equal_a_count_of_the_smaller_ones(self, sizes, bins):
        found = halving(bins=bins).bins_of(sizes)
        for name, size in sizes.items():
            smaller = sum(other < size for other in sizes.values())
            assert found[name] == math.floor(Fraction(smaller, len(sizes)) * bins) < bins


def slow_twin(standings, rungs, reduction):
    """The rule, told for one configuration at a time: by counting the ones that are better."""
    going_on = []
    entered, all_came = set(standings), True
    for rung in rungs:
        there = {name for name in standings if rung in standings[name].values}
        all_came = all_came and all(name in there for name in entered)
        n = len(there)
        places = math.ceil(Fraction(n, reduction)) if all_came else math.floor(Fraction(n, reduction))
        passed = set()
        for name, one in standings.items():
            better = 0
            for other in there - {name}:
                mine = (-one.values.get(rung, 0), one.size, name)
                theirs = (-standings[other].values[rung], standings[other].size, other)
                better += theirs < mine
            if (name in there and better < places) or one.reached > rung:
                passed.add(name)
        going_on.append(passed)
        entered = passed
    return going_on


standings_of_a_bin = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(st.integers(1, 3), st.lists(st.integers(0, 3), max_size=9)),
    min_size=1,
).map(
    lambda found: {
        name: standing(size, [[v / 3 for v in curve]], (1, 2, 4, 8)) for name, (size, curve) in found.items()
    }
)


class TestDecision:
    @given(standings_of_a_bin, st.integers(2, 4))
    @settings(max_examples=200, deadline=None)
    def test_equals_its_slow_twin(self, standings, reduction):
        found = decide(standings, (1, 2, 4, 8), reduction)
        assert [set(rung.going_on) for rung in found] == slow_twin(standings, (1, 2, 4, 8), reduction)

    @pytest.mark.parametrize("reduction", [2, 3, 4])
    @pytest.mark.parametrize("n", [1, 2, 5, 27])
    def test_a_full_bin_keeps_the_ceiling_of_its_share_at_each_rung(self, n, reduction):
        """With all curves known, n shrinks to ceil(n / reduction) at each rung, and never below one."""
        rungs = halving(reduction=reduction).rungs(40)
        values = {f"{i:02d}": i / n for i in range(n)}  # the order never changes
        alive, reached = set(values), {}
        for number, rung in enumerate(rungs):
            reached |= dict.fromkeys(alive, rung)
            seen = {name: standing(1, [[value] * reached[name]], rungs) for name, value in values.items()}
            found = decide(seen, rungs, reduction)[number]
            assert found.full
            expected = math.ceil(len(alive) / reduction)
            assert set(found.going_on) == set(sorted(alive)[-expected:])
            alive = set(found.going_on)

    def test_does_not_wait_for_the_others_but_for_as_many_as_it_halves(self):
        one = {"a": standing(1, [[0.9]], (1,)), "b": standing(1, [[]], (1,)), "c": standing(1, [[]], (1,)),
               "d": standing(1, [[]], (1,))}  # fmt: skip
        assert decide(one, (1,), 2)[0].going_on == frozenset()
        two = one | {"b": standing(1, [[0.5]], (1,))}
        assert decide(two, (1,), 2)[0].going_on == {"a"}  # of two the better one, while c and d are to come

    def test_who_has_gone_on_stays_so_when_better_ones_come(self):
        came = {"a": standing(1, [[0.5, 0.5]], (1,)), **{n: standing(1, [[0.9]], (1,)) for n in "bcd"}}
        assert "a" in decide(came, (1,), 4)[0].going_on

    def test_of_equal_values_the_smaller_network_goes_on(self):
        found = {"a": standing(9, [[0.5]], (1,)), "b": standing(2, [[0.5]], (1,))}
        assert decide(found, (1,), 2)[0].going_on == {"b"}

    def test_depends_on_no_order(self):
        found = {n: standing(1, [[0.5]], (1,)) for n in "abcd"}
        backwards = dict(reversed(found.items()))
        assert decide(found, (1,), 2) == decide(backwards, (1,), 2)

    def test_seeds_count_by_their_mean_once_all_are_there(self):
        assert standing(5, [[0.1, 0.4], [0.3]], (1, 2)) == Standing(5, {1: 0.2}, 2)

    def test_pauses_at_the_first_rung_that_lets_it_no_further(self):
        found = {"a": standing(1, [[0.9, 0.9]], (1, 2)), "b": standing(1, [[0.1]], (1, 2))}
        decided = decide(found, (1, 2), 2)
        assert (pause_of("a", decided), pause_of("b", decided)) == (None, 1)


class TestKeys:
    def test_each_is_read(self):
        assert read("min_epochs = 2\nbins = 4") == halving(min_epochs=2, bins=4)
        assert read("min_epochs = 2\nbins = 4\nreduction = 2").reduction == 2
        assert read('min_epochs = 2\nbins = [5, 9]\nquantity = "macs"') == halving(
            min_epochs=2, bins=(5, 9), quantity="macs"
        )

    def test_compressed_trials_start_from_whole_trainings(self):
        text = STUDY.replace("train.epochs = 9", 'compress.recipe = "pruning"') + "bins = 1"
        with pytest.raises(InputError, match=r"\[halving\]: compress\.recipe needs the network's whole"):
            parse_study(text, "s.toml")

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("bins = 4", "[halving]: min_epochs: needs a whole number, found nothing (null)"),
            ("min_epochs = 2", "[halving]: bins: needs a whole number, found nothing (null)"),
            ("min_epochs = 0\nbins = 4", "[halving]: min_epochs: needs 1 to"),
            ("min_epochs = 2\nbins = 4\nreduction = 1", "[halving]: reduction: needs 2 to 1000, found 1"),
            ("min_epochs = 2\nbins = [9, 5]", "bins: needs a number, or edges that ascend, found [9, 5]"),
            ("min_epochs = 2\nbins = []", "bins: needs a number, or edges that ascend, found []"),
            ("min_epochs = 2\nbins = true", "[halving]: bins: needs a whole number, found true"),
            ('min_epochs = 2\nbins = 4\nquantity = "parms"', "'parms' is not counted; did you mean params?"),
            ("min_epochs = 2\nbins = 4\nmetric = 1", "[halving]: metric: unknown key; valid: min_epochs"),
        ],
    )  # fmt: skip
    def test_a_mistake_is_one_line_with_its_key(self, table, message):
        with pytest.raises(InputError) as error:
            read(table)
        assert message in str(error.value)


STUDY = (
    HEAD
    + """
train.epochs = 9
[[sweep]]
grid.model.squeeze_ratio = [0.125, 0.25, 0.5]
grid.train.learning_rate = [1e-3, 2e-3]
[halving]
min_epochs = 1
reduction = 2
"""
)


def folder_of(out, curves, table="bins = 1", text=STUDY):
    """Leave trials that are censored after the curves, by the number of their configuration; 2 seeds."""
    study = parse_study(text.replace('name = "s"', 'name = "s"\nseeds = 2') + table, "s.toml")
    plan = plan_study(study)
    configurations = list(dict.fromkeys(trial.config_id for trial in plan.trials))
    for trial in plan.trials:
        curve = curves.get((configurations.index(trial.config_id), trial.config.seed))
        if curve is None:
            continue
        folder = trial_folder(out, trial.id)
        folder.write_config(trial.config)
        folder.write_status(Status(status="censored", epoch=len(curve)))
        lines = [
            {"step": e, "kind": "validation", "epoch": e, "val_top1": v, "val_loss": 1.0}
            for e, v in enumerate(curve)
        ]
        folder.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return plan_study(study, out), configurations


def lifted(plan, out, configurations):
    statuses = {trial.id: trial.status for trial in plan.trials}
    ids = Pauses(plan, out, plan.study.halving).lifted(statuses, but=())
    found = Counter(t.config_id for t in plan.trials if t.id in ids)
    assert set(found.values()) <= {2}  # seeds go on together
    return {configurations.index(name) for name in found}


ALL = {(c, s): [0.1 * c + 0.01 * s] for c in range(6) for s in range(2)}


class TestFolders:
    def test_the_best_of_all_go_on_with_all_their_seeds(self, tmp_path):
        assert lifted(*((found := folder_of(tmp_path, ALL))[0], tmp_path, found[1])) == {3, 4, 5}

    def test_within_bins_the_small_ones_compete_among_themselves(self, tmp_path):
        """Without bins, the networks of the lower half lose to those of the upper half."""
        plan, configurations = folder_of(tmp_path, ALL, "bins = 3")
        sizes = {t.config_id: t.sizes.params for t in plan.trials}
        assert [sizes[a] < sizes[b] for a, b in zip(configurations, configurations[2:], strict=False)] == [
            True
        ] * 4
        assert lifted(plan, tmp_path, configurations) == {1, 3, 5}

    def test_the_quantity_decides_the_bins(self, tmp_path):
        edge = "bins = [20_000]\nquantity = "
        plan, configurations = folder_of(tmp_path / "a", ALL, edge + '"params"')
        assert lifted(plan, tmp_path / "a", configurations) == {3, 4, 5}  # all networks are larger
        assert min(t.sizes.macs for t in plan.trials) > 20_000
        plan, configurations = folder_of(tmp_path / "b", ALL, f"bins = [{plan.trials[4].sizes.macs}]\n"
                                         'quantity = "macs"')  # fmt: skip
        assert lifted(plan, tmp_path / "b", configurations) == {1, 4, 5}

    def test_a_configuration_waits_for_its_seeds(self, tmp_path):
        curves = {key: curve for key, curve in ALL.items() if key != (5, 1)}
        plan, configurations = folder_of(tmp_path, curves)
        assert lifted(plan, tmp_path, configurations) == {3, 4}  # floor(5 / 2), and 5 is not there yet

    def test_a_failed_seed_is_waited_for_by_nobody(self, tmp_path):
        curves = {key: curve for key, curve in ALL.items() if key != (5, 1)}
        plan, configurations = folder_of(tmp_path, curves)
        failed = next(t for t in plan.trials if t.config_id == configurations[5] and t.config.seed == 1)
        trial_folder(tmp_path, failed.id).write_status(Status(status="failed", reason="not finite"))
        plan = plan_study(plan.study, tmp_path)
        statuses = {trial.id: trial.status for trial in plan.trials}
        ids = Pauses(plan, tmp_path, plan.study.halving).lifted(statuses, but=())
        assert {configurations.index(t.config_id) for t in plan.trials if t.id in ids} == {3, 4, 5}

    def test_other_numbers_of_epochs_are_no_competition(self, tmp_path):
        text = STUDY.replace("train.epochs = 9", "").replace(
            "grid.train.learning_rate = [1e-3, 2e-3]", "grid.train.epochs = [9, 27]"
        )
        plan, configurations = folder_of(tmp_path, ALL, text=text)
        assert lifted(plan, tmp_path, configurations) == {2, 4, 3, 5}  # the better two of three, each

    def test_what_is_to_be_trained_to_its_end_is_no_more_paused(self, tmp_path):
        plan, _ = folder_of(tmp_path, ALL)
        statuses = {trial.id: trial.status for trial in plan.trials}
        pauses = Pauses(plan, tmp_path, None)
        assert pauses.lifted(statuses, but=()) == set(statuses)
        pauses.tell(plan.trials[0])
        assert trial_folder(tmp_path, plan.trials[0].id).read_pause() is None

    def test_the_reason_names_the_place_in_the_bin(self, tmp_path):
        plan, configurations = folder_of(tmp_path, ALL)
        statuses = {trial.id: trial.status for trial in plan.trials}
        pauses = Pauses(plan, tmp_path, plan.study.halving)
        pauses.lifted(statuses, but=())
        pauses.explain(statuses)
        trial = next(t for t in plan.trials if t.config_id == configurations[1])
        assert trial_folder(tmp_path, trial.id).read_status() == statuses[trial.id]
        assert (
            statuses[trial.id].reason
            == "stopped at epoch 1 of 9: number 5 of 6 in its bin, of which 3 went on"
        )

    @pytest.mark.parametrize("damage", [b'{"kind": "validation", "ep\n', b"\xff\xfe\n", b"5\n", b"{}\n"])
    def test_a_damaged_log_costs_its_trial_its_say_and_no_more(self, tmp_path, damage):
        plan, configurations = folder_of(tmp_path, ALL)
        for trial in plan.trials:
            if trial.config_id == configurations[5]:
                folder = trial_folder(tmp_path, trial.id)
                folder.metrics_file.write_bytes(damage + folder.metrics_file.read_bytes())
                assert epochs_before(folder) == 0
                assert progress(folder, 9, 0, 1.0).val_top1 is not None  # what is whole is shown
        assert lifted(plan, tmp_path, configurations) == {2, 3, 4}  # of 5, the best 3

    def test_a_damaged_pause_is_one_line(self, tmp_path):
        plan, _ = folder_of(tmp_path, ALL)
        folder = trial_folder(tmp_path, plan.trials[0].id)
        folder.pause_file.write_text('{"epoch": true}')
        with pytest.raises(InputError, match=r"pause\.json: says no epoch; delete it"):
            folder.read_pause()


RATES = "grid.train.learning_rate = [1e-4, 1e-3, 1e-2]"
HALVING = "\n[halving]\nmin_epochs = 1\nreduction = 3\nbins = 1"


def states(tiny) -> Counter:
    return Counter((trial["status"], trial["epoch"]) for trial in tiny.status()["trials"])


class TestRuns:
    def test_stopped_trials_are_kept_and_finish_as_if_never_stopped(self, tiny, tmp_path, compiled):
        """Whatever is killed in between: decisions and numbers are those of a run that nothing disturbed."""
        whole = type(tiny)(tmp_path / "whole", compiled)
        whole.write((0.25,), epochs=60, more=RATES)
        assert whole.run()[0] == 0
        tiny.write((0.25,), epochs=60, more=RATES + HALVING.replace("min_epochs = 1", "min_epochs = 40"))
        process = tiny.start_run("--workers", "1")
        tiny.wait_for_training(process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        tiny.wait_for_no_process()
        code, text = tiny.run()
        assert code == 0, text
        assert "1 done, 2 censored" in text
        assert "--finish" in text
        assert states(tiny) == {("done", None): 1, ("censored", 40): 2}
        assert {path.parents[2].name for path in tiny.out.glob("trials/*/checkpoint/80/MANIFEST.json")} >= {
            trial["id"] for trial in tiny.status()["trials"] if trial["status"] == "censored"
        }
        values = {name: accuracy_after(folder, 40) for name, folder in whole.trials().items()}
        (best,) = [trial["id"] for trial in tiny.status()["trials"] if trial["status"] == "done"]
        assert values[best] == max(values.values())

        before = tiny.attempts()
        assert tiny.run()[0] == 0  # what has been stopped stays so
        assert tiny.attempts() == before
        code, text = tiny.command("sweep", "plan", str(tiny.file), "--out", str(tiny.out))
        assert text.count("censored at epoch 40") == 2
        assert "halving: trials pause at epochs 40 of 60" in text
        code, text = tiny.command("sweep", "status", str(tiny.out))
        assert text.count("stopped at epoch 40 of 60: number") == 2

        code, text = tiny.run("--finish")
        assert code == 0, text
        assert states(tiny) == {("done", None): 3}
        for name, folder in tiny.trials().items():
            assert tiny.stable(folder) == tiny.stable(whole.trials()[name])

    def test_two_runners_decide_the_same(self, tiny):
        tiny.write((0.25,), epochs=2, more=RATES + HALVING)
        runners = [tiny.start_run("--workers", "1") for _ in range(2)]
        for runner in runners:
            code, text = tiny.finished(runner)
            assert code == 0, text
        assert states(tiny) == {("done", None): 1, ("censored", 1): 2}
        assert Counter(tiny.attempts().values()) == {1: 2, 2: 1}  # nothing twice

    def test_seeds_that_train_as_one_program_are_stopped_as_one(self, tiny):
        tiny.write((0.25, 0.5), seeds=2, epochs=3, more=HALVING)
        code, text = tiny.run("--stack", "2")
        assert code == 0, text
        assert states(tiny) == {("done", None): 2, ("censored", 1): 2}
        values = {}
        for trial in tiny.status()["trials"]:
            values.setdefault((trial["status"], trial["name"]), []).append(
                accuracy_after(tiny.trials()[trial["id"]], 1)
            )
        means = {state: statistics.fmean(found) for (state, _), found in values.items()}
        assert means["done"] >= means["censored"]


def accuracy_after(folder, epoch: int) -> float:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["val_top1"] for line in lines if line["kind"] == "validation"][epoch - 1]
