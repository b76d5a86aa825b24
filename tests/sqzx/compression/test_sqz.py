"""The `.sqz` file: what it holds comes back to the bit, from files of old and from bytes set by hand, too."""

import hashlib
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest

from sqzx.compression import sqz, svd
from sqzx.compression.compressed import (
    Compressed,
    layer_shapes,
    named_layers,
    tree_of,
    with_half_tables,
    with_shared,
)
from sqzx.compression.sqz_errors import ValueRangeError
from sqzx.compression.weight_sharing import SharedWeights
from sqzx.counting import parametric_layers
from sqzx.errors import InputError
from sqzx.model import read_model
from tests.sqzx.compression.small_networks import (
    ALEXNET,
    FROZEN,
    SQUEEZENET,
    WIDER,
    codes_of,
    frozen_networks,
    network,
    same,
)

CODERS = ("huffman", "range")
both = pytest.mark.parametrize("coder", CODERS)


def with_layer(compressed, name, kernel=None, bias=None, codebook=None, codes=None):
    """The network with another kernel (plain), or with other shared weights, or another bias."""
    layers = named_layers(compressed.model.parameters)
    shared = dict(compressed.shared)
    if kernel is not None:
        layers[name]["kernel"] = np.asarray(kernel, np.float32)
        del shared[name]
    if codes is not None:
        shared[name] = SharedWeights(np.asarray(codebook, np.float32), np.asarray(codes, np.uint8))
        layers[name]["kernel"] = shared[name].kernel()
    if bias is not None:
        layers[name]["bias"] = np.asarray(bias, np.float32)
    return replace(compressed, model=replace(compressed.model, parameters=tree_of(layers)), shared=shared)


def back(compressed, coder="huffman"):
    return sqz.open_sqz(sqz.encode(compressed, coder=coder), "a.sqz")


class TestThereAndBack:
    @both
    @pytest.mark.parametrize("settings", [SQUEEZENET, WIDER, ALEXNET])
    @pytest.mark.parametrize("kept", [1, 2, 4, 30])
    def test_all_of_it_to_the_bit(self, coder, settings, kept):
        compressed = network(settings, kept=kept, plain=list(layer_shapes(network(settings).model))[-1:])
        found = back(compressed, coder)
        assert same(found.compressed, compressed)
        assert found.coder == coder

    @both
    def test_equal_networks_are_equal_files(self, coder):
        data = sqz.encode(network(WIDER), coder=coder)
        assert sqz.encode(network(WIDER), coder=coder) == data
        assert sqz.encode(sqz.decode(data, "x"), coder=coder) == data

    def test_parameters_in_another_order_are_the_same_file(self):
        compressed = network(SQUEEZENET)
        turned = dict(reversed(compressed.model.parameters.items()))
        other = replace(compressed, model=replace(compressed.model, parameters=turned))
        assert sqz.encode(other) == sqz.encode(compressed)

    def test_whatever_it_says_changes_the_file(self):
        compressed = network(SQUEEZENET)
        whole = sqz.encode(compressed)
        for other in (
            replace(compressed, densities={}),
            replace(compressed, densities={"conv1": 1.0}),
            replace(compressed, history=()),
            replace(compressed, model=replace(compressed.model, source="elsewhere")),
            with_layer(compressed, "conv10", bias=[1, 2, 3]),
        ):
            assert sqz.encode(other) != whole
            assert same(back(other).compressed, other)
        assert sqz.encode(compressed, coder="range") != whole

    def test_a_large_kernel_of_few_weights_is_sparse_and_a_full_one_dense(self):
        sparse, dense = (back(network(WIDER, kept=kept)).measured["fire3.expand3x3"] for kept in (30, 1))
        assert sparse.width in range(2, 9)
        assert sparse.entries - sparse.fillers == np.count_nonzero(codes_of((3, 3, 8, 8), 7, 30))
        assert (dense.width, dense.entries, dense.fillers) == (0, 3 * 3 * 8 * 8, 0)

    def test_fillers_cross_long_gaps(self):
        compressed = network(WIDER | {"model.num_classes": 400})
        compressed = replace(compressed, model=replace(compressed.model, class_names=()))
        codes = np.zeros((1, 1, 16, 400), np.uint8)
        codes.reshape(-1)[[5, 1500, 6_399]] = [1, 2, 1]
        found = back(with_layer(compressed, "conv10", codebook=[0, 1, 2], codes=codes))
        measured = found.measured["conv10"]
        assert measured.fillers == measured.entries - 3 > 0
        assert (found.compressed.shared["conv10"].codes == codes).all()


class TestLayersThatAreTwo:
    """SVD makes of a layer L `L.first`, without a bias, and `L.second`."""

    RANKS = {"fire2.expand3x3": 1, "conv2": 1, "fc3": 2}  # noqa: RUF012

    def factored(self, settings):
        whole = network(settings).model
        layers = parametric_layers(whole.config, whole.preprocessing.image_shape)
        ranks = {layer.name: self.RANKS[layer.name] for layer in layers if layer.name in self.RANKS}
        parameters = svd.factored(whole.parameters, layers, ranks)
        return Compressed(model=replace(whole, parameters=parameters, ranks=ranks))

    @both
    @pytest.mark.parametrize("settings", [SQUEEZENET, ALEXNET])
    def test_come_back(self, coder, settings, tmp_path):
        compressed = self.factored(settings)
        found = back(compressed, coder).compressed
        assert same(found, compressed)
        assert found.model.ranks == compressed.model.ranks != {}
        firsts = [name for name in layer_shapes(found.model) if name.endswith(".first")]
        assert len(firsts) == len(found.model.ranks)
        assert not any("bias" in named_layers(found.model.parameters)[name] for name in firsts)
        sqz.write_sqz(tmp_path / "a.sqz", compressed)
        assert read_model(tmp_path / "a.sqz").ranks == compressed.model.ranks

    def test_may_share_weights(self):
        compressed = self.factored(SQUEEZENET)
        codes = codes_of((3, 3, 2, 1), 3, 2)
        shared = SharedWeights(np.float32([0, 1, -1, 2]), codes)
        compressed = with_shared(compressed, {"fire2.expand3x3.first": shared})
        assert same(back(compressed).compressed, compressed)


class TestLayersOfFewValues:
    """Where other programs break: layers with fewer values than codes, or of one symbol."""

    SHAPE = (3, 3, 2, 2)

    @both
    @pytest.mark.parametrize("kind", ["zeros", "equal", "one", "two", "no values but zeros", "unused"])
    def test_shared(self, coder, kind):
        codes = np.zeros(self.SHAPE, np.uint8)
        codebook = np.float32([0, 1 / 3, -2])
        if kind == "equal":
            codes[:] = 2
        elif kind == "one":
            codes[2, 1, 0, 1] = 1
        elif kind == "two":
            codes[:] = 1
            codes[0] = 2
        elif kind == "no values but zeros":
            codebook = codebook[:1]
        elif kind == "unused":
            codebook = np.arange(256, dtype=np.float32)
            codes[1] = 255
        compressed = with_layer(network(SQUEEZENET), "fire2.expand3x3", codebook=codebook, codes=codes)
        assert same(back(compressed, coder).compressed, compressed)

    @both
    @pytest.mark.parametrize(
        "kernel",
        [
            np.zeros(SHAPE),
            np.full(SHAPE, 0.1),
            np.full(SHAPE, -0.0),
            np.eye(36)[7].reshape(SHAPE),
            np.eye(36)[35].reshape(SHAPE) * 1e-42,
            np.linspace(-1e38, 1e38, 36).reshape(SHAPE),
        ],
        ids=["zeros", "equal", "minus zero", "one", "one, subnormal, the last", "huge"],
    )
    def test_plain(self, coder, kernel):
        compressed = with_layer(network(SQUEEZENET), "fire2.expand3x3", kernel=kernel)
        assert same(back(compressed, coder).compressed, compressed)

    def test_a_squeeze_layer_of_one_filter(self):
        compressed = network(SQUEEZENET | {"model.squeeze_ratio": 0.25})
        assert named_layers(compressed.model.parameters)["fire2.squeeze"]["kernel"].shape == (1, 1, 4, 1)
        assert same(back(compressed).compressed, compressed)


class TestTablesOfFloat16:
    def size(self, bias):
        return len(sqz.encode(with_layer(network(SQUEEZENET), "conv10", bias=bias)))

    def test_two_bytes_a_value_where_that_is_exact_and_four_elsewhere(self):
        exact = self.size([0.5, -1.25, 0])
        assert self.size([1 / 3, -1.25, 0]) == exact + 2 * 3 - 1  # float32 has no exponent

    def test_the_exponent_reaches_beyond_the_range_of_float16(self):
        exact = self.size([0.5, -1.25, 0])
        assert self.size([2.0**100, 2.0**99, 0]) == self.size([2.0**-90, 2.0**-92, 0]) == exact
        assert self.size([2.0**-149, 0, 0]) > exact  # an exponent that no byte holds
        assert self.size([2.0**20, 2.0**-20, 0]) > exact  # too far apart

    @pytest.mark.parametrize("scale", [1e-30, 1e-9, 1, 65_519, 65_520, 1e30])
    def test_rounding_is_that_of_float16_at_any_scale(self, scale):
        bias = np.float32([1, -1 / 3, 1e-3]) * np.float32(scale)
        rounded = with_half_tables(with_layer(network(SQUEEZENET), "conv10", bias=bias))
        found = named_layers(rounded.model.parameters)["conv10"]["bias"]
        assert np.abs(found / bias - 1).max() <= 2.0**-11
        assert same(back(rounded).compressed, rounded)

    @pytest.mark.parametrize("bias", [[1, 1e-13, 0], [3e38, 1e-30, 1e30], [1, -1e-40, 2]])
    def test_a_value_never_becomes_0_or_infinite(self, bias):
        compressed = with_layer(network(SQUEEZENET), "conv10", bias=bias)
        rounded = named_layers(with_half_tables(compressed).model.parameters)["conv10"]["bias"]
        assert rounded.tobytes() == np.float32(bias).tobytes()

    def test_codebooks_are_rounded_and_their_kernels_with_them(self):
        compressed = network(SQUEEZENET, thirds=True)
        rounded = with_half_tables(compressed, except_codebooks=frozenset({"conv1"}))
        assert rounded.shared["conv1"].codebook.tobytes() == compressed.shared["conv1"].codebook.tobytes()
        change = rounded.shared["conv10"].codebook[1:] / compressed.shared["conv10"].codebook[1:] - 1
        assert 0 < np.abs(change).max() <= 2.0**-11
        kernel = named_layers(rounded.model.parameters)["conv10"]["kernel"]
        assert kernel.tobytes() == rounded.shared["conv10"].kernel().tobytes()
        assert same(back(rounded).compressed, rounded)
        assert len(sqz.encode(rounded)) < len(sqz.encode(compressed))


class TestWhatIsNoNetwork:
    def test_values_that_are_not_finite(self):
        for bad in (np.nan, np.inf, -np.inf):
            with pytest.raises(ValueRangeError, match="conv10: bias: holds NaN or infinity"):
                sqz.encode(with_layer(network(SQUEEZENET), "conv10", bias=[0, bad, 0]))
            kernel = np.full((1, 1, 4, 3), bad)
            with pytest.raises(ValueRangeError, match="conv10: kernel"):
                sqz.encode(with_layer(network(SQUEEZENET), "conv10", kernel=kernel))
            unused = np.zeros((1, 1, 4, 3))
            with pytest.raises(ValueRangeError, match="conv10: codebook"):
                sqz.encode(with_layer(network(SQUEEZENET), "conv10", codebook=[0, bad], codes=unused))

    def test_what_contradicts_itself(self):
        compressed = network(SQUEEZENET)
        codes = compressed.shared["conv10"].codes
        layers = named_layers(compressed.model.parameters)
        without = {name: arrays for name, arrays in layers.items() if name != "conv10"}
        kernel_alone = layers | {"conv10": {"kernel": layers["conv10"]["kernel"]}}
        short_bias = layers | {"conv10": layers["conv10"] | {"bias": np.zeros(2, np.float32)}}
        for wrong in (
            replace(compressed, shared={"conv11": compressed.shared["conv10"]}),
            replace(compressed, shared={"conv10": SharedWeights(np.float32([0, *range(9, 16)]), codes)}),
            replace(compressed, shared={"conv10": SharedWeights(np.float32([1, *range(1, 8)]), codes)}),
            replace(compressed, shared={"conv10": SharedWeights(np.float32([0, 1]), codes)}),
            replace(compressed, densities={"conv11": 0.5}),
            replace(compressed, densities={"conv1": 0.0}),
            replace(compressed, history=({"epochs": 3},)),
            *(
                replace(compressed, model=replace(compressed.model, parameters=tree_of(tree)))
                for tree in (without, kernel_alone, short_bias)
            ),
        ):
            with pytest.raises(ValueError):
                sqz.encode(wrong)


class TestFiles:
    def test_written_whole_and_read_back(self, tmp_path):
        path = tmp_path / "new" / "a.sqz"
        size = sqz.write_sqz(path, network(SQUEEZENET), coder="range")
        assert size == path.stat().st_size
        assert [p.name for p in path.parent.iterdir()] == ["a.sqz"]
        assert path.read_bytes() == sqz.encode(network(SQUEEZENET), coder="range")
        assert same(sqz.read_sqz(path), network(SQUEEZENET))

    def test_a_coder_that_loses_something_is_noticed_before_the_file_is_there(self, tmp_path, monkeypatch):
        decode = sqz.decode

        def forgetful(data, where):
            found = decode(data, where)
            return with_layer(found, "conv10", bias=[0, 0, 0])

        monkeypatch.setattr(sqz, "decode", forgetful)
        with pytest.raises(RuntimeError, match="is not what was written"):
            sqz.write_sqz(tmp_path / "a.sqz", network(SQUEEZENET))
        assert list(tmp_path.iterdir()) == []

    def test_a_model_is_read_from_it_whatever_its_name(self, tmp_path):
        compressed = network(SQUEEZENET)
        for name in ("a.sqz", "b"):
            sqz.write_sqz(tmp_path / name, compressed)
            model = read_model(tmp_path / name)
            assert same(Compressed(model=model), replace(compressed, shared={}, densities={}, history=()))

    def test_what_is_no_file(self, tmp_path):
        for path, told in (
            (tmp_path / "no.sqz", "no such file"),
            (tmp_path, "holds no model"),
        ):
            with pytest.raises(InputError, match=told):
                read_model(path)

    def test_another_file_is_not_read_to_its_end(self, tmp_path):
        path = tmp_path / "huge.sqz"
        with path.open("wb") as file:
            file.write(sqz.MAGIC + struct.pack("<HHIQ", 1, 0, 9, 2**40))
            file.truncate(2**40)  # a hole, no disk
        with pytest.raises(InputError, match="1,099,511,627,776 bytes, of at most"):
            sqz.read_sqz(path)


@pytest.mark.parametrize("name", list(frozen_networks()))
def test_a_file_of_version_1_is_read_for_good(name):
    found = sqz.open_sqz((FROZEN / f"{name}.sqz").read_bytes(), name)
    compressed, coder = frozen_networks()[name]
    assert same(found.compressed, compressed)
    assert found.coder == coder


def test_the_frozen_files_have_every_kind_of_layer():
    opened = [sqz.open_sqz((FROZEN / f"{name}.sqz").read_bytes(), name) for name in frozen_networks()]
    kinds = {
        (found.coder, measured.width > 0, name in found.compressed.shared)
        for found in opened
        for name, measured in found.measured.items()
    }
    assert {("huffman", sparse, shared) for sparse in (0, 1) for shared in (0, 1)} < kinds
    assert {("range", False, True), ("range", True, False)} < kinds
    assert any(measured.fillers for found in opened for measured in found.measured.values())


def by_hand():
    """A file as its specification tells it, with a network of 16 weights; every byte is set here."""
    metadata = {
        "model": {
            "family": "squeezenet", "base_e": 2, "incr_e": 0, "pct_3x3": 0.5, "freq": 1, "squeeze_ratio": 0.5,
            "num_fires": 1, "stem_features": 1, "stem_kernel": 1, "stem_stride": 1, "stem_padding": 0,
            "pool_after": [], "pool_rounding": "ceil", "bypass": "none", "dropout_rate": 0.0,
            "conv10_padding": 0, "final_relu": False, "activation": "relu", "squeeze_activation": "same",
            "init": "xavier", "num_classes": 2,
        },
        "preprocessing": {
            "channel_order": "grey", "divisor": 255.0, "mean": [0.0], "std": [1.0], "size": [4, 4],
            "cover": [4, 4],
        },
        "class_names": [],
        "source": "by hand",
        "data": None,
        "ranks": {},
        "densities": {"fire2.expand3x3": 0.2},
        "history": [],
    }  # fmt: skip
    layers = (
        # One weight, shared, dense; float32: a codebook of 0.0 and 0.5, a code of one symbol, a bias of 1.0.
        "05 636F6E7631  04 01010101  01 00 00 01  01  02 0000003F  01 01 00 50  0000803F",
        # One weight, plain, dense; float16: 49152 x 2^-15 = 1.5, a bias of 0.0.
        "0D 66697265322E73717565657A65  04 01010101  00 00 01 02  01  F1 007A  00 0000",
        # One weight, a codebook of 0.0 alone.
        "0F 66697265322E657870616E64317831  04 01010101  01 00 01 02  01  01 00  01 01 00 C0  00 0000",
        # Nine weights, shared, sparse with gaps of 2 bits. Codebook 0.0, 1.0, -2.0. Entries (gap, code):
        # (1, 1), a filler (3, 0), (1, 2); the codes 1 0 2 are the bits 0 10 11, the gaps 1 3 1 are 0 1 0.
        "0F 66697265322E657870616E64337833  04 03030101  01 02 01 02  03  03 F2 0074 00F8"
        "  01 02 01 92E8 58  01 02 01 4940 40  00 0000",
        # (1, 1, 2, 2), shared, dense, two symbols a codeword: 1 2 1 2 is twice the pair 5 of 9; no bits.
        "06 636F6E763130  04 01010202  01 00 01 02  04  03 F2 0074 00F8  02 02 00 3480  F1 0078 007A",
    )
    text = json.dumps(metadata).encode()
    sections = [text, *(bytes.fromhex(layer) for layer in layers)]
    head = b"\x89SQZ\r\n\x1a\n" + bytes.fromhex("0100 0000 06000000")
    size = 24 + 4 * 6 + 4 + sum(map(len, sections)) + 4 * 6 + 32
    head += size.to_bytes(8, "little") + b"".join(len(s).to_bytes(4, "little") for s in sections)
    data = head + zlib.crc32(head).to_bytes(4, "little")
    for number, section in enumerate(sections):
        data += section + zlib.crc32(number.to_bytes(4, "little") + section).to_bytes(4, "little")
    return data + hashlib.sha256(data).digest()


def test_a_file_set_by_hand():
    found = sqz.open_sqz(by_hand(), "by hand")
    assert found.coder == "huffman"
    assert found.compressed.densities == {"fire2.expand3x3": 0.2}
    assert found.compressed.model.source == "by hand"
    layers = named_layers(found.compressed.model.parameters)
    expected = {
        "conv1": ([[[[0.5]]]], [1.0]),
        "fire2.squeeze": ([[[[1.5]]]], [0.0]),
        "fire2.expand1x1": ([[[[0.0]]]], [0.0]),
        "fire2.expand3x3": (np.float32([0, 1, 0, 0, 0, 0, 0, -2, 0]).reshape(3, 3, 1, 1).tolist(), [0.0]),
        "conv10": ([[[[1.0, -2.0], [1.0, -2.0]]]], [1.0, 1.5]),
    }
    assert {n: (a["kernel"].tolist(), a["bias"].tolist()) for n, a in layers.items()} == expected
    assert list(found.compressed.shared) == ["conv1", "fire2.expand1x1", "fire2.expand3x3", "conv10"]
    assert found.measured["fire2.expand3x3"] == (3, 1, 2, 2, 8, 8)
    assert sum(found.section_bytes) + found.frame_bytes == len(by_hand())
