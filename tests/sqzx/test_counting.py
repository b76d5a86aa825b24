"""Counts against the published ones, against closed forms and against the network itself."""

import functools
import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from sqzx.config import SqueezeNetConfig, resolve_model
from sqzx.counting import conv, count, pooled_size
from sqzx.describing import description
from sqzx.errors import ArchitectureError
from sqzx.network import SqueezeNet, functional

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
    @pytest.mark.parametrize("seed", range(40))
    def test_parameters_and_maps_agree_with_the_module(self, random_network, seed):
        config, shape = random_network(seed)
        graph, state = nnx.split(nnx.eval_shape(lambda: SqueezeNet(config, shape[2], rngs=nnx.Rngs(0))))
        maps = jax.eval_shape(
            lambda state, images: nnx.merge(graph, state).maps(images),
            state,
            jax.ShapeDtypeStruct((2, *shape), jnp.float32),
        )
        network = count(config, shape)
        built = {
            name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(part))
            for name, part in nnx.to_pure_dict(state).items()
        }
        assert built == {m.name: m.params for m in network.modules if m.params}
        shapes = {name: x.shape[1:] for name, x in maps.items()}
        assert shapes.pop("logits") == (config.num_classes,)
        *modules, mean = network.modules
        assert shapes == {m.name: m.output_shape for m in modules}
        assert mean.output_shape == (1, 1, config.num_classes)

    def test_xlas_cost_lies_between_macs_without_padding_and_macs_with_elementwise_work(self):
        config = v1_0(
            base_e=8,
            incr_e=8,
            num_fires=3,
            pool_after=(1, 3),
            stem_features=8,
            stem_padding=1,
            squeeze_ratio=0.5,
            bypass="complex",
            num_classes=10,
        )
        shape = (33, 29, 3)
        network = count(config, shape)
        apply, parameters = functional(config, 3, 0)
        images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        flops = jax.jit(apply).lower(parameters, images).cost_analysis()["flops"]
        least = 2 * sum(_macs_without_padding(config, network))
        elementwise = sum(4 * layer.activations for layer in network.layers)
        assert least <= flops <= network.flops + elementwise
        assert network.flops - least < 0.25 * network.flops, "the bracket is wide"
        assert elementwise < 0.5 * network.flops, "the bracket is wide"


def _macs_without_padding(config, network):
    """MACs of each convolution, the taps on padding left out, by counting windows on the map."""

    @functools.cache
    def taps(side, kernel, stride, padding):
        starts = range(-padding, side + padding - kernel + 1, stride)
        return sum(0 <= start + i < side for start in starts for i in range(kernel))

    height, width, channels = network.input_shape
    for module in network.modules:
        for layer in module.layers:
            if layer.kind != "conv":
                continue
            features = layer.output_shape[2]
            kernel, stride, padding, inputs = 1, 1, 0, channels
            if layer.name == "conv1":
                kernel, stride, padding = config.stem_kernel, config.stem_stride, config.stem_padding
            elif layer.name == "conv10":
                padding = config.conv10_padding
            elif layer.name.endswith("expand3x3"):
                kernel, padding, inputs = 3, 1, module.widths.squeeze
            elif layer.name.endswith("expand1x1"):
                inputs = module.widths.squeeze
            yield (
                taps(height, kernel, stride, padding)
                * taps(width, kernel, stride, padding)
                * inputs
                * features
            )
        height, width, channels = module.output_shape


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
