"""Every command, end to end: what it prints, what it writes, and how it refuses."""

import csv
import io
import json
from pathlib import Path

import pytest


class TestDescribe:
    def test_the_paper_s_network(self, sqzx):
        network = json.loads(sqzx("describe", "--json")[1])
        assert network["params"] == 1_248_424
        assert network["flops"] == 2 * network["macs"] == 2 * 861_339_936
        assert network["bytes_fp32"] == 4 * 1_248_424
        assert network["input_shape"] == [227, 227, 3]
        assert sum(layer["params"] for layer in network["layers"]) == network["params"]
        assert network["layers"][0]["output_shape"] == [111, 111, 96]

    def test_table_and_totals(self, sqzx):
        text = sqzx("describe", "--preset", "squeezenet_v1_1")[1]
        assert "1,235,496 parameters" in text
        assert "fire9" in text
        assert "…" not in text  # nothing is cut, however narrow the terminal

    def test_keys_over_preset_over_file(self, sqzx, tmp_path):
        file = tmp_path / "c.toml"
        file.write_text('model.preset = "squeezenet_v1_0"\nmodel.squeeze_ratio = 0.5\n')
        described = json.loads(sqzx("describe", "--config", file, "--json")[1])
        assert described["params"] == 3_404_392
        other = json.loads(
            sqzx("describe", "--config", file, "--set", "model.squeeze_ratio=0.25", "--json")[1]
        )
        assert other["params"] == 1_967_080

    def test_a_data_set_decides_shape_and_classes(self, sqzx):
        text = sqzx("describe", "--preset", "squeezenet_small", "--set", "data.name=fashion_mnist", "--json")[
            1
        ]
        assert json.loads(text)["params"] == 47_258
        assert json.loads(text)["input_shape"] == [28, 28, 1]

    def test_totals_have_the_size_as_the_paper_labels_it(self, sqzx):
        last_lines = sqzx("describe")[1].splitlines()[-2:]
        assert last_lines == [
            "1,248,424 parameters, 4,993,696 bytes as float32 "
            "(4.76 MiB; rounded up as in the paper's Figure 3, 4.8MB)",
            "861,339,936 MACs, 1,722,679,872 FLOPs, peak activations 1,473,216",
        ]

    def test_columns_are_aligned(self, sqzx):
        """Every row of the table is as wide as its heading, and numbers end where their heading ends."""
        for preset in ("squeezenet_v1_0", "alexnet"):
            lines = sqzx("describe", "--preset", preset)[1].splitlines()
            heading, *rows = lines[1:-2]
            assert {len(row) for row in rows} == {len(heading)}
            end = heading.index("parameters") + len("parameters")
            total = next(row for row in rows if row.startswith(" total"))
            assert total[:end].split()[-1].replace(",", "").isdecimal()
            assert total[end] == " "

    def test_each_layer_has_its_share(self, sqzx):
        text = sqzx("describe", "--preset", "alexnet")[1]
        fc6 = next(line for line in text.splitlines() if line.startswith(" fc6"))
        assert fc6.split() == [
            "fc6",
            "1x1x4096",
            "dense",
            "37,752,832",
            "61.9",
            "151,011,328",
            "37,748,736",
            "5.2",
        ]
        assert "5x5/1, 2 groups" in text
        assert "s1x1" not in text

    def test_beside_a_preset(self, sqzx):
        arguments = ("describe", "--set", "model.squeeze_ratio=0.25", "--compare", "squeezenet_v1_0")
        text = sqzx(*arguments)[1]
        assert "A  this network: 1,967,080 parameters, 7,868,320 bytes (7.6MB)" in text
        assert "B  squeezenet_v1_0: 1,248,424 parameters, 4,993,696 bytes (4.8MB)" in text
        total = next(line for line in text.splitlines() if line.startswith(" total"))
        assert total.split()[1:4] == ["1,967,080", "1,248,424", "0.63"]
        both = json.loads(sqzx(*arguments, "--json")[1])
        assert (both["params"], both["compare"]["params"]) == (1_967_080, 1_248_424)
        assert both["compare"]["preset"] == "squeezenet_v1_0"

    def test_beside_another_family_on_the_same_images_and_classes(self, sqzx):
        small = ("--preset", "squeezenet_small", "--set", "data.name=digits")
        both = json.loads(sqzx("describe", *small, "--compare", "alexnet_small", "--json")[1])
        assert both["compare"]["input_shape"] == both["input_shape"] == [8, 8, 1]
        assert both["compare"]["layers"][-1]["output_shape"] == [1, 1, 10]

    def test_measured_latency(self, sqzx):
        arguments = ("describe", "--preset", "squeezenet_small", "--input-size", "8x8", "--measure")
        found = json.loads(sqzx(*arguments, "--json")[1])["latency"]
        assert 0 < found["low_ms"] <= found["median_ms"] <= found["high_ms"]
        assert found["runs"] >= 20
        assert "latency" in sqzx(*arguments)[1].splitlines()[-1]

    def test_input_size_and_channels(self, sqzx):
        text = sqzx("describe", "--input-size", "227x128", "--channels", "1", "--json")[1]
        assert json.loads(text)["input_shape"] == [227, 128, 1]
        assert json.loads(text)["params"] == 1_239_016

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["--set", "model.squeze_ratio=0.5"],
                "--set: model.squeze_ratio: unknown key; did you mean model.squeeze_ratio?",
            ),
            (["--set", "model.freq=true"], "model.freq: needs a whole number, found true"),
            (["--set", "model.freq"], "needs KEY=VALUE"),
            (["--set", "model.squeeze_ratio=0"], "gives fire2's squeeze1x1 a width of 0"),
            (["--input-size", "20x20"], "leaves a map of"),
            (["--input-size", "20"], "needs HEIGHTxWIDTH"),
            (["--compare", "alexnt"], "--compare: model.preset: 'alexnt' is not possible here; did you mean"),
            (["--preset", "alexnet", "--set", "model.freq=1"], "model.freq: a network of family alexnet has"),
            (["--channels", "0"], "--channels: needs at least 1"),
            (["--preset", "squeezenet"], "did you mean squeezenet_"),
            (["--config", "no.toml"], "no.toml: no such file"),
            (["--verbose"], "--verbose"),
        ],
    )  # fmt: skip
    def test_mistakes_are_one_line(self, sqzx, arguments, message):
        code, out, err = sqzx("describe", *arguments, check=False)
        assert code == 2
        assert out == ""
        assert message in err
        assert len(err.strip().splitlines()) == 1


class TestTrain:
    def test_a_trial_folder_and_again_from_it(self, sqzx, tiny_set, tmp_path):
        out = tmp_path / "trial"
        text = sqzx("train", "--preset", "squeezenet_small", *tiny_set, "--out", out)[1]
        assert "epoch 2/2" in text
        assert "test top-1" in text
        assert "epoch 2/2" in (out / "log.txt").read_text()
        result = (out / "result.json").read_text()
        assert sqzx("train", "--preset", "squeezenet_small", *tiny_set, "--out", out)[0] == 0
        assert (out / "result.json").read_text() == result  # done is done

        code, _, err = sqzx(
            "train",
            "--preset",
            "squeezenet_small",
            *tiny_set,
            "--set",
            "model.freq=1",
            "--out",
            out,
            check=False,
        )
        assert code == 2
        assert "holds another trial (model.freq is 2 there, 1 here)" in err

        # A trial's own config.json is a configuration like any other.
        config = ["--config", out / "config.json"]
        assert sqzx("describe", *config, "--json")[1] == sqzx(
            "describe", "--preset", "squeezenet_small", *tiny_set, "--set=data.name=digits", "--json"
        )[1]  # fmt: skip

        code, _, err = sqzx(
            "train",
            *config,
            "--set",
            "model.base_e=8",
            "--init-from",
            out,
            "--out",
            tmp_path / "b",
            check=False,
        )
        assert code == 2
        assert "its layers are not this network's" in err
        assert not (tmp_path / "b").exists()
        sqzx("train", *config, "--set", "seed=1", "--init-from", out, "--out", tmp_path / "c")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "leaves a map of"),  # v1.0 on 8x8 pixels
            (["--set", "data.name=fashion_mnst"], "fashion_mnist"),
            (["--set", "model.num_classes=7"], "model.num_classes: digits has 10, found 7"),
            (["--preset", "squeezenet_small", "--init-from", "nowhere"], "nowhere: no such file"),
        ],
    )  # fmt: skip
    def test_mistakes_leave_nothing_behind(self, sqzx, tmp_path, arguments, message):
        code, _, err = sqzx("train", *arguments, "--out", tmp_path / "t", check=False)
        assert code == 2
        assert message in err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "t").exists()

    def test_a_folder_with_other_things_is_left_alone(self, sqzx, tiny_set, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        code, _, err = sqzx(
            "train", "--preset", "squeezenet_small", *tiny_set, "--out", tmp_path, check=False
        )
        assert code == 2
        assert "is not empty and no trial's folder" in err


class TestData:
    def test_digits_can_be_prepared_and_listed(self, sqzx):
        assert "1,438 training and 359 test images of 8x8x1" in sqzx("data", "prepare", "digits")[1]
        assert [info["name"] for info in json.loads(sqzx("data", "list", "--json")[1])] == ["digits"]
        assert "10 classes, as arrays (" in sqzx("data", "list")[1]

    def test_a_set_is_prepared_as_records_where_that_is_asked_for(self, sqzx, tmp_path, monkeypatch):
        monkeypatch.setenv("SQZX_DATA", str(tmp_path / "data"))
        assert "10 classes, as records (" in sqzx("data", "prepare", "digits", "--storage", "records")[1]
        assert json.loads(sqzx("data", "list", "--json")[1])[0]["storage"] == "records"
        assert (tmp_path / "data" / "digits" / "train_images.array_record").is_file()
        code, _, err = sqzx("data", "prepare", "digits", "--storage", "arrays", check=False)
        assert (code, err.count("\n")) == (2, 1)
        assert "prepared as records; delete it to change that" in err

    def test_an_empty_folder_is_no_source(self, sqzx, tmp_path):
        code, _, err = sqzx("data", "prepare", "fashion_mnist", "--from", tmp_path, check=False)
        assert code == 2
        assert "train-images-idx3-ubyte.gz" in err
        assert len(err.strip().splitlines()) == 1


class TestStudy:
    def test_status(self, sqzx, study):
        status = json.loads(sqzx("sweep", "status", study, "--json")[1])
        assert status["counts"] == {
            "pending": 0, "running": 0, "done": 4, "failed": 0,
            "timed_out": 0, "interrupted": 0, "censored": 0, "removed": 0,
        }  # fmt: skip
        assert "4 done" in sqzx("sweep", "status", study)[1]

    def test_plan_shows_what_is_skipped_and_why(self, sqzx, study):
        text = sqzx("sweep", "plan", study / "study.toml", "--out", study)[1]
        assert (
            "skipped squeeze ratio: squeeze_ratio=0.0625: model.squeeze_ratio: 0.0625 gives fire2's" in text
        )
        plan = json.loads(sqzx("sweep", "plan", study / "study.toml", "--json")[1])
        assert plan["skipped"][0]["config"] == {"model.squeeze_ratio": 0.0625}
        assert {"id", "name", "sweeps", "config", "params", "macs", "status", "est_seconds"} <= plan[
            "trials"
        ][0].keys()
        assert plan["trials"][0]["est_seconds"] is None  # nothing is known without a folder

    def test_table(self, sqzx, study, tmp_path):
        rows = list(csv.DictReader(io.StringIO(sqzx("table", study)[1])))
        assert len(rows) == 4
        assert {row["model.squeeze_ratio"] for row in rows} == {"0.25", "0.5"}
        sqzx("table", study, "--out", tmp_path / "t.parquet")
        assert (tmp_path / "t.parquet").read_bytes()[:4] == b"PAR1"
        assert sqzx("table", study, "--out", tmp_path / "t.xls", check=False)[0] == 2
        described = sqzx("table", study, "--columns")[1]
        assert all(name in described for name in rows[0])
        assert "share, 0 to 1" in described
        refused = sqzx("table", study, "--columns", "--against-dense", check=False)
        assert refused[0] == 2
        assert "--columns: tells of the table of trials; leave --against-dense out" in refused[2]

    def test_plot_writes_png_and_svg(self, sqzx, study, tmp_path):
        paths = sqzx("plot", study, "--out", tmp_path / "figures")[1].split()
        names = {suffix: [Path(p).stem for p in paths if p.endswith(suffix)] for suffix in (".png", ".svg")}
        assert names[".png"] == names[".svg"]
        assert {"accuracy_along_axes", "accuracy_against_size", "learning_curves"} <= set(names[".png"])
        assert all((tmp_path / "figures" / p.rpartition("/")[2]).stat().st_size > 1000 for p in paths)
        code, _, err = sqzx("plot", study, "--out", tmp_path, "--metric", "test_top2", check=False)
        assert code == 2
        assert "did you mean test_top" in err

    def test_plot_takes_another_size_and_error_on_a_log_axis(self, sqzx, study, tmp_path):
        sqzx("plot", study, "--out", tmp_path, "--size", "macs", "--error")
        drawn = (tmp_path / "accuracy_against_size.svg").read_text()
        assert "multiply-accumulates for one image" in drawn
        assert "error (log axis)" in drawn
        code, _, err = sqzx("plot", study, "--out", tmp_path, "--size", "mac", check=False)
        assert code == 2
        assert "did you mean macs?" in err

    def test_report_is_one_file(self, sqzx, study, tmp_path):
        path = sqzx("report", study, "--out", tmp_path / "r.html")[1].strip()
        page = Path(path).read_text()
        assert "width of 0" in page
        assert "<svg" in page
        assert "http://" not in page.replace("http://www.w3.org", "").replace("http://creativecommons", "")

    def test_compare(self, sqzx, study, tmp_path):
        text = sqzx("compare", study, "model.squeeze_ratio=0.25", "model.squeeze_ratio=0.5")[1]
        assert "squeeze_ratio" in text
        found = json.loads(
            sqzx("compare", study, "model.squeeze_ratio=0.25", "model.squeeze_ratio=0.5", "--json")[1]
        )
        assert "model.squeeze_ratio" in json.dumps(found["keys"])
        assert [row["pair"] for row in found["pairs"]] == ["AB"]
        page = tmp_path / "c.html"
        trial = found["sides"][0]["trials"][0]
        sides = ("model.squeeze_ratio=0.25", "model.squeeze_ratio=0.5", trial)
        assert sqzx("compare", study, *sides, "--html", page)[1].strip() == str(page)
        assert "C" in page.read_text()
        assert trial in page.read_text()
        code, _, err = sqzx("compare", study, "model.squeeze_ratio=0.25", "nothing", check=False)
        assert code == 2
        assert len(err.strip().splitlines()) == 1


def test_a_reader_that_goes_away_is_no_error(sqzx):
    import subprocess
    import sys

    done = subprocess.run(
        f"{sys.executable} -m sqzx describe | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""


def test_help_and_version(sqzx):
    assert "sweep" in sqzx("--help")[1]
    assert sqzx("--version")[1].strip() == __import__("sqzx").__version__


@pytest.mark.parametrize("command", ["train", "run", "compress"])
def test_a_patience_that_is_no_time_is_refused_before_any_work(
    sqzx, study, tiny_set, tmp_path, monkeypatch, command
):
    monkeypatch.setenv("SQZX_PATIENCE", "90s")
    trial = next(path for path in (study / "trials").iterdir() if (path / "model.safetensors").exists())
    arguments = {
        "train": ["train", "--preset", "squeezenet_small", "--set=data.name=digits", *tiny_set],
        "run": ["sweep", "run", study / "study.toml"],
        "compress": ["compress", trial, "--recipe", "pruning"],
    }[command]
    out = tmp_path / "out.sqz"
    code, _, told = sqzx(*arguments, "--out", out, check=False)
    assert (code, told.splitlines()) == (
        2,
        ["sqzx: SQZX_PATIENCE: '90s' is no number of seconds from 0.1; the default is 90"],
    )
    assert list(tmp_path.iterdir()) == []
