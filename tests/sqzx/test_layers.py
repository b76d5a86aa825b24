"""The fast forms against the library's plain ones, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from sqzx import cpu_convolutions
from sqzx.counting import pooled_size
from sqzx.layers import convolve, max_pool

PLAIN = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


def plain_pool(x, rounding):
    outs = [pooled_size(n, rounding) for n in x.shape[1:3]]
    over = [(0, max(0, 3 + 2 * (out - 1) - n)) for out, n in zip(outs, x.shape[1:3], strict=True)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), *over, (0, 0)])


def both(function, cotangent, *arguments):
    """The value of a function and its gradients, by one compilation."""

    def run(cotangent, *arguments):
        value, pull = jax.vjp(function, *arguments)
        return value, pull(cotangent)

    return jax.jit(run)(cotangent, *arguments)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    side=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    # Few and many inputs for their outputs, narrow and wide ones: each form has its turn.
    channels=st.sampled_from([(1, 3), (2, 8), (2, 9), (3, 4), (4, 4), (5, 2), (16, 16), (20, 3), (17, 18)]),
    kernel=st.sampled_from([1, 1, 3, 3, 3, 5, 2]),
    stride=st.sampled_from([1, 1, 1, 2]),
    padding=st.sampled_from([None, None, 0, 1, 2]),
)
def test_convolution(seed, side, channels, kernel, stride, padding):
    padding = kernel // 2 if padding is None else padding
    side = tuple(max(n, kernel - 2 * padding) for n in side)
    assert_plain(seed, side, channels, kernel, stride, padding)


@pytest.mark.parametrize(
    ("kernel", "side"),
    [(3, (1, 1)), (3, (2, 1)), (3, (1, 2)), (3, (2, 2)), (3, (2, 3)), (5, (3, 2)), (5, (3, 3)), (5, (4, 2))],
)
def test_convolution_of_maps_of_which_pixels_see_all_or_nearly_all(kernel, side):
    assert_plain(0, side, (6, 5), kernel, 1, kernel // 2)
    assert cpu_convolutions.sees_all(*side, kernel) == (max(side) <= {3: 2, 5: 3}[kernel])


@pytest.mark.parametrize(("side", "form"), [(2, "dense"), (3, "same")])
def test_only_a_map_of_which_each_pixel_sees_all_is_dense(side, form):
    x, weights = jnp.ones((1, side, side, 8)), jnp.ones((3, 3, 8, 8))
    program = str(jax.make_jaxpr(lambda x, w: convolve(x, w, (1, 1), [(1, 1)] * 2, **PLAIN))(x, weights))
    assert ("conv_general_dilated" in program, "dot_general" in program) == (form == "same", form == "dense")


def assert_plain(seed, side, channels, kernel, stride, padding):
    random = np.random.default_rng(seed)
    x = random.normal(size=(2, *side, channels[0])).astype(np.float32)
    weights = random.normal(size=(kernel, kernel, *channels)).astype(np.float32)
    pads = [(padding, padding)] * 2
    out = tuple((n + 2 * padding - kernel) // stride + 1 for n in side)
    cotangent = random.normal(size=(2, *out, channels[1])).astype(np.float32)
    strides = (stride, stride)
    fast = both(lambda x, w: convolve(x, w, strides, pads, **PLAIN), cotangent, x, weights)
    slow = both(lambda x, w: lax.conv_general_dilated(x, w, strides, pads, **PLAIN), cotangent, x, weights)
    for ours, theirs in zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", [((1, 0), (2, 1)), ((0, 2), (0, 0))])
def test_convolution_with_an_uneven_padding(padding):
    random = np.random.default_rng(0)
    x, weights = random.normal(size=(1, 5, 4, 2)), random.normal(size=(3, 3, 2, 3))
    np.testing.assert_allclose(
        convolve(x.astype(np.float32), weights.astype(np.float32), (1, 1), padding, **PLAIN),
        lax.conv_general_dilated(x.astype(np.float32), weights.astype(np.float32), (1, 1), padding, **PLAIN),
        rtol=1e-4,
        atol=1e-5,
    )


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**31),
    side=st.tuples(st.integers(3, 11), st.integers(3, 11)),
    rounding=st.sampled_from(["ceil", "floor"]),
)
def test_pooling_where_nothing_ties(seed, side, rounding):
    random = np.random.default_rng(seed)
    shape = (2, *side, 2)
    # All values differ, and all are negative: a border of zeros would win.
    x = -1 - random.permutation(np.prod(shape)).reshape(shape).astype(np.float32)
    out = [pooled_size(n, rounding) for n in side]
    cotangent = random.normal(size=(2, *out, 2)).astype(np.float32)
    ours = both(lambda x: max_pool(x, rounding), cotangent, x)
    theirs = both(lambda x: plain_pool(x, rounding), cotangent, x)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1][0], theirs[1][0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rounding", ["ceil", "floor"])
def test_pooling_where_all_values_tie_hands_each_windows_gradient_on_whole(rounding):
    x = jnp.zeros((1, 8, 7, 1))
    gradient = jax.grad(lambda x: max_pool(x, rounding).sum())(x)
    outs = pooled_size(8, rounding) * pooled_size(7, rounding)
    assert float(gradient.sum()) == pytest.approx(outs)
    assert float(gradient.min()) >= 0


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**31),
    side=st.tuples(st.integers(3, 11), st.integers(3, 11)),
    rounding=st.sampled_from(["ceil", "floor"]),
)
def test_where_maxima_tie_the_first_of_the_window_gets_the_gradient(seed, side, rounding):
    """As in Caffe and PyTorch, and as XLA's own `reduce_window` has it."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 3, (2, *side, 2)).astype(np.float32)
    out = [pooled_size(n, rounding) for n in side]
    cotangent = random.integers(1, 100, (2, *out, 2)).astype(np.float32)
    ours = both(lambda x: max_pool(x, rounding), cotangent, x)
    theirs = both(lambda x: plain_pool(x, rounding), cotangent, x)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1][0], theirs[1][0])


def test_ceil_pools_a_map_of_two_pixels():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1) - 9
    assert max_pool(x, "ceil").tolist() == [[[[-6.0]]]]


def test_not_a_number_stays_one():
    x = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1, 0].set(jnp.nan)
    assert np.isnan(max_pool(x, "floor")).all()


def test_accelerators_keep_the_plain_convolution(monkeypatch):
    x, weights = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 4))

    def program(groups=1):
        # A new function each time: jit would remember the one before.
        def run(x, w):
            return convolve(x, w, (1, 1), [(1, 1), (1, 1)], feature_group_count=groups, **PLAIN)

        return str(jax.make_jaxpr(run)(x, weights[:, :, : 2 // groups]))

    assert "custom_vjp" in program()
    assert "concatenate" in program(groups=2)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "custom_vjp" not in program()
    assert "concatenate" not in program(groups=2)
    assert "feature_group_count=2" in program(groups=2)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_convolution_in_groups(groups, kernel):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 6, 5, 4)).astype(np.float32)
    weights = random.normal(size=(kernel, kernel, 4 // groups, 8)).astype(np.float32)
    cotangent = random.normal(size=(2, 6, 5, 8)).astype(np.float32)
    pads = [(kernel // 2, kernel // 2)] * 2
    options = {"feature_group_count": groups, **PLAIN}
    fast = both(lambda x, w: convolve(x, w, (1, 1), pads, **options), cotangent, x, weights)
    slow = both(lambda x, w: lax.conv_general_dilated(x, w, (1, 1), pads, **options), cotangent, x, weights)
    for ours, theirs in zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_batch_of_networks_gets_each_its_own_gradient():
    """`jax.vmap` over parameters, as replicates in one program are."""
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 2, 7, 6, 4)).astype(np.float32)
    weights = random.normal(size=(3, 3, 3, 4, 5)).astype(np.float32)

    def loss(x, w):
        return jnp.square(max_pool(convolve(x, w, (1, 1), [(1, 1), (1, 1)], **PLAIN), "ceil")).sum()

    together = jax.jit(jax.vmap(jax.grad(loss, argnums=(0, 1))))(x, weights)
    for i in range(3):
        for ours, theirs in zip(together, jax.grad(loss, argnums=(0, 1))(x[i], weights[i]), strict=True):
            np.testing.assert_allclose(ours[i], theirs, rtol=1e-4, atol=1e-4)
