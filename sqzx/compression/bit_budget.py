"""How many bits each layer's weights share, for a budget of bytes or of error."""

from collections.abc import Mapping

import numpy as np

from sqzx.compression.budget import Option, least, within_cost, within_loss
from sqzx.compression.weight_sharing import BITS, SharedWeights, Start, share, squared_error
from sqzx.errors import InputError


def coded_bytes(shared: SharedWeights) -> float:
    """Return about how many bytes the values of a layer take: codes at their entropy, a float32 codebook.

    Where the zeros are is left out, for no number of bits changes it.
    """
    counts = np.bincount(shared.codes[shared.codes > 0])
    counts = counts[counts > 0]
    bits = float((counts * np.log2(counts.sum() / counts)).sum())
    return bits / 8 + shared.codebook.nbytes


def bits_within_bytes(
    kernels: Mapping[str, np.ndarray], most: float, *, start: Start = "linear"
) -> dict[str, int]:
    """Return the bits of each layer whose values take at most `most` bytes (`coded_bytes`), at little error.

    `InputError` where 1 bit for every layer is too much.
    """
    options = _options(kernels, start)
    if (size := least(options).cost) > most:
        raise InputError(f"bytes: {most:,.0f} are too few, {size:,.0f} are needed with 1 bit a layer")
    return within_cost(options, most)


def bits_within_error(
    kernels: Mapping[str, np.ndarray], most: float, *, start: Start = "linear"
) -> dict[str, int]:
    """Return the bits of each layer, few bytes' worth, at which all lose at most `most` together.

    That is the relative squared error: the sum of (w - w')^2 over all kernels by that of w^2. `InputError`
    where 8 bits for every layer are not enough.
    """
    options = _options(kernels, start)
    energy = sum(float(np.square(kernel, dtype=np.float64).sum()) for kernel in kernels.values())
    least_loss = sum(min(option.loss for option in of) for of in options.values())
    if least_loss > most * energy:
        raise InputError(f"error: {most:g} is too little, 8 bits a layer leave {least_loss / energy:.3g}")
    return within_loss(options, most * energy)


def _options(kernels: Mapping[str, np.ndarray], start: Start) -> dict[str, list[Option]]:
    """Share each layer's weights at every number of bits, from one start."""
    options: dict[str, list[Option]] = {}
    for name, kernel in kernels.items():
        options[name] = []
        for bits in BITS:
            shared = share(kernel, bits, start=start)
            options[name].append(Option(bits, coded_bytes(shared), squared_error(kernel, shared)))
    return options
