"""Positions of the weights that are not zero, as gaps of few bits (Han et al. 2016, Figure 2).

An entry is a gap, the number of zeros between a weight and the entry before it (the first counts from the
kernel's beginning), and a symbol, 0 for a pruned weight. A gap of b bits reaches to 2^b - 1 at most. To cross
more zeros, *fillers* are put between: entries with the symbol 0 and the largest gap, which cross 2^b zeros.
"""

from typing import NamedTuple

import numpy as np

from sqzx.compression.sqz_errors import PositionError

WIDTHS = range(2, 9)
"""Bits that a gap may have."""


class Entries(NamedTuple):
    """The entries of a kernel: `gaps` uint8 (E,), and whether each is a filler, bool (E,)."""

    gaps: np.ndarray
    is_filler: np.ndarray

    def symbols(self, values: np.ndarray) -> np.ndarray:
        """Return the symbols (E,) of the entries: the weights' own `values` (nonzeros,), 0 for fillers."""
        symbols = np.zeros(self.gaps.size, values.dtype)
        symbols[~self.is_filler] = values
        return symbols


def entries_of(positions: np.ndarray, width: int) -> Entries:
    """Return the entries for strictly rising `positions` (nonzeros,), with gaps of `width` bits.

    >>> entries_of(np.array([1, 7]), 2)  # a weight after 1 zero, a filler for 4 zeros, a weight after 1
    Entries(gaps=array([1, 3, 1], dtype=uint8), is_filler=array([False,  True, False]))
    """
    zeros = np.diff(positions, prepend=-1) - 1
    fillers, rest = zeros >> width, zeros & (2**width - 1)
    last_of_each = np.cumsum(fillers + 1) - 1
    count = int(last_of_each[-1]) + 1 if positions.size else 0
    gaps = np.full(count, 2**width - 1, np.uint8)
    gaps[last_of_each] = rest
    is_filler = np.ones(count, bool)
    is_filler[last_of_each] = False
    return Entries(gaps, is_filler)


def positions_of(gaps: np.ndarray, is_filler: np.ndarray, width: int, size: int) -> np.ndarray:
    """Return the positions (nonzeros,) that entries stand for in a kernel of `size` weights.

    Raises `PositionError` where one lies outside, where a filler's gap is not the largest, and where
    fillers that nothing follows are at the end.
    """
    reached = np.cumsum(gaps, dtype=np.int64) + np.arange(gaps.size)
    if gaps.size and reached[-1] >= size:
        raise PositionError(f"positions: the entries reach to weight {reached[-1] + 1:,} of {size:,}")
    largest = 2**width - 1
    wrong = np.flatnonzero(is_filler & (gaps != largest))
    if wrong.size:
        raise PositionError(
            f"fillers: entry {wrong[0]:,} is a filler with a gap of {gaps[wrong[0]]}, needs {largest}"
        )
    if gaps.size and is_filler[-1]:
        raise PositionError("fillers: the last entry is one, which stands for nothing")
    return reached[~is_filler]
