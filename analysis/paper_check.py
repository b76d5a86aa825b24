"""The paper's results beside a study's own: does the shape agree?

Values do not compare: the paper's are ImageNet's, of one run each. Shapes do: what rises, what stays flat,
what beats what. Each claim is a contrast, sum(w * mean), of our configurations, which the paper has above 0.
It is confirmed where its interval over seeds (`statistics.contrast`) is above 0 and contradicted where it is
below; otherwise these seeds cannot say. That a step is flat is confirmed where the interval lies within half
of our whole gain along that axis, and contradicted where it leaves out 0 and reaches beyond that.

Configurations are taken along one axis while every other key stays put. Values within `NEAR` of a published
one stand for it: 1 and 99 % of 3x3 filters are none and all of them in a narrow network. Each answer has
its 95 % by itself, not all at once. `analysis.paper_table2` has what compression costs.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.paper import NOISE, SWEEPS, Answer, Check, figure3, table3
from analysis.paper_table2 import compressed_checks
from analysis.statistics import Difference, contrast, seed_values, summarise
from analysis.table import configuration_keys
from analysis.wording import percent, points, seeds_text

NEAR = 0.06

OTHER = {"model.squeeze_ratio": "model.pct_3x3", "model.pct_3x3": "model.squeeze_ratio"}
"""What the paper keeps at 0.5 along each of its axes."""

PANEL = {"model.squeeze_ratio": "Figure 3a", "model.pct_3x3": "Figure 3b"}


class Point(NamedTuple):
    """What stands for a published value of an axis: our value, and the metric of its seeds that count."""

    value: float
    seeds: np.ndarray


Line = Mapping[float, Point]
"""Our points by the published value of an axis."""


def paper_check(frame: pd.DataFrame, metric: str = "test_top1", /) -> list[Check]:
    """Return a row for each published number and each claim about the shape of Figure 3."""
    found = summarise(frame, metric)
    found = found[found["model.family"] == "squeezenet"] if "model.family" in found else found.iloc[:0]
    values = seed_values(frame, metric)
    checks: list[Check] = []
    for key in SWEEPS:
        along = _along(found, values, key, figure3(key)["value"].tolist())
        checks += [*_points(key, along), *_claims(key, along)]
    return [*checks, _equal_size(found, values), *_bypass(found, values), *compressed_checks(frame, metric)]


def _along(
    found: pd.DataFrame, values: Mapping[str, np.ndarray], key: str, published: Sequence[float]
) -> Line:
    """Return the values of the configurations that differ in `key` alone, most of them, at 0.5 else."""
    if key not in found or OTHER.get(key, key) not in found:
        return {}
    members = found if key not in OTHER else found[found[OTHER[key]] == 0.5]
    rest = [name for name in configuration_keys(members) if name != key]
    best: Line = {}
    for _, line in members.groupby(rest, dropna=False, sort=False):
        own: dict[float, Point] = {}
        at = line[key].to_numpy(np.float64)
        for value in published:
            nearest = int(np.abs(at - value).argmin())
            if abs(at[nearest] - value) <= NEAR:
                config = str(line["config_id"].iloc[nearest])
                own[value] = Point(float(at[nearest]), values.get(config, np.empty(0)))
        best = own if len(own) > len(best) else best
    return best if len(best) > 1 else {}


def _points(key: str, along: Line) -> list[Check]:
    """Return each published point, and whether the step to it goes the same way as ours."""
    name = key.removeprefix("model.")
    checks, previous = [], None
    gain = _contrast(along, _ends(along)) if along else Difference(None, None, None, "")
    for value, top5 in figure3(key)[["value", "top5"]].itertuples(index=False):
        what = f"{name} = {value:g}"
        if previous is None:
            step = _no_axis(key) if not along else ("cannot say", "the first point has no step before it")
        else:
            before, published = previous
            rises = round(top5 - published, 1) > NOISE
            found = _contrast(along, {before: -1.0, value: 1.0})
            what += f", step {points((top5 - published) / 100)}"
            step = _no_axis(key) if not along else _rise(found) if rises else _flat(found, gain)
        checks.append(Check(PANEL[key], what, f"{top5:.1f} % top-5", _mean(along.get(value), value), *step))
        previous = (value, top5)
    return checks


def _claims(key: str, along: Line) -> list[Check]:
    """Return the shape of a panel: the whole gain, and that most of it comes early."""
    name = key.removeprefix("model.")
    published = dict(figure3(key)[["value", "top5"]].itertuples(index=False, name=None))
    first, *_, last = published
    middle = 0.5
    early = {middle: 2.0, first: -1.0, last: -1.0}
    claims = [
        (f"accuracy rises with {name} from {first:g} to {last:g}", {first: -1.0, last: 1.0}),
        (f"more of it up to {name} = {middle:g} than beyond", early),
    ]
    if key == "model.pct_3x3":
        claims.insert(1, (f"it rises already to {name} = 0.25", {first: -1.0, 0.25: 1.0}))
    checks = []
    for what, weights in claims:
        said = sum(weight * published[value] for value, weight in weights.items()) / 100
        checks.append(_claim(PANEL[key], what, said, along, weights, key))
    return checks


def _equal_size(found: pd.DataFrame, values: Mapping[str, np.ndarray]) -> Check:
    """Low squeeze ratio with half of 3x3 filters beats the reverse at 7.4 to 7.6 MB."""
    what = "squeeze_ratio 0.25, pct_3x3 0.5 beats squeeze_ratio 0.5, pct_3x3 0.125 at about the same size"
    best: Line = {}
    if set(SWEEPS) <= set(found.columns):
        rest = [name for name in configuration_keys(found) if name not in SWEEPS]
        for _, group in found.groupby(rest, dropna=False, sort=False):
            pairs = zip(group["model.squeeze_ratio"], group["model.pct_3x3"], group["config_id"], strict=True)
            named = {(0.25, 0.5): 1.0, (0.5, 0.125): 0.0}
            own = {
                named[s, p]: Point(s, values.get(str(c), np.empty(0))) for s, p, c in pairs if (s, p) in named
            }
            best = own if len(own) > len(best) else best
    published = 0.834 - 0.809
    return _claim("Figure 3", what, published, best, {1.0: 1.0, 0.0: -1.0}, "of both at once")


def _bypass(found: pd.DataFrame, values: Mapping[str, np.ndarray]) -> list[Check]:
    """Return Table 3: what simple and complex bypass give beside none."""
    published = table3().set_index("bypass")["top1"]
    best: dict[str, Point] = {}
    if "model.bypass" in found:
        rest = [name for name in configuration_keys(found) if name != "model.bypass"]
        for _, line in found.groupby(rest, dropna=False, sort=False):
            ids = zip(line["model.bypass"], line["config_id"], strict=True)
            own = {str(kind): Point(0, values.get(str(config), np.empty(0))) for kind, config in ids}
            best = own if len(own) > max(len(best), 1) else best
    kinds = list(published.index)
    along = {float(kinds.index(kind)): own for kind, own in best.items()}
    pairs = (("none", "simple"), ("none", "complex"), ("complex", "simple"))
    checks = []
    for low, high in pairs:
        weights = {float(kinds.index(low)): -1.0, float(kinds.index(high)): 1.0}
        said = (published[high] - published[low]) / 100
        what = f"bypass {high} is more accurate than {low}"
        checks.append(_claim("Table 3", what, said, along, weights, "model.bypass"))
    return checks


def _claim(
    where: str, what: str, published: float, along: Line, weights: Mapping[float, float], axis: str
) -> Check:
    said = f"{points(published)} points"
    lacking = [value for value in weights if value not in along]
    if lacking:
        answer: tuple[Answer, str] = (
            _no_axis(axis) if not along else ("cannot say", "the study lacks a point")
        )
        return Check(where, what, said, "", *answer)
    found = _contrast(along, weights)
    ours = "" if found.difference is None else f"{points(found.difference)} points"
    if found.low is not None and found.high is not None:
        ours += f" ({points(found.low)} to {points(found.high)})"
    return Check(where, what, said, ours, *_rise(found))


def _contrast(along: Line, weights: Mapping[float, float]) -> Difference:
    if any(value not in along for value in weights):
        return Difference(None, None, None, "the study lacks a point")
    return contrast([along[value].seeds for value in weights], list(weights.values()))


def _ends(along: Line) -> dict[float, float]:
    return {min(along): -1.0, max(along): 1.0}


def _rise(found: Difference) -> tuple[Answer, str]:
    if found.low is None or found.high is None:
        return "cannot say", found.note
    if found.low > 0:
        return "yes", ""
    return ("no", "") if found.high < 0 else ("cannot say", "these seeds cannot tell it from 0")


def _flat(found: Difference, gain: Difference) -> tuple[Answer, str]:
    if found.low is None or found.high is None or gain.difference is None:
        return "cannot say", found.note
    room = abs(gain.difference) / 2
    if -room <= found.low and found.high <= room:
        return "yes", ""
    outside = found.low > 0 or found.high < 0
    return ("no", "") if outside else ("cannot say", "these seeds cannot tell a step from none")


def _no_axis(axis: str) -> tuple[Answer, str]:
    return "cannot say", f"the study has no axis {axis}"


def _mean(point: Point | None, published: float) -> str:
    if point is None or not len(point.seeds):
        return ""
    at = "" if point.value == published else f" at {point.value:g}"
    return f"{percent(float(point.seeds.mean()))}{at} ({seeds_text([len(point.seeds)])})"
