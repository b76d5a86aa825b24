"""Initial parameters by the name of their source, drawn from a JAX key or from a NumPy generator.

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

from sqzx.counting import Layer

Initializer = Callable[..., Any]

Role = Literal["conv", "grouped", "hidden", "classifier"]
"""What a layer is to an initialiser: a convolution, one in groups, a dense layer, the last layer."""


def role_of(layer: Layer, *, last: bool) -> Role:
    """Return the role of a counted layer; `last` says that it is the last one with parameters."""
    if last:
        return "classifier"
    if layer.kind == "dense":
        return "hidden"
    return "grouped" if layer.groups > 1 else "conv"


def kernel_initializer(source: Literal["gaussian", "xavier", "kaiming"], role: Role) -> Initializer:
    """Return `init(key, shape, dtype)` for a kernel whose last axis is its outputs.

    "gaussian" is N(0, 0.01), and N(0, 0.005) in hidden dense layers, as in Caffe's AlexNet. The others are
    U(-a, a): Caffe's xavier has a = sqrt(3 / fan_in) (variance 1 / fan_in, by the inputs alone),
    torchvision's kaiming_uniform a = sqrt(6 / fan_in). The classifier is N(0, 0.01) with all of them.
    """

    def init(key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32, *_: Any) -> Any:
        if role == "classifier" or source == "gaussian":
            return (0.005 if role == "hidden" else 0.01) * _normal(key, shape, dtype)
        fan_in = math.prod(shape[:-1])
        bound = math.sqrt((3 if source == "xavier" else 6) / fan_in)
        return bound * _uniform(key, shape, dtype)

    return init


def bias_initializer(source: Literal["gaussian", "xavier", "kaiming"], role: Role) -> Initializer:
    """Return `init(key, shape, dtype)` for a bias: 0, or 0.1 where Caffe's AlexNet ("gaussian") has it."""
    value = 0.1 if source == "gaussian" and role in ("grouped", "hidden") else 0.0
    return lambda key, shape, dtype=jnp.float32, *_: np.full(shape, value, dtype)


def _uniform(key: Array | np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    if isinstance(key, np.random.Generator):
        return key.uniform(-1, 1, shape).astype(dtype)
    return jax.random.uniform(key, shape, dtype, -1, 1)


def _normal(key: Array | np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    if isinstance(key, np.random.Generator):
        return key.standard_normal(shape).astype(dtype)
    return jax.random.normal(key, shape, dtype)
