"""Pruning: the smallest weights of a layer become 0 and stay it (Han et al. 2015, arXiv:1506.02626).

Masks are pytrees of bool in the structure of the parameters, True where a weight is kept; biases are never
pruned. A pruned network is retrained with `masked`, which holds pruned weights at exactly 0:

    masks = density_masks(parameters, densities)
    parameters = pruned(parameters, masks)
    optimizer = masked(optimizer, masks)

Dense-sparse-dense training (Han et al. 2017, arXiv:1607.04381; section 7 of SqueezeNet's paper), the recipe
"dsd", needs nothing more. After this sparse phase comes a dense one: the same parameters, in which pruned
weights start again at 0 and the survivors keep their values, with the optimiser itself, its state fresh, at a
tenth of the learning rate or less (1e-4 for 20 epochs in the authors' SqueezeNet-DSD-Training). What comes
out may be pruned again.
"""

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sqzx.compression.kernels import kernels_of, with_kernels
from sqzx.errors import InputError

Parameters = Mapping[str, Any]
Masks = dict[str, Any]


def kept_count(density: float, weights: int) -> int:
    """Return ceil(density x weights), where the density is the decimal that it is written as.

    0.07 of 100 weights are 7, though the nearest double to 0.07 is a little more. `InputError` for a density
    outside (0, 1].
    """
    try:
        exact = Fraction(str(density))
    except ValueError:  # nan and infinity
        exact = Fraction(0)
    if not 0 < exact <= 1:
        raise InputError(f"density: needs more than 0 and at most 1, found {density}")
    return math.ceil(exact * weights)


def density_mask(kernel: np.ndarray, density: float) -> np.ndarray:
    """Return which weights of a kernel are kept: the `kept_count` with the largest magnitudes.

    Of equal ones those that come first in memory order are kept. Zeros count as the smallest weights.
    """
    magnitudes = np.abs(np.asarray(kernel)).ravel()
    kept = kept_count(density, magnitudes.size)
    mask = np.zeros(magnitudes.size, bool)
    if kept:
        least = np.partition(magnitudes, -kept)[-kept]
        mask[magnitudes > least] = True
        ties = np.flatnonzero(magnitudes == least)
        mask[ties[: kept - int(mask.sum())]] = True
    return mask.reshape(np.shape(kernel))


def threshold_mask(kernel: np.ndarray, quality: float) -> np.ndarray:
    """Return which weights of a kernel are kept: those of at least `quality` x the standard deviation.

    That is Han's quality parameter; the deviation is that of all weights of the kernel, zeros too.
    """
    if not 0 <= quality < math.inf:
        raise InputError(f"quality: needs a finite number that is not negative, found {quality}")
    magnitudes = np.abs(np.asarray(kernel, np.float64))
    return magnitudes >= quality * np.asarray(kernel, np.float64).std()


def density_masks(parameters: Parameters, densities: Mapping[str, float]) -> Masks:
    """Return the masks of a network, given what is kept of each layer; of one without a density, all.

    Raises `InputError` for a layer that isn't there and for a density outside (0, 1].
    """
    return _masks(parameters, densities, density_mask)


def threshold_masks(parameters: Parameters, qualities: Mapping[str, float]) -> Masks:
    """Return the masks of a network, given the quality parameter of each layer; of one without, all is kept.

    Raises `InputError` for a layer that isn't there and for one of which nothing would be kept.
    """
    return _masks(parameters, qualities, threshold_mask)


def _masks(
    parameters: Parameters,
    asked: Mapping[str, float],
    mask_of: Callable[[np.ndarray, float], np.ndarray],
) -> Masks:
    kernels = kernels_of(parameters)
    for name in asked:
        if name not in kernels:
            near = get_close_matches(name, kernels, 1)
            raise InputError(f"{name}: there is no such layer" + (f"; is it {near[0]}?" if near else ""))
    masks = {}
    for name, value in asked.items():
        try:
            masks[name] = mask_of(kernels[name], value)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if not masks[name].any():
            raise InputError(f"{name}: no weight would be kept at {value}, and the network would be dead")
    return with_kernels(_all_kept(parameters), masks)


def pruned(parameters: Parameters, masks: Masks) -> dict[str, Any]:
    """Return parameters with 0.0 where a kernel's mask is False."""
    keep = kernels_of(masks)
    kernels = {
        name: np.where(keep[name], kernel, np.zeros((), kernel.dtype))
        for name, kernel in kernels_of(parameters).items()
    }
    return with_kernels(parameters, kernels)


def masks_of(parameters: Parameters) -> Masks:
    """Return the masks that keep a network as sparse as it is: True where a weight is not 0."""
    found = {name: np.asarray(kernel) != 0 for name, kernel in kernels_of(parameters).items()}
    return with_kernels(_all_kept(parameters), found)


def _all_kept(parameters: Parameters) -> Masks:
    return jax.tree.map(lambda leaf: np.ones(np.shape(leaf), bool), dict(parameters))


class MaskedState(NamedTuple):
    """The state of a `masked` optimiser: the masks, so that no program depends on them, and its own."""

    masks: Masks
    inner: Any


def masked(optimizer: optax.GradientTransformation, masks: Masks) -> optax.GradientTransformation:
    """Return an optimiser under which a pruned weight is exactly 0.0 after every step.

    Gradients are masked before the optimiser sees them, so that pruned weights leave no momentum and take no
    part in a clipping by the global norm. And whatever it makes of them (weight decay, say, or a weight that
    was not 0 to begin with), their update is what leads to 0. The parameters must be given to `update`.
    """

    def init(params: Any) -> MaskedState:
        return MaskedState(masks, optimizer.init(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, MaskedState]:
        if params is None:
            raise ValueError("masked: update needs the parameters")
        keep, inner = state
        seen = jax.tree.map(lambda keep, g: jnp.where(keep, g, jnp.zeros_like(g)), keep, updates)
        moves, inner = optimizer.update(seen, inner, params)
        moves = jax.tree.map(lambda keep, move, p: jnp.where(keep, move, -p), keep, moves, params)
        return moves, MaskedState(keep, inner)

    return optax.GradientTransformation(init, update)


def density_of_round(final: float, number: int, rounds: int) -> float:
    """Return the density after round `number` (1 to `rounds`) of pruning and retraining in several rounds.

    Each round keeps the same share of what the one before has left, and the last reaches `final` exactly.
    """
    if not 1 <= number <= rounds:
        raise InputError(f"round: needs 1 to {rounds}, found {number}")
    kept_count(final, 1)  # refuses what is no density
    return final if number == rounds else float(final) ** (number / rounds)


def adjusted_dropout(rate: float, kept: int, weights: int) -> float:
    """Return the dropout rate for retraining a pruned layer: rate x sqrt(kept / weights).

    Han et al. 2015, section 3.2, D_r = D_o sqrt(C_ir / C_io): a sparse layer needs less regularisation.
    `kept` and `weights` count the connections of the layer that sees what is dropped.
    """
    return rate * math.sqrt(kept / weights)
