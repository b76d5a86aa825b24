"""Small compressed networks that are the same everywhere: their weights are made by arithmetic alone.

    python -m tests.sqzx.compression.small_networks     # writes tests/sqzx/frozen/*.sqz

The frozen files are version 1 of the format for good: they are read by every later release, and written again
only when a kind of content is added that none of them has.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from sqzx import preprocessing
from sqzx.compression.compressed import Compressed, layer_shapes, tree_of
from sqzx.compression.sqz import encode
from sqzx.compression.weight_sharing import SharedWeights
from sqzx.config import resolve_model
from sqzx.model import Model

FROZEN = Path(__file__).parents[1] / "frozen"

SQUEEZENET = {
    "model.preset": "squeezenet_small",
    "model.base_e": 4,
    "model.incr_e": 4,
    "model.num_fires": 2,
    "model.stem_features": 4,
    "model.pool_after": (1,),
    "model.squeeze_ratio": 0.5,
    "model.num_classes": 3,
}
WIDER = SQUEEZENET | {"model.base_e": 16, "model.incr_e": 16}
ALEXNET = {
    "model.preset": "alexnet_small",
    "model.conv_features": (4, 6),
    "model.conv_kernels": (3, 3),
    "model.conv_paddings": (1, 1),
    "model.conv_groups": (1, 2),
    "model.lrn_after": (1,),
    "model.pool_after": (2,),
    "model.fc_features": (12,),
    "model.num_classes": 3,
}


def codes_of(shape, values, kept):
    """Codes 0 to `values`, of which one in `kept` is not 0; scattered, with runs."""
    numbers = np.arange(math.prod(shape), dtype=np.int64)
    mixed = (numbers * 2_654_435_761 + (numbers >> 3) * 40_503) % 2**32 >> 8
    codes = np.where(mixed % kept == 0, 1 + mixed // 64 % values, 0)
    return codes.astype(np.uint8).reshape(shape)


def network(settings, *, values=7, kept=3, plain=(), thirds=False):
    """A network whose layers share `values` values; those in `plain` don't. `thirds` need float32."""
    model = Model(
        config=resolve_model(settings, "test"),
        parameters={},
        preprocessing=preprocessing.unit((8, 8, 1)),
        class_names=("cat", "Löwe", "犬"),
        source="made by a test",
        data="digits",
    )
    layers, shared = {}, {}
    for name, (shape, _) in layer_shapes(model).items():
        codes = codes_of(shape, values, kept)
        codebook = (np.arange(values + 1) - (np.arange(values + 1) > values // 2) * (values + 1)) / 8
        codebook = (codebook / (3 if thirds else 1)).astype(np.float32)
        bias = (np.arange(shape[-1]) - 1).astype(np.float32) / 16
        layers[name] = {"kernel": codebook[codes], "bias": bias}
        if name not in plain:
            shared[name] = SharedWeights(codebook, codes)
    return Compressed(
        model=replace(model, parameters=tree_of(layers)),
        shared=shared,
        densities={list(layers)[-1]: 0.07},
        history=({"stage": "prune", "epochs": 3}, {"stage": "share", "bits": 3, "tables": "f16"}),
    )


def frozen_networks():
    """The frozen files by name: each mode, coder, type of table and family is in one of them."""
    return {
        "sqz_v1_huffman": (network(SQUEEZENET), "huffman"),
        "sqz_v1_range": (network(WIDER, kept=40, plain=("fire3.expand3x3",), thirds=True), "range"),
        "sqz_v1_plain": (network(WIDER, kept=25, plain=("conv1", "conv10", "fire3.expand3x3")), "huffman"),
        "sqz_v1_dense": (network(SQUEEZENET, kept=1, plain=("conv10",), thirds=True), "huffman"),
        "sqz_v1_alexnet": (network(ALEXNET, values=3, kept=12), "huffman"),
    }


def same(a, b):
    """Whether two compressed networks are equal, every value to the bit."""

    def arrays(compressed):
        found = {}
        for name, shape in layer_shapes(compressed.model).items():
            layer = compressed.model.parameters
            for step in name.split("."):
                layer = layer[step]
            found |= {f"{name}.{part}": layer[part] for part in ("kernel", "bias")[: 1 + shape.has_bias]}
        for name, shared in compressed.shared.items():
            found |= {f"{name}.codebook": shared.codebook, f"{name}.codes": shared.codes}
        return {key: (array.dtype, array.shape, array.tobytes()) for key, array in found.items()}

    def told(compressed):
        return (
            replace(compressed.model, parameters={}),
            dict(compressed.densities),
            [dict(stage) for stage in compressed.history],
        )

    return told(a) == told(b) and arrays(a) == arrays(b)


if __name__ == "__main__":
    for name, (compressed, coder) in frozen_networks().items():
        (FROZEN / f"{name}.sqz").write_bytes(encode(compressed, coder=coder))
