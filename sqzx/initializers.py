"""Initial kernels by the name of their source, drawn from a JAX key or from a NumPy generator.

JAX compiles a program for each shape that it draws, which takes ten seconds for a SqueezeNet; NumPy takes
none. So training draws with NumPy, and a module made by hand with `rngs=` draws with JAX, from one rule.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Initializer = Callable[..., Any]


def kernel_initializer(
    source: Literal["xavier", "kaiming"], layer: Literal["conv", "classifier"]
) -> Initializer:
    """Return `init(key, shape, dtype)` for a kernel (k, k, in, out).

    "conv": U(-a, a); Caffe's xavier has a = sqrt(3 / fan_in) (variance 1 / fan_in, by the inputs alone),
    torchvision's kaiming_uniform a = sqrt(6 / fan_in). "classifier" (conv10): N(0, 0.01) in both.
    """

    def init(key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32, *_: Any) -> Any:
        if layer == "classifier":
            return 0.01 * _normal(key, shape, dtype)
        fan_in = math.prod(shape[:-1])
        bound = math.sqrt((3 if source == "xavier" else 6) / fan_in)
        return bound * _uniform(key, shape, dtype)

    return init


def _uniform(key: Array | np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    if isinstance(key, np.random.Generator):
        return key.uniform(-1, 1, shape).astype(dtype)
    return jax.random.uniform(key, shape, dtype, -1, 1)


def _normal(key: Array | np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    if isinstance(key, np.random.Generator):
        return key.standard_normal(shape).astype(dtype)
    return jax.random.normal(key, shape, dtype)
