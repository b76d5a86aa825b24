"""A sequence of small whole numbers as bytes: grouped, the table of its code, and the coded symbols.

    number    G, symbols that a codeword stands for, 1 to 8
    number    T, the bytes of the table
    number    S, the bytes of the coded symbols
    T bytes   the table
    S bytes   the coded symbols (`sqzx.compression.huffman`, or `range_coding`)

The numbers are those of `sqzx.compression.byte_reader`. Where a codeword stands for G symbols of an alphabet
of A, the code has A^G symbols, at most 1,024 if G is not 1: the G are the digits of a number to the base A,
the first the highest. What the last codeword lacks is filled with 0. Several together follow what neighbours
have in common, and lose less to whole bits.

The table has the length of each codeword (of a range coder the cost of each symbol), in the order of the
symbols, as whole numbers x >= 1 in Elias' gamma code: floor(log2 x) bits of 0, then x in binary. By turns:
how many symbols without a codeword come next, plus 1; and, unless these were the last, the difference of the
next symbol's length to the length before it, as 2d for d > 0 and 1 - 2d for others (the first to 0). The bits
that fill the last byte are 0. A table whose symbols end with a codeword ends with it.
"""

from typing import Literal, NamedTuple

import numpy as np

from sqzx.compression import huffman, range_coding
from sqzx.compression.byte_reader import ByteReader, number
from sqzx.compression.huffman import ABSENT
from sqzx.compression.sqz_errors import CodeTableError, StreamError

Coder = Literal["huffman", "range"]

LARGEST_GROUP = 8
MOST_GROUPS = 1024
_LONGEST_GAMMA = 12
"""Zeros before a number of a table: 4,095 is more than its largest, a run of 1,024 plus 1."""
_MOST_TABLE_BYTES = 6
"""A symbol has two numbers of at most 23 bits each."""


class Code(NamedTuple):
    """How a sequence would be coded: the symbols of a codeword, and the codewords' lengths or costs."""

    group: int
    lengths: np.ndarray
    bytes: int
    """Table and coded symbols; for a range coder estimated."""


def best_code(symbols: np.ndarray, alphabet: int, coder: Coder) -> Code:
    """Return the shortest code for `symbols` (n,), each below `alphabet`."""
    groups = (group for group in range(1, LARGEST_GROUP + 1) if _is_group(group, alphabet))
    return min((_code(symbols, alphabet, group, coder) for group in groups), key=lambda code: code.bytes)


def encode(symbols: np.ndarray, alphabet: int, code: Code, coder: Coder) -> bytes:
    """Return `symbols` (n,), each below `alphabet`, in a code that was made for them."""
    table = _written_table(code.lengths)
    module = huffman if coder == "huffman" else range_coding
    coded = module.encode(_grouped(symbols, alphabet, code.group), code.lengths)
    return b"".join([*map(number, (code.group, len(table), len(coded))), table, coded])


def decode(reader: ByteReader, alphabet: int, count: int, coder: Coder) -> tuple[np.ndarray, int]:
    """Return the `count` symbols (uint8) of a stream, and the bits of its coded symbols.

    A stream that no encoder writes is refused: a `SqzError` of the kind.
    """
    group = reader.number("stream")
    if not _is_group(group, alphabet):
        raise StreamError(f"stream: {group} symbols a codeword, of {alphabet}")
    table_bytes, coded_bytes = reader.number("stream"), reader.number("stream")
    if table_bytes > _MOST_TABLE_BYTES * alphabet**group:
        raise CodeTableError(f"code lengths: {table_bytes:,} bytes for {alphabet**group} symbols")
    table, coded = reader.take("code lengths", table_bytes), reader.take("stream", coded_bytes)
    lengths = _read_table(table, alphabet**group)
    codewords = -(-count // group)
    if count:
        (huffman.check_lengths if coder == "huffman" else range_coding.check_costs)(lengths)
    elif (lengths != ABSENT).any():
        raise CodeTableError("code lengths: codewords for no symbols")
    module = huffman if coder == "huffman" else range_coding
    found = module.decode(coded, lengths, codewords)
    if count and (huffman.counts_of(found, lengths.size) > 0).tolist() != (lengths != ABSENT).tolist():
        raise CodeTableError("code lengths: a codeword that no symbol needs")
    if group == 1:
        return found, 8 * coded_bytes
    digits = np.empty((codewords, group), np.uint8)
    for place in range(group - 1, -1, -1):
        found, digits[:, place] = np.divmod(found, alphabet)
    symbols = digits.reshape(-1)
    if symbols[count:].any():
        raise StreamError("padding: the symbols that fill the last codeword are not 0")
    return symbols[:count], 8 * coded_bytes


def _is_group(group: int, alphabet: int) -> bool:
    return group == 1 or (1 < group <= LARGEST_GROUP and alphabet**group <= MOST_GROUPS)


def _code(symbols: np.ndarray, alphabet: int, group: int, coder: Coder) -> Code:
    counts = huffman.counts_of(_grouped(symbols, alphabet, group), alphabet**group)
    present = counts > 0
    lengths = huffman.code_lengths(counts) if coder == "huffman" else range_coding.costs_of(counts)
    if coder == "huffman":
        bits = int(counts[present] @ lengths[present])
    else:
        bits = -int(counts[present] @ np.log2(counts[present] / max(counts.sum(), 1))) if counts.any() else 0
        bits += 32  # the end of a stream, in units of 4 bytes
    return Code(group, lengths, len(_written_table(lengths)) + -(-bits // 8))


def _grouped(symbols: np.ndarray, alphabet: int, group: int) -> np.ndarray:
    if group == 1:
        return symbols
    filled = np.append(symbols, np.zeros(-symbols.size % group, symbols.dtype)).reshape(-1, group)
    numbers = filled[:, 0].astype(np.int16)
    for place in range(1, group):
        numbers = numbers * alphabet + filled[:, place]
    return numbers


def _written_table(lengths: np.ndarray) -> bytes:
    numbers, before, last = [], 0, -1
    for symbol in np.flatnonzero(lengths != ABSENT).tolist():
        length = int(lengths[symbol])
        difference = length - before
        numbers += [symbol - last, 2 * difference if difference > 0 else 1 - 2 * difference]
        before, last = length, symbol
    if last + 1 < lengths.size:
        numbers.append(lengths.size - last)
    bits = "".join("0" * (x.bit_length() - 1) + f"{x:b}" for x in numbers)
    size = -(-len(bits) // 8)
    return int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def _read_table(data: bytes, symbols: int) -> np.ndarray:
    """Return the lengths, int64 (symbols,), of a table."""
    lengths = np.full(symbols, ABSENT, np.int64)
    numbers = _Gamma(data)
    symbol, length = numbers.next() - 1, 0
    while symbol < symbols:
        coded = numbers.next()
        length += coded // 2 if coded % 2 == 0 else (1 - coded) // 2
        if not 0 <= length < 2**7:
            raise CodeTableError(f"code lengths: symbol {symbol} has {length}")
        lengths[symbol] = length
        symbol += 1
        if symbol < symbols:
            symbol += numbers.next() - 1
    if symbol > symbols:
        raise CodeTableError(f"code lengths: a table for {symbol} symbols, of which there are {symbols}")
    numbers.check_end()
    return lengths


class _Gamma:
    """Reads one number of a table after the other."""

    def __init__(self, data: bytes):
        self.bits = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}" if data else ""
        self.place = 0

    def next(self) -> int:
        one = self.bits.find("1", self.place, self.place + _LONGEST_GAMMA)
        begin, end = self.place, 2 * one - self.place + 1
        if one < begin or end > len(self.bits):
            raise CodeTableError("code lengths: the table ends before its last symbol, or is none")
        self.place = end
        return int(self.bits[one:end], 2)

    def check_end(self) -> None:
        rest = self.bits[self.place :]
        if len(rest) >= 8 or "1" in rest:
            raise CodeTableError("code lengths: the table goes on after its last symbol")
