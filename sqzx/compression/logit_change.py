"""How far compression moves the logits of images: what can be said of a network without a data set."""

from typing import NamedTuple

import numpy as np


class LogitChange(NamedTuple):
    """The logits of so many images before and after.

    `relative_error` is the root of the sum of (z - z')^2 over that of z^2, where each image's mean logit is
    taken off first, which a softmax doesn't see. `same_class` counts images whose likeliest class stays.
    """

    images: int
    relative_error: float
    same_class: int

    def told(self) -> str:
        """Return the change in one line."""
        return (
            f"logits of {self.images} image{'s' * (self.images != 1)}: relative error "
            f"{self.relative_error:.2e}, the likeliest class stays in {self.same_class}"
        )


def logit_change(before: np.ndarray, after: np.ndarray) -> LogitChange:
    """Return the change between logits (n, classes) of the same images."""
    old, new = (
        z.astype(np.float64) - z.astype(np.float64).mean(axis=1, keepdims=True) for z in (before, after)
    )
    whole, lost = float((old**2).sum()), float(((old - new) ** 2).sum())
    return LogitChange(
        images=len(old),
        relative_error=(lost / whole) ** 0.5 if whole else 0.0,
        same_class=int((old.argmax(axis=1) == new.argmax(axis=1)).sum()),
    )
