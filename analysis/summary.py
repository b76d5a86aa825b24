"""A study in sentences with numbers, computed: what was run, what was found, what cannot be said."""

from typing import Any

import pandas as pd

from analysis.blocks import blocks
from analysis.budgets import best_within
from analysis.curves import Curve, curves
from analysis.fronts import ROOM, front_volume, membership
from analysis.selection import Chosen, chosen
from analysis.statistics import mean_difference, summarise
from analysis.table import ACCURACIES, left_out, records, scored
from analysis.wording import (
    count_text,
    listed,
    percent,
    percent_interval,
    points,
    seeds_text,
    size_text,
    stop_text,
)
from sqzx.trial import STATES
from sweeps.elsewhere import UNKNOWN

STAYS = 0.9
"""A probability of being on the front that a summary counts as staying there."""


def summary(frame: pd.DataFrame, metric: str = "test_top1") -> list[str]:
    """Return the sentences that open a report."""
    found = summarise(frame, metric)
    finished = found[found["n"] > 0]
    sentences = [_what_ran(frame), *_what_is_missing(frame, metric)]
    if finished.empty:
        open_ones = frame["status"].isin(["pending", "running", UNKNOWN, "interrupted"]).any()
        yet = "No trial has finished yet" if open_ones else "No trial has an accuracy that counts"
        return [*sentences, f"{yet}, so there is none to report."]
    if len(finished) < len(found):
        of = count_text(len(found), "configuration")
        sentences.append(f"{len(finished)} of {of} {_has(len(finished))} an accuracy that counts.")
    sentences += [*_chosen(frame, finished, metric), *_within(frame, metric), _smallest(finished)]
    sentences += [_along(frame, curve, metric) for curve in curves(frame, metric) if len(curve.points) > 1]
    sentences += [*_single(found), *_front(frame, finished, metric), *_volumes(frame, metric)]
    return [*sentences, *_without(finished), _what_intervals_say(frame)]


def _what_ran(frame: pd.DataFrame) -> str:
    planned = frame[frame["status"] != "removed"]
    counts = {str(s).replace("_", " "): int((planned["status"] == s).sum()) for s in (*STATES, UNKNOWN)}
    return (
        f"The study has {count_text(planned['config_id'].nunique(), 'configuration')} and "
        f"{count_text(len(planned), 'trial')}: {listed(counts)}."
    )


def _what_is_missing(frame: pd.DataFrame, metric: str) -> list[str]:
    """Say which trials that ended enter no mean; those that are still to run are in the first sentence."""
    out = left_out(frame[~frame["status"].isin(["removed", "pending", "running", UNKNOWN])], metric)
    if out.empty:
        return []
    counts = out["why"].value_counts(sort=False)
    why = listed({str(k): int(v) for k, v in counts.items()})
    sentence = f"{count_text(len(out), 'trial')} enter{'s' * (len(out) == 1)} no mean and no front: {why}."
    return [sentence + _what_censored_means(out)]


def _what_censored_means(out: pd.DataFrame) -> str:
    """Say where early stopping stopped, and what that does to the means of the others."""
    censored = out[out["status"] == "censored"]
    if censored.empty:
        return ""
    where = listed(
        {str(k): int(v) for k, v in censored["reason"].map(stop_text).value_counts(sort=False).items()}
    )
    return (
        f" Censored is what early stopping stopped since others did better ({where}): what is said here is "
        "about those that went on."
    )


def _chosen(frame: pd.DataFrame, finished: pd.DataFrame, metric: str) -> list[str]:
    """Name what validation selects on each data set: choosing by the test set would flatter it."""
    by = metric.replace("test_", "val_")
    parts = list(frame.groupby("data.name", sort=False))
    sentences = []
    for data, rows in parts:
        best = chosen(rows, by=by)
        if best is None:
            continue
        where = f"On {data} validation" if len(parts) > 1 else "Validation"
        scored_ones = records(finished[finished["config_id"] == best.config_id])
        its = f"is {_estimate(scored_ones[0])}" if scored_ones else "is not known: no trial of it has one"
        sentences.append(
            f"{where} chooses {best.name} ({size_text(best.bytes_fp32)}; mean {ACCURACIES[by]} "
            f"{percent(best.mean)}{_tied(best)}): its {ACCURACIES[metric]} {its}."
        )
    return sentences


def _tied(best: Chosen) -> str:
    """Say that others are as good in validation; of those the smallest is chosen."""
    if not best.tied:
        return ""
    return (
        f", as {count_text(len(best.tied), 'other')} that {'is' if len(best.tied) == 1 else 'are'} no smaller"
    )


def _smallest(finished: pd.DataFrame) -> str:
    row = min(records(finished), key=lambda row: row["bytes_fp32"])
    size = f"{size_text(row['bytes_fp32'])}, {count_text(row['params'], 'parameter')}"
    where = f" on {row['data.name']}" if finished["data.name"].nunique() > 1 else ""
    return f"The smallest finished network, {row['name']} ({size}), reaches {_estimate(row)}{where}."


def _along(frame: pd.DataFrame, curve: Curve, metric: str) -> str:
    """Say what one axis does from its first to its last finished value."""
    first, *_, last = records(curve.points)
    values = scored(frame, metric).groupby("config_id")[metric]
    a, b = (list(values.get_group(point["config_id"])) for point in (first, last))
    found = mean_difference(a, b)
    assert found.difference is not None
    sizes = (
        f", {size_text(first['bytes_fp32'])} to {size_text(last['bytes_fp32'])}"
        if curve.across == "size"
        else ""
    )
    sentence = (
        f"Along {curve.key} from {first['value']} to {last['value']}{sizes}: "
        f"{percent(first['mean'])} to {percent(last['mean'])}, {points(found.difference)} points"
    )
    if found.low is None or found.high is None:
        return f"{sentence}; {found.note}."
    verdict = "" if found.low > 0 or found.high < 0 else "; these seeds cannot tell it from no difference"
    return f"{sentence} (95 % interval {points(found.low)} to {points(found.high)}){verdict}."


def _single(found: pd.DataFrame) -> list[str]:
    """Name the sweeps in which nothing varies: an axis with one value has no effect to speak of."""
    names = [block.sweep for block in blocks(found) if block.sweep and not block.keys]
    if not names:
        return []
    return [f"Nothing varies in {', '.join(names)}: one configuration, so no axis is spoken of."]


def _what_intervals_say(frame: pd.DataFrame) -> str:
    images = listed({f"test images of {n}": int(c) for n, c in _test_images(frame).items()})
    return (
        f"Intervals are Student's t over seeds, all scored on the same {images}, and cut at 0 and 100 %; how "
        "another test set would differ, they do not say."
    )


def _test_images(frame: pd.DataFrame) -> dict[str, int]:
    counts = frame.dropna(subset=["test_examples"]).groupby("data.name")["test_examples"].max()
    return {str(name): int(count) for name, count in counts.items()}


def _within(frame: pd.DataFrame, metric: str) -> list[str]:
    """Say which configuration is the best at each size."""
    found = best_within(frame, metric)
    if len(found) < 2 or len({best.data for best in found}) > 1:
        return []
    each = ", ".join(f"{percent(best.row['mean'])} up to {size_text(best.budget)}" for best in found)
    return [f"Best at each size, chosen by validation and scored on the test set: {each}."]


def _without(finished: pd.DataFrame) -> list[str]:
    """Count the means that have no interval, by the reason."""
    without = finished[finished["low"].isna()]
    if without.empty:
        return []
    single = int((without["n"] == 1).sum())
    reasons = listed({"of one seed": single, "of equal seeds": len(without) - single})
    means = f"{len(without):,} of {count_text(len(finished), 'mean')} {_has(len(without))}"
    return [f"{means} no interval ({reasons}): how far seeds move them cannot be said."]


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _front(frame: pd.DataFrame, finished: pd.DataFrame, metric: str) -> list[str]:
    if len(finished) < 2:
        return []
    points = membership(frame, by=metric.replace("test_", "val_")).points
    on = points[points["on_front"]]
    where = "" if points["data"].nunique() == 1 else " of their data set"
    known = on["probability"].dropna()
    stay = int((known >= STAYS).sum())
    chance = (
        f"with their seeds drawn anew {stay} of them {'stays' if stay == 1 else 'stay'} there with "
        f"a probability of {STAYS} or more"
        if len(known)
        else "whether they would stay there with other seeds, the front does not say"
    )
    unknown = len(on) - len(known)
    more = f", and of {unknown} it is not known" if len(known) and unknown else ""
    return [
        f"{len(on)} of {count_text(len(points), 'configuration')} {'is' if len(on) == 1 else 'are'} on the "
        f"Pareto front{where} of the mean validation accuracies (none is as small and more accurate, or "
        f"smaller and as accurate); {chance}{more}."
    ]


def _volumes(frame: pd.DataFrame, metric: str) -> list[str]:
    """Say how much the front of each data set with several networks covers, and of what."""
    by = metric.replace("test_", "val_")
    sentences = []
    parts = list(frame.groupby("data.name", sort=False))
    for data, rows in parts:
        found = front_volume(rows, by=by)
        if found.share is None or found.configurations < 2:
            continue
        where = f" on {data}" if len(parts) > 1 else ""
        interval = percent_interval(found.low, found.high)
        detail = f"95 % bootstrap interval {interval}" if interval else found.note
        left = f"; {count_text(found.left_out, 'configuration')} not counted" if found.left_out else ""
        sentences.append(
            f"The hypervolume of the front{where} is {percent(found.share)} ({detail}{left}): so much it "
            f"covers of what is smaller than {size_text(found.reference_bytes)} ({ROOM:g} times the largest "
            f"network) and has a higher {ACCURACIES[by]} than guessing, {percent(found.reference_accuracy)}. "
            "Only studies with the same such corner compare by it. The best of many flatters itself: the "
            "interval allows for that, the share does not."
        )
    return sentences


def _estimate(row: dict[str, Any]) -> str:
    interval = percent_interval(row["low"], row["high"])
    detail = f"95 % interval {interval}, {seeds_text([int(row['n'])])}" if interval else row["note"]
    return f"{percent(row['mean'])} ({detail})"
