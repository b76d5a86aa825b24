"""Gaps and fillers against a slow encoder, and entries that no encoder writes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqzx.compression.relative_indices import WIDTHS, entries_of, positions_of
from sqzx.compression.sqz_errors import PositionError


def slow_entries(positions, width):
    """Walk through a kernel as Han et al. tell it (section 2, Figure 2)."""
    entries, last = [], -1
    for position in positions:
        while position - last - 1 >= 2**width:
            entries.append((2**width - 1, True))
            last += 2**width
        entries.append((position - last - 1, False))
        last = position
    return entries


positions = st.lists(st.integers(0, 2000), unique=True, max_size=40).map(sorted)


@given(positions=positions, width=st.sampled_from(WIDTHS))
def test_entries_are_those_of_the_slow_encoder_and_come_back(positions, width):
    found = entries_of(np.array(positions, np.int64), width)
    expected = slow_entries(positions, width)
    assert list(zip(found.gaps.tolist(), found.is_filler.tolist(), strict=True)) == expected
    assert found.gaps.dtype == np.uint8
    assert positions_of(found.gaps, found.is_filler, width, 2001).tolist() == positions


@pytest.mark.parametrize("width", WIDTHS)
def test_the_largest_gap_needs_no_filler_and_one_zero_more_does(width):
    most = 2**width - 1
    assert entries_of(np.array([most]), width).is_filler.tolist() == [False]
    more = entries_of(np.array([most + 1]), width)
    assert (more.gaps.tolist(), more.is_filler.tolist()) == ([most, 0], [True, False])


def test_fillers_have_the_symbol_0():
    entries = entries_of(np.array([0, 9]), 2)
    assert entries.symbols(np.array([7, 8], np.uint8)).tolist() == [7, 0, 0, 8]


def refused(gaps, fillers, width, size):
    with pytest.raises(PositionError) as error:
        positions_of(np.array(gaps, np.uint8), np.array(fillers, bool), width, size)
    return str(error.value)


def test_entries_that_leave_the_kernel():
    assert positions_of(np.array([3, 0], np.uint8), np.zeros(2, bool), 2, 5).tolist() == [3, 4]
    assert "weight 5 of 4" in refused([3, 0], [0, 0], 2, 4)


def test_many_large_gaps_do_not_wrap_around():
    assert "weight 25,600 of 25,599" in refused([255] * 100, [0] * 100, 8, 25_599)


def test_a_filler_with_another_gap():
    assert "entry 1 is a filler with a gap of 2, needs 3" in refused([0, 2, 0], [0, 1, 0], 2, 100)


def test_a_filler_at_the_end():
    assert "the last entry" in refused([0, 3], [0, 1], 2, 100)
