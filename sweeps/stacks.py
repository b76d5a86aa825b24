"""Which trials of a study train together in one process: the same ones in each run of it."""

from collections.abc import Collection, Iterable
from typing import Literal

from sqzx.config import TrialConfig
from sqzx.data.info import dataset_info
from sqzx.duration import training_images
from sqzx.stacking import automatic_stack, program_key
from sweeps.plan import PlannedTrial

Stack = tuple[PlannedTrial, ...]


def stacks(
    trials: Iterable[PlannedTrial],
    waiting: Collection[str],
    size: int | Literal["auto"],
    *,
    on_accelerator: bool = False,
) -> list[Stack]:
    """Return the trials whose ids wait, in stacks of at most `size`, in the order in which they should run.

    Stacks are cut from all `trials`, and what does not wait is left out afterwards: a run that goes on where
    another stopped trains the same trials together. All configurations come with their first seeds, then
    with the next: each compiles once, in one process, and an unfinished study has something to say about
    every point.
    """
    programs: dict[TrialConfig, list[PlannedTrial]] = {}
    ordered = sorted((t for t in trials if t.status.status != "removed"), key=lambda t: t.config.seed)
    for trial in ordered:
        programs.setdefault(program_key(trial.config), []).append(trial)
    found = []
    for members in programs.values():
        most = _most(members[0], size, on_accelerator)
        for start in range(0, len(members), most):
            stack = tuple(t for t in members[start : start + most] if t.id in waiting)
            if stack:
                found.append(stack)
    place = {trial.id: number for number, trial in enumerate(ordered)}
    return sorted(found, key=lambda stack: place[stack[0].id])


def _most(trial: PlannedTrial, size: int | Literal["auto"], on_accelerator: bool) -> int:
    """Return how many trials of one program share a process; a compressed one has its own."""
    if trial.config.compress is not None:
        return 1
    if size != "auto":
        return size
    images = training_images(trial.config, dataset_info)
    return automatic_stack(trial.network, images, on_accelerator=on_accelerator)
