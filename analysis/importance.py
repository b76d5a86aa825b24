"""Which axes of a random design matter: permutation importance of a surrogate, with how good it is.

A random forest is fitted to the configurations' means; in five folds each configuration is predicted by a
forest that did not see it. Their R^2 says whether there is anything to read. The importance of a key is by
how much the squared error on unseen configurations grows when that key's values are shuffled among them, as
a share of the variance (Breiman 2001; Fisher, Rudin and Dominici 2019). Keys that go together share it, and
which of them gets it the forest decides. For a full grid `analysis.factorial` is exact; this is not.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.resampling import generator
from analysis.statistics import summarise
from analysis.table import configuration_keys

FOLDS, TREES, SHUFFLES = 5, 100, 10

FEWEST = 20
"""With fewer configurations a fold has fewer than four of them, and its error says nothing."""


TRUSTED = 0.5
"""An R^2 below this leaves more unexplained than explained: the order of the keys is not to be trusted."""


class Importance(NamedTuple):
    """`keys` has key, importance, low and high (smallest and largest fold), the most important first.

    `r2` is the surrogate's on configurations it did not see, n of them; `left_out` lack a mean. Without a
    surrogate that explains something `keys` is empty, and `note` says so; it also says where the R^2 is below
    `TRUSTED`.
    """

    keys: pd.DataFrame
    r2: float | None
    n: int
    left_out: int
    note: str


def importance(frame: pd.DataFrame, metric: str = "test_top1", /, *, seed: int = 0) -> Importance:
    """Return the importance of each key that varies, for the mean of `metric` over seeds."""
    summary = summarise(frame, metric)
    found = summary[summary["n"] > 0]
    left_out = len(summary) - len(found)
    keys = [key for key in configuration_keys(found) if found[key].nunique(dropna=False) > 1]
    y = found["mean"].to_numpy(np.float64)
    if len(found) < FEWEST or not keys:
        note = "no key varies" if not keys else f"not enough configurations to say ({len(found)})"
        return Importance(_table([], []), None, len(found), left_out, note)
    if np.ptp(y) == 0:
        return Importance(_table([], []), None, len(found), left_out, "all means are equal")
    x = np.column_stack([_codes(found[key]) for key in keys])
    predicted, growths = _out_of_fold(x, y, seed)
    r2 = float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    if r2 <= 0:
        note = f"the surrogate explains nothing of unseen configurations (R2 {r2:.2f}): none to read"
        return Importance(_table([], []), r2, len(found), left_out, note)
    note = "" if r2 >= TRUSTED else f"R2 {r2:.2f} is below {TRUSTED}: not to be trusted"
    return Importance(_table(keys, growths / y.var()), r2, len(found), left_out, note)


def _out_of_fold(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the prediction (n,) of each row by a forest that did not see it, and (folds, keys) growths."""
    from sklearn.ensemble import RandomForestRegressor  # scikit-learn is slow to import
    from sklearn.model_selection import KFold

    rng = generator(seed)
    predicted, growths = np.empty(len(y)), []
    for seen, unseen in KFold(FOLDS, shuffle=True, random_state=seed).split(x):
        forest = RandomForestRegressor(TREES, random_state=seed).fit(x[seen], y[seen])
        predicted[unseen] = forest.predict(x[unseen])
        n, keys = x[unseen].shape
        # (keys, shuffles, rows, keys): in the k-th part the k-th key is shuffled. One call for all is faster.
        mixed = np.broadcast_to(x[unseen], (keys, SHUFFLES, n, keys)).copy()
        for key in range(keys):
            mixed[key, :, :, key] = rng.permuted(mixed[key, :, :, key], axis=1)
        answers = forest.predict(mixed.reshape(-1, keys)).reshape(keys, SHUFFLES, n)
        error = ((y[unseen] - predicted[unseen]) ** 2).mean()
        growths.append(((y[unseen] - answers) ** 2).mean(axis=(1, 2)) - error)
    return predicted, np.array(growths)


def _codes(values: pd.Series) -> np.ndarray:
    """Return a key's values as numbers for trees: unset is below all, and texts are numbered."""
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return pd.factorize(values.astype(object), sort=False)[0].astype(np.float64)
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(numbers), np.nanmin(numbers) - 1, numbers)


def _table(keys: list[str], shares: np.ndarray | list[float]) -> pd.DataFrame:
    folds = np.asarray(shares, dtype=np.float64).reshape(-1, len(keys)) if keys else np.empty((1, 0))
    table = pd.DataFrame(
        {
            "key": pd.Series(keys, dtype="str"),
            "importance": folds.mean(axis=0),
            "low": folds.min(axis=0),
            "high": folds.max(axis=0),
        }
    )
    return table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
