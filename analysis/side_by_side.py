"""A comparison on a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.compare import Comparison
from analysis.comparison_tables import WordTable, side_lines, verdict_lines, word_tables
from sqzx.describing import side_by_side
from sqzx.terminal import print_table


def render(comparison: Comparison, console: Console) -> None:
    """Print what differs: configuration, modules, metrics, answers by image and class, environment."""
    for line in (*side_lines(comparison), *verdict_lines(comparison)):
        console.print(Text(line))
    keys, *others = word_tables(comparison)
    _print(keys, console)
    modules = side_by_side(*(side.network for side in comparison.sides))
    modules.title, modules.title_justify, modules.title_style = "Modules", "left", "bold"
    console.print()
    print_table(modules, console)
    for table in others:
        _print(table, console)


def _print(words: WordTable, console: Console) -> None:
    """Print a table as wide as it has to be: a name that is cut is no name."""
    console.print()
    if words.groups:
        table = Table(title=words.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for column in words.columns:
            justify = "left" if column in words.left else "right"
            table.add_column(Text(column), justify=justify, no_wrap=True)
        for group in words.groups:
            for row in group:
                table.add_row(*map(Text, row), end_section=row is group[-1] and len(group) > 1)
        print_table(table, console)
    if words.note:
        console.print(Text(words.note, style="dim" if words.groups else ""))
