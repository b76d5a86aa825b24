"""Layers of low rank in a network: two modules in the place of one (see `sqzx.compression.svd`)."""

from collections.abc import Mapping

from flax import nnx
from jax import Array


class Factored(nnx.Module):
    """A layer as two, of which the first has no bias; called as the one whose place it takes."""

    def __init__(self, first: nnx.Conv | nnx.Linear, second: nnx.Conv | nnx.Linear):
        self.first = first
        self.second = second

    def __call__(self, x: Array) -> Array:
        """Map what the layer maps, to what it maps it to."""
        return self.second(self.first(x))


def factor_layers(network: nnx.Module, ranks: Mapping[str, int], *, rngs: nnx.Rngs) -> None:
    """Put two layers in the place of each that has a rank, by its dotted path, with initial values afresh."""
    for name, rank in ranks.items():
        *path, last = name.split(".")
        inside = network
        for step in path:
            inside = getattr(inside, step)
        setattr(inside, last, _factored(getattr(inside, last), rank, rngs=rngs))


def _factored(layer: nnx.Conv | nnx.Linear, rank: int, *, rngs: nnx.Rngs) -> Factored:
    if isinstance(layer, nnx.Linear):
        first = nnx.Linear(layer.in_features, rank, use_bias=False, rngs=rngs)
        return Factored(first, nnx.Linear(rank, layer.out_features, rngs=rngs))
    # Size, stride and padding are the first's; each group of it leads to a group of the second.
    groups = layer.feature_group_count
    first = nnx.Conv(
        layer.in_features,
        groups * rank,
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        feature_group_count=groups,
        use_bias=False,
        conv_general_dilated=layer.conv_general_dilated,
        rngs=rngs,
    )
    second = nnx.Conv(
        groups * rank,
        layer.out_features,
        (1, 1),
        padding=0,
        feature_group_count=groups,
        conv_general_dilated=layer.conv_general_dilated,
        rngs=rngs,
    )
    return Factored(first, second)
