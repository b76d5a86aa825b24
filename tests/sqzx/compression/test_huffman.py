"""Code lengths against a slow twin and the entropy, codewords against RFC 1951, and bits that are no code."""

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.compression import huffman
from sqzx.compression.huffman import ABSENT, LONGEST
from sqzx.compression.sqz_errors import CodeTableError, StreamError

counts = st.lists(st.integers(0, 1000) | st.integers(0, 3), min_size=2, max_size=60).filter(
    lambda c: sum(x > 0 for x in c) >= 2
)


def slow_cost(counts):
    """Return the bits of Huffman's own construction, without a limit: the sum of all merged counts."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    cost = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        cost += merged
        heapq.heappush(heap, merged)
    return cost


def cost(counts, lengths):
    return sum(c * int(n) for c, n in zip(counts, lengths, strict=True) if c)


def entropy(counts):
    present = np.array([c for c in counts if c], float)
    return float(-(present * np.log2(present / present.sum())).sum())


@given(counts=counts)
def test_lengths_are_optimal(counts):
    lengths = huffman.code_lengths(np.array(counts))
    assert [n == ABSENT for n in lengths] == [c == 0 for c in counts]
    huffman.check_lengths(lengths)
    if lengths.max() < LONGEST:  # the limit does not bind
        assert cost(counts, lengths) == slow_cost(counts)
    assert entropy(counts) <= cost(counts, lengths) + 1e-6
    assert cost(counts, lengths) < entropy(counts) + sum(counts)


def test_the_limit_binds_and_costs_little():
    fibonacci = [1, 1]
    while len(fibonacci) < 25:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = huffman.code_lengths(np.array(fibonacci))
    huffman.check_lengths(lengths)
    assert lengths.max() == LONGEST
    assert slow_cost(fibonacci) < cost(fibonacci, lengths) < 1.001 * slow_cost(fibonacci)


def test_the_limited_code_is_the_best_of_all(monkeypatch):
    monkeypatch.setattr(huffman, "LONGEST", 3)
    for counts in ([1, 1, 2, 4, 8, 16], [1, 2, 3, 50, 100], [1, 1, 1, 1, 1, 1, 1, 90], [5, 5]):
        complete = (
            lengths
            for lengths in itertools.product((1, 2, 3), repeat=len(counts))
            if sum(2.0**-n for n in lengths) == 1
        )
        best = min(cost(counts, lengths) for lengths in complete)
        assert cost(counts, huffman.code_lengths(np.array(counts))) == best


def test_the_codewords_are_those_of_rfc_1951():
    """Section 3.2.2: "the bit lengths (3, 3, 3, 3, 3, 2, 4, 4)" have the codes 010, 011, ..., 1111."""
    found = huffman.codewords(np.array([3, 3, 3, 3, 3, 2, 4, 4], np.int8))
    assert found.tolist() == [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]


def test_bits_are_written_from_the_highest_of_a_byte():
    lengths = np.array([2, 1, ABSENT, 2], np.int8)  # 10, 0, -, 11
    assert huffman.encode(np.array([1, 0, 3, 3, 1, 1]), lengths) == bytes([0b01011110, 0])
    assert huffman.decode(bytes([0b01011110, 0]), lengths, 6).tolist() == [1, 0, 3, 3, 1, 1]


@given(data=st.data(), size=st.integers(1, 400), alphabet=st.integers(1, 300))
def test_symbols_come_back(data, size, alphabet):
    seed = data.draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    symbols = random.choice(alphabet, size, p=random.dirichlet(np.full(alphabet, 0.1)))
    lengths = huffman.code_lengths(np.bincount(symbols, minlength=alphabet))
    coded = huffman.encode(symbols, lengths)
    assert len(coded) == (int(lengths[symbols].sum()) + 7) // 8
    assert huffman.decode(coded, lengths, size).tolist() == symbols.tolist()


@pytest.mark.parametrize("block", [1, 2, 3, 1000])
def test_blocks_do_not_show(monkeypatch, block):
    random = np.random.default_rng(1)
    symbols = random.geometric(0.4, 5000) - 1
    lengths = huffman.code_lengths(np.bincount(symbols))
    whole = huffman.encode(symbols, lengths)
    monkeypatch.setattr(huffman, "_BLOCK", block)
    monkeypatch.setattr(huffman, "_ENCODED", block)
    assert huffman.encode(symbols, lengths) == whole
    assert (huffman.decode(whole, lengths, 5000) == symbols).all()


def test_one_symbol_takes_no_bits():
    lengths = huffman.code_lengths(np.array([0, 9, 0]))
    assert lengths.tolist() == [ABSENT, 0, ABSENT]
    huffman.check_lengths(lengths)
    assert huffman.encode(np.full(9, 1), lengths) == b""
    assert huffman.decode(b"", lengths, 9).tolist() == [1] * 9
    with pytest.raises(StreamError, match="1 bytes for symbols that take none"):
        huffman.decode(b"\0", lengths, 9)


@pytest.mark.parametrize(
    ("lengths", "kraft"),
    [([1, 2], 0.75), ([1, 1, 1], 1.5), ([1], 0.5), ([0, 0], 2), ([0, 15], 1.00003), ([], 0), ([ABSENT], 0)],
)
def test_lengths_without_a_complete_code(lengths, kraft):
    with pytest.raises(CodeTableError, match=f"Kraft sum is {kraft:g}, not exactly 1"):
        huffman.check_lengths(np.array(lengths, np.int64))


@pytest.mark.parametrize("lengths", [[1, 16], [1, 2, 64, 64], [-2, 1]])
def test_lengths_out_of_range(lengths):
    with pytest.raises(CodeTableError, match="need 0 to 15 bits"):
        huffman.check_lengths(np.array(lengths, np.int64))


class TestStreamsThatEndWrongly:
    LENGTHS = np.array([1, 2, 3, 3], np.int8)
    SYMBOLS = (3, 0, 2, 1, 0, 3)
    CODED = huffman.encode(np.array(SYMBOLS), LENGTHS)  # 13 bits

    def refused(self, data, count=6):
        with pytest.raises(StreamError) as error:
            huffman.decode(data, self.LENGTHS, count)
        return str(error.value)

    def test_as_it_is(self):
        assert huffman.decode(self.CODED, self.LENGTHS, 6).tolist() == list(self.SYMBOLS)

    @pytest.mark.parametrize("bit", range(3))
    def test_each_padding_bit(self, bit):
        assert "padding bits" in self.refused(bytes([self.CODED[0], self.CODED[1] | 1 << bit]))

    def test_cut_short(self):
        assert "before they should" in self.refused(self.CODED[:1])
        assert "do not fit" in self.refused(b"")

    def test_a_byte_too_many(self):
        assert "take 2 bytes, found 3" in self.refused(self.CODED + b"\0")

    def test_another_number_of_symbols(self):
        assert "padding bits" in self.refused(self.CODED, 5)  # the last codeword, 111, is left over
        assert "padding bits" not in self.refused(bytes(3), 6)

    def test_a_codeword_that_the_end_cuts(self):
        assert "take 2 bytes, found 1" in self.refused(bytes([0b11111111]), 3)  # 111, 111, 11

    @settings(max_examples=200)
    @given(data=st.binary(max_size=12), count=st.integers(0, 40))
    def test_any_bytes_are_refused_or_the_one_spelling_of_their_symbols(self, data, count):
        try:
            found = huffman.decode(data, self.LENGTHS, count)
        except StreamError:
            return
        assert found.size == count
        assert huffman.encode(found, self.LENGTHS) == data
