"""The `compress.` keys: how a network is compressed.

Which of them mean something depends on the recipe, and one that means nothing is refused. What is left out is
filled in, so that the same compression is one configuration however it is spelled.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

from sqzx.compression.densities import check_text
from sqzx.errors import InputError
from sqzx.schema import above_zero, ranged

Recipe = Literal["deep_compression", "dsd", "pruning", "svd"]

PREFIX = "compress."


@dataclass(frozen=True, kw_only=True)
class CompressConfig:
    """How a network is compressed: a `recipe`, or without one weight sharing alone, which needs no data.

    "pruning" keeps of each layer the share `density` of its weights, or what `densities` says of it (see
    `sqzx.compression.densities`), in so many `rounds`, each followed by `retrain_epochs` of training.
    "deep_compression" goes on from there: weights share values, which train for `share_epochs`. "svd" makes
    two layers of each, of the least rank that keeps the share `energy` of its squared weights or, all
    together, of at most `bytes` as float32; these train for `retrain_epochs`.

    "dsd" trains dense-sparse-dense: the share `dsd_density` of each layer's weights is kept and trained for
    `retrain_epochs`; then the others come back, from 0, and all train for as long again, at
    `dsd_learning_rate`. Nothing is smaller afterwards. With `dsd_density`, pruning and Deep Compression begin
    with this: dense, sparse, dense, and pruned again.

    The weights of a layer share 2^`bits` - 1 values, and 0; or the bits of each layer are chosen, for a
    relative squared `error` of all weights, or so that codes and codebooks take about `bytes`.

    Epochs that are left out follow from those of the network's own training, see `rounds_epochs` and
    `sharing_epochs`. `learning_rate`, `dsd_learning_rate` and `share_learning_rate` are the peaks, as shares
    of that training's.

    `coder` makes the file: "huffman", as in Deep Compression, or "range", which is about 1 % smaller.
    `tables` is the type of codebooks and biases: "f16" rounds each that has a layer's range in float16, and
    leaves the others alone; "f32", the rule for recipes that share nothing, rounds none.
    """

    recipe: Recipe | None = None
    density: float | None = above_zero(None, high=1)
    densities: str | None = None
    rounds: int | None = ranged(None, low=1, high=100)
    bits: int | None = ranged(None, low=1, high=8)
    error: float | None = above_zero(None, high=1)
    energy: float | None = above_zero(None, high=1)
    bytes: int | None = ranged(None, low=1)
    retrain_epochs: int | None = ranged(None, low=0)
    learning_rate: float | None = above_zero(None)
    dsd_density: float | None = above_zero(None, high=1, introduced_as=None)
    dsd_learning_rate: float | None = above_zero(None, introduced_as=None)
    share_epochs: int | None = ranged(None, low=0)
    share_learning_rate: float | None = above_zero(None)
    coder: Literal["huffman", "range"] = "huffman"
    tables: Literal["f16", "f32"] | None = None

    def __post_init__(self) -> None:
        """Refuse what has no effect, or contradicts itself, and fill in what is left out."""
        meant = _MEANT[self.recipe]
        if self.recipe != "dsd" and self.dsd_density is None:
            meant -= {"dsd_learning_rate"}
        for field in fields(self):
            if field.name not in (*meant, *_ALWAYS) and getattr(self, field.name) is not None:
                told = f"with the recipe {self.recipe}" if self.recipe else "without a recipe"
                if field.name in _MEANT[self.recipe]:
                    told = f"without {PREFIX}dsd_density"
                raise InputError(f"{PREFIX}{field.name}: has no effect {told}; leave it out")
        for one, other in _EITHER:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise InputError(f"{PREFIX}{one}: and {PREFIX}{other} say the same thing; keep one")
        if self.energy == 1:
            raise InputError(
                f"{PREFIX}energy: needs less than 1, found {self.energy:g}: it would save nothing"
            )
        if self.densities is not None:
            check_text(self.densities)
        for name, value in self._left_out(meant).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    def _left_out(self, meant: frozenset[str]) -> dict[str, object]:
        chosen = self.error is not None or self.bytes is not None
        told = {
            "density": None if self.densities == "paper" else DENSITY,
            "rounds": 1,
            "bits": None if chosen else BITS,
            "energy": None if chosen else ENERGY,
            "learning_rate": LEARNING_RATE,
            "dsd_density": DSD_DENSITY if self.recipe == "dsd" else None,
            "dsd_learning_rate": DSD_LEARNING_RATE,
            "share_learning_rate": SHARE_LEARNING_RATE,
        }
        filled = {name: value for name, value in told.items() if name in meant}
        return filled | {"tables": "f16" if "bits" in meant else "f32"}

    @property
    def prunes(self) -> bool:
        """Whether weights are pruned."""
        return "density" in _MEANT[self.recipe]

    @property
    def shares(self) -> bool:
        """Whether weights share values."""
        return "bits" in _MEANT[self.recipe]

    def rounds_epochs(self, trained: int) -> int:
        """Return the epochs of each retraining of a network that trained for so many."""
        return math.ceil(trained / 2) if self.retrain_epochs is None else self.retrain_epochs

    def sharing_epochs(self, trained: int) -> int:
        """Return the epochs for which shared values train."""
        if not self.recipe or not self.shares:
            return 0
        return math.ceil(trained / 4) if self.share_epochs is None else self.share_epochs

    def epochs(self, trained: int) -> int:
        """Return all epochs of a recipe, for a network that trained for so many."""
        if self.recipe is None:
            return 0
        retrainings = (self.rounds or 0) + (2 if self.dsd_density else 0) + (1 if self.recipe == "svd" else 0)
        return retrainings * self.rounds_epochs(trained) + self.sharing_epochs(trained)


DENSITY = 0.3
BITS = 6
ENERGY = 0.5
LEARNING_RATE = 1.0
DSD_DENSITY = 0.33
"""A third, as in the authors' SqueezeNet-DSD-Training."""
DSD_LEARNING_RATE = 0.1
SHARE_LEARNING_RATE = 0.05

_SHARING = frozenset(("bits", "error", "bytes"))
_DSD = frozenset(("dsd_density", "dsd_learning_rate", "retrain_epochs", "learning_rate"))
_PRUNING = _DSD | {"density", "densities", "rounds"}
_MEANT: dict[str | None, frozenset[str]] = {
    None: _SHARING,
    "dsd": _DSD,
    "pruning": _PRUNING,
    "deep_compression": _PRUNING | _SHARING | {"share_epochs", "share_learning_rate"},
    "svd": frozenset(("energy", "bytes", "retrain_epochs", "learning_rate")),
}
"""The keys that mean something, by recipe."""
_ALWAYS = ("recipe", "coder", "tables")
_EITHER = (("bits", "error"), ("bits", "bytes"), ("error", "bytes"), ("energy", "bytes"))
