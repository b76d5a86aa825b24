"""The table `[search]` of a study, and what a search has chosen so far, as the study's folder keeps it.

    [search]
    sampler = "nsga2"       # a genetic algorithm; or "tpe", a tree of Parzen estimators: both are Optuna's
    size = "params"         # validation top-1 is traded against this counted size, as in [constraints]
    trials = 60             # points to choose in all, refused and repeated ones included
    batch = 10              # points chosen at a time, best a multiple of the workers; nsga2's population
    seed = 0                # 0 by default
    uniform.model.pct_3x3 = [0.1, 0.9]      # ranges as those of `random`: uniform, log, integer, ...

The points have what `[config]` sets, and are trained with all seeds of the study. A search goes batch by
batch: all of one is chosen before anything of it is known, and the next when each of its trials is done or
has failed.

    OUT/search/0001.json    the points of batch 1
    OUT/search/0002.json    what batch 1 came to ("told"), and the points of batch 2

A file is written once, whole, and never again: it is what all later batches rest on, whatever is retried or
edited afterwards, and with it a plan needs no Optuna.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from sqzx.config import read_setting
from sqzx.errors import InputError
from sqzx.files import read_json, write_json
from sqzx.schema import Key, nearest
from sweeps.constraints import SIZES
from sweeps.random_axes import LARGEST_COUNT, RANGES, Axis, read_axes
from sweeps.reading import check_known, read_count, read_table
from sweeps.space import ONE_POINT, Block

if TYPE_CHECKING:
    from sweeps.study import Study

BLOCK = "search"
"""The block of which the chosen points are members."""

Sampler = Literal["nsga2", "tpe"]


@dataclass(frozen=True, kw_only=True)
class Search:
    """The table `[search]` of a study."""

    sampler: Sampler
    size: str
    trials: int
    batch: int
    seed: int
    axes: Mapping[str, Axis]

    def next_size(self, history: Sequence["Batch"]) -> int:
        """Return how many points the batch after those of `history` has; 0 at the end."""
        return max(0, min(self.batch, self.trials - sum(len(batch.points) for batch in history)))


class Choice(NamedTuple):
    """A chosen point: where it lies on each axis (a share or the number of a level), and its settings."""

    coordinates: Mapping[str, int | float]
    settings: Mapping[str, Any]


class Told(NamedTuple):
    """What a point came to. `state` is "scored", "refused" or "failed"; only a scored one has numbers.

    `val_top1` is the mean over those of its seeds that count, `size` the counted size.
    """

    state: Literal["scored", "refused", "failed"]
    val_top1: float | None = None
    size: int | None = None
    reason: str | None = None


class Batch(NamedTuple):
    """Points that were chosen together, and what they came to; None of the last batch."""

    points: tuple[Choice, ...]
    told: tuple[Told, ...] | None


def with_choices(study: "Study", out: Path) -> "Study":
    """Return a study with the points that its search has chosen in the folder `out`, as a block."""
    return with_points(study, [choice for batch in read_batches(study, out) for choice in batch.points])


def chosen(study: "Study") -> int:
    """Return how many points of a study are those of its search."""
    return sum(len(block.space.listed) for block in study.sweeps if block.name == BLOCK)


def with_points(study: "Study", choices: Sequence[Choice]) -> "Study":
    """Return a study with a block of chosen points; as it is where there are none."""
    if not choices:
        return study
    listed = tuple(choice.settings for choice in choices)
    return replace(study, sweeps=(*study.sweeps, Block(name=BLOCK, space=replace(ONE_POINT, listed=listed))))


def read_batches(study: "Study", out: Path) -> list[Batch]:
    """Return the batches of a folder, in their order.

    A folder whose search was begun with other settings is an `InputError`: what it learnt would not hold.
    """
    trees: list[Mapping[str, Any]] = []
    while (file := batch_file(out, len(trees) + 1)).exists():
        tree = read_json(file)
        if not isinstance(tree, dict) or {"search", "points", "told"} - tree.keys():
            raise InputError(f"{file}: is no batch of a search; delete it and the later ones")
        if tree["search"] != basis(study):
            raise InputError(
                f"{study.source} [search]: {out} holds a search with other settings in [search] or [config]; "
                "only trials may change; put them back or choose another --out"
            )
        trees.append(tree)
    told = [tuple(Told(**one) for one in tree["told"]) for tree in trees[1:]]
    points = [tuple(_choice(point, study.source) for point in tree["points"]) for tree in trees]
    return [Batch(p, t) for p, t in zip(points, [*told, None], strict=True)] if trees else []


def _choice(point: Mapping[str, Any], source: str) -> Choice:
    settings = {key: read_setting(key, value, source) for key, value in point["settings"].items()}
    return Choice(point["coordinates"], settings)


def write_batch(
    study: "Study", out: Path, number: int, told: Sequence[Told], points: Sequence[Choice]
) -> None:
    """Write the batch of a number and what the one before came to, unless another runner has done so.

    A hard link fails where the name is taken, on a shared file system, too: of two runners the first one's
    file stays, and both go on from it.
    """
    file = batch_file(out, number)
    own = file.with_name(f".{file.name}.{os.getpid()}.own")
    tree = {
        "search": basis(study),
        "told": [one._asdict() for one in told],
        "points": [choice._asdict() for choice in points],
    }
    try:
        write_json(own, tree)
        os.link(own, file)
    except FileExistsError:
        pass
    finally:
        own.unlink(missing_ok=True)


def batch_file(out: Path, number: int) -> Path:
    """Return where a folder keeps the batch of a number, counted from 1."""
    return out / "search" / f"{number:04d}.json"


def basis(study: "Study") -> dict[str, Any]:
    """Return, as JSON reads it back, what the meaning of a search's results rests on."""
    assert study.search is not None
    found = {
        "sampler": study.search.sampler,
        "size": study.search.size,
        "seed": study.search.seed,
        "batch": study.search.batch,
        "axes": {key: [type(axis).__name__, vars(axis)] for key, axis in study.search.axes.items()},
        "config": study.config,
    }
    return json.loads(json.dumps(found))


def read_search(tree: Mapping[str, Any], source: str) -> Search | None:
    """Read `[search]` of a study's tree; None where there is none."""
    if "search" not in tree:
        return None
    table, where = read_table(tree, "search", source), f"{source} [search]"
    check_known(table, ("sampler", "size", "trials", "batch", "seed", *RANGES), where)
    return Search(
        sampler=_read_word(table, "sampler", get_args(Sampler), where),
        size=_read_word(table, "size", SIZES, where),
        trials=read_count(table, "trials", where, low=1, high=LARGEST_COUNT, default=None),
        batch=read_count(table, "batch", where, low=2, high=1_000, default=None),
        seed=read_count(table, "seed", where, low=0, high=2**63 - 1, default=0),
        axes=read_axes({kind: table[kind] for kind in table if kind in RANGES}, where),
    )


def _read_word(table: Mapping[str, Any], name: str, valid: tuple[str, ...], where: str) -> Any:
    word = Key(name, str, {}).read(table.get(name), where)
    if word not in valid:
        raise InputError(f"{where}: {name}: {word!r} is not possible here{nearest(word, valid)}")
    return word
