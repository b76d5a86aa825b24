import gzip
import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorflow_datasets.core.download.checksums import compute_url_info

from sqzx.data import fashion_mnist as room
from sqzx.data.info import KNOWN
from sqzx.data.prepare import prepare
from sqzx.data.splits import load_splits
from sqzx.data.store import load_set
from sqzx.errors import InputError, MissingDataError

SIZES = {"train": 30, "t10k": 12}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small stand-in for the four published files, whose checksums the builder is told to expect."""
    folder = tmp_path / "published"
    folder.mkdir()
    random = np.random.default_rng(0)
    for prefix, size in SIZES.items():
        time = 1504176606 if prefix == "train" else 1504176627
        images = random.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        labels = (np.arange(size) % 10).astype(np.uint8)
        for kind, header, array in (
            ("images-idx3", struct.pack(">4i", 2051, size, 28, 28), images),
            ("labels-idx1", struct.pack(">2i", 2049, size), labels),
        ):
            name = f"{prefix}-{kind}-ubyte"
            deflated = gzip.compress(header + array.tobytes(), mtime=0)[10:]
            gzip_header = b"\x1f\x8b\x08\x08" + struct.pack("<I", time) + b"\x00\x03"
            (folder / f"{name}.gz").write_bytes(gzip_header + name.encode() + b"\x00" + deflated)
    infos = {room.FashionMNIST.URL + file.name: compute_url_info(file) for file in folder.iterdir()}
    monkeypatch.setattr(room.FashionMNIST, "url_infos", infos)
    return folder


@pytest.fixture
def repackaged(published, tmp_path):
    """The same files as Debian ships them: no name in the gzip header, another time."""
    folder = tmp_path / "repackaged"
    folder.mkdir()
    for file in published.iterdir():
        deflated = file.read_bytes().split(b"\x00\x03" + file.stem.encode() + b"\x00", 1)[1]
        (folder / file.name).write_bytes(b"\x1f\x8b\x08\x00\xed\x0a\xda\x5e\x00\x03" + deflated)
    return folder


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_repackaged_files_become_the_published_ones(published, repackaged):
    assert contents(repackaged) != contents(published)
    assert room.published_files(repackaged) == contents(published)


def test_published_files_are_taken_as_they_are(published):
    assert room.published_files(published) == contents(published)


def test_missing_files_are_listed_in_one_line(published):
    (published / "train-images-idx3-ubyte.gz").unlink()
    (published / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError) as error:
        room.published_files(published)
    assert str(error.value) == (
        f"{published}: not all of Fashion-MNIST's four files are there:"
        " no t10k-labels-idx1-ubyte.gz, train-images-idx3-ubyte.gz"
    )


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"not gzip"])
def test_wrong_bytes_name_the_file_and_both_checksums(published, content):
    file = published / "t10k-images-idx3-ubyte.gz"
    expected, found = (hashlib.sha256(data).hexdigest() for data in (file.read_bytes(), content))
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        room.published_files(published)
    assert str(error.value) == f"{file}: not the published file: SHA-256 {found}, expected {expected}"


def test_the_decoded_arrays_hold_the_images_of_the_files(repackaged, tmp_path, capfd):
    info, arrays = room.fashion_mnist(repackaged, tmp_path)
    assert info == KNOWN["fashion_mnist"]
    for prefix, images, labels in (
        ("train", arrays.train_images, arrays.train_labels),
        ("t10k", arrays.test_images, arrays.test_labels),
    ):
        assert (images.dtype, images.shape) == (np.uint8, (SIZES[prefix], 28, 28, 1))
        assert labels.dtype == np.int32
        raw = gzip.decompress((repackaged / f"{prefix}-images-idx3-ubyte.gz").read_bytes())[16:]
        raw_images = np.frombuffer(raw, np.uint8).reshape(-1, 28 * 28)
        expected = {(image.tobytes(), index % 10) for index, image in enumerate(raw_images)}
        assert {(i.tobytes(), int(label)) for i, label in zip(images, labels, strict=True)} == expected
    assert capfd.readouterr() == ("", "")


def test_tfds_itself_enforces_the_checksums(published, tmp_path, monkeypatch):
    wrong = {name: content + b"x" for name, content in contents(published).items()}
    monkeypatch.setattr(room, "published_files", lambda _: wrong)
    with pytest.raises(InputError, match=r"NonMatchingChecksumError: .*Expected.*Got"):
        room.fashion_mnist(published, tmp_path)


def test_other_content_than_fashion_mnist_is_never_stored(published, root):
    with pytest.raises(InputError, match="data set fashion_mnist: the decoded arrays have fingerprint"):
        prepare("fashion_mnist", source=published)
    assert list(root.iterdir()) == []


def test_a_failed_preparation_leaves_nothing_behind(tmp_path, root):
    with pytest.raises(InputError, match="not all of Fashion-MNIST's four files"):
        prepare("fashion_mnist", source=tmp_path)
    assert list(root.iterdir()) == []


def test_without_a_network_the_line_says_where_the_files_can_come_from(monkeypatch, root):
    monkeypatch.setattr(room, "answers", lambda _: False)
    with pytest.raises(MissingDataError, match=r"run sqzx data prepare fashion_mnist --from DIR .*Debian"):
        prepare("fashion_mnist", source=None)
    assert list(root.iterdir()) == []


REAL = os.environ.get("SQZX_TEST_FASHION_MNIST")


@pytest.mark.skipif(not REAL, reason="SQZX_TEST_FASHION_MNIST names no folder with the four real files")
def test_the_real_files_give_the_known_set_without_tensorflow(root):
    code = (
        "import sys; from pathlib import Path; from sqzx.data.prepare import prepare;"
        "prepare('fashion_mnist', source=Path(sys.argv[1]));"
        "sys.exit('tensorflow was imported' if 'tensorflow' in sys.modules else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(REAL)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [entry.name for entry in root.iterdir()] == ["fashion_mnist"]
    info, arrays, _ = load_set("fashion_mnist")
    assert info == KNOWN["fashion_mnist"]
    # The images and labels that TFDS's stock builder gives, in its order; measured with TensorFlow.
    digest = hashlib.sha256(arrays.train_images.tobytes() + arrays.train_labels.astype(np.uint8).tobytes())
    assert digest.hexdigest() == "19faa12a185eeb69361fc4732f39bdd2d8d82f5047bca6722e85a0108c4a440f"
    splits = load_splits("fashion_mnist", validation_fraction=1 / 12, train_examples=20_000)
    assert np.bincount(splits.validation.labels).tolist() == [500] * 10
    assert np.bincount(splits.train.labels).tolist() == [2000] * 10
    assert prepare("fashion_mnist", source=Path("nowhere")) == info  # it is there, nothing is read
