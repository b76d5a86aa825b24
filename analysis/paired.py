"""Two networks, or two configurations, on the same test images: paired tests, and Holm over many.

There are two questions. Whether two *trained networks* differ on other images of this kind: McNemar's exact
test, of the images alone. Whether two *configurations* differ, trained with other seeds and tested on other
images: an interval that has both in it, and needs two seeds a side.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit
from scipy.stats import binomtest

from analysis.predictions import Predictions
from analysis.resampling import SAMPLES, generator
from analysis.statistics import DECIMALS, LEVEL

SAME_IMAGES = "both are right on the same images"
NOT_ENOUGH = "not enough seeds to say"
CANNOT_TELL = "these seeds and images cannot tell them apart"
OTHER_IMAGES = "not the same test images: no paired test"
NO_COMMON_SEED = "no seed that both have"


class McNemar(NamedTuple):
    """Images that both networks name rightly, only the first, only the second, none; and the p value."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p: float
    note: str


class Paired(NamedTuple):
    """The second configuration against the first on the same images.

    `difference` of mean accuracies with its interval over seeds and images, None where `note` says why.
    `tests` has a McNemar test of each network of the first with each of the second, and `p` sums them up.
    """

    images: int
    difference: float | None
    low: float | None
    high: float | None
    tests: tuple[McNemar, ...]
    p: float | None
    note: str


def mcnemar(a: np.ndarray, b: np.ndarray, /) -> McNemar:
    """Compare two networks by the images that only one of them names rightly, a and b (n,) of bool.

    If they were equally good, each such image would be either one's with probability 1/2: the two-sided
    exact binomial test (McNemar 1947; Dietterich 1998 for classifiers). Images are independent draws. The
    p value is about these two networks, not about what trains them. Where no image tells them apart p is 1.
    """
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"needs two lists of the same images, found {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    if only_a + only_b == 0:
        return McNemar(both, 0, 0, neither, 1.0, SAME_IMAGES)
    p = float(binomtest(only_a, only_a + only_b, 0.5).pvalue)
    return McNemar(both, only_a, only_b, neither, p, "")


def paired(
    a: Predictions, b: Predictions, /, *, matched: bool = False, samples: int = SAMPLES, seed: int = 0
) -> Paired:
    """Compare two configurations by their networks' answers on the same images.

    `matched` are networks of one seed that belong together, as a compressed one and what it was made of:
    each is tested against its own alone, and seeds are drawn as pairs. Only seeds of both sides count.

    `p` is McNemar's of two networks; of more it is twice the median of all pairs' p values, 1 at most,
    which holds however they depend on each other (Meinshausen, Meier and Buehlmann 2009). It is about the
    networks that were trained.

    The interval is d +- t(0.975, df) * se. The standard error is the bootstrap's over images and seeds
    together (n - 1 of n seeds, `analysis.resampling`), and df is Satterthwaite's: of its variance only the
    part of the seeds, Welch's, has few degrees of freedom. A percentile interval of the same resamples is
    too narrow: where seeds differ much it held the truth in 76 % of simulated studies with two seeds and in
    87 % with three, this one in 95 % of both.
    """
    if not np.array_equal(a.labels, b.labels):
        return Paired(0, None, None, None, (), None, OTHER_IMAGES)
    if matched:
        a, b = common_seeds(a, b)
        tests = tuple(mcnemar(x, y) for x, y in zip(a.right, b.right, strict=True))
    else:
        tests = tuple(mcnemar(x, y) for x in a.right for y in b.right)
    if not tests:
        return Paired(0, None, None, None, (), None, NO_COMMON_SEED)
    p = min(1.0, 2 * float(np.median([t.p for t in tests]))) if len(tests) > 1 else tests[0].p
    accuracies = a.right.mean(axis=1), b.right.mean(axis=1)
    difference = float(accuracies[1].mean() - accuracies[0].mean())
    stated = (len(a.labels), difference)
    if all(test.note for test in tests):
        return Paired(*stated, None, None, tests, p, SAME_IMAGES)
    if min(map(len, accuracies)) < 2:
        return Paired(*stated, None, None, tests, p, NOT_ENOUGH)
    means = (accuracies[1] - accuracies[0],) if matched else accuracies
    if equal := sum(np.ptp(x) == 0 for x in means):  # as in `statistics.mean_interval`
        sides = "all pairs" if matched else "both sides" if equal == 2 else "one side"
        return Paired(*stated, None, None, tests, p, f"equal seeds on {sides}: no interval")
    resampled = resampled_differences(a.right, b.right, matched=matched, samples=samples, seed=seed)
    error = float(resampled.std(ddof=1))
    parts = [float(x.var(ddof=1)) / len(x) for x in means]
    freedom = error**4 / sum(v**2 / (len(x) - 1) for v, x in zip(parts, means, strict=True))
    half = float(stdtrit(max(freedom, 1.0), 0.5 + LEVEL / 2)) * error
    return Paired(*stated, difference - half, difference + half, tests, p, "")


def common_seeds(a: Predictions, b: Predictions, /) -> tuple[Predictions, Predictions]:
    """Return what both say with the seeds that both have, in the order of the first."""
    seeds = tuple(seed for seed in a.seeds if seed in b.seeds)
    of_a, of_b = (
        Predictions(side.right[[side.seeds.index(seed) for seed in seeds]], side.labels, seeds)
        for side in (a, b)
    )
    return of_a, of_b


def resampled_differences(
    a: np.ndarray, b: np.ndarray, /, *, samples: int, seed: int, matched: bool = False
) -> np.ndarray:
    """Return `samples` differences of mean accuracy, b - a, with images and seeds drawn anew.

    Of `matched` networks, those in the same row, a pair is drawn.

    a (seeds, images) and b are drawn on the same images. Images that all networks answer alike are
    one kind, and the number of each kind in a draw of n images is multinomial: the same draw, but faster.
    """
    rng = generator(seed)
    kinds, counts = np.unique(np.concatenate([a, b]), axis=1, return_counts=True)
    drawn = rng.multinomial(a.shape[1], counts / a.shape[1], size=samples) / a.shape[1]
    accuracy = drawn @ kinds.T.astype(np.float64)  # (samples, networks)
    sides = accuracy[:, : len(a)], accuracy[:, len(a) :]
    means = []
    for part in (sides[1] - sides[0],) if matched else sides:
        n = part.shape[1]
        picked = rng.integers(0, n, size=(samples, max(n - 1, 1)))
        means.append(np.take_along_axis(part, picked, axis=1).mean(axis=1))
    return means[0] if matched else means[1] - means[0]


def holm(p: Sequence[float | None], /) -> list[float | None]:
    """Return p values adjusted for their number (Holm 1979): reject where one is at most 0.05.

    The k-th smallest of m is multiplied by m - k + 1, and none may be below a smaller one's. It holds under
    any dependence, and no pair need be named beforehand. A pair without a test (None) is not counted.
    """
    tested = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for k, (value, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - k) * value))
        adjusted[place] = highest
    return adjusted


def verdict(found: Paired, adjusted: float | None, a: str, b: str, /) -> str:
    """Say which of two configurations, by their names, is more accurate, or why that cannot be said.

    Both must agree: the interval over seeds and images leaves out 0, and the adjusted p is at most 0.05.
    Without an interval the p value still speaks, of the networks that were trained alone.
    """
    if adjusted is None or found.difference is None:
        return found.note
    if round(found.difference, DECIMALS) == 0:  # which is no sign that they are equally good
        return found.note or f"equal means; {CANNOT_TELL}"
    apart = adjusted <= 1 - LEVEL
    better, worse = (b, a) if found.difference > 0 else (a, b)
    if found.low is None or found.high is None:
        networks = f"; of these trained networks {better} is more accurate" if apart else ""
        return f"{found.note}{networks}"
    if not apart or found.low <= 0 <= found.high:
        return CANNOT_TELL
    return f"{better} is more accurate than {worse}"
