import io
import os
import subprocess
import sys
import warnings

import matplotlib.image
import pandas as pd
import pytest

from analysis.figures import Options, draw_all, drawings
from analysis.style import save_svg
from analysis.table import load
from analysis.table_files import write_table
from sqzx.errors import InputError
from sqzx.trial import Status

NAMES = ["_none", "Ba$$in", "a$b$c", "<img src=x onerror=alert(1)>", "</script>"]


def svg(figure):
    with io.BytesIO() as file:
        save_svg(figure, file)
        return file.getvalue().decode()


def names(frame, **options):
    return [one.name for one in drawings(frame, Options(**options))]


def read(drawing):
    """What stands below a figure's title."""
    return drawing.draw().texts[1].get_text().replace("\n", " ")


class TestWhatIsSaidBelowTheTitle:
    """A figure says of itself what it leaves out: it is looked at without the report."""

    @pytest.fixture
    def frame(self, make_study, study_of, result):
        """Seven ratios of two seeds: one failed, two with one seed that counts, one with equal seeds."""

        def outcome(trial):
            ratio, seed = trial.config.model.squeeze_ratio, trial.config.seed
            if ratio == 0.25 or (ratio == 0.5 and seed == 1):
                return Status(status="failed", reason="loss is nan")
            if ratio == 0.75:
                return result(trial, learned=seed == 0)
            return result(trial, test_top1=0.8) if ratio == 1.0 else result(trial)

        block = "grid.model.squeeze_ratio = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0]"
        return load(make_study(study_of(f'name = "ratios"\n{block}'), outcome))

    def test_trials_that_do_not_count_are_counted_where_they_are_left_out(self, frame):
        told = "Trials left out: 3 failed and 1 did not learn."
        found = {one.name: read(one) for one in drawings(frame)}
        assert f"ratios: {told}" in found["accuracy_along_axes"]
        assert told in found["accuracy_against_size"]
        assert told in found["error_distributions"]

    def test_a_point_without_an_interval_is_not_passed_off_as_an_exact_one(self, frame):
        told = "Whiskers: 95 % t interval; 3 of 6 have none (one seed, or equal seeds)."
        found = {one.name: read(one) for one in drawings(frame)}
        assert told in found["accuracy_along_axes"]
        assert told in found["accuracy_against_size"]
        single = {one.name: read(one) for one in drawings(frame[frame["seed"] == 0])}
        assert "No whiskers: one seed" in single["accuracy_along_axes"]
        assert "Whiskers:" not in single["accuracy_against_size"]

    def test_nothing_is_said_of_what_does_not_lack(self, paper_study):
        for one in drawings(load(paper_study)):
            assert "left out" not in read(one)


class TestWhichFiguresAreDrawn:
    """The table decides: a figure that it has no data for is left out."""

    def test_the_papers_study(self, paper_study):
        assert names(load(paper_study)) == [
            "accuracy_along_axes",
            "accuracy_against_size",
            "front_of_single_seeds",
            "error_distributions",
            "parallel_coordinates",
            "widths_by_depth",
        ]

    def test_a_grid_has_its_map_and_its_effects(self, make_study, study_of):
        grid = "grid.model.squeeze_ratio = [0.25, 0.5]\ngrid.model.pct_3x3 = [0.25, 0.5]"
        found = names(load(make_study(study_of(grid))))
        assert "heat_map" in found
        assert "main_effects" in found
        assert "explained_differences" in found
        assert "accuracy_along_axes" not in found

    def test_several_of_a_kind_are_numbered(self, make_study, study_of):
        grids = [
            f"set.model.base_e = {e}\ngrid.model.freq = [1, 2]\ngrid.train.epochs = [1, 2]" for e in (16, 24)
        ]
        found = names(load(make_study(study_of(*grids))))
        assert [name for name in found if name.startswith("heat_map")] == ["heat_map", "heat_map_2"]

    def test_accuracies_on_two_data_sets_are_not_ranked_in_one_figure(self, make_study, study_of):
        grid = "grid.model.squeeze_ratio = [0.25, 0.5, 1.0]\ngrid.model.pct_3x3 = [0.25, 0.5]"
        one = load(make_study(study_of(grid)))
        two = one.assign(
            **{"id": one["id"] + "2", "config_id": one["config_id"] + "2", "data.name": "fashion_mnist"}
        )
        two["test_top1"] -= 0.3
        found = drawings(pd.concat([one, two], ignore_index=True))
        for kind in ("parallel_coordinates", "widths_by_depth"):
            assert [f.name for f in found if f.name.startswith(kind)] == [kind, f"{kind}_2"]
        lines = [f for f in found if f.name.startswith("parallel")]
        assert [one.told.partition(" across")[0] for one in lines] == [
            "6 configurations on digits",
            "6 configurations on fashion_mnist",
        ]

    def test_one_configuration_is_a_point_against_size(self, make_study, study_of):
        frame = load(make_study(study_of("grid.model.squeeze_ratio = [0.5]")))
        assert names(frame) == ["accuracy_against_size"]
        assert read(drawings(frame)[0]).startswith("One configuration, so there is nothing to compare")
        drawings(frame)[0].draw()

    def test_nothing_finished_is_nothing_drawn(self, make_study):
        assert names(load(make_study(outcome=lambda trial: None))) == []

    def test_every_figure_can_be_drawn_and_told(self, make_study, study_of, result):
        grid = "grid.model.squeeze_ratio = [0.25, 0.5]\ngrid.model.pct_3x3 = [0.25, 0.5]"
        out = make_study(study_of(grid, "grid.model.bypass = ['none', 'simple', 'complex']"))
        for one in drawings(load(out), Options(metric="val_top1", size="macs", error=True)):
            assert one.draw().axes
            assert one.told.endswith(".")

    def test_an_unknown_metric_or_size_names_the_nearest(self, paper_study):
        frame = load(paper_study)
        with pytest.raises(InputError, match=r"did you mean test_top5\?"):
            drawings(frame, Options(metric="test_top2"))
        with pytest.raises(InputError, match=r"did you mean macs\?"):
            drawings(frame, Options(size="mac"))


class TestFiles:
    def test_each_is_png_and_svg_and_the_same_bytes_from_the_folder_and_its_table(self, make_study, tmp_path):
        out = make_study()
        write_table(load(out), tmp_path / "trials.csv")
        first = draw_all(out, tmp_path / "a")
        second = draw_all(tmp_path / "trials.csv", tmp_path / "b")
        assert [path.name for path in first[:4]] == [
            "accuracy_along_axes.png",
            "accuracy_along_axes.svg",
            "accuracy_against_size.png",
            "accuracy_against_size.svg",
        ]
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
        assert max(max(matplotlib.image.imread(path).shape) for path in first[::2]) < 2**16

    def test_names_come_out_as_typed(self, make_study, study_of):
        keys = ("squeeze_ratio = [0.25, 0.5]", "pct_3x3 = [0.25, 0.75]", "freq = [1, 3]", "base_e = [16, 24]",
                "incr_e = [16, 24]")  # fmt: skip
        blocks = [f"name = '{name}'\ngrid.model.{key}" for name, key in zip(NAMES, keys, strict=True)]
        found = drawings(load(make_study(study_of(*blocks))))
        texts = {one.name: svg(one.draw()) for one in found if one.name.startswith("accuracy")}
        for name in NAMES:
            typed = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            assert f">{typed} (model." in texts["accuracy_along_axes"], name
            assert f">{typed}<" in texts["accuracy_against_size"], name

    def test_characters_that_the_font_lacks_are_kept_with_one_warning(self, make_study, study_of, tmp_path):
        out = make_study(study_of("name = '卷积'\ngrid.model.squeeze_ratio = [0.25, 0.5]"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            paths = draw_all(out, tmp_path / "figures")
        assert [str(w.message) for w in caught] == [
            "boxes stand for 卷 积 in the PNG files; the SVG files have them"
        ]
        named = [path for path in paths if path.suffix == ".svg" and path.stem.startswith("accuracy")]
        assert all("卷积" in path.read_text() for path in named)

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
        assert done.stdout == "8\n"


def test_importing_the_package_imports_nothing_slow():
    code = (
        "import sys, analysis; print({'pandas', 'seaborn', 'matplotlib', 'scipy', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
