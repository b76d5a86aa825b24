"""Fashion-MNIST through TensorFlow Datasets' own builder, without TensorFlow.

The stock builder calls TensorFlow to unpack the gzip files, to open them and to encode PNGs. The one
here does those three with the standard library and Pillow; name, version, features, checksums and the
order of the records stay TFDS's.
"""

import gzip
import hashlib
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.image_classification import mnist

from sqzx.data.examples import Examples
from sqzx.data.info import FROM_DIR, KNOWN, DatasetInfo
from sqzx.data.network import answers
from sqzx.data.tfds_images import DecodedImages, decoded_labels, tfds_at_work
from sqzx.errors import InputError, MissingDataError

_IDX = {"train": "train", "test": "t10k"}

with tfds.core.registered.skip_registration():  # the name is taken, by the builder that this one is

    class FashionMNIST(mnist.FashionMNIST):
        """TFDS's `fashion_mnist`, reading its four files without TensorFlow."""

        name = "fashion_mnist"
        # TFDS looks for the checksums beside the code of the class, where this one has none.
        url_infos = mnist.FashionMNIST.url_infos

        def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
            urls = {
                split: {
                    kind: f"{self.URL}{prefix}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")
                }
                for split, prefix in _IDX.items()
            }
            files: Any = dl_manager.download(urls)  # the same tree, with local paths
            return {split: self._read(files[split]) for split in _IDX}

        def _read(self, files: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
            # The idx headers are 16 and 8 bytes; the checksums have vouched for what they say.
            images = np.frombuffer(gzip.decompress(files["images-idx3"].read_bytes()), np.uint8, offset=16)
            labels = np.frombuffer(gzip.decompress(files["labels-idx1"].read_bytes()), np.uint8, offset=8)
            for index, image in enumerate(images.reshape(-1, *self.info.features["image"].shape[:2])):
                yield index, {"image": Image.fromarray(image), "label": int(labels[index])}


def fashion_mnist(source: Path | None, scratch: Path) -> tuple[DatasetInfo, Examples]:
    """Prepare Fashion-MNIST in the folder `scratch` and decode it, in the order of TFDS's records.

    `source` is a folder with the four published files, or with the same four as Debian's package
    `dataset-fashion-mnist` ships them; None downloads them. Missing or wrong files are one
    `InputError`, no network is one `MissingDataError`, both before TFDS starts.
    """
    if source is not None:
        restored = Path(tempfile.mkdtemp(dir=scratch))
        for name, content in published_files(source).items():
            (restored / name).write_bytes(content)
        source = restored
    elif not answers(FashionMNIST.URL):
        raise MissingDataError(
            "data set fashion_mnist: its host doesn't answer; without a network run"
            f" sqzx data prepare fashion_mnist {FROM_DIR}"
        )
    with tfds_at_work("fashion_mnist"):
        builder = FashionMNIST(data_dir=scratch, file_format="array_record")
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=source, force_checksums_validation=True)
        )
        images = [DecodedImages(builder.as_data_source(split=split), channels=1)[:] for split in _IDX]
        labels = [decoded_labels(builder, split) for split in _IDX]
    return KNOWN["fashion_mnist"], Examples(images[0], labels[0], images[1], labels[1])


def published_files(folder: Path) -> dict[str, bytes]:
    """Read the four files from `folder` as they were published, checked against TFDS's SHA-256.

    Debian's package holds the same compressed data behind another gzip header, which is put back.
    """
    published = {info.filename: info.checksum for info in FashionMNIST.url_infos.values()}
    absent = [name for name in sorted(published) if not (folder / name).is_file()]
    if absent:
        raise InputError(f"{folder}: not all of Fashion-MNIST's four files are there: no {', '.join(absent)}")
    contents = {}
    for name, expected in published.items():
        found = (folder / name).read_bytes()
        candidates = (found, _with_published_header(found, name))
        match = [content for content in candidates if hashlib.sha256(content).hexdigest() == expected]
        if not match:
            raise InputError(
                f"{folder / name}: not the published file: SHA-256 {hashlib.sha256(found).hexdigest()},"
                f" expected {expected}"
            )
        contents[name] = match[0]
    return contents


def _with_published_header(content: bytes, name: str) -> bytes:
    """Replace a bare 10-byte gzip header by one with the name and the time of the published file."""
    time = 1504176606 if name.startswith("train") else 1504176627  # 2017-08-31, as published
    magic_deflate_fname, no_extra_flags_unix = b"\x1f\x8b\x08\x08", b"\x00\x03"
    header = magic_deflate_fname + struct.pack("<I", time) + no_extra_flags_unix
    return header + name.removesuffix(".gz").encode() + b"\x00" + content[10:]
