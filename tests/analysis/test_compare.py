import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from analysis.compare import compare, to_json
from analysis.comparison_page import render_page, write_page
from analysis.comparison_tables import p_text, word_tables
from analysis.paired import holm
from analysis.side_by_side import render
from sqzx.errors import InputError
from sqzx.trial import Status, TrialFolder
from sweeps.plan import plan_folder, trial_folder

A, B = "squeeze_ratio=0.125, pct_3x3=0.5", "squeeze_ratio=1.0, pct_3x3=0.5"
C = "squeeze_ratio=0.5, pct_3x3=0.25"
SMALL_A, SMALL_B = "model.squeeze_ratio=0.25", "model.squeeze_ratio=0.5"

ODD_NAMES = [
    "_none",
    "Ba$$in",
    "a$b$c",
    "卷积",
    "<img src=x onerror=alert(1)>",
    "</script>",
    "[bold]x[/bold]",
]


def printed(comparison, width=160) -> str:
    console = Console(file=io.StringIO(), width=width)
    render(comparison, console)
    return console.file.getvalue()


def table_of(comparison, title):
    return next(table for table in word_tables(comparison) if table.title == title)


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


class TestConfiguration:
    def test_only_what_differs_is_among_the_keys(self, paper_study):
        found = compare(paper_study, [A, B])
        assert found.keys == (("model.squeeze_ratio", (0.125, 1.0), (True, True)),)

    def test_a_key_on_which_two_of_three_agree_differs(self, paper_study):
        found = compare(paper_study, [A, B, C])
        assert {row.key: row.values for row in found.keys} == {
            "model.squeeze_ratio": (0.125, 1.0, 0.5),
            "model.pct_3x3": (0.5, 0.5, 0.25),
        }

    def test_two_seeds_of_one_configuration_differ_in_the_seed(self, paper_study):
        a, b, *_ = plan_folder(paper_study).trials
        assert [row[:2] for row in compare(paper_study, [a.id, b.id]).keys] == [("seed", (0, 1))]

    def test_a_configuration_beside_itself_is_equal(self, paper_study):
        text = printed(compare(paper_study, [A, A]))
        assert "The configurations are equal." in text
        assert "A and B: both have trials in common, and tests are of independent ones." in text

    def test_a_trial_beside_its_own_configuration_is_not_tested(self, paper_study):
        first, *_ = plan_folder(paper_study).trials
        assert "trials in common" in compare(paper_study, [first.id, A]).pairs[0].verdict


class TestModules:
    def test_add_up(self, paper_study):
        found = compare(paper_study, [A, B])
        assert [row.name for row in found.modules[:4]] == ["conv1", "pool1", "fire2", "fire3"]
        for side, total in enumerate((47_258, found.sides[1].network.params)):
            assert sum(row.params[side] for row in found.modules) == total
        fire2 = found.modules[2]
        assert (fire2.shapes, fire2.params[0]) == (((4, 4, 32), (4, 4, 32)), 804)

    def test_a_module_of_one_side_stands_in_running_order(self, make_study):
        text = """schema = 1
name = "s"
[config]
model.preset = "squeezenet_small"
model.num_fires = 3
[[sweep]]
grid.model.pool_after = [[1], [1, 3]]
"""
        found = compare(make_study(text), ["model.pool_after=[1]", "model.pool_after=[1,3]"])
        names = [row.name for row in found.modules]
        assert names.index("pool3") == names.index("fire3") + 1
        assert found.modules[names.index("pool3")].shapes[0] is None

    def test_three_sides_have_totals_and_ratios_to_the_first(self, paper_study):
        found = compare(paper_study, [A, B, C])
        lines = printed(found, width=60).splitlines()
        total = next(line for line in lines if line.startswith(" total")).split()
        params, macs = ([getattr(side.network, k) for side in found.sides] for k in ("params", "macs"))
        assert total[1:4] == [f"{n:,}" for n in params]
        assert total[4:6] == [f"{n / params[0]:.2f}" for n in params[1:]]
        assert total[6:9] == [f"{n:,}" for n in macs]


class TestMetrics:
    def test_have_every_seed_and_the_difference(self, paper_study):
        found = compare(paper_study, [A, B])
        row = found.metrics[0]
        assert row.metric == "test_top1"
        assert list(row.values[0]) == [0, 1, 2]
        assert [mean.n for mean in row.means] == [3, 3]
        assert row.differences[0].low > 0
        text = printed(found)
        assert "+6.6 points" in text
        assert "90.8 %  92.5 %  89.4 %" in text

    def test_of_three_sides_each_further_one_is_set_against_the_first(self, paper_study):
        row = compare(paper_study, [A, B, C]).metrics[0]
        means = [mean.mean for mean in row.means]
        found = [difference.difference for difference in row.differences]
        assert found == pytest.approx([means[1] - means[0], means[2] - means[0]])

    def test_one_seed_is_not_enough_to_say(self, paper_study):
        trial = plan_folder(paper_study).trials[1]
        found = compare(paper_study, [trial.id[:10], B])
        assert [t.id for t in found.sides[0].trials] == [trial.id]
        assert found.metrics[0].differences[0].note == "not enough seeds to say"
        text = printed(found)
        assert "A and B: not enough seeds to say" in text
        assert "one seed: no interval" in text

    def test_trials_that_do_not_count_are_named(self, make_study, result):
        def outcome(trial):
            return Status(status="failed", reason="nan") if trial.config.seed == 1 else result(trial)

        found = compare(make_study(outcome=outcome), [SMALL_A, SMALL_B])
        assert found.sides[0].left_out() == {1: "failed"}
        assert found.metrics[0].means[0].n == 2
        assert "seed 1 does not count (failed)" in printed(found)
        assert len(found.pairs[0].found.tests) == 4

    def test_nothing_finished_says_so(self, make_study):
        found = compare(make_study(outcome=lambda trial: None), [SMALL_A, SMALL_B])
        assert found.metrics == ()
        assert "nothing to compare" in printed(found)
        assert "no predictions to compare" in printed(found)


class TestSameImages:
    def test_each_pair_is_tested_and_adjusted_for_their_number(self, paper_study):
        found = compare(paper_study, [A, B, C])
        assert [(row.a, row.b) for row in found.pairs] == [(0, 1), (0, 2), (1, 2)]
        raw = [row.found.p for row in found.pairs]
        assert [row.adjusted for row in found.pairs] == holm(raw)
        assert raw != holm(raw)
        assert found.pairs[0].verdict == "B is more accurate than A"

    def test_the_difference_is_that_of_the_metrics(self, paper_study):
        found = compare(paper_study, [A, B])
        assert found.pairs[0].found.difference == pytest.approx(found.metrics[0].differences[0].difference)
        assert found.pairs[0].found.images == 360

    def test_a_trial_whose_predictions_are_gone_is_named_and_the_others_are_tested(self, make_study):
        out = make_study()
        first = plan_folder(out).trials[0]
        trial_folder(out, first.id).predictions_file.unlink()
        found = compare(out, [SMALL_A, SMALL_B])
        assert len(found.pairs[0].found.tests) == 6
        assert "left out: A, seed 0" in printed(found)
        for trial in plan_folder(out).trials[1:3]:
            trial_folder(out, trial.id).predictions_file.unlink()
        assert compare(out, [SMALL_A, SMALL_B]).pairs[0].verdict == "no predictions to compare"

    def test_other_data_under_the_same_labels_is_not_compared(self, make_study, result):
        def outcome(trial):
            return result(
                trial, data_fingerprint=("a" if trial.config.model.squeeze_ratio < 0.4 else "b") * 64
            )

        found = compare(make_study(outcome=outcome), [SMALL_A, SMALL_B])
        assert found.pairs[0].verdict == "not the same test images: no paired test"
        assert found.classes == ()
        assert "no classes" in table_of(found, "Classes").note


class TestClasses:
    def test_have_the_names_of_the_data_and_add_up_to_the_accuracy(self, make_study, result):
        found = compare(
            make_study(outcome=lambda t: result(t, test_top1=0.5 + t.config.seed / 10)), [SMALL_A, SMALL_B]
        )
        assert found.classes == ()  # equal accuracies err on equal images
        assert table_of(found, "Classes").note == "No class differs."

        def half_on_a(trial):
            return result(trial, test_top1=0.5 if trial.config.model.squeeze_ratio < 0.4 else 0.9)

        found = compare(make_study(outcome=half_on_a), [SMALL_A, SMALL_B])
        assert {row.name for row in found.classes} <= set("0123456789")
        assert (
            "each by itself" in table_of(found, "Classes").note
        )  # the largest of many differences come first
        # Classes have 36 images each here, so the mean of the differences is that of the accuracies.
        gained = sum(row.shares[1] - row.shares[0] for row in found.classes) / 10
        assert gained == pytest.approx(0.4)
        sizes = [max(row.shares) - min(row.shares) for row in found.classes]
        assert sizes == sorted(sizes, reverse=True)
        assert found.classes[0].images == 36

    def test_an_interval_ends_where_a_difference_can(self, paper_study):
        found = compare(paper_study, [A, B])
        table = table_of(found, "Classes")
        ends = [row[-1] for (row,) in table.groups if " to " in row[-1]]
        assert ends
        assert all(-100 <= float(end) <= 100 for text in ends for end in text.split(" to "))


class TestEnvironment:
    def test_only_what_differs_is_shown(self, make_study):
        out = make_study()
        assert compare(out, [SMALL_A, SMALL_B]).environment == ()
        assert "No difference is known" in printed(compare(out, [SMALL_A, SMALL_B]))
        for trial in plan_folder(out).trials[3:]:
            folder = trial_folder(out, trial.id)
            status = folder.read_status()
            changed = status.provenance | {"versions": status.provenance["versions"] | {"jax": "0.11.0"}}
            folder.write_status(status.but(provenance=changed | {"cores": [4, 5]}))
        assert compare(out, [SMALL_A, SMALL_B]).environment == (
            ("cores of a trial", ("1", "2")),
            ("jax", ("0.10.2", "0.11.0")),
        )


class TestSides:
    def test_a_selection_is_a_configuration_with_all_its_seeds(self, paper_study):
        found = compare(paper_study, ["model.squeeze_ratio=0.5,model.pct_3x3=0.25", "model.squeeze_ratio=1"])
        assert [len(side.trials) for side in found.sides] == [3, 3]
        assert found.sides[1].label == B

    def test_a_trial_of_another_study_is_its_path(self, paper_study, make_study):
        other = make_study()
        trial = plan_folder(other).trials[0]
        found = compare(paper_study, [A, str(trial_folder(other, trial.id).path)])
        assert ("model.num_fires", (8, 2)) in [row[:2] for row in found.keys]
        assert found.metrics[0].means[1].n == 1
        assert found.pairs[0].found.images == 360

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nonsense", r"nonsense: no trial's id, .* the study has 'squeeze_ratio=0.125, pct_3x3=0.5'"),
            ("t", r"t: fits 39 trials; say which: .* and 33 more"),
            ("model.pct_3x3=0.5", r"fits 5 configurations; say which: 'squeeze_ratio=0.125, pct_3x3=0.5'"),
            ("model.pct_3x3=0.3", r"model.pct_3x3=0.3: no configuration of the study has these"),
            ("model.pct=0.5", r"model.pct: unknown key; did you mean model.pct_3x3"),
            ("", r"no trial's id"),
            ("x\0y", r"no trial's id"),
        ],
    )
    def test_what_names_none_or_several_is_one_line(self, paper_study, text, message):
        with pytest.raises(InputError, match=message) as error:
            compare(paper_study, [text, A])
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("texts", [[A], [A] * 27])
    def test_as_many_sides_as_letters(self, paper_study, texts):
        with pytest.raises(InputError, match="needs 2 to 26 sides"):
            compare(paper_study, texts)


class TestJson:
    def test_is_strict_and_has_an_item_a_side(self, paper_study):
        whole = json.loads(json.dumps(to_json(compare(paper_study, [A, B])), allow_nan=False))
        assert whole["sides"][0]["params"] == 47_258
        assert whole["metrics"]["test_top1"]["means"][0]["n"] == 3
        assert whole["keys"] == [{"key": "model.squeeze_ratio", "values": [0.125, 1.0]}]
        assert whole["pairs"][0]["pair"] == "AB"
        assert len(whole["pairs"][0]["tests"]) == 9
        assert whole["pairs"][0]["holm_p"] == whole["pairs"][0]["p"]

    def test_the_same_folder_gives_the_same_numbers(self, paper_study):
        assert to_json(compare(paper_study, [A, B])) == to_json(compare(paper_study, [A, B]))


class TestPage:
    def test_says_what_the_terminal_says_and_asks_for_nothing(self, paper_study, tmp_path):
        found = compare(paper_study, [A, B])
        page = write_page(found, tmp_path / "c.html").read_text(encoding="utf-8")
        assert "A and B: B is more accurate than A." in Page(page).text
        assert "+6.6 points" in page
        assert "http" not in page.replace("http-equiv", "")
        assert "6 of 14 modules are alike" in page
        assert render_page(found) == page

    def test_odd_names_come_out_as_typed_and_make_no_element(self, make_study, tmp_path):
        plain = Page(render_page(compare(out := make_study(), [SMALL_A, SMALL_B])))
        for number, name in enumerate(ODD_NAMES):
            folder = tmp_path / f"{number}" / name.replace("/", "\N{FULLWIDTH SOLIDUS}")
            folder.parent.mkdir()
            source = trial_folder(out, plan_folder(out).trials[0].id)
            source.path.rename(folder)
            moved = TrialFolder(folder)
            before = moved.read_status()
            moved.write_status(before.but(host=name))
            found = compare(out, [str(folder), SMALL_B])
            page = Page(render_page(found))
            assert page.tags == plain.tags
            assert page.attributes == plain.attributes
            assert name in page.text  # the host, in the environment's table
            assert folder.name in page.text
            assert name in printed(found, width=400)
            moved.write_status(before)
            folder.rename(source.path)


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< 0.001"), (0.0312, "0.031"), (1.0, "1")])
def test_p_values_have_two_digits(p, text):
    assert p_text(p) == text


def test_predictions_of_the_hand_made_studies_err_by_seed(paper_study):
    found = compare(paper_study, [A, B]).pairs[0].found
    assert len({(test.only_a, test.only_b) for test in found.tests}) > 1
    assert np.isfinite(found.p)
