"""Compression without data: weights are shared and coded, zeros stay zeros."""

import numpy as np

from sqzx.compression.compressed import Compressed, named_layers, with_half_tables, with_shared
from sqzx.compression.config import CompressConfig
from sqzx.compression.weight_sharing import SharedWeights, share
from sqzx.errors import InputError
from sqzx.model import Model

MOST_VALUES = 255
"""Values of a codebook of 8 bits, besides 0."""


def compress(model: Model, config: CompressConfig) -> Compressed:
    """Return a network whose layers share 2^bits - 1 values and 0 each, clustered afresh.

    A kernel that has no more different values than that keeps them to the bit, in float32 if it must be. One
    that has all 255 that 8 bits can hold is already shared, and is clustered all the same: `lossless` is for
    what it is.
    """
    kernels = _kernels(model)
    room = min(2**config.bits - 1, MOST_VALUES - 1)
    exact = {name: found for name, kernel in kernels.items() if (found := distinct(kernel, room))}
    shared = {
        name: exact[name] if name in exact else without_unused(share(kernel, config.bits))
        for name, kernel in kernels.items()
    }
    stage = {"stage": "share", "bits": config.bits, "tables": config.tables}
    compressed = with_shared(Compressed(model=model, history=(stage,)), shared)
    if config.tables == "f32":
        return compressed
    return with_half_tables(compressed, except_codebooks=frozenset(exact))


def lossless(model: Model) -> Compressed:
    """Return a network with every weight as it is, each layer's different values as its codebook.

    `InputError` where a layer has more than 255 besides 0.
    """
    shared = {}
    for name, kernel in _kernels(model).items():
        found = distinct(kernel, MOST_VALUES)
        if found is None:
            raise InputError(
                f"--lossless: {name} has more than {MOST_VALUES} different weights besides 0; it is for "
                "networks whose weights are shared already"
            )
        shared[name] = found
    return with_shared(Compressed(model=model, history=({"stage": "share", "lossless": True},)), shared)


def distinct(kernel: np.ndarray, most: int) -> SharedWeights | None:
    """Return a kernel with its own values as the codebook, in rising order; None if there are more than
    `most` besides 0.0. -0.0 is a value.
    """
    bits = np.ascontiguousarray(kernel).view(np.uint32)
    found = np.unique(bits[bits != 0])
    if found.size > most:
        return None
    found = found[np.argsort(found.view(np.float32), kind="stable")]
    codebook = np.append(np.float32(0), found.view(np.float32))
    by_bits = np.argsort(codebook.view(np.uint32), kind="stable")
    ranks = np.searchsorted(codebook.view(np.uint32)[by_bits], bits)
    return SharedWeights(codebook, by_bits[ranks].astype(np.uint8).reshape(kernel.shape))


def without_unused(shared: SharedWeights) -> SharedWeights:
    """Return the same kernel without the values that no weight has; the order of the others stays."""
    used = np.bincount(shared.codes.reshape(-1), minlength=shared.codebook.size) > 0
    used[0] = True
    numbers = (np.cumsum(used) - 1).astype(np.uint8)
    return SharedWeights(shared.codebook[used], numbers[shared.codes])


def squared_error(before: Model, after: Model) -> float:
    """Return the sum of (w - w')^2 over the sum of w^2, over all kernels."""
    pairs = zip(_kernels(before).values(), _kernels(after).values(), strict=True)
    sums = [(((a - b).astype(np.float64) ** 2).sum(), (a.astype(np.float64) ** 2).sum()) for a, b in pairs]
    lost, whole = map(sum, zip(*sums, strict=True))
    return float(lost / whole) if whole else 0.0


def _kernels(model: Model) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(arrays["kernel"], np.float32)
        for name, arrays in named_layers(model.parameters).items()
    }
