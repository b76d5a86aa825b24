"""Trials that train together in one process: which may, how many should, and in which of two ways.

Replicates of one configuration, and configurations that differ in the optimiser's numbers alone, run the same
program on different numbers, so that one process starts and compiles for all. Side by side each array gets a
leading axis with an entry for each trial: an accelerator that a small network leaves idle is filled, and on a
CPU tiny networks are up to 1.4 times as fast. For larger ones a core of a CPU is slower at the batched
products than at the plain ones (by up to a quarter at squeeze ratio 1.0 on 8x8 images, in the validation by a
third), so there the program of one trial is called for each in turn, to the bits that it would reach alone.
"""

import dataclasses

from sqzx.config import HYPERPARAMETERS, TrialConfig
from sqzx.counting import Network
from sqzx.duration import training_seconds

MOST = 8
"""Trials that "auto" puts together at most; on an accelerator always."""

TOGETHER_SECONDS = 30.0
"""Training that "auto" gives one process of a CPU. Each trial that joins another spares a start and a
compilation, about 3 s; but what one process does, others can't do beside it."""

SIDE_BY_SIDE_FLOPS = 24e6
"""Floating-point operations of a batch's forward pass up to which trials are faster side by side on a CPU."""


def program_key(config: TrialConfig) -> TrialConfig:
    """Return what trials must have in common to be one program: a configuration without what may differ."""
    settings = {name: getattr(config.train, name) for name in HYPERPARAMETERS}
    same = {name: None if value is None else 1.0 for name, value in settings.items()}
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **same), seed=0)


def automatic_stack(network: Network, images: int, *, on_accelerator: bool) -> int:
    """Return how many such trials, of so many training images each, should share a process.

    On a CPU as many as train for `TOGETHER_SECONDS` in all, by a guess without measuring.
    """
    if on_accelerator:
        return MOST
    return max(1, min(MOST, int(TOGETHER_SECONDS / training_seconds(network.flops, images))))


def side_by_side(flops: int, *, on_cpu: bool) -> bool:
    """Return whether trials of so many `flops` a batch (forward) are one program, rather than take turns."""
    return not on_cpu or flops <= SIDE_BY_SIDE_FLOPS
