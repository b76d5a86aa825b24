"""Weight sharing: a kernel as a small codebook of values and a code for each weight (Han et al. 2016)."""

from typing import NamedTuple

import numpy as np


class SharedWeights(NamedTuple):
    """A kernel whose weights share values.

    `codebook` is float32 (k,) with 1 <= k <= 256, and its first value is exactly 0.0: code 0 stands for a
    pruned weight, and for nothing else. `codes` is uint8 in the kernel's shape.
    """

    codebook: np.ndarray
    codes: np.ndarray

    def kernel(self) -> np.ndarray:
        """Return the weights, float32 in the kernel's shape."""
        return self.codebook[self.codes]
