"""The paper's Table 2 beside a study's own compressed networks: what a method costs in accuracy and saves.

A row of the table stands beside what validation chooses among our configurations of that family, recipe and
number of bits. A compressed network starts from the dense trial of its own seed, so its loss is a mean of
differences by seed, with the t interval of those (a paired t test). The paper finds no loss but with SVD:
that is confirmed where the interval ends above -`KEPT`, and contradicted where all of it is a loss and it
reaches beyond that.
"""

from itertools import pairwise
from typing import Any

import pandas as pd

from analysis.paper import Answer, Check, table2
from analysis.selection import chosen
from analysis.statistics import Difference, mean_difference, mean_interval
from analysis.table import configuration_keys, records, scored
from analysis.wording import percent, points, points_interval, seeds_text, size_text

KEPT = 0.012
"""What SVD loses in the paper, which calls that a loss: less than this is none."""

FAMILIES = {"AlexNet": "alexnet", "SqueezeNet": "squeezenet"}

RECIPES = {"SVD": "svd", "network pruning": "pruning", "Deep Compression": "deep_compression"}
"""Our recipes by the paper's approaches, but for who is cited there."""

NO_SHAPE = "values on other data do not compare, and one network alone has no shape"


def compressed_checks(frame: pd.DataFrame, metric: str = "test_top1", /) -> list[Check]:
    """Return a check for each row of Table 2, and one of the order of its files."""
    frame = _one_data(frame[frame["status"] != "removed"])
    return [*(_check(frame, metric, row) for row in records(table2())), _order(frame)]


def _check(frame: pd.DataFrame, metric: str, row: dict[str, Any]) -> Check:
    family, approach = FAMILIES[row["network"]], row["approach"].partition(" (")[0]
    bits = "" if row["bits"] == "32" else f", {row['bits']} bit"
    what = f"{row['network']}, {row['approach']}{bits}"
    dense = approach == "none"
    ours = _dense(frame, family) if dense else _compressed(frame, family, RECIPES[approach], row["bits"])
    size = None if ours is None else _bytes(ours, "bytes_fp32" if dense else "bytes_compressed")
    if ours is None or size is None:
        told, answer = "", _lacking(frame, family, dense=dense)
    elif not dense:
        told, answer = _beside(ours, size, _origin(frame, ours), metric, loses=approach == "SVD")
    else:  # SqueezeNet's base is AlexNet; AlexNet is what the others compare with
        base = None if family == "alexnet" else _dense(frame, "alexnet")
        told, answer = _beside(ours, size, base, metric, paired=False)
    return Check("Table 2", what, f"{row['size']}, {row['top1']:.1f} % top-1", told, *answer)


def _one_data(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows on the first data set on which something was compressed."""
    if "compress.recipe" not in frame:
        return frame.iloc[:0]
    with_some = frame.loc[frame["compress.recipe"].notna(), "data.name"]
    return frame[frame["data.name"] == with_some.iloc[0]] if len(with_some) else frame.iloc[:0]


def _dense(frame: pd.DataFrame, family: str) -> pd.DataFrame | None:
    if frame.empty:
        return None
    return _choice(frame[(frame["model.family"] == family) & frame["compress.recipe"].isna()])


def _compressed(frame: pd.DataFrame, family: str, recipe: str, bits: str) -> pd.DataFrame | None:
    """Return the trials for a row of the table: "5-8" bits are any of these, "32" that none are shared."""
    if frame.empty:
        return None
    rows = frame[(frame["model.family"] == family) & (frame["compress.recipe"] == recipe)]
    if bits != "32" and "compress.bits" in rows:
        low, _, high = bits.partition("-")
        rows = rows[rows["compress.bits"].between(int(low), int(high or low)).fillna(False).astype(bool)]
    return _choice(rows)


def _choice(rows: pd.DataFrame) -> pd.DataFrame | None:
    """Return the trials of what validation chooses."""
    best = chosen(rows)
    return None if best is None else rows[rows["config_id"] == best.config_id]


def _origin(frame: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame | None:
    """Return the trials of the dense network that a compressed one was made of."""
    dense = frame[frame["compress.recipe"].isna()]
    keys = [k for k in configuration_keys(frame) if k != "seed" and not k.startswith("compress.")]
    first = ours.iloc[0]
    same = pd.Series(data=True, index=dense.index)
    for key in keys:
        same &= (
            dense[key].isna()
            if pd.isna(first[key])
            else (dense[key] == first[key]).fillna(False).astype(bool)
        )
    return dense[same] if same.any() else None


def _bytes(trials: pd.DataFrame, column: str) -> float | None:
    """Return the mean size over the trials that count, in bytes."""
    size = scored(trials)[column].astype("float64").mean()
    return None if pd.isna(size) else float(size)


def _beside(
    ours: pd.DataFrame,
    size: float,
    reference: pd.DataFrame | None,
    metric: str,
    *,
    paired: bool = True,
    loses: bool = False,
) -> tuple[str, tuple[Answer, str]]:
    """Return our numbers in words, and whether they lose what the paper's lose."""
    own = scored(ours, metric).set_index("seed")[metric]
    if own.empty:
        return "", ("cannot say", "no trial of it has this accuracy")
    told = f"{size_text(size)}, {percent(float(own.mean()))} ({seeds_text([len(own)])})"
    if reference is None:
        return told, ("cannot say", NO_SHAPE)
    base = scored(reference, metric).set_index("seed")[metric]
    times = _bytes(reference, "bytes_fp32")
    found = _by_seed(base, own) if paired else mean_difference(base.to_numpy(), own.to_numpy())
    if found.difference is None or times is None:
        return told, ("cannot say", found.note)
    interval = "" if found.low is None else f" ({points_interval(found.low, float(found.high or 0))})"
    told += f"; {times / size:.3g} times smaller, {points(found.difference)} points{interval}"
    return told, _lost(found) if loses else _kept(found)


def _by_seed(base: pd.Series, own: pd.Series) -> Difference:
    """Return the mean difference of the seeds that both have, with its paired interval."""
    found = mean_interval((own - base).dropna().to_numpy())
    return Difference(found.mean, found.low, found.high, found.note)


def _kept(found: Difference) -> tuple[Answer, str]:
    if found.low is None or found.high is None:
        return "cannot say", found.note
    if found.low >= -KEPT:
        return "yes", ""
    return ("no", "") if found.high < 0 else ("cannot say", "these seeds cannot tell a loss from none")


def _lost(found: Difference) -> tuple[Answer, str]:
    if found.low is None or found.high is None:
        return "cannot say", found.note
    if found.high < 0:
        return "yes", ""
    return ("no", "") if found.low >= -KEPT else ("cannot say", "these seeds cannot tell a loss from none")


def _lacking(frame: pd.DataFrame, family: str, *, dense: bool) -> tuple[Answer, str]:
    if frame.empty:
        return "cannot say", NO_SHAPE if dense else "the study has no compressed networks"
    return "cannot say", f"the study has no such network of the family {family} with an accuracy that counts"


def _order(frame: pd.DataFrame) -> Check:
    """Say whether our files of AlexNet are in the paper's order."""
    what = "AlexNet: SVD makes the largest file, Deep Compression the smallest"
    bits = {"deep_compression": "5-8"}
    made = [_compressed(frame, "alexnet", recipe, bits.get(recipe, "32")) for recipe in RECIPES.values()]
    sizes = [None if trials is None else _bytes(trials, "bytes_compressed") for trials in made]
    known = [size for size in sizes if size is not None]
    if len(known) < len(RECIPES):
        return Check("Table 2", what, "48, 27, 6.9 MB", "", "cannot say", "the study lacks a method")
    falls = all(a > b for a, b in pairwise(known))
    return Check(
        "Table 2", what, "48, 27, 6.9 MB", ", ".join(map(size_text, known)), "yes" if falls else "no", ""
    )
