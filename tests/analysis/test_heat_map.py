import pytest

from analysis.heat_map import draw_heat_map, heat_maps, told
from analysis.table import load

GRID = "grid.model.squeeze_ratio = [0.25, 0.5, 0.75]\ngrid.model.pct_3x3 = [0.25, 0.5]"


def test_a_grid_of_two_axes_has_a_cell_a_configuration(make_study, study_of, result):
    out = make_study(study_of(GRID), lambda t: result(t, test_top1=t.config.model.squeeze_ratio))
    (found,) = heat_maps(load(out))
    assert (found.x, found.x_levels) == ("model.squeeze_ratio", ("0.25", "0.5", "0.75"))
    assert (found.y, found.y_levels) == ("model.pct_3x3", ("0.25", "0.5"))
    cells = found.cells.set_index(["column", "row"])
    assert [cells["mean"][column, 1] for column in range(3)] == pytest.approx([0.25, 0.5, 0.75])
    assert set(found.cells["n"]) == {2}


def test_mean_and_n_are_in_the_cells(make_study, study_of, result):
    def outcome(trial):
        one = trial.config.model.squeeze_ratio == 0.25 and trial.config.seed == 1
        return None if one else result(trial, test_top1=0.5)

    (found,) = heat_maps(load(make_study(study_of(GRID), outcome)))
    texts = [text.get_text() for text in draw_heat_map(found).axes[0].texts]
    assert sorted(texts) == ["50.0\nn = 1"] * 2 + ["50.0\nn = 2"] * 4


def test_cells_that_are_missing_or_wait_are_marked_and_counted(make_study, study_of, result):
    text = study_of("grid.model.squeeze_ratio = [0.25, 0.5]\ngrid.model.pct_3x3 = [0.25, 0.5]")
    params = sorted(load(make_study(text))["params"].unique())
    text += f"[constraints]\nparams = {{ max = {params[-2]} }}\n"  # the largest network is no point
    out = make_study(text, lambda t: None if t.network.params == params[-2] else result(t))
    (found,) = heat_maps(load(out))
    figure = draw_heat_map(found)
    head = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "1 cell not in the study (empty); 1 without a result (hatched)" in head
    assert [patch.get_hatch() for patch in figure.axes[0].patches] == ["////"]


def test_a_long_axis_has_a_scale_of_colours_in_place_of_numbers(make_study, study_of):
    grid = f"grid.train.weight_decay = {[i / 1000 for i in range(60)]}\ngrid.model.freq = [1, 2]"
    (found,) = heat_maps(load(make_study(study_of(grid).replace("seeds = 2", "seeds = 1"))))
    figure = draw_heat_map(found)
    assert len(figure.axes) == 2
    assert not figure.axes[0].texts
    assert max(figure.get_size_inches()) < 14


def test_one_axis_three_axes_or_scattered_points_are_no_map(make_study, study_of):
    three = (
        "grid.model.squeeze_ratio = [0.25, 0.5]\ngrid.model.pct_3x3 = [0.25, 0.5]\ngrid.model.freq = [1, 2]"
    )
    ratios = [0.2 + i / 100 for i in range(8)]
    scattered = f"zip.model.squeeze_ratio = {ratios}\nzip.train.weight_decay = {ratios}"
    text = study_of("grid.model.freq = [1, 2]", three, scattered)
    assert heat_maps(load(make_study(text))) == []


def test_it_is_told_in_words(make_study, study_of, result):
    out = make_study(study_of(GRID), lambda t: result(t, test_top1=t.config.model.squeeze_ratio))
    words = told(heat_maps(load(out))[0])
    assert "6 cells over model.squeeze_ratio and model.pct_3x3" in words
    assert "the lowest squeeze_ratio=0.25, pct_3x3=0.25 at 25.0 % (n = 2)" in words
