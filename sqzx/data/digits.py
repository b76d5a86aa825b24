"""The embedded data set: scikit-learn's 1,797 handwritten digits of 8x8 pixels."""

import numpy as np

from sqzx.data.examples import Examples
from sqzx.data.info import KNOWN, DatasetInfo
from sqzx.data.selection import TEST_FRACTION, TEST_SALT, content_hashes, hashed_part


def digits() -> tuple[DatasetInfo, Examples]:
    """Make the set `digits`: 1,438 training and 359 test images, uint8 (n, 8, 8, 1).

    scikit-learn's grey levels 0 to 16 become 0 to 255. The set has one part, so a hash chooses the
    test images.
    """
    from sklearn.datasets import load_digits  # 1 s to import, and needed once a machine

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = bunch.target.astype(np.int32)
    test = hashed_part(content_hashes(images, labels, TEST_SALT), labels, fraction=TEST_FRACTION)
    return KNOWN["digits"], Examples(images[~test], labels[~test], images[test], labels[test])
