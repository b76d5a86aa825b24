"""A comparison as one self-contained HTML file: it asks for nothing from anywhere."""

from importlib.resources import files
from pathlib import Path

import jinja2

from analysis.compare import Comparison
from analysis.comparison_tables import WordTable, side_lines, verdict_lines, word_tables
from sqzx.describing import counts_text, shape_text
from sqzx.files import write_text


def write_page(found: Comparison, file: Path) -> Path:
    """Write the comparison to `file`, and return it."""
    write_text(file, render_page(found))
    return file


def render_page(found: Comparison) -> str:
    """Return the page; everything that a study names is escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(files("analysis").joinpath("comparison.html.j2").read_text("utf-8"))
    keys, *others = word_tables(found)
    return template.render(
        title=" / ".join(side.label for side in found.sides),
        sides=side_lines(found),
        verdicts=verdict_lines(found),
        tables=[keys, _modules(found), *others],
    )


def _modules(found: Comparison) -> WordTable:
    """Return the modules that differ, and the totals; how many are alike is said below."""
    networks = [side.network for side in found.sides]
    ratios = [f"{letter} / A" for letter in found.letters[1:]]
    columns = (
        "layer",
        *(f"output {letter}" for letter in found.letters),
        *(f"params {letter}" for letter in found.letters),
        *ratios,
        *(f"MACs {letter}" for letter in found.letters),
        *ratios,
    )
    rows = [
        (
            row.name,
            *(shape_text(shape) if shape else "-" for shape in row.shapes),
            *counts_text(row.params),
            *counts_text(row.macs),
        )
        for row in found.modules
        if row.differs
    ]
    totals = [counts_text([getattr(network, name) for network in networks]) for name in ("params", "macs")]
    total = ("total", *("" for _ in networks), *totals[0], *totals[1])
    alike = len(found.modules) - len(rows)
    note = f"{alike} of {len(found.modules)} modules are alike and not shown." if alike else ""
    return WordTable("Modules", columns, ("layer",), (tuple(rows), (total,)), note)
