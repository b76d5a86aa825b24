"""Early stopping that respects size: asynchronous successive halving within bins of networks of like size.

    [halving]
    min_epochs = 3        # the first rung; the others follow at 9, 27, ...: `reduction` times as many epochs
    reduction = 3         # about one of so many configurations goes on from a rung; 3 by default
    bins = 4              # so many bins of equally many configurations by size, or edges: [20_000, 60_000]
    quantity = "params"   # the counted size that bins, as in [constraints]; params by default

At a rung a trial pauses: its state is saved and its status is "censored", with its epoch. Its schedule stays
that of all its epochs, so that one which goes on equals one which never paused, bit for bit. What decides is
the mean validation top-1 of a configuration over its seeds at that epoch, once all of them are there: seeds
go on together, or the mean of those left would be that of the lucky ones. It is compared with those of its
bin, its data set and its number of epochs alone.

The rule (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020, algorithm 2): of n
configurations with a value at a rung the best floor(n / reduction) go on, without waiting for the others. A
finite study adds: once nobody is to come any more, it is ceil(n / reduction), so that each bin finishes at
least one. Of equal values the smaller network is better, then the smaller id. Who has gone on stays so.
Trials that failed are nobody, and a configuration without others counts nowhere.

The decision is taken by a runner, when it starts a trial, from the plan, the statuses and `metrics.jsonl`
alone. So a runner after a kill, or a second one, decides the same in the same folder; what it decided is
written into the trial's folder as `pause.json`, which is all that the worker knows of it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqzx.errors import InputError
from sqzx.schema import Key, nearest
from sweeps.constraints import SIZES, Sizes
from sweeps.reading import check_known, read_count, read_table

MOST_BINS = 1_000


@dataclass(frozen=True, kw_only=True)
class Halving:
    """The table `[halving]` of a study. `bins` is a number of bins, or the edges between them."""

    min_epochs: int
    reduction: int
    bins: int | tuple[int, ...]
    quantity: str

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs after which a trial of so many epochs pauses; none where it is too short."""
        found = []
        rung = self.min_epochs
        while rung < epochs:
            found.append(rung)
            rung *= self.reduction
        return tuple(found)

    def bins_of(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the bin, from 0, of each of some configurations, given by their sizes; equal ones share it.

        A number of bins cuts at quantiles: with k of n configurations smaller, the bin is floor(k bins / n).
        An edge belongs to the bin above it.
        """
        if not isinstance(self.bins, int):
            return {name: sum(size >= edge for edge in self.bins) for name, size in sizes.items()}
        ordered = sorted(sizes.values())
        smaller: dict[int, int] = {}
        for place, size in enumerate(ordered):
            smaller.setdefault(size, place)
        return {name: smaller[size] * self.bins // len(ordered) for name, size in sizes.items()}

    def text(self, epochs: Iterable[int]) -> str:
        """Say in one line where trials of such numbers of epochs pause."""
        rungs = "; ".join(f"{', '.join(map(str, self.rungs(n))) or 'never'} of {n}" for n in sorted(epochs))
        cut = self.bins if isinstance(self.bins, int) else len(self.bins) + 1
        return (
            f"halving: trials pause at epochs {rungs}, and about one in {self.reduction} of each of {cut} "
            f"bins by {self.quantity} goes on; times are those of whole trainings"
        )

    def size(self, sizes: Sizes) -> int:
        """Return the size that bins a network."""
        return getattr(sizes, self.quantity)


class Standing(NamedTuple):
    """How far a configuration has come: its mean at each rung that all its seeds passed, its last epoch."""

    size: int
    values: Mapping[int, float]
    reached: int


def standing(size: int, curves: Iterable[Sequence[float]], rungs: Sequence[int]) -> Standing:
    """Return the standing of a configuration by the curves of its seeds: validation top-1 by epoch."""
    curves = list(curves)
    values = {
        rung: math.fsum(curve[rung - 1] for curve in curves) / len(curves)
        for rung in rungs
        if all(len(curve) >= rung for curve in curves)
    }
    return Standing(size, values, max(map(len, curves)))


class Rung(NamedTuple):
    """What a rung decided: who has a value, best first, who goes on, and whether nobody is to come."""

    epoch: int
    ranking: tuple[str, ...]
    going_on: frozenset[str]
    full: bool


def decide(standings: Mapping[str, Standing], rungs: Sequence[int], reduction: int) -> list[Rung]:
    """Return, for each rung, which of the configurations of one bin go on from it by now."""
    entered, full = set(standings), True
    found = []
    for epoch in rungs:
        there = [name for name, one in standings.items() if epoch in one.values]
        ranking = sorted(there, key=lambda name: _worse(name, standings[name], epoch))
        full = full and entered <= set(there)
        places = -(-len(ranking) // reduction) if full else len(ranking) // reduction
        beyond = {name for name, one in standings.items() if one.reached > epoch}
        going_on = frozenset(ranking[:places]) | beyond
        found.append(Rung(epoch, tuple(ranking), going_on, full))
        entered = set(going_on)
    return found


def _worse(name: str, one: Standing, epoch: int) -> tuple[float, int, str]:
    return -one.values[epoch], one.size, name


def pause_of(name: str, decided: Sequence[Rung]) -> int | None:
    """Return the epoch at which a configuration is to pause, or None where it may train to its end."""
    return next((rung.epoch for rung in decided if name not in rung.going_on), None)


def read_halving(tree: Mapping[str, Any], source: str) -> Halving | None:
    """Read `[halving]` of a study's tree; None where there is none."""
    if "halving" not in tree:
        return None
    table, where = read_table(tree, "halving", source), f"{source} [halving]"
    check_known(table, ("min_epochs", "reduction", "bins", "quantity"), where)
    quantity = Key("quantity", str, {}).read(table.get("quantity", "params"), where)
    if quantity not in SIZES:
        raise InputError(f"{where}: quantity: {quantity!r} is not counted{nearest(quantity, SIZES)}")
    return Halving(
        min_epochs=read_count(table, "min_epochs", where, low=1, high=2**31, default=None),
        reduction=read_count(table, "reduction", where, low=2, high=1_000, default=3),
        bins=_read_bins(table, where),
        quantity=quantity,
    )


def _read_bins(table: Mapping[str, Any], where: str) -> int | tuple[int, ...]:
    if not isinstance(table.get("bins"), list):
        return read_count(table, "bins", where, low=1, high=MOST_BINS, default=None)
    edges = Key("bins", tuple[int, ...], {"low": 1}).read(table["bins"], where)
    if not edges or list(edges) != sorted(set(edges)):
        raise InputError(f"{where}: bins: needs a number, or edges that ascend, found {table['bins']!r}")
    return edges
