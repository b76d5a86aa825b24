"""Numbers as a reader sees them: sizes, percentages, intervals, counts."""

import math
from collections.abc import Iterable, Mapping
from typing import Any


def size_text(size: float) -> str:
    """Return bytes in decimal units with three digits at most: 189032 is "189 kB", 1052584 "1.05 MB"."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= 0.9995 * scale:
            return f"{float(f'{size / scale:.3g}'):g} {unit}"
    return f"{size:.0f} B"


def number_text(number: float) -> str:
    """Return a large number with three digits at most: 47258 is "47.3k", 2587008 "2.59M"."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * scale:
            return f"{float(f'{number / scale:.3g}'):g}{unit}"
    return f"{number:.3g}"


def percent(share: float) -> str:
    """Return a share as a percentage with one digit: 0.915 is "91.5 %"."""
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, signed: 0.023 is "+2.3".

    Nothing has no sign. What rounds to nothing keeps it: an interval to "-0.0" leaves out 0.
    """
    return f"{100 * difference:+.1f}" if round(difference, 12) else "0.0"


def percent_interval(low: float | None, high: float | None) -> str:
    """Return "90.1 to 92.9 %", cut at 0 and 100, or "" where there is no interval (None or NaN)."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"{100 * max(low, 0):.1f} to {100 * min(high, 1):.1f} %"


def points_interval(low: float, high: float) -> str:
    """Return "-1.2 to +3.4" for an interval of a difference, or "" where there is none (NaN)."""
    return "" if math.isnan(low) or math.isnan(high) else f"{points(low)} to {points(high)}"


def noise_text(share: float) -> str:
    """Return a share of the variance that seeds alone would give; it may be more than there is."""
    return percent(share) if share <= 1 else "more than 100 %"


def value_text(value: Any) -> str:
    """Return a configuration value as it stands in figures and tables: 0.125, 1, 1,4,8, true, simple."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ",".join(value_text(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def count_text(number: int, singular: str) -> str:
    """Return "1 trial", "3 trials", "1,200 trials"."""
    return f"{number:,} {singular if number == 1 else singular + 's'}"


def listed(counts: Mapping[str, int]) -> str:
    """Return "37 done, 1 failed and 1 pending" for counts by name; zeros are left out."""
    parts = [f"{number:,} {name}" for name, number in counts.items() if number]
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else "none"


def seeds_text(numbers: list[int]) -> str:
    """Return how many seeds the means stand on, once for all of them: "n = 3 seeds", "n = 1 to 3 seeds"."""
    low, high = min(numbers), max(numbers)
    return f"n = {high} seed{'s' * (high > 1)}" if low == high else f"n = {low} to {high} seeds"


def whiskers_text(lows: Iterable[float], whose: str = "") -> str:
    """Say what the whiskers of points are, and of how many there are none: `lows` are NaN there.

    A point without a whisker would else look like an exact one.
    """
    known = [not math.isnan(low) for low in lows]
    if all(known):
        return f"Whiskers: 95 % t interval{whose}."
    if not any(known):
        return "No whiskers: one seed, or equal seeds, give no interval."
    lacking = f"{known.count(False)} of {len(known)}"
    return f"Whiskers: 95 % t interval{whose}; {lacking} have none (one seed, or equal seeds)."


def seconds_text(seconds: float) -> str:
    """Return a time span: "8.5 s", "14 min", "3.2 h"."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def estimate_text(row: Mapping[str, Any]) -> str:
    """Return the mean of a row with its interval and n: "91.5 % (95 % interval 90.1 to 92.9 %, n = 3)"."""
    interval = percent_interval(row["low"], row["high"])
    detail = f"95 % interval {interval}, " if interval else ""
    return f"{percent(row['mean'])} ({detail}n = {int(row['n'])})"


def stop_text(reason: Any) -> str:
    """Return where a censored trial was stopped, without how it stood there: "stopped at epoch 3 of 27".

    A reason is "WHERE: HOW IT STOOD" (`sweeps`); without one the text says so.
    """
    return reason.partition(":")[0] if isinstance(reason, str) and reason else "no epoch noted"
