"""Convolution and max pooling as matrix products and slices; the functions stay the plain ones.

XLA's CPU backend runs a matrix product near its peak, and a small convolution or the backward pass of
`reduce_window` far from it. So on a CPU a 1x1 convolution is one matrix product and a 3x3 convolution nine
shifted copies and one product, and everywhere a max pooling is the maximum of strided slices. What that
gains over the plain operations, and where it gains little (wide squeeze layers), `benchmarks/step.py`
measures. On accelerators the library's own convolutions are left alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from sqzx.counting import POOL_SIZE, POOL_STRIDE, pooled_size

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": nnx.relu, "elu": nnx.elu}

LRN_SIZE, LRN_ALPHA, LRN_BETA = 5, 1e-4, 0.75
"""The normalisation of Caffe's AlexNet: channels of a window, and its two constants."""


def convolve(
    x: Array,
    kernel: Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    feature_group_count: int = 1,
    **plain: Any,
) -> Array:
    """Convolve maps (batch, height, width, in) with a kernel (k, k, in / groups, out).

    Takes the place of `jax.lax.conv_general_dilated` inside `flax.nnx.Conv`, and equals it to float
    tolerance.
    """
    if feature_group_count > 1:
        parts = zip(
            jnp.split(x, feature_group_count, axis=-1),
            jnp.split(kernel, feature_group_count, axis=-1),
            strict=True,
        )
        return jnp.concatenate([convolve(*part, strides, padding, **plain) for part in parts], axis=-1)
    size = kernel.shape[:2]
    if jax.default_backend() == "cpu" and tuple(strides) == (1, 1) and not isinstance(padding, str):
        if size == (1, 1):
            return _padded(x, padding) @ kernel[0, 0]
        if size == (3, 3) and kernel.shape[2] > 1:
            return _product_of_shifts(_padded(x, padding), kernel)
    return lax.conv_general_dilated(x, kernel, strides, padding, **plain)


def max_pool(x: Array, rounding: Literal["ceil", "floor"]) -> Array:
    """Pool maps (batch, height, width, channels) by 3x3/2 without padding; see `counting.pooled_size`.

    Where values tie, each maximum of two shares its gradient equally between them; `reduce_window`
    gives all of it to the first. Both are subgradients.
    """
    for axis in (1, 2):
        out = pooled_size(x.shape[axis], rounding)
        reach = POOL_SIZE + (out - 1) * POOL_STRIDE
        # The last window of "ceil" hangs over the edge, over nothing that could be a maximum.
        edge = [(0, 0)] * 4
        edge[axis] = (0, max(0, reach - x.shape[axis]))
        full = jnp.pad(x, edge, constant_values=-jnp.inf)
        shifts = [
            lax.slice_in_dim(full, start, start + (out - 1) * POOL_STRIDE + 1, POOL_STRIDE, axis)
            for start in range(POOL_SIZE)
        ]
        x = jnp.maximum(jnp.maximum(shifts[0], shifts[1]), shifts[2])
    return x


def local_response_norm(x: Array) -> Array:
    """Divide each value by a power of its neighbourhood in the channels, as Caffe's LRN layer does.

    x / (1 + alpha / n * sum of squares over n = 5 channels)^beta, where those beyond the edge count as 0.
    Krizhevsky's paper has alpha undivided and k = 2 for the 1.
    """
    reach = LRN_SIZE // 2
    squares = jnp.pad(jnp.square(x), [(0, 0)] * (x.ndim - 1) + [(reach, reach)])
    window = [lax.slice_in_dim(squares, i, i + x.shape[-1], axis=-1) for i in range(LRN_SIZE)]
    return x * (1 + LRN_ALPHA / LRN_SIZE * sum(window)) ** -LRN_BETA


def _padded(x: Array, padding: Sequence[tuple[int, int]]) -> Array:
    if all(tuple(side) == (0, 0) for side in padding):
        return x
    return jnp.pad(x, [(0, 0), *padding, (0, 0)])


def _product_of_shifts(x: Array, kernel: Array) -> Array:
    """Lay the taps of each pixel side by side in the channels ("im2col") and multiply once."""
    rows, columns = kernel.shape[:2]
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    taps = [x[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
    return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])
