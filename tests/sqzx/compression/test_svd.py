"""Ranks, factors and shapes, against NumPy and against a count by hand."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqzx.compression import svd
from sqzx.compression.kernels import kernels_of
from sqzx.compression.svd import (
    check_ranks,
    factor,
    factored,
    factored_params,
    factored_shapes,
    multiplied,
    ranks_by_bytes,
    ranks_by_energy,
    sides,
)
from sqzx.config import resolve_model
from sqzx.counting import count, parametric_layers
from sqzx.errors import InputError
from sqzx.network import initial_parameters

SHAPES = [
    ((3, 3, 4, 6), 1),
    ((3, 3, 4, 6), 2),
    ((5, 5, 2, 12), 3),
    ((1, 1, 8, 6), 1),
    ((20, 7), 1),
    ((3, 9), 1),
]


def grouped(kernel, groups):
    """The matrix of each group."""
    parts = np.split(kernel, groups, axis=-1)
    return [part.reshape(-1, part.shape[-1]).astype(np.float64) for part in parts]


class TestFactors:
    @pytest.mark.parametrize(("shape", "groups"), SHAPES)
    @pytest.mark.parametrize("rank", [1, 2])
    def test_are_the_nearest_of_their_rank(self, shape, groups, rank):
        """Eckart and Young: what is lost is the sum of the squares of the singular values left out."""
        kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        first, second = factor(kernel, rank, groups)
        assert first.shape == (*shape[:-1], groups * rank)
        assert second.shape == ((rank, shape[-1]) if len(shape) == 2 else (1, 1, rank, shape[-1]))
        assert first.dtype == second.dtype == np.float32
        assert first.flags.c_contiguous
        lost = np.square(kernel - multiplied(first, second, groups).astype(np.float64)).sum()
        values = [np.linalg.svd(m, compute_uv=False) for m in grouped(kernel, groups)]
        assert lost == pytest.approx(sum(np.square(v[rank:]).sum() for v in values), rel=1e-4)

    @pytest.mark.parametrize(("shape", "groups"), SHAPES)
    def test_of_full_rank_are_the_kernel(self, shape, groups):
        kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        full = min(math.prod(shape[:-1]), shape[-1] // groups)
        np.testing.assert_allclose(multiplied(*factor(kernel, full, groups), groups), kernel, atol=2e-6)

    def test_share_the_singular_values_evenly(self):
        kernel = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
        first, second = factor(kernel, 3)
        np.testing.assert_allclose((first**2).sum(axis=0), (second**2).sum(axis=1), rtol=1e-5)


def small(**changes):
    return resolve_model(
        {"model.preset": "squeezenet_small", "model.base_e": 16, "model.incr_e": 8, "model.num_fires": 2,
         "model.stem_features": 12,
            "model.pool_after": (1,), "model.squeeze_ratio": 0.5} | changes, "f"
    )  # fmt: skip


ALEXNET = {
    "model.preset": "alexnet_small",
    "model.conv_features": (8, 12),
    "model.conv_kernels": (3, 5),
    "model.conv_paddings": (1, 2),
    "model.conv_groups": (1, 2),
    "model.lrn_after": (1,),
    "model.pool_after": (2,),
    "model.fc_features": (24,),
    "model.num_classes": 7,
}
IMAGE = (8, 8, 3)


@pytest.fixture(scope="module")
def alexnet():
    config = resolve_model(ALEXNET, "f")
    return config, initial_parameters(config, IMAGE, 0), parametric_layers(config, IMAGE)


class TestBreakEven:
    def test_is_where_two_layers_have_as_many_weights_as_one(self, alexnet):
        for layer in alexnet[2]:
            matrix = sides(layer)
            weights = layer.params - layer.kernel_shape[-1]
            for rank in (matrix.most, matrix.most + 1):
                shape = layer.kernel_shape
                first = math.prod(shape[:3]) * layer.groups * rank
                second = rank * shape[3]
                assert matrix.weights(rank) == first + second
                assert (first + second < weights) == (rank <= matrix.most)

    def test_is_refused_with_the_numbers(self, alexnet):
        _, parameters, layers = alexnet
        # conv2: 12 filters of 5 x 5 x 4 in two groups; 2 x 100 + 12 weights for each rank, of 1,200.
        with pytest.raises(InputError) as told:
            check_ranks(layers, {"conv2": 6})
        assert str(told.value) == (
            "conv2: rank 6 saves nothing: 6 x (200 + 12) = 1,272 weights for the 1,200 of the layer; "
            "use at most 5"
        )
        check_ranks(layers, {"conv2": 5})
        with pytest.raises(InputError, match="conv2: rank 6 saves nothing"):
            factored(parameters, layers, {"conv2": 6})

    def test_of_exactly_as_many_weights_saves_nothing(self):
        layers = parametric_layers(small(), (8, 8, 1))
        squeeze = next(layer for layer in layers if layer.name == "fire2.squeeze")
        assert squeeze.kernel_shape == (1, 1, 12, 8)  # 96 weights, 20 a rank
        assert sides(squeeze).most == 4
        assert sides(squeeze._replace(kernel_shape=(1, 1, 4, 4))).most == 1  # 2 x 8 = 16

    def test_leaves_some_layers_no_rank_at_all(self):
        layers = parametric_layers(small(**{"model.squeeze_ratio": 0.05}), (8, 8, 1))
        with pytest.raises(
            InputError, match=r"fire2.squeeze: rank 1 saves nothing.*; leave this layer whole"
        ):
            check_ranks(layers, {"fire2.squeeze": 1})

    @pytest.mark.parametrize(
        ("ranks", "told"),
        [
            ({"conv3": 1}, "conv3: there is no such layer; is it conv"),
            ({"x": 1}, "x: there is no such layer$"),
            ({"conv2": 0}, "conv2: rank needs at least 1, found 0"),
        ],
    )
    def test_is_asked_of_layers_that_there_are(self, alexnet, ranks, told):
        with pytest.raises(InputError, match=told):
            check_ranks(alexnet[2], ranks)


class TestRanksByEnergy:
    def test_are_the_least_that_keep_it(self, alexnet):
        _, parameters, layers = alexnet
        ranks = ranks_by_energy(parameters, layers, 0.9)
        assert 0 < len(ranks) < len(layers)  # some save at that rank, some don't
        for layer in layers:
            kernel = kernels_of(parameters)[layer.name].astype(np.float64)
            energy, shares = np.square(kernel).sum(), [0.0]
            for rank in range(1, 25):
                low = multiplied(*factor(kernel, rank, layer.groups), layer.groups).astype(np.float64)
                shares.append(np.square(low).sum() / energy)
            least = next(rank for rank, share in enumerate(shares) if share >= 0.9)
            assert ranks.get(layer.name) == (least if least <= sides(layer).most else None)

    def test_rise_with_the_share(self, alexnet):
        _, parameters, layers = alexnet
        low, high = (ranks_by_energy(parameters, layers, share) for share in (0.1, 0.4))
        assert all(low[name] <= rank for name, rank in high.items())
        assert low != high

    @pytest.mark.parametrize("share", [0, 1, -1, float("nan")])
    def test_need_a_share(self, alexnet, share):
        with pytest.raises(InputError, match="energy: needs more than 0 and less than 1, found"):
            ranks_by_energy(alexnet[1], alexnet[2], share)

    def test_of_a_layer_of_zeros_are_1(self, alexnet):
        _, parameters, layers = alexnet
        zeros = jax.tree.map(np.zeros_like, parameters)
        assert set(ranks_by_energy(zeros, layers, 0.9).values()) == {1}


class TestRanksByBytes:
    @pytest.mark.parametrize("share_of", [0.25, 0.5, 0.75, 0.9, 1.0])
    def test_keep_the_whole_network_within_them(self, alexnet, share_of):
        config, parameters, layers = alexnet
        most = share_of * count(config, IMAGE).bytes_fp32
        ranks = ranks_by_bytes(parameters, layers, most)
        size = 4 * factored_params(config, IMAGE, ranks)
        assert size <= most
        assert size > most - 4 * 1500  # the largest step, from some rank to the whole of a layer
        assert (ranks == {}) == (share_of == 1.0)

    def test_go_to_the_layer_that_gains_most(self, alexnet):
        config, parameters, layers = alexnet
        random = np.random.default_rng(0)
        # fc3 is of rank 2, all others of full rank.
        low = (random.normal(size=(192, 2)) @ random.normal(size=(2, 24))).astype(np.float32)
        name = layers[2].name
        parameters = parameters | {name: parameters[name] | {"kernel": low}}
        ranks = ranks_by_bytes(parameters, layers, 0.9 * count(config, IMAGE).bytes_fp32)
        assert ranks == {name: 2}

    def test_too_few_are_refused_with_the_number_needed(self, alexnet):
        config, parameters, layers = alexnet
        one = {layer.name: 1 for layer in layers if sides(layer).most}
        needed = 4 * factored_params(config, IMAGE, one)
        assert ranks_by_bytes(parameters, layers, needed) == one
        with pytest.raises(InputError, match=f"bytes: 100 are too few, {needed:,} are needed at rank 1"):
            ranks_by_bytes(parameters, layers, 100)


class TestAFactoredNetwork:
    def test_has_the_shapes_that_are_said(self, alexnet):
        config, parameters, layers = alexnet
        ranks = {"conv2": 3, "fc3": 4}
        tree = factored(parameters, layers, ranks)
        shapes = factored_shapes(config, IMAGE, ranks)
        assert {name: kernel.shape for name, kernel in kernels_of(tree).items()} == shapes
        assert list(shapes) == ["conv1", "conv2.first", "conv2.second", "fc3.first", "fc3.second", "fc4"]
        assert shapes["conv2.first"] == (5, 5, 4, 6)
        assert shapes["conv2.second"] == (1, 1, 3, 12)
        assert sum(leaf.size for leaf in jax.tree.leaves(tree)) == factored_params(config, IMAGE, ranks)
        assert tree["conv2"]["first"].keys() == {"kernel"}
        assert np.array_equal(tree["conv2"]["second"]["bias"], parameters["conv2"]["bias"])

    def test_without_ranks_is_the_plain_one(self, alexnet):
        config, parameters, layers = alexnet
        assert factored_params(config, IMAGE, {}) == count(config, IMAGE).params
        assert list(factored_shapes(config, IMAGE, {})) == [layer.name for layer in layers]
        same = factored(parameters, layers, {})
        assert jax.tree.all(jax.tree.map(np.array_equal, same, parameters))

    def test_becomes_one_again(self, alexnet):
        _, parameters, layers = alexnet
        ranks = {"conv1": 2, "conv2": 3, "fc3": 4}
        tree = svd.whole(factored(parameters, layers, ranks), layers, ranks)
        assert jax.tree.structure(tree) == jax.tree.structure(parameters)
        groups = {layer.name: layer.groups for layer in layers}
        for name, rank in ranks.items():
            kernel = parameters[name]["kernel"]
            low = multiplied(*factor(kernel, rank, groups[name]), groups[name])
            assert np.array_equal(tree[name]["kernel"], low)
            assert tree[name]["kernel"].shape == kernel.shape
        assert np.array_equal(tree["fc4"]["kernel"], parameters["fc4"]["kernel"])

    @given(st.data())
    def test_shapes_refuse_what_saves_nothing(self, data):
        config = small()
        layers = parametric_layers(config, (8, 8, 1))
        layer = data.draw(st.sampled_from(layers))
        rank = data.draw(st.integers(1, 20))
        fits = rank <= sides(layer).most
        try:
            shapes = factored_shapes(config, (8, 8, 1), {layer.name: rank})
        except InputError:
            assert not fits
        else:
            assert fits
            pair = [shapes[f"{layer.name}.{part}"] for part in ("first", "second")]
            assert sum(map(math.prod, pair)) < math.prod(layer.kernel_shape)


def test_alexnet_at_rank_256_of_its_dense_layers_is_the_fifth_of_the_papers_table():
    """'SVD: 240MB -> 48MB' (Table 2); the paper gives no ranks, these are ours."""
    config = resolve_model({"model.preset": "alexnet"}, "f")
    params = factored_params(config, (227, 227, 3), {"fc6": 256, "fc7": 256})
    conv, fc8 = 2_334_080, 4_097_000
    assert params == conv + 256 * (9_216 + 4_096) + 4_096 + 256 * (4_096 + 4_096) + 4_096 + fc8
    assert round(4 * params / 1e6) == 48
