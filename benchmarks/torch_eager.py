"""The training step in PyTorch, eager, in either memory format."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from sqzx.architectures import FireWidths, SqueezeNetConfig
from sqzx.config import TrainConfig


class Fire(nn.Module):
    def __init__(self, in_features: int, widths: FireWidths):
        super().__init__()
        self.squeeze = nn.Conv2d(in_features, widths.squeeze, 1)
        self.expand1x1 = nn.Conv2d(widths.squeeze, widths.expand1x1, 1)
        self.expand3x3 = nn.Conv2d(widths.squeeze, widths.expand3x3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)


def network(config: SqueezeNetConfig, in_features: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(in_features, config.stem_features, 3, padding=1), nn.ReLU()]
    features = config.stem_features
    pool = lambda number: [nn.MaxPool2d(3, 2, ceil_mode=True)] * (number in config.pool_after)  # noqa: E731
    layers += pool(1)
    for number, widths in config.fires().items():
        layers += [Fire(features, widths), *pool(number)]
        features = widths.expand
    classifier = nn.Conv2d(features, config.num_classes, 1)
    return nn.Sequential(
        *layers, nn.Dropout(config.dropout_rate), classifier, nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def stepper(
    config: SqueezeNetConfig,
    train: TrainConfig,
    images: np.ndarray,
    labels: np.ndarray,
    memory_format: torch.memory_format,
) -> Callable[[], None]:
    """Return a function that makes one training step."""
    torch.set_num_threads(1)
    model = network(config, images.shape[-1])
    for kernel in model.parameters():
        if kernel.dim() == 4:
            kernel.data = kernel.data.contiguous(memory_format=memory_format)
    optimizer = torch.optim.AdamW(model.parameters(), train.learning_rate)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    x = x.contiguous(memory_format=memory_format)
    y = torch.from_numpy(labels.astype(np.int64))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step
