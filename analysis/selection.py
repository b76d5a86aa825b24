"""Which configuration a study chooses: always by validation, never by the test set.

Every function of this package that picks configurations (the chosen one, a front, a good range) takes the
metric that picks as `by`, and `check_selecting` refuses a metric of the test set. The test set is scored once
for each trial, and read after the choice has been made.
"""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from analysis.statistics import comparable, summarise
from sqzx.errors import InputError

SELECTING = ("val_top1", "val_top5")
"""The metrics that may choose."""


class Chosen(NamedTuple):
    """The configuration with the highest mean of `by` over n seeds; `tied` names those as high as it."""

    config_id: str
    name: str
    bytes_fp32: int
    by: str
    mean: float
    n: int
    tied: tuple[str, ...]


def check_selecting(by: str) -> None:
    """Refuse to choose by anything but validation."""
    if by not in SELECTING:
        raise InputError(
            f"{by}: chooses nothing, since the best of many by the test set flatters itself; "
            f"choose by {' or '.join(SELECTING)}"
        )


def check_one_data(names: Iterable[str]) -> None:
    """Refuse to rank accuracies on different data sets against each other."""
    if len(found := list(dict.fromkeys(names))) > 1:
        raise InputError(
            f"data.name: accuracies on {', '.join(found)} have no common order; take the rows of one"
        )


def chosen(frame: pd.DataFrame, /, *, by: str = "val_top1") -> Chosen | None:
    """Return what validation chooses, or None where no configuration has a mean.

    Of equal means the smaller network is chosen, and of those equal in size, too, the first in the plan;
    the others are `tied`.
    """
    check_selecting(by)
    found = summarise(frame, by)
    found = found[found["n"] > 0]
    check_one_data(found["data.name"])
    if found.empty:
        return None
    means = comparable(found["mean"])
    best = found[means == means.max()].sort_values("bytes_fp32", kind="stable")
    first, others = best.iloc[0], best.iloc[1:]
    return Chosen(
        config_id=str(first["config_id"]),
        name=str(first["name"]),
        bytes_fp32=int(first["bytes_fp32"]),
        by=by,
        mean=float(first["mean"]),
        n=int(first["n"]),
        tied=tuple(others["name"].astype(str)),
    )
