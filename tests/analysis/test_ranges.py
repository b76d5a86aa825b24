import numpy as np
import pandas as pd
import pytest

from analysis.ranges import best_of_draw, good_range, good_ranges


def drawn(values, accuracy, share, times=20_000):
    """RegNet's way: draw, take the best, note its value; ties go to the one drawn first."""
    rng = np.random.default_rng(0)
    m = int(np.ceil(share * len(accuracy)))
    picks = rng.integers(0, len(accuracy), (times, m))
    best = picks[np.arange(times), np.asarray(accuracy)[picks].argmax(axis=1)]
    return np.asarray(values)[best]


@pytest.mark.parametrize("accuracy", [np.arange(12) / 12, np.array([0.1, 0.5, 0.5, 0.2, 0.5, 0.3, 0.9, 0.9])])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_probabilities_are_those_of_very_many_draws(accuracy, share):
    found = best_of_draw(accuracy, drawn=share)
    counted = np.bincount(drawn(np.arange(len(accuracy)), accuracy, share), minlength=len(accuracy)) / 20_000
    assert found.sum() == pytest.approx(1)
    assert found == pytest.approx(counted, abs=0.015)


def test_the_range_is_that_of_very_many_draws():
    values = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 4)
    accuracy = 0.9 - 0.1 * (values - 3) ** 2 + np.linspace(0, 0.05, 20)
    found = good_range("model.freq", pd.Series(values), accuracy)
    low, likely, high = np.quantile(drawn(values, accuracy, 0.25), [0.025, 0.5, 0.975], method="inverted_cdf")
    assert (float(found.low), float(found.likely), float(found.high)) == (low, likely, high)
    assert found.low != found.high


def test_a_larger_draw_is_choosier():
    values, accuracy = pd.Series(np.arange(16.0)), np.arange(16) / 16
    narrow, wide = (good_range("seed", values, accuracy, drawn=d) for d in (0.75, 0.25))
    assert float(narrow.low) > float(wide.low)


def test_values_without_an_order_have_no_range_but_a_likely_one():
    found = good_range("model.bypass", pd.Series(["none", "simple"] * 5), np.arange(10) % 2 / 2)
    assert (found.likely, found.low, found.high) == ("simple", None, None)
    assert found.note == "values without an order"
    switch = pd.Series([True, False] * 5, dtype="boolean")
    assert good_range("model.final_relu", switch, np.arange(10) % 2 / 2).likely == "false"


def test_a_value_that_is_unset_has_no_order_either():
    found = good_range("train.momentum", pd.Series([np.nan, 0.9] * 5), np.arange(10) / 10)
    assert found.note == "values without an order"
    assert "none" in found.values["value"].tolist()
    assert found.values["probability"].sum() == pytest.approx(1)


def test_few_configurations_are_not_enough_to_say(study_frame):
    (found,) = good_ranges(study_frame({str(i): [i / 10] for i in range(7)}))
    assert (found.key, found.low, found.note) == (
        "model.squeeze_ratio", None, "not enough configurations to say (7)",
    )  # fmt: skip
    (enough,) = good_ranges(study_frame({str(i): [i / 10] for i in range(8)}))
    assert (enough.note, enough.high) == ("", "1")


def test_what_does_not_vary_or_did_not_finish_has_no_range(study_frame):
    assert good_ranges(study_frame({"a": [0.5]})) == []
    assert good_ranges(study_frame({"a": [None], "b": [None]})) == []


def test_only_trials_that_count_enter_and_the_argument_reaches_the_draw(study_frame):
    frame = study_frame({str(i): [i / 20, None] for i in range(16)} | {"bad": [None, np.inf]})
    (found,) = good_ranges(frame)
    assert found.n == 16
    (choosy,) = good_ranges(frame, drawn=1.0)
    assert float(choosy.low) > float(found.low)
