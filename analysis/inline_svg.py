"""A figure as an SVG element that stands inside an HTML page, beside others of its kind."""

import re
from io import BytesIO
from xml.etree import ElementTree

from matplotlib.figure import Figure

from analysis.style import save_svg


def inline_svg(figure: Figure, prefix: str, title: str, description: str) -> str:
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
        element.attrib = {
            _local(name): _renamed(name, value, prefix) for name, value in element.attrib.items()
        }
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-description",
        "stroke-linejoin": "round",  # what the style sheet said
        "stroke-linecap": "butt",
    }
    for place, (kind, text) in enumerate((("title", title), ("desc", description))):
        words = "title" if kind == "title" else "description"
        element = ElementTree.Element(kind, {"id": f"{prefix}-{words}"})
        element.text = text
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _renamed(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if _local(name) == "href":
        return re.sub(r"^#", f"#{prefix}-", value)
    return re.sub(r"url\(#", f"url(#{prefix}-", value)
