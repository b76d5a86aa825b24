import io
import json

import pytest
from rich.console import Console

from analysis.compare import compare, to_json
from analysis.side_by_side import render
from sqzx.errors import InputError
from sqzx.trial import Status
from sweeps.plan import plan_folder, trial_folder

A, B = "squeeze_ratio=0.125, pct_3x3=0.5", "squeeze_ratio=1.0, pct_3x3=0.5"


def printed(comparison) -> str:
    console = Console(file=io.StringIO(), width=160)
    render(comparison, console)
    return console.file.getvalue()


def test_only_what_differs_is_among_the_keys(paper_study):
    found = compare(paper_study, A, B)
    assert found.keys == (("model.squeeze_ratio", 0.125, 1.0),)


def test_modules_side_by_side_add_up(paper_study):
    found = compare(paper_study, A, B)
    assert [row.name for row in found.modules[:4]] == ["conv1", "pool1", "fire2", "fire3"]
    assert sum(row.params_a for row in found.modules) == 47_258
    assert sum(row.params_b for row in found.modules) == found.b.trials[0].network.params
    fire2 = found.modules[2]
    assert (fire2.shape_a, fire2.shape_b, fire2.params_a) == ((4, 4, 32), (4, 4, 32), 804)


def test_a_module_of_one_side_stands_in_running_order(make_study):
    text = """schema = 1
name = "s"
[config]
model.preset = "squeezenet_small"
model.num_fires = 3
[[sweep]]
grid.model.pool_after = [[1], [1, 3]]
"""
    found = compare(make_study(text), "model.pool_after=[1]", "model.pool_after=[1,3]")
    names = [row.name for row in found.modules]
    assert names.index("pool3") == names.index("fire3") + 1
    assert found.modules[names.index("pool3")].shape_a is None


def test_metrics_have_every_seed_and_the_difference(paper_study):
    found = compare(paper_study, A, B)
    row = found.metrics[0]
    assert row.metric == "test_top1"
    assert list(row.values_a) == [0, 1, 2]
    assert (row.a.n, row.b.n) == (3, 3)
    assert row.difference.low is not None
    assert row.difference.low > 0
    text = printed(found)
    assert "+6.6 points" in text
    assert "90.8 %  92.5 %  89.4 %" in text


def test_an_id_is_one_trial_and_one_seed_is_not_enough_to_say(paper_study):
    trial = plan_folder(paper_study).trials[1]
    found = compare(paper_study, trial.id[:10], B)
    assert [t.id for t in found.a.trials] == [trial.id]
    assert found.metrics[0].difference.note == "not enough seeds to say"
    assert "not enough seeds to say" in printed(found)


def test_a_selection_is_a_configuration_with_all_its_seeds(paper_study):
    found = compare(paper_study, "model.squeeze_ratio=0.5,model.pct_3x3=0.25", "model.squeeze_ratio=1")
    assert len(found.a.trials) == len(found.b.trials) == 3
    assert found.b.label == B


def test_two_seeds_of_one_configuration_differ_in_the_seed(paper_study):
    a, b, *_ = plan_folder(paper_study).trials
    assert compare(paper_study, a.id, b.id).keys == (("seed", 0, 1),)


def test_a_trial_of_another_study_is_its_path(paper_study, make_study):
    other = make_study()
    trial = plan_folder(other).trials[0]
    found = compare(paper_study, A, str(trial_folder(other, trial.id).path))
    assert ("model.num_fires", 8, 2) in found.keys
    assert found.metrics[0].b.n == 1


def test_trials_that_do_not_count_are_named(make_study, result):
    def outcome(trial):
        return Status(status="failed", reason="nan") if trial.config.seed == 1 else result(trial)

    found = compare(make_study(outcome=outcome), "model.squeeze_ratio=0.25", "model.squeeze_ratio=0.5")
    assert found.a.left_out() == {1: "failed"}
    assert found.metrics[0].a.n == 2
    assert "seed 1 does not count (failed)" in printed(found)


def test_nothing_finished_says_so(make_study):
    out = make_study(outcome=lambda trial: None)
    found = compare(out, "model.squeeze_ratio=0.25", "model.squeeze_ratio=0.5")
    assert found.metrics == ()
    assert "nothing to compare" in printed(found)


def test_json_is_strict(paper_study):
    whole = json.loads(json.dumps(to_json(compare(paper_study, A, B)), allow_nan=False))
    assert whole["a"]["params"] == 47_258
    assert whole["metrics"]["test_top1"]["a"]["n"] == 3
    assert whole["keys"] == [{"key": "model.squeeze_ratio", "a": 0.125, "b": 1.0}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", r"nonsense: no trial's id, .* the study has 'squeeze_ratio=0.125, pct_3x3=0.5'"),
        ("t", r"t: fits 39 trials; say which: .* and 33 more"),
        ("model.pct_3x3=0.5", r"fits 5 configurations; say which: 'squeeze_ratio=0.125, pct_3x3=0.5'"),
        ("model.pct_3x3=0.3", r"model.pct_3x3=0.3: no configuration of the study has these"),
        ("model.pct=0.5", r"model.pct: unknown key; did you mean model.pct_3x3"),
        ("", r"no trial's id"),
    ],
)
def test_what_names_none_or_several_is_one_line(paper_study, text, message):
    with pytest.raises(InputError, match=message) as error:
        compare(paper_study, text, A)
    assert "\n" not in str(error.value)
