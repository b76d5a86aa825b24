"""The best clustering of numbers on a line: k-means without a start, by dynamic programming.

With the values in order, the least error of the first j of them in c clusters is

    D[c, j] = min over i < j of D[c - 1, i] + error(i, j)

where error(i, j) is that of values i to j - 1 as one cluster. The best i never falls as j grows, so a row of
D is found by halving: the best i of the middle j bounds those to its left and to its right. All intervals of
one depth are searched together, which makes a row O(n log n) in about log n steps of NumPy.

Reference: Groenlund, Larsen, Mathiasen, Nielsen, Schneider and Song, "Fast exact k-means, k-medians and
Bregman divergence clustering in 1D", arXiv:1701.07204; Wang and Song, "Ckmeans.1d.dp", R Journal 2011.
"""

import numpy as np

LIMIT = 1 << 12
"""Values that are clustered exactly; of more, neighbours go together.

On 140,000 values of a Laplace distribution in 63 clusters the squared error is then 0.002 % above the best
and the time a hundredth: 0.08 s instead of 8.
"""


def firsts(values: np.ndarray, counts: np.ndarray, clusters: int) -> np.ndarray:
    """Return where each cluster of the best clustering begins, (clusters,).

    `values` are distinct and rise, float64 (n,) with 1 <= clusters <= n; `counts` (n,) is how often each
    occurs. Where n is above `LIMIT`, cuts between clusters fall only between runs of neighbours: the result
    is then a start close to the best, which a few iterations of k-means improve.
    """
    groups = _runs(values)
    weights = np.add.reduceat(counts, groups).astype(np.float64)
    centred = values - np.average(values, weights=counts)  # little is lost in differences of sums
    sums = np.add.reduceat(counts * centred, groups)
    squares = np.add.reduceat(counts * centred**2, groups)
    cuts = _cuts(_Errors(weights, sums, squares), clusters)
    return groups[cuts]


def _runs(values: np.ndarray) -> np.ndarray:
    """Return where each of at most `LIMIT` runs of values begins."""
    if len(values) <= LIMIT:
        return np.arange(len(values))
    # Half of the cuts leave as many values in each run, and half as much width, for the tails.
    by_number = np.linspace(0, len(values), LIMIT // 2, endpoint=False).astype(int)
    by_width = np.searchsorted(values, np.linspace(values[0], values[-1], LIMIT // 2))
    return np.union1d(by_number, by_width)


class _Errors:
    """The squared error of any run of values as one cluster."""

    def __init__(self, weights: np.ndarray, sums: np.ndarray, squares: np.ndarray):
        self.weights, self.sums, self.squares = (
            np.concatenate([[0.0], np.cumsum(terms)]) for terms in (weights, sums, squares)
        )

    def of(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Return the error of values `begin` to `end` - 1, of which there is at least one."""
        total = self.sums[end] - self.sums[begin]
        error = self.squares[end] - self.squares[begin] - total**2 / (self.weights[end] - self.weights[begin])
        return np.maximum(error, 0.0)


def _cuts(errors: _Errors, clusters: int) -> np.ndarray:
    count = len(errors.weights) - 1
    ends = np.arange(1, count + 1)
    least = np.concatenate([[np.inf], errors.of(np.zeros(count, int), ends)])
    best = []
    for cluster in range(2, clusters + 1):
        least, begins = _row(errors, least, cluster)
        best.append(begins)
    cuts, end = [], count
    for begins in reversed(best):
        end = int(begins[end])
        cuts.append(end)
    return np.array([0, *reversed(cuts)])


def _row(errors: _Errors, least: np.ndarray, cluster: int) -> tuple[np.ndarray, np.ndarray]:
    """Return D[cluster, :] of D[cluster - 1, :], and where the last cluster of each begins."""
    count = len(least) - 1
    found = np.full(count + 1, np.inf)
    begins = np.zeros(count + 1, np.int32)
    # Intervals of ends that are still open, and between what the best begin of each of them lies.
    low, high = np.array([cluster]), np.array([count])
    least_begin, most_begin = np.array([cluster - 1]), np.array([count - 1])
    while len(low):
        middle = (low + high) // 2
        most = np.minimum(most_begin, middle - 1)
        lengths = most - least_begin + 1
        offsets = np.cumsum(lengths) - lengths
        begin = np.arange(lengths.sum()) - np.repeat(offsets - least_begin, lengths)
        totals = least[begin] + errors.of(begin, np.repeat(middle, lengths))
        smallest = np.minimum.reduceat(totals, offsets)
        hits = np.flatnonzero(totals == np.repeat(smallest, lengths))
        first = hits[np.searchsorted(hits, offsets)]  # of several equal ones
        found[middle], begins[middle] = smallest, begin[first]
        low, high = np.concatenate([low, middle + 1]), np.concatenate([middle - 1, high])
        least_begin = np.concatenate([least_begin, begin[first]])
        most_begin = np.concatenate([begin[first], most_begin])
        open_ = low <= high
        low, high, least_begin, most_begin = (x[open_] for x in (low, high, least_begin, most_begin))
    return found, begins
