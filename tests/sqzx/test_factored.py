"""Networks of which some layers are two, against the plain network with the same kernels."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sqzx import preprocessing
from sqzx.cli import export
from sqzx.compression.kernels import kernels_of
from sqzx.compression.svd import factor, factored, factored_shapes, whole
from sqzx.config import resolve_model
from sqzx.counting import parametric_layers
from sqzx.errors import InputError
from sqzx.model import Model, check_fits, model_digest, read_model, write_model
from sqzx.network import initial_parameters, pure
from sqzx.prediction import predict

SQUEEZENET = {
    "model.preset": "squeezenet_small",
    "model.base_e": 8,
    "model.incr_e": 8,
    "model.num_fires": 2,
    "model.stem_features": 6,
    "model.stem_stride": 2,
    "model.pool_after": (2,),
    "model.squeeze_ratio": 0.5,
    "model.bypass": "complex",
    "model.activation": "elu",  # no unit is dead
    "model.num_classes": 7,
}
ALEXNET = {
    "model.preset": "alexnet_small",
    "model.conv_features": (8, 12, 8),
    "model.conv_kernels": (5, 5, 3),
    "model.conv_paddings": (0, 2, 1),
    "model.conv_groups": (1, 2, 4),
    "model.stem_stride": 2,
    "model.lrn_after": (1,),
    "model.pool_after": (2,),
    "model.fc_features": (24,),
    "model.activation": "elu",
    "model.num_classes": 7,
}
IMAGE = (12, 11, 3)


def plain(keys):
    config = resolve_model(keys, "f")
    random = np.random.default_rng(1)
    parameters = jax.tree.map(
        lambda leaf: (leaf + 0.1 * random.normal(size=leaf.shape)).astype(np.float32),
        initial_parameters(config, IMAGE, 0),
    )
    return config, parameters, parametric_layers(config, IMAGE)


def split(parameters, layers, ranks):
    """Factors at any rank, break-even or above it."""
    tree = jax.tree.map(lambda leaf: leaf, parameters)
    for layer in layers:
        if layer.name in ranks:
            *path, last = layer.name.split(".")
            inside = tree
            for step in path:
                inside = inside[step]
            first, second = factor(inside[last]["kernel"], ranks[layer.name], layer.groups)
            inside[last] = {
                "first": {"kernel": first},
                "second": {"kernel": second, "bias": inside[last]["bias"]},
            }
    return tree


def full(layer):
    return min(int(np.prod(layer.kernel_shape[:3])), layer.kernel_shape[3] // layer.groups)


IMAGES = np.random.default_rng(0).normal(size=(3, *IMAGE)).astype(np.float32)


def gradients(config, ranks, parameters):
    apply = pure(config, IMAGE, ranks)

    def loss(parameters):
        return jnp.square(apply(parameters, IMAGES)).sum()

    return jax.jit(lambda p: (apply(p, IMAGES), jax.grad(loss)(p)))(parameters)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # the fast forms of the CPU, and the library's own
@pytest.mark.parametrize("keys", [SQUEEZENET, ALEXNET], ids=["squeezenet", "alexnet"])
def test_at_full_rank_every_layer_as_two_is_the_plain_network(keys, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    config, parameters, layers = plain(keys)
    ranks = {layer.name: full(layer) for layer in layers}
    tree = split(parameters, layers, ranks)
    expected, slope = gradients(config, {}, parameters)
    logits, slopes = gradients(config, ranks, tree)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    # The gradient of a bias is the same wherever the bias is.
    for layer in layers:
        ours, theirs = slopes, slope
        for step in layer.name.split("."):
            ours, theirs = ours[step], theirs[step]
        np.testing.assert_allclose(ours["second"]["bias"], theirs["bias"], rtol=1e-3, atol=1e-3)
        assert "bias" not in ours["first"]


@pytest.mark.parametrize(
    ("keys", "ranks"),
    [
        (SQUEEZENET, {"conv1": 2, "fire2.squeeze": 1, "fire3.expand3x3": 2, "fire2.bypass": 3}),
        (ALEXNET, {"conv1": 2, "conv2": 3, "conv3": 1, "fc4": 2}),
    ],
    ids=["squeezenet", "alexnet"],
)
def test_at_low_rank_it_is_the_plain_network_with_the_factors_multiplied_out(keys, ranks):
    config, parameters, layers = plain(keys)
    tree = factored(parameters, layers, ranks)
    assert {n: k.shape for n, k in kernels_of(tree).items()} == factored_shapes(config, IMAGE, ranks)
    logits = jax.jit(pure(config, IMAGE, ranks))(tree, IMAGES)
    joined = jax.jit(pure(config, IMAGE))(whole(tree, layers, ranks), IMAGES)
    np.testing.assert_allclose(logits, joined, rtol=1e-4, atol=1e-4)
    assert not np.allclose(logits, jax.jit(pure(config, IMAGE))(parameters, IMAGES), atol=1e-2)


@pytest.fixture(scope="module")
def models():
    """A model and the same one with some layers two."""
    config, parameters, layers = plain(ALEXNET)
    ranks = {"conv2": 2, "fc4": 3}
    one = Model(
        config=config,
        parameters=parameters,
        preprocessing=preprocessing.unit(IMAGE),
        source="a test",
        data="digits",
    )
    return one, replace(one, parameters=factored(parameters, layers, ranks), ranks=ranks)


class TestAModelOfLayersThatAreTwo:
    def logits(self, model, folder):
        np.save(folder / "x.npy", IMAGES)
        return predict(model, [folder / "x.npy"])[0]

    def test_predicts_as_the_whole_one(self, models, tmp_path):
        one, two = models
        assert two.whole().ranks == {}
        logits = self.logits(two, tmp_path)
        np.testing.assert_allclose(logits, self.logits(two.whole(), tmp_path), rtol=1e-4, atol=1e-5)
        assert not np.allclose(logits, self.logits(one, tmp_path), atol=1e-3)

    def test_is_written_with_its_factors_multiplied_out(self, models, tmp_path):
        _, two = models
        write_model(tmp_path / "two", two)
        write_model(tmp_path / "one", two.whole())
        assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()
        assert read_model(tmp_path / "two").ranks == {}

    def test_is_exported_as_the_whole_one_and_export_says_so(self, models, tmp_path, monkeypatch, capsys):
        _, two = models
        monkeypatch.setattr("sqzx.model.read_model", lambda path: two)
        export(tmp_path / "two", format_="safetensors", out=tmp_path / "out")
        assert "conv2, fc4: two layers each there, one here, their kernels multiplied out" in (
            capsys.readouterr().out
        )
        write_model(tmp_path / "one", two.whole())
        assert (tmp_path / "out").read_bytes() == (tmp_path / "one").read_bytes()

    def test_has_the_digest_of_the_whole_one(self, models):
        one, two = models
        assert model_digest(two) == model_digest(two.whole()) != model_digest(one)

    def test_gives_a_plain_network_no_parameters(self, models):
        one, two = models
        assert check_fits(two.whole(), one.config, IMAGE) == []
        with pytest.raises(
            InputError, match="its layers conv2, fc4 are two each; sqzx export makes them one"
        ):
            check_fits(two, one.config, IMAGE)
