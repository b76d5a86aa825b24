"""What a trial needs of memory: batches that stay near a core, and what its process will take."""

import math

from sqzx.config import TrialConfig
from sqzx.data.info import DatasetInfo

NEAR_BYTES = 2 << 20
"""Twice the second-level cache of a core of the machine where it was found by measurement."""

FIXED_MB, LAYER_MB = 280.0, 7.7
"""Python with JAX, and the compiled program of each layer with parameters, in MB (1e6 bytes)."""

COPIES = 18
"""Floats that a parameter needs at the peak: itself, its gradients and moments, and these once more while a
checkpoint is written."""

MAPS = 6
"""Floats that an element of a network's largest maps needs in a training step."""


def micro_batch(batch: int, peak_activations: int) -> int:
    """Return the number of images at once for which a layer's maps stay near a core of a CPU.

    The gradient of a batch is the sum of those of its parts, and a part whose largest layer
    (`counting.Network.peak_activations`) fits into `NEAR_BYTES` runs faster: 16 images of 28x28 pixels 1.4
    times as fast as 128. A batch that has no divisor near that number stays whole.
    """
    most = max(1, NEAR_BYTES // (4 * peak_activations))
    divisors = [n for n in range(1, batch + 1) if batch % n == 0 and n <= most]
    return divisors[-1] if divisors[-1] > most // 4 else batch


def expected_memory_mb(
    config: TrialConfig, info: DatasetInfo, *, params: int, layers: int, peak_activations: int
) -> float:
    """Return the expected peak of the resident memory of a trial on a CPU, in MB (1e6 bytes).

    `params` and `peak_activations` are those of `counting.Network`, `layers` is how many have parameters. The
    numbers above come from measured trials (`peak_memory_mb` of their results) of 8 to 26 layers and up to
    19 million parameters on 8x8 and 28x28 images; there the expectation is right within 30 %.
    """
    images = 0
    if info.storage == "arrays":  # of records there are a few batches
        images = (info.train_examples + info.test_examples) * math.prod(config.data.image_shape)
    part = micro_batch(config.train.batch_size, peak_activations)
    return (
        FIXED_MB + LAYER_MB * layers + (images + 4 * (COPIES * params + MAPS * part * peak_activations)) / 1e6
    )
