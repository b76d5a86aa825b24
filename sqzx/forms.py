"""What a training changes in the place of a network's parameters: themselves, factors, or codebooks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optax

from sqzx.network import Parameters


def _themselves(trained: Any, fixed: Any) -> Parameters:
    return trained


def _as_it_is(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    return optimizer


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a network is trained; by default its parameters are, from their initial values.

    `start` holds the values that are trained (a pytree of float32 arrays), `fixed` what goes with them and
    never changes. `expand(trained, fixed)` returns the network's parameters, pure and differentiable in the
    first. `wrap` returns what the optimiser becomes; whatever it needs belongs into the optimiser's state,
    so that programs don't depend on it. Layers with a rank are two (`sqzx.network.pure`).
    """

    start: Any = None
    fixed: Any = ()
    expand: Callable[[Any, Any], Parameters] = _themselves
    wrap: Callable[[optax.GradientTransformation], optax.GradientTransformation] = _as_it_is
    ranks: Mapping[str, int] = field(default_factory=dict)


PLAIN = Form()
