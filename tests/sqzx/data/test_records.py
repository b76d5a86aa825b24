import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.data import records
from sqzx.data.examples import Subset
from sqzx.data.info import read_info, write_info
from sqzx.data.splits import load_splits
from sqzx.data.store import fingerprint, load_set, write_set
from sqzx.data.tfds_images import DecodedImages
from sqzx.errors import InputError, SqzxError

FILES = ("train_images.array_record", "test_images.array_record", "index.npz")


@pytest.fixture
def both(toy):
    """The same set twice: as arrays `toy`, and as records `big`."""
    write_set(replace(toy, name="big", storage="records"), load_set("toy").examples)
    return load_set("toy"), load_set("big")


def test_records_hold_the_same_examples_as_arrays(both):
    arrays, found = both
    assert found.info == replace(arrays.info, name="big", storage="records")
    assert fingerprint(found.examples) == fingerprint(arrays.examples)
    for one, other in zip(found.examples, arrays.examples, strict=True):
        assert (one.dtype, one.shape, len(one)) == (other.dtype, other.shape, len(other))
        for chosen in (slice(None), slice(3, 1), slice(-2, None), slice(0, 30, 7), np.array([1, 0, 1])):
            assert np.array_equal(one[chosen], other[chosen])
    assert found.examples.train_images[np.array([], int)].shape == (0, 4, 5, 2)


def test_of_records_nothing_is_read_before_it_is_asked_for(both, root):
    splits = load_splits("big", validation_fraction=0.2, train_examples=None)
    file = root / "big" / FILES[0]
    damage(file, file.read_bytes().index(splits.train.images[np.array([5])].tobytes()))
    assert splits.train.images.shape == (24, 4, 5, 2)
    load_splits("big", validation_fraction=0.2, train_examples=9)
    with pytest.raises(InputError, match=r"damaged \(train_images.array_record can't be read: "):
        splits.train.images[:]


@pytest.mark.parametrize("train_examples", [None, 9])
def test_their_splits_are_those_of_arrays(both, train_examples):
    one, other = (
        load_splits(name, validation_fraction=0.2, train_examples=train_examples) for name in ("toy", "big")
    )
    assert np.array_equal(one.mean, other.mean)
    assert np.array_equal(one.std, other.std)
    for part in ("train", "validation", "test"):
        there, here = getattr(one, part), getattr(other, part)
        assert np.array_equal(there.labels, here.labels)
        assert np.array_equal(there.images, here.images[:])
        assert not isinstance(here.images, np.ndarray)


@given(st.lists(st.integers(0, 29)), st.data())
@settings(max_examples=30)
def test_a_part_of_a_part_is_that_of_the_whole(numbers, draw):
    images = np.arange(60, dtype=np.uint8).reshape(30, 1, 2, 1)
    part = Subset(images, np.array(numbers, int))
    chosen = draw.draw(st.lists(st.integers(0, len(numbers) - 1))) if numbers else []
    assert np.array_equal(part[np.array(chosen, int)], images[numbers][chosen])
    assert (part.shape, part.dtype, len(part)) == ((len(numbers), 1, 2, 1), np.uint8, len(numbers))
    assert np.array_equal(part[1:3], images[numbers][1:3])


def damage(file, at):
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "another"])
def test_a_damaged_file_says_what_to_delete(both, root, name, how):
    file = root / "big" / name
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        changed = {"empty": b"", "cut": content[: len(content) // 2], "another": b"x" * len(content)}
        file.write_bytes(changed[how])
    with pytest.raises(InputError) as error:
        load_set("big")
    assert str(error.value).startswith(f"{root / 'big'}: this data set is damaged ({name} ")
    assert str(error.value).endswith("delete the folder and run sqzx data prepare big")


def test_whatever_bit_flips_no_other_image_and_no_other_label_comes_back(both, root):
    """Each reading is compared with checksums; what has none, such as padding of zeros, holds nothing."""
    expected, noticed = fingerprint(both[0].examples), set()
    random = np.random.default_rng(0)
    for name in FILES:
        content = (root / "big" / name).read_bytes()
        for at in random.choice(np.flatnonzero(np.frombuffer(content, np.uint8)), 100):
            damage(root / "big" / name, at)
            try:
                splits = load_splits("big", validation_fraction=0.2, train_examples=9)
                assert fingerprint(load_set("big").examples) == expected
                assert np.array_equal(splits.train.images[:], splits.train.images[:])
            except InputError:
                noticed.add(name)
            (root / "big" / name).write_bytes(content)
    assert noticed == set(FILES)


@pytest.mark.parametrize(
    ("key", "array"),
    [
        ("train_labels", np.zeros(29, np.int32)),
        ("test_labels", np.zeros(2, np.int64)),
        ("sums", np.zeros((30, 1), np.uint64)),
        ("validation_hashes", np.zeros(30, np.float64)),
        ("subset_hashes", None),
    ],
)
def test_an_index_that_contradicts_the_info_is_damage(both, root, key, array):
    file = root / "big" / "index.npz"
    with np.load(file) as index:
        changed = {name: index[name] for name in index.files}
    changed.pop(key) if array is None else changed.update({key: array})
    written = io.BytesIO()
    np.savez(written, **changed)
    file.write_bytes(written.getvalue())
    with pytest.raises(InputError, match=rf"damaged \(index.npz.*{key}"):
        load_set("big")


def test_labels_of_no_class_are_damage(toy, root):
    write_set(replace(toy, name="big", storage="records"), load_set("toy").examples)
    write_info(root / "big", replace(read_info(root / "big"), num_classes=2, class_names=()))
    with pytest.raises(InputError, match=r"damaged \(train_labels: 10 labels, 2 the first"):
        load_set("big")


def test_images_of_another_size_than_the_info_says_are_damage(both, root):
    write_info(root / "big", replace(both[1].info, image_shape=(4, 4, 2)))
    with pytest.raises(InputError, match=r"damaged \(train_images.array_record can't be read"):
        load_set("big").examples.train_images[:3]


def test_a_full_disk_is_told_and_leaves_nothing(toy, root, monkeypatch):
    class Full:
        def __init__(self, *_): ...
        def write(self, _): ...
        def close(self):
            raise RuntimeError("write() failed: No space left on device; writing train_images; at byte 1")

    monkeypatch.setattr(records, "ArrayRecordWriter", Full)
    with pytest.raises(SqzxError, match=rf"{root / 'big'}: could not be written \(No space left on device\)"):
        write_set(replace(toy, name="big", storage="records"), load_set("toy").examples)
    assert [entry.name for entry in root.iterdir()] == ["toy"]


@pytest.mark.parametrize("storage", ["arrays", "records"])
def test_what_cannot_be_read_is_not_told_as_what_cannot_be_written(toy, root, storage):
    class Broken(list):
        def __getitems__(self, indices):
            if max(indices) > 3:
                raise RuntimeError("DATA_LOSS; at byte 3")
            return [self[index] for index in indices]

    examples = load_set("toy").examples
    source = Broken({"image": image} for image in examples.train_images)
    broken = examples._replace(train_images=DecodedImages(source, channels=2))
    with pytest.raises(InputError, match=r"of images 1 to 30 not all can be read: .*DATA_LOSS; at byte 3"):
        write_set(replace(toy, name="big", storage=storage), broken)
    assert [entry.name for entry in root.iterdir()] == ["toy"]


def test_a_set_from_before_there_were_records_is_arrays(toy, root):
    file = root / "toy" / "info.json"
    file.write_text(file.read_text().replace(',\n  "storage": "arrays"', ""))
    assert "storage" not in file.read_text()
    assert load_set("toy").info == toy
