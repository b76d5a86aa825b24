"""A figure as an SVG element that stands inside an HTML page, beside others of its kind.

Its colours become variables of the page (`--figure-0072b2`), so that a dark page may have its own, and each
mark has a `<title>`, which browsers show where the pointer rests.
"""

import re
from io import BytesIO
from xml.etree import ElementTree

from analysis.style import DARK, StudyFigure, save_svg

MOST_DIGITS = 2
"""Decimals of a coordinate, in points; more cannot be seen, and make a page heavy."""


def inline_svg(figure: StudyFigure, prefix: str, title: str, description: str) -> str:
    """Return `figure` as an `<svg>` whose ids begin with `prefix`, named and described for screen readers.

    What the file format needs and a page does not is taken away: declarations, namespaces, metadata, the
    size in points, and the style sheet, which would hold for the whole page.
    """
    buffer = BytesIO()
    save_svg(figure, buffer)
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.text = (element.text or "").strip() or None if element.tag != "text" else element.text
        element.tail = None
    _add_tips(root, figure.tips)
    for element in root.iter():
        element.attrib = {
            _local(name): _on_page(name, value, prefix) for name, value in element.attrib.items()
        }
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    width = float(root.attrib["viewBox"].split()[2]) * 96 / 72  # points to the pixels of a page
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-description",
        "stroke-linejoin": "round",  # what the style sheet said
        "stroke-linecap": "butt",
        "style": f"max-width: {width:.0f}px",
    }
    for place, (kind, text) in enumerate((("title", title), ("desc", description))):
        words = "title" if kind == "title" else "description"
        element = ElementTree.Element(kind, {"id": f"{prefix}-{words}"})
        element.text = text
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def colour_variables(*, dark: bool) -> str:
    """Return the declarations of the figures' colours for the style sheet of a page."""
    return " ".join(f"{_variable(light)}: {DARK[light] if dark else light};" for light in DARK)


def _add_tips(root: ElementTree.Element, tips: dict[str, list[str]]) -> None:
    """Give each mark of a group that has tips its title, and take the group's id away.

    The marks are the `use` elements of a group, or its paths where matplotlib wrote each by itself.
    """
    for group in root.iter("g"):
        texts = tips.get(group.attrib.get("id", ""))
        if texts is None:
            continue
        del group.attrib["id"]
        marks = list(group.iter("use")) or [
            path for child in group if child.tag != "defs" for path in _paths(child)
        ]
        assert len(marks) in (0, len(texts)), f"{len(marks)} marks for {len(texts)} texts"
        for mark, text in zip(marks, texts, strict=False):
            ElementTree.SubElement(mark, "title").text = text


def _paths(element: ElementTree.Element) -> list[ElementTree.Element]:
    return list(element.iter("path"))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _on_page(name: str, value: str, prefix: str) -> str:
    """Return an attribute with the figure's own ids, the page's colours and short numbers."""
    if name == "id":
        return f"{prefix}-{value}"
    local = _local(name)
    if local == "href":
        return re.sub(r"^#", f"#{prefix}-", value)
    if local == "style":
        value = re.sub(r"#[0-9a-f]{6}\b", _colour, value)
    elif local in ("d", "x", "y", "width", "height", "transform"):
        value = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.{MOST_DIGITS}f}", value)
    return re.sub(r"url\(#", f"url(#{prefix}-", value)


def _colour(found: re.Match[str]) -> str:
    return f"var({_variable(found[0])})" if found[0] in DARK else found[0]


def _variable(colour: str) -> str:
    return f"--figure-{colour[1:]}"
