from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.paper import CONTRADICTIONS, figure3, table2, table3
from analysis.paper_check import paper_check
from analysis.statistics import contrast, mean_difference

TRIALS = Path(__file__).parents[2] / "results" / "fashion_mnist_first" / "trials.csv"
PUBLISHED = {
    key: figure3(key).set_index("value")["top5"].to_dict() for key in ("model.squeeze_ratio", "model.pct_3x3")
}


@pytest.fixture
def paper_frame(study_frame):
    """The paper's two sweeps, their accuracies by a function of squeeze ratio and 3x3 fraction."""

    def make(accuracy, spread=0.001, seeds=3, **others):
        points = [(s, 0.5) for s in PUBLISHED["model.squeeze_ratio"]]
        points += [(0.5, p) for p in PUBLISHED["model.pct_3x3"] if p != 0.5]
        keys = {
            f"{s}-{p}": {"model.family": "squeezenet", "model.squeeze_ratio": s, "model.pct_3x3": p} | others
            for s, p in points
        }
        values = {
            f"{s}-{p}": [accuracy(s, p) + spread * (seed - (seeds - 1) / 2) for seed in range(seeds)]
            for s, p in points
        }
        return study_frame(values, metric="test_top1", keys=keys)

    return make


def as_published(squeeze_ratio, pct_3x3):
    if pct_3x3 != 0.5:
        return PUBLISHED["model.pct_3x3"][pct_3x3] / 100
    return PUBLISHED["model.squeeze_ratio"][squeeze_ratio] / 100


def answers(frame, where):
    return {check.what: check.agrees for check in paper_check(frame) if check.where == where}


def test_the_papers_own_numbers_agree_with_themselves(paper_frame):
    checks = paper_check(paper_frame(as_published, spread=0.0001))
    figures = [check for check in checks if check.where.startswith("Figure")]
    assert len([check for check in figures if " = " in check.what and "%" in check.published]) == 14
    firsts = [check for check in figures if "first point" in check.why]
    assert len(firsts) == 2
    assert {check.agrees for check in figures if check not in firsts} == {"yes"}


def test_the_reverse_of_the_paper_is_contradicted(paper_frame):
    frame = paper_frame(lambda s, p: 1.5 - as_published(s, p), spread=0.0001)
    claims = [c for c in paper_check(frame) if c.where.startswith("Figure") and "points" in c.published]
    assert {check.agrees for check in claims} == {"no"}


def test_a_straight_line_has_no_plateau(paper_frame):
    frame = paper_frame(lambda s, p: 0.5 + 0.3 * s * p, spread=0.0001)
    found = answers(frame, "Figure 3b")
    assert found["accuracy rises with pct_3x3 from 0.01 to 0.99"] == "yes"
    assert found["more of it up to pct_3x3 = 0.5 than beyond"] != "yes"


def test_one_steep_step_where_the_paper_is_flat_is_contradicted(paper_frame):
    frame = paper_frame(lambda s, p: 0.5 + 0.4 * (p > 0.7), spread=0.0001)
    assert answers(frame, "Figure 3b")["pct_3x3 = 0.75, step -0.2"] == "no"


def test_a_wide_spread_cannot_say(paper_frame):
    found = answers(paper_frame(as_published, spread=0.2), "Figure 3a")
    assert set(found.values()) == {"cannot say"}


@pytest.mark.parametrize(("seeds", "why"), [(1, "not enough seeds to say"), (2, "")])
def test_one_seed_is_not_enough_to_say(paper_frame, seeds, why):
    checks = [c for c in paper_check(paper_frame(as_published, 0.00001, seeds)) if "accuracy rises" in c.what]
    assert {check.why for check in checks} == {why}
    assert all(check.ours for check in checks)


def test_values_near_the_published_ones_stand_for_them_and_are_named(paper_study):
    checks = paper_check(analysis.load(paper_study))
    first = next(check for check in checks if check.what == "pct_3x3 = 0.01")
    assert "at 0.0625 (n = 3 seeds)" in first.ours
    assert next(check for check in checks if check.what == "squeeze_ratio = 0.125").ours.endswith(
        "% (n = 3 seeds)"
    )


def test_a_study_without_the_axes_says_so(make_study, study_frame):
    text = """schema = 1
name = "s"
[config]
model.preset = "alexnet_small"
data.name = "fashion_mnist"
"""
    frame = analysis.load(make_study(text, outcome=lambda trial: None))
    assert {check.agrees for check in paper_check(frame)} == {"cannot say"}
    whys = {check.why for check in paper_check(frame)}
    assert "the study has no axis model.squeeze_ratio" in whys
    assert "the study has no axis model.bypass" in whys
    assert {check.agrees for check in paper_check(study_frame({"a": [0.5]}))} == {"cannot say"}


def test_other_axes_do_not_mix_into_a_line(paper_frame):
    """The same sweep with another base_e, far worse, beside it: a line stays at one base_e."""
    import pandas as pd

    good = paper_frame(as_published, spread=0.0001, **{"model.base_e": 128})
    bad = paper_frame(lambda s, p: 0.1, **{"model.base_e": 2})
    bad = bad[bad["name"] == "0.25-0.5"].assign(config_id="other")
    claims = answers(pd.concat([bad, good], ignore_index=True), "Figure 3a")
    assert claims["squeeze_ratio = 0.25, step +3.1"] == "yes"


def test_a_line_is_taken_where_the_paper_takes_it(study_frame):
    """A grid of both: along pct_3x3 = 0.25, which comes first, accuracy falls with the squeeze ratio."""
    keys = {
        f"{s}-{p}": {"model.family": "squeezenet", "model.squeeze_ratio": s, "model.pct_3x3": p}
        for p in (0.25, 0.5)
        for s in (0.125, 1.0)
    }
    values = {name: [0.5 + 0.1 * v["model.squeeze_ratio"] * (1 if v["model.pct_3x3"] == 0.5 else -1) + spread
                     for spread in (0, 0.001)] for name, v in keys.items()}  # fmt: skip
    found = answers(study_frame(values, metric="test_top1", keys=keys), "Figure 3a")
    assert found["accuracy rises with squeeze_ratio from 0.125 to 1"] == "yes"


def test_bypass_is_checked_where_it_varies(study_frame):
    keys = {
        kind: {"model.family": "squeezenet", "model.bypass": kind} for kind in ("none", "simple", "complex")
    }
    values = {"none": [0.70, 0.71], "simple": [0.60, 0.61], "complex": [0.80, 0.81]}
    found = answers(study_frame(values, metric="test_top1", keys=keys), "Table 3")
    assert found == {
        "bypass simple is more accurate than none": "no",
        "bypass complex is more accurate than none": "yes",
        "bypass simple is more accurate than complex": "no",
    }


def test_another_metric_gives_other_numbers(paper_study):
    frame = analysis.load(paper_study)
    assert paper_check(frame, "val_top1") != paper_check(frame)


def test_the_published_study_agrees_where_its_readme_says_so():
    checks = paper_check(analysis.read_table(TRIALS))
    rises = {check.what: check for check in checks if "accuracy rises" in check.what}
    squeeze = rises["accuracy rises with squeeze_ratio from 0.125 to 1"]
    assert (squeeze.agrees, squeeze.ours) == ("yes", "+3.4 points (+1.2 to +5.7)")
    assert "+3.0 points (+1.6 to +4.5)" in {check.ours for check in rises.values()}
    step = next(check for check in checks if check.what == "squeeze_ratio = 0.25, step +3.1")
    assert step.agrees == "cannot say"


class TestContrast:
    def test_of_two_groups_it_is_the_difference_of_means(self):
        a, b = [0.91, 0.93, 0.92], [0.95, 0.99]
        assert contrast([a, b], [-1, 1])[:3] == pytest.approx(mean_difference(a, b)[:3])

    def test_of_equal_variances_it_is_the_pooled_one(self):
        """Equal n and s: the degrees of freedom of three groups are 3 (n - 1), as if pooled."""
        from scipy import stats

        groups = [np.array([-1.0, 0, 1]) / 100 + mean for mean in (0.1, 0.2, 0.4)]
        weights = [1, 1, 1]
        half = stats.t.ppf(0.975, 6) * 0.01 * np.sqrt(3 / 3)
        found = contrast(groups, weights)
        assert (found.difference, found.low, found.high) == pytest.approx((0.7, 0.7 - half, 0.7 + half))

    @pytest.mark.parametrize(
        ("groups", "note"),
        [
            ([[], [0.1, 0.2]], "nothing to compare"),
            ([[0.1], [0.1, 0.2]], "not enough seeds to say"),
            ([[0.1, 0.1], [0.1, 0.2]], "equal seeds: no interval"),
        ],
    )
    def test_stated_answers(self, groups, note):
        found = contrast(groups, [-1, 1])
        assert (found.low, found.high, found.note) == (None, None, note)


class TestTables:
    def test_table_2_s_reductions_are_ratios_of_its_sizes(self):
        found = table2()
        assert len(found) == 7
        for row in found.itertuples():
            assert 240 / float(row.size.removesuffix("MB")) == pytest.approx(row.reduction, rel=0.01, abs=0.9)
        assert found["bits"].tolist() == ["32", "32", "32", "5-8", "32", "8", "6"]
        assert found["approach"].tolist()[0] == "none"

    def test_table_3_is_counted_from_its_networks(self):
        from sqzx.architectures import SqueezeNetConfig
        from sqzx.counting import count, size_label

        for row in table3().itertuples():
            network = count(SqueezeNetConfig(bypass=row.bypass), (227, 227, 3))
            assert network.params == row.params
            assert (size_label(network.bytes_fp32) == row.size_label) == (row.bypass != "complex")

    def test_contradictions_are_notes(self):
        assert all(note.what.endswith(".") for note in CONTRADICTIONS)
        assert {note.where for note in CONTRADICTIONS} >= {"Figure 3", "Table 3", "Table 2"}
