"""The network against a slow twin in NumPy that loops over windows, and its parts by themselves."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from benchmarks.agreement import random_squeezenet
from sqzx.alexnet import AlexNet
from sqzx.architectures import AlexNetConfig, FireWidths, SqueezeNetConfig
from sqzx.layers import ACTIVATIONS, max_pool
from sqzx.network import functional
from sqzx.squeezenet import Fire, SqueezeNet

SMALL = SqueezeNetConfig(
    base_e=4,
    incr_e=2,
    num_fires=2,
    squeeze_ratio=0.5,
    stem_features=4,
    stem_kernel=3,
    stem_stride=1,
    stem_padding=1,
    pool_after=(1,),
    conv10_padding=0,
    final_relu=False,
    num_classes=3,
)


# --- the twin ---------------------------------------------------------------------------------------------


def twin(config, parameters, images):
    """The logits by the paper's words, in double precision, one window at a time."""

    def act(x):
        return np.maximum(x, 0) if config.activation == "relu" else np.where(x > 0, x, np.expm1(x))

    def layer(x, name, *, stride=1, padding=0):
        values = parameters
        for part in name.split("."):
            values = values[part]
        kernel, bias = (values[k].astype(np.float64) for k in ("kernel", "bias"))
        n, height, width, _ = x.shape
        framed = np.zeros((n, height + 2 * padding, width + 2 * padding, x.shape[3]))
        framed[:, padding : padding + height, padding : padding + width] = x
        size = kernel.shape[0]
        rows = range(0, framed.shape[1] - size + 1, stride)
        columns = range(0, framed.shape[2] - size + 1, stride)
        out = np.empty((n, len(rows), len(columns), kernel.shape[3]))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                window = framed[:, row : row + size, column : column + size]
                out[:, i, j] = np.tensordot(window, kernel, axes=3) + bias
        return out

    def starts(side):
        fitting = list(range(0, side - 2, 2))
        next_start = fitting[-1] + 2 if fitting else 0
        covered = fitting[-1] + 3 if fitting else 0
        return [*fitting, next_start] if config.pool_rounding == "ceil" and covered < side else fitting

    def pool(number, x):
        if number not in config.pool_after:
            return x
        rows, columns = starts(x.shape[1]), starts(x.shape[2])
        return np.stack(
            [np.stack([x[:, r : r + 3, c : c + 3].max(axis=(1, 2)) for c in columns], 1) for r in rows], 1
        )

    x = pool(1, act(layer(images, "conv1", stride=config.stem_stride, padding=config.stem_padding)))
    for i in range(config.num_fires):
        name = f"fire{i + 2}"
        e = config.base_e + config.incr_e * math.floor(i / config.freq)
        squeezed = layer(x, f"{name}.squeeze")
        if config.squeeze_activation == "same":
            squeezed = act(squeezed)
        out = np.concatenate(
            [act(layer(squeezed, f"{name}.expand1x1")), act(layer(squeezed, f"{name}.expand3x3", padding=1))],
            axis=3,
        )
        assert out.shape[3] == e
        if config.bypass != "none" and x.shape[3] == e:
            out = out + x
        elif config.bypass == "complex":
            out = out + act(layer(x, f"{name}.bypass"))
        x = pool(i + 2, out)
    x = layer(x, "conv10", padding=config.conv10_padding)
    if config.final_relu:
        x = act(x)
    return x.mean(axis=(1, 2))


def stirred(parameters, seed=0):
    """Parameters with biases and a classifier that matter, as those of a trained network."""
    random = np.random.default_rng(seed)

    def stir(path, leaf):
        scale = 0.3 if path[-1].key == "bias" or path[0].key == "conv10" else 0.1
        return (leaf + scale * random.normal(size=leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(stir, parameters)


def assert_equal_to_the_twin(config, shape):
    apply, parameters = functional(config, shape, seed=0)
    parameters = stirred(parameters)
    images = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    logits = jax.jit(apply)(parameters, images)
    np.testing.assert_allclose(logits, twin(config, parameters, images), rtol=2e-4, atol=2e-5)
    assert np.abs(logits).max() > 0, "a dead network proves nothing"


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_equal_the_twin(seed):
    config, shape = random_squeezenet(1000 + seed)
    assert_equal_to_the_twin(dataclasses.replace(config, final_relu=False), shape)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bypass": "complex", "final_relu": True, "conv10_padding": 1},
        {"bypass": "simple", "pool_after": (1, 2, 3)},
        {"pool_rounding": "floor", "pool_after": (1, 2), "activation": "elu"},
        {"activation": "elu", "final_relu": True},
        {"squeeze_activation": "none", "stem_padding": 0, "stem_stride": 2, "stem_kernel": 4},
    ],
    ids=str,
)
def test_each_option_equals_the_twin_on_odd_sides(changes):
    assert_equal_to_the_twin(dataclasses.replace(SMALL, **changes), (12, 11, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pool_rounding", "floor"),
        ("bypass", "simple"),
        ("bypass", "complex"),
        ("activation", "elu"),
        ("squeeze_activation", "none"),
        ("final_relu", True),
        ("conv10_padding", 1),
        ("stem_padding", 0),
        ("pool_after", (2,)),
        ("pool_after", ()),
    ],
)
def test_each_option_matters(field, value):
    """The twin would agree on anything if images and parameters made no difference."""
    changed = dataclasses.replace(SMALL, **{field: value})
    images = np.random.default_rng(1).normal(size=(2, 12, 11, 2))
    parameters = stirred(functional(dataclasses.replace(SMALL, bypass="complex"), (12, 11, 2), seed=0)[1])
    assert not np.allclose(twin(SMALL, parameters, images), twin(changed, parameters, images), rtol=1e-3)


# --- parts -----------------------------------------------------------------------------------------------


def zeroed(config, in_features=4):
    """A Fire module of 4 to 1 + 3 filters, all parameters 0."""
    widths = FireWidths(squeeze=2, expand1x1=1, expand3x3=3)
    graph, state = nnx.split(nnx.eval_shape(lambda: Fire(config, in_features, widths, rngs=nnx.Rngs(0))))
    return nnx.merge(graph, jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, np.float32)), state))


def maps_of(config, images):
    """Every map of a freshly drawn network, computed layer by layer."""
    graph, state = nnx.split(nnx.eval_shape(lambda: SqueezeNet(config, images.shape[3], rngs=nnx.Rngs(0))))
    nnx.replace_by_pure_dict(state, functional(config, images.shape[1:], 0)[1])
    net = nnx.merge(graph, state)
    order = []

    def run(images):
        maps = net.maps(images)
        order.extend(maps)
        return maps, net(images)

    maps, logits = jax.jit(run)(images)
    return {name: maps[name] for name in order}, logits


class TestFire:
    """'We liberally use 1x1 filters in Fire modules' (section 3.2)."""

    X = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 3, 4)), jnp.float32)

    def test_the_1x1_filters_come_first(self):
        fire = zeroed(SMALL)
        fire.expand1x1.bias[...] = jnp.ones(1)
        fire.expand3x3.bias[...] = 2 * jnp.ones(3)
        assert np.array_equal(fire(self.X)[0, 1, 1], [1, 2, 2, 2])

    def test_each_branch_has_its_own_relu(self):
        fire = zeroed(SMALL)
        fire.expand1x1.bias[...] = -jnp.ones(1)
        fire.expand3x3.bias[...] = jnp.ones(3)
        assert np.array_equal(fire(self.X)[0, 1, 1], [0, 1, 1, 1])

    @pytest.mark.parametrize(("squeeze_activation", "expected"), [("same", 0), ("none", 1)])
    def test_the_squeeze_layer_has_a_relu_unless_told_otherwise(self, squeeze_activation, expected):
        fire = zeroed(dataclasses.replace(SMALL, squeeze_activation=squeeze_activation))
        fire.squeeze.bias[...] = -jnp.ones(2)
        fire.expand1x1.kernel[...] = -0.5 * jnp.ones((1, 1, 2, 1))
        assert float(fire(self.X)[0, 1, 1, 0]) == expected

    def test_only_the_3x3_filters_see_neighbours_and_a_border_of_zeros(self):
        fire = zeroed(SMALL)
        fire.squeeze.bias[...] = jnp.ones(2)
        fire.expand1x1.kernel[...] = jnp.ones((1, 1, 2, 1))
        fire.expand3x3.kernel[...] = jnp.ones((3, 3, 2, 3))
        out = fire(self.X)[0]
        assert out[..., 0].tolist() == [[2] * 3] * 3
        assert out[..., 1].tolist() == [[8, 12, 8], [12, 18, 12], [8, 12, 8]]

    @pytest.mark.parametrize("bypass", ["simple", "complex"])
    def test_an_identity_adds_the_input_and_no_activation_follows(self, bypass):
        fire = zeroed(dataclasses.replace(SMALL, bypass=bypass))
        assert np.array_equal(fire(self.X), self.X)
        assert float(self.X.min()) < 0

    def test_a_simple_bypass_leaves_out_modules_of_other_widths(self):
        fire = zeroed(dataclasses.replace(SMALL, bypass="simple"), in_features=5)
        assert not hasattr(fire, "bypass")
        assert not np.any(fire(jnp.ones((1, 3, 3, 5))))

    @pytest.mark.parametrize(("bias", "expected"), [(3, 3), (-3, 0)])
    def test_a_complex_bypass_is_a_convolution_with_a_relu_of_its_own(self, bias, expected):
        fire = zeroed(dataclasses.replace(SMALL, bypass="complex"), in_features=5)
        fire.bypass.bias[...] = bias * jnp.ones(4)
        assert np.array_equal(fire(jnp.ones((1, 3, 3, 5))), expected * np.ones((1, 3, 3, 4)))


class TestTheForwardPass:
    def test_conv1_of_the_paper_has_no_padding(self):
        config = dataclasses.replace(SMALL, stem_kernel=7, stem_stride=2, stem_padding=0, pool_after=())
        conv1 = maps_of(config, np.ones((1, 15, 15, 1), np.float32))[0]["conv1"]
        assert conv1.shape == (1, 5, 5, 4)
        # On an even image every window sees the same, which a border of zeros would change.
        np.testing.assert_allclose(conv1, np.broadcast_to(conv1[:, 2:3, 2:3], conv1.shape), rtol=1e-5)
        assert float(conv1.max()) > 0

    @pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
    def test_pool1_is_the_maximum_of_what_conv1_gives_with_its_gradient(self, activation):
        """The network pools first, which is the same where an activation never falls."""
        config = dataclasses.replace(SMALL, pool_after=(1,), activation=activation)
        graph, state = nnx.split(nnx.eval_shape(lambda: SqueezeNet(config, 1, rngs=nnx.Rngs(0))))
        parameters = functional(config, (9, 9, 1), 0)[1]
        random = np.random.default_rng(0)
        images = random.normal(size=(2, 9, 9, 1)).astype(np.float32)
        weights = random.normal(size=(2, 4, 4, 4)).astype(np.float32)

        def value(parameters, last):
            nnx.replace_by_pure_dict(state, parameters)
            return (last(nnx.merge(graph, state).maps(images)) * weights).sum()

        def found(last):
            return jax.value_and_grad(lambda parameters: value(parameters, last))(parameters)

        ours, theirs = (
            found(lambda m: m["pool1"]),
            found(lambda m: max_pool(m["conv1"], config.pool_rounding)),
        )
        assert float(ours[0]) == pytest.approx(float(theirs[0]), rel=1e-5)
        assert np.abs(ours[1]["conv1"]["kernel"]).max() > 0
        for mine, other in zip(jax.tree.leaves(ours[1]), jax.tree.leaves(theirs[1]), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)

    def test_maps_have_the_papers_names_in_running_order(self):
        config = dataclasses.replace(SMALL, pool_after=(1, 3))
        maps, logits = maps_of(config, np.ones((2, 9, 9, 1), np.float32))
        assert list(maps) == ["conv1", "pool1", "fire2", "fire3", "pool3", "conv10", "logits"]
        assert np.array_equal(maps["logits"], logits)
        np.testing.assert_allclose(maps["logits"], maps["conv10"].mean(axis=(1, 2)), rtol=1e-6)

    def test_with_the_final_relu_no_logit_is_negative(self):
        images = np.random.default_rng(0).normal(size=(20, 8, 8, 1)).astype(np.float32)
        for final_relu in (True, False):
            apply, parameters = functional(dataclasses.replace(SMALL, final_relu=final_relu), (8, 8, 1), 0)
            logits = jax.jit(apply)(stirred(parameters), images)
            assert (float(logits.min()) >= 0) == final_relu

    def test_an_images_logits_do_not_depend_on_the_others(self):
        apply, parameters = functional(SMALL, (8, 8, 1), 0)
        apply, parameters = jax.jit(apply), stirred(parameters)
        images = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
        np.testing.assert_allclose(
            apply(parameters, images)[::-1], apply(parameters, images[::-1].copy()), rtol=1e-5, atol=1e-6
        )


@pytest.fixture(scope="module")
def ones():
    """A network whose last Fire module says 1 everywhere, and whose classes are its filters."""
    config = dataclasses.replace(SMALL, num_classes=4, dropout_rate=0.5, pool_after=())
    apply, parameters = functional(config, (8, 8, 1), 0)
    parameters = jax.tree.map(np.zeros_like, parameters)
    for branch in ("expand1x1", "expand3x3"):
        parameters["fire3"][branch]["bias"] += 1
    parameters["conv10"]["kernel"] += np.eye(4, dtype=np.float32)
    images = np.zeros((3, 8, 8, 1), np.float32)
    return jax.jit(lambda key=None: apply(parameters, images, key))


class TestDropout:
    """'Dropout with a ratio of 50% is applied after the fire9 module' (section 3.3)."""

    def test_without_a_key_nothing_is_dropped(self, ones):
        assert np.array_equal(ones(), np.ones((3, 4)))

    def test_with_keys_about_half_is_dropped_and_the_rest_doubled(self, ones):
        logits = np.asarray(ones(jax.random.split(jax.random.key(0), 3)))
        kept = logits * 64 / 2
        np.testing.assert_allclose(kept, kept.round(), atol=1e-4)
        # Each of 12 means is over 64 pixels of their own: 32 +- 4 are kept.
        assert 16 < kept.min() < kept.max() < 48
        assert len(np.unique(kept)) > 1

    def test_an_images_key_alone_decides(self, ones):
        """So a batch may be computed in parts, and what is dropped is the same."""
        keys = jax.random.split(jax.random.key(0), 3)
        first, again, turned = (np.asarray(ones(k)) for k in (keys, keys, keys[::-1]))
        assert np.array_equal(first, again)
        assert np.array_equal(first[::-1], turned)
        assert len({row.tobytes() for row in first}) == 3

    def test_a_rate_of_0_drops_nothing(self):
        apply, parameters = functional(dataclasses.replace(SMALL, dropout_rate=0.0), (8, 8, 1), 0)
        images = np.ones((1, 8, 8, 1), np.float32)
        assert np.array_equal(apply(parameters, images), apply(parameters, images, jax.random.key(0)[None]))


def test_each_hidden_layer_of_alexnet_drops_others():
    config = AlexNetConfig(
        conv_features=(4,), conv_kernels=(3,), conv_paddings=(1,), conv_groups=(1,), lrn_after=(),
        pool_after=(), stem_stride=1, fc_features=(64, 64), num_classes=2, init="xavier",
    )  # fmt: skip
    graph, state = nnx.split(nnx.eval_shape(lambda: AlexNet(config, (4, 4, 1), rngs=nnx.Rngs(0))))
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), state)
    keys = jax.random.split(jax.random.key(0), 2)
    maps = jax.jit(lambda keys: nnx.merge(graph, ones).maps(jnp.ones((2, 4, 4, 1)), dropout_keys=keys))(keys)
    # All parameters are 1: fc3 is 1 + 2 x fc2 x (what is kept of 64), and the classifier the same of fc3.
    first = (maps["fc3"][:, 0] - 1) / (2 * maps["fc2"][:, 0])
    second = (maps["logits"][:, 0] - 1) / (2 * maps["fc3"][:, 0])
    assert all(16 < float(n) < 48 for n in (*first, *second))
    assert not np.allclose(first, second)
    assert float(first[0]) != float(first[1])


class TestInitialParameters:
    def layers(self, config, seed=0, in_features=1):
        return {
            "/".join(k.key for k in path): leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(
                functional(config, (32, 32, in_features), seed)[1]
            )
        }

    def test_a_seed_is_repeatable_and_another_differs_in_each_kernel(self):
        first, again, other = (self.layers(SMALL, seed) for seed in (0, 0, 1))
        assert all(np.array_equal(first[name], again[name]) for name in first)
        assert not any(np.array_equal(first[name], other[name]) for name in first if "kernel" in name)

    def test_biases_are_zero(self):
        layers = self.layers(SMALL)
        assert not any(leaf.any() for name, leaf in layers.items() if "bias" in name)
        assert sum("bias" in name for name in layers) == 8
        assert {leaf.dtype for leaf in layers.values()} == {np.dtype(np.float32)}

    @pytest.mark.parametrize(
        ("changes", "changed"),
        [
            ({"num_fires": 3}, {"fire4", "conv10"}),
            ({"bypass": "complex", "incr_e": 0, "stem_features": 5}, {"conv1", "fire2"}),
            ({"num_classes": 5}, {"conv10"}),
            ({"stem_kernel": 5}, {"conv1"}),
            ({"pool_after": (), "final_relu": True}, set()),
        ],
        ids=["fires", "bypass", "classes", "stem", "pools"],
    )
    def test_a_layers_values_do_not_depend_on_other_layers(self, changes, changed):
        base = dataclasses.replace(SMALL, incr_e=0)
        before, after = self.layers(base), self.layers(dataclasses.replace(base, **changes))
        for name in before.keys() & after.keys():
            if name.partition("/")[0] not in changed:
                assert np.array_equal(before[name], after[name]), name

    def test_layers_of_equal_shape_differ(self):
        layers = self.layers(dataclasses.replace(SMALL, incr_e=0, num_fires=4))
        kernels = [layers[f"fire{n}/expand3x3/kernel"].tobytes() for n in (2, 3, 4, 5)]
        assert len(set(kernels)) == 4

    def test_images_of_another_depth_change_conv1_alone(self):
        grey, colour = self.layers(SMALL), self.layers(SMALL, in_features=3)
        assert colour["conv1/kernel"].shape == (3, 3, 3, 4)
        assert all(np.array_equal(grey[n], colour[n]) for n in grey if not n.startswith("conv1/"))

    @pytest.mark.parametrize("init", ["xavier", "kaiming"])
    def test_a_module_made_by_hand_draws_from_the_same_distributions(self, init):
        config = SqueezeNetConfig(
            base_e=64,
            incr_e=0,
            num_fires=1,
            squeeze_ratio=0.5,
            stem_features=32,
            pool_after=(),
            init=init,
            num_classes=40,
        )
        by_jax = nnx.to_pure_dict(nnx.state(SqueezeNet(config, 3, rngs=nnx.Rngs(0))))
        by_numpy = self.layers(config, in_features=3)
        for path, leaf in jax.tree_util.tree_leaves_with_path(by_jax):
            name = "/".join(k.key for k in path)
            if path[-1].key == "bias":
                assert not leaf.any()
            else:
                same = stats.ks_2samp(np.asarray(leaf).ravel(), by_numpy[name].ravel())
                assert same.pvalue > 1e-3, name
