"""Compressed trials and the dense ones that they start from: which are added, and which have to wait."""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sqzx.trial import Status
from sweeps.identity import config_id

if TYPE_CHECKING:
    from sweeps.plan import PlannedTrial
    from sweeps.stacks import Stack

MAY_BE_DONE = ("pending", "running", "interrupted", "done")


def with_dense(
    trials: Mapping[str, "PlannedTrial"], name_of: Callable[[Mapping[str, Any]], str]
) -> list["PlannedTrial"]:
    """Return trials by id with the dense one of each compressed trial before it, added where it isn't there.

    One that is added is a member of the blocks of the first that needs it, and says in its name that it is
    dense.
    """
    found: dict[str, PlannedTrial] = {}
    for trial in trials.values():
        if trial.after is not None and trial.after not in found:
            found[trial.after] = trials.get(trial.after) or _dense_of(trial, trial.after, name_of)
        found.setdefault(trial.id, trial)
    return list(found.values())


def _dense_of(trial: "PlannedTrial", key: str, name_of: Callable[[Mapping[str, Any]], str]) -> "PlannedTrial":
    settings = {k: value for k, value in trial.settings.items() if not k.startswith("compress.")}
    config = trial.config.dense()
    return dataclasses.replace(
        trial,
        id=key,
        config_id=config_id(config),
        name=", ".join(filter(None, [name_of(settings), "dense"])),
        settings=settings,
        config=config,
        after=None,
    )


def is_ready(stack: "Stack", statuses: Mapping[str, Status]) -> bool:
    """Whether no trial of a stack waits for a dense one."""
    return all(trial.after is None or statuses[trial.after].status == "done" for trial in stack)


def origins(trials: Iterable["PlannedTrial"]) -> set[str | None]:
    """Return the ids of the dense trials whose networks are needed: compressed ones that wait start there."""
    return {trial.after for trial in trials if trial.after is not None and trial.status.status != "done"}


def take_ready(queue: deque["Stack"], statuses: Mapping[str, Status]) -> "Stack | None":
    """Take the first stack out of a queue that waits for no other trial; None where all do."""
    for stack in queue:
        if is_ready(stack, statuses):
            queue.remove(stack)
            return stack
    return None


def take_lost(queue: deque["Stack"], statuses: Mapping[str, Status]) -> list[tuple["PlannedTrial", str]]:
    """Take the trials out of a queue whose dense one will not be done, each with the reason."""
    lost = []
    for stack in list(queue):
        for trial in stack:
            if trial.after is None or (dense := statuses[trial.after]).status in MAY_BE_DONE:
                continue
            queue.remove(stack)  # such a trial is alone
            state = dense.status.replace("_", " ")
            lost.append((trial, f"its dense trial {trial.after} {state}: {dense.reason}"))
    return lost
