"""The published file against what is known of it and a slow decoder; other networks; damaged files."""

import math
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sqzx.authors_file import LARGEST_BYTES, SHAPES, decode, looks_like
from sqzx.errors import InputError

PUBLISHED = (
    Path(__file__).parents[2].parent
    / "shared"
    / "data"
    / "deep_compressed_squeezenet"
    / "compressed_SqueezeNet.net"
)
SIZE = 675_763

published_file = pytest.mark.skipif(
    not PUBLISHED.exists(), reason="the published file is not in ../shared, beside this checkout"
)

TABLE = {  # filters, channels, side of the kernel; entries and density in the published file
    "conv1": (96, 3, 7, 13_902, 0.9851),
    "fire2.squeeze": (16, 96, 1, 1_528, 0.995),
    "fire2.expand1x1": (64, 16, 1, 1_020, 0.996),
    "fire2.expand3x3": (64, 16, 3, 3_073, 0.330),
    "fire3.squeeze": (16, 128, 1, 2_038, 0.995),
    "fire3.expand1x1": (64, 16, 1, 1_023, 0.999),
    "fire3.expand3x3": (64, 16, 3, 3_081, 0.330),
    "fire4.squeeze": (32, 128, 1, 4_085, 0.997),
    "fire4.expand1x1": (128, 32, 1, 4_071, 0.994),
    "fire4.expand3x3": (128, 32, 3, 12_288, 0.330),
    "fire5.squeeze": (32, 256, 1, 8_160, 0.996),
    "fire5.expand1x1": (128, 32, 1, 4_067, 0.993),
    "fire5.expand3x3": (128, 32, 3, 12_343, 0.330),
    "fire6.squeeze": (48, 256, 1, 12_161, 0.990),
    "fire6.expand1x1": (192, 48, 1, 4_602, 0.499),
    "fire6.expand3x3": (192, 48, 3, 27_558, 0.329),
    "fire7.squeeze": (48, 384, 1, 9_205, 0.499),
    "fire7.expand1x1": (192, 48, 1, 9_132, 0.991),
    "fire7.expand3x3": (192, 48, 3, 27_564, 0.330),
    "fire8.squeeze": (64, 384, 1, 24_388, 0.992),
    "fire8.expand1x1": (256, 64, 1, 8_190, 0.500),
    "fire8.expand3x3": (256, 64, 3, 44_919, 0.299),
    "fire9.squeeze": (64, 512, 1, 16_371, 0.500),
    "fire9.expand1x1": (256, 64, 1, 16_303, 0.995),
    "fire9.expand3x3": (256, 64, 3, 45_038, 0.300),
    "conv10": (1000, 512, 1, 105_973, 0.1998),
}
NAMES = tuple(TABLE)
WEIGHTS = {name: row[0] * row[1] * row[2] ** 2 for name, row in TABLE.items()}
FILTERS = {name: row[0] for name, row in TABLE.items()}


class Stored(NamedTuple):
    """A layer as the file has it; `entries` are pairs of a code and a skip."""

    codebook: np.ndarray
    bias: np.ndarray
    entries: list[tuple[int, int]]


class Section(NamedTuple):
    """A part of a file as the specification lays it out."""

    label: str
    start: int
    end: int


def entries_of(codes):
    """Run through the codes of a kernel as an encoder does; a kernel of zeros gets one filler."""
    entries = []
    last = -1
    for place in np.flatnonzero(codes).tolist():
        while place - last > 16:
            entries.append((0, 15))
            last += 16
        entries.append((int(codes[place]), place - last - 1))
        last = place
    return entries or [(0, 15)]


def bytes_of(layers):
    """Write layers as a file of the format, valid or not."""
    parts = [struct.pack("<26I", *(len(layer.entries) for layer in layers.values()))]
    for codebook, bias, entries in layers.values():
        skips = [skip for _, skip in entries] + [0] * (len(entries) % 2)
        parts += [
            struct.pack("<256f", *codebook),
            struct.pack(f"<{len(bias)}f", *bias),
            bytes(code for code, _ in entries),
            bytes(low + 16 * high for low, high in zip(skips[::2], skips[1::2], strict=True)),
        ]
    return b"".join(parts)


def sections(counts):
    """Yield the parts of a file with these entry counts."""
    yield Section("the entry counts", 0, 104)
    offset = 104
    for name, count in zip(NAMES, counts, strict=True):
        for part, length in (
            ("codebook's values", 1024),
            ("biases", 4 * FILTERS[name]),
            ("codes", count),
            ("skips", (count + 1) // 2),
        ):
            yield Section(f"{name}: the {part}", offset, offset + length)
            offset += length


def section_of(data, label):
    return next(s for s in sections(struct.unpack_from("<26I", data)) if s.label == label)


def random_codes(random, weights):
    """Codes of a kernel of which some is far apart, some is dense, and perhaps nothing is there."""
    codes = np.zeros(weights, np.uint8)
    far = random.choice(weights, random.integers(0, 12), replace=False)
    begin = random.integers(0, weights - 100)
    dense = begin + np.flatnonzero(random.random(100) < random.random())
    places = np.concatenate([far, dense])
    codes[places] = random.integers(1, 256, len(places))
    return codes


def random_network(seed):
    """Return layers to store and, for each, the kernel in the file's order that they stand for."""
    random = np.random.default_rng(seed)
    layers, kernels = {}, {}
    for name in NAMES:
        codebook = np.append(0, random.normal(size=255)).astype(np.float32)
        codes = random_codes(random, WEIGHTS[name])
        bias = random.normal(size=FILTERS[name]).astype(np.float32)
        layers[name] = Stored(codebook, bias, entries_of(codes))
        kernels[name] = codebook[codes]
    return layers, kernels


def small_network(**changed):
    """Three entries a layer, at the weights 2, 18 (a filler) and 19; of `changed`, other fields of conv1."""
    codebook = np.arange(256, dtype=np.float32) / 8
    layers = {
        name: Stored(codebook, np.ones(FILTERS[name], np.float32), [(5, 2), (0, 15), (7, 0)])
        for name in NAMES
    }
    layers["conv1"] = layers["conv1"]._replace(**changed)
    return layers


SMALL = bytes_of(small_network())


def with_value(values, place, value):
    changed = values.copy()
    changed[place] = value
    return changed


def with_bytes(data, offset, new):
    return data[:offset] + new + data[offset + len(new) :]


def refusal(data):
    """Return the line that a file is refused with, without the name of the file."""
    with pytest.raises(InputError) as error:
        decode(data, "a.net")
    line = str(error.value)
    assert line.startswith("a.net: ")
    assert len(line.splitlines()) == 1
    return line.removeprefix("a.net: ")


def expected_end(data, cut):
    """Return the line that a valid file is refused with when only `cut` bytes of it are there."""
    counts = struct.unpack_from("<26I", data)
    section = next(s for s in sections(counts) if s.end > cut)
    return f"{section.label} end at byte {section.end:,}, the file at {cut:,}; it is cut short or damaged"


def slow_decode(data):
    """Decode as the format is told, one entry at a time."""
    counts = struct.unpack_from("<26I", data)
    offset = 104
    for name, count in zip(NAMES, counts, strict=True):
        codebook = struct.unpack_from("<256f", data, offset)
        offset += 1024
        bias = struct.unpack_from(f"<{FILTERS[name]}f", data, offset)
        offset += 4 * len(bias)
        weights = [0.0] * WEIGHTS[name]
        place = -1
        for i in range(count):
            byte = data[offset + count + i // 2]
            place += 1 + (byte >> 4 if i % 2 else byte & 15)
            weights[place] = codebook[data[offset + i]]
        offset += count + (count + 1) // 2
        yield name, weights, bias
    assert offset == len(data)


@pytest.fixture(scope="module")
def published():
    return PUBLISHED.read_bytes()


@pytest.fixture(scope="module")
def decoded(published):
    return decode(published, "compressed_SqueezeNet.net")


def test_the_layers_are_those_of_squeezenet_v1_0():
    assert list(SHAPES) == list(TABLE)
    assert {n: (f, c, side, side) for n, (f, c, side, _, _) in TABLE.items()} == SHAPES
    assert sum(math.prod(shape) for shape in SHAPES.values()) == 1_244_448
    assert sum(shape[0] for shape in SHAPES.values()) == 3_976


def test_it_is_read_without_jax():
    code = "import sys, sqzx.authors_file; print(*({'jax', 'flax', 'pandas', 'scipy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@published_file
class TestThePublishedFile:
    def test_its_size(self, published):
        assert len(published) == SIZE
        assert [*sections(row[3] for row in TABLE.values())][-1].end == SIZE

    def test_its_entries(self, decoded):
        assert {name: layer.entries for name, layer in decoded.items()} == {
            name: row[3] for name, row in TABLE.items()
        }
        assert sum(layer.entries for layer in decoded.values()) == 422_083

    def test_its_fillers(self, decoded):
        assert sum(layer.fillers for layer in decoded.values()) == 6_162
        assert decoded["conv10"].fillers == 3_650

    def test_its_weights_that_are_not_zero(self, decoded):
        assert sum(np.count_nonzero(layer.kernel) for layer in decoded.values()) == 415_921
        for name, layer in decoded.items():
            assert np.count_nonzero(layer.kernel) == layer.entries - layer.fillers, name

    def test_its_densities(self, decoded):
        for name, (*_, density) in TABLE.items():
            digits = 4 if name.startswith("conv") else 3
            assert round(np.count_nonzero(decoded[name].kernel) / WEIGHTS[name], digits) == density, name

    def test_its_arrays_are_float32_of_the_layers_shapes(self, decoded):
        assert list(decoded) == list(NAMES)
        for name, layer in decoded.items():
            assert layer.kernel.dtype == layer.bias.dtype == np.float32
            assert layer.kernel.shape == SHAPES[name]
            assert layer.bias.shape == SHAPES[name][:1]

    def test_a_slow_decoder_reads_the_same(self, published, decoded):
        seen = []
        for name, weights, bias in slow_decode(published):
            assert decoded[name].kernel.reshape(-1).tolist() == weights, name
            assert decoded[name].bias.tolist() == list(bias), name
            seen.append(name)
        assert seen == list(NAMES)

    def test_it_is_written_again_to_the_byte(self, published, decoded):
        layers = {}
        for name, layer in decoded.items():
            start = section_of(published, f"{name}: the codebook's values").start
            codebook = np.frombuffer(published, "<f4", 256, start)
            order = np.argsort(codebook)
            codes = order[np.searchsorted(codebook, layer.kernel.reshape(-1), sorter=order)]
            layers[name] = Stored(codebook, layer.bias, entries_of(codes))
        assert bytes_of(layers) == published

    def test_each_single_bit_that_changed_is_noticed(self, published):
        random = np.random.default_rng(20160224)
        labels = [
            "the entry counts",
            "conv1: the codebook's values",
            "conv10: the biases",
            "fire9.squeeze: the codes",
        ]
        for label in [*labels, "conv10: the skips"]:
            section = section_of(published, label)
            for offset in random.integers(section.start, section.end, 5):
                changed = published[offset] ^ (1 << random.integers(8))
                refusal(with_bytes(published, offset, bytes([changed])))

    @given(bit=st.integers(0, 8 * SIZE - 1))
    @settings(max_examples=40)
    def test_a_single_bit_that_changed_anywhere_is_noticed(self, published, bit):
        damaged = with_bytes(published, bit // 8, bytes([published[bit // 8] ^ (1 << bit % 8)]))
        refusal(damaged)
        assert looks_like(damaged[:104], len(damaged))

    def test_a_change_that_only_the_digest_shows(self, published):
        start = section_of(published, "conv10: the codes").start
        code = published[start]
        assert code not in (0, 255)
        assert refusal(with_bytes(published, start, bytes([code + 1]))) == (
            "is a damaged copy of the published file: it has its 675,763 bytes, but the SHA-256 "
            "e7a733cd0c4005b78909768dd2ac3fafae32a3496feff0f0aeae65a43afb57fe and not "
            "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261; get it again"
        )

    @given(cut=st.integers(0, SIZE - 1))
    @settings(max_examples=40)
    @example(SIZE - 1)
    @example(105)
    @example(104)
    @example(103)
    @example(0)
    def test_one_that_is_cut_tells_where_it_ends(self, published, cut):
        assert refusal(published[:cut]) == expected_end(published, cut)

    @pytest.mark.parametrize("more", [1, 2, 4096, SIZE])
    def test_one_that_is_too_long_tells_by_how_much(self, published, more):
        longer = published + (published * 2)[:more]
        assert refusal(longer) == f"ends, by its entry counts, at byte 675,763, but has {more:,} more"
        assert looks_like(longer[:104], len(longer))

    def test_it_looks_like_one(self, published):
        assert looks_like(published, SIZE)
        assert looks_like(published[:104], SIZE)

    @pytest.mark.parametrize("cut", [32, 50, 103, 104, 105, 2000, SIZE - 1])
    def test_a_cut_one_looks_like_one(self, published, cut):
        assert looks_like(published[:cut][:104], cut)

    @pytest.mark.parametrize("count", [0, 14_113, 2**31])
    def test_one_with_two_wrong_counts_looks_like_one_and_with_three_does_not(self, published, count):
        wrong = struct.pack("<I", count)
        damaged = with_bytes(with_bytes(published, 0, wrong), 4, wrong)
        assert looks_like(damaged[:104], SIZE)
        assert not looks_like(with_bytes(damaged, 8, wrong)[:104], SIZE)


class TestOtherNetworks:
    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=15)
    def test_what_an_encoder_wrote_is_decoded(self, seed):
        layers, kernels = random_network(seed)
        data = bytes_of(layers)
        assert looks_like(data[:104], len(data))
        found = decode(data, "a.net")
        assert list(found) == list(NAMES)
        for name, layer in found.items():
            stored = layers[name]
            assert np.array_equal(layer.kernel, kernels[name].reshape(SHAPES[name])), name
            assert np.array_equal(layer.bias, stored.bias), name
            assert layer.entries == len(stored.entries)
            assert layer.fillers == sum(code == 0 for code, _ in stored.entries)

    def test_an_entry_for_each_weight_is_the_largest_file(self):
        codebook = np.arange(256, dtype=np.float32)
        data = bytes_of(
            {
                name: Stored(codebook, np.zeros(FILTERS[name]), [(3, 0)] * weights)
                for name, weights in WEIGHTS.items()
            }
        )
        assert len(data) == LARGEST_BYTES
        assert all((layer.kernel == 3).all() for layer in decode(data, "a.net").values())
        assert looks_like(data[:104], len(data))
        assert refusal(data + b"\0") == "has more than 1,909,304 bytes, the most that this format can have"
        assert not looks_like(data[:104], len(data) + 1)

    def test_the_bytes_of_a_layer(self):
        codes, skips = section_of(SMALL, "conv1: the codes"), section_of(SMALL, "conv1: the skips")
        assert SMALL[:8] == b"\x03\0\0\0\x03\0\0\0"
        assert SMALL[codes.start : codes.end] == b"\x05\x00\x07"
        assert SMALL[skips.start : skips.end] == b"\xf2\x00"
        kernel, bias, entries, fillers = decode(SMALL, "a.net")["conv1"]
        assert np.argwhere(kernel).tolist() == [[0, 0, 0, 2], [0, 0, 2, 5]]
        assert (kernel[0, 0, 0, 2], kernel[0, 0, 2, 5]) == (0.625, 0.875)
        assert bias.tolist() == [1.0] * 96
        assert (entries, fillers) == (3, 1)

    def test_a_weight_may_skip_15_as_a_filler_does(self):
        found = decode(bytes_of(small_network(entries=[(5, 15), (5, 15)])), "a.net")["conv1"]
        assert np.flatnonzero(found.kernel).tolist() == [15, 31]
        assert found.fillers == 0

    def test_the_last_weight_of_all_can_be_reached(self):
        found = decode(bytes_of(small_network(entries=[(0, 15)] * 881 + [(9, 15)])), "a.net")["conv1"]
        assert np.flatnonzero(found.kernel).tolist() == [14_111]

    def test_what_was_decoded_can_be_changed(self):
        kernel, bias, _, _ = decode(SMALL, "a.net")["conv1"]
        kernel[0] = bias[0] = 2
        assert (kernel[0] == 2).all()
        assert bias.tolist() == [2.0] + [1.0] * 95


class TestAFileThatIsNotValid:
    @given(cut=st.integers(0, len(SMALL) - 1))
    @settings(max_examples=50)
    def test_one_that_is_cut_tells_where_it_ends(self, cut):
        assert refusal(SMALL[:cut]) == expected_end(SMALL, cut)

    def test_each_part_can_be_the_one_where_it_ends(self):
        for section in sections([3] * 26):
            for cut in {section.start, section.end - 1}:
                line = refusal(SMALL[:cut])
                assert line.startswith(f"{section.label} end at byte {section.end:,}, ")
                assert line == expected_end(SMALL, cut)

    def test_where_it_ends_is_one_readable_line(self):
        assert refusal(SMALL[:103]) == (
            "the entry counts end at byte 104, the file at 103; it is cut short or damaged"
        )
        assert refusal(SMALL[:2606]) == (
            "fire2.squeeze: the codes end at byte 2,608, the file at 2,606; it is cut short or damaged"
        )

    @pytest.mark.parametrize("more", [1, 2, 1_000_000])
    def test_one_that_is_too_long_tells_by_how_much(self, more):
        assert (
            refusal(SMALL + bytes(more))
            == f"ends, by its entry counts, at byte 42,762, but has {more:,} more"
        )

    @pytest.mark.parametrize(
        ("name", "count", "most"),
        [
            ("conv1", 0, "14,112"),
            ("conv1", 14_113, "14,112"),
            ("fire2.expand1x1", 1_025, "1,024"),
            ("conv10", 0, "512,000"),
            ("conv10", 512_001, "512,000"),
            ("conv10", 4_294_967_295, "512,000"),
        ],
    )
    def test_a_count_that_the_layer_cannot_have(self, name, count, most):
        data = with_bytes(SMALL, 4 * NAMES.index(name), struct.pack("<I", count))
        assert refusal(data) == f"{name}: needs 1 to {most} entries, one a weight at most, found {count:,}"

    def test_the_counts_are_judged_before_anything_else_is_read(self):
        data = with_bytes(SMALL[:104], 100, bytes(4))
        assert refusal(data) == "conv10: needs 1 to 512,000 entries, one a weight at most, found 0"

    @pytest.mark.parametrize(
        ("value", "shown"), [(1.0, "1"), (-0.25, "-0.25"), (1e-40, "9.99995e-41"), (3e38, "3e+38")]
    )
    def test_a_codebook_that_does_not_begin_with_zero(self, value, shown):
        codebook = with_value(small_network()["conv1"].codebook, 0, value)
        assert refusal(bytes_of(small_network(codebook=codebook))) == (
            f"conv1: value 0 of the codebook is {shown}, where 0 is needed"
        )

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("place", [0, 1, 255])
    def test_a_codebook_with_a_value_that_is_not_finite(self, value, place):
        codebook = with_value(small_network()["conv1"].codebook, place, value)
        assert refusal(bytes_of(small_network(codebook=codebook))) == (
            f"conv1: value {place} of the codebook is {value}, where a finite number is needed"
        )

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_bias_that_is_not_finite(self, value):
        bias = with_value(small_network()["conv1"].bias, 95, value)
        assert refusal(bytes_of(small_network(bias=bias))) == (
            f"conv1: bias 95 is {value}, where a finite number is needed"
        )

    @pytest.mark.parametrize("skip", [0, 7, 14])
    def test_a_filler_that_skips_less_than_15(self, skip):
        data = bytes_of(small_network(entries=[(5, 0)] * 1_500 + [(0, skip), (0, skip), (5, 0)]))
        assert refusal(data) == f"conv1: entry 1,500 has code 0 and skips {skip}, where a filler skips 15"

    def test_entries_that_reach_beyond_the_kernel(self):
        data = bytes_of(small_network(entries=[(0, 15)] * 882 + [(9, 2)]))
        assert refusal(data) == "conv1: the entries reach to weight 14,115 of 14,112"

    def test_fillers_that_reach_beyond_the_kernel(self):
        data = bytes_of(small_network(entries=[(0, 15)] * 14_112))
        assert refusal(data) == "conv1: the entries reach to weight 225,792 of 14,112"

    @pytest.mark.parametrize("left", [1, 15])
    def test_a_half_byte_left_over_that_is_not_zero(self, left):
        last = section_of(SMALL, "conv1: the skips").end - 1
        assert refusal(with_bytes(SMALL, last, bytes([left << 4]))) == (
            f"conv1: the half byte after the last skip is {left}, where 0 is needed"
        )

    def test_the_layer_at_fault_is_named(self):
        for name in NAMES:
            layers = small_network()
            layers[name] = layers[name]._replace(entries=[(0, 3)])
            assert (
                refusal(bytes_of(layers))
                == f"{name}: entry 0 has code 0 and skips 3, where a filler skips 15"
            )

    @pytest.mark.parametrize(
        "data", [struct.pack("<26I", *WEIGHTS.values()), bytes(LARGEST_BYTES + 1)], ids=["short", "long"]
    )
    def test_one_of_the_wrong_length_takes_no_memory(self, data):
        tracemalloc.start()
        refusal(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000

    @given(data=st.binary(max_size=3000))
    def test_random_bytes_are_refused(self, data):
        refusal(data)

    @given(
        counts=st.tuples(*(st.integers(1, 40) for _ in NAMES)),
        length=st.integers(0, 60_000),
        seed=st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=50)
    def test_random_bytes_after_possible_counts_are_refused(self, counts, length, seed):
        refusal(struct.pack("<26I", *counts) + np.random.default_rng(seed).bytes(length))

    @given(
        changes=st.lists(
            st.tuples(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=4)),
            min_size=1,
            max_size=4,
        )
    )
    def test_changed_bytes_are_refused_or_decoded_as_told(self, changes):
        data = SMALL
        for offset, new in changes:
            data = with_bytes(data, offset, new)[: len(SMALL)]
        try:
            found = decode(data, "a.net")
        except InputError:
            refusal(data)
        else:
            for name, weights, bias in slow_decode(data):
                assert found[name].kernel.reshape(-1).tolist() == weights
                assert found[name].bias.tolist() == list(bias)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(200),
        b"\x01\0\0\0" * 7,
        b'{"model.base_e": 128, "model.incr_e": 128, "model.pct_3x3": 0.5, "model.freq": 2, "model.init": 1}',
        b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\x3e\0\x01\0\0\0" + bytes(200),
        b"\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 512), }" + b" " * 60,
        np.random.default_rng(1).bytes(700_000),
        np.random.default_rng(2).normal(size=1000).astype("<f4").tobytes(),
        np.random.default_rng(3).integers(0, 256, 1000).astype(">u4").tobytes(),
    ],
    ids=["empty", "zeros", "short", "JSON", "program", "numpy", "noise", "floats", "big-endian"],
)
def test_another_format_does_not_look_like_one(data):
    assert not looks_like(data[:104], len(data))
