import math

import pytest

from analysis.wording import (
    count_text,
    listed,
    noise_text,
    percent,
    percent_interval,
    points,
    points_interval,
    seconds_text,
    seeds_text,
    size_text,
    stop_text,
    value_text,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1 kB"),
        (1000, "1 kB"),
        (189_032, "189 kB"),
        (999_600, "1 MB"),
        (1_052_584, "1.05 MB"),
        (4_993_696, "4.99 MB"),
        (243_860_896, "244 MB"),
        (2e9, "2 GB"),
    ],
)
def test_sizes_are_decimal_with_three_digits_at_most(size, text):
    assert size_text(size) == text


def test_shares_are_percentages_and_their_differences_signed_points():
    assert percent(0.915) == "91.5 %"
    assert points(0.0231) == "+2.3"
    assert points(-0.0231) == "-2.3"


def test_a_missing_interval_is_no_text_rather_than_nan():
    assert percent_interval(0.901, 0.929) == "90.1 to 92.9 %"
    assert percent_interval(None, None) == percent_interval(math.nan, math.nan) == ""


def test_an_interval_of_a_share_ends_where_shares_end():
    assert percent_interval(-0.2, 1.3) == "0.0 to 100.0 %"


def test_values_are_short():
    shown = [value_text(v) for v in (0.125, 1.0, 0.1 + 0.2, (1, 4, 8), True, None, "simple", math.nan)]
    assert shown == ["0.125", "1", "0.3", "1,4,8", "true", "none", "simple", "none"]


def test_counts_read_as_a_sentence():
    assert listed({"done": 37, "failed": 1, "pending": 0, "running": 2}) == "37 done, 1 failed and 2 running"
    assert listed({"done": 3}) == "3 done"
    assert listed({}) == "none"
    assert count_text(1, "trial") == "1 trial"
    assert count_text(1200, "trial") == "1,200 trials"


def test_unequal_numbers_of_seeds_are_said_once():
    assert seeds_text([3, 3]) == "n = 3 seeds"
    assert seeds_text([1]) == "n = 1 seed"
    assert seeds_text([3, 1, 2]) == "n = 1 to 3 seeds"


def test_time_spans_have_a_unit_that_fits():
    assert [seconds_text(s) for s in (8.5, 840, 11_520)] == ["8.5 s", "14 min", "3.2 h"]


def test_more_noise_than_differences_is_no_share():
    assert noise_text(0.104) == "10.4 %"
    assert noise_text(14.8) == "more than 100 %"


def test_an_interval_of_points_is_signed_or_no_text():
    assert points_interval(-0.012, 0.034) == "-1.2 to +3.4"
    assert points_interval(float("nan"), float("nan")) == ""


def test_where_a_trial_was_stopped_is_told_without_how_it_stood():
    assert stop_text("stopped at epoch 3 of 27: number 2 of 9") == "stopped at epoch 3 of 27"
    assert stop_text(None) == "no epoch noted"


def test_no_difference_has_no_sign_and_a_small_one_keeps_its_own():
    assert [points(d) for d in (0.0, -0.0, 0.1 + 0.2 - 0.3, 4e-5, -4e-5)] == [
        "0.0",
        "0.0",
        "0.0",
        "+0.0",
        "-0.0",
    ]
