"""What a network scores with one layer pruned at a time (Han et al. 2015, figure 6): which can be small.

Nothing is retrained, so it tells where weights are needed, not what is reached without them.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sqzx.compression.kernels import kernels_of
from sqzx.compression.pruning import Parameters, density_masks, kept_count, pruned
from sqzx.config import TrialConfig
from sqzx.data.splits import load_splits_of
from sqzx.evaluation import score
from sqzx.model import Model
from sqzx.prediction import predictor

DENSITIES = (0.7, 0.5, 0.3, 0.2, 0.1, 0.05)


class Sensitivity(NamedTuple):
    """What a network scores with one layer pruned and all others as they are."""

    layer: str
    density: float
    kept: int
    weights: int
    score: float


class Scan(NamedTuple):
    """The top-1 of a network on so many validation images, as it is and with one layer pruned at a time."""

    dense: float
    images: int
    rows: list[Sensitivity]


def scan(
    model: Model, trial: TrialConfig, densities: Iterable[float], say: Callable[[str], None] = print
) -> Scan:
    """Prune each layer to each density and score the validation images of the model's training, `trial`.

    `say` gets a line a layer. `InputError` for a density outside (0, 1].
    """
    densities = list(densities)
    for density in densities:
        kept_count(density, 1)  # refuses what is no density
    validation = load_splits_of(trial.data).validation
    run = predictor(model, validation.images)

    def top1(parameters: dict[str, Any]) -> float:
        return score(run(parameters), validation.labels).top1

    dense, rows = top1({**model.parameters}), []
    for layer in kernels_of(model.parameters):
        rows += sensitivity(model.parameters, top1, densities, [layer])
        lost = ", ".join(f"{row.density:g}: {row.score:.4f}" for row in rows[-len(densities) :])
        say(f"{layer}: {lost}")
    return Scan(dense, len(validation.labels), rows)


def sensitivity(
    parameters: Parameters,
    score: Callable[[dict[str, Any]], float],
    densities: Iterable[float],
    layers: Iterable[str] | None = None,
) -> list[Sensitivity]:
    """Prune one layer at a time to each density, without retraining; a row each, in the order given.

    `score` is given the parameters. `layers` are all by default.
    """
    rows, kernels, densities = [], kernels_of(parameters), list(densities)
    for layer in kernels if layers is None else layers:
        for density in densities:
            masks = density_masks(parameters, {layer: density})
            kernel = kernels[layer]
            rows.append(
                Sensitivity(
                    layer,
                    density,
                    kept_count(density, kernel.size),
                    kernel.size,
                    float(score(pruned(parameters, masks))),
                )
            )
    return rows
