import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

from sqzx.data.info import KNOWN, prepared_sets
from sqzx.data.prepare import prepare
from sqzx.data.store import load_set
from sqzx.errors import InputError, SqzxError


def test_digits_are_written_once_and_then_returned(root):
    assert prepare("digits", source=None) == KNOWN["digits"]
    before = (root / "digits" / "train_images.npy").stat()
    assert prepare("digits", source=None) == KNOWN["digits"]
    after = (root / "digits" / "train_images.npy").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert prepared_sets() == [KNOWN["digits"]]


def test_a_set_can_be_prepared_under_another_root(tmp_path, root):
    prepare("digits", source=None, root=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "digits" / "info.json").is_file()
    assert not root.exists()


def test_a_damaged_set_is_not_taken_for_prepared(toy, root):
    np.save(root / "toy" / "train_labels.npy", np.zeros(30, np.int32))
    with pytest.raises(InputError, match="damaged"):
        prepare("toy", source=None)


def test_nor_is_one_with_a_damaged_record(root):
    prepare("digits", source=None, storage="records")
    file = root / "digits" / "train_images.array_record"
    content = bytearray(file.read_bytes())
    content[content.index(load_set("digits").examples.train_images[700:701].tobytes()) + 9] ^= 4
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged \(train_images.array_record can't be read"):
        prepare("digits", source=None)


def test_another_size_than_prepared_is_refused(toy, root):
    assert prepare("toy", source=None, image_size=(4, 5)) == toy
    with pytest.raises(InputError, match=f"{root / 'toy'}: prepared with images of 4x5; delete it"):
        prepare("toy", source=None, image_size=(5, 4))


@pytest.mark.parametrize("name", ["digits", "fashion_mnist"])
def test_sets_of_one_size_take_no_other(name):
    with pytest.raises(InputError, match=f"data set {name}: all its images have one size"):
        prepare(name, source=None, image_size=(16, 16))


def test_digits_come_from_no_folder(tmp_path):
    with pytest.raises(InputError, match="data set digits: it is part of sqzx"):
        prepare("digits", source=tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path / 'nowhere'}: no such folder"):
        prepare("fashion_mnist", source=tmp_path / "nowhere")


def test_imagenet_asks_for_its_files():
    with pytest.raises(InputError, match=r"imagenet2012: its files must be downloaded by hand.*--from DIR"):
        prepare("imagenet2012", source=None)


@pytest.mark.parametrize(("asked", "kept"), [(None, "arrays"), ("arrays", "arrays"), ("records", "records")])
def test_a_set_is_stored_as_asked(asked, kept, root):
    info = prepare("digits", source=None, storage=asked)
    assert info == replace(KNOWN["digits"], storage=kept)
    assert prepare("digits", source=None) == info
    suffix = {"arrays": "npy", "records": "array_record"}[kept]
    assert (root / "digits" / f"train_images.{suffix}").is_file()
    other = "records" if kept == "arrays" else "arrays"
    with pytest.raises(InputError, match=f"{root / 'digits'}: prepared as {kept}; delete it to change that"):
        prepare("digits", source=None, storage=other)


def test_an_unknown_set_gets_the_nearest_name():
    with pytest.raises(InputError, match="TensorFlow Datasets has no such set; did you mean 'cifar10'"):
        prepare("cifar1", source=None)


def test_without_tensorflow_the_line_says_how_to_install_it(monkeypatch, root):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "tensorflow" else find_spec(name, *rest),
    )
    with pytest.raises(InputError, match=r"cifar10: .*run pip install -e '\.\[prepare\]'"):
        prepare("cifar10", source=None)
    assert not root.exists()


def test_a_root_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: find_spec("json" if name == "tensorflow" else name, *rest),
    )
    for name in ("digits", "fashion_mnist", "cifar10"):
        with pytest.raises(SqzxError, match=r"file.*Not a directory"):
            prepare(name, source=None, root=tmp_path / "file" / "data")


def test_the_info_file_is_plain_json(root):
    prepare("digits", source=None)
    record = json.loads((root / "digits" / "info.json").read_text())
    assert record["image_shape"] == [8, 8, 1]
