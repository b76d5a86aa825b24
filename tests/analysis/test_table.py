import pytest

import analysis
from analysis.table import left_out, load, scored
from sqzx.config import KEYS, resolve
from sqzx.errors import InputError
from sqzx.trial import Status


def test_one_row_a_trial_with_every_key_as_a_column(paper_study):
    frame = load(paper_study)
    assert len(frame) == 39
    assert list(frame.columns[:6]) == ["id", "config_id", "name", "sweeps", "status", "reason"]
    own = resolve({"data.name": "digits"}, "f").settings()  # another family's keys are no columns
    keys = [key for key in KEYS if key in own]
    assert [column for column in frame.columns if column in KEYS] == keys
    assert frame["model.pool_after"].unique().tolist() == ["1,4,8"]
    assert frame["seed"].tolist() == [0, 1, 2] * 13


def test_an_empty_tuple_is_no_unset_value(make_study):
    text = """schema = 1
name = "s"
[config]
model.preset = "squeezenet_small"
model.num_fires = 2
model.pool_after = []
"""
    assert load(make_study(text))["model.pool_after"].tolist() == ["[]"]


def test_a_point_of_two_sweeps_is_one_row(paper_study):
    frame = load(paper_study)
    both = frame[frame["sweeps"] == "squeeze_ratio;pct_3x3"]
    assert both["name"].unique().tolist() == ["squeeze_ratio=0.5, pct_3x3=0.5"]
    assert len(both) == 3


def test_counts_come_from_the_configuration(paper_study):
    row = load(paper_study).iloc[0]
    assert (row["params"], row["bytes_fp32"], row["flops"]) == (47_258, 189_032, 2 * row["macs"])


def test_pending_trials_have_rows_without_numbers(make_study):
    frame = load(make_study(outcome=lambda trial: None))
    assert frame["status"].tolist() == ["pending"] * 6
    assert frame["test_top1"].isna().all()
    assert frame["learned"].isna().all()
    assert frame["test_top1"].dtype == "float64"


def test_scored_and_left_out_part_the_trials(make_study, result):
    outcomes = {
        0: lambda trial: Status(status="timed_out", reason="5 s"),
        1: lambda trial: result(trial, learned=False),
        2: lambda trial: result(trial, test_top5=None),
    }
    frame = load(make_study(outcome=lambda trial: outcomes[trial.config.seed](trial)))
    assert scored(frame)["seed"].unique().tolist() == [2]
    assert left_out(frame)["why"].tolist() == ["timed out", "did not learn"] * 2
    assert scored(frame, "test_top5").empty
    assert left_out(frame, "test_top5")["why"].tolist() == ["timed out", "did not learn", "no test_top5"] * 2
    assert len(scored(frame)) + len(left_out(frame)) == len(frame)


def test_a_removed_trial_keeps_its_numbers_and_enters_no_mean(make_study):
    out = make_study()
    study = out / "study.toml"
    study.write_text(study.read_text().replace("[0.25, 0.5]", "[0.25]"))
    frame = load(out)
    removed = frame[frame["status"] == "removed"]
    assert len(removed) == 3
    assert removed["test_top1"].notna().all()
    assert len(scored(frame)) == 3


def test_done_without_a_result_is_left_out(make_study):
    frame = load(make_study(outcome=lambda trial: Status(status="done")))
    assert left_out(frame)["why"].unique().tolist() == ["no test_top1"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_that_is_no_study_is_one_line(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(InputError) as error:
        analysis.load(tmp_path / "x")
    assert "\n" not in str(error.value)
    assert str(tmp_path / "x") in str(error.value)


@pytest.mark.parametrize("content", ["", "[1]", '{"test_top1": "x"}', '{"learned": 1}'])
def test_a_damaged_result_is_that_trial_s_failure_alone(make_study, content):
    out = make_study()
    first = next((out / "trials").iterdir())
    (first / "result.json").write_text(content)
    frame = load(out).set_index("id")
    assert frame.loc[first.name, "status"] == "failed"
    assert "result.json" in frame.loc[first.name, "reason"]
    assert (frame["status"] == "done").sum() == len(frame) - 1


def test_a_censored_trial_is_in_the_table_and_in_no_mean(make_study, result):
    """It stopped early: a mean over the survivors' last epochs would be another quantity."""
    reason = "stopped at epoch 3 of 40: number 5 of 6 in its bin, of which 2 went on"
    censored = Status(status="censored", reason=reason, epoch=3)
    frame = load(make_study(outcome=lambda trial: result(trial) if trial.config.seed else censored))
    first = frame[frame["seed"] == 0]
    assert set(first["status"]) == {"censored"}
    assert set(first["reason"]) == {reason}
    assert not set(first["id"]) & set(scored(frame)["id"])
    assert len(scored(frame)) == len(frame) - len(first)
    assert set(left_out(frame)["why"]) == {"censored"}
