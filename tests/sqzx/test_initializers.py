import math

import jax
import numpy as np
import pytest
from scipy import stats

from sqzx.initializers import kernel_initializer
from sqzx.streams import generator

SOURCES = {
    "numpy": lambda seed: generator(seed, "init"),
    "jax": jax.random.key,
}
SHAPE = (3, 3, 16, 40)
FAN_IN = 3 * 3 * 16


@pytest.fixture(params=SOURCES)
def key(request):
    return SOURCES[request.param]


@pytest.mark.parametrize(("source", "numerator"), [("xavier", 3), ("kaiming", 6)])
def test_convolutions_are_uniform_with_the_variance_of_their_source(key, source, numerator):
    kernel = np.asarray(kernel_initializer(source, "conv")(key(0), SHAPE, np.float32))
    bound = math.sqrt(numerator / FAN_IN)
    assert kernel.dtype == np.float32
    assert bound * 0.999 < np.abs(kernel).max() <= bound * (1 + 1e-6)
    assert kernel.var() == pytest.approx(numerator / 3 / FAN_IN, rel=0.05)
    assert stats.kstest(kernel.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01


@pytest.mark.parametrize("source", ["xavier", "kaiming"])
def test_the_classifier_is_normal_with_a_deviation_of_a_hundredth(key, source):
    kernel = np.asarray(kernel_initializer(source, "classifier")(key(0), SHAPE, np.float32))
    assert kernel.dtype == np.float32
    assert stats.kstest(kernel.ravel(), stats.norm(0, 0.01).cdf).pvalue > 0.01


def test_fan_in_alone_counts(key):
    init = kernel_initializer("xavier", "conv")
    few, many = (np.asarray(init(key(0), (1, 1, 64, n), np.float32)).var() for n in (50, 500))
    assert few == pytest.approx(1 / 64, rel=0.1)
    assert many == pytest.approx(1 / 64, rel=0.1)


def test_a_seed_is_repeatable_and_another_differs(key):
    init = kernel_initializer("xavier", "conv")
    first, again, other = (np.asarray(init(key(seed), SHAPE, np.float32)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
