import pandas as pd
import pytest

from analysis.front import draw_front, fronts, told
from analysis.table import load


def test_groups_tell_the_sweeps_and_what_they_share(paper_study):
    (found,) = fronts(load(paper_study))
    assert found.data == "digits"
    assert found.groups == ("squeeze_ratio", "pct_3x3", "squeeze_ratio + pct_3x3")
    assert len(found.points) == 13
    assert found.points["size"].is_monotonic_increasing


def test_nothing_on_the_front_is_beaten_in_validation(paper_study):
    frame = load(paper_study)
    (found,) = fronts(frame)
    validation = frame.groupby("config_id")["val_top1"].mean()
    points = found.points.assign(validation=found.points["config_id"].map(validation))
    best = points[points["on_front"]]
    assert best["validation"].is_monotonic_increasing
    for _, point in points[~points["on_front"]].iterrows():
        beaten = (best["size"] <= point["size"]) & (best["validation"] >= point["validation"])
        assert beaten.any()


def test_validation_selects_and_the_test_set_only_reports(make_study, result):
    def outcome(trial):
        wide = trial.config.model.squeeze_ratio == 0.5
        return result(trial, val_top1=0.8 if wide else 0.9, test_top1=0.95 if wide else 0.85)

    (found,) = fronts(load(make_study(outcome=outcome)))
    assert found.points["on_front"].tolist() == [True, False]
    assert found.points["mean"].tolist() == pytest.approx([0.85, 0.95])


def test_accuracies_on_different_data_share_no_front(make_study, study_of):
    text = study_of(
        'grid.data.name = ["digits", "fashion_mnist"]\ngrid.model.squeeze_ratio = [0.25, 0.5]'
    ).replace("model.pool_after = [1]\n", "model.pool_after = [1]\n")
    found = fronts(load(make_study(text)))
    assert [(one.data, len(one.points)) for one in found] == [("digits", 2), ("fashion_mnist", 2)]


def test_the_size_may_be_any_quantity(paper_study):
    frame = load(paper_study)
    macs = fronts(frame, size="macs")[0].points["size"]
    assert sorted(macs) == sorted(frame.drop_duplicates("config_id")["macs"])
    assert told(fronts(frame, size="params")[0], "params").startswith("8 of 13")


def test_many_sweeps_share_a_group(make_study, study_of):
    blocks = [f"grid.model.squeeze_ratio = [0.{i}]" for i in range(1, 10)]
    (found,) = fronts(load(make_study(study_of(*blocks))))
    assert len(found.groups) == 7
    assert found.groups[-1] == "other sweeps"
    assert set(found.points["group"]) == set(found.groups)
    draw_front(found)


def test_an_interval_beyond_100_percent_is_cut_at_it(make_study, result):
    accuracies = {0: 1.0, 1: 0.9, 2: 1.0}
    out = make_study(outcome=lambda trial: result(trial, test_top1=accuracies[trial.config.seed]))
    (found,) = fronts(load(out))
    assert (found.points["high"] > 1).all()
    (axes,) = draw_front(found).axes
    segments = axes.collections[0].get_segments()
    assert len(segments) == 2
    assert max(segment[:, 1].max() for segment in segments) == 1


class TestLogAxis:
    """A network without an error, and an interval that reaches zero, on a logarithmic axis."""

    @pytest.fixture
    def drawn(self, make_study, result):
        def outcome(trial):
            perfect = trial.config.model.squeeze_ratio == 0.5
            return result(trial, test_top1=1.0 if perfect else (1.0, 0.9, 1.0)[trial.config.seed])

        (found,) = fronts(load(make_study(outcome=outcome)))
        return draw_front(found, error=True)

    def test_the_point_without_an_error_is_at_the_edge_and_counted(self, drawn):
        (axes,) = drawn.axes
        bottom, top = axes.get_ylim()
        heights = [y for marks in axes.collections[1:] for y in marks.get_offsets()[:, 1].tolist()]
        assert all(bottom <= height <= top for height in heights)
        assert min(heights) == pytest.approx((0.1 / 3) / 2)  # half of the smallest error that there is
        notes = [text.get_text() for text in axes.texts]
        assert any("1 configuration without an error" in note for note in notes)

    def test_an_interval_across_zero_is_cut_and_not_lost(self, drawn):
        (axes,) = drawn.axes
        ((low, high),) = (segment[:, 1] for segment in axes.collections[0].get_segments())
        assert 0 < low < high
        assert axes.get_ylim()[0] <= low


def test_the_probability_of_staying_on_the_front_is_drawn_where_it_is_known(paper_study):
    frame = load(paper_study)
    chances = pd.Series(0.25, index=frame["config_id"].unique())
    (without,), (found,) = fronts(frame), fronts(frame, probabilities=chances)
    texts = [[text.get_text() for text in draw_front(one).axes[0].texts] for one in (without, found)]
    assert not any("(25 %)" in text for text in texts[0])
    assert sum("(25 %)" in text for text in texts[1]) == int(found.points["on_front"].sum())


def test_of_many_points_only_the_front_has_whiskers(make_study, study_of):
    values = [round(0.2 + i / 100, 3) for i in range(61)]
    (found,) = fronts(load(make_study(study_of(f"grid.model.squeeze_ratio = {values}"))))
    (axes,) = draw_front(found).axes
    assert len(axes.collections[0].get_segments()) == int(
        found.points[found.points["on_front"]]["low"].notna().sum()
    )
    assert len(found.points) == 61


def test_a_label_says_a_recipe_and_a_preset_without_their_keys(study_frame):
    name = "recipe=svd, preset=alexnet_small"
    (found,) = fronts(study_frame({name: [0.5, 0.6], "b": [0.5, 0.6]}, metric="test_top1"))
    assert "svd\nalexnet_small" in [text.get_text() for text in draw_front(found).axes[0].texts]


def test_a_label_of_many_keys_has_few_lines_and_all_of_them(study_frame):
    name = ", ".join(f"key{i}={i}" for i in range(9))
    (found,) = fronts(study_frame({name: [0.5, 0.6]}, metric="test_top1"))
    (label,) = [text.get_text() for text in draw_front(found).axes[0].texts if "key0" in text.get_text()]
    assert label.count("\n") == 2
    assert label.replace("\n", " ") == name
