"""Spending a budget where it saves most: one option for each layer, for a total cost or a total loss.

A layer's options cost more and lose less, in steps that pay less and less (those that would not are jumped
over: the lower convex hull). The steps of all layers are taken in the order of what they save for what they
cost, which passes through the best spending of many totals (Shoham and Gersho, "Efficient bit allocation for
an arbitrary set of quantizers", 1988).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

ROUNDING = 1e-9
"""By how much, relatively, the worths of steps may differ that are the same but for rounding."""


class Option(NamedTuple):
    """What a layer may be given, what that costs and what it loses."""

    value: int
    cost: float
    loss: float


class Step(NamedTuple):
    """From one option of a layer to another that loses less."""

    layer: str
    old: Option
    new: Option

    @property
    def worth(self) -> float:
        """What is saved for what it costs."""
        cost = self.new.cost - self.old.cost
        return (self.old.loss - self.new.loss) / cost if cost > 0 else math.inf


Options = Mapping[str, Sequence[Option]]
"""The options of each layer, the first of which is the cheapest."""


def least(options: Options) -> Option:
    """Return the first options together: the least cost that there is, and its loss."""
    firsts = [of[0] for of in options.values()]
    return Option(0, sum(option.cost for option in firsts), sum(option.loss for option in firsts))


def within_cost(options: Options, most: float) -> dict[str, int]:
    """Return what each layer is given for at most `most`, which is at least the cost of `least`."""
    given, cost, full = {layer: of[0].value for layer, of in options.items()}, least(options).cost, set()
    for step in _steps(options):
        more = step.new.cost - step.old.cost
        if step.layer in full or cost + more > most:
            full.add(step.layer)  # the steps of one layer build on each other
        else:
            given[step.layer], cost = step.new.value, cost + more
    return given


def within_loss(options: Options, most: float) -> dict[str, int]:
    """Return what each layer is given to lose at most `most` together, or the least that there is."""
    given = {layer: of[0] for layer, of in options.items()}
    for step in _steps(options):
        if sum(option.loss for option in given.values()) <= most:
            break
        given[step.layer] = step.new
    return {layer: option.value for layer, option in given.items()}


def _steps(options: Options) -> list[Step]:
    every: list[tuple[float, Step]] = []
    for layer, of in options.items():
        least_worth = math.inf
        for step in _hull(layer, of):
            # A layer's steps build on each other: none may come first for what rounding adds to its worth.
            least_worth = min(least_worth, step.worth)
            every.append((least_worth, step))
    return [step for _, step in sorted(every, key=lambda pair: -pair[0])]  # stable: a layer's stay in order


def _hull(layer: str, options: Sequence[Option]) -> Iterator[Step]:
    now = options[0]
    while better := [option for option in options if option.loss < now.loss]:
        steps = [Step(layer, now, option) for option in better]
        most = max(step.worth for step in steps)
        # Of steps on one line the cheapest, which leaves the others still to be taken.
        step = min((step for step in steps if step.worth >= most * (1 - ROUNDING)), key=lambda s: s.new.cost)
        yield step
        now = step.new
