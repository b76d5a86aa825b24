"""Time a few training steps of one configuration: `python -m sqzx.calibration CONFIG CORE`.

Run as a process of its own, which like a sweep's worker ties itself to one core before JAX starts. It
prints one line of JSON: `fixed_seconds` for start and compilation, `image_seconds` for training one image.
"""

import time

STARTED = time.monotonic()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from itertools import islice  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NamedTuple  # noqa: E402

from sqzx.config import TrialConfig, from_settings, read_settings  # noqa: E402
from sqzx.errors import SqzxError  # noqa: E402

SECONDS, MOST_STEPS = 2.0, 50
"""How long to time steps, after one that warms up."""


class Timing(NamedTuple):
    """Seconds of a training: before its first step, and for each image after that."""

    fixed_seconds: float
    image_seconds: float


def time_steps(config: TrialConfig, *, started: float) -> Timing:
    """Time a training of `config` in this process, which began at `started` (`time.monotonic()`).

    Nothing is written. Data that is not there is a `MissingDataError`.
    """
    import jax
    import numpy as np

    from sqzx.batches import epoch_batches, made_ahead
    from sqzx.task import fresh_state, task_of
    from sqzx.together import stack_of

    task = task_of(config)
    stack = stack_of(task, [config], [fresh_state(task, config)])
    fixed = time.monotonic() - started

    first, steps = 0.0, 0
    batches = (
        batch
        for epoch in range(1 + MOST_STEPS // task.per_epoch)
        for batch in epoch_batches(task.splits.train, config.data, task.size, seed=config.seed, epoch=epoch)
    )
    with made_ahead(islice(batches, MOST_STEPS + 1), task.splits.train.images) as found:
        for number, batch in enumerate(found):
            jax.block_until_ready(stack.step({0: batch}, np.int32(number)))
            if number == 0:  # the first fills caches and memory
                first = time.monotonic()
            steps = number
            if steps and time.monotonic() - first > SECONDS:
                break
    return Timing(fixed, (time.monotonic() - first) / (steps * task.size))


def main(arguments: list[str]) -> int:
    """Time the configuration of a file on a core, and print the timing."""
    path, core = arguments
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    try:
        timing = time_steps(from_settings(read_settings(Path(path))), started=STARTED)
    except SqzxError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(timing._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
