"""A range coder for arrays of small whole numbers, that of the package constriction (Bamler 2022).

It comes closer to the entropy than whole bits a symbol can. A model is known by its *costs*, like a Huffman
code by its lengths: `costs[s]` is how many quarters of a bit symbol s takes, `ABSENT` where it never occurs.
Quarters cost less than one part in 500 of a bit a symbol over exact probabilities, and keep the table short.

The weight of a cost q is floor(2^(24 - q / 4)). The probabilities are the weights of the symbols that occur,
in rising order, as `constriction.stream.model.Categorical(weights, perfect=False)` makes them. The coder is
`constriction.stream.queue.RangeEncoder`: 32-bit units, here little-endian. A single symbol takes no bits.
"""

from typing import Any

import constriction
import numpy as np

from sqzx.compression.huffman import ABSENT, symbol_type
from sqzx.compression.sqz_errors import CodeTableError, StreamError

HIGHEST = 88
"""Quarters of a bit: a probability of 2^-22."""

_ROOTS = np.array([2**24, 14_107_900, 11_863_283, 9_975_792])
"""floor(2^(24 - q / 4)) for q = 0 to 3; whole numbers, so that every machine has the same."""

_UNIT = 4
_AT_A_TIME = 1 << 18
"""Symbols, for the memory's sake."""
_stream: Any = constriction.stream  # ty: ignore[missing-attribute]  # compiled, without stubs


def costs_of(counts: np.ndarray) -> np.ndarray:
    """Return the costs, int8 (symbols,), for symbols that occur `counts` (symbols,) times."""
    costs = np.full(counts.size, ABSENT, np.int8)
    present = np.flatnonzero(counts)
    quarters = -4 * np.log2(counts[present] / counts.sum())
    costs[present] = np.clip(np.rint(quarters), 0, HIGHEST)
    return costs


def check_costs(costs: np.ndarray) -> None:
    """Refuse costs that no model has."""
    present = costs[costs != ABSENT]
    if not present.size:
        raise CodeTableError("costs: no symbol has one")
    if present.max() > HIGHEST or present.min() < 0:
        raise CodeTableError(f"costs: need 0 to {HIGHEST}, found {present.min()} to {present.max()}")


def encode(symbols: np.ndarray, costs: np.ndarray) -> bytes:
    """Return `symbols` (n,), each of which has a cost, as whole units of 4 bytes."""
    present = np.flatnonzero(costs != ABSENT)
    if present.size <= 1:
        return b""
    encoder, model = _stream.queue.RangeEncoder(), _model(costs[present])
    ranks = np.zeros(costs.size, np.int32)
    ranks[present] = np.arange(present.size)
    for first in range(0, symbols.size, _AT_A_TIME):
        encoder.encode(ranks[symbols[first : first + _AT_A_TIME]], model)
    return encoder.get_compressed().astype("<u4").tobytes()


def decode(data: bytes, costs: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` symbols that `data` holds, in the smallest type.

    A range decoder makes symbols of any bytes, so they are encoded again: `StreamError` unless that gives
    `data`, and with it the one spelling that these symbols have.
    """
    present = np.flatnonzero(costs != ABSENT)
    if present.size <= 1 or count == 0:
        if data:
            raise StreamError(f"length: {len(data):,} bytes for symbols that take none")
        return np.full(count, present[0] if count else 0, symbol_type(costs.size))
    if len(data) % _UNIT:
        raise StreamError(f"length: {len(data):,} bytes are no whole units of {_UNIT}")
    decoder = _stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
    model, symbols = _model(costs[present]), np.empty(count, symbol_type(costs.size))
    try:
        for first in range(0, count, _AT_A_TIME):
            part = symbols[first : first + _AT_A_TIME]
            part[:] = present[decoder.decode(model, part.size)]
    except AssertionError:
        raise StreamError("range coder: bytes that no symbols have") from None
    if encode(symbols, costs) != data:
        raise StreamError(
            "range coder: the bytes go on after the last symbol, or are not those of an encoder"
        )
    return symbols


def _model(costs: np.ndarray) -> Any:
    weights = _ROOTS[costs % 4] >> (costs // 4)
    return _stream.model.Categorical(weights.astype(np.float64), perfect=False)
