"""How long a network takes for one image, on this device."""

import time
from typing import NamedTuple

import jax
import numpy as np

from sqzx.architectures import ModelConfig
from sqzx.counting import Shape
from sqzx.network import functional
from sqzx.provenance import available_cores, provenance

WARM_UP, FEWEST, MOST = 3, 20, 1000
SECONDS = 2.0


class Latency(NamedTuple):
    """Milliseconds of one forward pass at batch 1, compiled, float32: median and quartiles of `runs`."""

    device: str
    cores: int
    runs: int
    median_ms: float
    low_ms: float
    high_ms: float

    def told(self) -> str:
        """Return it in one line."""
        return (
            f"latency {self.median_ms:.3g} ms for one image (median of {self.runs}; half of them within "
            f"{self.low_ms:.3g} to {self.high_ms:.3g} ms), {self.device}"
        )


def measure(config: ModelConfig, image_shape: Shape) -> Latency:
    """Time the network with fresh parameters, for about two seconds after compilation."""
    apply, parameters = functional(config, image_shape, seed=0)
    images = jax.device_put(np.random.default_rng(0).normal(size=(1, *image_shape)).astype(np.float32))
    parameters = jax.device_put(parameters)
    program = jax.jit(apply).lower(parameters, images).compile()
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < WARM_UP + FEWEST or (
        len(times) < WARM_UP + MOST and time.perf_counter() - begun < SECONDS
    ):
        clock = time.perf_counter()
        program(parameters, images).block_until_ready()
        times.append(1000 * (time.perf_counter() - clock))
    low, median, high = np.percentile(times[WARM_UP:], [25, 50, 75])
    cores = len(available_cores())
    device = jax.devices()[0]
    named = (
        f"{provenance()['processor']}, {cores} core{'s' * (cores > 1)}"
        if device.platform == "cpu"
        else device.device_kind
    )
    return Latency(named, cores, len(times) - WARM_UP, float(median), float(low), float(high))
