"""The tidy table as a file that comes back as it was: CSV for people, Parquet for programs.

CSV has a line of names and then a line a trial, UTF-8. An empty field is a value that is unset, so the text
"NA" is that text; numbers have as many digits as it takes to be the same number again. Types are not in the
file: `read_table` gives each column the type that `analysis.columns` says.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.columns import COLUMNS
from analysis.table import RESULTS, TEXTS
from sqzx.errors import InputError
from sqzx.files import write_whole

NEVER_UNSET = ("id", "config_id", "name", "sweeps", "status")
"""Texts that may be empty, but are always there: a trial of another study is in no sweep."""


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV or Parquet, as the suffix says; another suffix is an `InputError`."""
    if _suffix(path) == ".csv":
        content = frame.to_csv(index=False, lineterminator="\n").encode()
    else:
        content = frame.to_parquet(index=False)
    write_whole(path, lambda file: file.write(content))


def read_table(path: Path | str) -> pd.DataFrame:
    """Return the table that `write_table` wrote, types and all; what is no table is an `InputError`.

    Columns of results that an older file lacks are there, unset. Columns that this version does not know
    stay as they are (text, from CSV).
    """
    path = Path(path)
    read = _read_csv if _suffix(path) == ".csv" else pd.read_parquet
    try:
        frame = read(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # pyarrow's and pandas' errors are these
        raise InputError(f"{path}: not readable as a table ({' '.join(str(error).split())})") from None
    if missing := [name for name in (*TEXTS, "seed") if name not in frame]:
        raise InputError(f"{path}: is no table of trials: column {missing[0]} is missing")
    known = [name for name in (*frame.columns, *RESULTS) if name in COLUMNS]
    typed = {name: _typed(frame, name, path) for name in dict.fromkeys(known)}
    own = {str(name): frame[name] for name in frame.columns}
    return pd.DataFrame(own | typed)


def _suffix(path: Path) -> str:
    if path.suffix not in (".csv", ".parquet"):
        found = path.suffix or "no suffix"
        raise InputError(f"{path}: a table is written as .csv or .parquet, found {found!r}")
    return path.suffix


def _read_csv(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    for name in frame.columns.difference(pd.Index(NEVER_UNSET)):
        frame[name] = frame[name].replace("", None)
    return frame


def _typed(frame: pd.DataFrame, name: str, path: Path) -> pd.Series:
    """Return a column with its type; texts, from CSV, are read as numbers of that type."""
    kind: Any = COLUMNS[name].type  # what pandas calls it
    if name not in frame:
        return pd.Series([None] * len(frame), dtype=kind)
    column = frame[name]
    if kind == "str" or not pd.api.types.is_string_dtype(column):  # Parquet knows its types
        return column.astype(kind)
    values = []
    for place, value in enumerate(column):
        try:
            values.append(None if pd.isna(value) else _READ[kind](value))
        except (ValueError, KeyError):
            raise InputError(f"{path}: row {place + 1}: {name}: {value!r} is no {kind}") from None
    return pd.Series(values, index=column.index, dtype=kind)


_READ = {"float64": float, "Int64": int, "int64": int, "boolean": {"True": True, "False": False}.__getitem__}
