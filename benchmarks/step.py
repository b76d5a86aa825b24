"""One training step, side by side: this project, plain Flax, PyTorch eager and channels-last.

    python -m benchmarks.step [--json]      (make bench)

Each measurement is a process of its own, pinned to one core, all with the same allocator settings. The
contestants take turns, three rounds of them where there is a goal and else one, and each figure is the median
of its rounds. What is counted is the processor's time of the process, user and system, which a neighbour's
load does not prolong. PyTorch is left out where it is not installed (`pip install -e '.[bench]'`); what
torch.compile makes of it is told for the first case where there is a C++ compiler, which it needs.

`share_of_peak` is the step's arithmetic (three times that of the forward pass) at the speed that was
measured, against what the same core does in one large matrix product. `faults_a_step` counts pages that the
system had to hand out anew; `faults_a_plain_step` are those of the plain step with the allocator's own
settings.
"""

import argparse
import importlib.util
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROUNDS, WARM_UP, STEPS, BATCH = 3, 2, 7, 128


class Case(NamedTuple):
    """A network and its images, with the ratios that are the goal: how many times faster than whom."""

    settings: dict[str, Any]
    image_shape: tuple[int, int, int] = (28, 28, 1)
    goals: dict[str, float] = {}  # noqa: RUF012  (nothing writes into it)


CASES: dict[str, Case] = {
    "base 32": Case({}, goals={"flax": 3.0, "torch": 1.6, "torch_best": 1.15}),
    "base 32, squeeze ratio 1.0": Case({"model.squeeze_ratio": 1.0}),
    # Of base 64, since .99 of 32 filters would leave no 1x1.
    "base 64, 3x3 fraction .99": Case({"model.base_e": 64, "model.incr_e": 64, "model.pct_3x3": 0.99}),
    "base 32, 32x32x3": Case({}, (32, 32, 3)),
    "base 128": Case(
        {"model.base_e": 128, "model.incr_e": 128}, goals={"flax": 2.0, "torch": 1.1, "torch_best": 1.0}
    ),
}
CONTESTANTS = ("sqzx", "flax", "torch", "torch_best")
EXTRA = "torch_compiled"


class Measured(NamedTuple):
    """What a child process found: seconds of the processor and page faults, each of one step."""

    seconds: float
    faults: float


def main() -> None:
    parser = argparse.ArgumentParser(description="One training step, side by side.")
    parser.add_argument("--json", action="store_true", help="Print JSON alone, and write no file.")
    parser.add_argument("--child", nargs=2, metavar=("WHO", "CASE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        who, case = arguments.child
        print(json.dumps(peak() if who == "peak" else measure(who, case)))
        return
    quiet = arguments.json
    rows = []
    gflops = child("peak")
    for number, case in enumerate(CASES):
        rows.append(row := compared(case, gflops, compiled=number == 0))
        if not quiet:
            print(told(row), flush=True)
    if quiet:
        print(json.dumps(rows, indent=2))
    else:
        Path(__file__).with_name("latest.json").write_text(json.dumps(rows, indent=2) + "\n")


def compared(name: str, gflops: float, *, compiled: bool) -> dict[str, Any]:
    """Return one row: images a second of each contestant, and how many times faster this project is."""
    case = CASES[name]
    found = [c for c in CONTESTANTS if not c.startswith("torch") or importlib.util.find_spec("torch")]
    turns = range(ROUNDS if case.goals else 1)
    rounds = [{who: Measured(*child(who, name)) for who in found} for _ in turns]
    height, width, channels = case.image_shape
    row: dict[str, Any] = {"case": f"{name}, batch {BATCH}, {height}x{width}x{channels}"}
    for who in CONTESTANTS[1:]:
        ratios = [r[who].seconds / r["sqzx"].seconds for r in rounds if who in r]
        row[f"ratio_vs_{who}"] = round(statistics.median(ratios), 2) if ratios else None
        row[f"goal_vs_{who}"] = case.goals.get(who)
    for who in found:
        speeds = [BATCH / r[who].seconds for r in rounds]
        row[f"{who}_images_per_second"] = round(statistics.median(speeds), 1)
        row[f"{who}_spread"] = round((max(speeds) - min(speeds)) / statistics.median(speeds), 3)
    row["share_of_peak"] = round(row["sqzx_images_per_second"] * training_flops(name) / (gflops * 1e9), 3)
    row["peak_gflops"] = round(gflops, 1)
    row["faults_a_step"] = statistics.median(r["sqzx"].faults for r in rounds)
    row["faults_a_plain_step"] = Measured(*child("flax", name, keep=False)).faults
    if compiled and "torch" in found and shutil.which("g++"):
        seconds = Measured(*child(EXTRA, name)).seconds
        row[f"ratio_vs_{EXTRA}"] = round(seconds / rounds[-1]["sqzx"].seconds, 2)
    return row


def told(row: dict[str, Any]) -> str:
    """Return a row as text, with its goals."""
    ratios = [
        f"{row[f'ratio_vs_{who}']}x {who}"
        + (f" (goal {goal})" if (goal := row.get(f"goal_vs_{who}")) else "")
        for who in (*CONTESTANTS[1:], EXTRA)
        if row.get(f"ratio_vs_{who}")
    ]
    speeds = [
        f"{who} {row[f'{who}_images_per_second']:.0f} (spread {100 * row[f'{who}_spread']:.0f} %)"
        for who in CONTESTANTS
        if f"{who}_spread" in row
    ]
    return (
        f"{row['case']}: sqzx is {', '.join(ratios)}\n"
        f"    images a second: {', '.join(speeds)}\n"
        f"    {100 * row['share_of_peak']:.0f} % of the core's {row['peak_gflops']:.0f} GFLOP/s; "
        f"page faults a step {row['faults_a_step']:.0f}, plain {row['faults_a_plain_step']:.0f}"
    )


def child(name: str, case: str = "", *, keep: bool = True) -> Any:
    """Measure one contestant in a fresh process; without `keep` under the allocator's own settings."""
    from sqzx.compilation import keep_memory

    environment = dict(os.environ)
    if keep:
        keep_memory(environment)
    command = [sys.executable, "-m", "benchmarks.step", "--child", name, case]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, case: str) -> Measured:
    """Return the median cost of a training step, in this process, on one core."""
    pin()
    step = stepper(name, CASES[case])
    times, faults = [], []
    for _ in range(WARM_UP + STEPS):
        before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
        step()
        times.append(time.process_time() - begun)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return Measured(statistics.median(times[WARM_UP:]), statistics.median(faults[WARM_UP:]))


def peak() -> float:
    """Return the GFLOP/s of one core in a product of two matrices of 1024x1024."""
    pin()
    import jax
    import jax.numpy as jnp

    a = jnp.ones((1024, 1024))
    product = jax.jit(jnp.matmul)
    times = []
    for _ in range(30):
        begun = time.process_time()
        product(a, a).block_until_ready()
        times.append(time.process_time() - begun)
    return 2 * 1024**3 / min(times) / 1e9


def pin() -> None:
    """Keep this process on one core; before JAX starts, which counts the cores that it may use."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def configuration(case: Case) -> Any:
    """Return the network of a case, for 10 classes."""
    from sqzx.architectures import SqueezeNetConfig
    from sqzx.config import resolve_model

    settings = {"model.preset": "squeezenet_small", "model.num_classes": 10, **case.settings}
    config = resolve_model(settings, "benchmark")
    assert isinstance(config, SqueezeNetConfig)
    return config


def training_flops(case: str) -> int:
    """Return the floating-point operations of training on one image: forward, and twice that backward."""
    from sqzx.counting import count

    return 3 * count(configuration(CASES[case]), CASES[case].image_shape).flops


def stepper(name: str, case: Case) -> Callable[[], None]:
    """Return a function that makes one training step of a contestant."""
    import numpy as np

    from sqzx.config import TrainConfig

    config = configuration(case)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH, *case.image_shape), np.uint8)
    labels = random.integers(0, 10, BATCH, np.int32)
    if name == "flax":
        from benchmarks import plain_flax

        return plain_flax.stepper(config, TrainConfig(), images, labels)
    if name.startswith("torch"):
        import torch

        from benchmarks import torch_eager

        memory_format = torch.contiguous_format if name == "torch" else torch.channels_last
        return torch_eager.stepper(
            config, TrainConfig(), images, labels, memory_format, compiled=name == EXTRA
        )
    return own_stepper(config, images, labels)


def own_stepper(config: Any, images: Any, labels: Any) -> Callable[[], None]:
    """Return the training step that `sqzx train` compiles."""
    import jax
    import numpy as np

    from sqzx.config import DataConfig, TrainConfig, TrialConfig
    from sqzx.counting import count
    from sqzx.data.info import dataset_info
    from sqzx.data.splits import Split, Splits
    from sqzx.forms import PLAIN
    from sqzx.network import pure
    from sqzx.preprocessing import of_training_images
    from sqzx.task import Task, fresh_state
    from sqzx.together import stack_of

    shape = images.shape[1:]
    trial = TrialConfig(model=config, data=DataConfig(image_shape=shape), train=TrainConfig())
    split = Split(images, labels)
    half = np.full(shape[2], 0.5, np.float32)
    splits = Splits(split, split, split, dataset_info("fashion_mnist"), half, half)
    task = Task(
        network=count(config, shape),
        apply=pure(config, shape),
        splits=splits,
        preprocessing=of_training_images(splits),
        size=len(labels),
        per_epoch=1,
        total=1000,
        form=PLAIN,
        origin="",
    )
    stack = stack_of(task, [trial], [fresh_state(task, trial)])

    def step() -> None:
        jax.block_until_ready(stack.step({0: (images, labels)}, np.int32(0)))

    return step


if __name__ == "__main__":
    main()
