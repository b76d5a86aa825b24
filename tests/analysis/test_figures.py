import os
import subprocess
import sys
import warnings

import matplotlib.image
import numpy as np
import pytest

from analysis.curves import curves, draw_curves
from analysis.figures import draw, draw_all
from analysis.front import draw_front, front
from analysis.labels import Obstacles, labelled, place
from analysis.style import round_sizes
from analysis.table import load
from sqzx.errors import InputError
from sqzx.trial import Status

NAMES = ["_none", "Ba$$in", "a$b$c", "<img src=x onerror=alert(1)>", "</script>"]


def study_of(*blocks: str) -> str:
    head = """schema = 1
name = "s"
seeds = 2
[config]
model.preset = "squeezenet_small"
model.num_fires = 2
model.pool_after = [1]
"""
    return head + "".join(f"\n[[sweep]]\n{block}\n" for block in blocks)


class TestCurves:
    def test_one_curve_for_each_sweep_along_one_key(self, paper_study):
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

    def test_the_crossing_point_is_in_both(self, paper_study):
        ratio, fraction = curves(load(paper_study))
        assert ratio.points["config_id"][2] == fraction.points["config_id"][4]

    def test_the_papers_curve_comes_with_the_papers_axes_only(self, make_study):
        text = study_of("grid.model.squeeze_ratio = [0.25, 0.5]", "grid.model.base_e = [16, 32]")
        ratio, base = curves(load(make_study(text)))
        assert ratio.published is not None
        assert len(ratio.published) == 5
        assert base.published is None

    def test_values_of_many_magnitudes_stand_on_a_log_axis_with_their_own_ticks(self, make_study):
        figure = draw_curves(
            curves(load(make_study(study_of("grid.train.learning_rate = [1e-4, 1e-3, 1e-2]"))))
        )
        (axes,) = figure.axes
        assert axes.get_xscale() == "log"
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.0001", "0.001", "0.01"]

    def test_an_interval_as_wide_as_the_scale_does_not_flatten_the_curve(self, make_study, result):
        top1 = {0.25: (0.90, 0.96), 0.5: (0.93, 0.935)}  # two seeds apart: t reaches far below 0.5

        def outcome(trial):
            return result(trial, test_top1=top1[trial.config.model.squeeze_ratio][trial.config.seed])

        text = study_of("grid.model.squeeze_ratio = [0.25, 0.5]")
        found = curves(load(make_study(text, outcome=outcome)))
        assert found[0].points["low"].min() < 0.6
        low, high = draw_curves(found).axes[0].get_ylim()
        assert low > 0.8
        assert high > 0.96

    def test_sizes_that_coincide_give_way_to_the_value(self, make_study):
        (curve,) = curves(load(make_study(study_of("grid.train.learning_rate = [1e-3, 1e-2]"))))
        assert (curve.across, curve.points["x"].tolist()) == ("value", [1e-3, 1e-2])

    def test_a_single_pair_of_equal_sizes_does_not(self, make_study):
        found = curves(load(make_study(study_of("grid.model.squeeze_ratio = [0.25, 0.251, 0.5, 0.75]"))))
        assert found[0].across == "size"
        assert found[0].points["bytes_fp32"].nunique() == 3

    def test_values_that_are_no_numbers_stand_side_by_side(self, make_study):
        (curve,) = curves(load(make_study(study_of('grid.model.bypass = ["none", "simple", "complex"]'))))
        assert (curve.across, curve.points["value"].tolist()) == ("name", ["none", "simple", "complex"])
        draw_curves([curve])

    def test_a_grid_of_two_keys_or_a_single_value_is_no_curve(self, make_study):
        two = "grid.model.squeeze_ratio = [0.25, 0.5]\ngrid.model.pct_3x3 = [0.25, 0.5]"
        assert curves(load(make_study(study_of(two, "grid.model.base_e = [16]")))) == []

    def test_a_half_finished_sweep_has_the_points_that_there_are(self, make_study, result):
        def outcome(trial):
            return result(trial) if trial.config.model.squeeze_ratio < 0.4 else None

        (curve,) = curves(load(make_study(outcome=outcome)))
        assert curve.points["value"].tolist() == ["0.25"]
        draw_curves([curve])

    def test_another_metric_gives_other_means(self, paper_study):
        frame = load(paper_study)
        assert curves(frame, "test_top5")[0].points["mean"].tolist() == pytest.approx([0.995] * 5)


class TestFront:
    def test_groups_tell_the_sweeps_and_what_they_share(self, paper_study):
        found = front(load(paper_study))
        assert found.groups == ("squeeze_ratio", "pct_3x3", "squeeze_ratio + pct_3x3")
        assert len(found.points) == 13
        assert found.points["bytes_fp32"].is_monotonic_increasing

    def test_nothing_on_the_front_is_beaten(self, paper_study):
        points = front(load(paper_study)).points
        best = points[points["on_front"]]
        assert best["mean"].is_monotonic_increasing
        for _, point in points[~points["on_front"]].iterrows():
            beaten = (best["bytes_fp32"] <= point["bytes_fp32"]) & (best["mean"] >= point["mean"])
            assert beaten.any()

    def test_many_sweeps_share_a_group(self, make_study):
        blocks = [f"grid.model.squeeze_ratio = [0.{i}]" for i in range(1, 10)]
        found = front(load(make_study(study_of(*blocks))))
        assert len(found.groups) == 7
        assert found.groups[-1] == "other sweeps"
        assert set(found.points["group"]) == set(found.groups)
        draw_front(found)

    def test_an_interval_beyond_100_percent_is_cut_at_it(self, make_study, result):
        accuracies = {0: 1.0, 1: 0.9, 2: 1.0}
        out = make_study(outcome=lambda trial: result(trial, test_top1=accuracies[trial.config.seed]))
        found = front(load(out))
        assert (found.points["high"] > 1).all()
        (axes,) = draw_front(found).axes
        segments = axes.collections[0].get_segments()
        assert len(segments) == 2
        assert max(segment[:, 1].max() for segment in segments) == 1


class TestLabels:
    def test_crowded_labels_do_not_overlap(self):
        rng = np.random.default_rng(7)
        anchors = rng.uniform(150, 450, (12, 2))
        sizes = np.full((12, 2), (60.0, 20.0))
        panel = np.array([0, 0, 600, 600])
        centres = place(anchors, sizes, panel, Obstacles(anchors, np.full(12, 30.0)))
        apart = (np.abs(centres[:, None] - centres) >= sizes).any(axis=2) | np.eye(12, dtype=bool)
        assert apart.all(), "seed 7"
        assert (centres - sizes / 2 >= panel[:2]).all()
        assert (centres + sizes / 2 <= panel[2:]).all()

    def test_labels_of_the_papers_study_do_not_overlap(self, paper_study):
        for figure in draw(load(paper_study)).values():
            for axes in figure.axes:
                boxes = [text.get_window_extent().extents for text in axes.texts if text.get_text()]
                assert len(boxes) >= 5
                for i, a in enumerate(boxes):
                    for b in boxes[:i]:
                        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]

    def test_of_many_points_some_get_a_label_the_ends_among_them(self, paper_study):
        frame = load(paper_study)
        chosen = labelled(frame)
        assert len(chosen) == 14
        assert (chosen.index[0], chosen.index[-1]) == (0, 38)


def test_ticks_of_a_size_axis_are_round_and_at_least_four_where_there_is_room():
    assert round_sizes(900, 1.1e6) == [1e3, 1e4, 1e5, 1e6]
    assert round_sizes(90e3, 1.1e6) == [100e3, 200e3, 500e3, 1e6]
    assert round_sizes(140e3, 600e3) == [150e3, 200e3, 300e3, 500e3]


class TestFiles:
    def test_each_figure_is_png_and_svg_and_the_same_bytes_twice(self, paper_study, tmp_path):
        first, second = (draw_all(paper_study, tmp_path / name) for name in ("a", "b"))
        assert [path.name for path in first] == [
            "accuracy_along_axes.png",
            "accuracy_along_axes.svg",
            "accuracy_against_size.png",
            "accuracy_against_size.svg",
        ]
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
        assert max(matplotlib.image.imread(first[0]).shape) < 2**16

    @pytest.mark.parametrize("name", NAMES)
    def test_names_come_out_as_typed(self, make_study, tmp_path, name):
        text = study_of(f"name = '{name}'\ngrid.model.squeeze_ratio = [0.25, 0.5]")
        paths = draw_all(make_study(text), tmp_path / "figures")
        typed = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        for path in paths:
            if path.suffix == ".svg":
                assert (
                    f">{typed}<" in path.read_text() or f">{typed} (model.squeeze_ratio)<" in path.read_text()
                )

    def test_characters_that_the_font_lacks_are_kept_with_one_warning(self, make_study, tmp_path):
        out = make_study(study_of("name = '卷积'\ngrid.model.squeeze_ratio = [0.25, 0.5]"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            paths = draw_all(out, tmp_path / "figures")
        assert [str(w.message) for w in caught] == [
            "boxes stand for 卷 积 in the PNG files; the SVG files have them"
        ]
        assert all("卷积" in path.read_text() for path in paths if path.suffix == ".svg")

    def test_nothing_finished_is_one_line(self, make_study, tmp_path):
        with pytest.raises(InputError, match="no trial has finished yet"):
            draw_all(make_study(outcome=lambda trial: Status(status="failed")), tmp_path / "figures")

    def test_the_environments_backend_does_not_matter(self, make_study, tmp_path):
        code = (
            "import sys; from pathlib import Path; from analysis.figures import draw_all; "
            "print(len(draw_all(Path(sys.argv[1]), Path(sys.argv[2]))))"
        )
        environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"} | {"MPLBACKEND": "TkAgg"}
        command = [sys.executable, "-c", code, str(make_study()), str(tmp_path / "figures")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "4\n"


def test_importing_the_package_imports_nothing_slow():
    code = (
        "import sys, analysis; print({'pandas', 'seaborn', 'matplotlib', 'scipy', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
