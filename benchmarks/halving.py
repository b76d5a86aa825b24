"""What halving would have saved: curves that were really trained, stopped again by its rule.

    python -m benchmarks.halving [CURVES] [--min-epochs 4] [--reduction 2] [--bins 6] [--quantity params]
                                 [--workers 2] [--all] [--json]

CURVES is the folder of a study whose trials are all done, or the table of one (`--write FILE` makes it), by
default that of results/halving_digits. The replay starts trials in the order of a run, on so many workers,
which train an epoch in the same time, and decides by `sweeps.halving.decide` when one ends, as a run does.
It tells the epochs trained, and whether the Pareto front (size against mean validation top-1 of the networks
trained to their end) is that of the whole study: the same sizes with the same means. `--all` tells it for a
range of settings, one bin for all sizes among them.
"""

import argparse
import csv
import heapq
import json
import math
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.statistics import pareto_front
from sqzx.errors import InputError
from sweeps.constraints import SIZES
from sweeps.halving import Halving, decide, pause_of, standing
from sweeps.plan import plan_folder, trial_folder

TABLE = Path(__file__).parents[1] / "results" / "halving_digits" / "curves.csv"
GOAL = 0.5
COLUMNS = ("config_id", "name", "seed", *SIZES, "learned", "epoch", "val_top1")


class Trial(NamedTuple):
    """A finished trial: its validation top-1 after each epoch, and whether its logits were not all 0."""

    config_id: str
    name: str
    seed: int
    sizes: Mapping[str, int]
    learned: bool
    curve: tuple[float, ...]


class Replay(NamedTuple):
    """What halving leaves of a study: the epochs of its trials, and both fronts as (size, mean top-1)."""

    epochs: int
    epochs_whole: int
    finished: int
    configurations: int
    front: frozenset[tuple[int, float]]
    front_whole: frozenset[tuple[int, float]]

    @property
    def share(self) -> float:
        return self.epochs / self.epochs_whole


def main() -> None:
    parser = argparse.ArgumentParser(description="Replay halving on curves that were really trained.")
    parser.add_argument("curves", nargs="?", type=Path, default=TABLE)
    parser.add_argument("--min-epochs", type=int, default=4)
    parser.add_argument("--reduction", type=int, default=2)
    parser.add_argument("--bins", type=int, default=6)
    parser.add_argument("--quantity", choices=SIZES, default="params")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", type=Path, help="Only write the curves of a study's folder as a table.")
    parser.add_argument("--all", action="store_true", help="Replay a range of settings.")
    parser.add_argument("--json", action="store_true", help="Print JSON alone.")
    arguments = parser.parse_args()
    for name, least in (("min_epochs", 1), ("reduction", 2), ("bins", 1), ("workers", 1)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name.replace('_', '-')}: needs at least {least}")
    try:
        trials = read_folder(arguments.curves) if arguments.curves.is_dir() else read_table(arguments.curves)
    except (InputError, OSError, KeyError, ValueError) as error:
        parser.error(f"{arguments.curves}: {error}")
    if arguments.write:
        write_table(trials, arguments.write)
        return
    settings = [
        Halving(min_epochs=first, reduction=reduction, bins=bins, quantity=arguments.quantity)
        for first, reduction, bins in (
            [(f, r, b) for b in (1, 3, 6) for r in (2, 3, 4) for f in (2, 3, 4, 6, 9)]
            if arguments.all
            else [(arguments.min_epochs, arguments.reduction, arguments.bins)]
        )
    ]
    rows = [row_of(halving, replay(trials, halving, arguments.workers)) for halving in settings]
    if arguments.json:
        print(json.dumps(rows if arguments.all else rows[0], indent=2))
        return
    for row in rows:
        print(text_of(row))


def row_of(halving: Halving, found: Replay) -> dict[str, object]:
    return {
        "min_epochs": halving.min_epochs,
        "reduction": halving.reduction,
        "bins": halving.bins,
        "epochs": found.epochs,
        "epochs_whole": found.epochs_whole,
        "share": round(found.share, 4),
        "finished": found.finished,
        "configurations": found.configurations,
        "front": len(found.front),
        "front_whole": len(found.front_whole),
        "front_kept": len(found.front & found.front_whole),
        "same_front": found.front == found.front_whole,
    }


def text_of(row: Mapping[str, object]) -> str:
    front = "the same front" if row["same_front"] else "another front"
    return (
        f"min_epochs {row['min_epochs']}, reduction {row['reduction']}, bins {row['bins']}: "
        f"{row['epochs']} of {row['epochs_whole']} epochs ({row['share']:.0%}; goal: below {GOAL:.0%}), "
        f"{row['finished']} of {row['configurations']} configurations to their end, {front} "
        f"({row['front_kept']} of {row['front_whole']} points)"
    )


def replay(trials: Sequence[Trial], halving: Halving, workers: int) -> Replay:
    """Run finished trials once more, with their known curves, as a run with halving would."""
    members: dict[str, list[Trial]] = {}
    for trial in trials:
        members.setdefault(trial.config_id, []).append(trial)
    sizes = {name: own[0].sizes[halving.quantity] for name, own in members.items()}
    epochs = len(trials[0].curve)
    rungs, bins = halving.rungs(epochs), halving.bins_of(sizes)
    reached = dict.fromkeys(((trial.config_id, trial.seed) for trial in trials), 0)
    queue = deque(sorted(trials, key=lambda trial: trial.seed))
    running: list[tuple[int, int, Trial, int]] = []  # until when, a number that breaks ties, who, to where

    def pause(name: str) -> int:
        alike = [other for other in members if bins[other] == bins[name]]
        known = {
            other: standing(sizes[other], [t.curve[: reached[other, t.seed]] for t in members[other]], rungs)
            for other in alike
        }
        return pause_of(name, decide(known, rungs, halving.reduction)) or epochs

    now = number = 0
    while queue or running:
        while queue and len(running) < workers:
            trial, number = queue.popleft(), number + 1
            to = pause(trial.config_id)
            heapq.heappush(running, (now + to - reached[trial.config_id, trial.seed], number, trial, to))
        now, _, trial, to = heapq.heappop(running)
        reached[trial.config_id, trial.seed] = to
        busy = {(t.config_id, t.seed) for t in (*queue, *(other for _, _, other, _ in running))}
        pauses = {name: pause(name) for name in members if bins[name] == bins[trial.config_id]}
        queue.extendleft(
            t
            for t in reversed(trials)
            if (key := (t.config_id, t.seed)) not in busy and 0 < reached[key] < pauses.get(t.config_id, 0)
        )
    whole = {name: own for name, own in members.items() if all(reached[name, t.seed] == epochs for t in own)}
    return Replay(
        epochs=sum(reached.values()),
        epochs_whole=epochs * len(trials),
        finished=len(whole),
        configurations=len(members),
        front=front_of(whole, halving.quantity),
        front_whole=front_of(members, halving.quantity),
    )


def front_of(members: Mapping[str, Sequence[Trial]], quantity: str) -> frozenset[tuple[int, float]]:
    """Return the Pareto front of configurations trained to their end, of the seeds that have learnt."""
    points = [
        (own[0].sizes[quantity], math.fsum(t.curve[-1] for t in learnt) / len(learnt))
        for own in members.values()
        if (learnt := [t for t in own if t.learned])
    ]
    size, accuracy = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    return frozenset(point for point, kept in zip(points, pareto_front(size, accuracy), strict=True) if kept)


def read_folder(out: Path) -> list[Trial]:
    """Return the trials of a study's folder, all of which have to be done."""
    trials = []
    for planned in plan_folder(out).trials:
        folder = trial_folder(out, planned.id)
        result = folder.read_result()
        if planned.status.status != "done" or result is None:
            raise InputError(f"{planned.id} is {planned.status.status}; a replay needs whole curves of all")
        curve = [line["val_top1"] for line in folder.read_metrics() if line["kind"] == "validation"]
        sizes = {name: getattr(planned.sizes, name) for name in SIZES}
        trials.append(
            Trial(
                planned.config_id, planned.name, planned.config.seed, sizes, result["learned"], tuple(curve)
            )
        )
    return trials


def write_table(trials: Sequence[Trial], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for t in trials:
            for epoch, value in enumerate(t.curve, 1):
                rows.writerow((t.config_id, t.name, t.seed, *t.sizes.values(), int(t.learned), epoch, value))


def read_table(path: Path) -> list[Trial]:
    """Return the trials of a table that `write_table` wrote."""
    found: dict[tuple[str, int], Trial] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row["config_id"], int(row["seed"])
            sizes = {name: int(row[name]) for name in SIZES}
            trial = found.get(key, Trial(key[0], row["name"], key[1], sizes, row["learned"] == "1", ()))
            found[key] = trial._replace(curve=(*trial.curve, float(row["val_top1"])))
    if not found:
        raise InputError("has no trials")
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())
