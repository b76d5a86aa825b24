"""One training step, side by side: this project, plain Flax, PyTorch eager and channels-last.

    python -m benchmarks.step [--json]      (make bench)

Each measurement is a process of its own, pinned to one core, all with the same allocator settings. The
contestants take turns, several rounds of them, and each figure is the median of its rounds. What is counted
is the processor's time of the process, user and system, which a neighbour's load does not prolong. PyTorch is left out where it is not installed (`pip install -e '.[bench]'`).
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUNDS, WARM_UP, STEPS, BATCH = 3, 3, 12, 128
CASES: dict[str, dict[str, Any]] = {
    "base 32": {},
    "base 32, SR 1.0": {"model.squeeze_ratio": 1.0},
    "base 32, 3x3 .9375": {"model.pct_3x3": 0.9375},
    "base 128": {"model.base_e": 128, "model.incr_e": 128},
}
CONTESTANTS = ("sqzx", "flax", "torch", "torch_best")


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(seconds_a_step(*sys.argv[2:4])))
        return
    rows = []
    for case in CASES:
        rows.append(row := measured(case))
        if "--json" not in sys.argv:
            print(told(row), flush=True)
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=2))
    else:
        Path(__file__).with_name("latest.json").write_text(json.dumps(rows, indent=2) + "\n")


def measured(case: str) -> dict[str, Any]:
    """Return one row: images a second of each contestant, and how many times faster this project is."""
    found = [c for c in CONTESTANTS if not c.startswith("torch") or importlib.util.find_spec("torch")]
    rounds = [{name: child(name, case) for name in found} for _ in range(ROUNDS)]
    row: dict[str, Any] = {"case": f"{case}, batch {BATCH}, 28x28x1"}
    for name in found:
        speeds = [BATCH / r[name] for r in rounds]
        row[f"{name}_images_per_second"] = round(statistics.median(speeds), 1)
        row[f"{name}_spread"] = round((max(speeds) - min(speeds)) / statistics.median(speeds), 3)
    for name in CONTESTANTS[1:]:
        ratios = [r[name] / r["sqzx"] for r in rounds if name in r]
        row[f"ratio_vs_{name}"] = round(statistics.median(ratios), 2) if ratios else None
    return row


def told(row: dict[str, Any]) -> str:
    speeds = ", ".join(
        f"{n} {row[f'{n}_images_per_second']:.0f}" for n in CONTESTANTS if f"{n}_spread" in row
    )
    ratios = ", ".join(f"{row[f'ratio_vs_{n}']}x {n}" for n in CONTESTANTS[1:] if row[f"ratio_vs_{n}"])
    return f"{row['case']}: images a second: {speeds}; sqzx is {ratios}"


def child(name: str, case: str) -> float:
    """Measure one contestant in a fresh, pinned process."""
    from sqzx.compilation import keep_memory

    environment = dict(os.environ)
    keep_memory(environment)
    command = [sys.executable, "-m", "benchmarks.step", "--child", name, case]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def seconds_a_step(name: str, case: str) -> float:
    """Return the median time of a training step, in this process, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    step = stepper(name, CASES[case])
    times = []
    for _ in range(WARM_UP + STEPS):
        begun = time.process_time()
        step()
        times.append(time.process_time() - begun)
    return statistics.median(times[WARM_UP:])


def stepper(name: str, settings: dict[str, Any]) -> Callable[[], None]:
    import numpy as np

    from sqzx.architectures import SqueezeNetConfig
    from sqzx.config import TrainConfig, resolve

    config = resolve(
        {"model.preset": "squeezenet_small", "data.name": "fashion_mnist", **settings}, "benchmark"
    )
    assert isinstance(config.model, SqueezeNetConfig)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH, 28, 28, 1), np.uint8)
    labels = random.integers(0, 10, BATCH, np.int32)
    if name == "flax":
        from benchmarks import plain_flax

        return plain_flax.stepper(config.model, TrainConfig(), images, labels)
    if name.startswith("torch"):
        import torch

        from benchmarks import torch_eager

        memory_format = torch.channels_last if name == "torch_best" else torch.contiguous_format
        return torch_eager.stepper(config.model, TrainConfig(), images, labels, memory_format)
    return own_stepper(config, images, labels)


def own_stepper(config: Any, images: Any, labels: Any) -> Callable[[], None]:
    """Return the training step that `sqzx train` compiles."""
    import jax
    import numpy as np

    from sqzx.data.info import dataset_info
    from sqzx.data.splits import Split, Splits
    from sqzx.network import functional
    from sqzx.optimizer import make_optimizer
    from sqzx.preprocessing import of_training_images
    from sqzx.programs import TrainState, compile_programs
    from sqzx.streams import key_data

    split = Split(images, labels)
    half = np.full(1, 0.5, np.float32)
    splits = Splits(split, split, split, dataset_info("fashion_mnist"), half, half)
    apply, parameters = functional(config.model, (28, 28, 1), 0)
    optimizer = make_optimizer(config.train, 1000)
    state = TrainState(parameters, optimizer.init(parameters))
    preprocessing = of_training_images(splits)
    programs = compile_programs(config, apply, optimizer, splits, preprocessing, state, len(labels), 1000)

    def step() -> None:
        nonlocal state
        state, loss, _ = programs.step(state, images, labels, key_data(0), np.int32(0))
        jax.block_until_ready((state, loss))

    return step


if __name__ == "__main__":
    main()
