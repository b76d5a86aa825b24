"""The tidy table: one row a trial, every configuration key a column.

    id, config_id       text; `config_id` is the same for all seeds of one configuration
    name                the configuration in words, as the plan has it
    sweeps              the blocks of the study that it is a member of, joined by ";"
    status, reason      what became of the trial
    model.*, data.*, train.*, seed      the configuration; a tuple is text ("1,4,8"; "[]" if it is empty)
    compress.*      how the network was compressed, unset for dense ones; no such columns without compressed
    params, macs, flops, bytes_fp32, peak_activations       counted from the configuration
    bytes_compressed, compression_ratio, params_kept        of a compressed trial's file
    val_top1 ... test_loss      shares of right answers, 0 to 1, and mean cross-entropy in nats
    learned             False where all logits stayed zero
    steps, epochs, *_examples       counts; images_per_second, *_seconds, peak_memory_mb as named

`analysis.columns` has every column with its type and unit. The table is derived from the trial folders and
may be made again at any time. It holds the numbers of every trial that has some; `scored` says
which of them may enter a mean, `left_out` why the others may not.
"""

import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.wording import listed
from sqzx.config import KEYS
from sqzx.errors import InputError
from sqzx.schema import Key, nearest
from sqzx.terminal import shown
from sqzx.trial import TrialFolder
from sweeps.plan import Plan, PlannedTrial, plan_folder, trial_folder

ACCURACIES = {
    "test_top1": "test top-1 accuracy",
    "test_top5": "test top-5 accuracy",
    "val_top1": "validation top-1 accuracy",
    "val_top5": "validation top-5 accuracy",
}
"""The metrics that figures and summaries take, with their names."""

TEXTS = ("id", "config_id", "name", "sweeps", "status", "reason")

COUNTS = ("params", "macs", "flops", "bytes_fp32", "peak_activations")

RESULTS = {
    **dict.fromkeys(ACCURACIES, "float64"),
    "val_loss": "float64",
    "test_loss": "float64",
    "learned": "boolean",
    "bytes_compressed": "Int64",
    "compression_ratio": "float64",
    "params_kept": "Int64",
    "steps": "Int64",
    "epochs": "Int64",
    "train_examples": "Int64",
    "validation_examples": "Int64",
    "test_examples": "Int64",
    "data_fingerprint": "str",
    "train_seconds": "float64",
    "data_wait_seconds": "float64",
    "images_per_second": "float64",
    "compile_seconds": "float64",
    "start_seconds": "float64",
    "peak_memory_mb": "float64",
}
"""The columns that come from `result.json`, with their types."""


def load(out: Path | str) -> pd.DataFrame:
    """Return the table of the study in the folder `out`; an `InputError` if there is none."""
    return study_table(plan_folder(Path(out)), Path(out))


def study_table(plan: Plan, out: Path) -> pd.DataFrame:
    """Return the table of a study whose plan has been read already."""
    return tidy((trial, trial_folder(out, trial.id)) for trial in plan.trials)


def tidy(trials: Iterable[tuple[PlannedTrial, TrialFolder]]) -> pd.DataFrame:
    """Return the table of any trials, each with its folder."""
    rows = [_row(trial, folder) for trial, folder in trials]
    keys = {name: key_type(key) for name, key in KEYS.items() if any(name in row for row in rows)}
    types = dict.fromkeys(TEXTS, "str") | keys | dict.fromkeys(COUNTS, "int64") | RESULTS
    columns = {name: pd.Series([row.get(name) for row in rows], dtype=t) for name, t in types.items()}
    return pd.DataFrame(columns)


def configuration_keys(frame: pd.DataFrame) -> list[str]:
    """Return the columns that are configuration keys."""
    return [column for column in frame.columns if column in KEYS]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as plain dictionaries by column name."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def check_metric(metric: str) -> None:
    """Refuse a metric that figures and summaries do not know, naming the nearest."""
    if metric not in ACCURACIES:
        raise InputError(f"metric {metric}: there is none of this name{nearest(metric, ACCURACIES)}")


def scored(frame: pd.DataFrame, metric: str = "test_top1") -> pd.DataFrame:
    """Return the trials that may enter a mean: done, with logits that are not all zero, `metric` finite."""
    return frame[_why_left_out(frame, metric) == ""]


def left_out(frame: pd.DataFrame, metric: str = "test_top1") -> pd.DataFrame:
    """Return the other trials, with the reason in the new last column `why`."""
    why = _why_left_out(frame, metric)
    return frame[why != ""].assign(why=why[why != ""])


def has_compressed(frame: pd.DataFrame) -> bool:
    """Whether a network of the table was compressed into a file."""
    return "compress.recipe" in frame and bool(frame["bytes_compressed"].notna().any())


def stored(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `bytes_fp32` as networks are stored: of compressed ones the bytes of their file.

    Else a front would put a network and all that was made of it at one size. A file's size differs a little
    by seed: a configuration has the mean of its trials.
    """
    if not has_compressed(frame):
        return frame
    files = frame.groupby("config_id")["bytes_compressed"].transform("mean").astype("Float64").round()
    return frame.assign(bytes_fp32=files.fillna(frame["bytes_fp32"].astype("Float64")).astype("int64"))


def left_out_text(frame: pd.DataFrame, metric: str = "test_top1") -> str:
    """Return why trials of the study do not count, with their number, for below a figure's title; or ""."""
    why = left_out(frame[frame["status"] != "removed"], metric)["why"].value_counts(sort=False)
    return f"Trials left out: {listed({str(k): int(v) for k, v in why.items()})}." if len(why) else ""


def _row(trial: PlannedTrial, folder: TrialFolder) -> dict[str, Any]:
    status, reason = trial.status.status, trial.status.reason
    try:
        result = _checked(folder)
    except InputError as error:  # one damaged file is that trial's failure, and the others are shown
        status, reason, result = "failed", str(error), {}
    settings = trial.config.settings().items()
    return {
        "id": trial.id,
        "config_id": trial.config_id,
        "name": trial.name,
        "sweeps": ";".join(trial.sweeps),
        "status": status,
        "reason": reason,
        **{k: shown(v) if isinstance(v, tuple) else v for k, v in settings},
        **{count: getattr(trial.sizes, count) for count in COUNTS},
        **{name: result.get(name) for name in RESULTS},
    }


def _checked(folder: TrialFolder) -> dict[str, Any]:
    """Read a trial's result; a value of a type that its column cannot hold is an `InputError`."""
    result = folder.read_result() or {}
    allowed = {"float64": int | float, "Int64": int, "boolean": bool, "str": str}
    for name, kind in RESULTS.items():
        value = result.get(name)
        if value is not None and not isinstance(value, allowed[kind]):
            raise InputError(f"{folder.result_file}: {name}: {value!r} is no {kind}")
    return result


def key_type(key: Key) -> str:
    """Return a configuration key's column type: whole numbers may be unset, and an unset float is NaN."""
    kinds = {kind for kind in typing.get_args(key.annotation) or (key.annotation,) if kind is not type(None)}
    if len(kinds) > 1 or typing.get_origin(key.annotation) in (tuple, typing.Literal):
        return "str"
    return {int: "Int64", float: "float64", bool: "boolean"}.get(kinds.pop(), "str")


def _why_left_out(frame: pd.DataFrame, metric: str) -> pd.Series:
    """Why a trial may not enter a mean of `metric`; empty where it may."""
    done = frame["status"] == "done"
    learned = frame["learned"].fillna(False).astype(bool)
    why = frame["status"].astype(object).str.replace("_", " ")
    why[done] = np.where(np.isfinite(frame.loc[done, metric]), "", f"no {metric}")
    why[done & ~learned & frame["learned"].notna()] = "did not learn"
    return why.astype("str")
