"""Compressed networks against what they were made of, on hand-made folders."""

import pytest

from analysis.against_dense import against_dense, table
from analysis.compare import compare
from analysis.predictions import read_predictions
from analysis.report import write_report
from sqzx.trial import Status
from sweeps.plan import plan_folder, trial_folder
from tests.analysis.conftest import HEAD, make_result, write_study

STUDY = (
    HEAD
    + """
[[sweep]]
name = "made"
grid.model.squeeze_ratio = [0.25, 0.5]
points = [{ compress.recipe = "svd" }, { compress.recipe = "pruning" }]

[[sweep]]
name = "dense alone"
set.model.squeeze_ratio = 1.0
"""
)


def outcome(trial):
    """Pruning is as good as the dense network, SVD loses; the seeds differ more than the methods."""
    compress = trial.config.compress
    lost = {None: 0, "pruning": 1 - 2 * trial.config.seed, "svd": 30 + trial.config.seed}
    top1 = (250 + 60 * trial.config.seed - lost[compress and compress.recipe]) / 360
    changes = {"test_top1": top1} | ({} if compress is None else {"bytes_compressed": 1000})
    return make_result(trial, **changes)


@pytest.fixture
def folder(tmp_path):
    return write_study(tmp_path / "out", STUDY, outcome)


def test_each_dense_network_comes_with_what_was_made_of_it(folder):
    rows = against_dense(plan_folder(folder), folder)
    assert [row.recipe for row in rows] == [None, "svd", "pruning"] * 2
    assert [row.found is None for row in rows] == [True, False, False] * 2
    dense = rows[0]
    assert (dense.ratio, dense.verdict) == (1, "")
    assert [row.size for row in rows[1:3]] == [1000, 1000]
    assert rows[1].ratio == pytest.approx(dense.size / 1000)


def test_differences_are_those_of_the_networks_of_a_seed(folder):
    plan = plan_folder(folder)
    svd, pruning = against_dense(plan, folder)[1:3]
    assert svd.found.difference == pytest.approx(-30.5 / 360)
    assert pruning.found.difference == pytest.approx(0, abs=1e-12)
    assert len(svd.found.tests) == 2
    assert svd.verdict == "the dense network is more accurate than the compressed one"
    assert svd.adjusted == pytest.approx(min(1, 4 * svd.found.p), rel=0.5)  # Holm over four
    assert svd.found.high < 0


def test_compare_matches_them_by_seed_too(folder):
    plan = plan_folder(folder)
    svd = against_dense(plan, folder)[1]
    dense, made = (
        next(t.name for t in plan.trials if (t.config.compress is None) == is_dense and "0.25" in t.name)
        for is_dense in (True, False)
    )
    (pair,) = compare(folder, [dense, made]).pairs
    assert pair.found == svd.found
    networks = [next(t for t in plan.trials if t.name == dense and t.config.seed == seed) for seed in (0, 1)]
    (pair,) = compare(folder, [trial.id for trial in networks]).pairs  # seeds of one configuration
    assert len(pair.found.tests) == 1


def test_the_table_has_numbers_and_words(folder):
    found = table(against_dense(plan_folder(folder), folder))
    assert found["recipe"].isna().tolist() == [True, False, False] * 2
    assert found["difference"].isna().tolist() == [True, False, False] * 2
    assert found["test_top1"].iloc[0] == pytest.approx(280 / 360)
    assert found["verdict"].iloc[1].startswith("the dense network")


def test_what_has_no_trial_that_counts_is_left_out(tmp_path):
    def some(trial):
        failed = trial.config.compress is not None and trial.config.compress.recipe == "svd"
        return Status(status="failed", reason="a test") if failed else outcome(trial)

    folder = write_study(tmp_path / "out", STUDY, some)
    assert [row.recipe for row in against_dense(plan_folder(folder), folder)] == [None, "pruning"] * 2


def test_missing_predictions_are_said(folder):
    plan = plan_folder(folder)
    for trial in plan.trials:
        if trial.config.compress is None:
            trial_folder(folder, trial.id).predictions_file.unlink()
    assert against_dense(plan, folder)[1].verdict == "no predictions to compare"


def test_the_report_has_them(folder, tmp_path):
    page = write_report(folder, tmp_path / "r.html").read_text()
    assert "Compressed, against the dense network" in page
    assert "the dense network is more accurate than the compressed one" in page


def test_a_study_without_compression_has_none(make_study):
    folder = make_study()
    assert against_dense(plan_folder(folder), folder) == []
    assert read_predictions([])[0] is None
