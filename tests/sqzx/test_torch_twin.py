"""The networks against PyTorch: equal logits and equal gradients from equal parameters.

The twin is `benchmarks/torch_network.py`, written from the paper and Caffe's definitions. What it gave for
`CASES` is in `frozen/torch.json`, so that these hold where PyTorch is not installed; to write it anew:

    PYTHONPATH=. python tests/sqzx/test_torch_twin.py tests/sqzx/frozen/torch.json

Parameters and images come from `made`, integer arithmetic that is the same on every machine.

Gradients jump where a ReLU's input changes its sign or a pooling its maximum. In single precision a large
network has some values that rounding alone decides (of the 28,000 windows of pool2 in AlexNet, one, and
conv2's gradient was 4 % another). So gradients are compared in double precision, and in single where no
value lies so near.

Where the maxima of a pooling tie, both give the gradient to the first of the window. Rounding may still make
ties of one and not of the other; such near ties are copies of one number (an earlier pooling, whose windows
overlap, has one maximum in two places), and whichever copy a gradient comes by, it arrives at the same
parameters.
"""

import dataclasses
import functools
import json
import math
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from benchmarks.agreement import random_alexnet, random_squeezenet
from sqzx.architectures import FAMILIES, MODEL_PRESETS, AlexNetConfig, ModelConfig
from sqzx.counting import Shape, pooled_size
from sqzx.network import Parameters, functional, initial_parameters

FROZEN = Path(__file__).with_name("frozen") / "torch.json"
DOUBLE, SINGLE = 1e-10, 1e-4
"""Differences allowed, as parts of the largest value of a tensor; rounding leaves some 1e-15 and 1e-6."""

DIGITS = 1e-8
"""The same for the frozen values, which have ten digits."""

QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compiler options that take a tenth of the time; which network it is has nothing to do with them."""


class Case(NamedTuple):
    """A network and its input, `number` images of `shape`."""

    config: ModelConfig
    shape: Shape
    number: int = 1


class Outcome(NamedTuple):
    """Logits, and the gradient of their cross-entropy by parameter, as "fire2.squeeze.kernel"."""

    logits: np.ndarray
    gradients: dict[str, np.ndarray]


def preset(name: str, **changes: Any) -> ModelConfig:
    values = {key.removeprefix("model."): value for key, value in MODEL_PRESETS[name].items()}
    return FAMILIES[values["family"]](**values | changes)


CASES = {
    "v1.0": Case(preset("squeezenet_v1_0"), (227, 227, 3)),
    "v1.0, odd sides": Case(preset("squeezenet_v1_0", num_classes=10), (131, 97, 3)),
    "v1.1": Case(preset("squeezenet_v1_1"), (227, 227, 3)),
    "v1.1 at 224": Case(preset("squeezenet_v1_1", num_classes=10), (224, 224, 3)),
    "v1.1, odd sides": Case(preset("squeezenet_v1_1", num_classes=10), (128, 227, 3)),
    "simple bypass": Case(preset("squeezenet_v1_0", num_classes=10, bypass="simple"), (67, 75, 3)),
    "complex bypass": Case(preset("squeezenet_v1_0", num_classes=10, bypass="complex"), (67, 75, 3)),
    "floor, elu, linear squeeze": Case(
        preset(
            "squeezenet_v1_1",
            num_classes=10,
            pool_rounding="floor",
            activation="elu",
            squeeze_activation="none",
        ),
        (67, 75, 3),
    ),
    "squeezenet_small": Case(preset("squeezenet_small", num_classes=10), (28, 28, 1), 2),
    # A last map of 3x2, so that no order of its axes looks like another.
    "narrow AlexNet": Case(preset("alexnet", num_classes=10, fc_features=(48, 32)), (131, 99, 3), 2),
    "alexnet_small": Case(preset("alexnet_small", num_classes=10), (28, 28, 1), 2),
}

FAR_FROM_JUMPS = ("squeezenet_small", "narrow AlexNet", "alexnet_small")
"""Cases in which no ReLU has an input, and no maximum a rival, nearer than 1e-6 of the largest value."""

ALEXNET = Case(preset("alexnet"), (227, 227, 3))

SMALL = {
    "SqueezeNet": Case(
        preset(
            "squeezenet_v1_1",
            base_e=8,
            incr_e=4,
            squeeze_ratio=0.5,
            num_fires=4,
            stem_features=6,
            bypass="complex",
            num_classes=5,
        ),
        (35, 42, 3),
        2,
    ),
    # All its layers are as wide as each other, so that no kernel has a shape which betrays its axes.
    "AlexNet": Case(
        preset("alexnet_small", conv_features=(12,) * 5, fc_features=(12, 12), num_classes=12),
        (28, 21, 3),
        2,
    ),
}

# In the 9th a squeeze layer of one filter is dead.
RANDOM = {f"SqueezeNet {seed}": random_squeezenet(seed) for seed in range(26) if seed != 9}
RANDOM |= {f"AlexNet {seed}": random_alexnet(seed) for seed in range(10)}


# --- parameters and images --------------------------------------------------------------------------------


def made(name: str, shape: Shape) -> np.ndarray:
    """Return numbers in [-1, 1) that only the name and the place decide, in no visible order (a hash)."""
    n = np.arange(math.prod(shape), dtype=np.uint32) + np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):  # how MurmurHash3 ends
        n ^= n >> np.uint32(shift)
        n *= np.uint32(factor)
    n ^= n >> np.uint32(16)
    return (n / 2.0**31 - 1).reshape(shape)


def brightness(config: ModelConfig) -> float:
    """Return the largest pixel. Caffe's normalisation changes values of 0..255, and hardly those near 1."""
    return 100.0 if isinstance(config, AlexNetConfig) else 1.0


def images_of(case: Case) -> np.ndarray:
    images = brightness(case.config) * made("images", (case.number, *case.shape))
    return images.astype(np.float32)


def labels_of(case: Case) -> np.ndarray:
    return (3 + 5 * np.arange(case.number)) % case.config.num_classes


def parameters_of(case: Case, initial: Parameters) -> Parameters:
    """Return single-precision parameters that all matter: no bias is 0, no layer drowns the ones before it.

    Kernels have the variance that keeps the size of a map under a ReLU, biases go with that size, and the
    last layer brings it to 1.
    """
    size = brightness(case.config)
    last = list(initial)[-1]

    def value(path: Any, leaf: np.ndarray) -> np.ndarray:
        name = ".".join(key.key for key in path)
        numbers = made(name, leaf.shape)
        if path[-1].key == "bias":
            numbers = (1 if path[0].key == last else size) * (0.1 + 0.3 * numbers)
        else:
            numbers *= math.sqrt(6 / math.prod(leaf.shape[:-1])) / (size if path[0].key == last else 1)
        return numbers.astype(np.float32)

    return jax.tree_util.tree_map_with_path(value, initial)


# --- ours and theirs --------------------------------------------------------------------------------------


def flat(tree: Parameters) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {".".join(key.key for key in path): np.asarray(leaf) for path, leaf in leaves}


def ours(case: Case, dtype: type = np.float64, options: dict[str, Any] | None = None) -> Outcome:
    apply, parameters = functional(case.config, case.shape, 0)
    labels = labels_of(case)

    def loss(parameters: Parameters, images: Any) -> Any:
        logits = apply(parameters, images)
        return -jax.nn.log_softmax(logits)[np.arange(len(labels)), labels].mean(), logits

    with jax.enable_x64(dtype is np.float64):
        # One name for all three: each is a quarter or half of a gigabyte in AlexNet, and is let go.
        parameters = parameters_of(case, parameters)
        parameters = jax.tree.map(lambda x: x.astype(dtype), parameters)
        run = jax.jit(jax.grad(loss, has_aux=True), compiler_options=options)
        gradients, logits = run(parameters, images_of(case).astype(dtype))
        assert logits.dtype == dtype
        return Outcome(np.asarray(logits), flat(gradients))


def theirs(case: Case) -> Outcome:
    import torch

    from benchmarks.torch_network import gradients, load, network

    torch.set_num_threads(1)
    module = network(case.config, case.shape).double().eval()
    load(module, parameters_of(case, initial_parameters(case.config, case.shape, 0)))
    images = images_of(case).astype(np.float64).transpose(0, 3, 1, 2)
    logits = module(torch.from_numpy(np.ascontiguousarray(images)))
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels_of(case))).backward()
    return Outcome(logits.detach().numpy(), flat(gradients(module)))


@functools.cache
def our_outcome(name: str) -> Outcome:
    return ours(CASES[name], options=QUICK)


@functools.cache
def their_outcome(name: str) -> Outcome:
    return theirs(CASES[name])


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference from `b` as a part of its largest value."""
    assert a.shape == b.shape
    assert b.any(), "a dead network proves nothing"
    return float(np.abs(a - b).max() / np.abs(b).max())


def assert_equal(one: Outcome, other: Outcome, tolerance: float) -> None:
    assert one.gradients.keys() == other.gradients.keys()
    found = {name: relative(one.gradients[name], other.gradients[name]) for name in other.gradients}
    found["logits"] = relative(one.logits, other.logits)
    assert {name: part for name, part in found.items() if not part <= tolerance} == {}


# --- frozen -----------------------------------------------------------------------------------------------


def summary(name: str, gradient: np.ndarray) -> list[float]:
    """Return the length of a gradient and its products with two vectors of numbers of variance 1."""
    g = gradient.astype(np.float64).ravel()
    vectors = [math.sqrt(3) * made(f"{name} {i}", g.shape) for i in (1, 2)]
    return [math.sqrt(g @ g), *(float(g @ v) for v in vectors)]


def freeze(path: Path) -> None:
    def cut(values: list[float]) -> list[float]:
        return [float(f"{x:.10g}") for x in values]

    lines = []
    for name, case in CASES.items():
        outcome = theirs(case)
        logits = json.dumps([cut(row) for row in outcome.logits.tolist()])
        rows = [f"    {json.dumps(n)}: {cut(summary(n, g))}" for n, g in outcome.gradients.items()]
        gradients = ",\n".join(rows)
        lines.append(
            f' {json.dumps(name)}: {{\n  "logits": {logits},\n  "gradients": {{\n{gradients}\n  }}}}'
        )
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


@functools.cache
def frozen() -> dict[str, Any]:
    return json.loads(FROZEN.read_text())


def assert_frozen(name: str, outcome: Outcome, tolerance: float) -> None:
    expected = frozen()[name]
    assert relative(outcome.logits, np.array(expected["logits"])) <= tolerance
    assert outcome.gradients.keys() == expected["gradients"].keys()
    for parameter, gradient in outcome.gradients.items():
        length, *products = expected["gradients"][parameter]
        assert length > 0, "a dead network proves nothing"
        np.testing.assert_allclose(
            summary(parameter, gradient), [length, *products], rtol=0, atol=tolerance * length
        )


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_those_frozen(name):
    assert_frozen(name, our_outcome(name), DIGITS)


@pytest.mark.parametrize("name", FAR_FROM_JUMPS)
def test_so_are_they_in_single_precision_as_training_compiles_it(name):
    assert_frozen(name, ours(CASES[name], np.float32), SINGLE)


@pytest.mark.parametrize("name", ["v1.0", "v1.1", "complex bypass", "floor, elu, linear squeeze"])
def test_so_are_the_logits_of_large_networks(name):
    case = CASES[name]
    apply, initial = functional(case.config, case.shape, 0)
    logits = jax.jit(apply)(parameters_of(case, initial), images_of(case))
    assert logits.dtype == np.float32
    assert relative(np.asarray(logits), np.array(frozen()[name]["logits"])) <= SINGLE


# --- a mistake would be noticed ---------------------------------------------------------------------------


def mistaken(kernel: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a kernel with each two axes exchanged that are as long as each other."""
    if kernel.ndim == 4 and 1 < kernel.shape[0] == kernel.shape[1]:
        yield "rows for columns", kernel.swapaxes(0, 1)
    if kernel.shape[-2] == kernel.shape[-1]:
        yield "inputs for outputs", kernel.swapaxes(-2, -1)


@pytest.mark.parametrize(("family", "mistakes"), [("SqueezeNet", 13), ("AlexNet", 8)])
def test_a_kernel_with_two_axes_exchanged_is_another_network(family, mistakes):
    case = SMALL[family]
    apply, initial = functional(case.config, case.shape, 0)
    parameters, apply = parameters_of(case, initial), jax.jit(apply, compiler_options=QUICK)
    right = np.asarray(apply(parameters, images_of(case)))
    seen = 0
    kernels = {name: leaf for name, leaf in flat(parameters).items() if leaf.ndim > 1}
    for name, kernel in kernels.items():
        for mistake, wrong in mistaken(kernel):
            changed = jax.tree_util.tree_map_with_path(
                lambda path, leaf, name=name, wrong=wrong: (
                    wrong if ".".join(key.key for key in path) == name else leaf
                ),
                parameters,
            )
            assert relative(np.asarray(apply(changed, images_of(case))), right) > 100 * SINGLE, (
                name,
                mistake,
            )
            seen += 1
    assert seen == mistakes


def test_a_dense_layer_that_sees_channels_first_is_another_network():
    case = SMALL["AlexNet"]
    apply, initial = functional(case.config, case.shape, 0)
    parameters, apply = parameters_of(case, initial), jax.jit(apply, compiler_options=QUICK)
    right = np.asarray(apply(parameters, images_of(case)))
    kernel = parameters["fc6"]["kernel"]
    parameters["fc6"]["kernel"] = kernel.reshape(12, -1, 12).swapaxes(0, 1).reshape(kernel.shape)
    assert relative(np.asarray(apply(parameters, images_of(case))), right) > 100 * SINGLE


def test_the_normalisation_matters_on_these_images():
    case = SMALL["AlexNet"]
    initial = functional(case.config, case.shape, 0)[1]
    logits = []
    for config in (case.config, dataclasses.replace(case.config, lrn_after=())):
        apply = jax.jit(functional(config, case.shape, 0)[0], compiler_options=QUICK)
        logits.append(np.asarray(apply(parameters_of(case, initial), images_of(case))))
    assert relative(*logits) > 100 * SINGLE


# --- PyTorch itself ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.mark.usefixtures("torch")
class TestWithPyTorch:
    """The parameters of one in the other: all logits, all gradients, value by value."""

    @pytest.mark.parametrize("name", CASES)
    def test_it_gives_what_is_frozen(self, name):
        assert_frozen(name, their_outcome(name), DIGITS)

    @pytest.mark.parametrize("name", CASES)
    def test_the_named_networks_equal_it(self, name):
        assert_equal(our_outcome(name), their_outcome(name), DOUBLE)

    @pytest.mark.parametrize("name", SMALL)
    def test_the_small_networks_equal_it(self, name):
        assert_equal(ours(SMALL[name], options=QUICK), theirs(SMALL[name]), DOUBLE)

    @pytest.mark.parametrize("name", RANDOM)
    def test_random_networks_equal_it(self, name):
        case = Case(*RANDOM[name], 2)
        assert_equal(ours(case, options=QUICK), theirs(case), DOUBLE)

    def test_alexnet_with_all_its_61_million_parameters_equals_it(self):
        assert_equal(ours(ALEXNET, options=QUICK), theirs(ALEXNET), DOUBLE)

    @pytest.mark.parametrize("rounding", ["ceil", "floor"])
    def test_a_pooled_side_is_as_long(self, torch, rounding):
        pool = torch.nn.MaxPool2d(3, 2, ceil_mode=rounding == "ceil")
        shortest = 2 if rounding == "ceil" else 3
        for side in range(shortest, 60):
            assert pool(torch.zeros(1, 1, side, 9)).shape[2] == pooled_size(side, rounding), side
        with pytest.raises(RuntimeError, match="too small"):
            pool(torch.zeros(1, 1, shortest - 1, 9))
        assert pooled_size(shortest - 1, rounding) == 0

    @pytest.mark.parametrize(("given", "wanted"), [("complex", "simple"), ("simple", "complex")])
    def test_parameters_of_another_network_are_not_loaded(self, given, wanted):
        from benchmarks.torch_network import load, network

        case = SMALL["SqueezeNet"]
        configs = [dataclasses.replace(case.config, bypass=bypass) for bypass in (given, wanted)]
        with pytest.raises((ValueError, KeyError), match="bypass"):
            load(network(configs[1], case.shape), initial_parameters(configs[0], case.shape, 0))


if __name__ == "__main__":
    freeze(Path(sys.argv[1]))
