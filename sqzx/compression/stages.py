"""The stages of a recipe, each from a compressed network to the next.

Retraining is a trial's own training (`sqzx.training.retrain`) with another form of the parameters: pruned
ones under an optimiser that holds their zeros, codebooks in the place of kernels, or the factors of layers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sqzx.architectures import AlexNetConfig, ModelConfig
from sqzx.compression import centroids, svd
from sqzx.compression.compressed import Compressed, with_half_tables, with_shared
from sqzx.compression.compressing import bits_of, bits_told
from sqzx.compression.config import CompressConfig
from sqzx.compression.densities import densities_of
from sqzx.compression.kernels import kernels_of, with_kernels
from sqzx.compression.pruning import (
    adjusted_dropout,
    density_masks,
    density_of_round,
    kept_count,
    masked,
    pruned,
)
from sqzx.compression.weight_sharing import SharedWeights, share
from sqzx.config import TrialConfig
from sqzx.counting import Layer, parametric_layers
from sqzx.duration import CHECKPOINT_SECONDS
from sqzx.forms import Form
from sqzx.model import Model
from sqzx.training import retrain
from sqzx.trial import TrialFolder


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who hears of a recipe: `say` gets its lines, `on_fault` damage that was got round.

    `should_stop` is asked between training steps.
    """

    say: Callable[[str], None] = print
    on_fault: Callable[[str], None] = lambda fault: None
    should_stop: Callable[[], bool] = lambda: False
    checkpoint_seconds: float = CHECKPOINT_SECONDS


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all stages of a recipe share: the network as it was, its training, and what is asked."""

    dense: Model
    trial: TrialConfig
    config: CompressConfig
    listener: Listener

    @property
    def layers(self) -> list[Layer]:
        """The layers with parameters, in running order."""
        return parametric_layers(self.trial.model, self.trial.data.image_shape)


class Done(NamedTuple):
    """What a stage made, and what there is to say of it."""

    compressed: Compressed
    facts: Mapping[str, str | int | float]


Stage = Callable[[Setting, Compressed, TrialFolder], Done]
"""One step of a recipe; what it needs between cuts lies in a folder of its own."""


def of(config: CompressConfig, trained: int) -> list[tuple[str, Stage]]:
    """Return the stages of a recipe with their names, for a network that trained for so many epochs."""
    epochs, found = config.rounds_epochs(trained), []

    def retraining(rate: float | None) -> list[tuple[str, Stage]]:
        assert rate is not None
        return [("retrain", partial(_retrain, epochs=epochs, rate=rate))] if epochs else []

    if config.recipe == "svd":
        found += [("factor", _factor), *retraining(config.learning_rate)]
    if config.dsd_density is not None:
        found += [("sparse", _sparse), *retraining(config.learning_rate)]
        found += [("dense", _dense), *retraining(config.dsd_learning_rate)]
    for number in range(1, (config.rounds or 0) + 1):
        found += [("prune", partial(_prune, number=number)), *retraining(config.learning_rate)]
    if config.shares:
        found.append(("share", _share))
        if epochs := config.sharing_epochs(trained):
            found.append(("tune", partial(_tune, epochs=epochs)))
    if config.tables == "f16":
        found.append(("round", _round))
    return found


def _prune(setting: Setting, compressed: Compressed, folder: TrialFolder, *, number: int) -> Done:
    config = setting.config
    final = densities_of([layer.name for layer in setting.layers], config.density, config.densities)
    densities = {
        name: density_of_round(density, number, config.rounds or 1) for name, density in final.items()
    }
    return _pruned_to(densities, compressed, {"round": number} if config.rounds != 1 else {})


def _sparse(setting: Setting, compressed: Compressed, folder: TrialFolder) -> Done:
    densities = densities_of([layer.name for layer in setting.layers], setting.config.dsd_density, None)
    return _pruned_to(densities, compressed, {})


def _dense(setting: Setting, compressed: Compressed, folder: TrialFolder) -> Done:
    """Let all weights train again: the pruned ones from 0."""
    weights = sum(kernel.size for kernel in kernels_of(compressed.model.parameters).values())
    return Done(replace(compressed, densities={}), {"weights": weights})


def _pruned_to(densities: Mapping[str, float], compressed: Compressed, facts: dict[str, int]) -> Done:
    parameters = compressed.model.parameters
    model = replace(compressed.model, parameters=pruned(parameters, density_masks(parameters, densities)))
    sizes = {name: kernel.size for name, kernel in kernels_of(parameters).items()}
    kept = sum(kept_count(density, sizes[name]) for name, density in densities.items())
    facts = {**facts, "kept": kept, "weights": sum(sizes.values())}
    return Done(replace(compressed, model=model, densities=densities), facts)


def _factor(setting: Setting, compressed: Compressed, folder: TrialFolder) -> Done:
    config, layers, parameters = setting.config, setting.layers, compressed.model.parameters
    if config.bytes is not None:
        ranks = svd.ranks_by_bytes(parameters, layers, config.bytes)
    else:
        assert config.energy is not None
        ranks = svd.ranks_by_energy(parameters, layers, config.energy)
    model = replace(compressed.model, parameters=svd.factored(parameters, layers, ranks), ranks=ranks)
    facts = {"factored": len(ranks), "layers": len(layers)}
    return Done(replace(compressed, model=model), facts)


def _retrain(
    setting: Setting, compressed: Compressed, folder: TrialFolder, *, epochs: int, rate: float
) -> Done:
    model = compressed.model
    form, network = Form(start=model.parameters, ranks=model.ranks), setting.trial.model
    if compressed.densities:
        masks = density_masks(model.parameters, compressed.densities)
        form = replace(form, wrap=partial(masked, masks=masks))
        network = _with_less_dropout(network, setting.layers, compressed.densities)
    trained = _trained(setting, form, folder, network, epochs, rate)
    return Done(replace(compressed, model=replace(model, parameters=trained)), {"epochs": epochs})


def _share(setting: Setting, compressed: Compressed, folder: TrialFolder) -> Done:
    kernels = kernels_of(compressed.model.parameters)
    bits = bits_of(setting.config, kernels)
    # Means spaced evenly, none refilled: an entropy coder makes the smallest file of these.
    shared = {name: share(kernel, bits[name], refill=False) for name, kernel in kernels.items()}
    return Done(with_shared(compressed, shared), {"bits": bits_told(bits)})


def _tune(setting: Setting, compressed: Compressed, folder: TrialFolder, *, epochs: int) -> Done:
    shared = compressed.shared
    codebooks = {name: weights.codebook for name, weights in shared.items()}
    form = Form(
        start=with_kernels(compressed.model.parameters, codebooks),
        fixed={name: weights.codes for name, weights in shared.items()},
        expand=_expanded,
    )
    network = _with_less_dropout(setting.trial.model, setting.layers, compressed.densities)
    assert setting.config.share_learning_rate is not None
    trained = _trained(setting, form, folder, network, epochs, setting.config.share_learning_rate)
    tuned = {
        name: SharedWeights(_from_zero(codebook), shared[name].codes)
        for name, codebook in kernels_of(trained).items()
    }
    # The trained biases; the kernels, which are codebooks there, follow.
    model = replace(compressed.model, parameters=trained)
    return Done(with_shared(replace(compressed, model=model), tuned), {"epochs": epochs})


def _round(setting: Setting, compressed: Compressed, folder: TrialFolder) -> Done:
    return Done(with_half_tables(compressed), {"tables": "f16"})


def _trained(
    setting: Setting, form: Form, folder: TrialFolder, network: ModelConfig, epochs: int, rate: float
) -> Any:
    """Return what a form's values have become after some epochs, at a share of the first training's rate."""
    trial, listener = setting.trial, setting.listener
    train = replace(trial.train, epochs=epochs, learning_rate=rate * trial.train.learning_rate)
    return retrain(
        replace(trial, model=network, train=train, compress=None),
        folder,
        form,
        origin=setting.dense,
        should_stop=listener.should_stop,
        on_fault=listener.on_fault,
        say=lambda line: listener.say(f"  {line}"),
        checkpoint_seconds=listener.checkpoint_seconds,
    )


def _expanded(trained: Any, fixed: Mapping[str, Any]) -> Any:
    """Return the parameters of which the kernels are codebooks, with their codes in `fixed`."""
    return with_kernels(trained, centroids.expand(kernels_of(trained), fixed))


def _from_zero(codebook: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.float32), np.asarray(codebook[1:], np.float32)])


def _with_less_dropout(
    network: ModelConfig, layers: list[Layer], densities: Mapping[str, float]
) -> ModelConfig:
    """Return a network whose dropout is adjusted to what is left of the layers that see it.

    A configuration has one rate, so where several layers see dropout their weights are counted together.
    """
    number = len(network.fc_features) if isinstance(network, AlexNetConfig) else 1
    seen = layers[len(layers) - number :]
    if not seen or not densities:
        return network
    sizes = {layer.name: int(np.prod(layer.kernel_shape)) for layer in seen}
    kept = sum(kept_count(densities[name], size) for name, size in sizes.items())
    return replace(network, dropout_rate=adjusted_dropout(network.dropout_rate, kept, sum(sizes.values())))
