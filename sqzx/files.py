"""Files that are written whole or not at all, and JSON as this project spells it."""

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from sqzx.errors import InputError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to the disk and rename it into place.

    A reader sees the old file or the new one, whatever happens in between. A failure (a full disk,
    say) removes the half file and leaves the old one as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of our own for each writer: two writers never share a half file.
    half = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.half")
    try:
        with half.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def holds_files(folder: Path) -> bool:
    """Whether a folder exists and has anything of a user's in it.

    Names with a leading dot do not count: claims, halves of files that a crash left, `.DS_Store`.
    """
    return folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir())


def cache_home() -> Path:
    """Return this project's folder in the user's cache folder (XDG: a relative setting is to be ignored)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "sqzx"


def read_json(path: Path) -> Any:
    """Read a JSON file; anything else is an `InputError` that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
