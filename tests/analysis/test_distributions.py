import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from analysis.distributions import (
    Distributions,
    bin_weights,
    common_bins,
    distribution,
    distributions,
    draw_distributions,
    share_band,
)
from analysis.table import load

errors = st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=20).map(np.array)


@settings(max_examples=30, deadline=None)
@given(errors)
def test_the_share_at_an_error_is_that_of_the_configurations_up_to_it(found):
    drawn = distribution("all", found, np.ones(len(found)))
    for error, share in zip(drawn.error, drawn.share, strict=True):
        assert share == pytest.approx((found <= error).mean())
    assert (drawn.low <= drawn.share + 1e-9).all()
    assert (drawn.high >= drawn.share - 1e-9).all()
    assert drawn.share[-1] == pytest.approx(1)


def test_weights_shift_the_share_and_the_median():
    found = np.array([0.1, 0.2, 0.3])
    even, heavy = (distribution("a", found, np.array(w)) for w in ([1.0, 1, 1], [1.0, 1, 8]))
    assert (even.median, heavy.median) == (0.2, 0.3)
    assert heavy.share.tolist() == pytest.approx([0.1, 0.2, 1])


def test_the_band_is_as_wide_as_the_binomial_says():
    found = np.linspace(0, 1, 400)
    drawn = distribution("a", found, np.ones(400))
    middle = np.searchsorted(drawn.share, 0.5)
    half = 1.96 * np.sqrt(0.25 / 400)
    assert drawn.high[middle] - drawn.low[middle] == pytest.approx(2 * half, rel=0.1)


def test_the_band_is_the_exact_binomial_one():
    drawn = distribution("a", np.arange(9) / 10, np.ones(9))
    for k, (low, high) in enumerate(zip(drawn.low, drawn.high, strict=True), start=1):
        exact = binomtest(k, 9).proportion_ci(0.95, method="exact")
        assert (low, high) == pytest.approx((exact.low, exact.high))


def test_where_all_or_none_are_below_the_band_has_a_width():
    """A bootstrap of what was seen would be certain there."""
    drawn = distribution("a", np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.ones(5))
    assert (drawn.low[-1], drawn.high[-1]) == (pytest.approx(0.025 ** (1 / 5)), 1)
    low, high = share_band(np.zeros(1), drawn.effective)
    assert (low[0], high[0]) == (0, pytest.approx(1 - 0.025 ** (1 / 5)))
    found = Distributions("digits", (drawn,), (), 0, (np.nan, np.nan), (3,), "")
    corners = draw_distributions(found).axes[0].collections[0].get_paths()[0].vertices
    left = corners[corners[:, 0] == corners[:, 0].min()]
    assert left[:, 1].max() == pytest.approx(high[0])  # the drawing has it, too


def test_uneven_weights_are_worth_fewer_configurations():
    even, uneven = (distribution("a", np.arange(6) / 10, np.array(w)) for w in ([1.0] * 6, [1.0] * 5 + [5]))
    assert (even.effective, uneven.effective) == (pytest.approx(6), pytest.approx(10**2 / 30))
    assert uneven.high[0] - uneven.low[0] > even.high[0] - even.low[0]


class TestSizeNormalised:
    """Radosavovic et al. 2019: each bin of sizes weighs the same in every sub-space."""

    def test_each_bin_weighs_the_same(self):
        edges = np.array([1.0, 10, 100])
        sizes = np.array([1.0, 2, 3, 10, 100, 0.5, 200])
        weights = bin_weights(sizes, edges)
        assert weights.tolist() == pytest.approx([1 / 6] * 3 + [1 / 4] * 2 + [0, 0])

    def test_bins_cover_what_all_share_and_none_is_empty(self):
        a, b = np.geomspace(1, 1000, 50), np.geomspace(10, 5000, 30)
        edges = common_bins([a, b])
        assert (edges[0], edges[-1]) == (10, 1000)
        assert len(edges) == 11
        assert all((np.histogram(sizes, edges)[0] > 0).all() for sizes in (a, b))

    @pytest.mark.parametrize("other", [[1.0, 2], [100.0, 200], [50.0, 50]])
    def test_without_a_shared_range_there_are_no_bins(self, other):
        assert common_bins([np.array([10.0, 20, 30, 40]), np.array(other)]).size == 0

    def test_a_space_of_large_networks_loses_its_advantage(self, make_study, study_of, result):
        """Error depends on size alone, so at equal sizes the two spaces are equally good."""
        small = "grid.model.squeeze_ratio = [0.2, 0.22, 0.24, 0.26, 0.3, 0.9]"
        large = "set.model.freq = 2\ngrid.model.squeeze_ratio = [0.201, 0.7, 0.75, 0.8, 0.85, 0.901]"
        out = make_study(study_of(small, large), lambda t: result(t, test_top1=1 - 5000 / t.network.params))
        (found,) = distributions(load(out))
        raw = [d.median for d in found.raw]
        normalised = [d.median for d in found.normalised]
        assert found.bins >= 2
        assert raw[0] - raw[1] > 2 * abs(normalised[0] - normalised[1])
        draw_distributions(found)


def test_small_sweeps_are_left_out(make_study, study_of):
    four = "grid.model.squeeze_ratio = [0.2, 0.3, 0.4, 0.5]"
    (found,) = distributions(load(make_study(study_of(four, "grid.model.freq = [1, 2, 3]"))))
    assert [d.configurations for d in found.raw] == [4]


def test_a_configuration_without_a_score_has_no_part(make_study, study_of, result):
    text = study_of("grid.model.squeeze_ratio = [0.2, 0.3, 0.4, 0.5, 0.6]")
    out = make_study(text, lambda t: None if t.config.model.squeeze_ratio == 0.6 else result(t))
    (found,) = distributions(load(out))
    assert found.raw[0].configurations == 4
