"""The network that the paper's authors published, where it lies beside this checkout."""

from pathlib import Path

import numpy as np
import pytest

from sqzx.authors_file import decode

PUBLISHED = (
    Path(__file__).parents[3].parent
    / "shared"
    / "data"
    / "deep_compressed_squeezenet"
    / "compressed_SqueezeNet.net"
)


@pytest.fixture(scope="session")
def published_kernels() -> dict[str, np.ndarray]:
    """Return the 26 kernels of the published network by layer, (k, k, in, out)."""
    if not PUBLISHED.exists():
        pytest.skip("the published file is not in ../shared, beside this checkout")
    layers = decode(PUBLISHED.read_bytes(), str(PUBLISHED))
    return {name: layer.kernel.transpose(2, 3, 1, 0) for name, layer in layers.items()}
