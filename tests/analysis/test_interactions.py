import numpy as np
import pytest

from analysis.interactions import draw_interactions, interactions, line_of, main_effects, told
from analysis.table import load
from sqzx.trial import Status

GRID = "grid.model.squeeze_ratio = [0.25, 0.5]\ngrid.model.pct_3x3 = [0.25, 0.5, 0.75]"
RATIO, SHARE = "model.squeeze_ratio", "model.pct_3x3"


def planted(trial) -> float:
    """An accuracy with effects of both keys, and an interaction; the seeds differ by a constant."""
    model = trial.config.model
    ratio, share = model.squeeze_ratio == 0.5, (0.25, 0.5, 0.75).index(model.pct_3x3)
    return 0.5 + 0.1 * ratio + 0.02 * share + 0.05 * (ratio and share == 2) + 0.01 * trial.config.seed


@pytest.fixture
def found(make_study, study_of, result):
    out = make_study(study_of(GRID), lambda t: result(t, test_top1=planted(t)))
    (grid,) = interactions(load(out))
    return grid


def test_a_main_effect_is_the_mean_over_all_else(found):
    ratio, share = main_effects(found, RATIO), main_effects(found, SHARE)
    assert ratio["mean"].tolist() == pytest.approx([0.525, 0.525 + 0.1 + 0.05 / 3])
    assert share["mean"][2] == pytest.approx(0.505 + 0.05 + 0.04 + 0.025)
    assert share["level"].tolist() == ["0.25", "0.5", "0.75"]


def test_its_interval_pools_the_variance_within_cells(found):
    """Six cells of two seeds 0.01 apart: s^2 = 0.01^2 / 2 with 6 degrees; six trials at a ratio. By hand."""
    row = main_effects(found, RATIO).iloc[0]
    half = 2.446912 * 0.01 / np.sqrt(2) / np.sqrt(6)
    assert (row["mean_high"] - row["mean"], row["mean"] - row["mean_low"]) == pytest.approx((half, half))


def test_lines_that_are_not_parallel_show_the_interaction(found):
    gains = [np.diff(line_of(found, RATIO, SHARE, place)["mean"])[0] for place in range(3)]
    assert gains == pytest.approx([0.1, 0.1, 0.15])
    rises = [line_of(found, SHARE, RATIO, place)["mean"].tolist() for place in range(2)]
    assert rises == [pytest.approx([0.505, 0.525, 0.545]), pytest.approx([0.605, 0.625, 0.695])]


def test_every_pair_is_drawn_both_ways(found):
    figure = draw_interactions(found)
    lines = [len(axes.lines) for axes in figure.axes]
    assert lines == [1, 3, 2, 1]  # pct_3x3 comes first
    assert figure.axes[1].lines[2].get_ydata() == pytest.approx([0.545, 0.695])
    assert len(figure.axes[0].collections[0].get_segments()) == 3  # whiskers
    assert "model.squeeze_ratio 0.25: 52.5 %" in told(found)
    assert "12 trials in 6 cells" in told(found)


def test_a_failed_seed_is_one_trial_less_and_a_failed_cell_ends_the_grid(make_study, study_of, result):
    def outcome(seeds):
        def of(trial):
            gone = trial.config.seed in seeds and trial.config.model.pct_3x3 == 0.75
            return Status(status="failed", reason="x") if gone else result(trial, test_top1=planted(trial))

        return of

    (grid,) = interactions(load(make_study(study_of(GRID), outcome({1}))))
    assert grid.trials == 10
    assert "10 trials in 6 cells" in draw_interactions(grid).texts[1].get_text()
    assert interactions(load(make_study(study_of(GRID), outcome({0, 1})))) == []


def test_one_seed_has_lines_and_says_that_there_are_no_whiskers(make_study, study_of, result):
    def outcome(trial):
        return result(trial) if trial.config.seed == 0 else None

    (grid,) = interactions(load(make_study(study_of(GRID), outcome)))
    figure = draw_interactions(grid)
    assert "No whiskers: one seed a cell" in figure.texts[1].get_text().replace("\n", " ")
    assert not any(len(c.get_segments()) for axes in figure.axes for c in axes.collections)


def test_partial_grids_single_axes_and_many_levels_have_none(make_study, study_of):
    text = study_of(
        "grid.model.freq = [1, 2]",
        "zip.model.squeeze_ratio = [0.25, 0.5, 0.75]\nzip.model.pct_3x3 = [0.25, 0.5, 0.75]",
        f"grid.model.freq = [1, 2]\ngrid.train.epochs = {list(range(1, 9))}",
    )
    assert interactions(load(make_study(text))) == []
