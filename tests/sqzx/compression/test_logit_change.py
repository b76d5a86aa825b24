"""How far logits move, against figures worked out by hand."""

import numpy as np
import pytest

from sqzx.compression.logit_change import logit_change

BEFORE = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]], np.float32)


def test_the_error_is_relative_and_classes_are_counted():
    after = np.array([[0.0, 3.0, 0.0], [0.0, 3.0, 0.0]], np.float32)
    found = logit_change(BEFORE, after)
    # Without the mean a row is (2, -1, -1): 6 each, and the first moved by (3, -3, 0): 18.
    assert found.relative_error == pytest.approx((18 / 12) ** 0.5)
    assert (found.images, found.same_class) == (2, 1)
    assert found.told() == "logits of 2 images: relative error 1.22e+00, the likeliest class stays in 1"


def test_what_a_softmax_does_not_see_is_no_change():
    assert logit_change(BEFORE, BEFORE + 5).relative_error == pytest.approx(0, abs=1e-7)


def test_logits_that_are_all_the_same():
    assert logit_change(np.zeros((1, 3)), np.ones((1, 3))).relative_error == 0
