"""Main effects and two-way interactions of a sweep that is a full grid, exactly, with intervals.

With m the mean over seeds of each cell (a configuration) and every cell counted alike, an effect is a
contrast sum(c * m): for level i of one axis c is (1 at i, else 0) - 1/L along that axis and 1/L along the
others, and for a pair of axes the product of two such. Its interval is +- t(0.975, df) * s *
sqrt(sum(c^2 / n)), where s^2 is the variance within cells, pooled over all, with df = trials - cells
(analysis of variance with replicates; Montgomery, "Design and analysis of experiments", chapter 5). That
takes the seeds as independent draws, near enough normal, with one variance everywhere. Each interval has
95 % by itself, not all at once.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analysis.statistics import LEVEL, seed_values, summarise
from analysis.table import configuration_keys
from analysis.wording import value_text

BESIDE = " x "
"""What stands between the two axes of an interaction."""


class Effects(NamedTuple):
    """What the axes of one sweep do, or in `note` why that cannot be said.

    `levels` has term, level (texts; "a x b" for a pair), effect, low, high; effects add up to 0 along each
    axis, in shares of accuracy, and low and high are NaN where there is no interval. `terms` has term and
    share, of the variance between cell means; "higher orders" is what is left of more than two axes. `noise`
    is the share that seeds alone would give.
    """

    sweep: str
    keys: tuple[str, ...]
    cells: int
    trials: int
    mean: float | None
    levels: pd.DataFrame
    terms: pd.DataFrame
    noise: float | None
    note: str


def effects(frame: pd.DataFrame, metric: str = "test_top1", /) -> list[Effects]:
    """Return the effects of each sweep block of a study along which something varies."""
    summary = summarise(frame, metric)
    names = dict.fromkeys(name for joined in summary["sweeps"] for name in joined.split(";"))
    members = {n: summary[[n in joined.split(";") for joined in summary["sweeps"]]] for n in names}
    varying = {
        name: tuple(k for k in configuration_keys(summary) if rows[k].nunique(dropna=False) > 1)
        for name, rows in members.items()
    }
    by_config = seed_values(frame, metric)
    return [sweep_effects(name, members[name], keys, by_config) for name, keys in varying.items() if keys]


def sweep_effects(
    name: str, members: pd.DataFrame, keys: tuple[str, ...], values: dict[str, np.ndarray], /
) -> Effects:
    """Return the effects of one sweep from its configurations and the values of each by `config_id`."""
    coded = [_codes(members[key]) for key in keys]
    levels = [texts for _, texts in coded]
    places = list(zip(*(codes for codes, _ in coded), strict=True))
    shape = tuple(len(texts) for texts in levels)
    cells = math.prod(shape)
    if len(set(places)) < cells:
        return _none(name, keys, f"no full grid: {len(set(places))} of {cells} combinations")
    if bare := sum(len(values.get(str(c), ())) == 0 for c in members["config_id"]):
        return _none(name, keys, f"{bare} of {cells} configurations without a trial that counts")
    m, n, squares = (np.empty(shape) for _ in range(3))
    for config, at in zip(members["config_id"].astype(str), places, strict=True):
        own = values[config]
        m[at], n[at], squares[at] = own.mean(), len(own), ((own - own.mean()) ** 2).sum()
    freedom = int(n.sum()) - cells
    spread = float(squares.sum()) / freedom if freedom else None
    note = "" if spread else ("one seed a cell: no interval" if not freedom else "equal seeds: no interval")
    half = None if not spread else float(stdtrit(freedom, 0.5 + LEVEL / 2)) * np.sqrt(spread)
    rows: list[dict[str, Any]] = []
    shares: dict[str, float] = {}
    whole = float(((m - m.mean()) ** 2).sum())
    for axes in (*((i,) for i in range(len(keys))), *itertools.combinations(range(len(keys)), 2)):
        term = BESIDE.join(keys[i] for i in axes)
        own = _term(m, n, axes, levels, half)
        rows += [{"term": term, **row} for row in own]
        others = cells / math.prod(shape[i] for i in axes)
        shares[term] = others * sum(row["effect"] ** 2 for row in own) / whole if whole else 0.0
    if len(keys) > 2:
        shares["higher orders"] = max(0.0, 1 - sum(shares.values())) if whole else 0.0
    # What the variance between cell means would be if all cells had one mean.
    noise = spread * float((1 / n).mean()) * (cells - 1) / whole if spread and whole else None
    return Effects(
        sweep=name,
        keys=keys,
        cells=cells,
        trials=int(n.sum()),
        mean=float(m.mean()),
        levels=_typed(pd.DataFrame(rows)),
        terms=pd.DataFrame({"term": pd.Series(list(shares), dtype="str"), "share": list(shares.values())}),
        noise=noise,
        note=note,
    )


def _term(
    m: np.ndarray, n: np.ndarray, axes: tuple[int, ...], levels: list[list[str]], half: float | None
) -> list[dict[str, Any]]:
    """Return a row for each level of an axis, or each pair of levels of two."""
    rows = []
    for chosen in itertools.product(*(range(m.shape[i]) for i in axes)):
        contrast = np.ones(())
        for axis, length in enumerate(m.shape):
            along = np.full(length, 1 / length)
            if axis in axes:
                along = np.eye(length)[chosen[axes.index(axis)]] - 1 / length
            contrast = np.multiply.outer(contrast, along)
        effect = float((contrast * m).sum())
        width = np.nan if half is None else half * float(np.sqrt((contrast**2 / n).sum()))
        text = BESIDE.join(levels[axis][i] for axis, i in zip(axes, chosen, strict=True))
        rows.append({"level": text, "effect": effect, "low": effect - width, "high": effect + width})
    return rows


def _codes(values: pd.Series) -> tuple[list[int], list[str]]:
    """Return the place of each value on its axis, and the axis as texts: numbers in order, others as met."""
    number = pd.api.types.is_numeric_dtype(values) and bool(values.notna().all())
    codes, distinct = pd.factorize(values.astype(object), sort=number, use_na_sentinel=False)
    return codes.tolist(), [value_text(None if pd.isna(value) else value) for value in distinct]


def _none(name: str, keys: tuple[str, ...], note: str) -> Effects:
    nothing = pd.DataFrame({c: [] for c in ("term", "level", "effect", "low", "high")})
    terms = pd.DataFrame({"term": [], "share": []}).astype({"term": "str"})
    return Effects(name, keys, 0, 0, None, _typed(nothing), terms, None, note)


def _typed(levels: pd.DataFrame) -> pd.DataFrame:
    return levels.astype({"term": "str", "level": "str", "effect": float, "low": float, "high": float})
