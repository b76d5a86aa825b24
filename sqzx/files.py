"""Files that are written whole or not at all, and JSON as this project spells it."""

import json
import lzma
import os
import re
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from sqzx.errors import InputError
from sqzx.processes import Process, this_process

HALF = re.compile(r"\.[0-9a-f]{8}\.(?P<place>[0-9a-f]{12})\.(?P<pid>[0-9]+)\.(?P<start>\w*)\.half")
"""The end of a half file's name: a random number of its own, and the process that writes it."""

DAMAGED_ARCHIVE = (
    OSError,
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
)
"""What zipfile and NumPy raise on damage: a wrong checksum, an unknown compression, a password."""


def write_whole(path: Path, write: Callable[[BinaryIO], object], *, halves: Path | None = None) -> None:
    """Let `write` fill a half file, flush it to the disk and rename it into place; see `in_place_of`."""
    with in_place_of(path, halves=halves) as half, half.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def in_place_of(path: Path, *, halves: Path | None = None) -> Generator[Path]:
    """Yield the path of a half file or folder, which is renamed to `path` at the end.

    A reader sees the old one or the new one, whatever happens in between. A failure (a full disk, say)
    removes the half and leaves the old one as it was. The half is in the folder `halves`, which must be there
    and on the same file system; by default it is beside `path`. The folder of `path` is made, but not before
    something was written into `halves`: where these are gone nothing is.
    """
    if halves is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    half = new_half(path.name, halves or path.parent)
    try:
        yield half
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(half, path)
    except BaseException:
        _remove(half)
        raise


def new_half(name: str, folder: Path) -> Path:
    """Return a path in `folder` for what will be `name` once it is whole.

    It is no other writer's, so two writers never share a half file, and it tells its own (`sweep_halves`).
    """
    me = this_process()
    return folder / f".{name[:40]}.{secrets.token_hex(4)}.{me.place}.{me.pid}.{me.start}.half"


def sweep_halves(folder: Path) -> None:
    """Remove half files and folders whose writers were killed, as far as these can be seen from here.

    Names of earlier versions of this project tell no writer: they go, too.
    """
    for half in folder.glob(".*.half"):
        writer = HALF.search(half.name)
        if not writer or Process(writer["place"], int(writer["pid"]), writer["start"]).lives() is False:
            _remove(half)


def remove_whole(path: Path, *, halves: Path | None = None) -> None:
    """Remove a file or folder: first rename it to a half, so what is there under its name is always whole.

    `halves` as in `in_place_of`.
    """
    half = new_half(path.name, halves or path.parent)
    os.rename(path, half)
    _remove(half)


def _remove(half: Path) -> None:
    """Remove a half as far as that is possible: a sweeper may be faster, a next one does the rest."""
    with suppress(OSError):
        shutil.rmtree(half) if half.is_dir() else half.unlink()


def write_text(path: Path, text: str, *, halves: Path | None = None) -> None:
    """Write `text` as UTF-8, whole or not at all; `halves` as in `in_place_of`."""
    write_whole(path, lambda file: file.write(text.encode()), halves=halves)


def write_json(path: Path, value: Any, *, halves: Path | None = None) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and infinity are refused (ValueError)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, halves=halves)


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
