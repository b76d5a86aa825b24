"""Streams of either coder: there and back, near the entropy, in their one spelling or not at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.compression import coded_streams, huffman, range_coding
from sqzx.compression.byte_reader import ByteReader, number
from sqzx.compression.huffman import ABSENT
from sqzx.compression.sqz_errors import CodeTableError, LengthError, SqzError, StreamError

CODERS = ("huffman", "range")
both = pytest.mark.parametrize("coder", CODERS)


def encoded(symbols, alphabet, coder):
    return coded_streams.encode(symbols, alphabet, coded_streams.best_code(symbols, alphabet, coder), coder)


def decoded(data, alphabet, count, coder):
    reader = ByteReader(data)
    found = coded_streams.decode(reader, alphabet, count, coder)
    reader.check_end()
    return found


def drawn(seed, size, alphabet, evenness):
    random = np.random.default_rng(seed)
    return random.choice(alphabet, size, p=random.dirichlet(np.full(alphabet, evenness))).astype(np.uint8)


def stream(group, table, coded):
    return number(group) + number(len(table)) + number(len(coded)) + table + coded


@both
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(0, 300),
    alphabet=st.sampled_from([1, 2, 3, 5, 16, 32, 33, 256]),
    evenness=st.sampled_from([0.02, 0.3, 5]),
)
def test_symbols_come_back(coder, seed, size, alphabet, evenness):
    symbols = drawn(seed, size, alphabet, evenness)
    found, bits = decoded(encoded(symbols, alphabet, coder), alphabet, size, coder)
    assert found.tolist() == symbols.tolist()
    assert bits <= 8 * len(encoded(symbols, alphabet, coder))


@both
@pytest.mark.parametrize(("alphabet", "evenness", "over"), [(256, 1, 1.01), (16, 1, 1.01), (4, 0.5, 1.01)])
def test_it_is_near_the_entropy(coder, alphabet, evenness, over):
    symbols = drawn(3, 50_000, alphabet, evenness)
    counts = np.bincount(symbols)
    counts = counts[counts > 0]
    entropy = float(-(counts * np.log2(counts / counts.sum())).sum())
    _, bits = decoded(encoded(symbols, alphabet, coder), alphabet, symbols.size, coder)
    assert entropy <= bits + 32  # independent draws: no coder gets below, but for the chance in them
    assert bits < (over if coder == "huffman" else 1.002) * entropy


@both
def test_groups_take_what_neighbours_have_in_common(coder):
    random = np.random.default_rng(0)
    pairs = np.repeat(random.integers(0, 8, 5000), 2).astype(np.uint8)
    _, bits = decoded(encoded(pairs, 8, coder), 8, pairs.size, coder)
    assert bits == pytest.approx(5000 * 3, rel=0.01)
    assert decoded(encoded(pairs[:-1], 8, coder), 8, pairs.size - 1, coder)[0].tolist() == pairs[:-1].tolist()


def test_a_range_coder_takes_less_than_a_bit_for_what_is_nearly_certain():
    symbols = (np.random.default_rng(0).random(20_000) < 0.01).astype(np.uint8)
    sizes = {coder: len(encoded(symbols, 2, coder)) for coder in CODERS}
    assert sizes["range"] < 250  # the entropy is 202 bytes
    assert 20_000 / 8 / 8 < sizes["huffman"] < 1.5 * 20_000 / 8 / 8  # one bit for eight, at least


def test_the_weights_of_costs_are_powers_of_two_by_the_quarter():
    roots = [int(2**24 * 2 ** (-quarter / 4)) for quarter in range(4)]
    assert range_coding._ROOTS.tolist() == roots


class TestTables:
    @given(st.lists(st.integers(-1, 15), min_size=1, max_size=1024))
    def test_any_lengths_come_back(self, lengths):
        table = coded_streams._written_table(np.array(lengths, np.int8))
        assert coded_streams._read_table(table, len(lengths)).tolist() == lengths

    def test_as_the_specification_has_it(self):
        """Runs of absent symbols plus 1, and signed differences, in Elias' gamma code."""
        lengths = np.array([ABSENT, ABSENT, 2, 1, 3, 3, ABSENT], np.int8)
        bits = "011" + "00100" + "1" + "011" + "1" + "00100" + "1" + "1" + "010"
        assert len(bits) == 23
        assert coded_streams._written_table(lengths) == int(bits + "0", 2).to_bytes(3, "big")

    @pytest.mark.parametrize(
        "bits",
        ["", "00000000", "1" * 8, "00011000", "01010101" * 2, "1010100000000001", "1" + "0" * 13 + "1" * 18],
        ids=["empty", "no one", "goes on", "run too long", "padding", "padding of a byte", "long"],
    )
    def test_no_tables(self, bits):
        with pytest.raises(CodeTableError):
            coded_streams._read_table(int(bits or "0", 2).to_bytes(len(bits) // 8, "big"), 2)

    def test_a_negative_length(self):
        with pytest.raises(CodeTableError, match="symbol 0 has -1"):
            coded_streams._read_table(bytes([0b10110000]), 2)

    def test_a_table_of_megabytes_is_not_looked_at(self):
        data = number(1) + number(10**7) + number(0) + bytes(10**7)
        with pytest.raises(CodeTableError, match="10,000,000 bytes for 4 symbols"):
            decoded(data, 4, 5, "huffman")


class TestRefusals:
    @both
    def test_an_unknown_group(self, coder):
        for group, alphabet in ((0, 4), (6, 4), (2, 33), (9, 2), (2**34, 1)):
            with pytest.raises(StreamError, match=f"{group} symbols a codeword"):
                decoded(stream(group, b"\xc0", b""), alphabet, 1, coder)

    @both
    def test_codewords_that_nothing_uses(self, coder):
        symbols = np.array([0, 1, 2, 3] * 20, np.uint8)
        code = coded_streams.Code(1, coded_streams.best_code(symbols, 4, coder).lengths, 0)
        lengths = np.array([2, 2, 2, 2] if coder == "huffman" else [8, 8, 8, 8], np.int8)
        data = coded_streams.encode(np.zeros(80, np.uint8), 4, code._replace(lengths=lengths), coder)
        with pytest.raises(CodeTableError, match="that no symbol needs"):
            decoded(data, 4, 80, coder)

    @both
    def test_codewords_for_no_symbols(self, coder):
        with pytest.raises(CodeTableError, match="for no symbols"):
            decoded(stream(1, b"\xc0", b""), 1, 0, coder)

    def test_the_symbols_that_fill_the_last_codeword(self):
        code = coded_streams.Code(2, huffman.code_lengths(np.array([0, 5, 0, 0])), 0)
        data = coded_streams.encode(np.array([0, 1, 0, 1], np.uint8), 2, code, "huffman")
        assert decoded(data, 2, 4, "huffman")[0].tolist() == [0, 1, 0, 1]
        with pytest.raises(StreamError, match="fill the last codeword are not 0"):
            decoded(data, 2, 3, "huffman")

    @both
    def test_an_incomplete_code_is_never_decoded(self, coder):
        table = coded_streams._written_table(np.array([1, 3], np.int8))
        if coder == "huffman":
            with pytest.raises(CodeTableError, match=r"Kraft sum is 0\.625"):
                decoded(stream(1, table, b"\0"), 2, 4, coder)
        else:
            with pytest.raises(SqzError):
                decoded(stream(1, coded_streams._written_table(np.array([1, 89])), b"\0" * 4), 2, 4, coder)

    def test_range_coded_bytes_have_one_spelling(self):
        symbols = drawn(0, 400, 33, 1)
        code = coded_streams.best_code(symbols, 33, "range")
        table, coded = coded_streams._written_table(code.lengths), range_coding.encode(symbols, code.lengths)
        assert decoded(stream(1, table, coded), 33, 400, "range")[0].tolist() == symbols.tolist()
        for wrong in (coded + bytes(4), coded[:-4], coded[:-1], coded[:-1] + bytes([coded[-1] ^ 1]), b""):
            with pytest.raises(SqzError):
                decoded(stream(1, table, wrong), 33, 400, "range")

    @both
    @settings(max_examples=150)
    @given(data=st.binary(max_size=40), count=st.integers(0, 50), alphabet=st.sampled_from([1, 2, 5, 33]))
    def test_anything_at_all(self, coder, data, count, alphabet):
        try:
            found, _ = decoded(data, alphabet, count, coder)
        except SqzError:
            return
        assert found.size == count
        assert found.max(initial=0) < alphabet

    @both
    @settings(max_examples=150)
    @given(
        lengths=st.lists(st.integers(-1, 5), min_size=2, max_size=9),
        coded=st.binary(max_size=24),
        count=st.integers(0, 60),
    )
    def test_any_table_and_any_bits(self, coder, lengths, coded, count):
        data = stream(1, coded_streams._written_table(np.array(lengths, np.int8)), coded)
        try:
            found, _ = decoded(data, len(lengths), count, coder)
        except SqzError:
            return
        code = coded_streams.Code(1, np.array(lengths, np.int64), 0)
        assert coded_streams.encode(found, len(lengths), code, coder) == data


class TestNumbers:
    @given(st.integers(0, 2**35 - 1))
    def test_there_and_back(self, value):
        assert ByteReader(number(value)).number("x") == value

    def test_as_leb128_has_them(self):
        assert number(624_485) == b"\xe5\x8e\x26"

    @pytest.mark.parametrize("data", [b"\x80\0", b"\x80", b"", b"\xff" * 5 + b"\1"])
    def test_no_numbers(self, data):
        with pytest.raises(LengthError, match="the part: "):
            ByteReader(data).number("the part")
