"""A comparison in words: the tables that the terminal and the page show, each only what differs."""

from collections.abc import Sequence
from typing import NamedTuple

from analysis.compare import METRICS, ClassRow, Comparison, KeyRow, MetricRow, PairRow
from analysis.sides import Side
from analysis.statistics import Difference, Estimate
from analysis.table import ACCURACIES
from analysis.wording import count_text, percent, percent_interval, points
from sqzx.terminal import shown

MOST_CLASSES = 20
"""Classes shown; those that differ most come first."""

METRICS_NOTE = "interval: 95 %, Student's t over seeds; of a difference, Welch's"

PAIRED_NOTE = """\
test top-1: second less first, its 95 % interval over seeds and images; images that only one names rightly
p: McNemar's exact test of the trained networks (twice the median over pairs of seeds), adjusted by Holm"""


class WordTable(NamedTuple):
    """A table of texts. `left` names the columns that are no numbers; `groups` are rows that belong together.

    `note` stands below; a table without rows is its `note` alone.
    """

    title: str
    columns: tuple[str, ...]
    left: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    note: str = ""


def side_lines(found: Comparison) -> list[str]:
    """Return a line a side: its letter, what it is, its trials, and which of them do not count."""
    return [
        f"{letter}  {side.label}: {count_text(len(side.trials), 'trial')}{_left_out(side)}"
        for letter, side in zip(found.letters, found.sides, strict=True)
    ]


def verdict_lines(found: Comparison) -> list[str]:
    """Return what can be said of each pair, a line each."""
    return [f"{found.letters[row.a]} and {found.letters[row.b]}: {row.verdict}." for row in found.pairs]


def word_tables(found: Comparison) -> list[WordTable]:
    """Return the tables of a comparison but for its modules, in the order in which they are read."""
    tables = [_keys(found)]
    if found.metrics:
        tables += [_metrics(found), _pairs(found), _classes(found)]
    else:
        nothing = "No trial of any side has finished: nothing to compare in accuracy."
        tables.append(WordTable("Metrics", (), (), (), nothing))
    return [*tables, _environment(found)]


def _left_out(side: Side) -> str:
    return "".join(f"; seed {seed} does not count ({why})" for seed, why in side.left_out().items())


def _keys(found: Comparison) -> WordTable:
    note = "" if found.keys else "The configurations are equal."
    columns = ("key", *found.letters)
    return WordTable("Configuration", columns, columns, tuple((_key(row),) for row in found.keys), note)


def _key(row: KeyRow) -> tuple[str, ...]:
    """A key that another family hasn't is no key that is none."""
    return (row.key, *(shown(v) if has else "-" for v, has in zip(row.values, row.has, strict=True)))


def _metrics(found: Comparison) -> WordTable:
    columns = ("metric", "side", "mean", "interval", "n", "by seed")
    groups = tuple(_metric(row, found.letters) for row in found.metrics)
    return WordTable("Metrics", columns, ("metric", "side", "interval", "by seed"), groups, METRICS_NOTE)


def _metric(row: MetricRow, letters: str) -> tuple[tuple[str, ...], ...]:
    lines = []
    for letter, mean, values in zip(letters, row.means, row.values, strict=True):
        by_seed = "  ".join(_number(row.metric, value) for value in values.values())
        name = METRICS[row.metric] if letter == letters[0] else ""
        lines.append((name, letter, *_estimate(row.metric, mean), str(mean.n), by_seed))
    for letter, difference in zip(letters[1:], row.differences, strict=True):
        lines.append(("", f"{letter} - A", *_difference(row.metric, difference), "", ""))
    return tuple(lines)


def _pairs(found: Comparison) -> WordTable:
    columns = ("pair", "difference", "interval", "images", "only first", "only second", "p")
    groups = (tuple(_pair(row, found.letters) for row in found.pairs),)
    note = "\n".join([PAIRED_NOTE, *(f"left out: {line}" for line in found.unread)])
    return WordTable("Same test images", columns, ("pair", "interval"), groups, note)


def _pair(row: PairRow, letters: str) -> tuple[str, ...]:
    one, tests = row.found, row.found.tests
    return (
        f"{letters[row.a]} and {letters[row.b]}",
        *_difference("test_top1", Difference(one.difference, one.low, one.high, one.note)),
        f"{one.images:,}" if tests else "-",
        _spread([test.only_a for test in tests]),
        _spread([test.only_b for test in tests]),
        "-" if row.adjusted is None else p_text(row.adjusted),
    )


def _classes(found: Comparison) -> WordTable:
    further = found.letters[1:]
    columns = (
        *("class", "images", *found.letters),
        *(text for letter in further for text in (f"{letter} - A", f"interval of {letter} - A")),
    )
    left = ("class", *(f"interval of {letter} - A" for letter in further))
    rows = tuple((_class(row),) for row in found.classes[:MOST_CLASSES])
    note = (
        "mean share of each class's test images that is named rightly; interval: Welch's over seeds, each by "
        "itself, while the classes that differ most come first"
    )
    if more := len(found.classes) - MOST_CLASSES:
        note += f"; {more} more classes differ less" if more > 0 else ""
    if not rows:
        compared = all(row.found.tests for row in found.pairs)
        note = "No class differs." if compared else "Not the same test images, or no predictions: no classes."
    return WordTable("Classes", columns, left, rows, note)


def _class(row: ClassRow) -> tuple[str, ...]:
    differences = (_difference("test_top1", difference) for difference in row.differences)
    return (
        row.name,
        f"{row.images:,}",
        *map(percent, row.shares),
        *(text for difference in differences for text in difference),
    )


def _environment(found: Comparison) -> WordTable:
    columns = ("ran on", *found.letters)
    rows = tuple(((row.name, *(value or "-" for value in row.values)),) for row in found.environment)
    note = "" if rows else "No difference is known between where they ran."
    return WordTable("Environment", columns, columns, rows, note)


def p_text(p: float) -> str:
    """Return a p value with two digits: "0.031", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _spread(numbers: Sequence[int]) -> str:
    if not numbers:
        return "-"
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _number(metric: str, value: float) -> str:
    if metric in ACCURACIES:
        return percent(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _estimate(metric: str, estimate: Estimate) -> tuple[str, str]:
    if estimate.mean is None:
        return "-", estimate.note
    if estimate.low is None or estimate.high is None:
        return _number(metric, estimate.mean), estimate.note
    low = max(estimate.low, 0)  # nothing that is compared can be below
    if metric in ACCURACIES:
        return percent(estimate.mean), percent_interval(low, estimate.high)
    return _number(metric, estimate.mean), f"{_number(metric, low)} to {_number(metric, estimate.high)}"


def _difference(metric: str, found: Difference) -> tuple[str, str]:
    if found.difference is None:
        return "-", found.note
    spelled = points if metric in ACCURACIES else lambda value: _signed(metric, value)
    text = spelled(found.difference) + " points" * (metric in ACCURACIES)
    if found.low is None or found.high is None:
        return text, found.note
    low, high = found.low, found.high
    if metric in ACCURACIES:
        low, high = max(low, -1), min(high, 1)
    return text, f"{spelled(low)} to {spelled(high)}"


def _signed(metric: str, value: float) -> str:
    return ("+" if value > 0 else "") + _number(metric, value)
