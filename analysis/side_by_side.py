"""A comparison on a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.compare import METRICS, Comparison, MetricRow, Side
from analysis.statistics import Estimate
from analysis.table import ACCURACIES
from analysis.wording import count_text, percent, percent_interval, points
from sqzx.describing import side_by_side
from sqzx.terminal import print_table, shown


def render(comparison: Comparison, console: Console) -> None:
    """Print what differs: configuration, modules, metrics."""
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        console.print(
            Text(f"{letter}  {side.label}: {count_text(len(side.trials), 'trial')}{_left_out(side)}")
        )
    console.print()
    console.print(_keys(comparison) if comparison.keys else Text("The configurations are equal."))
    console.print()
    modules = side_by_side(*(side.trials[0].network for side in (comparison.a, comparison.b)))
    modules.title, modules.title_justify, modules.title_style = "Modules", "left", "bold"
    print_table(modules, console)
    console.print()
    if not comparison.metrics:
        console.print(Text("No trial of either side has finished: nothing to compare in accuracy."))
        return
    console.print(_metrics(comparison))
    console.print(Text("interval: 95 %, Student's t over seeds; of the difference, Welch's", style="dim"))


def _left_out(side: Side) -> str:
    out = side.left_out()
    return "".join(f"; seed {seed} does not count ({why})" for seed, why in out.items())


def _keys(comparison: Comparison) -> Table:
    table = _table("Configuration", "key", "A", "B")
    of_a, of_b = (side.trials[0].config.settings() for side in (comparison.a, comparison.b))
    for row in comparison.keys:  # a key that the other family hasn't is no key that is none
        a, b = (shown(x) if row.key in own else "-" for x, own in ((row.a, of_a), (row.b, of_b)))
        table.add_row(Text(row.key), Text(a), Text(b))
    return table


def _metrics(comparison: Comparison) -> Table:
    table = _table("Metrics", "metric", "", "mean", "interval", "n", "by seed")
    for row in comparison.metrics:
        for letter, estimate, values in (("A", row.a, row.values_a), ("B", row.b, row.values_b)):
            by_seed = "  ".join(_number(row.metric, value) for value in values.values())
            name = METRICS[row.metric] if letter == "A" else ""
            table.add_row(name, letter, *_estimate(row.metric, estimate), str(estimate.n), by_seed)
        table.add_row("", "B - A", *_difference(row), "", "", style="bold", end_section=True)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _number(metric: str, value: float) -> str:
    if metric in ACCURACIES:
        return percent(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _estimate(metric: str, estimate: Estimate) -> tuple[str, str]:
    if estimate.mean is None:
        return "-", estimate.note
    return _number(metric, estimate.mean), _interval(metric, estimate.low, estimate.high) or estimate.note


def _difference(row: MetricRow) -> tuple[str, str]:
    found = row.difference
    if found.difference is None:
        return "-", found.note
    if row.metric in ACCURACIES:
        interval = (
            "" if found.low is None or found.high is None else f"{points(found.low)} to {points(found.high)}"
        )
        return f"{points(found.difference)} points", interval or found.note
    sign = "+" if found.difference > 0 else ""
    return sign + _number(row.metric, found.difference), _interval(
        row.metric, found.low, found.high
    ) or found.note


def _interval(metric: str, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    if metric in ACCURACIES:
        return percent_interval(low, high)
    return f"{_number(metric, low)} to {_number(metric, high)}"
