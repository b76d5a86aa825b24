import shutil
from html.parser import HTMLParser

import pytest

from analysis.report import write_report
from analysis.summary import summary
from analysis.table import load
from sqzx.errors import InputError
from sqzx.trial import Status
from sweeps.plan import plan_folder, trial_folder

IMG, SCRIPT = "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>"


class Page(HTMLParser):
    """What a browser would find: elements, attributes and text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data):
        self.text += data


def report(out, tmp_path, name="report.html") -> tuple[str, Page]:
    text = write_report(out, tmp_path / name).read_text()
    return text, Page(text)


def test_it_has_the_numbers_the_figures_and_the_study_file(paper_study, tmp_path):
    _, page = report(paper_study, tmp_path)
    assert page.tags["svg"] == 2
    assert page.tags["h1"] == 1
    assert page.tags["table"] == 2
    assert "39 done" in page.text
    assert "47,258 parameters" in page.text
    assert 'name = "paper on digits"' in page.text
    assert "AMD EPYC" in page.text
    assert "2026-11-25 10:00 UTC" in page.text
    assert "commit 0123456789ab" in page.text


def test_nothing_comes_from_outside(paper_study, tmp_path):
    text, page = report(paper_study, tmp_path)
    assert not {"link", "img", "iframe", "image", "object", "embed", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert name != "src"
        assert name not in ("href", "xlink:href") or value.startswith("#")
        assert not name.startswith("on")
        assert "url(" not in value or "url(#" in value
    assert "http://" not in text
    assert "https://" not in text


def test_ids_are_unique_and_references_resolve(paper_study, tmp_path):
    _, page = report(paper_study, tmp_path)
    assert len(page.ids) == len(set(page.ids))
    for name, value in page.attributes:
        if name == "href":
            assert value[1:] in page.ids
        if name == "aria-labelledby":
            assert set(value.split()) <= set(page.ids)


def test_the_same_folder_gives_the_same_bytes(paper_study, tmp_path):
    assert report(paper_study, tmp_path, "a.html")[0] == report(paper_study, tmp_path, "b.html")[0]


def test_names_and_messages_are_text_and_nothing_else(make_study, result, tmp_path):
    def study(name: str, reason: str):
        text = f"""schema = 1
name = "{name}"
[config]
model.preset = "squeezenet_small"
model.num_fires = 2
model.pool_after = [1]
[[sweep]]
name = "{name}"
grid.model.squeeze_ratio = [0.25, 0.5, 0.75]
"""

        def outcome(trial):
            failed = trial.config.model.squeeze_ratio == 0.25
            return Status(status="failed", reason=reason) if failed else result(trial)

        out = make_study(text, outcome)
        trial_folder(out, plan_folder(out).trials[0].id).log_file.write_text(f"last words: {reason}\n")
        return report(out, tmp_path)[1]

    plain, hostile = study("plain", "plain"), study(IMG + SCRIPT, IMG + SCRIPT)
    assert hostile.tags == plain.tags
    assert {name for name, _ in hostile.attributes} == {name for name, _ in plain.attributes}
    assert hostile.text.count(IMG + SCRIPT) >= 5
    assert f"last words: {IMG}{SCRIPT}" in hostile.text


def test_a_half_finished_study_has_what_there_is(make_study, result, tmp_path):
    outcomes = {
        0: result,
        1: lambda trial: Status(status="interrupted", reason="its process ended without a word"),
        2: lambda trial: None,
    }
    _, page = report(make_study(outcome=lambda t: outcomes[t.config.seed](t)), tmp_path)
    assert page.tags["svg"] == 2
    assert "2 pending, 2 done and 2 interrupted" in page.text
    assert "its process ended without a word" in page.text
    assert "1 of 3" in page.text
    assert "one seed: no interval" in page.text
    assert "nan %" not in page.text


def test_without_a_finished_trial_a_sentence_stands_for_the_figures(make_study, tmp_path):
    _, page = report(make_study(outcome=lambda trial: None), tmp_path)
    assert "svg" not in page.tags
    assert "no trial has finished" in page.text
    assert "No trial has started yet." in page.text


def test_a_trial_that_did_not_learn_is_named_and_counted(make_study, result, tmp_path):
    out = make_study(outcome=lambda trial: result(trial, learned=trial.config.seed != 1))
    _, page = report(out, tmp_path)
    assert "2 trials enter no mean and no front: 2 did not learn." in page.text
    assert page.text.count("did not learn ·") == 2


def test_skipped_and_removed_points_are_shown(make_study, tmp_path):
    out = make_study()
    study = out / "study.toml"
    study.write_text(study.read_text().replace("[0.25, 0.5]", "[0.25, 0.001]"))
    removed = [trial.id for trial in plan_folder(out).trials if trial.status.status == "removed"]
    _, page = report(out, tmp_path)
    assert "model.squeeze_ratio = 0.001" in page.text
    assert "a width of 0" in page.text
    assert len(removed) == 3
    assert ", ".join(removed) in page.text


def test_a_foreign_folder_is_one_line(tmp_path):
    with pytest.raises(InputError, match="not a study's folder"):
        write_report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


class TestSummary:
    def test_validation_chooses_and_the_test_set_reports(self, make_study, result):
        def outcome(trial):
            wide = trial.config.model.squeeze_ratio == 0.5
            return result(trial, val_top1=0.8 if wide else 0.9, test_top1=0.95 if wide else 0.85)

        sentences = summary(load(make_study(outcome=outcome)))
        chosen = next(s for s in sentences if s.startswith("Validation chooses"))
        assert "squeeze_ratio=0.25" in chosen
        assert "85.0 % (3 equal seeds: no interval)" in chosen

    def test_a_gain_that_seeds_cannot_tell_is_said_to_be_none(self, make_study, result):
        spread = (0.5, 0.9, 0.7)
        out = make_study(outcome=lambda trial: result(trial, test_top1=spread[trial.config.seed]))
        assert any("these seeds cannot tell it from no difference" in s for s in summary(load(out)))

    def test_a_clear_gain_has_its_interval(self, paper_study):
        along = [s for s in summary(load(paper_study)) if s.startswith("Along model.squeeze_ratio")]
        assert along == [
            "Along model.squeeze_ratio from 0.125 to 1, 189 kB to 1.45 MB: 90.9 % to 97.5 %, +6.6 points "
            "(95 % interval +3.2 to +9.9)."
        ]


def test_in_a_browser_it_is_silent_asks_for_nothing_and_sorts(paper_study, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    file = write_report(paper_study, tmp_path / "report.html")
    said, asked = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        table = page.locator("table.sortable").first
        sizes = [47_258, 362_314]

        def column(number: int) -> list[str]:
            return table.locator(f"tbody tr td:nth-child({number})").all_inner_texts()

        button = table.locator("thead button", has_text="params")
        button.focus()
        page.keyboard.press("Enter")
        up = [int(text.replace(",", "")) for text in column(4)]
        assert up == sorted(up)
        assert [up[0], up[-1]] == sizes
        assert table.locator("th[aria-sort=ascending]").count() == 1
        button.click()
        assert [int(text.replace(",", "")) for text in column(4)] == up[::-1]
        assert table.locator("th[aria-sort=descending]").count() == 1
        browser.close()
    assert said == []
    assert asked == [file.as_uri()]


def test_the_data_is_told_with_its_sizes_and_its_source(paper_study):
    text = write_report(paper_study, paper_study / "report.html").read_text()
    assert "1,300 training images, 137 validation images, 360 test images" in text
    assert "scikit-learn" in text
