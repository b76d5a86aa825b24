"""Compression without data: weights are shared and coded, zeros stay zeros."""

from collections.abc import Mapping

import numpy as np

from sqzx.compression.bit_budget import bits_within_bytes, bits_within_error
from sqzx.compression.compressed import Compressed, with_half_tables, with_shared
from sqzx.compression.config import CompressConfig
from sqzx.compression.kernels import kernels_of
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
    kernels = kernels_of(model.parameters)
    bits = bits_of(config, kernels)
    room = {name: min(2 ** bits[name] - 1, MOST_VALUES - 1) for name in kernels}
    exact = {name: found for name, kernel in kernels.items() if (found := distinct(kernel, room[name]))}
    shared = {
        name: exact[name] if name in exact else share(kernel, bits[name], refill=False)
        for name, kernel in kernels.items()
    }
    stage = {"stage": "share", "bits": bits_told(bits), "tables": config.tables}
    compressed = with_shared(Compressed(model=model, history=(stage,)), shared)
    if config.tables == "f32":
        return compressed
    return with_half_tables(compressed, except_codebooks=frozenset(exact))


def bits_of(config: CompressConfig, kernels: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return the bits that the weights of each layer share, as asked or as chosen for a budget."""
    if config.error is not None:
        return bits_within_error(kernels, config.error)
    if config.bytes is not None:
        return bits_within_bytes(kernels, config.bytes)
    assert config.bits is not None
    return dict.fromkeys(kernels, config.bits)


def bits_told(bits: Mapping[str, int]) -> int | str:
    """Return the bits of all layers in short: 6, or "3 to 6"."""
    least, most = min(bits.values()), max(bits.values())
    return most if least == most else f"{least} to {most}"


def lossless(model: Model) -> Compressed:
    """Return a network with every weight as it is, each layer's different values as its codebook.

    `InputError` where a layer has more than 255 besides 0.
    """
    shared = {}
    for name, kernel in kernels_of(model.parameters).items():
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


def squared_error(before: Model, after: Model) -> float:
    """Return the sum of (w - w')^2 over the sum of w^2, over all kernels."""
    pairs = zip(kernels_of(before.parameters).values(), kernels_of(after.parameters).values(), strict=True)
    sums = [(((a - b).astype(np.float64) ** 2).sum(), (a.astype(np.float64) ** 2).sum()) for a, b in pairs]
    lost, whole = map(sum, zip(*sums, strict=True))
    return float(lost / whole) if whole else 0.0
