import numpy as np
import pytest

from sqzx.data.examples import Examples
from sqzx.data.info import DatasetInfo
from sqzx.data.store import write_set


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A data root of the test's own: no test reads or fills the user's."""
    folder = tmp_path / "data"
    monkeypatch.setenv("SQZX_DATA", str(folder))
    return folder


@pytest.fixture
def store_set(root):
    """Store a set made of given arrays under a given name."""

    def store(train_images, train_labels, *, name="toy", num_classes=3) -> DatasetInfo:
        arrays = Examples(train_images, train_labels, train_images[:2], train_labels[:2])
        info = DatasetInfo(
            name=name,
            image_shape=train_images.shape[1:],
            num_classes=num_classes,
            class_names=tuple("abcdefghij"[:num_classes]),
            train_examples=len(train_labels),
            test_examples=2,
            fingerprint=None,
            source="made by a test",
            rule=None,
        )
        return write_set(info, arrays)

    return store


@pytest.fixture
def toy(store_set):
    """A stored set of 30 training images in 3 classes."""
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 5, 2), dtype=np.uint8)
    return store_set(images, np.arange(30, dtype=np.int32) % 3)
