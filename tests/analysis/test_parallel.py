import numpy as np
import pytest

from analysis.parallel import draw_parallel, parallel
from analysis.table import load


def test_each_line_passes_each_axis_at_its_value(paper_study):
    frame = load(paper_study)
    found = parallel(frame)
    names = [upright.name for upright in found.uprights]
    assert names == ["model.pct_3x3", "model.squeeze_ratio", "model size", "test top-1 accuracy"]
    first = frame.drop_duplicates("config_id").set_index("config_id")
    ratio = found.uprights[1]
    places = {text: height for height, text in ratio.ticks}
    for config, height in zip(found.points["config_id"], ratio.heights, strict=True):
        assert height == places[f"{first['model.squeeze_ratio'][config]:g}"]
    assert np.all(np.diff(found.uprights[-1].heights) >= 0)  # the best are drawn last
    assert (found.uprights[-1].heights[0], found.uprights[-1].heights[-1]) == (0, 1)


def test_a_size_over_more_than_a_decade_is_logarithmic(make_study, study_of):
    grid = "grid.model.base_e = [4, 16, 64, 256]\ngrid.model.freq = [1, 2]"
    found = parallel(load(make_study(study_of(grid))), size="params")
    params = load(make_study(study_of(grid))).drop_duplicates("config_id").set_index("config_id")["params"]
    sizes = np.log10([params[config] for config in found.points["config_id"]])
    expected = (sizes - sizes.min()) / np.ptp(sizes)
    assert found.uprights[-2].heights == pytest.approx(expected)


def test_one_key_or_few_lines_are_no_figure(make_study, study_of):
    one = make_study(study_of("grid.model.squeeze_ratio = [0.2, 0.3, 0.4, 0.5, 0.6]"))
    few = make_study(study_of("grid.model.squeeze_ratio = [0.2, 0.3]\ngrid.model.freq = [1, 2]"))
    assert parallel(load(one)) is None
    assert parallel(load(few)) is None


def test_keys_without_room_are_named(make_study, study_of):
    keys = ["model.freq", "model.base_e", "model.incr_e", "model.stem_features", "train.epochs",
            "train.batch_size", "train.weight_decay"]  # fmt: skip
    values = [[1, 2, 3, 4, 5, 6]] + [[i + 16 for i in range(6)]] * 5 + [[i / 100 for i in range(6)]]
    text = study_of("\n".join(f"zip.{key} = {value}" for key, value in zip(keys, values, strict=True)))
    found = parallel(load(make_study(text)))
    assert len(found.uprights) == 8
    assert found.left_out == ("train.weight_decay",)
    assert "No room for train.weight_decay." in draw_parallel(found).texts[1].get_text().replace("\n", " ")


def test_the_best_tenth_is_drawn_by_itself(paper_study):
    axes = draw_parallel(parallel(load(paper_study))).axes[0]
    lower, upper, best = (len(lines.get_segments()) for lines in axes.collections[:3])
    assert (lower, upper, best) == (6, 5, 2)


def test_trials_that_do_not_count_are_named_below_the_title(make_study, study_of, result):
    grid = "grid.model.squeeze_ratio = [0.25, 0.5, 1.0]\ngrid.model.pct_3x3 = [0.25, 0.5]"
    found = parallel(load(make_study(study_of(grid), lambda t: result(t, learned=t.config.seed != 1))))
    assert "Trials left out: 6 did not learn." in draw_parallel(found).texts[1].get_text().replace("\n", " ")
