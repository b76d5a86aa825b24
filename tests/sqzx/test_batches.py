import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqzx.batches import AHEAD, augmented, batch_size, epoch_batches, made_ahead, steps_per_epoch
from sqzx.config import DataConfig
from sqzx.data.examples import Subset
from sqzx.data.splits import Split
from sqzx.streams import generator

PLAIN = DataConfig()
AUGMENTED = DataConfig(crop_padding=2, mirror=True)


def numbered(n, height=5, width=4, channels=2):
    """Images that hold their own number, and never 0, in each pixel; labels are the numbers."""
    images = np.random.default_rng(n).integers(1, 256, (n, height, width, channels), dtype=np.uint8)
    return Split(images, np.arange(n, dtype=np.int32))


def labels_of(batches):
    return [labels.tolist() for _, labels in batches]


def examples_of(batches):
    return [label for _, labels in batches for label in labels.tolist()]


class TestMadeAhead:
    """Batches of images that are not in memory."""

    IMAGES = Subset(np.zeros((4, 2, 2, 1), np.uint8), np.arange(4))

    @given(number=st.integers(0, 12))
    def test_all_come_in_order(self, number):
        for images in (self.IMAGES, self.IMAGES[:]):
            with made_ahead(iter(range(number)), images) as batches:
                assert list(batches) == list(range(number))

    def test_they_are_made_before_they_are_asked_for_and_elsewhere(self):
        made, threads = [threading.Event() for _ in range(9)], set()

        def making():
            for number, event in enumerate(made):
                threads.add(threading.get_ident())
                event.set()
                yield number

        with made_ahead(making(), self.IMAGES) as batches:
            for number in range(3):
                assert next(batches) == number
                assert made[number + AHEAD].wait(10)
                assert not made[number + AHEAD + 1].is_set()
        assert threads.isdisjoint({threading.get_ident()})

    def test_those_of_images_in_memory_are_made_when_they_are_asked_for(self):
        made = []
        with made_ahead((made.append(number) for number in range(9)), self.IMAGES[:]) as batches:
            next(batches)
            assert made == [0]

    def test_an_error_comes_where_the_batch_would(self):
        with made_ahead((1 // (2 - number) for number in range(9)), self.IMAGES) as batches:
            assert [next(batches), next(batches)] == [0, 1]
            with pytest.raises(ZeroDivisionError):
                next(batches)

    def test_at_its_end_one_batch_at_most_is_waited_for(self):
        made = []

        def making():
            for number in range(9):
                made.append(number)
                time.sleep(0.05)
                yield number

        with made_ahead(making(), self.IMAGES) as batches:
            next(batches)
            begun = len(made)
        assert len(made) <= begun + 1

    def test_no_thread_is_left_behind(self):
        before = threading.active_count()
        with made_ahead(iter(range(100)), self.IMAGES) as batches:
            next(batches)
            assert threading.active_count() == before + 1
        assert threading.active_count() == before


class TestOrder:
    def test_an_epoch_takes_no_example_twice(self):
        seen = examples_of(epoch_batches(numbered(23), PLAIN, 5, seed=0, epoch=0))
        assert len(seen) == len(set(seen)) == 20

    def test_an_epoch_of_whole_batches_is_a_permutation(self):
        seen = examples_of(epoch_batches(numbered(20), PLAIN, 5, seed=0, epoch=0))
        assert sorted(seen) == list(range(20))
        assert seen != list(range(20))

    def test_images_go_with_their_labels(self):
        split = numbered(20)
        for images, labels in epoch_batches(split, PLAIN, 5, seed=1, epoch=2):
            assert np.array_equal(images, split.images[labels])
            assert (images.dtype, labels.dtype) == (np.uint8, np.int32)

    def test_epochs_and_seeds_have_orders_of_their_own(self):
        split = numbered(20)
        orders = [
            labels_of(epoch_batches(split, PLAIN, 5, seed=seed, epoch=epoch))
            for seed in (0, 1)
            for epoch in (0, 1, 2)
        ]
        assert len({str(order) for order in orders}) == 6

    def test_what_one_epoch_leaves_out_others_take(self):
        split = numbered(23)
        left_out = {
            frozenset(range(23)) - set(examples_of(epoch_batches(split, PLAIN, 5, seed=0, epoch=e)))
            for e in range(5)
        }
        assert len(left_out) > 1

    @pytest.mark.parametrize("config", [PLAIN, AUGMENTED], ids=["plain", "augmented"])
    @pytest.mark.parametrize("first", range(5))
    def test_a_resumed_epoch_goes_on_as_the_uncut_one(self, config, first):
        split = numbered(22)
        whole = list(epoch_batches(split, config, 5, seed=3, epoch=1))
        rest = list(epoch_batches(split, config, 5, seed=3, epoch=1, first=first))
        assert len(rest) == 4 - first
        for (images, labels), (resumed_images, resumed_labels) in zip(whole[first:], rest, strict=True):
            assert np.array_equal(images, resumed_images)
            assert np.array_equal(labels, resumed_labels)

    def test_augmentation_leaves_the_order_alone(self):
        split = numbered(20)
        plain, changed = (labels_of(epoch_batches(split, c, 5, seed=0, epoch=0)) for c in (PLAIN, AUGMENTED))
        assert plain == changed


class TestSizes:
    """A data set smaller than a batch still trains: at least one step an epoch."""

    @pytest.mark.parametrize(
        ("wanted", "examples", "size", "steps"),
        [(128, 40, 40, 1), (40, 40, 40, 1), (40, 79, 40, 1), (40, 80, 40, 2), (1, 3, 1, 3), (7, 1, 1, 1)],
    )
    def test_batches_and_steps(self, wanted, examples, size, steps):
        assert batch_size(wanted, examples) == size
        assert steps_per_epoch(wanted, examples) == steps
        batches = list(epoch_batches(numbered(examples), PLAIN, size, seed=0, epoch=0))
        assert len(batches) == steps
        assert {len(images) for images, _ in batches} == {size}


class TestAugmentation:
    def test_off_leaves_images_as_they_are(self):
        images = numbered(6).images
        assert np.array_equal(augmented(images, PLAIN, generator(0)), images)

    @given(padding=st.integers(1, 4), height=st.integers(1, 6), width=st.integers(1, 6))
    def test_a_crop_moves_the_image_and_leaves_a_black_border(self, padding, height, width):
        images = numbered(8, height, width).images
        moved = augmented(images, DataConfig(crop_padding=padding), generator(0, "crop"))
        assert (moved.shape, moved.dtype) == (images.shape, images.dtype)
        for before, after in zip(images, moved, strict=True):
            assert any(
                np.array_equal(after, shifted(before, down, right))
                for down in range(-padding, padding + 1)
                for right in range(-padding, padding + 1)
            )

    def test_every_shift_occurs_and_none_beyond(self):
        images = np.zeros((2000, 5, 5, 1), np.uint8)
        images[:, 2, 2] = 1
        moved = augmented(images, DataConfig(crop_padding=1), generator(0, "shifts"))
        rows, columns = np.nonzero(moved[..., 0])[1:]
        counts = np.histogram2d(rows, columns, bins=(range(6), range(6)))[0]
        assert counts.sum() == 2000
        assert np.count_nonzero(counts) == 9
        assert counts[1:4, 1:4].min() > 150

    def test_a_mirror_swaps_left_and_right_of_about_half_the_images(self):
        images = numbered(400).images
        seen = augmented(images, DataConfig(mirror=True), generator(0, "mirror"))
        same = (seen == images).all(axis=(1, 2, 3))
        mirrored = (seen == images[:, :, ::-1]).all(axis=(1, 2, 3))
        assert (same ^ mirrored).all()
        assert 150 < mirrored.sum() < 250

    def test_two_batches_are_changed_differently(self):
        split = Split(np.repeat(numbered(1).images, 8, axis=0), np.arange(8, dtype=np.int32))
        (a, _), (b, _) = epoch_batches(split, AUGMENTED, 4, seed=0, epoch=0)
        assert not np.array_equal(a, b)

    def test_the_stored_images_stay_as_they_are(self):
        split = numbered(6)
        before = split.images.copy()
        list(epoch_batches(split, AUGMENTED, 3, seed=0, epoch=0))
        assert np.array_equal(split.images, before)


def shifted(image, down, right):
    """Move an image pixel by pixel; what comes in is 0."""
    out = np.zeros_like(image)
    height, width, _ = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                out[row, column] = image[row - down, column - right]
    return out
