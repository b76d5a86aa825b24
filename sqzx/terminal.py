"""Tables on the terminal and in pipes, never cut: a number that ends in dots is no number."""

from typing import Any


def new_table(*columns: str, left: tuple[str, ...]) -> Any:
    """Return an empty rich table; the columns named in `left` are left-aligned, the numbers are not."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def print_table(table: Any, console: Any = None) -> None:
    """Print a table at its own width, whatever the terminal's (or that of the `rich` console given)."""
    from rich.console import Console

    console = console or Console()
    terminal = console.width
    needed = console.measure(table, options=console.options.update(width=1000)).maximum
    console.width = max(terminal, needed)
    console.print(table)
    console.width = terminal


def shown(value: Any) -> str:
    """Return a value as it is spelled in names and tables: 0.5, 1,4,8, true, none; an empty list is []."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(shown, value)) or "[]"
    return "none" if value is None else str(value)


def duration(seconds: float | None) -> str:
    """Return a length of time as a person says it: 8 s, 3 min 05 s, 2 h 10 min."""
    if seconds is None:
        return "?"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
