"""Means, intervals and fronts: small functions that state their assumptions and their n.

Seeds are the unit: a configuration's n values are taken as independent draws from one distribution, near
enough to normal for Student's t. With few seeds that is an assumption, not something the data can show.
Every interval here has 95 % coverage under it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import moocore
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from analysis.table import check_metric, configuration_keys, scored

LEVEL = 0.95
"""Coverage of every interval."""

DECIMALS = 12
"""Of an accuracy that is compared. Means of as many right answers in another order, or spread otherwise over
the seeds, differ in the last bit, and would decide what is a tie; no test set has 10^12 images."""


class Estimate(NamedTuple):
    """A mean over n seeds; `low` and `high` are None where no interval can be given, and `note` says why."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    note: str


class Difference(NamedTuple):
    """A difference of two means; `low` and `high` are None where none can be given, and `note` says why."""

    difference: float | None
    low: float | None
    high: float | None
    note: str


def mean_interval(values: ArrayLike, /) -> Estimate:
    """Return the mean of finite values and its t interval, mean +- t(0.975, n - 1) * s / sqrt(n).

    s is the standard deviation with n - 1. One value has no interval. Neither have n equal values: s = 0
    says that the measure is too coarse to see the spread (360 test images move in steps of 0.28 points),
    not that the mean is exact.
    """
    array = _finite(values)
    n = len(array)
    if n == 0:
        return Estimate(None, None, None, 0, "no seed")
    mean = float(array.mean())
    if n == 1:
        return Estimate(mean, None, None, 1, "one seed: no interval")
    if np.ptp(array) == 0:
        return Estimate(mean, None, None, n, f"{n} equal seeds: no interval")
    half = _t(n - 1) * float(array.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n, "")


def mean_difference(a: ArrayLike, b: ArrayLike, /) -> Difference:
    """Return mean(b) - mean(a) and Welch's interval: independent seeds, variances that may differ.

    With v = s^2 / n of each side, the interval is d +- t(0.975, df) * sqrt(va + vb), where
    df = (va + vb)^2 / (va^2 / (na - 1) + vb^2 / (nb - 1)) (Welch 1947). It needs two values on both sides.
    """
    x, y = _finite(a), _finite(b)
    if len(x) == 0 or len(y) == 0:
        return Difference(None, None, None, "nothing to compare")
    difference = float(y.mean() - x.mean())
    if len(x) < 2 or len(y) < 2:
        return Difference(difference, None, None, "not enough seeds to say")
    va, vb = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # as in `mean_interval`: a spread that was not seen is not 0
        sides = "both sides" if np.ptp(x) == np.ptp(y) else "one side"
        return Difference(difference, None, None, f"equal seeds on {sides}: no interval")
    freedom = (va + vb) ** 2 / (va**2 / (len(x) - 1) + vb**2 / (len(y) - 1))
    half = _t(freedom) * math.sqrt(va + vb)
    return Difference(difference, difference - half, difference + half, "")


def contrast(groups: Sequence[ArrayLike], weights: Sequence[float], /) -> Difference:
    """Return sum(w * mean) over groups of independent seeds, with its interval; variances may differ.

    With v = w^2 s^2 / n of each group the interval is +- t(0.975, df) * sqrt(sum(v)), where df =
    sum(v)^2 / sum(v^2 / (n - 1)) (Satterthwaite 1946). With the weights -1 and 1 it is `mean_difference`,
    and as there every group needs two values, not all equal.
    """
    arrays = [_finite(values) for values in groups]
    if any(len(x) == 0 for x in arrays):
        return Difference(None, None, None, "nothing to compare")
    value = sum(w * float(x.mean()) for w, x in zip(weights, arrays, strict=True))
    if any(len(x) < 2 for x in arrays):
        return Difference(value, None, None, "not enough seeds to say")
    if any(np.ptp(x) == 0 for x in arrays):
        return Difference(value, None, None, "equal seeds: no interval")
    parts = [(w**2 * float(x.var(ddof=1)) / len(x), len(x)) for w, x in zip(weights, arrays, strict=True)]
    whole = sum(v for v, _ in parts)
    half = _t(whole**2 / sum(v**2 / (n - 1) for v, n in parts)) * math.sqrt(whole)
    return Difference(value, value - half, value + half, "")


def summarise(frame: pd.DataFrame, metric: str, /) -> pd.DataFrame:
    """Return one row a configuration: its keys and sizes, and the mean of `metric` over its scored seeds.

    New columns: `planned` (its trials that are in the study), `n` (those that count), `mean`, `low`,
    `high` (float64; NaN where there is none) and `note`. Rows keep the order of the plan. A configuration
    that is no more in the study has no row; one without a scored trial has n = 0.
    """
    check_metric(metric)
    planned = frame[frame["status"] != "removed"]
    by_config = seed_values(planned, metric)
    keys = [key for key in configuration_keys(frame) if key != "seed"]
    kept = ["config_id", "name", "sweeps", *keys, "params", "macs", "bytes_fp32", "peak_activations"]
    summary = planned.drop_duplicates("config_id")[kept].reset_index(drop=True)
    estimates = [mean_interval(by_config.get(config, np.empty(0))) for config in summary["config_id"]]
    trials = planned["config_id"].value_counts()
    summary["planned"] = summary["config_id"].map(trials).astype("int64")
    summary["n"] = np.array([e.n for e in estimates], dtype=np.int64)
    for column in ("mean", "low", "high"):
        summary[column] = np.array([getattr(e, column) for e in estimates], dtype=np.float64)
    summary["note"] = pd.Series([e.note for e in estimates], dtype="str")
    return summary


def seed_values(frame: pd.DataFrame, metric: str, /) -> dict[str, np.ndarray]:
    """Return the metric of the trials that count by `config_id`, each in the order of its seeds."""
    check_metric(metric)
    counted = scored(frame, metric).sort_values("seed", kind="stable")
    values = counted.groupby("config_id", sort=False)[metric]
    return {str(config): group.to_numpy(dtype=np.float64) for config, group in values}


def comparable(accuracy: ArrayLike, /) -> np.ndarray:
    """Return accuracies (...) as they are compared, so that equal numbers of right answers are equal."""
    return np.round(np.asarray(accuracy, dtype=np.float64), DECIMALS)


def pareto_front(size: ArrayLike, accuracy: ArrayLike, /) -> np.ndarray:
    """Return which points nothing beats: no other is smaller and as accurate, or more accurate and as small.

    Of two points with one size only the more accurate is on the front, and of two with one accuracy
    (`comparable`) only the smaller; twins (equal in both) are on it together or not at all. A point with a
    NaN is never on it. The front is one of means: which points would stay on it with other seeds it does not
    say.
    """
    points = np.column_stack([np.asarray(size, dtype=np.float64), comparable(accuracy)])
    whole = ~np.isnan(points).any(axis=1)
    front = np.zeros(len(points), dtype=bool)
    if whole.any():  # moocore takes NaN for a number that nothing beats
        front[whole] = moocore.is_nondominated(points[whole], maximise=[False, True], keep_weakly=True)
    return front


def _finite(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"needs a list of finite numbers, found {values}")
    return array


def _t(freedom: float) -> float:
    """The quantile of Student's t that leaves (1 - LEVEL) / 2 above it."""
    return float(stdtrit(freedom, 0.5 + LEVEL / 2))
