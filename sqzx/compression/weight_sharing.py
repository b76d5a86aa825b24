"""Weight sharing: a kernel as a small codebook of values and a code for each weight (Han et al. 2016).

The values of a layer's codebook are the means of a k-means clustering of its nonzero weights. In one
dimension clusters are runs of the sorted values, so an iteration only moves the k - 1 cuts between them, and
costs k binary searches however large the layer. Values that occur many times are clustered once, by weight.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np

from sqzx.compression import optimal_clusters
from sqzx.errors import InputError

Start = Literal["linear", "density", "forgy", "optimal"]
"""Where the clustering starts from.

"linear" spaces the first means evenly from the least to the greatest weight; of his three, Han prefers it,
for it keeps the large weights. "density" puts as many weights into each cluster, "forgy" takes weights at
random. "optimal" is the best clustering there is, which no other start is sure to reach, or of a layer with
more than 4,096 distinct values one very close to it (`sqzx.compression.optimal_clusters`); it takes longer.
"""

BITS = range(1, 9)

ITERATIONS = 1000
"""At most so many; the last of them hardly move anything."""


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


class Values(NamedTuple):
    """The distinct values of a layer's nonzero weights in order, float32, and how many weights have each."""

    distinct: np.ndarray
    counts: np.ndarray


def share(
    kernel: np.ndarray, bits: int, *, start: Start = "linear", seed: int = 0, refill: bool = True
) -> SharedWeights:
    """Return a kernel with at most 2**bits - 1 values beside 0, those of a k-means of its nonzero weights.

    Zeros stay zeros, and nothing else becomes one. Where the kernel has no more distinct values than that,
    it stays as it is, to the bit, with a code for each of them. `seed` is that of "forgy". Every code occurs
    in the kernel (but for code 0 where nothing is pruned), and the values rise from code 1 on.

    A cluster that no weight is nearest to takes half of the one with the largest error. Without `refill` it
    is left out instead, even where that merges distinct values: of means that are spaced evenly an entropy
    coder makes the smallest file (the published network at 8 bits: 459 kB instead of 523).

    Raises `InputError` for bits outside 1 to 8, another start, and weights that are not finite.
    """
    if bits not in BITS:
        raise InputError(f"bits: needs a whole number from 1 to 8, found {bits}")
    if start not in get_args(Start):
        raise InputError(f"start: needs one of {', '.join(get_args(Start))}, found {start}")
    kernel = np.asarray(kernel, np.float32)
    weights = kernel[kernel != 0]
    if not np.isfinite(weights).all():
        raise InputError("weights that are not finite can't be shared")
    values = Values(*np.unique(weights, return_counts=True))
    firsts = _clustered(values, min(2**bits - 1, len(values.distinct)), start, seed, refill)
    codebook = np.concatenate([np.zeros(1, np.float32), _means(values, firsts)])
    codes = np.zeros(kernel.shape, np.uint8)
    codes[kernel != 0] = 1 + np.searchsorted(values.distinct[firsts[1:]], weights, side="right")
    return SharedWeights(codebook, codes)


def squared_error(kernel: np.ndarray, shared: SharedWeights) -> float:
    """Return the sum of (w - w')^2 over a kernel's weights, in double."""
    return float(np.square(kernel.astype(np.float64) - shared.kernel()).sum())


def error(kernel: np.ndarray, shared: SharedWeights) -> float:
    """Return the relative squared error, sum of (w - w')^2 over sum of w^2; 0 for a kernel of zeros."""
    energy = float(np.square(kernel, dtype=np.float64).sum())
    return squared_error(kernel, shared) / energy if energy else 0.0


def _clustered(values: Values, clusters: int, start: Start, seed: int, refill: bool) -> np.ndarray:
    """Return where in the distinct values each cluster begins, (clusters,) or fewer; none is empty."""
    distinct = values.distinct.astype(np.float64)
    if clusters == len(distinct) and refill:
        return np.arange(clusters)
    if start == "optimal":
        firsts = optimal_clusters.firsts(distinct, values.counts, clusters)
    else:
        firsts = _starting(values, clusters, start, seed)
    sums = _Sums.of(distinct, values.counts)
    wanted = clusters if refill else 0
    for _ in range(ITERATIONS):
        firsts = _filled(firsts, wanted, distinct, sums)
        means = sums.means(firsts)
        moved = np.concatenate([[0], np.searchsorted(distinct, (means[1:] + means[:-1]) / 2)])
        if np.array_equal(moved, firsts):
            break
        firsts = moved
    return _filled(firsts, wanted, distinct, sums)


def _starting(values: Values, clusters: int, start: Start, seed: int) -> np.ndarray:
    """Return where each of the first clusters begins; some may be empty."""
    distinct, counts = values
    if start == "density":
        before = np.cumsum(counts) - counts
        return np.searchsorted(before, np.arange(clusters) * (counts.sum() / clusters))
    if start == "forgy":
        random = np.random.default_rng(seed)
        # Weights are drawn, not values, so those that many weights have are likelier; none comes twice.
        means = np.sort(random.choice(distinct, clusters, replace=False, p=counts / counts.sum()))
        means = means.astype(np.float64)
    else:
        means = np.linspace(float(distinct[0]), float(distinct[-1]), clusters)
    return np.concatenate([[0], np.searchsorted(distinct, (means[1:] + means[:-1]) / 2)])


class _Sums(NamedTuple):
    """Weights, their sum and the sum of their squares up to each distinct value, in double.

    Values are taken from `origin`, their mean, so that little is lost in differences of sums.
    """

    origin: float
    weights: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, distinct: np.ndarray, counts: np.ndarray) -> "_Sums":
        origin = float(np.average(distinct, weights=counts))
        centred = distinct - origin
        sums = (counts.astype(np.float64), counts * centred, counts * centred**2)
        return cls(origin, *(np.concatenate([[0.0], np.cumsum(terms)]) for terms in sums))

    def inside(self, terms: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        return np.diff(terms[np.append(firsts, len(terms) - 1)])

    def means(self, firsts: np.ndarray) -> np.ndarray:
        return self.inside(self.first, firsts) / self.inside(self.weights, firsts) + self.origin

    def errors(self, firsts: np.ndarray) -> np.ndarray:
        squares = np.square(self.inside(self.first, firsts)) / self.inside(self.weights, firsts)
        return self.inside(self.second, firsts) - squares


def _filled(firsts: np.ndarray, clusters: int, distinct: np.ndarray, sums: _Sums) -> np.ndarray:
    """Leave empty clusters out; cut the one with the largest error at its mean until there are enough."""
    firsts = np.unique(firsts[firsts < len(distinct)])
    while len(firsts) < clusters:
        ends = np.append(firsts[1:], len(distinct))
        errors = np.where(ends - firsts > 1, sums.errors(firsts), -np.inf)
        worst = int(errors.argmax())
        cut = int(np.searchsorted(distinct, sums.means(firsts)[worst]))
        cut = min(max(cut, firsts[worst] + 1), ends[worst] - 1)
        firsts = np.insert(firsts, worst + 1, cut)
    return firsts


def _means(values: Values, firsts: np.ndarray) -> np.ndarray:
    """Return the mean of each cluster, float32, none of them 0."""
    if not len(firsts):
        return np.zeros(0, np.float32)
    distinct = values.distinct.astype(np.float64)
    sums = np.add.reduceat(distinct * values.counts, firsts)
    lasts = np.append(firsts[1:], len(distinct)) - 1
    means = np.clip(sums / np.add.reduceat(values.counts, firsts), distinct[firsts], distinct[lasts])
    means = means.astype(np.float32)
    for cluster in np.flatnonzero(np.abs(means) < np.finfo(np.float32).tiny):
        # Positive and negative weights that cancel out are not pruned: they take the smallest of theirs.
        members = values.distinct[firsts[cluster] : lasts[cluster] + 1]
        means[cluster] = members[np.abs(members).argmin()]
    return means
