"""Convolutions of stride 1 for XLA's CPU backend, with gradients in the forms that it is fast at.

It runs matrix products and forward convolutions near the processor's peak, so the gradients are written here
as these. In the gradient of a whole network that is up to a sixth faster than what differentiation makes of
the library's convolution; a single layer may gain nothing or lose a fifth. Which form is fastest was measured
on one core of an AMD EPYC with AVX-512 (`python -m benchmarks.layers` measures each layer anew), and comes
down to three rules:

- a 1x1 convolution is one product, and so is each of its gradients;
- a wider kernel on very few channels, or on a map smaller than itself, is one product with the taps of each
  pixel laid side by side ("im2col"), and else a convolution; the kernel's gradient is always a convolution,
  with the side of fewer channels in the batch's place;
- where each pixel of a map sees all others, it is a dense layer.

All functions equal the plain `lax.conv_general_dilated` and its gradients to float tolerance.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

FEW = 4
"""Inputs of a wider convolution up to which it is a product."""

_LAYOUT = ("NHWC", "HWIO", "NHWC")


@jax.custom_vjp
def pointwise(x: Array, kernel: Array) -> Array:
    """Convolve maps (batch, height, width, in) with a 1x1 kernel (in, out)."""
    return x @ kernel


def _pointwise_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ kernel, (x, kernel)


def _pointwise_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    x, kernel = saved
    return cotangent @ kernel.T, _pixels(x).T @ _pixels(cotangent)


pointwise.defvjp(_pointwise_forward, _pointwise_backward)


def dense(x: Array, kernel: Array) -> Array:
    """Convolve as `same` does, for maps of which each pixel sees all others: `sees_all`.

    That is a product with one matrix, from all pixels to all pixels. It has no taps beyond the edge: of 2x2
    pixels a kernel of 3x3 needs 16 products a pair of channels, not 36.
    """
    batch, height, width, _ = x.shape
    reach, outputs = len(kernel) // 2, kernel.shape[-1]
    seen = [
        kernel[reach - i : reach - i + height, reach - j : reach - j + width]
        for i in range(height)
        for j in range(width)
    ]
    matrix = jnp.stack(seen, axis=3).reshape(-1, height * width * outputs)
    return (x.reshape(batch, -1) @ matrix).reshape(batch, height, width, outputs)


def sees_all(height: int, width: int, size: int) -> bool:
    """Return whether a kernel of so many taps a side reaches from each pixel of a map to each other."""
    return max(height, width) <= size // 2 + 1


@jax.custom_vjp
def same(x: Array, kernel: Array) -> Array:
    """Convolve maps (batch, height, width, in) with a kernel (k, k, in, out), k odd; sides stay as they are.

    Beyond the edge are zeros, k // 2 of them.
    """
    if _as_product(x, kernel):
        return _taps(x, len(kernel)) @ kernel.reshape(-1, kernel.shape[-1])
    return _convolved(x, kernel)


def _same_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return same(x, kernel), (x, kernel)


def _same_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    x, kernel = saved
    size, _, inputs, outputs = kernel.shape
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    if _as_product(x, kernel):
        to_input = _gathered(cotangent @ kernel.reshape(-1, outputs).T, size, inputs)
    else:
        to_input = _convolved(cotangent, turned)
    if inputs <= outputs:
        return to_input, _correlated(x, cotangent, size)
    # The same sums with the output's taps around each pixel of the input: the kernel turned round.
    return to_input, _correlated(cotangent, x, size)[::-1, ::-1].transpose(0, 1, 3, 2)


same.defvjp(_same_forward, _same_backward)


def _as_product(x: Array, kernel: Array) -> bool:
    # On a map smaller than the kernel the library's convolution takes five to ten times as long.
    return kernel.shape[2] <= FEW or min(x.shape[1:3]) < len(kernel)


def _convolved(x: Array, kernel: Array) -> Array:
    reach = len(kernel) // 2
    return lax.conv_general_dilated(x, kernel, (1, 1), [(reach, reach)] * 2, dimension_numbers=_LAYOUT)


def _correlated(x: Array, y: Array, size: int) -> Array:
    """Return (size, size, in, out): sums of products of a map's pixels with those of another, shifted."""
    reach = size // 2
    return lax.conv_general_dilated(
        x, y, (1, 1), [(reach, reach)] * 2, dimension_numbers=("CHWN", "IHWO", "HWNC")
    )


def _taps(x: Array, size: int) -> Array:
    """Return (batch, height, width, size * size * channels): what a window around each pixel sees."""
    height, width = x.shape[1:3]
    reach = size // 2
    framed = jnp.pad(x, [(0, 0), (reach, reach), (reach, reach), (0, 0)])
    return jnp.concatenate(
        [framed[:, i : i + height, j : j + width] for i in range(size) for j in range(size)], axis=-1
    )


def _gathered(taps: Array, size: int, channels: int) -> Array:
    """Add up what each pixel is in the windows of others: the transpose of `_taps`."""
    reach = size // 2
    total = None
    for number in range(size * size):
        i, j = divmod(number, size)
        part = taps[..., number * channels : (number + 1) * channels]
        placed = jnp.pad(part, [(0, 0), (i, size - 1 - i), (j, size - 1 - j), (0, 0)])
        total = placed if total is None else total + placed
    assert total is not None
    return total[:, reach : total.shape[1] - reach, reach : total.shape[2] - reach]


def _pixels(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])
