"""Pareto fronts with their uncertainty: who is on it how probably, how much it covers, how far it moves.

Fronts are made by validation (`analysis.selection`): a front of test accuracies would choose by the test set.
Size is exact, accuracy is a mean over seeds, and seeds are what is resampled (`analysis.resampling`).
"""

from typing import NamedTuple

import moocore
import numpy as np
import pandas as pd

from analysis.resampling import SAMPLES, generator, resampled_means
from analysis.selection import check_one_data, check_selecting
from analysis.statistics import LEVEL, comparable, pareto_front, seed_values, summarise
from analysis.table import scored
from analysis.wording import count_text

ROOM = 1.1
"""The reference size is so many times the largest planned network, so that this one covers something, too."""


class Membership(NamedTuple):
    """`points` has config_id, name, data, bytes_fp32, mean, n, on_front, probability and note.

    `probability` is NaN where a configuration's own spread is unknown, and `note` says why. `left_out`
    counts the configurations without a trial that counts.
    """

    points: pd.DataFrame
    left_out: int


class Volume(NamedTuple):
    """The share of a rectangle that a front covers, with an interval over seeds where there is one.

    The rectangle is that of the networks smaller than `reference_bytes` and more accurate than
    `reference_accuracy`. A front that holds every accuracy at no size covers 1.
    """

    share: float | None
    low: float | None
    high: float | None
    reference_bytes: float
    reference_accuracy: float
    configurations: int
    left_out: int
    note: str


class Attainment(NamedTuple):
    """What the fronts of single seeds reach: `bands` has band ("any", "half", "all"), bytes_fp32, accuracy.

    Each row is a corner: from that size on at least one of the seeds' fronts (or half of them, or all)
    reaches that accuracy. `configurations` have every seed; `left_out` lack one.
    """

    seeds: int
    configurations: int
    left_out: int
    bands: pd.DataFrame
    note: str


def membership(
    frame: pd.DataFrame, /, *, by: str = "val_top1", samples: int = SAMPLES, seed: int = 0
) -> Membership:
    """Return who is on the front of the means, and how often it is when the seeds are drawn anew.

    The probability is the share of bootstrap samples in which a configuration is on the front. All others
    move with it, but those of one seed and those of equal seeds, which stay where they are (no spread
    was seen) and have no probability of their own. Each data set has its own front. Few seeds give
    a rough distribution: three seeds have six different resamples of two.
    """
    check_selecting(by)
    found = summarise(frame, by)
    points = found[found["n"] > 0].reset_index(drop=True)
    values = seed_values(frame, by)
    draws = np.empty((samples, len(points)))
    for column, config in enumerate(points["config_id"].astype(str)):
        draws[:, column] = resampled_means(values[config], samples=samples, rng=generator(seed, config))
    on_front, probability = np.zeros(len(points), dtype=bool), np.full(len(points), np.nan)
    for rows in points.groupby("data.name").indices.values():
        size = points["bytes_fp32"].to_numpy(np.float64)[rows]
        on_front[rows] = pareto_front(size, points["mean"].to_numpy()[rows])
        probability[rows] = fronts(size, draws[:, rows]).mean(axis=0)
    spread = points["low"].notna()
    points = points.assign(
        data=points["data.name"], on_front=on_front, probability=np.where(spread, probability, np.nan)
    )
    kept = ["config_id", "name", "data", "bytes_fp32", "mean", "n", "on_front", "probability", "note"]
    return Membership(points[kept], len(found) - len(points))


def fronts(size: np.ndarray, accuracy: np.ndarray, /) -> np.ndarray:
    """Return `pareto_front` of each row of `accuracy` (samples, n), all with the sizes (n,); no NaN."""
    if not len(size):
        return np.zeros(accuracy.shape, dtype=bool)
    accuracy = comparable(accuracy)
    order = np.argsort(size, kind="stable")
    starts = np.unique(size[order], return_index=True)[1]
    group = np.searchsorted(starts, np.arange(len(size)), side="right") - 1
    best = np.maximum.reduceat(accuracy[:, order], starts, axis=1)  # of each size
    smaller = np.full_like(best, -np.inf)
    smaller[:, 1:] = np.maximum.accumulate(best, axis=1)[:, :-1]
    kept = np.empty(accuracy.shape, dtype=bool)
    kept[:, order] = (accuracy[:, order] == best[:, group]) & (best > smaller)[:, group]
    return kept


def hypervolume(size: np.ndarray, accuracy: np.ndarray, /, *, reference: tuple[float, float]) -> float:
    """Return the share of [0, size] x [accuracy, 1] of the `reference` point that the points dominate.

    A point that is not smaller and more accurate than the reference covers nothing. moocore computes
    the area, in sizes divided by the reference, so that both sides of the rectangle count alike.
    """
    limit, floor = reference
    if not (limit > 0 and floor < 1):
        raise ValueError(f"needs a reference size above 0 and an accuracy below 1, found {reference}")
    points = np.column_stack([np.asarray(size) / limit, 1 - np.asarray(accuracy)]).astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError("needs finite numbers")
    points = points[(points < [1, 1 - floor]).all(axis=1)]
    return float(moocore.hypervolume(points, ref=[1, 1 - floor])) / (1 - floor) if len(points) else 0.0


def front_volume(
    frame: pd.DataFrame,
    /,
    *,
    by: str = "val_top1",
    reference: tuple[float, float] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Volume:
    """Return how much the front of a study covers, and its basic bootstrap interval over resampled seeds.

    The reference point (bytes, accuracy) is by default `ROOM` times the largest network of the plan, so
    that it does not move while a study runs, and the accuracy of guessing. Two volumes only compare with
    one reference.

    A front is the best of many, so its volume is above that of the true means, and those of resamples are
    above it once more. The interval is therefore mirrored, (2 v - q(0.975), 2 v - q(0.025)) of the volume v
    and the quantiles q of the resamples (Davison and Hinkley 1997, section 5.2). Of 13 networks whose
    accuracies rise with size it held the truth in 91, 93 and 97 % of 400 simulated studies with 3, 5 and 10
    seeds, where the quantiles themselves did in 45, 54 and 73 %; of 13 that are all equally accurate, in
    69 to 83 %, and the quantiles in 1 %.
    """
    check_selecting(by)
    found = summarise(frame, by)
    check_one_data(found["data.name"])
    points = found[found["n"] > 0]
    if reference is None:
        classes = found["model.num_classes"].max() if len(found) else 1
        reference = (ROOM * float(found["bytes_fp32"].max()), 1 / float(classes))
    stated = (*reference, len(points), len(found) - len(points))
    if points.empty:
        return Volume(None, None, None, *stated, "no configuration has a trial that counts")
    size = points["bytes_fp32"].to_numpy(np.float64)
    share = hypervolume(size, points["mean"].to_numpy(), reference=reference)
    if (without := int(points["low"].isna().sum())) > 0:
        has = "has" if without == 1 else "have"
        note = f"no interval, since {count_text(without, 'configuration')} {has} none"
        return Volume(share, None, None, *stated, note)
    values = seed_values(frame, by)
    draws = np.stack(
        [resampled_means(values[c], samples=samples, rng=generator(seed, c)) for c in points["config_id"]]
    )
    volumes = [hypervolume(size, draw, reference=reference) for draw in draws.T]
    low, high = 2 * share - np.quantile(volumes, [0.5 + LEVEL / 2, 0.5 - LEVEL / 2])
    return Volume(share, max(float(low), 0.0), min(float(high), 1.0), *stated, "")


def attainment(frame: pd.DataFrame, /, *, by: str = "val_top1") -> Attainment:
    """Return the attainment bands of the fronts that each seed gives alone.

    A seed's front is that of all configurations trained with it (Grunert da Fonseca, Fonseca and Hall
    2001). Configurations that lack a seed are left out, or that seed's front would be worse for it.
    """
    check_selecting(by)
    counted = scored(frame, by)
    check_one_data(counted["data.name"])
    seeds = sorted(counted["seed"].unique())
    planned = frame[frame["status"] != "removed"]["config_id"].nunique()
    every = counted.groupby("config_id")["seed"].transform("nunique") == len(seeds)
    whole = counted[every]
    complete = whole["config_id"].nunique()
    empty = pd.DataFrame({"band": [], "bytes_fp32": [], "accuracy": []}).astype({"band": "str"})
    stated = (len(seeds), complete, planned - complete)
    if len(seeds) < 2 or not complete:
        reason = "not enough seeds to say" if len(seeds) < 2 else "no configuration has every seed"
        return Attainment(*stated, empty, reason)
    losses = np.column_stack([whole["bytes_fp32"], -whole[by]]).astype(np.float64)
    order = np.argsort(whole["seed"].to_numpy(), kind="stable")  # moocore wants the sets one after another
    counts = {"any": 1, "half": -(-len(seeds) // 2), "all": len(seeds)}
    surfaces = moocore.eaf(
        losses[order],
        whole["seed"].to_numpy(np.int64)[order],
        percentiles=sorted({100 * k / len(seeds) for k in counts.values()}),
    )
    bands = []
    for name, count in counts.items():
        corners = surfaces[np.isclose(surfaces[:, 2], 100 * count / len(seeds))]
        corners = corners[np.argsort(corners[:, 0])]
        bands.append(pd.DataFrame({"band": name, "bytes_fp32": corners[:, 0], "accuracy": -corners[:, 1]}))
    return Attainment(*stated, pd.concat(bands, ignore_index=True).astype({"band": "str"}), "")
