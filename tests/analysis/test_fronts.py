import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.fronts import attainment, front_volume, fronts, hypervolume, membership
from analysis.statistics import pareto_front

COARSE = st.integers(0, 4)  # few values, so that sizes and accuracies often tie


class TestFronts:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(COARSE, COARSE, COARSE), max_size=8))
    def test_agree_with_moocore_on_each_sample(self, points):
        size = np.array([p[0] for p in points], dtype=float)
        accuracy = np.array([[p[1] for p in points], [p[2] for p in points]], dtype=float)
        found = fronts(size, accuracy)
        assert found.tolist() == [pareto_front(size, row).tolist() for row in accuracy]


def exact_probability(values: dict[str, list[float]], sizes: list[int]) -> np.ndarray:
    """Every draw of n - 1 of n seeds with replacement, for every configuration, counted."""
    means = [
        [np.mean(draw) for draw in itertools.product(v, repeat=max(len(v) - 1, 1))] for v in values.values()
    ]
    cases = np.array(list(itertools.product(*means)))
    return np.mean([pareto_front(sizes, case) for case in cases], axis=0)


class TestMembership:
    def test_agrees_with_all_draws_counted(self, study_frame):
        values = {"a": [0.5, 0.6, 0.7], "b": [0.55, 0.66, 0.61], "c": [0.6, 0.71]}
        found = membership(study_frame(values), samples=20_000)
        exact = exact_probability(values, [1000, 2000, 3000])
        assert 0.1 < exact[1] < 0.9
        assert found.points["probability"].to_numpy() == pytest.approx(exact, abs=4 * 0.5 / math.sqrt(20_000))

    def test_a_clear_front_is_certain(self, study_frame):
        found = membership(study_frame({"a": [0.5, 0.51], "b": [0.8, 0.81], "c": [0.6, 0.61]})).points
        assert found["on_front"].tolist() == [True, True, False]
        assert found["probability"].tolist() == [1, 1, 0]

    def test_one_seed_and_equal_seeds_have_no_probability_but_stand_in_the_way(self, study_frame):
        found = membership(study_frame({"a": [0.9], "b": [0.8, 0.8], "c": [0.5, 0.6]})).points
        assert found["probability"].isna().tolist() == [True, True, False]
        assert found["probability"][2] == 0
        assert found["note"].tolist() == ["one seed: no interval", "2 equal seeds: no interval", ""]

    def test_the_same_table_gives_the_same_numbers_in_any_order(self, study_frame):
        frame = study_frame({"a": [0.5, 0.6, 0.7], "b": [0.55, 0.66, 0.61], "c": [0.6, 0.71]})
        first = membership(frame).points.set_index("name")["probability"]
        again = membership(frame.iloc[::-1].reset_index(drop=True)).points.set_index("name")["probability"]
        assert first.to_dict() == again.to_dict()
        other = membership(frame, seed=1).points.set_index("name")["probability"]
        assert first.to_dict() != other.to_dict()
        few = membership(frame, samples=3).points["probability"] * 3
        assert few.tolist() == few.round().tolist()

    def test_trials_that_do_not_count_are_left_out_and_counted(self, study_frame):
        found = membership(study_frame({"a": [0.5, 0.6], "b": [None, None], "c": [math.inf]}))
        assert found.points["name"].tolist() == ["a"]
        assert found.left_out == 2

    def test_twins_are_on_it_together(self, study_frame):
        frame = study_frame({"a": [0.5, 0.6], "twin": [0.5, 0.6]}, sizes={"a": 1, "twin": 1})
        assert membership(frame).points["on_front"].tolist() == [True, True]

    def test_no_trial_is_an_empty_front(self, study_frame):
        found = membership(study_frame({"a": [None]}))
        assert found.points.empty
        assert found.left_out == 1


class TestHypervolume:
    def test_closed_form_of_one_and_of_two_points(self):
        assert hypervolume([50], [0.8], reference=(100, 0)) == pytest.approx(0.5 * 0.8)
        assert hypervolume([20, 50], [0.4, 0.8], reference=(100, 0)) == pytest.approx(0.8 * 0.4 + 0.5 * 0.4)

    def test_the_reference_point_moves_it(self):
        assert hypervolume([50], [0.8], reference=(200, 0)) == pytest.approx(0.75 * 0.8)
        assert hypervolume([50], [0.8], reference=(100, 0.6)) == pytest.approx(0.5 * 0.5)

    def test_points_that_are_no_better_than_the_reference_cover_nothing(self):
        assert hypervolume([100, 120, 50], [0.9, 0.9, 0.1], reference=(100, 0.1)) == 0

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8))
    def test_agrees_with_squares_counted(self, points):
        covered = sum(
            any(x <= column and y > row for x, y in points) for row in range(10) for column in range(10)
        )
        found = hypervolume([x for x, _ in points], [y / 10 for _, y in points], reference=(10, 0))
        # Accuracies above 1 are no accuracies, so the highest row is 10.
        if all(y <= 10 for _, y in points):
            assert found == pytest.approx(covered / 100)

    @pytest.mark.parametrize("accuracy", [math.nan, math.inf])
    def test_refuses_what_is_no_number(self, accuracy):
        with pytest.raises(ValueError, match="finite"):
            hypervolume([1], [accuracy], reference=(2, 0))

    @pytest.mark.parametrize("reference", [(0, 0), (1, 1)])
    def test_refuses_a_reference_that_bounds_nothing(self, reference):
        with pytest.raises(ValueError, match="reference"):
            hypervolume([1], [0.5], reference=reference)


class TestFrontVolume:
    def test_states_its_reference_and_covers_what_the_front_of_means_covers(self, study_frame):
        found = front_volume(study_frame({"a": [0.4, 0.6], "b": [0.7, 0.9]}))
        assert (found.reference_bytes, found.reference_accuracy) == (pytest.approx(2200), 0.1)
        assert found.share == pytest.approx(
            hypervolume([1000, 2000], [0.5, 0.8], reference=(1.1 * 2000, 0.1))
        )
        assert found.low < found.share < found.high

    def test_the_interval_is_that_of_all_draws_when_they_are_few(self, study_frame):
        found = front_volume(study_frame({"a": [0.4, 0.6]}), reference=(2000, 0))
        assert (found.low, found.high) == (pytest.approx(0.2), pytest.approx(0.3))

    def test_the_interval_holds_the_volume_of_the_true_means(self, study_frame):
        """Quantiles of the resamples do in less than half of such studies: they begin at the best of many."""
        rng = np.random.default_rng(0)
        truth = 0.92 + 0.06 * (1 - np.exp(-np.arange(13) / 4))
        size = 1000.0 * np.arange(1, 14)
        exact = hypervolume(size, truth, reference=(14_000, 0.1))
        held = 0
        for _ in range(40):
            values = {str(i): list(mean + rng.normal(0, 0.01, 3)) for i, mean in enumerate(truth)}
            found = front_volume(study_frame(values), reference=(14_000, 0.1), samples=200)
            held += found.low <= exact <= found.high
        assert held >= 30

    def test_one_seed_somewhere_is_no_interval(self, study_frame):
        found = front_volume(study_frame({"a": [0.4, 0.6], "b": [0.7], "c": [None]}))
        assert (found.low, found.high) == (None, None)
        assert found.note == "no interval, since 1 configuration has none"
        assert (found.configurations, found.left_out) == (2, 1)
        assert found.reference_bytes == pytest.approx(3300)  # of the plan: it does not move as trials finish

    def test_nothing_finished_has_no_volume(self, study_frame):
        found = front_volume(study_frame({"a": [None]}))
        assert (found.share, found.note) == (None, "no configuration has a trial that counts")


def reached(frame: pd.DataFrame, size: float) -> list[float]:
    """The best accuracy of each seed among networks up to a size, by a slow loop."""
    return sorted(
        max((v for s, b, v in zip(frame["seed"], frame["bytes_fp32"], frame["val_top1"], strict=True)
             if s == seed and b <= size), default=-math.inf)
        for seed in frame["seed"].unique()
    )  # fmt: skip


class TestAttainment:
    @settings(max_examples=25, deadline=None)
    @given(points=st.lists(st.tuples(COARSE, COARSE, COARSE, COARSE), min_size=1, max_size=5))
    def test_agrees_with_a_slow_twin(self, study_frame, points):
        sizes = {str(i): 100 * (1 + p[3]) for i, p in enumerate(points)}
        frame = study_frame({str(i): [v / 4 for v in p[:3]] for i, p in enumerate(points)}, sizes=sizes)
        found = attainment(frame)
        assert (found.seeds, found.configurations, found.left_out) == (3, len(points), 0)
        for size in sorted(set(sizes.values())):
            low, middle, high = reached(frame, size)
            for band, expected in (("all", low), ("half", middle), ("any", high)):
                corners = found.bands[(found.bands["band"] == band) & (found.bands["bytes_fp32"] <= size)]
                assert corners["accuracy"].max() == pytest.approx(expected)

    def test_a_configuration_that_lacks_a_seed_is_left_out_and_counted(self, study_frame):
        found = attainment(study_frame({"a": [0.4, 0.6], "b": [None, 0.9]}))
        assert (found.configurations, found.left_out) == (1, 1)
        assert found.bands["accuracy"].max() == 0.6

    def test_one_seed_is_not_enough_to_say(self, study_frame):
        found = attainment(study_frame({"a": [0.4]}))
        assert (found.note, len(found.bands)) == ("not enough seeds to say", 0)
        assert attainment(study_frame({"a": [None]})).note == "not enough seeds to say"
