"""What each column of the tidy table holds: its type, its unit and its meaning."""

import typing
from typing import Any, NamedTuple, get_args

from analysis.table import ACCURACIES, COUNTS, RESULTS, TEXTS, key_type
from sqzx.config import KEYS
from sqzx.schema import Key


class Column(NamedTuple):
    """A column's pandas type, its unit ("" where it has none) and its meaning."""

    type: str
    unit: str
    meaning: str


_WORDS = {
    "id": "the trial: a hash of its configuration; its folder's name",
    "config_id": "the configuration: the same for all its seeds",
    "name": "the configuration in words, as the plan has it",
    "sweeps": 'the blocks of the study that it is a member of, joined by ";"',
    "status": "what became of the trial",
    "reason": "why, in one line; unset where there is nothing to say",
    "seed": "the number of the replicate, which seeds its initial values and its order of images",
}

_COUNTED = {
    "params": ("parameters", "weights and biases"),
    "macs": ("multiply-accumulates", "of one image, inference"),
    "flops": ("operations", "2 x macs"),
    "bytes_fp32": ("bytes", "4 x params"),
    "peak_activations": ("numbers", "the largest sum of inputs and outputs of one layer, batch 1"),
}

_RESULTS = {
    "val_loss": ("nats", "mean cross-entropy on the validation images"),
    "test_loss": ("nats", "mean cross-entropy on the test images"),
    "learned": ("", "False where all logits stayed zero: such a trial enters no mean"),
    "bytes_compressed": ("bytes", "the file of a compressed network, whole"),
    "compression_ratio": ("", "bytes_fp32 / bytes_compressed"),
    "params_kept": ("parameters", "of a compressed network: weights that are not 0, and biases"),
    "steps": ("steps", "updates of the parameters"),
    "epochs": ("epochs", "passes over the training images"),
    "train_examples": ("images", "trained on"),
    "validation_examples": ("images", "that select"),
    "test_examples": ("images", "scored once, at the end"),
    "data_fingerprint": ("", "SHA-256 of the decoded data set"),
    "train_seconds": ("seconds", "of training and validation; of a stack's, the trial's share"),
    "data_wait_seconds": ("seconds", "of train_seconds, in which a step waited for its batch"),
    "images_per_second": ("images / second", "training speed after compilation, by the trial's own seconds"),
    "compile_seconds": ("seconds", "in compilation; of a stack's, the trial's share"),
    "start_seconds": ("seconds", "from the process's start to the first compilation; of a stack's, a share"),
    "peak_memory_mb": ("MB", "largest resident memory of the process"),
}


def _columns() -> dict[str, Column]:
    found = {name: Column("str", "", _WORDS[name]) for name in TEXTS}
    found |= {
        name: Column(key_type(key), "", _WORDS.get(name) or _allowed(key)) for name, key in KEYS.items()
    }
    found |= {name: Column("int64", *_COUNTED[name]) for name in COUNTS}
    for name, kind in RESULTS.items():
        words = ("share, 0 to 1", ACCURACIES[name]) if name in ACCURACIES else _RESULTS.get(name, ("", ""))
        found[name] = Column(kind, *words)
    return found


def _allowed(key: Key) -> str:
    """Say what a configuration key may be."""
    kinds = get_args(key.annotation) or (key.annotation,)
    literal = typing.get_origin(key.annotation) is typing.Literal
    parts = [f"one of {', '.join(map(str, kinds))}"] if literal else []
    low, high, above = (key.limits.get(name) for name in ("low", "high", "above"))
    parts += [f"{low:g} to {high:g}"] if low is not None and high is not None else []
    parts += [f"at least {low:g}"] if low is not None and high is None else []
    parts += [f"above {above:g}"] if above is not None else []
    parts += [f"at most {high:g}"] if above is not None and high is not None else []
    parts += ["may be unset"] if type(None) in kinds else []
    parts += ["numbers joined by commas"] if typing.get_origin(key.annotation) is tuple else []
    return "; ".join(["configuration", *parts])


COLUMNS: dict[str, Column] = _columns()
"""Every column that a table may have, in its order; a table has the keys of its own networks alone."""


def columns_table(names: list[str]) -> Any:
    """Return the columns of a table as a rich table."""
    from rich.text import Text

    from sqzx.terminal import new_table

    shown = ("column", "type", "unit", "meaning")
    table = new_table(*shown, left=shown)
    for name in names:
        table.add_row(*(Text(text) for text in (name, *COLUMNS[name])))
    return table
