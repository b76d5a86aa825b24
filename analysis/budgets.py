"""The best network within a budget of bytes: validation chooses it, and the test set reports it."""

from typing import NamedTuple

import pandas as pd

from analysis.statistics import comparable, summarise

MOST_BUDGETS = 8


class Best(NamedTuple):
    """What validation chooses among the configurations of at most `budget` bytes.

    `row` is its row of the summary of the test metric (`analysis.statistics.summarise`), `validation` its
    mean in the metric that chose it.
    """

    data: str
    budget: float
    validation: float
    row: dict


def best_within(frame: pd.DataFrame, metric: str = "test_top1") -> list[Best]:
    """Return the choice within each budget, per data set; a budget that changes no choice is left out.

    Budgets are round sizes: 1, 2 and 5 times powers of ten, up to the first that holds every network. Of
    configurations that are equal in validation the smaller is chosen.
    """
    summary = summarise(frame, metric)
    summary["validation"] = summarise(frame, metric.replace("test_", "val_"))["mean"]
    found: list[Best] = []
    for data, members in summary[summary["n"] > 0].groupby("data.name", sort=False):
        members = members.dropna(subset=["validation"])
        ordered = members.assign(compared=comparable(members["validation"])).sort_values(
            ["compared", "bytes_fp32"], ascending=[False, True], kind="stable"
        )
        chosen: dict[str, Best] = {}
        for budget in _budgets(ordered["bytes_fp32"]):
            row = ordered[ordered["bytes_fp32"] <= budget].iloc[0].to_dict()
            chosen.setdefault(row["config_id"], Best(str(data), budget, row["validation"], row))
        found += list(chosen.values())[-MOST_BUDGETS:]
    return found


def _budgets(sizes: pd.Series) -> list[float]:
    if sizes.empty:
        return []
    steps = [m * 10.0**e for e in range(16) for m in (1, 2, 5)]
    inside = [step for step in steps if sizes.min() <= step <= sizes.max()]
    return [*inside, next(step for step in steps if step >= sizes.max())]
