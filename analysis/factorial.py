"""Main effects and two-way interactions of a sweep that is a full grid, exactly, with intervals.

With m the mean over seeds of each cell (a configuration) and every cell counted alike, an effect is a
contrast sum(c * m): for level i of one axis c is (1 at i, else 0) - 1/L along that axis and 1/L along the
others, and for a pair of axes the product of two such. The mean at a level has 1 at i in that place. The
interval of either is +- t(0.975, df) * s *
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

from analysis.blocks import Block, blocks, grid_size, level_of, levels
from analysis.statistics import LEVEL, seed_values, summarise
from analysis.wording import value_text

BESIDE = " x "
"""What stands between the two axes of an interaction."""


class Effects(NamedTuple):
    """What the axes of one sweep do on the data set `data`, or in `note` why that cannot be said.

    `levels` has term, level (texts; "a x b" for a pair), effect, low, high, and the mean at that level over
    the rest of the grid with its own interval: mean, mean_low, mean_high. A term's rows are in the order of
    the levels, of a pair the second axis fastest. Effects add up to 0 along each axis, in shares of accuracy;
    ends are NaN where there is no interval. `terms` has term and share, of the variance between cell means;
    "higher orders" is what is left of more than two axes. `noise` is the share that seeds alone would give.
    """

    sweep: str
    data: str
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
    by_config = seed_values(frame, metric)
    return [block_effects(block, by_config) for block in blocks(summarise(frame, metric)) if block.keys]


def block_effects(block: Block, values: dict[str, np.ndarray], /) -> Effects:
    """Return the effects of one sweep block from the values of each of its configurations by `config_id`."""
    members, keys = block.members, block.keys
    texts = [[value_text(value) for value in levels(members[key])] for key in keys]
    places = list(zip(*(level_of(members[key]) for key in keys), strict=True))
    shape = tuple(map(len, texts))
    cells = grid_size(block)
    if len(set(places)) < cells:
        return _none(block, f"no full grid: {len(set(places)):,} of {cells:,} combinations")
    if bare := sum(len(values.get(str(c), ())) == 0 for c in members["config_id"]):
        return _none(block, f"{bare:,} of {cells:,} configurations without a trial that counts")
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
        own = _term(m, n, axes, texts, half)
        rows += [{"term": term, **row} for row in own]
        others = cells / math.prod(shape[i] for i in axes)
        shares[term] = others * sum(row["effect"] ** 2 for row in own) / whole if whole else 0.0
    if len(keys) > 2:
        shares["higher orders"] = max(0.0, 1 - sum(shares.values())) if whole else 0.0
    # What the variance between cell means would be if all cells had one mean.
    noise = spread * float((1 / n).mean()) * (cells - 1) / whole if spread and whole else None
    return Effects(
        sweep=block.sweep,
        data=block.data,
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
    m: np.ndarray, n: np.ndarray, axes: tuple[int, ...], texts: list[list[str]], half: float | None
) -> list[dict[str, Any]]:
    """Return a row for each level of an axis, or each pair of levels of two."""
    rows = []
    for chosen in itertools.product(*(range(m.shape[i]) for i in axes)):
        contrast = averaging = np.ones(())
        for axis, length in enumerate(m.shape):
            along = over = np.full(length, 1 / length)
            if axis in axes:
                over = np.eye(length)[chosen[axes.index(axis)]]
                along = over - 1 / length
            contrast = np.multiply.outer(contrast, along)
            averaging = np.multiply.outer(averaging, over)
        effect, mean = (float((weights * m).sum()) for weights in (contrast, averaging))
        width, mean_width = (
            np.nan if half is None else half * float(np.sqrt((weights**2 / n).sum()))
            for weights in (contrast, averaging)
        )
        rows.append(
            {
                "level": BESIDE.join(texts[axis][i] for axis, i in zip(axes, chosen, strict=True)),
                "effect": effect,
                "low": effect - width,
                "high": effect + width,
                "mean": mean,
                "mean_low": mean - mean_width,
                "mean_high": mean + mean_width,
            }
        )
    return rows


def _none(block: Block, note: str) -> Effects:
    terms = pd.DataFrame({"term": [], "share": []}).astype({"term": "str"})
    return Effects(block.sweep, block.data, block.keys, 0, 0, None, _typed(pd.DataFrame()), terms, None, note)


def _typed(found: pd.DataFrame) -> pd.DataFrame:
    texts, numbers = ("term", "level"), ("effect", "low", "high", "mean", "mean_low", "mean_high")
    types = dict.fromkeys(texts, "str") | dict.fromkeys(numbers, float)
    return found.reindex(columns=list(types)).astype(types)
