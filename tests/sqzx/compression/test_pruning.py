"""What is kept against the paper's counts and a slow twin; that no optimiser brings a pruned weight back."""

from decimal import ROUND_CEILING, Decimal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.compression.densities import ALEXNET, SQUEEZENET_V1_0
from sqzx.compression.kernels import kernels_of
from sqzx.compression.pruning import (
    adjusted_dropout,
    density_mask,
    density_masks,
    density_of_round,
    kept_count,
    masked,
    masks_of,
    pruned,
    threshold_mask,
    threshold_masks,
)
from sqzx.config import TRAIN_RECIPES, TrainConfig, resolve_model
from sqzx.counting import parametric_layers
from sqzx.errors import InputError
from sqzx.network import initial_parameters
from sqzx.optimizer import make_optimizer

PAPER = {k.removeprefix("train."): v for k, v in TRAIN_RECIPES["paper"].items()}


def network(seed=0):
    """Two layers, the second inside of a module; names that sort otherwise than they run."""
    random = np.random.default_rng(seed)

    def layer(*shape):
        kernel = random.normal(size=shape).astype(np.float32)
        return {"kernel": kernel, "bias": random.normal(size=shape[-1]).astype(np.float32)}

    return {"stem": layer(3, 3, 1, 4), "fire2": {"squeeze": layer(1, 1, 4, 5)}, "fc": layer(20, 3)}


class TestTheNumberKept:
    @given(
        density=st.decimals("0.0001", "1", places=4),
        weights=st.integers(0, 10**7),
        kind=st.sampled_from([float, np.float64, np.float32, str]),
    )
    def test_is_that_of_the_decimal_as_it_is_written(self, density, weights, kind):
        exact = int((density * weights).to_integral_value(ROUND_CEILING))
        assert kept_count(kind(density), weights) == exact

    def test_is_7_of_100_at_07_though_the_double_is_more(self):
        assert Decimal.from_float(0.07) * 100 > 7
        assert kept_count(0.07, 100) == 7

    @pytest.mark.parametrize("density", [0, 0.0, -0.5, 1.0000001, float("nan"), float("inf"), "half"])
    def test_refuses_what_is_no_density(self, density):
        with pytest.raises(InputError, match=f"density: needs more than 0 and at most 1, found {density}"):
            kept_count(density, 10)

    def test_is_never_0(self):
        assert kept_count(1e-9, 1) == 1


class TestTheWeightsKept:
    @given(
        values=st.lists(st.integers(-3, 3), min_size=1, max_size=40),
        density=st.sampled_from([0.05, 0.2, 0.33, 0.5, 1]),
    )
    def test_are_the_largest_and_of_equal_ones_the_first(self, values, density):
        kernel = np.array(values, np.float32).reshape(1, -1)
        order = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))
        expected = sorted(order[: kept_count(density, len(values))])
        mask = density_mask(kernel, density)
        assert mask.dtype == bool
        assert mask.shape == kernel.shape
        assert np.flatnonzero(mask).tolist() == expected

    def test_are_the_first_of_the_kernel_where_all_are_equal(self):
        mask = density_mask(np.full((2, 2, 3, 5), -0.1, np.float32), 0.2)
        assert np.flatnonzero(mask).tolist() == list(range(12))

    def test_are_those_of_at_least_a_number_of_standard_deviations(self):
        kernel = np.array([[3, -3, 1, -1]], np.float32)  # the deviation is the root of 5, 2.236
        assert threshold_mask(kernel, 1.0).tolist() == [[True, True, False, False]]
        assert threshold_mask(kernel, 0.4).all()
        assert not threshold_mask(kernel, 1.4).any()
        assert threshold_mask(np.full(3, 0.5, np.float32), 2).all()  # no deviation, no threshold

    @pytest.mark.parametrize("quality", [-1, float("nan"), float("inf")])
    def test_refuses_what_is_no_quality(self, quality):
        with pytest.raises(InputError, match="quality: needs a finite number"):
            threshold_mask(np.ones(3), quality)


ROWS = {  # the paper's Table 1, "#parameter after pruning"
    "conv1": 14_208, "fire2": 5_746, "fire3": 6_258, "fire4": 20_646, "fire5": 24_742,
    "fire6": 44_700, "fire7": 46_236, "fire8": 77_581, "fire9": 77_581, "conv10": 103_400,
}  # fmt: skip


class TestThePapersDensities:
    """'The number of parameters after pruning: 421,098 (total)' (Table 1)."""

    def test_of_squeezenet_give_each_row_of_its_table_and_the_total(self):
        layers = parametric_layers(resolve_model({"model.preset": "squeezenet_v1_0"}, "f"), (227, 227, 3))
        assert {layer.name for layer in layers} == SQUEEZENET_V1_0.keys()
        rows = dict.fromkeys(ROWS, 0)
        for layer in layers:
            biases = layer.kernel_shape[-1]
            rows[layer.module] += kept_count(SQUEEZENET_V1_0[layer.name], layer.params - biases) + biases
        assert rows == ROWS
        assert sum(rows.values()) == 421_098

    def test_of_alexnet_keep_a_ninth(self):
        """'from 61 million to 6.7 million' (Han et al. 2015, abstract); Table 4 rounds to 11 %."""
        layers = parametric_layers(resolve_model({"model.preset": "alexnet"}, "f"), (227, 227, 3))
        assert [layer.name for layer in layers] == list(ALEXNET)
        kept = sum(kept_count(ALEXNET[layer.name], layer.params - layer.kernel_shape[-1]) for layer in layers)
        assert kept / sum(layer.params for layer in layers) == pytest.approx(0.11, abs=0.005)

    def test_prune_a_network(self):
        config = resolve_model({"model.preset": "squeezenet_v1_0"}, "f")
        parameters = initial_parameters(config, (227, 227, 3), seed=0)
        sparse = pruned(parameters, density_masks(parameters, SQUEEZENET_V1_0))
        kept = sum(int((kernel != 0).sum()) for kernel in kernels_of(sparse).values())
        biases = 3_976
        assert kept + biases == 421_098


class TestMasks:
    def test_prune_the_layers_asked_for_and_no_bias(self):
        parameters = network()
        masks = density_masks(parameters, {"fire2.squeeze": 0.3})
        assert jax.tree.structure(masks) == jax.tree.structure(parameters)
        assert masks["fire2"]["squeeze"]["kernel"].sum() == 6
        everything = [masks["stem"]["kernel"], masks["fire2"]["squeeze"]["bias"], masks["fc"]["kernel"]]
        assert all(mask.all() for mask in everything)
        sparse = pruned(parameters, masks)
        kernel = sparse["fire2"]["squeeze"]["kernel"]
        assert kernel.dtype == np.float32
        assert (kernel == 0).sum() == 14
        assert not np.signbit(kernel[kernel == 0]).any()
        assert np.array_equal(sparse["fire2"]["squeeze"]["bias"], parameters["fire2"]["squeeze"]["bias"])
        assert list(sparse) == list(parameters)  # in running order still

    def test_of_a_sparse_network_keep_it_as_it_is(self):
        parameters = network()
        masks = density_masks(parameters, {"fc": 0.5, "stem": 0.1})
        again = masks_of(pruned(parameters, masks))
        assert jax.tree.all(jax.tree.map(np.array_equal, masks, again))

    def test_by_quality(self):
        parameters = network()
        masks = threshold_masks(parameters, {"fc": 1.0})
        kernel = parameters["fc"]["kernel"]
        assert np.array_equal(masks["fc"]["kernel"], np.abs(kernel) >= kernel.std())
        assert masks["stem"]["kernel"].all()

    @pytest.mark.parametrize(
        ("make", "asked", "told"),
        [
            (density_masks, {"fire2.sqeeze": 1}, "^fire2.sqeeze: there is no such layer; is it fire2.s"),
            (density_masks, {"x": 0.5}, "^x: there is no such layer$"),
            (density_masks, {"fc": 0}, "^fc: density: needs more than 0"),
            (threshold_masks, {"fc": 9}, "^fc: no weight would be kept at 9, and the network would be dead"),
        ],
    )  # fmt: skip
    def test_that_cannot_be_are_refused_with_the_layers_name(self, make, asked, told):
        with pytest.raises(InputError, match=told):
            make(network(), asked)


OPTIMIZERS = {
    "adamw": make_optimizer(TrainConfig(weight_decay=0.1, learning_rate=0.1), 30),
    "caffe_sgd": make_optimizer(TrainConfig(**PAPER | {"weight_decay": 0.1, "learning_rate": 0.1}), 30),
    "nesterov": optax.sgd(0.1, 0.9, nesterov=True),
    "restless": optax.chain(optax.adam(0.1), optax.add_noise(0.1, 0.1, 0)),
}


class TestTheMaskedOptimizer:
    def trained(self, optimizer, parameters, steps=30):
        random = np.random.default_rng(1)

        @jax.jit
        def step(parameters, state, gradients):
            moves, state = optimizer.update(gradients, state, parameters)
            return optax.apply_updates(parameters, moves), state

        state = optimizer.init(parameters)
        for _ in range(steps):
            gradients = jax.tree.map(lambda p: random.normal(size=p.shape).astype(np.float32), parameters)
            parameters, state = step(parameters, state, gradients)
            yield parameters, state

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_never_brings_a_weight_back(self, name):
        parameters = network()
        masks = density_masks(parameters, {"stem": 0.4, "fire2.squeeze": 0.2, "fc": 0.05})
        # The weights that were not pruned beforehand are from the first step on.
        for start in (pruned(parameters, masks), parameters):
            for found, _ in self.trained(masked(OPTIMIZERS[name], masks), start):
                for layer, kernel in kernels_of(found).items():
                    out = np.asarray(kernel)[~kernels_of(masks)[layer]]
                    assert out.size
                    assert (out == 0).all(), layer
                    assert not np.signbit(out).any()
            assert all((np.asarray(k) != 0).any() for k in kernels_of(found).values())

    @pytest.mark.parametrize("name", ["adamw", "caffe_sgd", "nesterov"])
    def test_without_masks_weights_come_back(self, name):
        parameters = network()
        sparse = pruned(parameters, density_masks(parameters, {"fc": 0.05}))
        *_, (found, _) = self.trained(OPTIMIZERS[name], sparse)
        assert (np.asarray(found["fc"]["kernel"]) != 0).all()

    def test_moves_what_is_kept_as_the_optimizer_does_alone(self):
        parameters = network()
        masks = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), parameters)
        *_, (ours, _) = self.trained(masked(OPTIMIZERS["adamw"], masks), parameters)
        *_, (theirs, _) = self.trained(OPTIMIZERS["adamw"], parameters)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)

    def test_clips_by_the_norm_of_what_is_kept(self):
        parameters = {"fc": {"kernel": np.float32([[1.0], [0.0]]), "bias": np.zeros(1, np.float32)}}
        optimizer = masked(optax.clip_by_global_norm(1.0), masks_of(parameters))
        gradients = {"fc": {"kernel": np.float32([[0.5], [100.0]]), "bias": np.zeros(1, np.float32)}}
        moves, _ = optimizer.update(gradients, optimizer.init(parameters), parameters)
        assert moves["fc"]["kernel"].ravel().tolist() == [0.5, 0.0]

    def test_other_masks_are_no_other_program(self):
        parameters = network()
        first = masked(OPTIMIZERS["adamw"], density_masks(parameters, {"fc": 0.5}))
        second = masked(OPTIMIZERS["adamw"], density_masks(parameters, {"fc": 0.1}))
        texts = {
            str(jax.make_jaxpr(o.update)(parameters, o.init(parameters), parameters)) for o in (first, second)
        }
        assert len(texts) == 1

    def test_needs_the_parameters(self):
        optimizer = masked(optax.sgd(0.1), masks_of(network()))
        with pytest.raises(ValueError, match="needs the parameters"):
            optimizer.update(network(), optimizer.init(network()))


def test_dense_again_pruned_weights_start_at_0_and_train():
    """'We initialize the pruned weights as 0 and retrain' (DSD): survivors keep their values."""
    parameters = network()
    masks = density_masks(parameters, {"fc": 0.3})
    sparse = pruned(parameters, masks)
    kernel, keep = sparse["fc"]["kernel"], masks["fc"]["kernel"]
    assert np.array_equal(kernel[keep], parameters["fc"]["kernel"][keep])
    optimizer = optax.sgd(0.1)
    moves, _ = optimizer.update(jax.tree.map(jnp.ones_like, sparse), optimizer.init(sparse), sparse)
    dense = optax.apply_updates(sparse, moves)
    np.testing.assert_allclose(np.asarray(dense["fc"]["kernel"])[~keep], -0.1, rtol=1e-6)
    assert kept_count(0.3, 60) == int(density_masks(dense, {"fc": 0.3})["fc"]["kernel"].sum())


class TestRounds:
    @settings(max_examples=50)
    @given(final=st.floats(0.001, 1), rounds=st.integers(1, 8))
    def test_keep_the_same_share_each_and_end_at_the_final_density(self, final, rounds):
        found = [density_of_round(final, number, rounds) for number in range(1, rounds + 1)]
        assert found[-1] == final
        shares = np.divide(found, [1.0, *found[:-1]])
        assert shares == pytest.approx(np.full(rounds, final ** (1 / rounds)))

    @pytest.mark.parametrize("number", [0, 4])
    def test_are_counted_from_1(self, number):
        with pytest.raises(InputError, match=f"round: needs 1 to 3, found {number}"):
            density_of_round(0.1, number, 3)

    def test_lead_to_a_density(self):
        with pytest.raises(InputError, match="density"):
            density_of_round(0, 1, 3)


def test_dropout_shrinks_with_the_root_of_what_is_kept():
    """D_r = D_o sqrt(C_ir / C_io) (Han et al. 2015, section 3.2)."""
    assert adjusted_dropout(0.5, 25, 100) == 0.25
    assert adjusted_dropout(0.5, 100, 100) == 0.5


def test_the_published_network_was_pruned_to_about_the_papers_densities(published_kernels):
    assert published_kernels.keys() == SQUEEZENET_V1_0.keys()
    for name, kernel in published_kernels.items():
        assert (kernel != 0).mean() == pytest.approx(SQUEEZENET_V1_0[name], abs=0.016), name
