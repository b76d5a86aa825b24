"""Compression without data: what is kept, what is clustered; and the published network's sizes."""

from dataclasses import replace

import numpy as np
import pytest

from sqzx.compression import compressing, sqz
from sqzx.compression.assignments import read_assignments
from sqzx.compression.compressed import Compressed, named_layers, tree_of
from sqzx.compression.config import CompressConfig
from sqzx.compression.inspection import inspect, to_json
from sqzx.errors import InputError
from sqzx.importing import import_model
from tests.sqzx.compression.conftest import PUBLISHED
from tests.sqzx.compression.small_networks import SQUEEZENET, WIDER, network, same

BITS = (2, 5, 8)


def model_with(name, kernel, settings=SQUEEZENET):
    model = network(settings).model
    layers = named_layers(model.parameters)
    layers[name]["kernel"] = np.asarray(kernel, np.float32)
    return replace(model, parameters=tree_of(layers))


def random_model(seed=0):
    model = network(WIDER).model
    random = np.random.default_rng(seed)
    layers = named_layers(model.parameters)
    for arrays in layers.values():
        drawn = random.normal(size=arrays["kernel"].shape).astype(np.float32)
        arrays["kernel"] = np.where(random.random(drawn.shape) < 0.5, drawn, np.float32(0))
        arrays["bias"] = random.normal(size=arrays["bias"].shape).astype(np.float32)
    return replace(model, parameters=tree_of(layers))


def kernels(model):
    return {name: arrays["kernel"] for name, arrays in named_layers(model.parameters).items()}


class TestLayersOfFewValues:
    """Their values fit the codebook: they come back exactly, at any number of bits."""

    SHAPE = (3, 3, 2, 2)

    @pytest.mark.parametrize("bits", [1, *BITS])
    @pytest.mark.parametrize(
        "values",
        [[0], [1 / 3], [0, -1e-7], [0, 0.1], [1e30]],
        ids=["all zero", "all equal", "tiny", "one and zeros", "huge"],
    )
    def test_one_value_and_zeros(self, bits, values):
        kernel = np.resize(np.float32(values), self.SHAPE)
        self.check(kernel, bits)

    @pytest.mark.parametrize("bits", BITS)
    def test_one_nonzero(self, bits):
        kernel = np.zeros(self.SHAPE, np.float32)
        kernel[2, 0, 1, 1] = np.pi
        self.check(kernel, bits)

    @pytest.mark.parametrize("bits", BITS)
    def test_two_and_three_values(self, bits):
        self.check(np.resize(np.float32([0.1, -0.1]), self.SHAPE), bits)
        self.check(np.resize(np.float32([0, 0.1, -0.1, np.e]), self.SHAPE), bits)

    def check(self, kernel, bits):
        model = model_with("fire2.expand3x3", kernel)
        made = compressing.compress(model, CompressConfig(bits=bits))
        found = sqz.decode(sqz.encode(made), "x")
        assert kernels(found.model)["fire2.expand3x3"].tobytes() == kernel.tobytes()


class TestBits:
    @pytest.mark.parametrize("bits", range(1, 9))
    def test_layers_have_so_many_values(self, bits):
        model = random_model()
        made = compressing.compress(model, CompressConfig(bits=bits))
        for name, kernel in kernels(made.model).items():
            assert len(np.unique(kernel[kernel != 0])) <= 2**bits - 1, name
            assert ((kernel == 0) == (kernels(model)[name] == 0)).all(), name
        assert made.history == ({"stage": "share", "bits": bits, "tables": "f16"},)

    def test_more_bits_lose_less(self):
        model = random_model()
        errors = [
            compressing.squared_error(model, compressing.compress(model, CompressConfig(bits=bits)).model)
            for bits in range(1, 9)
        ]
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > 0.1
        assert 0 < errors[-1] < 1e-3

    def test_the_error_is_that_of_all_kernels(self):
        model = random_model()
        halved = replace(
            model,
            parameters=tree_of(
                {n: a | {"kernel": a["kernel"] / 2} for n, a in named_layers(model.parameters).items()}
            ),
        )
        assert compressing.squared_error(model, halved) == pytest.approx(0.25)
        assert compressing.squared_error(model, model) == 0


class TestTables:
    def test_f16_rounds_codebooks_and_biases_and_f32_nothing(self):
        model = random_model()
        biases = {}
        for tables in ("f16", "f32"):
            made = compressing.compress(model, CompressConfig(bits=5, tables=tables))
            biases[tables] = made.model.parameters["conv10"]["bias"]
            assert same(sqz.decode(sqz.encode(made), "x"), made)
        original = model.parameters["conv10"]["bias"]
        assert biases["f32"].tobytes() == original.tobytes()
        assert 0 < np.abs(biases["f16"] / original - 1).max() <= 2.0**-11

    def test_f16_is_smaller(self):
        made = {t: compressing.compress(random_model(), CompressConfig(tables=t)) for t in ("f16", "f32")}
        assert len(sqz.encode(made["f16"])) < len(sqz.encode(made["f32"])) - 100


class TestLossless:
    def test_every_weight_to_the_bit(self):
        model = model_with("conv10", np.resize(np.float32([0.1, -0.0, 0.0, 1e-40, 7]), (1, 1, 4, 3)))
        made = compressing.lossless(model)
        found = sqz.decode(sqz.encode(made), "x")
        assert same(found, made)
        for name, kernel in kernels(model).items():
            assert kernels(found.model)[name].tobytes() == kernel.tobytes()
        assert found.history == ({"stage": "share", "lossless": True},)

    def test_a_layer_of_too_many_values(self):
        model = model_with("fire3.expand3x3", np.arange(576).reshape(3, 3, 8, 8), WIDER)
        with pytest.raises(InputError, match=r"--lossless: fire3.expand3x3 has more than 255 different"):
            compressing.lossless(model)
        exactly = model_with("fire3.expand3x3", np.arange(576).reshape(3, 3, 8, 8) % 256, WIDER)
        assert compressing.lossless(exactly).shared["fire3.expand3x3"].codebook.size == 256


class TestTheKeys:
    def test_as_they_are_typed(self):
        assert read_assignments(()) == CompressConfig(bits=6, coder="huffman", tables="f16")
        said = ("compress.bits=4", "compress.coder=range", "compress.tables=f32", "compress.bits=3")
        assert read_assignments(said) == CompressConfig(bits=3, coder="range", tables="f32")

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("compress.bits=0", "needs 1 to 8, found 0"),
            ("compress.bits=9", "needs 1 to 8, found 9"),
            ("compress.bits=true", "needs a whole number, found true"),
            ("compress.bits=5.5", "needs a whole number"),
            ("compress.coder=zip", "valid: huffman, range"),
            ("compress.tables=f61", "did you mean f16"),
            ("compress.bit=5", "did you mean compress.bits"),
            ("model.freq=2", "unknown key"),
            ("compress.bits", "needs KEY=VALUE"),
        ],
    )
    def test_mistakes(self, text, told):
        with pytest.raises(InputError, match=told):
            read_assignments((text,))

    def test_lossless_is_8_bits_of_float32(self):
        assert read_assignments((), lossless=True) == CompressConfig(bits=8, tables="f32")
        assert read_assignments(("compress.coder=range",), lossless=True).coder == "range"
        for text in ("compress.bits=6", "compress.tables=f16"):
            with pytest.raises(InputError, match="--lossless: is compress"):
                read_assignments((text,), lossless=True)


class TestInspection:
    @pytest.fixture(params=["huffman", "range"])
    def found(self, request, tmp_path):
        compressed = replace(network(WIDER, kept=25, plain=("conv10",)), densities={"conv1": 0.07})
        sqz.write_sqz(tmp_path / "a.sqz", compressed, coder=request.param)
        return inspect(tmp_path / "a.sqz"), tmp_path / "a.sqz"

    def test_its_bytes_add_up_to_the_file(self, found):
        told, path = found
        size = path.stat().st_size
        assert told.bytes == size
        assert told.header_bytes + told.metadata_bytes + sum(row.bytes for row in told.rows) == size

    def test_rows_are_what_is_in_the_layers(self, found):
        told, path = found
        read = sqz.read_sqz(path)
        for row, (name, arrays) in zip(told.rows, named_layers(read.model.parameters).items(), strict=True):
            nonzero = np.count_nonzero(arrays["kernel"])
            assert (row.name, row.n, row.nonzero) == (name, arrays["kernel"].size, nonzero)
            assert row.density == nonzero / row.n
            assert row.density_asked == {"conv1": 0.07}.get(name)
            assert row.mode.endswith("plain" if name == "conv10" else "shared")
            assert row.entries == (nonzero + row.fillers if "sparse" in row.mode else row.n)
            assert row.bits_before == row.entries * (row.code_bits + row.gap_bits)
            coded = row.entries * (row.coded_code_bits + row.coded_gap_bits)
            assert row.bits_after == pytest.approx(coded)
            assert row.bits_after <= 8 * row.bytes
        assert {row.mode.split()[0] for row in told.rows} == {"sparse", "dense"} or told.coder == "range"

    def test_totals(self, found):
        told, path = found
        arrays = [
            a for parts in named_layers(sqz.read_sqz(path).model.parameters).values() for a in parts.values()
        ]
        assert told.parameters == sum(a.size for a in arrays)
        assert told.bytes_fp32 == 4 * told.parameters
        assert told.weights == sum(row.n for row in told.rows)
        assert told.nonzero == sum(row.nonzero for row in told.rows)
        assert told.fillers == sum(row.fillers for row in told.rows)
        assert told.ratio == 4 * told.parameters / told.bytes
        assert told.bits_per_weight == 8 * told.bytes / told.parameters
        assert told.ratio_to_alexnet == 243_860_896 / told.bytes
        assert 0 < told.lzma_bytes < told.bytes_fp32
        assert 0 < told.zlib_bytes < told.bytes_fp32

    def test_json_has_all_of_it(self, found):
        told = to_json(found[0])
        assert len(told["layers"]) == 8
        assert told["layers"][0]["density_asked"] == 0.07
        assert {"bytes", "ratio", "ratio_to_alexnet", "bits_per_weight", "coder", "zlib_bytes"} < told.keys()

    def test_anything_else_is_refused(self, tmp_path):
        (tmp_path / "a.sqz").write_bytes(b"no")
        with pytest.raises(InputError, match="magic"):
            inspect(tmp_path / "a.sqz")


@pytest.fixture(scope="module")
def published():
    if not PUBLISHED.exists():
        pytest.skip("the published file is not in ../shared, beside this checkout")
    return import_model(PUBLISHED, {}).model


class TestThePublishedNetwork:
    @pytest.mark.parametrize(
        ("bits", "huffman", "ranged", "error"),
        [
            (8, 466_000, 459_500, 2.0e-4),
            (6, 352_500, 348_500, 3.5e-3),
            (5, 316_000, 312_500, 9.0e-3),
            (4, 292_500, 289_000, 1.85e-2),
        ],
    )
    def test_sizes_and_errors(self, published, bits, huffman, ranged, error):
        made = compressing.compress(published, CompressConfig(bits=bits))
        assert len(sqz.encode(made)) <= huffman
        assert len(sqz.encode(made, coder="range")) <= ranged
        assert compressing.squared_error(published, made.model) <= error

    def test_it_is_near_its_entropy(self, published, tmp_path):
        """Each code apart from its neighbours, each gap, the bitmap of what is kept: zero-order entropies."""
        made = compressing.compress(published, CompressConfig(bits=6))
        sqz.write_sqz(tmp_path / "a.sqz", made)
        told = inspect(tmp_path / "a.sqz")
        payload = bound = 0.0
        for row, shared in zip(told.rows, made.shared.values(), strict=True):
            counts = np.bincount(shared.codes.reshape(-1))
            codes = entropy(counts[1:])
            kept = entropy([row.nonzero, row.n - row.nonzero])
            payload, bound = payload + row.bits_after, bound + codes + kept
        assert told.bits_after == payload
        assert payload <= 1.01 * bound

    def test_lossless_is_lossless(self, published):
        made = compressing.lossless(published)
        data = sqz.encode(made)
        assert len(data) < 545_000
        found = kernels(sqz.decode(data, "x").model)
        for name, kernel in kernels(published).items():
            assert found[name].tobytes() == kernel.tobytes(), name
        assert same(sqz.decode(data, "x"), made)

    def test_its_bits_flipped_at_random(self, published):
        data = sqz.encode(compressing.compress(published, CompressConfig(bits=4)))
        random = np.random.default_rng(0)
        for bit in random.integers(0, 8 * len(data), 20).tolist():
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(InputError):
                sqz.decode(bytes(changed), "x")


def entropy(counts):
    counts = np.asarray(counts, float)
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def test_a_compressed_network_without_anything_shared_is_its_model():
    model = random_model()
    assert same(sqz.decode(sqz.encode(Compressed(model=model)), "x"), Compressed(model=model))
