import pytest

from analysis.curves import curves, draw_curves, told
from analysis.table import load


def test_one_curve_for_each_sweep_along_one_key(paper_study):
    found = curves(load(paper_study))
    assert [(c.sweep, c.key, c.across) for c in found] == [
        ("squeeze_ratio", "model.squeeze_ratio", "size"),
        ("pct_3x3", "model.pct_3x3", "size"),
    ]
    ratio, fraction = found
    assert ratio.points["value"].tolist() == ["0.125", "0.25", "0.5", "0.75", "1"]
    assert fraction.points["x"].is_monotonic_increasing
    assert ratio.points["n"].tolist() == [3] * 5
    assert ratio.points["x"].tolist() == ratio.points["bytes_fp32"].tolist()


def test_the_crossing_point_is_in_both(paper_study):
    ratio, fraction = curves(load(paper_study))
    assert ratio.points["config_id"][2] == fraction.points["config_id"][4]


def test_the_papers_curve_comes_with_the_papers_axes_only(make_study, study_of):
    text = study_of("grid.model.squeeze_ratio = [0.25, 0.5]", "grid.model.base_e = [16, 32]")
    ratio, base = curves(load(make_study(text)))
    assert ratio.published is not None
    assert len(ratio.published) == 5
    assert base.published is None


def test_values_of_many_magnitudes_stand_on_a_log_axis_with_their_own_ticks(make_study, study_of):
    figure = draw_curves(curves(load(make_study(study_of("grid.train.learning_rate = [1e-4, 1e-3, 1e-2]")))))
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.0001", "0.001", "0.01"]


def test_an_interval_as_wide_as_the_scale_does_not_flatten_the_curve(make_study, result, study_of):
    top1 = {0.25: (0.90, 0.96), 0.5: (0.93, 0.935)}  # two seeds apart: t reaches far below 0.5

    def outcome(trial):
        return result(trial, test_top1=top1[trial.config.model.squeeze_ratio][trial.config.seed])

    text = study_of("grid.model.squeeze_ratio = [0.25, 0.5]")
    found = curves(load(make_study(text, outcome=outcome)))
    assert found[0].points["low"].min() < 0.6
    low, high = draw_curves(found).axes[0].get_ylim()
    assert low > 0.8
    assert high > 0.96


def test_sizes_that_coincide_give_way_to_the_value(make_study, study_of):
    (curve,) = curves(load(make_study(study_of("grid.train.learning_rate = [1e-3, 1e-2]"))))
    assert (curve.across, curve.points["x"].tolist()) == ("value", [1e-3, 1e-2])


def test_a_single_pair_of_equal_sizes_does_not(make_study, study_of):
    found = curves(load(make_study(study_of("grid.model.squeeze_ratio = [0.25, 0.251, 0.5, 0.75]"))))
    assert found[0].across == "size"
    assert found[0].points["bytes_fp32"].nunique() == 3


def test_values_that_are_no_numbers_stand_side_by_side(make_study, study_of):
    (curve,) = curves(load(make_study(study_of('grid.model.bypass = ["none", "simple", "complex"]'))))
    assert (curve.across, curve.points["value"].tolist()) == ("name", ["none", "simple", "complex"])
    draw_curves([curve])


def test_a_grid_of_two_keys_or_a_single_value_is_no_curve(make_study, study_of):
    two = "grid.model.squeeze_ratio = [0.25, 0.5]\ngrid.model.pct_3x3 = [0.25, 0.5]"
    assert curves(load(make_study(study_of(two, "grid.model.base_e = [16]")))) == []


def test_a_half_finished_sweep_has_the_points_that_there_are(make_study, result):
    def outcome(trial):
        return result(trial) if trial.config.model.squeeze_ratio < 0.4 else None

    (curve,) = curves(load(make_study(outcome=outcome)))
    assert curve.points["value"].tolist() == ["0.25"]
    draw_curves([curve])


def test_another_metric_gives_other_means(paper_study):
    frame = load(paper_study)
    assert curves(frame, "test_top5")[0].points["mean"].tolist() == pytest.approx([0.995] * 5)


@pytest.mark.parametrize(("size", "column"), [("params", "params"), ("macs", "macs"), ("mib", "bytes_fp32")])
def test_the_axis_may_be_any_quantity(paper_study, size, column):
    frame = load(paper_study)
    ratio, _ = curves(frame, size=size)
    assert ratio.across == "size"
    counted = frame.drop_duplicates("config_id").set_index("config_id")[column]
    assert ratio.points["x"].tolist() == [counted[config] for config in ratio.points["config_id"]]


def test_the_papers_curve_has_the_same_axis_by_its_own_count(paper_study):
    macs = {curve.key: curve.published["size"] for curve in curves(load(paper_study), size="macs")}
    published = (832.7, 1404.9, 2549.5, 3694.0, 4838.5)  # millions, at 227 pixels, conv10 without padding
    assert [round(value / 1e6, 1) for value in macs["model.squeeze_ratio"]] == pytest.approx(published)
    assert macs["model.pct_3x3"].iloc[0] == pytest.approx(991.2e6, rel=1e-4)
    (bytes_, _) = curves(load(paper_study))
    assert bytes_.published["size"].iloc[0] == 4_993_696


def test_sizes_are_written_as_the_paper_writes_them(paper_study):
    found = curves(load(paper_study), size="mib")
    theirs = draw_curves(found, size="mib").axes[1]
    theirs.figure.draw_without_rendering()
    assert "20MB" in [tick.get_text() for tick in theirs.get_xticklabels()]


def test_every_point_has_its_value_and_its_mean_beside_it(paper_study):
    found = curves(load(paper_study))
    texts = [text.get_text() for text in draw_curves(found).axes[0].texts]
    points = found[0].points
    for value, mean in zip(points["value"], points["mean"], strict=True):
        assert f"{value}\n{100 * mean:.1f}" in texts
    wrong = [text.get_text() for text in draw_curves(found, error=True).axes[0].texts]
    assert f"0.125\n{100 * (1 - points['mean'][0]):.1f}" in wrong


def test_another_n_than_the_common_one_is_written_at_its_point(make_study, result):
    out = make_study(
        outcome=lambda t: None if (t.config.seed, t.config.model.squeeze_ratio) == (2, 0.5) else result(t)
    )
    texts = [text.get_text() for text in draw_curves(curves(load(out))).axes[0].texts]
    assert [text.rpartition("\n")[2] for text in texts if "n =" in text] == ["n = 2"]


def test_panels_with_the_papers_curve_come_first_and_none_stays_empty(make_study, study_of):
    blocks = (
        "grid.model.base_e = [16, 32]",
        "grid.model.squeeze_ratio = [0.25, 0.5]",
        "grid.model.freq = [1, 2]",
    )
    figure = draw_curves(curves(load(make_study(study_of(*blocks)))))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0].endswith("(model.squeeze_ratio)")
    assert titles[1].startswith("The paper")
    assert len(titles) == 4


def test_sixty_values_keep_the_figure_small_and_its_labels_few(make_study, study_of):
    text = study_of(f"grid.train.learning_rate = {[i / 1000 for i in range(1, 61)]}")
    found = curves(load(make_study(text.replace("seeds = 2", "seeds = 1"))))
    figure = draw_curves(found)
    (axes,) = figure.axes
    assert len(axes.texts) <= 8
    assert len(axes.get_xticks()) < 12
    assert max(figure.get_size_inches()) < 12


def test_what_is_drawn_is_told_in_words(paper_study):
    ratio, _ = curves(load(paper_study))
    assert told(ratio).startswith(
        "Along model.squeeze_ratio on digits (5 values): 0.125: 90.9 % (95 % interval "
    )
    assert told(ratio).endswith("n = 3).")
