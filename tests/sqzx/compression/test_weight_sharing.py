"""Clusterings against slow twins and every possible clustering, and the published network."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.compression import optimal_clusters
from sqzx.compression.weight_sharing import error, share, squared_error
from sqzx.errors import InputError

STARTS = ("linear", "density", "forgy", "optimal")

kernels = st.builds(
    lambda values, shape: np.resize(np.array(values, np.float32), shape),
    # Few values and many; some so close that their mean is one of them; some that cancel out.
    st.lists(st.sampled_from([0, 0, -2, -1, 1, 1e-30, 3e38, -3e38, 1e-45]) | st.floats(-2, 2, width=32)),
    st.sampled_from([(1, 1, 3, 4), (3, 3, 2, 5), (7, 11), (1,), (0, 4)]),
)


def error_of(clusters):
    return sum(np.square(np.subtract(c, np.mean(c))).sum() for c in clusters)


def every_clustering(values, clusters):
    for cuts in itertools.combinations(range(1, len(values)), clusters - 1):
        yield [values[i:j] for i, j in itertools.pairwise((0, *cuts, len(values)))]


@pytest.mark.parametrize("start", STARTS)
@settings(max_examples=60)
@given(kernel=kernels, bits=st.integers(1, 8))
def test_every_code_occurs_once_in_the_codebook_and_zeros_alone_are_zero(start, kernel, bits):
    shared = share(kernel, bits, start=start)
    codebook, codes = shared
    distinct = len(np.unique(kernel[kernel != 0]))
    assert codebook.dtype == np.float32
    assert codes.dtype == np.uint8
    assert codes.shape == kernel.shape
    assert len(codebook) == 1 + min(distinct, 2**bits - 1)
    assert not np.signbit(codebook[0])
    assert codebook[0] == 0
    assert (codebook[1:] != 0).all()
    assert (np.diff(codebook[1:].astype(np.float64)) > 0).all()
    assert np.array_equal(codes == 0, kernel == 0)
    assert set(codes[codes > 0].tolist()) == set(range(1, len(codebook)))
    # A cluster is a run of values, and its mean lies among them.
    for code in range(1, len(codebook)):
        members = kernel[codes == code]
        assert members.min() <= codebook[code] <= members.max()


@pytest.mark.parametrize("start", STARTS)
@settings(max_examples=30)
@given(kernel=kernels, bits=st.integers(1, 8))
def test_a_kernel_with_as_many_values_as_codes_stays_as_it_is(start, kernel, bits):
    if len(np.unique(kernel[kernel != 0])) <= 2**bits - 1:
        assert np.array_equal(share(kernel, bits, start=start).kernel(), kernel)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
def test_the_clustering_is_stable(start, bits):
    """Each value is the mean of the weights that share it, and each weight has the value next to it."""
    kernel = np.random.default_rng(0).laplace(size=(3, 3, 16, 20)).astype(np.float32)
    codebook, codes = share(kernel, bits, start=start)
    means = [kernel[codes == code].mean(dtype=np.float64) for code in range(1, len(codebook))]
    np.testing.assert_allclose(codebook[1:], means, rtol=1e-6)
    nearest = np.abs(kernel.reshape(-1, 1).astype(np.float64) - codebook[1:]).argmin(axis=1)
    assert (nearest + 1 != codes.ravel()).sum() <= 2  # those half way, by float rounding


@settings(max_examples=100)
@given(
    values=st.lists(st.integers(-40, 40).filter(bool), min_size=1, max_size=9),
    bits=st.integers(1, 2),
)
def test_the_optimal_clustering_is_the_best_of_all(values, bits):
    kernel = np.array(values, np.float32)
    clusters = min(2**bits - 1, len(set(values)))
    best = min(map(error_of, every_clustering(sorted(values), clusters)))
    shared = share(kernel, bits, start="optimal")
    # Values that cancel out to 0 take a member's instead, which is not the best.
    members = [kernel[shared.codes == code] for code in range(1, len(shared.codebook))]
    assert error_of(members) == pytest.approx(best, abs=1e-3)


def test_the_optimal_clustering_of_many_values_is_that_of_the_slow_recurrence():
    random = np.random.default_rng(1)
    values = np.sort(random.normal(size=150))
    counts = random.integers(1, 5, 150)
    slow = np.full((13, 151), np.inf)
    slow[0, 0] = 0
    one = {}
    for i, j in itertools.combinations(range(151), 2):
        w, x = counts[i:j], values[i:j]
        one[i, j] = (w * np.square(x - np.average(x, weights=w))).sum()
    for c, j in itertools.product(range(1, 13), range(1, 151)):
        slow[c, j] = min(slow[c - 1, i] + one[i, j] for i in range(j))
    for clusters in (1, 2, 7, 12):
        cuts = [*optimal_clusters.firsts(values, counts, clusters), 150]
        assert len(cuts) == clusters + 1
        assert sum(one[pair] for pair in itertools.pairwise(cuts)) == pytest.approx(slow[clusters, 150])


def test_values_beyond_the_limit_are_cut_only_between_runs_which_is_almost_as_good(monkeypatch):
    values = np.sort(np.random.default_rng(2).laplace(size=4000))
    kernel = values.astype(np.float32)
    exact = error(kernel, share(kernel, 5, start="optimal"))
    exact_cuts = optimal_clusters.firsts(values, np.ones(4000, int), 31)
    monkeypatch.setattr(optimal_clusters, "LIMIT", 500)
    near = error(kernel, share(kernel, 5, start="optimal"))
    assert exact <= near <= 1.001 * exact
    near_cuts = optimal_clusters.firsts(values, np.ones(4000, int), 31)
    assert len(near_cuts) == 31
    assert not np.array_equal(near_cuts, exact_cuts)


class TestStarts:
    KERNEL = np.random.default_rng(3).laplace(size=(64, 64)).astype(np.float32)

    def test_each_start_ends_elsewhere_and_none_below_the_optimum(self):
        errors = {start: error(self.KERNEL, share(self.KERNEL, 6, start=start)) for start in STARTS}
        assert len(set(errors.values())) == 4
        assert min(errors, key=errors.__getitem__) == "optimal"

    def test_linear_is_the_default(self):
        default, linear = share(self.KERNEL, 5), share(self.KERNEL, 5, start="linear")
        assert np.array_equal(default.codebook, linear.codebook)

    def test_a_seed_is_repeatable_and_another_draws_other_weights(self):
        first, again, other = (share(self.KERNEL, 6, start="forgy", seed=s) for s in (0, 0, 1))
        assert np.array_equal(first.codebook, again.codebook)
        assert not np.array_equal(first.codebook, other.codebook)

    def test_before_any_iteration(self, monkeypatch):
        """ "Density" has as many weights in each cluster; "linear" as far to the next mean."""
        monkeypatch.setattr("sqzx.compression.weight_sharing.ITERATIONS", 0)
        counts = np.bincount(share(self.KERNEL, 4, start="density").codes.ravel())[1:]
        assert counts.max() - counts.min() <= 1
        even = np.arange(1, 101, dtype=np.float32)
        codes = share(even, 2, start="linear").codes
        # The means are 1, 50.5 and 100, so the cuts are at 25.75 and 75.25.
        assert np.bincount(codes).tolist() == [0, 25, 50, 25]

    def test_an_empty_cluster_takes_half_of_the_one_with_the_largest_error(self):
        # Evenly spaced means leave 29 of 31 clusters empty.
        kernel = np.concatenate([np.linspace(1, 1.1, 400), [1000]]).astype(np.float32)
        shared = share(kernel, 5, start="linear")
        assert len(shared.codebook) == 32
        assert squared_error(kernel, shared) <= 1.5 * squared_error(kernel, share(kernel, 5, start="optimal"))


def test_without_refill_a_cluster_of_no_weight_is_left_out():
    kernel = np.float32([1, 1.25, 10, 10.5, 100])  # linear means: 1, 25.75, 50.5, 75.25, 100
    assert share(kernel, 3).codebook.tolist() == [0, *kernel.tolist()]
    found = share(kernel, 3, refill=False)
    assert found.codebook.tolist() == [0, 5.6875, 100]
    assert found.codes.tolist() == [1, 1, 1, 1, 2]


def test_weights_that_cancel_out_do_not_become_zero():
    shared = share(np.array([-3, -1, 0, 1, 3], np.float32), 1)
    assert shared.codebook.tolist() == [0, -1]
    assert shared.codes.tolist() == [1, 1, 0, 1, 1]


def test_negative_zero_is_zero():
    shared = share(np.array([-0.0, 1.0], np.float32), 4)
    assert not np.signbit(shared.kernel()[0])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: share(np.ones(3), 0), "bits: needs a whole number from 1 to 8, found 0"),
        (lambda: share(np.ones(3), 9), "bits: needs a whole number from 1 to 8, found 9"),
        (lambda: share(np.ones(3), 2.5), "bits: needs a whole number from 1 to 8, found 2.5"),
        (lambda: share(np.ones(3), 4, start="even"), "start: needs one of linear, .*, found even"),
        (lambda: share(np.array([1, np.nan]), 4), "not finite"),
    ],
)
def test_what_cannot_be_shared_is_refused(call, told):
    with pytest.raises(InputError, match=told):
        call()


def test_the_relative_error_is_that_of_the_squares():
    kernel = np.array([1, 3, 0], np.float32)
    shared = share(kernel, 1)
    assert shared.codebook.tolist() == [0, 2]
    assert squared_error(kernel, shared) == 2
    assert error(kernel, shared) == pytest.approx(0.2)
    assert error(np.zeros(3, np.float32), share(np.zeros(3), 1)) == 0


@pytest.mark.parametrize("start", ["linear", "optimal"])
@pytest.mark.parametrize(("bits", "most"), [(8, 2.0e-4), (6, 3.5e-3), (5, 9.0e-3), (4, 1.85e-2)])
def test_the_published_network_keeps_its_weights(published_kernels, bits, most, start):
    lost = sum(squared_error(k, share(k, bits, start=start)) for k in published_kernels.values())
    assert lost <= most * sum(np.square(k, dtype=np.float64).sum() for k in published_kernels.values())
