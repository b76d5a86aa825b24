"""How an image becomes an input, against the formulas written out."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from sqzx import preprocessing
from sqzx.errors import InputError
from sqzx.preprocessing import Preprocessing, read_for
from sqzx.schema import from_tree

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)

PLAIN = {
    "channel_order": "RGB",
    "divisor": 255.0,
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
    "size": [6, 8],
    "cover": [9, 12],
}


def plain(**changes):
    return from_tree(Preprocessing, PLAIN | changes, "test")


def many_channels(channels):
    return np.random.default_rng(1).integers(0, 256, (2, 5, 4, channels), dtype=np.uint8)


@pytest.fixture
def picture(tmp_path):
    """A colourful picture of 30x23 pixels in a file."""
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (23, 30, 3), dtype=np.uint8)).save(path)
    return path


class TestTheAuthors:
    """Their prototxt: mean_value 104, 117 and 123 of blue, green and red, no scale, crop_size 227."""

    def test_blue_comes_first_and_the_mean_pixel_is_subtracted(self):
        found = preprocessing.caffe((227, 227)).normalise(IMAGES)
        red, green, blue = (IMAGES[..., n].astype(np.float32) for n in range(3))
        assert (found[..., 0] == blue - 104).all()
        assert (found[..., 1] == green - 117).all()
        assert (found[..., 2] == red - 123).all()

    def test_size(self):
        found = preprocessing.caffe((227, 227))
        assert found.image_shape == (227, 227, 3)
        assert found.cover == (227, 227)
        assert found.channel_order == "BGR"


class TestTorchvision:
    """Its transform: Resize(256), CenterCrop(224), ToTensor, Normalize(mean, std)."""

    def test_standardised(self):
        found = preprocessing.torchvision((224, 224)).normalise(IMAGES)
        for channel, mean, std in ((0, 0.485, 0.229), (1, 0.456, 0.224), (2, 0.406, 0.225)):
            expected = (IMAGES[..., channel] / 255.0 - mean) / std
            np.testing.assert_allclose(found[..., channel], expected, rtol=2e-6, atol=2e-6)

    @pytest.mark.parametrize(
        ("size", "cover"), [((224, 224), (256, 256)), ((227, 227), (259, 259)), ((112, 224), (128, 256))]
    )
    def test_cover_is_in_proportion(self, size, cover):
        found = preprocessing.torchvision(size)
        assert (found.size, found.cover) == (size, cover)


@pytest.mark.parametrize(("channels", "order"), [(1, "grey"), (3, "RGB"), (2, "other"), (5, "other")])
def test_unit_is_0_to_1(channels, order):
    found = preprocessing.unit((5, 4, channels))
    assert found.channel_order == order
    assert found.image_shape == (5, 4, channels)
    images = many_channels(channels)
    np.testing.assert_allclose(found.normalise(images), images / 255.0, rtol=1e-6)


@pytest.mark.parametrize(("order", "channels"), [("RGB", 3), ("BGR", 3), ("grey", 1), ("other", 4)])
def test_numpy_and_jax_agree(order, channels):
    images = many_channels(channels)
    found = plain(
        channel_order=order,
        divisor=3.0,
        mean=[0.5 + n for n in range(channels)],
        std=[1.5 + n for n in range(channels)],
    )
    ours, theirs = found.normalise(images), found.normalise(jnp.asarray(images))
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.shape == theirs.shape == images.shape
    np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-6)
    source = images[..., ::-1] if order == "BGR" else images
    expected = np.stack([(source[..., n] / 3 - (0.5 + n)) / (1.5 + n) for n in range(channels)], axis=-1)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_mean_and_std_are_those_of_the_order():
    first = plain(channel_order="BGR", mean=[0.9, 0, 0], std=[2, 1, 1]).normalise(IMAGES)
    np.testing.assert_allclose(first[..., 0], (IMAGES[..., 2] / 255 - 0.9) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"channel_order": "BGR"},
        {"divisor": 128.0},
        {"mean": [0.1, 0.2, 0.4]},
        {"std": [0.4, 0.5, 0.7]},
        {"size": [5, 8]},
        {"cover": [10, 14]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_field_changes_the_input(change, picture):
    first, second = (found.normalise(read_for(found, picture)[None]) for found in (plain(), plain(**change)))
    assert first.shape != second.shape or np.abs(first - second).max() > 1e-3
    assert dataclasses.asdict(plain()).keys() == PLAIN.keys()  # the list above has them all


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.1], "std": [0.4]}, "RGB needs a mean and a std a channel, found 1 and 1"),
        ({"channel_order": "BGR", "mean": [0.1] * 4, "std": [1] * 4}, "BGR needs a mean"),
        ({"channel_order": "grey"}, "grey needs a mean and a std a channel, found 3 and 3"),
        ({"std": [0.4, 0.5]}, "found 3 and 2"),
        ({"channel_order": "other", "mean": [], "std": []}, "other needs a mean"),
        ({"cover": [9, 7]}, "cover at least size; found [6, 8] and [9, 7]"),
        ({"cover": [5, 12]}, "cover at least size"),
        ({"size": [6]}, "found [6] and [9, 12]"),
        ({"size": [6, 8, 3], "cover": [9, 12, 3]}, "need a height and a width"),
        ({"size": [], "cover": []}, "need a height and a width"),
        ({"size": [0, 8]}, "size[0]: needs at least 1, found 0"),
        ({"std": [0.4, 0, 0.6]}, "std[1]: needs more than 0, found 0"),
        ({"divisor": 0}, "divisor: needs more than 0"),
        ({"divisor": -1}, "divisor: needs more than 0"),
        ({"mean": [0.1, float("nan"), 0]}, "mean[1]: needs a number, found nan"),
        ({"std": [float("inf"), 1, 1]}, "which is not finite"),
        ({"size": [6.5, 8]}, "size[0]: needs a whole number"),
        ({"mean": "0.1"}, "mean: needs a list"),
        ({"channel_order": "GBR"}, "channel_order: 'GBR' is not possible here"),
    ],
)
def test_what_no_image_could_go_through_is_refused(change, message):
    with pytest.raises(InputError) as error:
        plain(**change)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["caffe", "torchvision", "unit"])
def test_it_survives_json(name):
    shape = (5, 4, 3) if name == "unit" else (5, 4)
    found = getattr(preprocessing, name)(shape)
    assert from_tree(Preprocessing, json.loads(json.dumps(dataclasses.asdict(found))), "test") == found


def test_told_in_one_line():
    assert preprocessing.caffe((227, 227)).told() == (
        "227x227 BGR, values 0 to 255 divided by 1, minus (104, 117, 123), divided by (1, 1, 1)"
    )
    assert "others scaled to cover 256x256" in preprocessing.torchvision((224, 224)).told()
    assert "5x4 2 channels" in preprocessing.unit((5, 4, 2)).told()


class TestReading:
    def test_an_image_of_the_network_s_size_is_not_touched(self, tmp_path):
        pixels = IMAGES[0]
        Image.fromarray(pixels).save(tmp_path / "p.png")
        for found in (preprocessing.caffe((5, 4)), preprocessing.torchvision((5, 4))):
            assert (read_for(found, tmp_path / "p.png") == pixels).all()

    def test_the_order_is_turned_around_once(self, tmp_path):
        Image.new("RGB", (4, 5), (250, 100, 5)).save(tmp_path / "p.png")
        found = preprocessing.caffe((5, 4))
        values = found.normalise(read_for(found, tmp_path / "p.png")[None])
        assert values[0, 0, 0].tolist() == [5 - 104, 100 - 117, 250 - 123]

    def test_colour_becomes_grey_for_one_channel(self, tmp_path):
        Image.new("RGB", (4, 5), (255, 0, 0)).save(tmp_path / "p.png")
        assert read_for(preprocessing.unit((5, 4, 1)), tmp_path / "p.png").tolist() == [[[76]] * 4] * 5

    def test_no_image_file_has_two_channels(self, picture):
        with pytest.raises(InputError, match="takes 2 channels, which no image file has"):
            read_for(preprocessing.unit((23, 30, 2)), picture)

    def test_eight_times_a_side_is_the_limit(self, tmp_path):
        Image.new("RGB", (9, 4)).save(tmp_path / "p.png")
        assert read_for(preprocessing.unit((32, 72, 3)), tmp_path / "p.png").shape == (32, 72, 3)
        for size in ((33, 72), (32, 73)):
            with pytest.raises(InputError) as error:
                read_for(preprocessing.unit((*size, 3)), tmp_path / "p.png")
            assert str(error.value).startswith(f"{tmp_path / 'p.png'}: 4x9 pixels")
            assert "more than eight times" in str(error.value)

    def test_one_pixel_is_no_image(self, tmp_path):
        Image.new("RGB", (1, 1)).save(tmp_path / "p.png")
        with pytest.raises(InputError, match="each side needs 2 pixels"):
            read_for(preprocessing.unit((4, 4, 3)), tmp_path / "p.png")
