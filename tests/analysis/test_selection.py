import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis import fronts, ranges, selection
from analysis.budgets import best_within
from analysis.selection import chosen
from sqzx.errors import InputError

CHOOSING = [fronts.membership, fronts.front_volume, fronts.attainment, ranges.good_ranges, selection.chosen]


def test_validation_chooses_and_the_test_set_is_not_looked_at(study_frame):
    frame = study_frame({"a": [0.8, 0.9], "b": [0.7, 0.7]})
    frame["test_top1"] = [0.1, 0.1, 0.9, 0.9]
    found = chosen(frame)
    assert (found.name, found.by, found.n) == ("a", "val_top1", 2)
    assert found.mean == pytest.approx(0.85)


def test_of_equal_means_the_smaller_network_is_chosen_and_the_others_are_named(study_frame):
    sizes = {"big": 300, "small": 100, "twin": 100}
    frame = study_frame({"big": [0.5, 0.7], "small": [0.6, 0.6], "twin": [0.6, 0.6]}, sizes=sizes)
    found = chosen(frame)
    assert found.name == "small"
    assert set(found.tied) == {"twin", "big"}


def test_as_many_right_answers_are_a_tie_however_the_seeds_share_them(study_frame):
    """369 of 3 x 137 images on both sides; the means as floats differ in the last bit, for the larger one."""
    shared = {"small": (120, 121, 128), "big": (120, 120, 129)}
    values = {name: [hits / 137 for hits in seeds] for name, seeds in shared.items()}
    assert np.mean(values["big"]) > np.mean(values["small"])
    frame = study_frame(values)
    assert (chosen(frame).name, chosen(frame).tied) == ("small", ("big",))
    assert fronts.membership(frame).points["on_front"].tolist() == [True, False]
    (best,) = best_within(frame)
    assert best.row["name"] == "small"
    assert len(set(ranges.best_of_draw(np.array([np.mean(v) for v in values.values()])))) == 1
    draws = np.array([[np.mean(v) for v in values.values()]])
    assert fronts.fronts(np.array([1, 2]), draws).tolist() == [[True, False]]


def test_another_metric_of_validation_may_choose_differently(study_frame):
    frame = study_frame({"a": [0.8], "b": [0.7]})
    frame["val_top5"] = [0.9, 0.95]
    assert chosen(frame, by="val_top5").name == "b"


def test_failed_and_not_finite_trials_choose_nothing(study_frame):
    frame = study_frame({"a": [None, 0.6], "b": [np.inf, 0.5], "c": [None]})
    found = chosen(frame)
    assert (found.name, found.mean, found.n) == ("a", 0.6, 1)
    assert chosen(study_frame({"c": [None]})) is None


@pytest.mark.parametrize("function", CHOOSING, ids=lambda function: function.__name__)
@pytest.mark.parametrize("metric", ["test_top1", "test_top5", "nonsense"])
def test_nothing_chooses_by_the_test_set(study_frame, function, metric):
    with pytest.raises(InputError, match=f"{metric}: chooses nothing.*choose by val_top1 or val_top5"):
        function(study_frame({"a": [0.8, 0.9]}), by=metric)


def test_every_function_that_picks_is_among_those_that_refuse():
    """A function with an argument `by` picks; a new one must refuse the test set, too."""
    named = set()
    for file in Path(analysis.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                arguments = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
                if "by" in arguments:
                    named.add(node.name)
    assert named == {function.__name__ for function in CHOOSING} | {"check_selecting"}
    assert all(inspect.signature(f).parameters["by"].default == "val_top1" for f in CHOOSING)


@pytest.mark.parametrize("function", CHOOSING, ids=lambda function: function.__name__)
def test_two_data_sets_are_not_ranked_against_each_other(study_frame, function):
    frame = study_frame({"a": [0.8, 0.9], "b": [0.7, 0.6]})
    frame["data.name"] = ["digits", "digits", "fashion_mnist", "fashion_mnist"]
    if function is fronts.membership:  # which has a front for each
        assert function(frame).points["on_front"].tolist() == [True, True]
    else:
        with pytest.raises(InputError, match="digits, fashion_mnist have no common order"):
            function(frame)
