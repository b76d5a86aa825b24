import numpy as np
import pytest

from analysis.attained import attained, draw_attained, reached, told


@pytest.fixture
def found(study_frame):
    """By hand: seed 0 has 0.5 and 0.7, seed 1 has 0.6 and 0.6, seed 2 has 0.4 and 0.8."""
    frame = study_frame({"a": [0.5, 0.6, 0.4], "b": [0.7, 0.6, 0.8]}, sizes={"a": 100, "b": 200})
    (found,) = attained(frame)
    return found


@pytest.mark.parametrize(
    ("band", "expected"), [("any", [0.6, 0.6, 0.8]), ("half", [0.5, 0.5, 0.7]), ("all", [0.4, 0.4, 0.6])]
)
def test_a_band_reaches_what_so_many_seeds_reach(found, band, expected):
    assert reached(found.bands.bands, band, np.array([100, 150, 200])).tolist() == pytest.approx(expected)
    assert np.isnan(reached(found.bands.bands, band, np.array([99.0]))).all()


def test_the_band_is_drawn_between_any_and_every_seed(found):
    (axes,) = draw_attained(found).axes
    some, half, every = (line.get_ydata() for line in axes.lines)
    assert (some[0], half[0], every[0]) == pytest.approx((0.6, 0.5, 0.4))
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.4, 0.8))
    assert "at least one of 3 seeds reaches 80.0 %" in told(found)


def test_two_seeds_have_no_half(study_frame):
    (found,) = attained(study_frame({"a": [0.5, 0.6], "b": [0.7, 0.6]}))
    assert len(draw_attained(found).axes[0].lines) == 2


def test_one_seed_or_one_network_has_no_band(study_frame):
    assert attained(study_frame({"a": [0.5], "b": [0.7]})) == []
    assert attained(study_frame({"a": [0.5, 0.6]})) == []


def test_each_data_set_has_its_own_and_those_that_lack_a_seed_are_counted(study_frame):
    frame = study_frame(
        {"a": [0.5, 0.6], "b": [0.7, 0.6], "c": [0.4, 0.6], "d": [0.7, 0.8], "e": [0.7, None]}
    )
    frame.loc[frame["name"].isin(["a", "b"]), "data.name"] = "other"
    found = attained(frame)
    assert [(one.data, one.bands.configurations) for one in found] == [("other", 2), ("digits", 2)]
    assert "1 that lack a seed" in draw_attained(found[1]).texts[1].get_text().replace("\n", " ")


def test_another_metric_has_another_band(study_frame):
    frame = study_frame({"a": [0.5, 0.6], "b": [0.7, 0.6]})
    assert attained(frame, "test_top5")[0].by == "val_top5"
