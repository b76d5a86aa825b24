import re
from xml.etree import ElementTree

import pytest

from analysis.inline_svg import colour_variables, inline_svg
from analysis.style import (
    COLOURS,
    DARK,
    INK,
    PAPER,
    SOFT,
    TEXT_ON_DARK,
    TEXT_ON_PALE,
    new_figure,
    styled,
    tip,
)


def contrast(a: str, b: str) -> float:
    """The contrast ratio of the Web Content Accessibility Guidelines 2.1."""

    def luminance(colour: str) -> float:
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", COLOURS)
def test_marks_can_be_seen_on_light_and_on_dark_paper(colour):
    assert contrast(colour, PAPER) >= 3
    assert contrast(DARK[colour], DARK[PAPER]) >= 3


@pytest.mark.parametrize("colour", [INK, SOFT])
def test_text_can_be_read_on_light_and_on_dark_paper(colour):
    assert contrast(colour, PAPER) >= 4.5
    assert contrast(DARK[colour], DARK[PAPER]) >= 4.5


def test_text_can_be_read_on_every_colour_of_a_heat_map():
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    from analysis.heat_map import COLOUR_MAP, PALE_FROM

    for i in range(101):
        text = TEXT_ON_PALE if i / 100 > PALE_FROM else TEXT_ON_DARK
        assert contrast(to_hex(colormaps[COLOUR_MAP](i / 100)), text) >= 4.5


@pytest.fixture
def svg():
    with styled():
        figure = new_figure(3, 2)
        axes = figure.subplots()
        tip(axes.scatter([1, 2, 3], [1, 2, 3], color=COLOURS[0]), ["one", "<two>", "three"])
        (line,) = axes.plot([1, 2], [3, 3], marker="o", color=COLOURS[1])
        tip(line, ["four", "five"])
    return inline_svg(figure, "here", "A title", "What it shows")


def test_each_mark_has_its_own_words_for_the_pointer(svg):
    titles = [title.text for title in ElementTree.fromstring(svg).iter("title")]
    assert titles == ["A title", "one", "<two>", "three", "four", "five"]


def test_colours_are_the_pages_variables(svg):
    assert "var(--figure-0072b2)" in svg
    assert not re.findall(r"#(?:0072b2|d55e00|1a1a1a|ffffff)", svg)
    for dark, colour in ((False, "#0072b2"), (True, DARK["#0072b2"])):
        assert f"--figure-0072b2: {colour};" in colour_variables(dark=dark)


def test_it_is_named_and_described_for_who_cannot_see_it(svg):
    root = ElementTree.fromstring(svg)
    by_id = {element.get("id"): element.text for element in root.iter() if element.get("id")}
    assert [by_id[name] for name in root.attrib["aria-labelledby"].split()] == ["A title", "What it shows"]
    assert root.attrib["role"] == "img"
    assert root.attrib["style"] == "max-width: 288px"  # 3 inches at 96 pixels


def test_ids_begin_with_the_prefix_and_coordinates_are_short(svg):
    ids = re.findall(r' id="([^"]+)"', svg)
    assert all(name.startswith("here-") for name in ids)
    assert not re.findall(r"\d\.\d{3,}", svg)
