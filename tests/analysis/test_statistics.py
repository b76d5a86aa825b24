import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import mean_difference, mean_interval, pareto_front, summarise
from analysis.table import load
from sqzx.errors import InputError
from sqzx.trial import Status


class TestMeanInterval:
    @pytest.mark.parametrize("values", [[0.91, 0.93], [0.87, 0.92, 0.96], list(np.linspace(0.1, 0.9, 11))])
    def test_agrees_with_scipy(self, values):
        found = mean_interval(values)
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high), rel=1e-12)
        assert (found.n, found.note) == (len(values), "")

    def test_closed_form_of_two_values(self):
        # t(0.975, 1) = tan(0.475 pi), and s / sqrt(2) = |a - b| / 2.
        found = mean_interval([0.8, 0.9])
        assert found.low is not None
        assert found.mean is not None
        assert found.mean - found.low == pytest.approx(math.tan(0.475 * math.pi) * 0.05, rel=1e-9)

    def test_one_value_has_no_interval(self):
        assert mean_interval([0.9]) == (0.9, None, None, 1, "one seed: no interval")

    def test_equal_values_have_no_interval_of_width_zero(self):
        found = mean_interval([0.1, 0.1, 0.1])
        assert (found.low, found.high, found.note) == (None, None, "3 equal seeds: no interval")

    def test_no_value_has_no_mean(self):
        assert mean_interval([]) == (None, None, None, 0, "no seed")

    @pytest.mark.parametrize("bad", [[0.9, math.nan], [math.inf], [[0.1], [0.2]]])
    def test_refuses_what_is_no_list_of_finite_numbers(self, bad):
        with pytest.raises(ValueError, match="finite numbers"):
            mean_interval(bad)


class TestMeanDifference:
    def test_agrees_with_scipy(self):
        a, b = [0.91, 0.93, 0.92], [0.95, 0.99]
        found = mean_difference(a, b)
        expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
        assert found.difference == pytest.approx(np.mean(b) - np.mean(a))
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)

    def test_equal_seeds_on_one_side_have_no_interval_as_they_have_none_alone(self):
        found = mean_difference([0.9, 0.9], [0.95, 0.97])
        assert (found.low, found.high) == (None, None)
        assert found.note == "equal seeds on one side: no interval"
        assert found.difference == pytest.approx(0.06)

    def test_one_seed_is_not_enough_to_say(self):
        found = mean_difference([0.9], [0.95, 0.96])
        assert (found.low, found.high, found.note) == (None, None, "not enough seeds to say")
        assert found.difference == pytest.approx(0.055)

    def test_equal_seeds_on_both_sides_have_no_interval(self):
        assert mean_difference([0.9, 0.9], [0.8, 0.8]).note == "equal seeds on both sides: no interval"

    def test_nothing_on_one_side(self):
        assert mean_difference([], [0.8]) == (None, None, None, "nothing to compare")


class TestParetoFront:
    def test_smaller_or_more_accurate_wins(self):
        assert pareto_front([1, 2, 3, 4], [0.5, 0.7, 0.6, 0.9]).tolist() == [True, True, False, True]

    def test_of_one_size_only_the_more_accurate_is_on_it(self):
        assert pareto_front([1, 1], [0.5, 0.6]).tolist() == [False, True]

    def test_of_one_accuracy_only_the_smaller_is_on_it(self):
        assert pareto_front([1, 2], [0.5, 0.5]).tolist() == [True, False]

    def test_twins_are_on_it_together_or_not_at_all(self):
        front = pareto_front([1, 1, 2, 2], [0.5, 0.5, 0.4, 0.4])
        assert front.tolist() == [True, True, False, False]

    def test_nan_is_never_on_it_and_beats_nothing(self):
        assert pareto_front([1, 2, math.nan], [math.nan, 0.5, 0.9]).tolist() == [False, True, False]

    def test_nothing_has_an_empty_front(self):
        assert pareto_front([], []).tolist() == []
        assert pareto_front([1], [math.nan]).tolist() == [False]


class TestSummarise:
    def test_one_row_a_configuration_with_its_mean(self, paper_study):
        frame = load(paper_study)
        found = summarise(frame, "test_top1")
        assert len(found) == 13
        assert found["n"].tolist() == found["planned"].tolist() == [3] * 13
        first = frame[frame["config_id"] == found["config_id"][0]]["test_top1"]
        assert found["mean"][0] == pytest.approx(first.mean(), rel=1e-12)
        low, high = stats.t.interval(0.95, 2, loc=first.mean(), scale=stats.sem(first))
        assert (found["low"][0], found["high"][0]) == pytest.approx((low, high))
        assert found["bytes_fp32"][0] == 189_032

    def test_failed_and_not_learning_trials_enter_no_mean(self, make_study, result):
        def outcome(trial):
            if trial.config.seed == 0:
                return Status(status="failed", reason="loss is nan")
            return result(trial, learned=trial.config.seed != 1, test_top1=0.5 + 0.1 * trial.config.seed)

        found = summarise(load(make_study(outcome=outcome)), "test_top1")
        assert found["n"].tolist() == [1, 1]
        assert found["mean"].tolist() == [0.7, 0.7]
        assert found["low"].isna().all()
        assert found["note"].unique().tolist() == ["one seed: no interval"]

    def test_a_configuration_without_a_result_has_no_mean(self, make_study):
        found = summarise(load(make_study(outcome=lambda trial: None)), "test_top1")
        assert found["n"].tolist() == [0, 0]
        assert found["mean"].isna().all()

    def test_an_unknown_metric_names_the_nearest(self, paper_study):
        with pytest.raises(InputError, match="did you mean test_top1"):
            summarise(load(paper_study), "test_top_1")
