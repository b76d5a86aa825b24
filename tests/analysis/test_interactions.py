import pytest

from analysis.interactions import draw_interactions, interactions, told
from analysis.table import load
from sqzx.trial import Status

GRID = "grid.model.squeeze_ratio = [0.25, 0.5]\ngrid.model.pct_3x3 = [0.25, 0.5, 0.75]"


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
    main = found.main.set_index(["key", "level"])["mean"]
    assert main["model.squeeze_ratio", 0] == pytest.approx(0.525)
    assert main["model.squeeze_ratio", 1] == pytest.approx(0.525 + 0.1 + 0.05 / 3)
    assert main["model.pct_3x3", 2] == pytest.approx(0.505 + 0.05 + 0.04 + 0.025)
    assert set(found.main["n"]) == {2}


def test_its_interval_is_of_the_seeds_own_means(found):
    """Two seeds 0.01 apart: half a width of t(0.975, 1) x 0.01 / sqrt(2) / sqrt(2), by hand."""
    row = found.main.iloc[0]
    assert row["high"] - row["mean"] == pytest.approx(12.7062 * 0.005, rel=1e-4)


def test_lines_that_are_not_parallel_show_the_interaction(found):
    pairs = found.pairs.set_index(["key", "level", "by", "by_level"])["mean"]

    def gain(share: int) -> float:
        low, high = (pairs["model.squeeze_ratio", level, "model.pct_3x3", share] for level in (0, 1))
        return high - low

    assert [gain(share) for share in range(3)] == pytest.approx([0.1, 0.1, 0.15])


def test_every_pair_is_drawn_both_ways(found):
    figure = draw_interactions(found)
    lines = [len(axes.lines) for axes in figure.axes]
    assert lines == [1, 3, 2, 1]  # pct_3x3 comes first
    assert "model.squeeze_ratio 0.25: 52.5 %" in told(found)


def test_a_seed_that_lacks_much_is_left_out_and_said_to_be(make_study, study_of, result):
    def outcome(trial):
        gone = trial.config.seed == 1 and trial.config.model.pct_3x3 == 0.75
        return Status(status="failed", reason="x") if gone else result(trial, test_top1=planted(trial))

    (grid,) = interactions(load(make_study(study_of(GRID), outcome)))
    assert (grid.seeds, grid.gaps) == (1, 0)
    assert grid.main["low"].isna().all()


def test_a_small_gap_is_counted(make_study, study_of, result):
    grid = f"grid.model.squeeze_ratio = [0.25, 0.5, 0.75]\ngrid.train.epochs = {list(range(1, 8))}"

    def outcome(trial):
        gone = (trial.config.model.squeeze_ratio, trial.config.train.epochs) == (0.25, 1)
        return None if gone and trial.config.seed == 0 else result(trial)

    (found,) = interactions(load(make_study(study_of(grid), outcome)))
    assert (found.seeds, found.gaps) == (2, 1)
    assert "1 trial of these seeds missing." in draw_interactions(found).texts[1].get_text().replace(
        "\n", " "
    )


def test_partial_grids_and_single_axes_have_none(make_study, study_of):
    text = study_of(
        "grid.model.freq = [1, 2]",
        "zip.model.squeeze_ratio = [0.25, 0.5, 0.75]\nzip.model.pct_3x3 = [0.25, 0.5, 0.75]",
        f"grid.model.freq = [1, 2]\ngrid.train.epochs = {list(range(1, 9))}",
    )
    assert interactions(load(make_study(text))) == []
