"""The layers of a network: which form of a convolution and a pooling runs where.

The functions are the plain ones everywhere. On a CPU, convolutions of stride 1 take the forms of
`sqzx.cpu_convolutions`; on accelerators, and for any other stride or padding, the library's own are left
alone. A max pooling is the maximum of strided slices everywhere, with a gradient of its own: the backward
pass of `reduce_window` is ten times slower on a CPU. `benchmarks/layers.py` measures each choice,
`benchmarks/step.py` what they give together.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from sqzx import cpu_convolutions
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
    groups = feature_group_count
    if jax.default_backend() == "cpu" and tuple(strides) == (1, 1):
        size = kernel.shape[0]
        centred = [tuple(side) for side in padding] == [(size // 2, size // 2)] * 2
        if groups > 1:  # each group takes the form of its own size
            parts = zip(jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
            return jnp.concatenate([convolve(*part, strides, padding, **plain) for part in parts], axis=-1)
        if kernel.shape[:2] == (1, 1):
            return cpu_convolutions.pointwise(_padded(x, padding), kernel[0, 0])
        if kernel.shape[0] == kernel.shape[1] and size % 2 and centred and kernel.shape[2] > 1:
            seen = cpu_convolutions.sees_all(*x.shape[1:3], size)
            return (cpu_convolutions.dense if seen else cpu_convolutions.same)(x, kernel)
    return lax.conv_general_dilated(x, kernel, strides, padding, feature_group_count=groups, **plain)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: Array, rounding: Literal["ceil", "floor"]) -> Array:
    """Pool maps (batch, height, width, channels) by 3x3/2 without padding; see `counting.pooled_size`.

    Where values tie, the first of a window (row by row) gets the whole gradient, as in Caffe and PyTorch.
    """
    return _pooled(_pooled(x, 2, rounding), 1, rounding)


def _max_pool_forward(x: Array, rounding: Literal["ceil", "floor"]) -> tuple[Array, tuple[Array, ...]]:
    # A row at a time, then the rows: the first in a row, then the first row, is the first of the window.
    rows = _pooled(x, 2, rounding)
    out = _pooled(rows, 1, rounding)
    return out, (x, rows, out)


def _max_pool_backward(rounding: str, saved: tuple[Array, ...], cotangent: Array) -> tuple[Array]:
    x, rows, out = saved
    return (_to_the_first(x, rows, _to_the_first(rows, out, cotangent, 1), 2),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _pooled(x: Array, axis: int, rounding: Literal["ceil", "floor"]) -> Array:
    return functools.reduce(jnp.maximum, _windows(x, axis, pooled_size(x.shape[axis], rounding)))


def _windows(x: Array, axis: int, out: int) -> list[Array]:
    """Return the first, second and third value of each of `out` windows along an axis."""
    reach = POOL_SIZE + (out - 1) * POOL_STRIDE
    # The last window of "ceil" hangs over the edge, over nothing that could be a maximum.
    full = _framed(x, axis, 0, max(0, reach - x.shape[axis]), -jnp.inf)
    stop = (out - 1) * POOL_STRIDE + 1
    return [lax.slice_in_dim(full, i, i + stop, POOL_STRIDE, axis) for i in range(POOL_SIZE)]


def _to_the_first(x: Array, maxima: Array, cotangent: Array, axis: int) -> Array:
    """Hand each maximum's cotangent to the first value of its window that equals it.

    Windows of 3 at a stride of 2 share every other value. So what even places get (a window's first value,
    and the third of the one before) and what odd ones get (its second) is interleaved; the scattered
    additions that differentiation would make of the slices take twice the time.
    """
    side, out = x.shape[axis], maxima.shape[axis]
    first, second, _ = _windows(x, axis, out)
    is_first = first == maxima
    is_second = (second == maxima) & ~is_first
    nothing = jnp.zeros((), cotangent.dtype)
    to_first = jnp.where(is_first, cotangent, nothing)
    to_second = jnp.where(is_second, cotangent, nothing)
    to_third = jnp.where(is_first | is_second, nothing, cotangent)
    more = (side + 1) // 2 - out  # even places than windows; the last third value may be beyond the edge
    even = _framed(to_first, axis, 0, more) + _framed(to_third, axis, 1, more - 1)
    odd = _framed(to_second, axis, 0, more)
    whole = jnp.stack([even, odd], axis + 1).reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return lax.slice_in_dim(whole, 0, side, 1, axis)


def _framed(x: Array, axis: int, before: int, after: int, value: float = 0.0) -> Array:
    """Add places of a value before and after an axis; fewer than none cuts some off."""
    frame = [(before, after, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)]
    return lax.pad(x, jnp.asarray(value, x.dtype), frame)


def dropout(x: Array, rate: float, keys: Array | None) -> Array:
    """Set values of maps (batch, ...) to 0 at `rate` and scale the others up; nothing without keys.

    `keys` has one an image, so what is dropped of an image does not depend on the images beside it.
    """
    if keys is None or rate == 0:
        return x
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1 - rate), jnp.zeros((), x.dtype))


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
