"""Every random stream of a trial, derived from its seed by name.

A stream depends on the seed and on its own name alone: the order of epoch 3 is the same whether epochs 1
and 2 ran in this process or before a crash, and a layer starts from the same values whatever stands
beside it.
"""

import hashlib

import numpy as np


def generator(seed: int, *name: str | int) -> np.random.Generator:
    """Return the NumPy stream of a seed and a name, such as `generator(0, "order", epoch)`."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(seed, name)[:16], "little")))


def key_data(seed: int, *name: str | int) -> np.ndarray:
    """Return the two 32-bit words of a JAX threefry key for a seed and a name."""
    return np.frombuffer(_digest(seed, name)[:8], np.uint32)


def _digest(seed: int, name: tuple[str | int, ...]) -> bytes:
    return hashlib.sha256("/".join(map(str, (seed, *name))).encode()).digest()
