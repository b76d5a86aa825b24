"""Counts against the published ones, against closed forms and against the network itself."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.agreement import disagreement, random_alexnet, random_squeezenet
from sqzx.architectures import AlexNetConfig, SqueezeNetConfig
from sqzx.config import resolve_model
from sqzx.counting import conv, count, pooled_size
from sqzx.describing import description
from sqzx.errors import ArchitectureError
from sqzx.network import functional, initial_parameters

V1_0 = SqueezeNetConfig()
V1_1 = resolve_model({"model.preset": "squeezenet_v1_1"}, "f")


def v1_0(**changes):
    return SqueezeNetConfig(**changes)


def params(config, shape=(227, 227, 3)):
    return count(config, shape).params


def sides(config, *shape):
    """Heights of conv1 and of every pooled map but the last."""
    modules = count(config, (*shape, 3)).modules
    return [m.output_shape[:2] for m in modules if m.name == "conv1" or m.name.startswith("pool")][:-1]


class TestPublishedParameters:
    def test_v1_0(self):
        assert params(V1_0) == 1_248_424

    def test_v1_1(self):
        assert params(V1_1) == 1_235_496

    def test_complex_bypass(self):
        assert params(v1_0(bypass="complex")) == 1_589_672
        bypasses = [x for x in count(v1_0(bypass="complex"), (227, 227, 3)).layers if "bypass" in x.name]
        assert [(x.name, x.params) for x in bypasses] == [
            ("fire2.bypass", 12_416),
            ("fire4.bypass", 33_024),
            ("fire6.bypass", 98_688),
            ("fire8.bypass", 197_120),
        ]

    def test_simple_bypass_costs_nothing(self):
        simple, none = count(v1_0(bypass="simple"), (227, 227, 3)), count(V1_0, (227, 227, 3))
        assert (simple.params, simple.macs) == (none.params, none.macs)

    def test_squeezenet_small_on_grey_images_of_28_pixels(self):
        small = resolve_model({"model.preset": "squeezenet_small", "model.num_classes": 10}, "f")
        assert params(small, (28, 28, 1)) == 47_258

    def test_each_module_of_table_1(self):
        modules = {m.name: m.params for m in count(V1_0, (227, 227, 3)).modules if m.params}
        assert modules == {
            "conv1": 14_208,
            "fire2": 11_920,
            "fire3": 12_432,
            "fire4": 45_344,
            "fire5": 49_440,
            "fire6": 104_880,
            "fire7": 111_024,
            "fire8": 188_992,
            "fire9": 197_184,
            "conv10": 513_000,
        }

    @pytest.mark.parametrize(
        ("classes", "plain", "with_bypass", "stem_of_v1_1"),
        [
            (10, 740_554, 1_081_802, 727_626),
            (100, 786_724, 1_127_972, 773_796),
            (200, 838_024, 1_179_272, 825_096),
        ],
    )
    def test_other_numbers_of_classes(self, classes, plain, with_bypass, stem_of_v1_1):
        assert params(v1_0(num_classes=classes)) == plain
        assert params(v1_0(num_classes=classes, bypass="complex")) == with_bypass
        assert params(v1_0(num_classes=classes, stem_features=64, stem_kernel=3)) == stem_of_v1_1

    def test_grey_images(self):
        assert params(V1_0, (227, 227, 1)) == 1_239_016
        assert params(V1_1, (227, 227, 1)) == 1_234_344


class TestFigure3:
    """All 14 points of 'Microarchitectural design space exploration' (section 5, Figure 3)."""

    @pytest.mark.parametrize(
        ("squeeze_ratio", "expected"),
        [(0.125, 1_248_424), (0.25, 1_967_080), (0.5, 3_404_392), (0.75, 4_841_704), (1.0, 6_279_016)],
    )
    def test_squeeze_ratio(self, squeeze_ratio, expected):
        assert params(v1_0(squeeze_ratio=squeeze_ratio)) == expected
        assert count(v1_0(squeeze_ratio=squeeze_ratio), (227, 227, 3)).bytes_fp32 == 4 * expected

    @pytest.mark.parametrize(
        ("pct_3x3", "expected"),
        [
            (0.01, 1_478_248),
            (0.125, 1_929_832),
            (0.25, 2_421_352),
            (0.375, 2_912_872),
            (0.5, 3_404_392),
            (0.625, 3_895_912),
            (0.75, 4_387_432),
            (0.875, 4_878_952),
            (0.99, 5_330_536),
        ],
    )
    def test_share_of_3x3_filters(self, pct_3x3, expected):
        assert params(v1_0(squeeze_ratio=0.5, pct_3x3=pct_3x3)) == expected

    @pytest.mark.parametrize(
        ("axis", "values", "millions"),
        [
            ("squeeze_ratio", (0.125, 0.25, 0.5, 0.75, 1.0), (832.7, 1404.9, 2549.5, 3694.0, 4838.5)),
            (
                "pct_3x3",
                (0.01, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.99),
                (991.2, 1356.2, 1753.9, 2151.7, 2549.5, 2947.2, 3345.0, 3742.8, 4107.8),
            ),
        ],
    )
    def test_macs(self, axis, values, millions):
        base = {"squeeze_ratio": 0.5, "conv10_padding": 0}
        found = [count(v1_0(**base | {axis: value}), (227, 227, 3)).macs / 1e6 for value in values]
        assert found == pytest.approx(millions, abs=0.051)


class TestPublishedMacs:
    @pytest.mark.parametrize(
        ("config", "side", "expected"),
        [
            (V1_0, 227, 861_339_936),  # the authors' 1.72 GFLOP
            (v1_0(conv10_padding=0), 224, 818_924_576),  # MXNet's counter
            (V1_1, 224, 349_151_936),
        ],
    )
    def test_exact(self, config, side, expected):
        network = count(config, (side, side, 3))
        assert network.macs == expected
        assert network.flops == 2 * expected

    @pytest.mark.parametrize(
        ("config", "millions"),
        [
            (v1_0(conv10_padding=0), 832.67),
            (v1_0(conv10_padding=0, bypass="complex"), 1183.95),
            (V1_1, 387.75),
            (v1_0(stem_features=64, stem_kernel=3, pool_after=(1, 3, 5), conv10_padding=0), 387.75),
            (
                resolve_model({"model.preset": "squeezenet_v1_1", "model.pool_rounding": "floor"}, "f"),
                352.54,
            ),
        ],
    )
    def test_at_227_pixels(self, config, millions):
        assert count(config, (227, 227, 3)).macs / 1e6 == pytest.approx(millions, abs=0.0051)


class TestMapSizes:
    @pytest.mark.parametrize(
        ("config", "side", "expected"),
        [
            (V1_0, 128, (61, 30, 15, 7)),
            (V1_0, 224, (109, 54, 27, 13)),
            (V1_0, 227, (111, 55, 27, 13)),
            (V1_0, 231, (113, 56, 28, 14)),
            (V1_1, 128, (63, 31, 15, 7)),
            (V1_1, 224, (111, 55, 27, 13)),
            (V1_1, 227, (113, 56, 28, 14)),
            (V1_1, 231, (115, 57, 28, 14)),
        ],
    )
    def test_square_images(self, config, side, expected):
        assert sides(config, side, side) == [(n, n) for n in expected]

    def test_floor_is_what_the_keras_port_has(self):
        floor = resolve_model({"model.preset": "squeezenet_v1_1", "model.pool_rounding": "floor"}, "f")
        assert sides(floor, 227, 227) == [(113, 113), (56, 56), (27, 27), (13, 13)]

    @pytest.mark.parametrize("config", [V1_0, V1_1])
    def test_a_turned_image_costs_the_same(self, config):
        wide, high = count(config, (128, 227, 3)), count(config, (227, 128, 3))
        assert wide.macs == high.macs
        assert [(h, w, c) for w, h, c in (x.output_shape for x in wide.layers)] == [
            x.output_shape for x in high.layers
        ]
        assert sides(config, 227, 128)[0] == (sides(config, 227, 227)[0][0], sides(config, 128, 128)[0][0])

    def test_the_last_map_is_15x15_with_the_authors_padding(self):
        shapes = {m.name: m.output_shape for m in count(V1_0, (227, 227, 3)).modules}
        assert shapes["conv10"] == (15, 15, 1000)
        assert shapes["pool10"] == (1, 1, 1000)

    @given(size=st.integers(3, 500))
    def test_windows_cover_the_map_with_ceil_and_fit_it_with_floor(self, size):
        floor, ceil = pooled_size(size, "floor"), pooled_size(size, "ceil")
        assert 3 + 2 * (floor - 1) <= size < 3 + 2 * floor
        assert 3 + 2 * (ceil - 1) >= size > 3 + 2 * (ceil - 2)


class TestMapsThatVanish:
    @pytest.mark.parametrize(
        ("settings", "smallest"),
        [
            ({}, 21),
            ({"model.preset": "squeezenet_v1_1"}, 17),
            ({"model.preset": "squeezenet_small", "model.stem_padding": 0}, 10),
            ({"model.preset": "squeezenet_small"}, 8),
        ],
    )
    def test_the_smallest_image_of_a_network(self, settings, smallest):
        config = resolve_model(settings, "f")
        assert min(count(config, (smallest, smallest, 3)).layers[-2].output_shape) >= 1
        for shape in ((smallest - 1, smallest, 3), (smallest, smallest - 1, 3)):
            with pytest.raises(ArchitectureError):
                count(config, shape)

    def test_the_error_names_layer_map_image_and_keys(self):
        with pytest.raises(ArchitectureError) as error:
            count(V1_0, (8, 8, 1))
        text = str(error.value)
        assert text.startswith("model: pool1 leaves a map of 0x0 on 8x8 images; ")
        assert "model.stem_stride" in text
        assert "model.pool_after" in text
        assert "\n" not in text

    def test_a_kernel_larger_than_the_image(self):
        with pytest.raises(ArchitectureError, match="model: conv1 leaves a map"):
            count(v1_0(stem_kernel=11, pool_after=()), (10, 10, 1))


class TestClosedForms:
    """Of ImageNet-1000 with the stem of v1.0, base_e = incr_e = 128, freq = 2."""

    @given(n=st.integers(1, 128))
    def test_parameters_grow_linearly_with_the_squeeze_ratio(self, n):
        assert params(v1_0(squeeze_ratio=n / 128)) == 529_768 + 5_749_248 * n // 128

    @given(n=st.integers(1, 127))
    def test_parameters_grow_linearly_with_the_share_of_3x3_filters(self, n):
        assert params(v1_0(squeeze_ratio=0.5, pct_3x3=n / 128)) == 1_438_312 + 3_932_160 * n // 128

    @given(classes=st.integers(2, 10**6))
    def test_a_class_costs_513_parameters(self, classes):
        assert params(v1_0(num_classes=classes)) == 735_424 + 513 * classes

    @given(
        base_e=st.integers(2, 300),
        incr_e=st.integers(0, 300),
        freq=st.integers(1, 8),
        ratio=st.floats(0.3, 1),
        pct=st.floats(0.3, 0.7),
    )
    def test_the_sum_over_fire_modules(self, base_e, incr_e, freq, ratio, pct):
        config = v1_0(base_e=base_e, incr_e=incr_e, freq=freq, squeeze_ratio=ratio, pct_3x3=pct)
        total, c_in = 96 * (3 * 49 + 1), 96
        for i in range(8):
            e = base_e + incr_e * math.floor(i / freq)
            s, e3 = math.floor(ratio * e + 0.5), math.floor(pct * e + 0.5)
            e1 = e - e3
            total += c_in * s + s + s * e1 + e1 + 9 * s * e3 + e3
            c_in = e
        assert params(config) == total + 1000 * (c_in + 1)

    @given(
        side=st.integers(1, 60), kernel=st.integers(1, 7), stride=st.integers(1, 3), padding=st.integers(0, 3)
    )
    def test_a_convolutions_map_is_as_many_windows_as_fit(self, side, kernel, stride, padding):
        windows = len(range(0, side + 2 * padding - kernel + 1, stride))
        layer = conv("x", (side, side, 2), 5, kernel, stride, padding)
        assert max(0, layer.output_shape[0]) == windows
        if windows:
            assert layer.macs == windows**2 * kernel**2 * 2 * 5


class TestTheNetworkItself:
    @pytest.mark.parametrize("seed", range(100))
    def test_parameters_and_maps_agree_with_the_module(self, seed):
        assert disagreement(*random_squeezenet(seed)) is None

    def test_a_disagreement_would_be_seen(self, monkeypatch):
        honest = count(V1_1, (40, 40, 3))
        shrunk = [m._replace(output_shape=(1, 1, 64)) if m.name == "pool1" else m for m in honest.modules]
        for modules, told in ((shrunk, "maps"), (honest.modules[1:], "parameters")):
            wrong = honest._replace(modules=tuple(modules))
            monkeypatch.setattr("benchmarks.agreement.count", lambda *_, wrong=wrong: wrong)
            assert disagreement(V1_1, (40, 40, 3)).startswith(told)

    @pytest.mark.parametrize("seed", range(25))
    def test_parameters_and_maps_of_alexnets_agree_with_the_module(self, seed):
        assert disagreement(*random_alexnet(seed)) is None

    @pytest.mark.parametrize(
        ("settings", "shape", "width"),
        [
            ({"base_e": 8, "incr_e": 8, "num_fires": 3, "pool_after": (1, 3), "stem_padding": 1,
              "squeeze_ratio": 0.5, "bypass": "complex", "num_classes": 10}, (33, 29, 3), 0.5),
            ({"preset": "squeezenet_v1_0"}, (227, 227, 3), 0.2),
            ({"preset": "squeezenet_v1_0", "bypass": "simple"}, (224, 224, 3), 0.2),
            ({"preset": "squeezenet_v1_1"}, (128, 227, 3), 0.2),
            ({"preset": "squeezenet_small"}, (28, 28, 1), 0.5),
            ({"preset": "alexnet"}, (227, 227, 3), 0.2),
            ({"preset": "alexnet_small"}, (28, 28, 1), 0.2),
        ],
        ids=["odd", "v1_0", "bypass", "v1_1", "small", "alexnet", "alexnet_small"],
    )  # fmt: skip
    def test_xlas_cost_lies_between_macs_without_padding_and_macs_with_elementwise_work(
        self, settings, shape, width
    ):
        config = resolve_model({f"model.{key}": value for key, value in settings.items()}, "f")
        network = count(config, shape)
        apply, _ = functional(config, shape, 0)
        abstract = jax.eval_shape(lambda: initial_parameters(config, shape, 0))
        images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        flops = jax.jit(apply).lower(abstract, images).cost_analysis()["flops"]
        least = 2 * sum(_macs_without_padding(config, network))
        # An activation, a bias, the maxima of a pool; a normalisation squares, sums, scales and divides.
        elementwise = sum((20 if x.kind == "norm" else 4) * x.activations for x in network.layers)
        assert least <= flops <= network.flops + elementwise
        assert network.flops - least < 0.25 * network.flops, "the bracket is wide"
        assert elementwise < width * network.flops, "the bracket is wide"


def _macs_without_padding(config, network):
    """MACs of each layer, the taps on padding left out, by counting windows on the map."""

    @functools.cache
    def taps(side, kernel, stride, padding):
        starts = range(-padding, side + padding - kernel + 1, stride)
        return sum(0 <= start + i < side for start in starts for i in range(kernel))

    def padding_of(name):
        if name.startswith("conv") and isinstance(config, AlexNetConfig):
            return config.conv_paddings[int(name.removeprefix("conv")) - 1]
        if name == "conv1":
            return config.stem_padding
        if name == "conv10":
            return config.conv10_padding
        return 1 if name.endswith("expand3x3") else 0

    height, width, _ = network.input_shape
    for module in network.modules:
        for layer in module.layers:
            if layer.kernel_shape:
                rows, columns, inputs, features = layer.kernel_shape
                padding = padding_of(layer.name)
                both = taps(height, rows, layer.stride, padding) * taps(width, columns, layer.stride, padding)
                yield both * inputs * features
        height, width, _ = module.output_shape


def test_the_peak_is_the_largest_input_and_output_of_one_layer():
    # conv1's map and what is pooled from it; conv1 itself sees 227 * 227 * 3 and makes 111 * 111 * 96.
    assert count(V1_0, (227, 227, 3)).peak_activations == 111 * 111 * 96 + 55 * 55 * 96
    one = v1_0(num_fires=1, base_e=2, squeeze_ratio=0.5, stem_features=1, stem_kernel=1, pool_after=())
    layers = {x.name: x.activations for x in count(one, (9, 9, 1)).layers}
    assert layers == {
        "conv1": 81 + 25,
        "fire2.squeeze": 25 + 25,
        "fire2.expand1x1": 25 + 25,
        "fire2.expand3x3": 25 + 25,
        "conv10": 2 * 25 + 49 * 1000,
        "pool10": 49 * 1000 + 1000,
    }


def test_a_description_adds_up():
    told = description(count(V1_0, (227, 227, 3)))
    assert told["input_shape"] == [227, 227, 3]
    assert sum(layer["params"] for layer in told["layers"]) == told["params"] == 1_248_424
    assert sum(layer["macs"] for layer in told["layers"]) == told["macs"]
    assert (told["flops"], told["bytes_fp32"]) == (2 * told["macs"], 4 * told["params"])
    assert told["layers"][0]["output_shape"] == [111, 111, 96]


class TestAlexNet:
    """Caffe's bvlc_alexnet, with groups: the yardstick of the paper's Table 2."""

    ALEXNET = resolve_model({"model.preset": "alexnet"}, "f")

    def test_the_published_network(self):
        network = count(self.ALEXNET, (227, 227, 3))
        assert (network.params, network.macs) == (60_965_224, 724_406_816)
        assert network.bytes_fp32 == 243_860_896
        assert [m.output_shape[0] for m in network.modules if m.name.startswith(("conv", "pool"))] == [
            *(55, 27),
            *(27, 13),
            *(13, 13, 13, 6),
        ]
        assert network.bytes_fp32 / count(V1_0, (227, 227, 3)).bytes_fp32 == pytest.approx(48.83, abs=0.005)

    def test_each_layer(self):
        params = {m.name: m.params for m in count(self.ALEXNET, (227, 227, 3)).modules if m.params}
        assert params == {
            "conv1": 11 * 11 * 3 * 96 + 96,
            "conv2": 5 * 5 * 48 * 256 + 256,
            "conv3": 3 * 3 * 256 * 384 + 384,
            "conv4": 3 * 3 * 192 * 384 + 384,
            "conv5": 3 * 3 * 192 * 256 + 256,
            "fc6": 6 * 6 * 256 * 4096 + 4096,
            "fc7": 4096 * 4096 + 4096,
            "fc8": 4096 * 1000 + 1000,
        }

    def test_torchvisions_network_is_other_lists(self):
        config = dataclasses.replace(
            self.ALEXNET,
            conv_features=(64, 192, 384, 256, 256),
            conv_paddings=(2, 2, 1, 1, 1),
            conv_groups=(1,) * 5,
            lrn_after=(),
            pool_rounding="floor",
        )
        layers = (64 * 363 + 64, 192 * 1600 + 192, 384 * 1728 + 384, 256 * 3456 + 256, 256 * 2304 + 256)
        dense = (4096 * 9216 + 4096, 4096 * 4096 + 4096, 1000 * 4096 + 1000)
        assert params(config, (224, 224, 3)) == sum(layers) + sum(dense) == 61_100_840

    def test_the_small_one(self):
        config = resolve_model({"model.preset": "alexnet_small", "model.num_classes": 10}, "f")
        assert params(config, (28, 28, 1)) == 1_795_258

    def test_the_peak_is_the_first_normalisation(self):
        """Which can't be computed in place: each value is needed by its neighbours."""
        network = count(self.ALEXNET, (227, 227, 3))
        assert network.peak_activations == 2 * 55 * 55 * 96
        without = count(dataclasses.replace(self.ALEXNET, lrn_after=()), (227, 227, 3))
        assert without.peak_activations == 227 * 227 * 3 + 55 * 55 * 96

    def test_images_that_are_too_small_or_of_undivided_channels_are_refused(self):
        with pytest.raises(ArchitectureError, match="model: pool5 leaves a map of 0x0 on 35x35 images"):
            count(self.ALEXNET, (35, 35, 3))
        grouped = dataclasses.replace(self.ALEXNET, conv_groups=(2, 2, 1, 2, 2))
        with pytest.raises(ArchitectureError, match="conv1 can't have 2 groups: they don't divide 3"):
            count(grouped, (227, 227, 3))
