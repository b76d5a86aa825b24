"""The study file: strict reading of its TOML into a frozen value. This is the reference of its keys.

schema = 1
name = "paper"
seeds = 3                                   # replicates of every configuration: seeds 0, 1, 2
exclude = [{ model.squeeze_ratio = 0.25, train.epochs = 8 }]   # points with all of these are skipped

[config]                                    # what all trials share
model.preset = "squeezenet_small"

[[sweep]]                                   # blocks add up; a point in two blocks is one trial
name = "squeeze_ratio"
set.model.pct_3x3 = 0.5                     # what this block fixes
grid.model.squeeze_ratio = [0.125, 0.25]    # axes that combine with each other
zip.train.epochs = [4, 8]                   # keys that advance together, combined with the grid
zip.train.learning_rate = [2e-3, 1e-3]
points = [{ model.freq = 1, model.incr_e = 16 }, { model.freq = 2 }]    # points by hand, combined too

[[sweep]]
name = "random"
random.count = 20                           # draws, combined with other axes; see `sweeps.random_axes`
random.seed = 1                             # 0 by default
random.sobol = true                         # evenly spread; false by default
random.uniform.model.squeeze_ratio = [0.1, 0.9, 0.1]    # low, high and, if wanted, a step
random.log.train.learning_rate = [1e-4, 1e-2]
random.integer.model.base_e = [16, 64, 8]   # low, high and, if wanted, a step other than 1
random.power_of_two.train.batch_size = [16, 128]
random.choices.model.bypass = ["none", "simple"]

[[sweep]]
name = "families"
grid.model.preset = ["squeezenet_small", "alexnet_small"]

[[sweep.when]]                              # of the block above: the points with these settings ...
if.model.preset = "alexnet_small"
grid.model.fc_features = [[], [1024, 1024]] # ... are refined by axes of their own, of any kind

[constraints]                               # judged before training; what fails is skipped, with the reason
params = { max = 2_000_000 }                # min, max or both of params, macs, flops, bytes_fp32,
peak_activations = { min = 1_000 }          # peak_activations,
est_seconds = { max = 3600 }                # and the expected time of a trial, once it is known
require = ["model.base_e >= model.incr_e"]  # keys against keys or numbers; see `sweeps.constraints`

[halving]                                   # stops early what does badly among networks of its size
min_epochs = 3                              # see `sweeps.halving`
reduction = 3
bins = 4
quantity = "params"

# [search] instead of [halving] has a sampler choose points; `sweeps.search` has its keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqzx.config import check_version, parse_toml, read_text, read_tree
from sqzx.errors import InputError
from sweeps.constraints import Constraints, read_constraints
from sweeps.halving import Halving, read_halving
from sweeps.reading import check_key, check_known, read_count, read_name, read_table, read_tables
from sweeps.search import BLOCK, Search, read_search
from sweeps.space import ONE_POINT, Block, read_block

STUDY_SCHEMA = 1

MOST_SEEDS = 100_000

_TABLES = ("schema", "name", "seeds", "exclude", "config", "sweep", "constraints", "halving", "search")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as its file says it. `text` is that file, kept as it was written."""

    name: str
    seeds: int
    config: Mapping[str, Any]
    sweeps: tuple[Block, ...]
    constraints: Constraints
    halving: Halving | None
    search: Search | None
    text: str
    source: str

    def points(self) -> Iterator[tuple[Block, dict[str, Any]]]:
        """Yield every block's points over the shared settings; a point of two blocks comes twice."""
        for block in self.sweeps:
            for point in block.points(self.config):
                yield block, point

    def naming_keys(self) -> list[str]:
        """Return the keys that tell configurations apart: set in a block, with more than one value."""
        values: dict[str, set[Any]] = {}
        for block in self.sweeps:
            for key, found in block.values().items():
                values.setdefault(key, set()).update(found)
        for block in self.sweeps:
            for key in values.keys() - block.everywhere():
                values[key].add(self.config.get(key))
        searched = self.search.axes if self.search else {}  # a name stays when more points are chosen
        return [key for key, found in values.items() if len(found) > 1 or key in searched]


def read_study(path: Path) -> Study:
    """Read a study file; whatever is wrong with it is one `InputError` that names the file and the key."""
    return parse_study(read_text(path), str(path))


def parse_study(text: str, source: str) -> Study:
    """Read the text of a study file; `source` names it in errors."""
    tree = parse_toml(text, source)
    check_known(tree, _TABLES, source)
    check_version(tree.get("schema"), STUDY_SCHEMA, source)
    config = read_tree(read_table(tree, "config", source), f"{source} [config]")
    for key in config:
        check_key(key, f"{source} [config]")
    if not isinstance(tree.get("sweep", []), list):
        raise InputError(f"{source}: sweep: needs [[sweep]] with double brackets")
    trees = read_tables(tree, "sweep", source)
    blocks = tuple(read_block(block, number, config, source) for number, block in enumerate(trees, 1))
    names = [block.name for block in blocks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{source}: sweep.name: {twice!r} names two blocks; each needs its own")
    halving, search = read_halving(tree, source), read_search(tree, source)
    if search is not None:
        if halving is not None:
            raise InputError(
                f"{source}: [halving]: a search learns from whole trainings; keep one of the two"
            )
        if BLOCK in names:
            raise InputError(
                f"{source}: sweep.name: {BLOCK!r} is that of the points of [search]; take another"
            )
    known = {*config, *(key for block in blocks for key in block.values()), *(search.axes if search else ())}
    if halving is not None and (
        key := next((key for key in sorted(known) if key.startswith("compress.")), None)
    ):
        raise InputError(
            f"{source}: [halving]: {key} needs the network's whole training; keep one of the two"
        )
    return Study(
        name=read_name(tree, source),
        seeds=read_count(tree, "seeds", source, low=1, high=MOST_SEEDS, default=1),
        config=config,
        sweeps=blocks if blocks or search else (Block(name="config", space=ONE_POINT),),
        constraints=read_constraints(tree, source, known),
        halving=halving,
        search=search,
        text=text,
        source=source,
    )
