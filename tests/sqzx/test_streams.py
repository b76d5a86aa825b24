import hashlib

import numpy as np
import pytest

from sqzx.streams import generator, key_data


def test_a_stream_is_that_of_its_seed_and_name_for_ever():
    # Resumed trials and the identity of results hang on these values.
    expected = hashlib.sha256(b"3/order/7").digest()
    assert key_data(3, "order", 7).tobytes() == expected[:8]
    assert generator(3, "order", 7).integers(0, 1000, 4).tolist() == [600, 879, 589, 404]


@pytest.mark.parametrize("other", [(4, "order", 7), (3, "augment", 7), (3, "order", 8), (3, "order", 7, 0)])
def test_another_seed_or_name_is_another_stream(other):
    here, there = generator(3, "order", 7).random(8), generator(*other).random(8)
    assert not np.intersect1d(here, there).size
    assert key_data(3, "order", 7).tolist() != key_data(*other).tolist()


def test_seeds_up_to_the_largest_differ():
    seeds = [0, 1, 2**31, 2**32, 2**32 + 1, 2**63 - 1]
    assert len({key_data(seed, "dropout").tobytes() for seed in seeds}) == len(seeds)
