"""How a plan is printed, as JSON, as CSV and for a person, whatever its size."""

import csv
import json

from sweeps.listing import MOST_ROWS, plan_json, print_plan, skipped_lines, write_plan_csv
from sweeps.plan import Plan, plan_study, priced
from sweeps.study import parse_study

HEAD = 'schema = 1\nname = "卷积"\nseeds = 2\n[config]\nmodel.preset = "squeezenet_small"\n'


def plan(text: str) -> Plan:
    return priced(plan_study(parse_study(HEAD + text, "s.toml")), None)


SMALL = plan(
    '[[sweep]]\nname = "a,b"\n'
    "grid.model.squeeze_ratio = [0.001, 0.002, 0.3]\ngrid.model.pool_after = [[1, 4], []]\n"
    "[[sweep]]\nset.train.epochs = 3\n"
)


class TestJson:
    def test_is_one_value_with_a_line_a_trial(self):
        text = "".join(plan_json(SMALL, 2))
        found = json.loads(text)
        assert found["study"] == "卷积"
        assert [trial["id"] for trial in found["trials"]] == [trial.id for trial in SMALL.trials]
        lines = [line.rstrip(",") for line in text.splitlines()]
        assert [json.loads(line) for line in lines if line.startswith('{"id"')] == found["trials"]
        assert [json.loads(line) for line in lines if line.startswith('{"sweep"')] == found["skipped"]

    def test_trials_have_their_configuration_and_sizes(self):
        first = json.loads("".join(plan_json(SMALL, 2)))["trials"][0]
        trial = SMALL.trials[0]
        assert first["config"] == json.loads(json.dumps(trial.config.to_json()))
        assert first["params"] == trial.network.params
        assert first["macs"] == trial.network.macs
        assert first["peak_activations"] == trial.network.peak_activations
        assert first["est_seconds"] is None
        assert first["est_disk_bytes"] == trial.est_disk_bytes > 0

    def test_skipped_points_have_their_reason_and_are_counted(self):
        found = json.loads("".join(plan_json(SMALL, 2)))
        assert found["skipped"][0]["config"] == {"model.squeeze_ratio": 0.001, "model.pool_after": [1, 4]}
        assert "a width of 0" in found["skipped"][0]["reason"]
        assert found["totals"]["skipped_by_reason"] == {"model.squeeze_ratio": 4}
        assert found["totals"]["est_disk_bytes_left"] == sum(t.est_disk_bytes for t in SMALL.trials)

    def test_empty_lists_are_json(self):
        assert json.loads("".join(plan_json(plan(""), 1)))["skipped"] == []


class TestCsv:
    def test_has_a_row_a_trial_and_a_column_an_axis(self, tmp_path):
        write_plan_csv(SMALL, tmp_path / "plan.csv")
        rows = list(csv.DictReader((tmp_path / "plan.csv").read_text("utf-8").splitlines()))
        assert [row["id"] for row in rows] == [trial.id for trial in SMALL.trials]
        assert [row["model.squeeze_ratio"] for row in rows] == ["0.3"] * 4 + [""] * 2
        assert [row["model.pool_after"] for row in rows] == ["1,4"] * 2 + ["[]"] * 2 + [""] * 2
        assert [row["train.epochs"] for row in rows] == [""] * 4 + ["3"] * 2
        assert [row["seed"] for row in rows] == ["0", "1"] * 3
        assert rows[0]["params"] == str(SMALL.trials[0].network.params)
        assert rows[0]["est_seconds"] == ""
        assert rows[0]["status"] == "pending"

    def test_is_written_whole(self, tmp_path):
        write_plan_csv(SMALL, tmp_path / "plan.csv")
        assert [path.name for path in tmp_path.iterdir()] == ["plan.csv"]


class TestPrinted:
    def test_points_skipped_for_one_reason_are_one_line(self):
        (line,) = skipped_lines(SMALL)
        assert line.startswith(
            "skipped 4 points by model.squeeze_ratio; the first is a,b: squeeze_ratio=0.001, pool_after=1,4: "
            "model.squeeze_ratio: 0.001 gives fire2's squeeze1x1 a width of 0"
        )

    def test_a_large_plan_is_cut_and_says_so(self, capsys):
        rates = ", ".join(f"{n}e-6" for n in range(1, MOST_ROWS + 12))
        print_plan(plan(f"[[sweep]]\ngrid.train.learning_rate = [{rates}]"), 2)
        text = capsys.readouterr().out
        assert "... and 11 configurations more (--csv FILE and --json have all)" in text
        assert text.count(" pending") == MOST_ROWS
        assert f"{2 * (MOST_ROWS + 11)} trials of {MOST_ROWS + 11} configurations" in text

    def test_decimal_values_are_shown_as_they_were_meant(self, capsys):
        block = "[[sweep]]\nrandom.count = 40\nrandom.uniform.model.squeeze_ratio = [0.1, 0.5, 0.1]"
        print_plan(plan(block), 2)
        text = capsys.readouterr().out
        assert "squeeze_ratio=0.3 " in text
        assert "0.30000000000000004" not in text

    def test_bounds_that_could_not_be_judged_are_named(self, capsys):
        print_plan(plan("[constraints]\nest_seconds = { max = 1 }"), 2)
        assert "constraints.est_seconds: not judged where the time is unknown" in capsys.readouterr().out
