"""The range of each metaparameter in which the best configurations of a study lie.

The empirical bootstrap of Radosavovic et al. 2020 ("Designing network design spaces", section 3): draw a
quarter of the n configurations with replacement, note the value of the best, and repeat. The median of the
noted values is the likely best, and 95 % of them lie in the good range. Here no draw is made: of m draws
with replacement from n, the best is the one of rank k with probability

    ((n - k + 1) / n)^m - ((n - k) / n)^m,

which is what infinitely many resamples would give. Configurations of equal accuracy share what they would
have together.

Values of a metaparameter count as often as the study has them: a range is a statement about this design,
and one that was made along lines, as the paper's two sweeps, says little about values off them.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.selection import check_one_data, check_selecting
from analysis.statistics import LEVEL, comparable, summarise
from analysis.table import configuration_keys
from analysis.wording import value_text

DRAWN = 0.25
"""The share of the configurations in one draw."""

FEWEST = 8
"""With fewer configurations a draw is a single one, or hardly more, and any value is the best of it."""


class GoodRange(NamedTuple):
    """The values of a key that the best configurations have, n of them compared.

    `values` has `value` (text) and `probability`, in the order of the values; `likely`, `low` and `high` are
    texts of values that the study has. A key whose values have no order has no range, and its likely value
    is the most probable one. `note` says why there is none.
    """

    key: str
    likely: str | None
    low: str | None
    high: str | None
    values: pd.DataFrame
    n: int
    note: str


def good_ranges(frame: pd.DataFrame, /, *, by: str = "val_top1", drawn: float = DRAWN) -> list[GoodRange]:
    """Return the good range of each key that varies, by the mean of `by` over seeds."""
    check_selecting(by)
    found = summarise(frame, by)
    found = found[found["n"] > 0]
    keys = [key for key in configuration_keys(found) if found[key].nunique(dropna=False) > 1]
    if keys:
        check_one_data(found["data.name"])
    return [good_range(key, found[key], found["mean"].to_numpy(np.float64), drawn=drawn) for key in keys]


def good_range(key: str, values: pd.Series, accuracy: np.ndarray, /, *, drawn: float = DRAWN) -> GoodRange:
    """Return the good range of one key, from its value and the accuracy (n,) of each configuration."""
    n = len(values)
    ordered = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    ordered = ordered and bool(values.notna().all())
    weights = pd.DataFrame({"value": values.to_numpy(), "probability": best_of_draw(accuracy, drawn=drawn)})
    grouped = weights.groupby("value", sort=ordered, dropna=False)["probability"].sum()
    texts = [value_text(None if pd.isna(value) else value) for value in grouped.index]
    table = pd.DataFrame({"value": pd.Series(texts, dtype="str"), "probability": grouped.to_numpy()})
    if n < FEWEST:
        return GoodRange(key, None, None, None, table, n, f"not enough configurations to say ({n})")
    if not ordered:
        return GoodRange(key, texts[int(grouped.argmax())], None, None, table, n, "values without an order")
    reached = np.cumsum(grouped.to_numpy())
    low, likely, high = (
        texts[int(np.searchsorted(reached, q - 1e-12))] for q in (0.5 - LEVEL / 2, 0.5, 0.5 + LEVEL / 2)
    )
    return GoodRange(key, likely, low, high, table, n, "")


def best_of_draw(accuracy: np.ndarray, /, *, drawn: float = DRAWN) -> np.ndarray:
    """Return how probably each of n is the best of a draw of ceil(drawn * n) with replacement; adds up to 1.

    A draw that holds several of one accuracy takes each of them with the same probability.
    """
    n = len(accuracy)
    if not n:
        return np.empty(0)
    m = int(np.ceil(drawn * n))
    _, member, counts = np.unique(-comparable(accuracy), return_inverse=True, return_counts=True)
    behind = n - np.concatenate([[0], np.cumsum(counts)])  # how many are no better than each level
    share = (behind[:-1] / n) ** m - (behind[1:] / n) ** m
    return (share / counts)[member]
