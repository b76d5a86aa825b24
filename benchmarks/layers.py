"""Each choice of `sqzx.layers` and `sqzx.cpu_convolutions` against the plain operation and its alternatives.

    python -m benchmarks.layers

Forward and backward together, at 16 images, on one core, in microseconds of the processor (the lower quartile
of many calls). "rule" is what training runs; "product" and "convolution" are the two forms of
`cpu_convolutions.same` whatever the channels (a map of which each pixel sees all is dense in any case),
"plain" is the library's operation with the gradient that JAX derives for it.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sqzx import cpu_convolutions, layers

IMAGES, SECONDS = 16, 0.4
PLAIN: dict[str, Any] = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

# Sides, inputs, outputs: the layers of squeezenet_small on 28x28 pixels at base_e 32 and 128, and at squeeze
# ratio 1.0.
WIDE = [
    *[(14, 4, 16), (14, 8, 32), (7, 12, 48), (7, 16, 64)],
    *[(14, 16, 64), (14, 32, 128), (7, 48, 192), (7, 64, 256)],
    *[(14, 32, 16), (14, 64, 32), (7, 96, 48), (7, 128, 64)],
    *[(2, 64, 32), (3, 128, 64)],
]
POINTWISE = [(14, 32, 4), (14, 4, 16), (7, 96, 12), (14, 128, 16), (14, 16, 64), (7, 256, 32), (14, 32, 32)]
POOLS = [(28, 32), (14, 64), (7, 128), (14, 256)]

HUGE = 10**9
RULE = cpu_convolutions.FEW


def main() -> None:
    argparse.ArgumentParser(description="Each form of a layer with the plain operation.").parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for layer in WIDE:
        shown(3, *layer, {"rule": RULE, "product": HUGE, "convolution": 0})
    for layer in POINTWISE:
        shown(1, *layer, {"rule": RULE})
    for sides, channels in POOLS:
        x = drawn(IMAGES, sides, sides, channels)
        edge = (0, 1 - sides % 2)
        window = ((1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), edge, edge, (0, 0)])
        ours = cost(lambda x: layers.max_pool(x, "ceil"), x)
        plain = cost(lambda x, w=window: lax.reduce_window(x, -jnp.inf, lax.max, *w), x)
        print(f"pool {sides}x{sides}x{channels}: rule {ours:.0f}, plain {plain:.0f} ({plain / ours:.1f}x)")


def shown(size: int, sides: int, inputs: int, outputs: int, forms: dict[str, int]) -> None:
    """Print what each form of a convolution costs, told by the most inputs of which it makes a product."""
    x, w = drawn(IMAGES, sides, sides, inputs), drawn(size, size, inputs, outputs)
    padding = [(size // 2, size // 2)] * 2
    costs = {}
    for form, few in forms.items():
        with mock.patch.object(cpu_convolutions, "FEW", few):
            # A new function each time: JAX remembers what it traced.
            costs[form] = cost(lambda x, w: layers.convolve(x, w, (1, 1), padding, **PLAIN), x, w)
    costs["plain"] = cost(lambda x, w: lax.conv_general_dilated(x, w, (1, 1), padding, **PLAIN), x, w)
    told = ", ".join(f"{form} {value:.0f}" for form, value in costs.items())
    name = f"{size}x{size} {sides}x{sides} {inputs}->{outputs}"
    print(f"{name}: {told} ({costs['plain'] / costs['rule']:.1f}x)", flush=True)


def drawn(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def cost(function: Callable[..., Any], *arguments: Any) -> float:
    """Return the microseconds of a value and its gradients."""
    cotangent = jnp.ones(jax.eval_shape(function, *arguments).shape)

    def both(cotangent: Any, *arguments: Any) -> Any:
        value, pull = jax.vjp(function, *arguments)
        return value, pull(cotangent)

    program = jax.jit(both).lower(cotangent, *arguments).compile()
    jax.block_until_ready(program(cotangent, *arguments))
    times: list[float] = []
    begun = time.process_time()
    while time.process_time() - begun < SECONDS or len(times) < 10:
        clock = time.process_time()
        jax.block_until_ready(program(cotangent, *arguments))
        times.append(time.process_time() - clock)
    return 1e6 * float(np.percentile(times, 25))


if __name__ == "__main__":
    main()
