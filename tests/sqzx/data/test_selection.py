import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqzx.data.selection import balanced_subset, content_hashes, hashed_part
from sqzx.errors import InputError


@st.composite
def labelled_images(draw, max_distinct=256):
    """A small set in which every class has at least two different images; duplicates are common."""
    sizes = draw(st.lists(st.integers(2, 12), min_size=2, max_size=5))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    pixels = draw(st.lists(st.integers(0, max_distinct - 1), min_size=len(labels), max_size=len(labels)))
    images = np.array(pixels, np.uint8).reshape(-1, 1, 1, 1)
    starts = np.cumsum([0, *sizes[:-1]])
    images[starts], images[starts + 1] = 0, 1
    return images, labels


def examples(images, labels, chosen):
    return sorted(zip(images[chosen].ravel().tolist(), labels[chosen].tolist(), strict=True))


@given(labelled_images(), st.randoms(use_true_random=False), st.floats(0.01, 0.99))
def test_the_order_of_a_set_does_not_change_its_parts(data, random, fraction):
    images, labels = data
    order = np.array(random.sample(range(len(labels)), len(labels)))
    chosen = hashed_part(content_hashes(images, labels, "s"), labels, fraction=fraction)
    again = hashed_part(content_hashes(images[order], labels[order], "s"), labels[order], fraction=fraction)
    assert np.array_equal(chosen[order], again)


@given(labelled_images(max_distinct=4), st.floats(0.01, 0.99))
def test_equal_images_of_a_class_stay_on_one_side(data, fraction):
    images, labels = data
    chosen = hashed_part(content_hashes(images, labels, "s"), labels, fraction=fraction)
    assert not set(examples(images, labels, chosen)) & set(examples(images, labels, ~chosen))


@given(labelled_images(), st.floats(0.01, 0.99))
def test_every_class_is_on_both_sides(data, fraction):
    images, labels = data
    chosen = hashed_part(content_hashes(images, labels, "s"), labels, fraction=fraction)
    assert set(labels[chosen]) == set(labels[~chosen]) == set(labels)


@pytest.mark.parametrize(("fraction", "count"), [(0.1, 1), (0.25, 3), (0.5, 5), (0.04, 1), (0.99, 9)])
def test_without_duplicates_a_class_gives_the_rounded_fraction(fraction, count):
    images = np.arange(20, dtype=np.uint8).reshape(-1, 1, 1, 1)
    labels = np.arange(20) % 2
    chosen = hashed_part(content_hashes(images, labels, "s"), labels, fraction=fraction)
    assert np.bincount(labels[chosen]).tolist() == [count, count]


def test_a_larger_fraction_contains_a_smaller_one():
    images = np.arange(200, dtype=np.uint8).reshape(-1, 1, 1, 1)
    labels = np.arange(200) % 2
    small, large = (hashed_part(content_hashes(images, labels, "s"), labels, fraction=f) for f in (0.1, 0.3))
    assert not np.any(small & ~large)


def test_another_salt_chooses_other_images():
    images = np.arange(200, dtype=np.uint8).reshape(-1, 1, 1, 1)
    labels = np.arange(200) % 2
    hashes = [content_hashes(images, labels, salt) for salt in ("s", "t")]
    one, other = (hashed_part(found, labels, fraction=0.5) for found in hashes)
    assert 60 < np.sum(one == other) < 140


def test_the_hash_depends_on_image_and_label_and_not_on_the_type_of_the_label():
    images = np.zeros((3, 2, 2, 1), np.uint8)
    images[1, 0, 0, 0] = 1
    hashes = content_hashes(images, np.array([0, 0, 1], np.int64), "s")
    assert len(set(hashes.tolist())) == 3
    assert np.array_equal(hashes, content_hashes(images, np.array([0, 0, 1], np.uint8), "s"))


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        ([1, 2, 3], [0, 0, 1], "class 1 has 1 image: at least two different ones are needed"),
        ([1, 2, 3, 3, 3], [0, 0, 7, 7, 7], "class 7 has 3 images, all the same: at least two different"),
        ([1, 2, 3], [4, 4, 4], "1 class in 3 images: two are needed"),
        ([], [], "0 class in 0 images"),
    ],
)
def test_a_set_that_cannot_be_divided_is_refused_plainly(pixels, labels, message):
    images, classes = np.array(pixels, np.uint8).reshape(-1, 1, 1, 1), np.array(labels, np.int32)
    with pytest.raises(InputError, match=message):
        hashed_part(content_hashes(images, classes, "s"), classes, fraction=0.5)


@given(labelled_images(), st.data())
def test_a_subset_is_balanced_as_far_as_the_classes_allow(data, draw):
    images, labels = data
    count = draw.draw(st.integers(1, len(labels)))
    kept = balanced_subset(content_hashes(images, labels, "s"), labels, count=count)
    assert len(set(kept.tolist())) == count
    assert np.all(np.diff(kept) > 0)
    had, taken = (np.bincount(part, minlength=labels.max() + 1) for part in (labels, labels[kept]))
    not_exhausted = taken[taken < had]
    if len(not_exhausted):
        assert taken.max() - not_exhausted.min() <= 1


@given(labelled_images(), st.randoms(use_true_random=False), st.data())
def test_the_order_of_a_set_does_not_change_its_subset(data, random, draw):
    images, labels = data
    count = draw.draw(st.integers(1, len(labels)))
    order = np.array(random.sample(range(len(labels)), len(labels)))
    kept = balanced_subset(content_hashes(images, labels, "s"), labels, count=count)
    again = balanced_subset(content_hashes(images[order], labels[order], "s"), labels[order], count=count)
    assert examples(images, labels, kept) == examples(images[order], labels[order], again)


@given(labelled_images())
def test_a_smaller_subset_is_part_of_a_larger_one(data):
    images, labels = data
    hashes = content_hashes(images, labels, "s")
    subsets = [set(balanced_subset(hashes, labels, count=n).tolist()) for n in range(1, len(labels) + 1)]
    assert all(small < large for small, large in itertools.pairwise(subsets))


@pytest.mark.parametrize("count", [0, -1, 5])
def test_a_subset_larger_than_the_set_is_refused_with_the_numbers(count):
    with pytest.raises(InputError, match=f"{count} training examples asked for, 1 to 4 can be had"):
        balanced_subset(np.arange(4, dtype=np.uint64), np.array([0, 1, 0, 1]), count=count)


def test_sixty_thousand_images_are_divided_at_once():
    images = np.random.default_rng(0).integers(0, 256, (60_000, 28, 28, 1), dtype=np.uint8)
    labels = np.arange(60_000) % 10
    start = time.process_time()
    hashed_part(content_hashes(images, labels, "s"), labels, fraction=0.1)
    assert time.process_time() - start < 2  # 0.15 s where it was written
