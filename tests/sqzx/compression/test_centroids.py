"""Kernels of codebooks, and the gradient that a shared value gets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sqzx.compression.centroids import centroid_gradient, expand
from sqzx.compression.pruning import density_mask
from sqzx.compression.weight_sharing import share


@pytest.fixture(scope="module")
def shared():
    random = np.random.default_rng(0)
    kernels = {
        "conv1": random.normal(size=(3, 3, 4, 6)).astype(np.float32),
        "fire2.squeeze": random.normal(size=(20, 9)).astype(np.float32),
    }
    return {name: share(kernel * density_mask(kernel, 0.5), 3) for name, kernel in kernels.items()}


def trees(shared):
    codebooks = {name: layer.codebook for name, layer in shared.items()}
    return codebooks, {name: layer.codes for name, layer in shared.items()}


def test_kernels_are_those_of_the_shared_weights_to_the_bit(shared):
    kernels = jax.jit(expand)(*trees(shared))
    for name, layer in shared.items():
        assert kernels[name].dtype == np.float32
        assert np.array_equal(kernels[name], layer.kernel())


def test_code_0_is_0_whatever_the_codebook_says(shared):
    codebooks, codes = trees(shared)
    moved = {name: codebook + np.float32(1) for name, codebook in codebooks.items()}
    for name, kernel in expand(moved, codes).items():
        assert (np.asarray(kernel)[codes[name] == 0] == 0).all()
        assert np.array_equal(kernel[codes[name] > 0], moved[name][codes[name]][codes[name] > 0])


def test_the_gradient_is_that_through_take_with_code_0_fixed(shared):
    """'Gradients are grouped by their cluster and summed' (Han et al. 2016, 3.3): dL/dC = sum of dL/dW."""
    codebooks, codes = trees(shared)
    random = np.random.default_rng(1)
    # Whole numbers, so that sums in any order are exact.
    wanted = {n: random.integers(-9, 9, c.shape).astype(np.float32) for n, c in codes.items()}

    def loss(codebooks):
        return sum((kernel * wanted[n]).sum() for n, kernel in expand(codebooks, codes).items())

    def plain(codebook, name):
        return (jnp.take(codebook, codes[name].astype(jnp.int32)) * wanted[name]).sum()

    through_expand = jax.jit(jax.grad(loss))(codebooks)
    for name, codebook in codebooks.items():
        ours = jax.jit(centroid_gradient, static_argnums=2)(wanted[name], codes[name], len(codebook))
        through_take = jax.grad(plain)(codebook, name)
        slow = [wanted[name][codes[name] == code].sum() for code in range(len(codebook))]
        assert slow[0] != 0
        assert ours.tolist() == [0, *slow[1:]]
        assert ours.tolist() == through_expand[name].tolist()
        assert through_take.tolist() == slow


def test_training_moves_the_values_together_and_never_0(shared):
    codebooks, codes = trees(shared)
    target = {n: np.where(c > 0, 0.5, 7.0).astype(np.float32) for n, c in codes.items()}

    @jax.jit
    def step(codebooks):
        def loss(codebooks):
            kernels = expand(codebooks, codes)
            return sum(jnp.square(kernels[n] - target[n]).sum() for n in kernels)

        return jax.tree.map(lambda c, g: c - 0.005 * g, codebooks, jax.grad(loss)(codebooks))

    for _ in range(500):
        codebooks = step(codebooks)
    for codebook in codebooks.values():
        assert codebook[0] == 0
        np.testing.assert_allclose(codebook[1:], 0.5, atol=0.05)  # from up to 2 away
