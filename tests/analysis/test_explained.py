import itertools

import numpy as np
import pytest

from analysis.explained import draw_explained, explained, told, trust
from analysis.report_axes import axes_said


def grid(study_frame, value, seeds=2):
    keys = {f"{s}-{f}": {"model.squeeze_ratio": s, "model.freq": f} for s, f in
            itertools.product([0.25, 0.5, 1.0], [1, 2])}  # fmt: skip
    values = {name: [value(*own.values(), seed) for seed in range(seeds)] for name, own in keys.items()}
    return study_frame(values, metric="test_top1", keys=keys)


def random_design(study_frame, value, n=40):
    rng = np.random.default_rng(3)
    keys = {str(i): {"model.squeeze_ratio": rng.uniform(0.1, 1), "model.freq": int(rng.integers(1, 5))}
            for i in range(n)}  # fmt: skip
    values = {name: [value(*own.values(), rng.normal())] for name, own in keys.items()}
    return study_frame(values, metric="test_top1", keys=keys)


def subtitle(figure):
    return figure.texts[1].get_text().replace("\n", " ")


class TestAFullGrid:
    def test_its_shares_are_exact_and_the_largest_comes_first(self, study_frame):
        """Of squeeze ratio the sum of squares is 2 x (0.01 + 0 + 0.01), of freq 3 x (0.0001 + 0.0001)."""
        step = {0.25: -0.1, 0.5: 0.0, 1.0: 0.1}
        (found,) = explained(grid(study_frame, lambda s, f, seed: 0.5 + step[s] + 0.02 * f + 0.01 * seed))
        assert found.exact
        assert found.n == 6
        shares = found.terms.set_index("term")["share"]
        assert list(shares.index[:2]) == ["model.squeeze_ratio", "model.freq"]
        assert shares["model.freq"] == pytest.approx(0.0006 / 0.0406)
        assert f"model.freq: {100 * 0.0006 / 0.0406:.1f} %" in told(found)

    def test_the_share_of_seeds_is_a_bar_of_its_own_cut_at_all(self, study_frame):
        quiet, loud = (
            explained(grid(study_frame, lambda s, f, seed, by=by: 0.5 + 0.1 * s + by * seed))[0]
            for by in (0.01, 0.3)
        )
        for found, text in ((quiet, "seeds alone would give 2.1 %"), (loud, "more than 100 %")):
            (axes,) = draw_explained(found).axes
            assert axes.patches[-1].get_width() == pytest.approx(min(found.noise, 1))
            assert axes.get_yticklabels()[-1].get_text() == "seeds alone would give"
            assert text in told(found)

    def test_one_seed_has_shares_and_no_share_of_seeds(self, study_frame):
        (found,) = explained(grid(study_frame, lambda s, f, seed: 0.1 * s, seeds=1))
        figure = draw_explained(found)
        assert len(figure.axes[0].patches) == 3
        assert "one seed a cell: no interval" in subtitle(figure)


class TestAnyOtherDesign:
    def test_its_importance_comes_with_the_surrogate_s_r2_and_n(self, study_frame):
        (found,) = explained(random_design(study_frame, lambda s, f, noise: 0.5 + 0.3 * s))
        assert not found.exact
        assert found.terms["term"][0] == "model.squeeze_ratio"
        text = subtitle(draw_explained(found))
        assert f"R2: {found.r2:.2f}" in text
        assert "n = 40 configurations" in text
        assert "not to be trusted" not in text

    def test_a_low_r2_is_not_to_be_trusted(self, study_frame):
        (found,) = explained(random_design(study_frame, lambda s, f, noise: 0.5 + 0.1 * s + 0.015 * noise))
        assert 0 < found.r2 < 0.5
        assert "not to be trusted" in subtitle(draw_explained(found))
        assert "not to be trusted" in told(found)

    def test_few_configurations_have_a_reason_and_no_terms(self, study_frame):
        (found,) = explained(random_design(study_frame, lambda s, f, noise: 0.5 + 0.3 * s, n=9))
        assert found.terms.empty
        assert "not enough configurations to say (9)" in trust(found)

    def test_only_the_sweeps_own_configurations_enter(self, study_frame):
        frame = random_design(study_frame, lambda s, f, noise: 0.5 + 0.3 * s)
        frame.loc[frame.index[:15], "sweeps"] = "other"
        assert sorted(one.n for one in explained(frame)) == [15, 25]


def test_a_single_key_needs_no_share(study_frame):
    assert explained(study_frame({"a": [0.5, 0.6], "b": [0.7, 0.8]}, metric="test_top1")) == []


class TestTheReportsTables:
    def test_a_grid_has_its_extreme_effects_with_intervals_and_n(self, study_frame):
        step = {0.25: -0.1, 0.5: 0.0, 1.0: 0.1}
        frame = grid(study_frame, lambda s, f, seed: 0.5 + step[s] + 0.02 * f + 0.01 * seed)
        part = axes_said(frame, "test_top1")[0]
        row = next(row for row in part.table.rows if row[1].text == "model.squeeze_ratio")
        half = (
            2.446912 * 0.01 / np.sqrt(2) * np.sqrt((1 / 3 - 1 / 9) / 4 * 3)
        )  # variance of a mean less theirs
        assert row[3].text == "0.25"
        assert row[4].text == f"-10.0 ({-10 - 100 * half:+.1f} to {-10 + 100 * half:+.1f})"
        assert (row[5].text, row[-1].text) == ("1", "12")
        assert part.table.rows[-1][1].text == "seeds alone would give"

    def test_a_random_design_has_importance_with_its_trust(self, study_frame):
        frame = random_design(study_frame, lambda s, f, noise: 0.5 + 0.3 * s)
        titles = {part.title: part for part in axes_said(frame, "test_top1")}
        part = titles["Importance where the design is no full grid"]
        assert part.table.rows[0][1].text == "model.squeeze_ratio"
        assert part.table.rows[0][-1].text == "40"
        assert "Cross-validated R2: 0.9" in part.unsaid[0]
        assert "Effects in full grids" not in titles

    def test_each_key_has_its_good_range_by_validation(self, study_frame):
        frame = study_frame({str(i): [i / 20, i / 20 + 0.01] for i in range(12)}, metric="val_top1")
        part = axes_said(frame, "test_top1")[-1]
        assert part.title == "Good ranges"
        (row,) = part.table.rows
        assert row[0].text == "model.squeeze_ratio"
        # The best of 3 draws of 12 is of the k lowest with (k / 12)^3: 2.5 % by the 4th, half by the 10th.
        assert [cell.text for cell in row[1:3]] == ["1.25", "0.5 to 1.5"]
        assert row[-1].text == "12"

    def test_data_sets_have_ranges_of_their_own(self, study_frame):
        frame = study_frame({str(i): [i / 20] for i in range(20)}, metric="val_top1")
        frame.loc[frame.index[:10], "data.name"] = "other"
        rows = axes_said(frame, "test_top1")[-1].table.rows
        assert [row[0].text for row in rows] == ["other", "digits"]

    def test_few_configurations_are_said_to_be_too_few(self, study_frame):
        part = axes_said(study_frame({str(i): [i / 20] for i in range(4)}), "test_top1")[-1]
        assert part.unsaid == ["digits: not enough configurations to say (4)."]

    def test_nothing_that_varies_is_nothing_said(self, study_frame):
        assert axes_said(study_frame({"a": [0.5, 0.6]}), "test_top1") == []
