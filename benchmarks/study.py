"""A whole study against what people would pick instead: `sqzx sweep run`, and Optuna with PyTorch.

    python -m benchmarks.study [--data fashion_mnist] [--seeds 3] [--rounds 3] [--tuned] [--json]

The paper's two sweeps of `squeezenet_small`, 13 configurations of some seeds each, on two cores, from an
empty folder to the last test accuracy: starting, compiling, training, validating each epoch and testing all
count. `benchmarks/optuna_torch.py` trains the same networks on the same images by the same recipe, with the
allocator settings that `sqzx` gives its workers. It writes accuracies alone, where `sqzx` also keeps each
step's loss, checkpoints, predictions and the trained networks. Ours runs with `--stack auto`; theirs is a
straightforward script, or with `--tuned` one that knows what is fast.

The two take turns, `--rounds` times, and figures are medians (accuracies: means) of the rounds; what each
imports is read from the disk once before. On a busy machine the seconds on cores, told for each round, are
steadier than wall time. Both start from seed 0 but draw other numbers from it, so that single configurations
differ by chance: the standard error of the mean difference is told. PyTorch and Optuna come with
`pip install -e '.[bench]'`.
"""

import argparse
import importlib.util
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import sqzx
from sqzx.compilation import keep_memory
from sqzx.config import DataConfig
from sqzx.data.splits import load_splits_of
from sqzx.errors import SqzxError
from sqzx.provenance import available_cores, provenance
from sweeps.plan import plan_folder, trial_folder

CORES, GOAL = 2, 2.0
DATA = {
    "digits": "train.epochs = 40",
    "fashion_mnist": "train.epochs = 3\ndata.train_examples = 5000",
}
STUDY = """\
schema = 1
name = "The paper's sweeps, timed"
seeds = {seeds}

[config]
model.preset = "squeezenet_small"
data.name = "{name}"
{settings}

[[sweep]]
name = "squeeze ratio"
set.model.pct_3x3 = 0.5
grid.model.squeeze_ratio = [0.125, 0.25, 0.5, 0.75, 1.0]

[[sweep]]
name = "3x3 fraction"
set.model.squeeze_ratio = 0.5
grid.model.pct_3x3 = [0.0625, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.9375]
"""
IMPORTED = "import jax, flax.nnx, optax, orbax.checkpoint, torch, optuna"
PACKAGES = ("jax", "flax", "torch", "optuna")
GRACE_SECONDS = 15.0
"""How long a contestant that was asked to end may take; `sqzx` lets its workers save."""


class Run(NamedTuple):
    """A study from start to end: wall time, its processes' time on cores, test top-1 by configuration."""

    seconds: float
    core_seconds: float
    test_top1: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description="A whole study: sqzx against Optuna with PyTorch.")
    parser.add_argument("--data", choices=DATA, default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tuned", action="store_true", help="Race the faster PyTorch script.")
    parser.add_argument("--json", action="store_true", help="Print JSON alone.")
    arguments = parser.parse_args()
    for name in ("seeds", "rounds"):
        if (given := getattr(arguments, name)) < 1:
            parser.error(f"--{name} {given}: needs at least 1")
    if missing := [name for name in ("torch", "optuna") if importlib.util.find_spec(name) is None]:
        parser.error(f"needs {' and '.join(missing)}: pip install -e '.[bench]'")
    try:
        load_splits_of(DataConfig(name=arguments.data))
    except SqzxError as error:
        parser.error(str(error))
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that contestants are ended, too
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, available_cores()[:CORES])  # which contestants inherit
    subprocess.run([sys.executable, "-c", IMPORTED], check=True)

    def say(text: str) -> None:
        if not arguments.json:
            print(text, flush=True)

    say(machine())
    ours, theirs = [], []
    for number in range(1, arguments.rounds + 1):
        ours.append(measured(run_sqzx, arguments))
        theirs.append(measured(run_optuna_torch, arguments))
        (a, cores_a, _), (b, cores_b, _) = ours[-1], theirs[-1]
        say(f"round {number}: {a:.1f} s and {b:.1f} s; on cores {cores_a:.1f} s and {cores_b:.1f} s")
    row = compared(arguments, ours, theirs)
    if arguments.json:
        print(json.dumps(row, indent=2))
        return
    say(
        f"{row['case']}: sqzx {row['seconds_sqzx']} s, Optuna and PyTorch {row['seconds_optuna_torch']} s: "
        f"{row['ratio']} times faster" + ("" if arguments.tuned else f" (goal: {GOAL:g})")
    )
    say(accuracies(ours, theirs))


def measured(contestant: Callable[[Path, Path, bool], dict[str, float]], asked: argparse.Namespace) -> Run:
    """Run a contestant in an empty folder, which is removed."""
    with tempfile.TemporaryDirectory(prefix="sqzx-study-") as folder:
        study, out = Path(folder, "study.toml"), Path(folder, "out")
        study.write_text(STUDY.format(name=asked.data, settings=DATA[asked.data], seeds=asked.seeds))
        out.mkdir()
        begun, spent = time.perf_counter(), core_seconds()
        test_top1 = contestant(study, out, asked.tuned)
        return Run(time.perf_counter() - begun, core_seconds() - spent, test_top1)


def core_seconds() -> float:
    """Return the time that ended processes of this one, and theirs, have had on a core."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_sqzx(study: Path, out: Path, tuned: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "sqzx", "sweep", "run", str(study), "--out", str(out)]
    finish([*command, "--stack", "auto"], study.parent)
    results = [(trial.name, trial_folder(out, trial.id).read_result()) for trial in plan_folder(out).trials]
    return means((name, result["test_top1"]) for name, result in results if result)


def run_optuna_torch(study: Path, out: Path, tuned: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.optuna_torch", str(study), str(out)]
    finish([*command, "--workers", str(CORES), *(["--tuned"] if tuned else [])], study.parent)
    results = json.loads((out / "results.json").read_text())
    return means((trial["name"], trial["test_top1"]) for trial in results)


def means(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the mean by name: that of a configuration's seeds."""
    by_name: dict[str, list[float]] = {}
    for name, value in values:
        by_name.setdefault(name, []).append(value)
    return {name: statistics.fmean(own) for name, own in by_name.items()}


def finish(command: list[str], folder: Path) -> None:
    """Run a command to its end in a process group of its own, of which nothing is left behind."""
    environment = dict(os.environ)
    keep_memory(environment)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            code = process.wait()
        finally:
            end(process)
    if code:
        raise SystemExit(f"{' '.join(command)} failed ({code}):\n{log.read_text(errors='replace')[-2000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask what is left of a process group to end, and then make it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def compared(asked: argparse.Namespace, ours: list[Run], theirs: list[Run]) -> dict[str, str | float]:
    """Return the row: medians of seconds and of the rounds' ratios, means of accuracies."""
    first, second = mean_top1(ours), mean_top1(theirs)
    if first.keys() != second.keys():
        raise SystemExit(f"not the same configurations: {sorted(first.keys() ^ second.keys())}")
    ratios = [their.seconds / our.seconds for our, their in zip(ours, theirs, strict=True)]
    return {
        "case": f"{asked.data}, {len(first)} configurations of {asked.seeds} seeds, "
        f"{len(available_cores())} cores" + (", tuned PyTorch" if asked.tuned else ""),
        "seconds_sqzx": round(statistics.median(run.seconds for run in ours), 1),
        "seconds_optuna_torch": round(statistics.median(run.seconds for run in theirs), 1),
        "ratio": round(statistics.median(ratios), 2),
        "goal": GOAL,
        "mean_test_top1_sqzx": round(statistics.fmean(first.values()), 4),
        "mean_test_top1_optuna_torch": round(statistics.fmean(second.values()), 4),
    }


def accuracies(ours: list[Run], theirs: list[Run]) -> str:
    """Return how the accuracies compare: the means, their difference with its error, the largest one."""
    first, second = mean_top1(ours), mean_top1(theirs)
    differences = {name: first[name] - second[name] for name in first}
    error = statistics.stdev(differences.values()) / len(differences) ** 0.5
    most = max(differences, key=lambda name: abs(differences[name]))
    return (
        f"mean test top-1: sqzx {statistics.fmean(first.values()):.4f}, Optuna and PyTorch "
        f"{statistics.fmean(second.values()):.4f}; difference {statistics.fmean(differences.values()):+.4f} "
        f"(standard error {error:.4f})\n"
        f"largest difference: {differences[most]:+.4f} at {most} "
        f"({first[most]:.4f} and {second[most]:.4f})"
    )


def mean_top1(runs: list[Run]) -> dict[str, float]:
    """Return the mean test top-1 of each configuration over the rounds."""
    return means(pair for run in runs for pair in run.test_top1.items())


def machine() -> str:
    about = provenance()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        f"{about['processor']}, {len(about['cores'])} cores; Python {about['versions']['python']}, "
        f"sqzx {sqzx.__version__}, {versions}; load average {os.getloadavg()[0]:.1f} at the start"
    )


if __name__ == "__main__":
    main()
