"""The blocks of a study as the summary shows them: which configurations, and along which keys they differ."""

import math
from typing import Any, NamedTuple

import pandas as pd

from analysis.table import configuration_keys


class Block(NamedTuple):
    """One sweep block: its rows of the summary, finished or not, and the keys that vary among them."""

    sweep: str
    members: pd.DataFrame
    keys: tuple[str, ...]

    @property
    def finished(self) -> pd.DataFrame:
        """The members that have a mean."""
        return self.members[self.members["n"] > 0]

    @property
    def data(self) -> str:
        """The data sets of the members."""
        return ", ".join(self.members["data.name"].drop_duplicates())


def blocks(summary: pd.DataFrame) -> list[Block]:
    """Return the blocks in the order of the study."""
    names = dict.fromkeys(name for joined in summary["sweeps"] for name in joined.split(";"))
    found = []
    for name in names:
        members = summary[in_sweep(summary, name)]
        found.append(Block(name, members, varying_keys(members)))
    return found


def in_sweep(rows: pd.DataFrame, sweep: str) -> list[bool]:
    """Return which rows of a table or a summary are members of a sweep."""
    return [sweep in joined.split(";") for joined in rows["sweeps"]]


def varying_keys(members: pd.DataFrame) -> tuple[str, ...]:
    """Return the configuration keys that have more than one value; a missing value is one, too."""
    return tuple(k for k in configuration_keys(members) if members[k].nunique(dropna=False) > 1)


def is_number(values: pd.Series) -> bool:
    """Whether a key's values are numbers, all of them."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return numeric and bool(values.notna().all())


def levels(values: pd.Series) -> list[Any]:
    """Return a key's different values: numbers in their order, others in the order of the study."""
    distinct: list[Any] = [None if pd.isna(value) else value for value in values.drop_duplicates()]
    return sorted(distinct) if is_number(values) else distinct


def level_of(values: pd.Series) -> pd.Series:
    """Return the place of each value among `levels`."""
    place = {value: i for i, value in enumerate(levels(values))}
    return pd.Series([place[None if pd.isna(value) else value] for value in values], index=values.index)


def grid_size(block: Block) -> int:
    """Return how many points a full grid of the block's values would have."""
    return math.prod(len(levels(block.members[key])) for key in block.keys)
