import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from sqzx.data import tfds_images as room
from sqzx.data.store import fingerprint, write_set
from sqzx.data.tfds_images import (
    DecodedImages,
    choose_splits,
    decoded_labels,
    image_and_label,
    prepare_builder,
    storage_for,
)
from sqzx.errors import InputError, MissingDataError

with tfds.core.registered.skip_registration():

    class TinySet(tfds.core.GeneratorBasedBuilder):
        """A real TFDS builder that needs neither a network nor TensorFlow."""

        VERSION = tfds.core.Version("1.2.3")
        shapes = ((6, 5),)
        splits = ("train", "test")

        def _info(self):
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(names=["cat", "dog"]),
                }
            )
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(seed) for seed, split in enumerate(self.splits)}

        def _generate_examples(self, seed):
            random = np.random.default_rng(seed)
            for index in range(20):
                shape = self.shapes[index % len(self.shapes)]
                pixels = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
                yield index, {"image": Image.fromarray(pixels), "label": index % 2}


@pytest.fixture
def builder(tmp_path):
    return TinySet(data_dir=tmp_path, file_format="array_record")


class Source(list):
    """Examples in memory, read as TFDS's random-access sources are."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


def examples(*shapes):
    return Source({"image": np.full(s, i, np.uint8), "label": i} for i, s in enumerate(shapes))


def test_a_builder_becomes_arrays_and_metadata(builder, capfd):
    with room.tfds_at_work("tiny_set"):
        info, arrays = prepare_builder("tiny_set", builder, None, None)
    assert (info.name, info.image_shape, info.num_classes) == ("tiny_set", (6, 5, 3), 2)
    assert (info.class_names, info.train_examples, info.test_examples) == (("cat", "dog"), 20, 20)
    assert (info.source, info.rule) == ("TensorFlow Datasets tiny_set/1.2.3", None)
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    assert pixels.tobytes() in {image.tobytes() for image in arrays.test_images}
    assert np.bincount(arrays.train_labels).tolist() == [10, 10]
    assert capfd.readouterr() == ("", "")


def test_a_prepared_builder_is_not_prepared_again(builder, monkeypatch):
    with room.tfds_at_work("tiny_set"):
        first = prepare_builder("tiny_set", builder, None, None)
    monkeypatch.setattr(TinySet, "download_and_prepare", lambda *_, **__: pytest.fail("prepared again"))
    second = prepare_builder("tiny_set", builder, None, None)
    assert np.array_equal(first[1].train_images, second[1].train_images)


def test_one_split_is_divided_by_hash_and_the_rule_is_stated(builder, monkeypatch):
    monkeypatch.setattr(TinySet, "splits", ("train",))
    with room.tfds_at_work("tiny_set"):
        info, arrays = prepare_builder("tiny_set", builder, None, None)
    assert (info.train_examples, info.test_examples) == (16, 4)
    assert info.rule is not None
    assert "a fifth of each class of the one split 'train'" in info.rule
    images = [image.tobytes() for image in (*arrays.train_images, *arrays.test_images)]
    assert len(set(images)) == 20


@pytest.mark.parametrize("storage", ["arrays", "records"])
def test_mixed_shapes_are_told_and_one_size_cures_them(builder, monkeypatch, storage):
    monkeypatch.setattr(TinySet, "shapes", ((6, 5), (6, 5), (6, 5), (5, 6)))
    with pytest.raises(InputError) as error, room.tfds_at_work("tiny_set"):
        write_set(*prepare_builder("tiny_set", builder, None, None, storage))
    assert re.fullmatch(
        r"data set tiny_set: images of several shapes \((6x5x3|5x6x3) the first, (6x5x3|5x6x3) number \d+\): "
        "prepare it with --image-size HxW",
        str(error.value),
    )
    info, arrays = prepare_builder("tiny_set", builder, None, (4, 3))
    assert arrays.train_images.shape == (20, 4, 3, 3)
    assert info.source == "TensorFlow Datasets tiny_set/1.2.3; resized to cover 4x3, centre crop"


def test_a_host_that_does_not_answer_is_missing_data(builder, monkeypatch):
    monkeypatch.setattr(TinySet, "url_infos", {"http://host.invalid/a.zip": None})
    monkeypatch.setattr(room, "answers", lambda _: False)
    with pytest.raises(MissingDataError) as error, room.tfds_at_work("t"):
        prepare_builder("t", builder, None, None)
    assert str(error.value).startswith("data set t: http://host.invalid/a.zip doesn't answer")


def test_files_that_must_be_downloaded_by_hand_ask_for_a_folder(builder, monkeypatch):
    monkeypatch.setattr(TinySet, "MANUAL_DOWNLOAD_INSTRUCTIONS", "register somewhere")
    with pytest.raises(InputError, match="downloaded by hand first, into a folder given as --from DIR"):
        prepare_builder("t", builder, None, None)


def test_whatever_tfds_raises_is_one_line_with_the_name_of_the_set():
    with pytest.raises(InputError) as error, room.tfds_at_work("t"):
        raise AssertionError("first line\nsecond line")
    assert (
        str(error.value) == "data set t: TensorFlow Datasets failed: AssertionError: first line second line"
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train", "test", "validation"], ("train", "test", None)),
        (["validation", "train"], ("train", "validation", "test is the split 'validation'")),
        (["all"], ("all", None, "the one split 'all'")),
    ],
)
def test_the_parts_of_a_set_are_chosen_by_name(names, expected):
    train, test, rule = choose_splits(names)
    assert (train, test) == expected[:2]
    assert rule is None if expected[2] is None else expected[2] in rule


def test_splits_without_a_training_part_are_refused():
    with pytest.raises(InputError, match="the set has the splits left, right"):
        choose_splits(["right", "left"])


@pytest.mark.parametrize(
    "features",
    [
        {"image": tfds.features.Image(), "labels": tfds.features.ClassLabel(num_classes=2)},
        {"image": tfds.features.Image(), "label": tfds.features.Tensor(shape=(), dtype=np.int64)},
        {"image": tfds.features.Image(), "label": tfds.features.Sequence(tfds.features.ClassLabel())},
        {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=2)},
        {
            "image": tfds.features.Image(shape=(None, None, 1), dtype=np.uint16),
            "label": tfds.features.ClassLabel(num_classes=2),
        },
    ],
    ids=["no-label", "number", "several-labels", "no-image", "16-bit"],
)
def test_a_set_that_is_no_image_classification_is_refused(features):
    with pytest.raises(InputError, match=f"the set has {', '.join(sorted(features))}; an image class"):
        image_and_label(tfds.features.FeaturesDict(features))


def test_a_set_above_four_gib_becomes_records():
    assert storage_for(2**20, (64, 64, 1)) == "arrays"
    assert storage_for(2**20 + 1, (64, 64, 1)) == "records"


@pytest.mark.parametrize("splits", [("train",), ("train", "test")])
def test_of_records_images_are_decoded_when_they_are_asked_for(builder, monkeypatch, splits):
    monkeypatch.setattr(TinySet, "splits", splits)
    with room.tfds_at_work("tiny_set"):
        info, arrays = prepare_builder("tiny_set", builder, None, None)
    monkeypatch.setattr(room, "MOST_ARRAY_BYTES", len(splits) * 20 * 6 * 5 * 3 - 1)
    told, records = prepare_builder("tiny_set", builder, None, None)
    assert (info.storage, told) == ("arrays", replace(info, storage="records"))
    decoded = []
    monkeypatch.setattr(room, "_with_channels", lambda image, _: decoded.append(image) or image)
    for part in ("train_images", "test_images"):
        images, expected = getattr(records, part), getattr(arrays, part)
        assert images.shape == expected.shape
        before = len(decoded)
        assert np.array_equal(images[np.array([2, 0])], expected[np.array([2, 0])])
        assert len(decoded) - before == 2
        assert np.array_equal(images[1:3], expected[1:3])
    for part in ("train_labels", "test_labels"):
        assert np.array_equal(getattr(records, part), getattr(arrays, part))
    assert write_set(told, records).fingerprint == fingerprint(arrays)


def test_where_the_labels_of_the_test_part_are_secret_it_is_the_validation_part(builder, monkeypatch):
    monkeypatch.setattr(TinySet, "splits", ("train", "validation", "test"))
    with room.tfds_at_work("tiny_set"):
        plain, _ = prepare_builder("tiny_set", builder, None, None)

    def labels(builder, split):
        return np.full(20, -1, np.int32) if split == "test" else decoded_labels(builder, split)

    monkeypatch.setattr(room, "decoded_labels", labels)
    info, arrays = prepare_builder("tiny_set", builder, None, None)
    assert plain.rule is None
    assert info.rule == "test is the split 'validation': the set has no split 'test' with labels"
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    assert pixels.tobytes() in {image.tobytes() for image in arrays.test_images[:]}
    assert np.bincount(arrays.test_labels).tolist() == [10, 10]


def test_grey_images_become_rgb_and_alpha_is_dropped():
    images = DecodedImages(examples((2, 3, 1), (2, 3, 3), (2, 3, 4)), channels=3)
    assert images.shape == (3, 2, 3, 3)
    assert [image.ravel().tolist() for image in images[:]] == [[i] * 18 for i in range(3)]


def test_the_first_image_of_another_shape_is_named():
    images = DecodedImages(examples((1, 1, 3), (1, 1, 3), (1, 2, 3), (1, 3, 3)), channels=3)
    assert images[:2].shape == (2, 1, 1, 3)
    with pytest.raises(InputError, match=r"several shapes \(1x1x3 the first, 1x2x3 number 3\): prepare it"):
        images[:]


def test_blocks_of_examples_come_in_order(monkeypatch):
    monkeypatch.setattr(room, "BLOCK", 2)
    source = examples(*[(1, 1, 1)] * 5)
    assert DecodedImages(source, channels=1)[:].ravel().tolist() == [0, 1, 2, 3, 4]
    labels = decoded_labels(SimpleNamespace(as_data_source=lambda **_: source), "train")
    assert (labels.dtype, labels.tolist()) == (np.int32, [0, 1, 2, 3, 4])


def test_an_empty_split_is_refused():
    with pytest.raises(InputError, match="a split without images"):
        DecodedImages(Source(), channels=1)
