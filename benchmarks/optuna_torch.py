"""A study of SqueezeNets as one would write it today: Optuna deals out the points, PyTorch trains them.

    python -m benchmarks.optuna_torch STUDY FOLDER [--workers 2] [--tuned]

Two processes of one thread each take the points of a study file and their seeds from a queue in FOLDER,
which Optuna keeps in a journal file; `results.json` there has what came out. Data, split, normalisation,
initialisation, batches and recipe are those of `sqzx`. The loop is PyTorch's as its tutorials have it: a
`DataLoader` over tensors that are normalised once, AdamW, evaluation in inference mode. Workers are forked
after all is imported and read.

`--tuned` adds what was found faster on two cores without a GPU: channels-last maps (20 to 35 % of a step),
the fused AdamW (up to 20 %), batches cut from the tensors themselves. `torch.compile` is in neither: it
would compile each of a study's networks anew.
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from torch import nn

from benchmarks.torch_network import network
from sqzx.architectures import ModelConfig
from sqzx.batches import batch_size, steps_per_epoch
from sqzx.config import TrainConfig, TrialConfig
from sqzx.data.splits import Split, Splits, load_splits_of
from sweeps.plan import plan_study
from sweeps.study import read_study

STUDY = "study"
EVALUATION_BATCH = 256


class Part(NamedTuple):
    """Normalised images (n, c, h, w), channels-last, and labels (n,)."""

    images: torch.Tensor
    labels: torch.Tensor


class Parts(NamedTuple):
    """The images of a study."""

    train: Part
    validation: Part
    test: Part


def main() -> None:
    parser = argparse.ArgumentParser(description="A study of SqueezeNets with Optuna and PyTorch.")
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tuned", action="store_true")
    arguments = parser.parse_args()

    trials = plan_study(read_study(arguments.study)).trials
    search = optuna.create_study(study_name=STUDY, storage=storage(arguments.folder), direction="maximize")
    for trial in trials:
        search.enqueue_trial(point(trial.config), user_attrs={"name": trial.name})
    torch.set_num_threads(1)
    parts = tensors(load_splits_of(trials[0].config.data), arguments.tuned)
    configs = [trial.config for trial in trials]
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=work, args=(arguments.folder, configs, parts, arguments.tuned), daemon=True)
        for _ in range(arguments.workers)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("a worker failed")
    done = search.get_trials(states=(TrialState.COMPLETE,))
    (arguments.folder / "results.json").write_text(json.dumps([t.user_attrs for t in done], indent=2) + "\n")


def work(folder: Path, configs: list[TrialConfig], parts: Parts, tuned: bool) -> None:
    """Train what waits in the queue until nothing does."""
    names = point(configs[0])
    choices = {name: sorted({point(config)[name] for config in configs}) for name in names}

    def objective(trial: optuna.Trial) -> float:
        if "name" not in trial.user_attrs:  # the other worker took the last one: Optuna would make one up
            trial.study.stop()
            raise optuna.TrialPruned
        values = {name: trial.suggest_categorical(name, choices[name]) for name in names}
        seed = values.pop("seed")
        model = dataclasses.replace(configs[0].model, **values)
        curve, test_top1 = train(dataclasses.replace(configs[0], model=model, seed=seed), parts, tuned)
        trial.set_user_attr("val_top1", curve)
        trial.set_user_attr("test_top1", test_top1)
        return curve[-1]

    def stop_at_the_end(study: optuna.Study, _: Any) -> None:
        if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.stop()

    search = optuna.load_study(study_name=STUDY, storage=storage(folder))
    search.optimize(objective, callbacks=[stop_at_the_end])


def train(config: TrialConfig, parts: Parts, tuned: bool) -> tuple[list[float], float]:
    """Return the validation top-1 after each epoch, and the test top-1 at the end."""
    torch.manual_seed(config.seed)
    recipe = config.train
    examples = len(parts.train.labels)
    size = batch_size(recipe.batch_size, examples)
    steps = steps_per_epoch(recipe.batch_size, examples)
    batches = cut(parts.train, size) if tuned else loader(parts.train, size)

    model = network(config.model, config.data.image_shape)
    initialise(model, config.model)
    if tuned:
        for kernel in model.parameters():
            if kernel.dim() == 4:
                kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe, tuned)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(recipe, steps * recipe.epochs))
    curve = []
    for _ in range(recipe.epochs):
        model.train()
        for images, labels in batches():
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            if recipe.gradient_clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
            optimizer.step()
            rate.step()
        curve.append(top1(model, parts.validation))
    return curve, top1(model, parts.test)


def loader(part: Part, size: int) -> Callable[[], Iterable[Any]]:
    """Return what yields an epoch's batches as the tutorials write it."""
    data = torch.utils.data.TensorDataset(*part)
    batches = torch.utils.data.DataLoader(data, size, shuffle=True, drop_last=True)
    return lambda: batches


def cut(part: Part, size: int) -> Callable[[], Iterable[Any]]:
    """Return what yields an epoch's batches faster: many images are picked at once."""
    images, labels = part

    def batches() -> Iterable[Any]:
        order = torch.randperm(len(labels))
        for chosen in order[: len(labels) // size * size].split(size):
            yield images[chosen], labels[chosen]

    return batches


@torch.inference_mode()
def top1(model: nn.Module, part: Part) -> float:
    model.eval()
    right = 0
    for images, labels in zip(*(tensor.split(EVALUATION_BATCH) for tensor in part), strict=True):
        right += int((model(images).argmax(1) == labels).sum())
    return right / len(part.labels)


def initialise(model: nn.Module, config: ModelConfig) -> None:
    """Draw the kernels from the distributions of `sqzx`; biases are 0."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            if name == "conv10":
                nn.init.normal_(layer.weight, std=0.01)
            else:  # PyTorch's "linear" is Caffe's xavier, U(-a, a) with a = sqrt(3 / fan_in)
                nn.init.kaiming_uniform_(
                    layer.weight, nonlinearity="linear" if config.init == "xavier" else "relu"
                )
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def make_optimizer(model: nn.Module, recipe: TrainConfig, tuned: bool) -> torch.optim.Optimizer:
    """Return AdamW that lets the kernels decay, not the biases."""
    if recipe.optimizer != "adamw" or recipe.schedule != "cosine":
        raise SystemExit("this script knows AdamW with a cosine schedule alone")
    kernels = [p for p in model.parameters() if p.dim() > 1]
    biases = [p for p in model.parameters() if p.dim() == 1]
    groups = [
        {"params": kernels, "weight_decay": recipe.weight_decay},
        {"params": biases, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, recipe.learning_rate, fused=True if tuned else None)


def rate_factor(recipe: TrainConfig, steps: int) -> Callable[[int], float]:
    """Return the learning rate by step over its peak: a linear warm-up, then half a cosine to 0."""
    warm_up = round(recipe.warmup_fraction * steps)
    rest = max(1, steps - warm_up)

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return (1 + math.cos(math.pi * (step - warm_up) / rest)) / 2

    return factor


def tensors(splits: Splits, tuned: bool) -> Parts:
    layout = torch.channels_last if tuned else torch.contiguous_format

    def part(split: Split) -> Part:
        normalised = (split.images[:].astype(np.float32) / 255 - splits.mean) / splits.std
        images = torch.from_numpy(normalised.transpose(0, 3, 1, 2))
        labels = torch.from_numpy(split.labels.astype(np.int64))
        return Part(images.contiguous(memory_format=layout), labels)

    return Parts(part(splits.train), part(splits.validation), part(splits.test))


def point(config: Any) -> dict[str, float]:
    """Return what the study varies."""
    return {
        "squeeze_ratio": config.model.squeeze_ratio,
        "pct_3x3": config.model.pct_3x3,
        "seed": config.seed,
    }


def storage(folder: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


if __name__ == "__main__":
    main()
