"""The training step in PyTorch, eager or compiled, in either memory format."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.torch_network import network
from sqzx.architectures import ModelConfig
from sqzx.config import TrainConfig


def stepper(
    config: ModelConfig,
    train: TrainConfig,
    images: np.ndarray,
    labels: np.ndarray,
    memory_format: torch.memory_format,
    *,
    compiled: bool = False,
) -> Callable[[], None]:
    """Return a function that makes one training step; `compiled` by torch.compile."""
    torch.set_num_threads(1)
    model = network(config, images.shape[1:])
    for kernel in model.parameters():
        if kernel.dim() == 4:
            kernel.data = kernel.data.contiguous(memory_format=memory_format)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), train.learning_rate)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    x = x.contiguous(memory_format=memory_format)
    y = torch.from_numpy(labels.astype(np.int64))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step
