import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from analysis.fronts import front_volume
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


@pytest.fixture(scope="module")
def paper_report(paper_study, tmp_path_factory):
    """The report of the paper's study, written once."""
    return write_report(paper_study, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def paper_page(paper_report):
    """What a browser finds in it."""
    return Page(paper_report.read_text())


def report(out, tmp_path, name="report.html") -> tuple[str, Page]:
    text = write_report(out, tmp_path / name).read_text()
    return text, Page(text)


def test_it_has_the_numbers_the_figures_and_the_study_file(paper_page):
    page = paper_page
    assert page.tags["svg"] == 6
    assert page.tags["h1"] == 1
    assert page.tags["table"] == 6
    assert "39 done" in page.text
    assert "47,258 parameters" in page.text
    assert 'name = "paper on digits"' in page.text
    assert "AMD EPYC" in page.text
    assert "2026-11-25 10:00 UTC" in page.text
    assert "commit 0123456789ab" in page.text


def test_nothing_comes_from_outside(paper_report, paper_page):
    text, page = paper_report.read_text(), paper_page
    assert not {"link", "img", "iframe", "image", "object", "embed", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert name != "src"
        assert name not in ("href", "xlink:href") or value.startswith("#")
        assert not name.startswith("on")
        assert "url(" not in value or "url(#" in value
    assert "http://" not in text
    assert "https://" not in text


def test_ids_are_unique_and_references_resolve(paper_page):
    page = paper_page
    assert len(page.ids) == len(set(page.ids))
    for name, value in page.attributes:
        if name == "href":
            assert value[1:] in page.ids
        if name == "aria-labelledby":
            assert set(value.split()) <= set(page.ids)


def test_the_same_folder_gives_the_same_bytes(paper_study, paper_report, tmp_path):
    assert write_report(paper_study, tmp_path / "again.html").read_bytes() == paper_report.read_bytes()


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
    assert page.tags["svg"] == 3
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


def test_the_seconds_of_all_trials_are_summed(make_study, result, tmp_path):
    seconds = {"start_seconds": 1.0, "compile_seconds": 2.0, "train_seconds": 9.0}
    out = make_study(outcome=lambda trial: result(trial, **seconds))
    assert "72.0 s of computing" in report(out, tmp_path)[1].text


def test_a_trial_that_did_not_learn_is_named_and_counted(make_study, result, tmp_path):
    out = make_study(outcome=lambda trial: result(trial, learned=trial.config.seed != 1))
    _, page = report(out, tmp_path)
    assert "2 trials enter no mean and no front: 2 did not learn." in page.text
    assert page.text.count("did not learn ·") == 2
    assert "2 did not learn: all logits on the test set are zero" in " ".join(page.text.split())


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
    def test_means_without_an_interval_are_counted_by_the_reason(self, make_study, study_of, result):
        def outcome(trial):
            ratio, seed = trial.config.model.squeeze_ratio, trial.config.seed
            if ratio == 0.25:
                return None if seed else result(trial)
            return result(trial, test_top1=0.9 if ratio == 0.5 else 0.8 + seed / 10)

        text = study_of("grid.model.squeeze_ratio = [0.25, 0.5, 0.75]")
        sentences = summary(load(make_study(text, outcome)))
        assert (
            "2 of 3 means have no interval (1 of one seed and 1 of equal seeds): how far seeds move them "
            "cannot be said." in sentences
        )

    def test_the_best_at_each_size_is_told(self, make_study, study_of, result):
        text = study_of("grid.model.squeeze_ratio = [0.25, 1.0]")
        out = make_study(text, lambda t: result(t, test_top1=t.config.model.squeeze_ratio * 0.9,
                                                val_top1=t.config.model.squeeze_ratio))  # fmt: skip
        (told,) = [s for s in summary(load(out)) if s.startswith("Best at each size")]
        assert told.endswith("22.5 % up to 20 kB, 90.0 % up to 100 kB.")

    def test_validation_chooses_and_the_test_set_reports(self, make_study, result):
        def outcome(trial):
            wide = trial.config.model.squeeze_ratio == 0.5
            return result(trial, val_top1=0.8 if wide else 0.9, test_top1=0.95 if wide else 0.85)

        sentences = summary(load(make_study(outcome=outcome)))
        chosen = next(s for s in sentences if s.startswith("Validation chooses"))
        assert "squeeze_ratio=0.25" in chosen
        assert "85.0 % (3 equal seeds: no interval)" in chosen

    def test_of_equals_the_smallest_is_chosen_and_the_tie_is_said(self, make_study, study_of, result):
        out = make_study(
            study_of("grid.model.squeeze_ratio = [1.0, 0.5, 0.25]"), lambda t: result(t, val_top1=0.9)
        )
        (told,) = [s for s in summary(load(out)) if s.startswith("Validation chooses")]
        assert "squeeze_ratio=0.25" in told
        assert "accuracy 90.0 %, as 2 others that are no smaller)" in told

    def test_on_each_data_set_validation_chooses_by_itself(self, make_study, study_of, result):
        """An easy set does not win against a hard one."""
        accuracy = {0.25: 0.98, 0.5: 0.97, 0.75: 0.6, 1.0: 0.7}
        out = make_study(
            study_of("grid.model.squeeze_ratio = [0.25, 0.5, 0.75, 1.0]"),
            lambda t: result(t, val_top1=accuracy[t.config.model.squeeze_ratio]),
        )
        frame = load(out)
        frame["data.name"] = frame["model.squeeze_ratio"].map(lambda ratio: "easy" if ratio < 0.6 else "hard")
        found = summary(frame)
        assert [s.partition(" (")[0] for s in found if "chooses" in s] == [
            "On easy validation chooses squeeze_ratio=0.25",
            "On hard validation chooses squeeze_ratio=1.0",
        ]
        assert next(s for s in found if s.startswith("The smallest")).endswith(" on easy.")

    def test_an_axis_with_one_value_is_said_to_be_none(self, make_study, study_of):
        text = study_of('name = "lonely"\ngrid.model.squeeze_ratio = [0.5]', "grid.model.freq = [1, 2]")
        assert "Nothing varies in lonely: one configuration, so no axis is spoken of." in summary(
            load(make_study(text))
        )

    def test_what_validation_chooses_may_have_no_test_accuracy(self, make_study, result):
        def outcome(trial):
            wide = trial.config.model.squeeze_ratio == 0.5
            return result(trial) | ({"val_top1": 1.0, "test_top1": None} if wide else {})

        found = summary(load(make_study(outcome=outcome)))
        (told,) = [s for s in found if s.startswith("Validation chooses")]
        assert told.endswith("its test top-1 accuracy is not known: no trial of it has one.")

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


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, paper_report):
    """The paper's study in a browser; in the end it has said nothing and asked for nothing but the file."""
    file = paper_report
    said, asked = [], []
    page = browser.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    page.close()
    assert said == []
    assert [url.partition("#")[0] for url in asked] == [file.as_uri()]


class TestInABrowser:
    def test_a_column_sorts_by_the_keyboard_up_and_down(self, opened):
        table = opened.locator("#all-configurations table")

        def column(number: int) -> list[int]:
            texts = table.locator(f"tbody tr td:nth-child({number})").all_inner_texts()
            return [int(text.replace(",", "")) for text in texts]

        button = table.locator("thead button", has_text="params")
        button.focus()
        opened.keyboard.press("Enter")
        up = column(4)
        assert up == sorted(up)
        assert [up[0], up[-1]] == [47_258, 362_314]
        assert table.locator("th[aria-sort=ascending]").count() == 1
        button.click()
        assert column(4) == up[::-1]
        assert table.locator("th[aria-sort=descending]").count() == 1

    def test_no_column_is_cut_on_a_common_screen(self, browser, paper_study, make_study, result, tmp_path):
        """Also where no configuration has an interval, and words stand in its place."""
        text = (paper_study / "study.toml").read_text()
        out = make_study(text, lambda t: result(t, test_top1=0.9))
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(write_report(out, tmp_path / "wide.html").as_uri())
        frames = "[...document.querySelectorAll('.scroll')]"
        wide = page.evaluate(f"{frames}.filter(e => e.scrollWidth > e.clientWidth).map(e => e.id)")
        page.close()
        assert wide == []

    def test_a_filter_leaves_the_rows_that_have_every_word(self, opened):
        box = opened.get_by_role("searchbox").first
        rows = opened.locator("#all-configurations tbody tr:visible")
        assert rows.count() == 13
        box.fill("pct_3x3=0.5 squeeze_ratio=0.5")
        assert rows.count() == 1
        assert opened.get_by_role("status").first.inner_text() == "1 of 13 rows"
        box.fill("")
        assert rows.count() == 13

    def test_a_trials_details_open_and_close_by_the_keyboard(self, opened):
        opened.get_by_text("All 39 trials").click()
        button = opened.locator("#all-trials tbody button").first
        name = button.inner_text()
        button.focus()
        opened.keyboard.press("Enter")
        dialog = opened.get_by_role("dialog")
        assert dialog.get_by_role("heading", level=2).inner_text() == f"Trial {name}"
        text = dialog.inner_text()
        assert "squeeze_ratio=0.125, pct_3x3=0.5" in text
        assert "2026-11-25T10:00:14+00:00" in text
        assert "It left no log." in text
        opened.keyboard.press("Escape")
        assert not dialog.is_visible()
        assert button.evaluate("element => element === document.activeElement")

    def test_it_has_landmarks_and_one_order_of_headings(self, opened):
        for role in ("banner", "navigation", "main", "contentinfo"):
            assert opened.get_by_role(role).count() == 1, role
        levels = opened.evaluate(
            "[...document.querySelectorAll('h1, h2, h3')].filter(h => h.offsetParent).map(h => +h.tagName[1])"
        )
        assert levels[0] == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))
        links = opened.get_by_role("navigation").get_by_role("link")
        for target in links.evaluate_all("links => links.map(link => link.hash)"):
            assert opened.locator(target).count() == 1

    def test_each_figure_has_a_name_and_a_description(self, opened):
        figures = opened.get_by_role("img")
        assert figures.count() == 6
        for figure in figures.all():
            title, told = (figure.locator(f"> {tag}").text_content() for tag in ("title", "desc"))
            assert title
            assert len(told) > 60

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_all_text_can_be_read(self, browser, opened, scheme):
        """Contrast as the guidelines count it (AA): 4.5, of every text against what is behind it."""
        opened.emulate_media(color_scheme=scheme)
        opened.get_by_text("All 39 trials").click()
        poor = opened.evaluate(CONTRAST)
        assert poor == []

    def test_a_dark_page_has_dark_figures(self, opened):
        found = {}
        for scheme in ("light", "dark"):
            opened.emulate_media(color_scheme=scheme)
            found[scheme] = opened.locator(".card").first.evaluate(
                "card => getComputedStyle(card).backgroundColor"
            )
        assert found == {"light": "rgb(255, 255, 255)", "dark": "rgb(31, 33, 36)"}

    def test_nothing_is_wider_than_a_phone(self, opened):
        opened.set_viewport_size({"width": 400, "height": 800})
        assert opened.evaluate("document.documentElement.scrollWidth") <= 400


CONTRAST = """() => {
  const parse = colour => (colour.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour[3] === undefined || colour[3] > 0) return colour;
    }
  };
  const poor = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const box = element.getBoundingClientRect();
    if (!own || !box.width || ["SCRIPT", "STYLE", "title", "desc"].includes(element.tagName)) continue;
    const style = getComputedStyle(element), svg = element.namespaceURI.endsWith("svg");
    const pair = [light(parse(svg ? style.fill : style.color)), light(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) poor.add(`${element.tagName} ${ratio.toFixed(2)} ${element.textContent.slice(0, 30)}`);
  }
  return [...poor];
}"""


def test_the_data_is_told_with_its_sizes_and_its_source(paper_report):
    text = paper_report.read_text()
    assert "1,300 training images, 137 validation images, 360 test images" in text
    assert "scikit-learn" in text


@pytest.mark.parametrize("name", ["_none", "Ba$$in", "a$b$c", "卷积", "&amp"])
@pytest.mark.filterwarnings("ignore:boxes stand for")
def test_names_come_out_as_typed_on_the_page_and_in_its_figures(make_study, study_of, tmp_path, name):
    text = study_of(f"name = '{name}'\ngrid.model.squeeze_ratio = [0.25, 0.5]")
    _, page = report(make_study(text.replace('name = "s"', f"name = '{name}'")), tmp_path)
    assert page.text.count(f"{name} (model.squeeze_ratio)") == 1
    assert page.text.count(name) >= 6  # title, heading, two figures, table, study file


def test_the_configurations_say_how_probably_they_stay_on_the_front(paper_page):
    found = re.findall(r"\b(yes|no), (\d\.\d\d)\b", paper_page.text)
    assert len(found) == 13
    assert ("yes", "1.00") in found
    assert any(word == "no" for word, _ in found)


def test_the_papers_numbers_stand_beside_ours(paper_page):
    assert "The paper's numbers and ours" in paper_page.text
    assert "80.3 % top-5" in paper_page.text
    assert "labelled 85.3 in both" in paper_page.text


class TestDetails:
    """What each trial opens, as data that a script reads."""

    def read(self, file):
        text = file.read_text()
        return json.loads(re.search(r'id="details-data">(.*?)</script>', text, re.S)[1])

    def test_what_all_share_stands_once_and_what_differs_with_each(self, paper_report):
        found = self.read(paper_report)
        assert found["shared"]["train.epochs"] == "40"
        assert "model.squeeze_ratio" not in found["shared"]
        assert found["trials"][0]["keys"] == {"model.pct_3x3": "0.5", "model.squeeze_ratio": "0.125"}
        assert found["trials"][0]["results"]["test_examples"] == "360"
        assert found["trials"][0]["facts"]["host"] == "laptop"

    def test_the_end_of_each_log_is_there_and_hostile_text_stays_text(self, make_study, tmp_path):
        out = make_study()
        log = f"{'x' * 2000}\n{IMG}{SCRIPT} the end"
        trial_folder(out, plan_folder(out).trials[1].id).log_file.write_text(log)
        found = self.read(write_report(out, tmp_path / "report.html"))
        assert found["trials"][1]["log"] == log[-1500:]
        assert found["trials"][0]["log"] == ""

    def test_logs_beyond_the_budget_are_left_out_and_said_to_be(self, make_study, tmp_path, monkeypatch):
        monkeypatch.setattr("analysis.report_trials.LOG_BUDGET", 10)
        out = make_study()
        for trial in plan_folder(out).trials:
            trial_folder(out, trial.id).log_file.write_text("sixteen letters.")
        found = self.read(write_report(out, tmp_path / "report.html"))
        assert {trial["log"] for trial in found["trials"]} == {None}


def test_a_damaged_result_is_among_what_does_not_count(make_study, tmp_path):
    out = make_study()
    trial_folder(out, plan_folder(out).trials[0].id).result_file.write_text("{half")
    _, page = report(out, tmp_path)
    assert "failed: " in page.text
    assert "not readable as JSON" in page.text


def test_equal_reasons_are_counted_together(make_study, result, tmp_path):
    failed = Status(status="failed", reason="out of memory")
    out = make_study(outcome=lambda t: failed if t.config.seed else result(t))
    _, page = report(out, tmp_path)
    assert "4 failed: out of memory" in " ".join(page.text.split())


def test_different_versions_are_said_in_the_summary(make_study, tmp_path):
    out = make_study()
    folder = trial_folder(out, plan_folder(out).trials[0].id)
    status = folder.read_status()
    versions = status.provenance["versions"] | {"jax": "0.11.0"}
    folder.write_status(status.but(provenance=status.provenance | {"versions": versions}))
    _, page = report(out, tmp_path)
    assert "Trials ran with different versions of jax: 0.10.2 (5 trials), 0.11.0 (1 trial)." in page.text


def test_the_best_at_each_size_has_a_table(paper_page):
    assert "Best at each size" in paper_page.text
    assert "200 kB" in paper_page.text


def test_censored_trials_are_counted_by_where_they_were_stopped(make_study, study_of, result, tmp_path):
    stops = {0.25: 3, 0.5: 9, 0.75: 3}

    def outcome(trial):
        epoch = stops.get(trial.config.model.squeeze_ratio)
        place = f"number {3 + trial.config.seed} of 4 in its bin, of which 1 went on"
        told = Status(status="censored", reason=f"stopped at epoch {epoch} of 27: {place}")
        return told if epoch else result(trial)

    out = make_study(study_of("grid.model.squeeze_ratio = [0.25, 0.5, 0.75, 1.0]"), outcome)
    text = report(out, tmp_path)[1].text
    assert "6 trials enter no mean and no front: 6 censored." in text
    assert "(4 stopped at epoch 3 of 27 and 2 stopped at epoch 9 of 27)" in text
    assert "1 of 4 configurations has an accuracy that counts." in text
    assert "4 censored: stopped at epoch 3 of 27\n" in text  # not a line for each place in a bin
    assert "number 3 of 4 in its bin" in text  # with the trial itself


def test_the_hypervolume_has_its_interval_and_its_reference_in_words(paper_study, paper_page):
    found = front_volume(load(paper_study))
    sentence = next(s for s in summary(load(paper_study)) if "hypervolume" in s)
    assert f"is {100 * found.share:.1f} % (95 % bootstrap interval {100 * found.low:.1f} to" in sentence
    assert "smaller than 1.59 MB (1.1 times the largest network)" in sentence  # 1.1 x 1,449,256
    assert "guessing, 10.0 %" in sentence
    assert sentence in paper_page.text


def test_one_seed_has_a_hypervolume_without_an_interval_and_says_so(make_study, result):
    out = make_study(outcome=lambda trial: result(trial) if trial.config.seed == 0 else None)
    sentence = next(s for s in summary(load(out)) if "hypervolume" in s)
    assert "no interval, since 2 configurations have none" in sentence


def test_what_the_axes_do_stands_in_tables(paper_page):
    assert "Effects in full grids" in paper_page.text
    assert "Good ranges" in paper_page.text
    assert "Importance where" not in paper_page.text  # both sweeps are full grids of one key
