"""Trials that train as one program: which may, and how many should.

Replicates of one configuration, and configurations that differ in the optimiser's numbers alone, run the same
program on different numbers. Stacked, each array gets a leading axis with an entry for each trial: one
process starts and compiles for all, and an accelerator that a small network leaves idle is filled. On a core
of a CPU the arithmetic of a stack takes longer than that of its trials one by one (a twentieth to a fifth for
three small networks on 8x8 images); what it saves is starting and compiling.
"""

import dataclasses

from sqzx.config import HYPERPARAMETERS, TrialConfig
from sqzx.counting import Network
from sqzx.duration import training_seconds
from sqzx.memory import NEAR_BYTES

ON_ACCELERATOR = 8
"""Trials that "auto" stacks on an accelerator."""

SHORT_SECONDS = 8.0
"""On a CPU a longer training loses more to a stack than the start and the compilation that it spares."""


def program_key(config: TrialConfig) -> TrialConfig:
    """Return what trials must have in common to be one program: a configuration without what may differ."""
    settings = {name: getattr(config.train, name) for name in HYPERPARAMETERS}
    same = {name: None if value is None else 1.0 for name, value in settings.items()}
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **same), seed=0)


def automatic_stack(config: TrialConfig, network: Network, images: int, *, on_accelerator: bool) -> int:
    """Return how many such trials, of so many training images each, should train as one program.

    On a CPU as many as keep the largest maps of their whole batches near the core, if they are short.
    """
    if on_accelerator:
        return ON_ACCELERATOR
    if training_seconds(network.flops, images) > SHORT_SECONDS:
        return 1
    return max(1, NEAR_BYTES // (4 * network.peak_activations * config.train.batch_size))
