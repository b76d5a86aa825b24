"""Search: the next batch of points, chosen by Optuna's samplers from what the earlier ones came to.

Optuna chooses, and nothing else: it stores nothing, and no study of it outlives a call. `sweeps.choosing` is
a function of the `[search]` table and of the earlier batches. It tells a fresh study each earlier point,
batch by batch and in the order in which they were chosen, and asks a sampler whose seed is a hash of the
search's seed and the number of the batch. The earlier batches are files (`sweeps.search`). So a runner that
goes on after a kill, a second one, and one that was never stopped choose the same points from the same files.
(Another version of Optuna may choose others from then on; what was chosen stays.)

All seeds of a point are one value, the mean over those that are done and have learnt something. A point that
the constraints refuse is told as pruned, with its reason, and costs no training; one whose every trial failed
is told as failed. A point that is there already, from an earlier batch or from a `[[sweep]]`, is not trained
again, and told anew.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

from sqzx.data.info import dataset_info
from sqzx.errors import InputError
from sqzx.trial import TrialFolder
from sweeps.constraints import Refusal
from sweeps.identity import config_id
from sweeps.plan import Plan, PlannedTrial, judged, plan_study, trial_folder
from sweeps.search import Batch, Choice, Search, Told, read_batches, with_points, write_batch
from sweeps.study import Study

SETTLED = ("done", "failed", "timed_out", "removed")
"""A trial with one of these statuses has said what it will say: a failed one runs again only when asked."""


def choose(search: Search, history: Sequence[Batch]) -> list[Choice]:
    """Return the points of the batch after those of `history`; without Optuna it is an `InputError`."""
    try:
        from sweeps.choosing import choose as chosen
    except ImportError:
        raise InputError("[search] needs Optuna: pip install 'sqzx[search]'") from None
    return chosen(search, history)


def begun(study: Study, out: Path) -> Study:
    """Return a study with the points that its search has chosen in `out`, or else with its first."""
    if study.search is None:
        return study
    batches = read_batches(study, out)
    points = [choice for batch in batches for choice in batch.points]
    return with_points(study, points or choose(study.search, []))


def next_batch(study: Study, out: Path) -> Plan | None:
    """Choose as many batches as it takes until one has something to train, and return the plan with it.

    None where the last batch is not settled yet, and where the search has come to its end.
    """
    if study.search is None:
        return None
    while study.search.next_size(batches := read_batches(study, out)):
        told: Sequence[Told] | None = ()
        if batches:
            told = outcomes(plan_study(study, out), batches[-1].points, out)
            if told is None:
                return None
            batches[-1] = batches[-1]._replace(told=tuple(told))
        write_batch(study, out, len(batches) + 1, told, choose(study.search, batches))
        plan = plan_study(study, out)
        if plan.waiting() or any(trial.status.status == "running" for trial in plan.trials):
            return plan
    return None


def outcomes(plan: Plan, points: Sequence[Choice], out: Path) -> list[Told] | None:
    """Return what chosen points came to in the folder `out`, or None while one of their trials may go on."""
    info_of = functools.cache(dataset_info)
    trials: dict[str, list[PlannedTrial]] = {}
    for trial in plan.trials:
        trials.setdefault(trial.config_id, []).append(trial)
    found = []
    for choice in points:
        point = judged({**plan.study.config, **choice.settings}, plan.study, info_of)
        if isinstance(point, Refusal):
            found.append(Told("refused", reason=point.reason))
            continue
        own = trials.get(config_id(point[0]), [])
        if not own:
            found.append(Told("refused", reason="constraints.est_seconds: is expected to take too long"))
        elif any(trial.status.status not in SETTLED for trial in own):
            return None
        else:
            found.append(_told(plan.study, own, out))
    return found


def _told(study: Study, trials: Sequence[PlannedTrial], out: Path) -> Told:
    assert study.search is not None
    done = [t for t in trials if t.status.status == "done"]
    values = [v for t in done if (v := _value(trial_folder(out, t.id))) is not None]
    if not values:
        reason = next((t.status.reason for t in trials if t not in done), "no seed has learnt anything")
        return Told("failed", reason=reason)
    size = getattr(trials[0].sizes, study.search.size)
    return Told("scored", val_top1=math.fsum(values) / len(values), size=size)


def _value(folder: TrialFolder) -> float | None:
    """Return a finished trial's validation top-1; None where it has learnt nothing or its file is damaged."""
    try:
        result = folder.read_result() or {}
    except InputError:
        return None
    value = result.get("val_top1")
    return float(value) if result.get("learned") and isinstance(value, int | float) else None
