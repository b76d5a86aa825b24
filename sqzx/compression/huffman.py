"""Canonical Huffman codes of at most 15 bits, for arrays of small whole numbers.

A code is known by its lengths alone: `lengths[s]` is the number of bits of symbol s, `ABSENT` where it never
occurs. The codewords are those of DEFLATE (RFC 1951, section 3.2.2): shorter ones come first, and among those
of one length smaller symbols; bits are written with the highest of a byte first. A code is complete: the sum
of 2^-length over its symbols, the Kraft sum, is exactly 1. So a single symbol has length 0 and takes no bits,
and every sequence of bits decodes to something.
"""

import numpy as np

from sqzx.compression.sqz_errors import CodeTableError, StreamError

ABSENT = -1
LONGEST = 15
"""Bits of a codeword. The limit keeps the decoder's table small, and costs less than one bit in 10,000."""

_BLOCK = 1 << 13
"""Bytes that are decoded at a time; their tables stay in the processor's cache."""
_ENCODED = 1 << 18
"""Symbols that are encoded at a time, for the memory's sake."""
_DOUBLINGS = 4
"""The decoder walks 2^4 codewords at a time."""


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Return the lengths, int8 (symbols,), of an optimal code of at most `LONGEST` bits.

    `counts` (symbols,) says how often each occurs. The algorithm is package-merge (Larmore and Hirschberg
    1990): a list of the symbols and of pairs of the list before, `LONGEST` times; how many symbols are among
    the cheapest of each list are the lengths.
    """
    lengths = np.full(counts.size, ABSENT, np.int8)
    present = np.flatnonzero(counts)
    order = present[np.argsort(counts[present], kind="stable")]
    if order.size <= 1:
        lengths[order] = 0
        return lengths
    leaves = counts[order].astype(np.int64)
    is_leaf, level = [np.ones(leaves.size, bool)], leaves
    for _ in range(LONGEST - 1):
        pairs = level[: level.size // 2 * 2].reshape(-1, 2).sum(axis=1)
        merged = np.concatenate([leaves, pairs])
        by_weight = np.argsort(merged, kind="stable")
        is_leaf.append(by_weight < leaves.size)
        level = merged[by_weight]
    sorted_lengths = np.zeros(leaves.size, np.int8)
    taken = 2 * leaves.size - 2
    for flags in reversed(is_leaf):
        symbols = int(np.count_nonzero(flags[:taken]))
        sorted_lengths[:symbols] += 1
        taken = 2 * (taken - symbols)
    lengths[order] = sorted_lengths
    return lengths


def check_lengths(lengths: np.ndarray) -> None:
    """Refuse lengths that no complete code has."""
    present = lengths[lengths != ABSENT].astype(np.int64)
    if present.size and not 0 <= present.min() <= present.max() <= LONGEST:
        raise CodeTableError(
            f"code lengths: need 0 to {LONGEST} bits, found {present.min()}, {present.max()}"
        )
    kraft = int((1 << (LONGEST - present)).sum())
    if kraft != 1 << LONGEST:
        raise CodeTableError(f"code lengths: their Kraft sum is {kraft / (1 << LONGEST):g}, not exactly 1")


def codewords(lengths: np.ndarray) -> np.ndarray:
    """Return the canonical codewords, int64 (symbols,); 0 for those without one."""
    order = _canonical_order(lengths)
    sizes = lengths[order].astype(np.int64)
    # Each word begins where the one before ends, on a scale on which the longest is one step.
    ends = np.cumsum(1 << (LONGEST - sizes))
    words = np.zeros(lengths.size, np.int64)
    words[order] = (ends - (1 << (LONGEST - sizes))) >> (LONGEST - sizes)
    return words


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """Return the codewords of `symbols` (n,), each of which has one, padded with 0 to whole bytes."""
    if np.count_nonzero(lengths != ABSENT) <= 1:
        return b""
    words, sizes = codewords(lengths).astype(np.uint64), lengths.astype(np.int64)
    bits = int(counts_of(symbols, lengths.size) @ np.maximum(sizes, 0))
    units = np.zeros(bits // 32 + 2, np.uint32)
    place = 0
    for first in range(0, symbols.size, _ENCODED):
        part = symbols[first : first + _ENCODED]
        ends = place % 32 + np.cumsum(sizes[part])
        begins = ends - sizes[part]
        # A word of 15 bits touches at most two units of 32; disjoint bits may be put together by adding them.
        shifts = (64 - sizes[part] - (begins & 31)).astype(np.uint64)
        shifted = words[part] << shifts
        for offset, half in enumerate((shifted >> np.uint64(32), shifted & np.uint64(2**32 - 1))):
            summed = np.bincount(begins >> 5, weights=half).astype(np.uint32)
            begin = place // 32 + offset
            units[begin : begin + summed.size] += summed
        place += int(ends[-1]) - place % 32
    return units.astype(">u4").tobytes()[: (bits + 7) // 8]


def decode(data: bytes, lengths: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` symbols that `data` holds, and nothing but them, in the smallest type.

    `lengths` are those of a complete code (`check_lengths`). Raises `StreamError` where the data ends early
    or late, or where the bits that fill its last byte are not 0.
    """
    order = _canonical_order(lengths)
    if order.size <= 1 or count == 0:
        if data:
            raise StreamError(f"length: {len(data):,} bytes for symbols that take none")
        return np.full(count, order[0] if count else 0, symbol_type(lengths.size))
    longest = int(lengths.max())
    if count > 8 * len(data):
        raise StreamError(f"length: {count:,} symbols do not fit into {len(data):,} bytes")
    spans = 1 << (longest - lengths[order].astype(np.int64))
    symbol_at = np.repeat(order.astype(symbol_type(lengths.size)), spans)
    length_at = np.repeat(lengths[order].astype(np.int64), spans)
    padded = np.frombuffer(data + bytes(2), np.uint8).astype(np.int64)
    shifts = 24 - longest - np.arange(8)
    found, missing, start, end = [], count, 0, 0
    for first in range(0, len(data), _BLOCK):
        part = padded[first : first + _BLOCK + 2]
        windows = (part[:-2] << 16) | (part[1:-1] << 8) | part[2:]
        codes = ((windows[:, None] >> shifts) & ((1 << longest) - 1)).reshape(-1)
        places = _places(length_at[codes], start)[:missing]
        found.append(symbol_at[codes[places]])
        missing -= places.size
        if places.size:
            start = int(places[-1] + length_at[codes[places[-1]]])
            end = 8 * first + start
        start -= codes.size
        if not missing:
            break
    if missing:
        raise StreamError(f"length: the codewords end {missing:,} symbols before they should")
    if (end + 7) // 8 != len(data):
        raise StreamError(f"length: the codewords take {(end + 7) // 8:,} bytes, found {len(data):,}")
    if data[-1] & ((1 << (-end % 8)) - 1):
        raise StreamError("padding bits: those after the last codeword are not 0")
    return np.concatenate(found)


def counts_of(symbols: np.ndarray, alphabet: int) -> np.ndarray:
    """Return how often each of the symbols 0 to `alphabet` - 1 occurs, int64 (alphabet,)."""
    counts = np.zeros(alphabet, np.int64)
    for first in range(0, symbols.size, _ENCODED):  # NumPy makes 8 bytes of each while it counts
        counts += np.bincount(symbols[first : first + _ENCODED], minlength=alphabet)
    return counts


def symbol_type(alphabet: int) -> type[np.unsignedinteger]:
    """Return the smallest type for the symbols of an alphabet."""
    return np.uint8 if alphabet <= 256 else np.uint16


def _places(lengths: np.ndarray, start: int) -> np.ndarray:
    """Return where codewords begin, from `start` on, by the length of the one that each bit would begin.

    Where the next codeword begins is looked up for all bits at once, and four doublings make of it where the
    sixteenth begins; only those are walked one by one.
    """
    bits = lengths.size
    beyond = np.arange(bits, bits + LONGEST)  # stays where it is
    following = np.concatenate([np.arange(bits) + lengths, beyond])
    far = following
    for _ in range(_DOUBLINGS):
        far = far[far]
    walked, place, hop = [], start, memoryview(far)
    while place < bits:
        walked.append(place)
        place = hop[place]
    columns = [np.array(walked, np.int64)]
    for _ in range(2**_DOUBLINGS - 1):
        columns.append(following[columns[-1]])
    places = np.stack(columns, axis=1).reshape(-1)
    return places[places < bits]


def _canonical_order(lengths: np.ndarray) -> np.ndarray:
    """Return the symbols that have a codeword, in the order of their words."""
    order = np.argsort(lengths, kind="stable")
    return order[np.count_nonzero(lengths == ABSENT) :]
