"""Tables of values in float16, with a power of two for the whole table: x = half * 2^exponent.

The exponent puts the largest value just below the end of float16's range, so that the smallest may be 2^-39
of it before it would become 0. Biases need that: those of filters that are seldom active lie ten orders of
magnitude below the others.
"""

import numpy as np

_TOP = 16
"""Half precision ends just below 2^16."""
_EXPONENTS = range(-128, 128)


def in_half(values: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the exponent of a table (n,) of finite float32, and its values as float16 (n,), rounded."""
    largest = float(np.abs(values).max(initial=0))
    exponent = int(np.frexp(np.float64(largest))[1]) - _TOP if largest else 0
    halves = _scaled(values, exponent)
    if not np.isfinite(halves).all():  # the largest was rounded up, beyond the range
        exponent += 1
        halves = _scaled(values, exponent)
    return exponent, halves


def from_half(exponent: int, halves: np.ndarray) -> np.ndarray:
    """Return the table, float32 (n,), of its exponent and its float16 values, finite or not."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ldexp(halves.astype(np.float64), exponent).astype(np.float32)


def rounded(values: np.ndarray) -> np.ndarray:
    """Return a table (n,) as float16 gives it back, or as it is where a value would be infinite or 0."""
    exponent, halves = in_half(values)
    back = from_half(exponent, halves)
    fits = exponent in _EXPONENTS and np.isfinite(back).all() and not ((back == 0) & (values != 0)).any()
    return back if fits else values


def holds(values: np.ndarray) -> bool:
    """Whether float16 gives back a table (n,) to the bit."""
    exponent, halves = in_half(values)
    return exponent in _EXPONENTS and from_half(exponent, halves).tobytes() == values.tobytes()


def _scaled(values: np.ndarray, exponent: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.ldexp(values.astype(np.float64), -exponent).astype(np.float16)
