import threading
from dataclasses import replace

import numpy as np
import pytest

from sqzx.data import store
from sqzx.data.examples import Examples
from sqzx.data.info import KNOWN
from sqzx.data.store import check_labels, fingerprint, load_set, write_set
from sqzx.errors import InputError, MissingDataError, SqzxError


def test_arrays_come_back_as_written_and_memory_mapped(toy):
    info, arrays, _ = load_set("toy")
    assert info == toy
    assert isinstance(arrays.train_images, np.memmap)
    assert (arrays.train_images.dtype, arrays.train_images.shape) == (np.uint8, (30, 4, 5, 2))
    assert (arrays.train_labels.dtype, arrays.train_labels.tolist()) == (np.int32, [0, 1, 2] * 10)
    assert fingerprint(arrays) == info.fingerprint


def test_the_fingerprint_sees_values_order_shape_and_type():
    zeros = Examples(*(np.zeros(4, np.uint8) for _ in range(4)))
    others = [
        zeros._replace(test_labels=np.array([0, 0, 0, 1], np.uint8)),
        zeros._replace(test_labels=np.array([1, 0, 0, 0], np.uint8)),
        zeros._replace(train_images=np.array([1, 0, 0, 0], np.uint8)),
        zeros._replace(test_labels=np.zeros((2, 2), np.uint8)),
        zeros._replace(test_labels=np.zeros(1, np.int32)),
    ]
    assert len({fingerprint(arrays) for arrays in [zeros, *others]}) == 6


def test_the_fingerprint_does_not_depend_on_byte_or_memory_order():
    small = Examples(*(np.arange(6, dtype="<i4").reshape(2, 3) for _ in range(4)))
    big = Examples(*(np.asfortranarray(array.astype(">i4")) for array in small))
    assert fingerprint(small) == fingerprint(big)


def test_digits_are_made_on_first_use_and_need_no_network(root):
    info, arrays, _ = load_set("digits")
    assert info == KNOWN["digits"]
    assert len(arrays.train_labels) + len(arrays.test_labels) == 1797
    assert (arrays.train_images.min(), arrays.train_images.max()) == (0, 255)
    assert [entry.name for entry in root.iterdir()] == ["digits"]


def test_the_test_digits_are_a_fifth_of_each_class():
    _, arrays, _ = load_set("digits")
    test = np.bincount(arrays.test_labels)
    total = test + np.bincount(arrays.train_labels)
    assert np.all(np.abs(test - total / 5) <= 0.5)


def test_a_missing_set_fails_at_once_with_the_commands(root):
    with pytest.raises(MissingDataError) as error:
        load_set("fashion_mnist")
    assert f"is not prepared in {root}: run sqzx data prepare fashion_mnist;" in str(error.value)
    assert "sqzx data prepare fashion_mnist --from DIR" in str(error.value)
    with pytest.raises(MissingDataError, match=r"run sqzx data prepare imagenet2012 --from DIR"):
        load_set("imagenet2012")


@pytest.mark.parametrize("part", Examples._fields)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "pickled"])
def test_a_damaged_array_file_says_what_to_delete(toy, root, part, damage):
    file = root / "toy" / f"{part}.npy"
    content = file.read_bytes()
    match damage:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(content[:-1])
        case "flipped":
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "pickled":
            np.save(file, np.array([{}]), allow_pickle=True)
    with pytest.raises(InputError) as error:
        load_set("toy")
    assert str(error.value).startswith(f"{root / 'toy'}: this data set is damaged (")
    assert str(error.value).endswith("delete the folder and run sqzx data prepare toy")


@pytest.mark.parametrize(
    ("part", "array"),
    [
        ("train_images", np.zeros((29, 4, 5, 2), np.uint8)),
        ("train_images", np.zeros((30, 5, 4, 2), np.uint8)),
        ("train_images", np.zeros((30, 4, 5, 2), np.int8)),
        ("train_labels", np.zeros(30, np.int64)),
        ("train_labels", np.zeros(30, np.float32)),
        ("test_labels", np.full(2, 3, np.int32)),
    ],
    ids=["too-few", "sides-swapped", "signed", "wide-labels", "float-labels", "label-out-of-range"],
)
def test_an_array_that_contradicts_the_info_is_damage(toy, root, part, array):
    np.save(root / "toy" / f"{part}.npy", array)
    with pytest.raises(InputError, match=rf"damaged \({part}"):
        load_set("toy")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([True, False]), "labels are bool"),
        (np.array([0.0, 1.0]), "labels are float64"),
        (np.array([[0], [1]]), r"labels are int64 \(2, 1\)"),
        (np.array([0, 3]), "1 labels, 3 the first, are not in 0 to 2"),
        (np.array([-1, -1]), "2 labels, -1 the first, are not in 0 to 2"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        check_labels(labels, 3)


def test_bad_labels_are_not_stored(store_set, root):
    with pytest.raises(InputError, match="are not in 0 to 2"):
        store_set(np.zeros((2, 1, 1, 1), np.uint8), np.array([0, 3], np.int32))
    assert not root.exists()


def test_other_content_than_known_is_not_stored(toy, root):
    _, arrays, _ = load_set("toy")
    with pytest.raises(InputError, match=r"data set toy2: .* expects 0000"):
        write_set(replace(toy, name="toy2", fingerprint="0" * 64), arrays)
    assert [entry.name for entry in root.iterdir()] == ["toy"]


def test_the_slower_of_two_writers_drops_its_copy(toy, root):
    _, arrays, _ = load_set("toy")
    before = (root / "toy" / "info.json").stat()
    assert write_set(toy, arrays) == toy
    assert write_set(replace(toy, storage="records"), arrays) == toy
    assert (root / "toy" / "info.json").stat() == before
    assert [entry.name for entry in root.iterdir()] == ["toy"]


def test_many_first_users_of_digits_all_get_them(root):
    results = []
    threads = [threading.Thread(target=lambda: results.append(load_set("digits").info)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [KNOWN["digits"]] * 4
    assert [entry.name for entry in root.iterdir()] == ["digits"]


def test_a_write_that_fails_leaves_nothing_behind(toy, root, monkeypatch):
    _, arrays, _ = load_set("toy")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_info", full)
    with pytest.raises(SqzxError, match="toy2: could not be written \\(No space left on device\\)"):
        write_set(replace(toy, name="toy2"), arrays)
    assert [entry.name for entry in root.iterdir()] == ["toy"]
