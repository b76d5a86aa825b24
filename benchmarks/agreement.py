"""Counts by shape against the networks themselves: `python -m benchmarks.agreement 1000`.

The tests ask for a hundred random networks, this for as many as you like.
"""

import argparse
import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sqzx.architectures import AlexNetConfig, ModelConfig, SqueezeNetConfig
from sqzx.counting import Shape, count
from sqzx.errors import ArchitectureError
from sqzx.network import build


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts by shape against random networks themselves.")
    parser.add_argument("number", type=int, nargs="?", default=1000, help="of networks")
    number = parser.parse_args().number
    wrong = 0
    for seed in range(number):
        config, shape = (random_alexnet if seed % 4 == 3 else random_squeezenet)(seed)
        if told := disagreement(config, shape):
            wrong += 1
            print(f"seed {seed}: {told}\n  {config} on {shape}")
    print(f"{number - wrong} of {number} random networks agree with their count")
    sys.exit(wrong > 0)


def disagreement(config: ModelConfig, shape: Shape) -> str | None:
    """Return where the count of a network differs from its module, parameters and maps; None for nowhere."""
    graph, state = nnx.split(nnx.eval_shape(lambda: build(config, shape, rngs=nnx.Rngs(0))))
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    maps = jax.eval_shape(lambda state, images: nnx.merge(graph, state).maps(images), state, images)
    built = {
        name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(part))
        for name, part in nnx.to_pure_dict(state).items()
    }
    network = count(config, shape)
    counted = {module.name: module.params for module in network.modules if module.params}
    if built != counted:
        return f"parameters {built} were counted as {counted}"
    # A module's maps are 1x1 where its head has none: those of dense layers and the mean of conv10.
    shapes = {name: x.shape[1:] if x.ndim == 4 else (1, 1, *x.shape[1:]) for name, x in maps.items()}
    logits = shapes.pop("logits")
    expected = {module.name: module.output_shape for module in network.modules}
    if logits != (1, 1, config.num_classes) or expected.pop("pool10", logits) != logits:
        return f"logits {logits}"
    return None if shapes == expected else f"maps {shapes} were counted as {expected}"


def random_squeezenet(seed: int) -> tuple[SqueezeNetConfig, Shape]:
    """Draw a small network, every option of the macroarchitecture among them, and images that it fits."""
    random = np.random.default_rng(seed)
    while True:
        base_e = int(random.integers(2, 13))
        num_fires = int(random.integers(1, 5))
        layers = [1 + i for i in range(num_fires + 1) if random.random() < 0.4]
        values: dict[str, Any] = {
            "base_e": base_e,
            "incr_e": int(random.choice([0, 1, base_e, 7])),
            "pct_3x3": float(random.uniform(0.1, 0.9)),
            "freq": int(random.integers(1, 4)),
            "squeeze_ratio": float(random.uniform(0.1, 1)),
            "num_fires": num_fires,
            "stem_features": int(random.choice([1, 3, base_e])),
            "stem_kernel": int(random.integers(1, 8)),
            "stem_stride": int(random.integers(1, 4)),
            "stem_padding": int(random.integers(0, 3)),
            "pool_after": tuple(random.permutation(layers).tolist()),
            "pool_rounding": str(random.choice(["ceil", "floor"])),
            "bypass": str(random.choice(["none", "simple", "complex"])),
            "conv10_padding": int(random.integers(0, 2)),
            "final_relu": bool(random.random() < 0.5),
            "activation": str(random.choice(["relu", "elu"])),
            "squeeze_activation": str(random.choice(["same", "none"])),
            "init": str(random.choice(["xavier", "kaiming"])),
            "num_classes": int(random.integers(2, 12)),
        }
        shape = _random_shape(random)
        try:
            config = SqueezeNetConfig(**values)
            count(config, shape)
        except ArchitectureError:
            continue
        return config, shape


def random_alexnet(seed: int) -> tuple[AlexNetConfig, Shape]:
    """Draw a small network of one to four convolutions and up to two hidden dense layers, and its images."""
    random = np.random.default_rng(seed)
    while True:
        depth = int(random.integers(1, 5))
        values: dict[str, Any] = {
            "conv_features": tuple(2 * n for n in _whole(random, 1, 6, depth)),
            "conv_kernels": _whole(random, 1, 6, depth),
            "conv_paddings": _whole(random, 0, 3, depth),
            "conv_groups": _whole(random, 1, 3, depth),
            "stem_stride": int(random.integers(1, 4)),
            "lrn_after": tuple(n for n in range(1, depth + 1) if random.random() < 0.4),
            "pool_after": tuple(n for n in range(1, depth + 1) if random.random() < 0.4),
            "pool_rounding": str(random.choice(["ceil", "floor"])),
            "fc_features": _whole(random, 1, 9, int(random.integers(0, 3))),
            "activation": str(random.choice(["relu", "elu"])),
            "init": str(random.choice(["gaussian", "xavier", "kaiming"])),
            "num_classes": int(random.integers(2, 12)),
        }
        shape = _random_shape(random)
        try:
            config = AlexNetConfig(**values)
            count(config, shape)
        except ArchitectureError:
            continue
        return config, shape


def _random_shape(random: np.random.Generator) -> Shape:
    return (*_whole(random, 5, 30, 2), *_whole(random, 1, 4, 1))


def _whole(random: np.random.Generator, low: int, high: int, size: int) -> tuple[int, ...]:
    return tuple(int(n) for n in random.integers(low, high, size))


if __name__ == "__main__":
    main()
