from html.parser import HTMLParser

import pandas as pd
import pytest

import analysis
from analysis.fronts import membership
from analysis.notebook import MOST_ROWS
from sqzx.errors import InputError

ODD = """schema = 1
name = "<img src=x onerror=alert(1)> Ba$$in 卷积"
seeds = 1
[config]
model.preset = "squeezenet_small"
model.num_fires = 2
model.pool_after = [1]
[[sweep]]
name = "</script>"
grid.model.base_e = [BASES]
"""


class Page(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_a_study_is_its_table_and_its_sentences(paper_study):
    study = analysis.Study(paper_study)
    pd.testing.assert_frame_equal(study.table, analysis.load(paper_study))
    page = Page(study._repr_html_())
    assert all(sentence in page.text for sentence in study.summary)
    assert page.tags.count("tr") == 14
    assert "squeeze_ratio=1.0, pct_3x3=0.5" in page.text


def test_configurations_have_validation_s_front(paper_study):
    found = analysis.Study(paper_study).configurations
    expected = membership(analysis.load(paper_study)).points.set_index("config_id")
    assert found["probability"].tolist() == expected["probability"][found["config_id"]].tolist()
    assert found["on_front"].tolist() == expected["on_front"][found["config_id"]].tolist()


def test_names_come_out_as_typed_and_make_no_element(make_study):
    plain = Page(
        analysis.Study(
            make_study(ODD.replace("<img src=x onerror=alert(1)> ", "").replace("BASES", "8, 16"))
        )._repr_html_()
    )
    odd = Page(analysis.Study(make_study(ODD.replace("BASES", "8, 16")))._repr_html_())
    assert odd.tags == plain.tags
    assert "<img src=x onerror=alert(1)> Ba$$in 卷积" in odd.text


def test_a_large_study_says_what_it_leaves_out(make_study):
    bases = ", ".join(map(str, range(8, MOST_ROWS + 10)))
    page = Page(analysis.Study(make_study(ODD.replace("BASES", bases)))._repr_html_())
    assert page.tags.count("tr") == MOST_ROWS + 1
    assert "2 configurations more in study.configurations" in page.text


def test_nothing_finished_is_shown_too(make_study):
    study = analysis.Study(make_study(outcome=lambda trial: None))
    assert "No trial has finished yet" in Page(study._repr_html_()).text


def test_a_folder_that_is_no_study_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match=r"no study\.toml in it"):
        analysis.Study(tmp_path)


def test_a_name_that_the_package_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'load_all'"):
        _ = analysis.load_all
