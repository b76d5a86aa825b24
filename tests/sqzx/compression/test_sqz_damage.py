"""No damaged `.sqz` passes: every bit, every cut, and what an attacker writes with fresh checksums."""

import hashlib
import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.compression import byte_reader, coded_streams, sqz
from sqzx.compression.sqz_errors import (
    ChecksumError,
    CodeTableError,
    FormatError,
    LayerError,
    LengthError,
    MetadataError,
    PositionError,
    SqzError,
    StreamError,
    ValueRangeError,
)
from sqzx.errors import InputError
from tests.sqzx.compression.sealing import sealed, sections_of
from tests.sqzx.compression.small_networks import SQUEEZENET, frozen_networks, network, same

CODERS = ("huffman", "range")
both = pytest.mark.parametrize("coder", CODERS)
FILES = {name: sqz.encode(compressed, coder=coder) for name, (compressed, coder) in frozen_networks().items()}
every_file = pytest.mark.parametrize("name", list(FILES))


def refusal(data, kind=SqzError):
    """Return the one line that bytes are refused with, without the file's name."""
    with pytest.raises(kind) as error:
        sqz.decode(bytes(data), "a.sqz")
    line = str(error.value)
    assert line.startswith("a.sqz: ")
    assert line.isprintable()
    assert len(line) < 1000
    return line.removeprefix("a.sqz: ")


def told(data):
    return json.loads(sections_of(data)[0])


def saying(data, /, **changes):
    """The file with other metadata; `...` leaves a key out."""
    said = {key: value for key, value in (told(data) | changes).items() if value is not ...}
    return sealed([json.dumps(said).encode(), *sections_of(data)[1:]])


def with_section(data, number, section, **header):
    sections = sections_of(data)
    sections[number] = section
    return sealed(sections, **header)


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


class TestWithoutAnAttacker:
    @every_file
    def test_the_files_are_small_and_whole(self, name):
        assert len(FILES[name]) <= 4096
        assert same(sqz.decode(FILES[name], name), frozen_networks()[name][0])
        sections = sections_of(FILES[name])
        assert sealed(sections, flags=int(frozen_networks()[name][1] == "range")) == FILES[name]

    @every_file
    def test_every_flipped_bit(self, name):
        data = FILES[name]
        for bit in range(8 * len(data)):
            with pytest.raises(SqzError):
                sqz.decode(flipped(data, bit), "a.sqz")

    @every_file
    def test_every_cut(self, name):
        for size in range(len(FILES[name])):
            with pytest.raises((LengthError, FormatError)):
                sqz.decode(FILES[name][:size], "a.sqz")

    @every_file
    @pytest.mark.parametrize("more", [b"\0", b"\xff", b"more"])
    def test_something_appended(self, name, more):
        assert "something was appended" in refusal(FILES[name] + more, LengthError)

    def test_two_files_in_one(self):
        data = FILES["sqz_v1_huffman"]
        refusal(data + data, LengthError)

    @settings(max_examples=200)
    @given(data=st.binary(max_size=200))
    def test_anything_at_all(self, data):
        refusal(data)
        refusal(sqz.MAGIC + data)

    def test_which_section_is_damaged_is_told(self):
        data = FILES["sqz_v1_huffman"]
        start = 28 + 4 * len(sections_of(data))
        assert "section 0" in refusal(flipped(data, 8 * start), ChecksumError)
        assert "header" in refusal(flipped(data, 8 * 24), ChecksumError)
        assert "SHA-256" in refusal(flipped(data, 8 * (len(data) - 1)), ChecksumError)


class TestTheFrame:
    DATA = FILES["sqz_v1_huffman"]

    def test_what_is_no_sqz(self):
        for data in (b"", b"\x88" + self.DATA[1:], b"PK\3\4" + self.DATA[4:]):
            assert refusal(data, FormatError) == "magic: no .sqz file"

    def test_another_version(self):
        line = refusal(sealed(sections_of(self.DATA), version=2), FormatError)
        assert line.startswith("version: needs 1, found 2")

    @pytest.mark.parametrize("flags", [2, 3, 0x8000])
    def test_a_flag_that_is_not_known(self, flags):
        assert "required flags" in refusal(sealed(sections_of(self.DATA), flags=flags), FormatError)

    def test_the_other_coder(self):
        refusal(sealed(sections_of(self.DATA), flags=1))
        refusal(sealed(sections_of(FILES["sqz_v1_range"]), flags=0))

    @pytest.mark.parametrize("count", [0, 1, 8, 10, 1000, 2**32 - 1])
    def test_another_number_of_sections(self, count):
        refusal(sealed(sections_of(self.DATA), count=count))

    @pytest.mark.parametrize("size", [0, 1, 2**32, 2**64 - 1])
    def test_another_size(self, size):
        assert "the header tells of" in refusal(sealed(sections_of(self.DATA), size=size), LengthError)

    def test_swapped_sections(self):
        sections = sections_of(self.DATA)
        for a, b in ((1, 2), (2, 5), (4, 7), (0, 1)):
            swapped = list(sections)
            swapped[a], swapped[b] = swapped[b], swapped[a]
            kind = LayerError if a else MetadataError
            refusal(sealed(swapped), kind)

    def test_swapped_sections_of_one_length_with_their_own_checksums(self):
        """fire2.expand1x1 and fire3.expand1x1 are alike but for their names: only the number differs."""
        sections = sections_of(self.DATA)
        assert len(sections[3]) == len(sections[6])
        offset = [28 + 4 * len(sections)]
        for section in sections:
            offset.append(offset[-1] + len(section) + 4)
        a, b = (self.DATA[offset[i] : offset[i + 1]] for i in (3, 6))
        data = self.DATA[: offset[3]] + b + self.DATA[offset[4] : offset[6]] + a + self.DATA[offset[7] : -32]
        assert "in another's place" in refusal(data + hashlib.sha256(data).digest(), ChecksumError)

    def test_a_section_missing_or_twice(self):
        sections = sections_of(self.DATA)
        assert "the network has 8, the file 7" in refusal(sealed(sections[:-1]), LayerError)
        assert "the network has 8, the file 9" in refusal(sealed([*sections, sections[-1]]), LayerError)
        refusal(sealed([sections[0]]), LayerError)


class TestMetadata:
    DATA = FILES["sqz_v1_huffman"]

    @pytest.mark.parametrize(
        "text",
        [b"", b"\xff\xfe", b"[]", b"5", b"{}", b"null", b'{"a": NaN}', b"[" * 100_000, b'{"a":' * 100_000],
        ids=["empty", "no UTF-8", "list", "number", "table", "null", "nan", "deep list", "deep table"],
    )
    def test_no_metadata(self, text):
        assert refusal(with_section(self.DATA, 0, text), MetadataError).startswith("metadata: ")

    def test_megabytes_of_it(self):
        text = sections_of(self.DATA)[0] + b" " * 2**22
        assert "bytes, of at most 4,194,304" in refusal(with_section(self.DATA, 0, text), LengthError)

    def test_every_key_is_needed_and_no_other(self):
        for key in told(self.DATA):
            refusal(saying(self.DATA, **{key: ...}), MetadataError)
        refusal(saying(self.DATA, more=1), MetadataError)

    @pytest.mark.parametrize(
        "change",
        [
            {"densities": None},
            {"densities": []},
            {"densities": {"conv11": 0.5}},
            {"densities": {"conv1": 0}},
            {"densities": {"conv1": 1.5}},
            {"densities": {"conv1": "0.5"}},
            {"densities": {"conv1": True}},
            {"densities": {"conv1": 10**400}},
            {"densities": {"conv1": float("nan")}},
            {"ranks": None},
            {"ranks": {"conv11": 1}},
            {"ranks": {"conv10": 0}},
            {"ranks": {"conv10": 3}},
            {"ranks": {"fire2.squeeze": True}},
            {"ranks": {"fire2.squeeze": 1.0}},
            {"ranks": {"fire2.expand3x3": 10**30}},
            {"history": None},
            {"history": {}},
            {"history": [5]},
            {"history": [{}]},
            {"history": [{"stage": 5}]},
            {"history": [{"stage": "x", "more": []}]},
            {"class_names": ["a"]},
            {"class_names": ["a", "b", "\ud800"]},
            {"source": 5},
            {"data": []},
            {"preprocessing": {}},
            {"model": {}},
            {"model": None},
        ],
        ids=str,
    )
    def test_other_values(self, change):
        refusal(saying(self.DATA, **change), MetadataError)

    @pytest.mark.parametrize(
        "change",
        [
            {"base_e": 8},
            {"num_fires": 3},
            {"num_fires": 100, "incr_e": 0},
            {"num_classes": 4},
            {"stem_kernel": 1},
        ],
        ids=str,
    )
    def test_another_network(self, change):
        model = told(self.DATA)["model"] | change
        refusal(saying(self.DATA, model=model, class_names=[]), LayerError)

    @pytest.mark.parametrize(
        "change", [{"stem_kernel": 11}, {"base_e": 0}, {"base_e": 10**30}, {"family": "alexnet"}], ids=str
    )
    def test_no_network(self, change):
        refusal(saying(self.DATA, model=told(self.DATA)["model"] | change), MetadataError)

    def test_ranks_that_its_layers_do_not_have(self):
        refusal(saying(self.DATA, ranks={"fire2.expand3x3": 1}), LayerError)

    def test_a_network_of_gigabytes(self):
        for change in ({"base_e": 4000}, {"num_classes": 1_000_000, "base_e": 100}, {"stem_features": 10**9}):
            model = told(self.DATA)["model"] | change
            tracemalloc.start()
            line = refusal(saying(self.DATA, model=model, class_names=[]), LengthError)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert "which may have 8,388,608 at most" in line
            assert peak < 2**20


class TestALayer:
    """conv10 of the small network, (1, 1, 4, 3), with its bytes set one by one."""

    DATA = FILES["sqz_v1_huffman"]
    HEAD = b"\x06conv10\x04\x01\x01\x04\x03"
    BIAS = b"\0" * 12

    def stream(self, lengths, coded, group=1):
        table = coded_streams._written_table(np.array(lengths, np.int8))
        parts = (group, len(table), len(coded))
        return b"".join([*map(byte_reader.number, parts), table, coded])

    def shared(self, codebook, codes, *, width=0, entries=12, gaps=b"", bias=BIAS, fields=None):
        values = struct.pack(f"<{len(codebook)}f", *codebook)
        fields = bytes([1, width, 0, 1]) if fields is None else fields
        size = byte_reader.number(len(codebook) + 1)
        return self.HEAD + fields + byte_reader.number(entries) + size + values + codes + gaps + bias

    def layer(self, section):
        return with_section(self.DATA, 8, section)

    ONES = (-1, 0)
    """Lengths where every code is 1."""

    def test_a_valid_one(self):
        good = self.shared([0.5], self.stream(self.ONES, b""))
        found = sqz.decode(self.layer(good), "x")
        assert found.model.parameters["conv10"]["kernel"].tolist() == [[[[0.5] * 3] * 4]]

    def test_another_name(self):
        wrong = self.shared([0.5], self.stream(self.ONES, b"")).replace(b"conv10", b"conv11")
        assert refusal(self.layer(wrong), LayerError).startswith("conv10: name: ")

    @pytest.mark.parametrize("shape", [b"\x01\x01\x03\x04", b"\x01\x01\x04\xff\xff\xff\xff\x0f"])
    def test_another_shape(self, shape):
        wrong = self.shared([0.5], self.stream(self.ONES, b"")).replace(b"\x01\x01\x04\x03", shape, 1)
        assert "shape: the network's kernel is (1, 1, 4, 3)" in refusal(self.layer(wrong), LayerError)

    @pytest.mark.parametrize("axes", [b"\x03", b"\x05", b"\xff\x01"])
    def test_other_axes(self, axes):
        wrong = self.shared([0.5], self.stream(self.ONES, b"")).replace(b"0\x04", b"0" + axes, 1)
        assert "4 axes" in refusal(self.layer(wrong), LayerError)

    @pytest.mark.parametrize("fields", [(2, 0, 0, 1), (1, 1, 0, 1), (1, 9, 0, 1), (1, 0, 2, 1), (1, 0, 0, 3)])
    def test_fields_without_a_meaning(self, fields):
        wrong = self.shared([0.5], self.stream(self.ONES, b""), fields=bytes(fields))
        assert "have no known meaning" in refusal(self.layer(wrong), LayerError)

    def test_a_bias_that_is_missing(self):
        wrong = self.shared([0.5], self.stream(self.ONES, b""), fields=b"\x01\0\0\0", bias=b"")
        assert "bias: the network has one" in refusal(self.layer(wrong), LayerError)

    @pytest.mark.parametrize(("width", "entries"), [(0, 11), (0, 13), (0, 2**34), (2, 13), (8, 2**34)])
    def test_another_number_of_entries(self, width, entries):
        wrong = self.shared([0.5], self.stream(self.ONES, b""), width=width, entries=entries)
        assert "for 12 weights" in refusal(self.layer(wrong), LengthError)

    @pytest.mark.parametrize("size", [0, 257, 2**30])
    def test_another_size_of_the_codebook(self, size):
        wrong = self.HEAD + b"\x01\0\0\x01\x0c" + byte_reader.number(size) + bytes(40)
        assert "codebook: needs 1 to 256 values" in refusal(self.layer(wrong), LengthError)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_values_that_are_not_finite(self, value):
        wrong = self.shared([value], self.stream(self.ONES, b""))
        assert "codebook: holds NaN" in refusal(self.layer(wrong), ValueRangeError)
        wrong = self.shared([0.5], self.stream(self.ONES, b""), bias=struct.pack("<3f", 0, value, 0))
        assert "bias: holds NaN" in refusal(self.layer(wrong), ValueRangeError)
        plain = self.HEAD + b"\0\0\0\x01\x0c" + struct.pack("<12f", *[0] * 11, value) + self.BIAS
        assert "values: holds NaN" in refusal(self.layer(plain), ValueRangeError)

    def test_an_exponent_that_makes_float16_infinite(self):
        plain = self.HEAD + b"\0\0\x01\x01\x0c" + b"\x7f" + np.full(12, 60_000, "<f2").tobytes() + self.BIAS
        assert "values: holds NaN or infinity" in refusal(self.layer(plain), ValueRangeError)

    @pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7C01, 0x7E00])
    def test_float16_that_is_not_finite(self, bits):
        values = struct.pack("<12H", *[bits] * 12)
        plain = self.HEAD + b"\0\0\x01\x01\x0c" + b"\xf1" + values + self.BIAS
        assert "values: holds NaN or infinity" in refusal(self.layer(plain), ValueRangeError)

    @pytest.mark.parametrize("lengths", [(1, 2, 3, -1), (1, 1, 1, -1), (0, 0, -1, -1), (1, 1, 15, 15)])
    def test_an_incomplete_or_ambiguous_code(self, lengths):
        wrong = self.shared([1, 2, 3], self.stream(lengths, bytes(2)))
        assert "Kraft sum" in refusal(self.layer(wrong), CodeTableError)

    @pytest.mark.parametrize("bit", range(4))
    def test_padding_bits(self, bit):
        for padding, valid in ((0, True), (1 << bit, False)):
            section = self.shared([1], self.stream((1, 1), bytes([0b01010101, 0b11000000 | padding])))
            if valid:
                sqz.decode(self.layer(section), "x")
            else:
                assert "padding bits" in refusal(self.layer(section), StreamError)

    @pytest.mark.parametrize(
        ("coded", "told"), [(b"\x55", "do not fit"), (b"\x55\xc0\0", "take 2 bytes, found 3")]
    )
    def test_codewords_of_another_length(self, coded, told):
        line = refusal(self.layer(self.shared([1], self.stream((1, 1), coded))), StreamError)
        assert told in line or "before they should" in line

    def sparse(self, gaps, codes, entries):
        """Entries with gaps of 2 bits; `gaps` and `codes` are 0 or 1 standing for two symbols each."""
        coded_gaps = bytes([int("".join(map(str, gaps)).ljust(8, "0"), 2)])
        coded_codes = bytes([int("".join(map(str, codes)).ljust(8, "0"), 2)])
        return self.shared(
            [1],
            self.stream((1, 1), coded_codes),
            width=2,
            entries=entries,
            gaps=self.stream((1, -1, -1, 1), coded_gaps),  # 0 is a gap of 0, 1 a gap of 3
        )

    def test_entries_that_leave_the_kernel(self):
        good = self.sparse([1, 0, 1], [0, 1, 1], 3)  # weights 4 and 8
        kernel = sqz.decode(self.layer(good), "x").model.parameters["conv10"]["kernel"]
        assert np.flatnonzero(kernel).tolist() == [4, 8]
        wrong = self.sparse([1, 1, 1, 0], [0, 0, 1, 1], 4)  # weights 11 and 12 of 0 to 11
        assert "reach to weight 13 of 12" in refusal(self.layer(wrong), PositionError)

    def test_a_filler_that_is_none(self):
        wrong = self.sparse([0, 1, 0], [0, 1, 1], 3)
        assert "entry 0 is a filler with a gap of 0, needs 3" in refusal(self.layer(wrong), PositionError)

    def test_a_filler_at_the_end(self):
        assert "the last entry" in refusal(self.layer(self.sparse([0, 1], [1, 0], 2)), PositionError)

    @pytest.mark.parametrize("more", [b"\0", bytes(100)])
    def test_bytes_after_the_last_part(self, more):
        wrong = self.shared([0.5], self.stream(self.ONES, b"")) + more
        assert f"section: {len(more)} bytes after" in refusal(self.layer(wrong), LengthError)

    def test_every_cut(self):
        for section in (self.shared([0.5], self.stream(self.ONES, b"")), self.sparse([1, 0], [0, 1], 2)):
            for size in range(len(section)):
                refusal(self.layer(section[:size]))


def refused_or_a_network(data):
    """With fresh checksums a file may be another valid one: then it has its one spelling, and is whole."""
    try:
        found = sqz.open_sqz(data, "a.sqz")
    except SqzError:
        refusal(data)
        return
    again = sqz.decode(sqz.encode(found.compressed, coder=found.coder), "again")
    assert same(again, found.compressed)


class TestWithFreshChecksums:
    @every_file
    @settings(max_examples=60)
    @given(data=st.data())
    def test_flipped_bits(self, name, data):
        sections = sections_of(FILES[name])
        number = data.draw(st.integers(1, len(sections) - 1))
        for _ in range(data.draw(st.integers(1, 3))):
            bit = data.draw(st.integers(0, 8 * len(sections[number]) - 1))
            sections[number] = flipped(sections[number], bit)
        refused_or_a_network(sealed(sections, flags=int(frozen_networks()[name][1] == "range")))

    @every_file
    @settings(max_examples=40)
    @given(data=st.data())
    def test_bytes_inserted_removed_or_replaced(self, name, data):
        sections = sections_of(FILES[name])
        number = data.draw(st.integers(0, len(sections) - 1))
        begin = data.draw(st.integers(0, len(sections[number])))
        end = data.draw(st.integers(begin, min(begin + 8, len(sections[number]))))
        new = data.draw(st.binary(max_size=8))
        sections[number] = sections[number][:begin] + new + sections[number][end:]
        refused_or_a_network(sealed(sections, flags=int(frozen_networks()[name][1] == "range")))

    @both
    def test_every_bit_of_one_layer(self, coder):
        data = sqz.encode(network(SQUEEZENET), coder=coder)
        section = sections_of(data)[-1]
        refused = 0
        for bit in range(8 * len(section)):
            changed = with_section(data, 8, flipped(section, bit), flags=int(coder == "range"))
            try:
                sqz.decode(changed, "a.sqz")
            except SqzError:
                refused += 1
        # What is not refused is another value of a codebook or a bias, or another code of equal length.
        assert refused > 2 * len(section)

    @both
    def test_zeros_without_end_take_the_memory_of_their_network_alone(self, coder):
        """8 million weights in a kilobyte: the largest network that a small file may have."""
        data = sqz.encode(network(SQUEEZENET), coder=coder)
        model = told(data)["model"] | {"base_e": 1024, "num_classes": 4000, "squeeze_ratio": 0.001}
        header = sections_of(saying(data, model=model, class_names=[]))[0]
        _, shapes = sqz._metadata(header, 10_000)
        sections = [header]
        for name, (shape, _) in shapes.items():
            n = int(np.prod(shape))
            parts = [len(name), name, len(shape), *shape]
            spelled = b"".join(p.encode() if isinstance(p, str) else byte_reader.number(p) for p in parts)
            body = b"\x01\0\0\x02" + byte_reader.number(n) + b"\x01" + b"\x01\x01\0\xc0"
            sections.append(spelled + body + b"\0" + bytes(2 * shape[-1]))
        tracemalloc.start()
        found = sqz.decode(sealed(sections, flags=int(coder == "range")), "zeros")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        weights = sum(int(np.prod(shape)) for shape, _ in shapes.values())
        assert weights > 4_000_000
        assert not found.model.parameters["conv10"]["kernel"].any()
        assert peak < 300 * 10**6


def test_each_kind_of_error_is_an_input_error():
    assert issubclass(SqzError, InputError)
    assert SqzError.exit_code == 2
