import hashlib

import numpy as np
import pytest

from sqzx.data.examples import blocks
from sqzx.data.facts import Computed, Kept
from sqzx.data.splits import channel_statistics, load_splits
from sqzx.data.store import load_set
from sqzx.errors import InputError


def index_of_each(images, among):
    position = {image.tobytes(): index for index, image in enumerate(among)}
    return np.array([position[image.tobytes()] for image in images])


def test_the_split_of_digits_never_changes():
    splits = load_splits("digits", validation_fraction=0.1, train_examples=None)
    _, arrays, _ = load_set("digits")
    chosen = index_of_each(splits.validation.images, arrays.train_images).astype("<i8")
    assert len(chosen) == 145
    assert (
        hashlib.sha256(chosen.tobytes()).hexdigest()
        == "25c4f777e6939121922367a649b018aa5d3cf029c0b701155923009770b31429"
    )


def test_the_subset_of_digits_never_changes():
    splits = load_splits("digits", validation_fraction=0.1, train_examples=500)
    _, arrays, _ = load_set("digits")
    chosen = index_of_each(splits.train.images, arrays.train_images).astype("<i8")
    assert np.bincount(splits.train.labels).tolist() == [50] * 10
    assert (
        hashlib.sha256(chosen.tobytes()).hexdigest()
        == "9067fc4cb9d06a1fdac29d1cfc7d8544ae0bb6f6361c9a7d066276b7d5014f90"
    )


def test_training_and_validation_images_make_up_the_training_part(toy):
    splits = load_splits("toy", validation_fraction=0.2, train_examples=None)
    _, arrays, _ = load_set("toy")
    train = index_of_each(splits.train.images, arrays.train_images)
    validation = index_of_each(splits.validation.images, arrays.train_images)
    assert sorted([*train, *validation]) == list(range(30))
    assert np.array_equal(splits.train.labels, arrays.train_labels[train])
    assert np.bincount(splits.validation.labels).tolist() == [2, 2, 2]
    assert np.array_equal(splits.test.images, arrays.test_images)
    assert splits.info == toy


def test_a_subset_leaves_validation_and_test_alone(toy):
    whole = load_splits("toy", validation_fraction=0.2, train_examples=None)
    part = load_splits("toy", validation_fraction=0.2, train_examples=9)
    assert np.bincount(part.train.labels).tolist() == [3, 3, 3]
    assert np.array_equal(part.validation.images, whole.validation.images)
    assert np.array_equal(part.test.images, whole.test.images)
    kept = index_of_each(part.train.images, whole.train.images)
    assert np.all(np.diff(kept) > 0)


def test_all_training_examples_asked_for_by_number_are_all(toy):
    whole = load_splits("toy", validation_fraction=0.2, train_examples=None)
    asked = load_splits("toy", validation_fraction=0.2, train_examples=24)
    assert np.array_equal(asked.train.images, whole.train.images)


def test_statistics_are_those_of_the_training_images_alone(toy):
    splits = load_splits("toy", validation_fraction=0.2, train_examples=9)
    scaled = splits.train.images / 255
    assert (splits.mean.dtype, splits.mean.shape) == (np.float32, (2,))
    np.testing.assert_allclose(splits.mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(splits.std, scaled.std(axis=(0, 1, 2)), rtol=1e-6)


def statistics_of(images):
    labels, everything = np.zeros(len(images), np.int32), np.arange(len(images))
    sums = Computed(images, labels).channel_sums(everything)
    for one, other in zip(
        sums, Kept.of(blocks(images), labels, images.shape[-1]).channel_sums(everything), strict=True
    ):
        assert np.array_equal(one, other)
    return channel_statistics(*sums, pixels=images[..., 0].size)


def test_statistics_cross_block_borders():
    images = np.random.default_rng(0).integers(0, 256, (2500, 2, 2, 3), dtype=np.uint8)
    mean, std = statistics_of(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-6)


def test_a_constant_channel_can_be_divided_by():
    mean, std = statistics_of(np.full((4, 2, 2, 1), 51, np.uint8))
    np.testing.assert_allclose(mean, [0.2], rtol=1e-6)
    np.testing.assert_allclose(std, [1 / 255], rtol=1e-6)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_fraction_that_leaves_one_side_empty_is_refused(toy, fraction):
    with pytest.raises(InputError, match=r"data\.validation_fraction = .*between 0 and 1"):
        load_splits("toy", validation_fraction=fraction, train_examples=None)


def test_more_training_examples_than_there_are_is_refused_with_the_numbers(toy):
    with pytest.raises(InputError, match="data set toy: 25 training examples asked for, 1 to 24 can be had"):
        load_splits("toy", validation_fraction=0.2, train_examples=25)


def test_one_class_is_refused_by_the_name_of_the_set(store_set):
    store_set(np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1), np.zeros(9, np.int32))
    with pytest.raises(InputError, match="data set toy: 1 class in 9 images"):
        load_splits("toy", validation_fraction=0.2, train_examples=None)


def test_a_class_with_one_image_is_refused_by_the_name_of_the_set(store_set):
    labels = np.array([0, 0, 0, 0, 1], np.int32)
    store_set(np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1), labels)
    with pytest.raises(InputError, match="data set toy: class 1 has 1 image"):
        load_splits("toy", validation_fraction=0.2, train_examples=None)
