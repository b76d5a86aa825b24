"""The files of trials as bytes, for machines that share no file system: a tar of what has changed.

The reader sees each file whole, in an order in which what depends on others comes last: a checkpoint's
manifest after its arrays, the result after the predictions, the status after all.
"""

import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sqzx.errors import SqzxError
from sqzx.files import remove_whole, write_whole

LAST = ("MANIFEST.json", "result.json", "status.json")
LISTING = ".listing"
"""A member that lists all files, changed or not: what is not in it is gone."""

Stamps = dict[str, tuple[int, int]]
"""Size and time of change (ns) of each file, by its path."""


def pack(root: Path, trials: Sequence[str], known: Stamps) -> tuple[bytes, Stamps]:
    """Return the files of some trial folders in `root` that are not as `known`, and the stamps of all.

    Halves of files and claims, whose names begin with a dot, stay. A checkpoint that is removed while it is
    read is left out as a whole.
    """
    found: dict[str, tuple[tuple[int, int], bytes | None]] = {}
    gone: set[Path] = set()
    for path in _files(root, trials):
        try:
            stat = path.stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
            name = path.relative_to(root).as_posix()
            found[name] = (stamp, None if known.get(name) == stamp else path.read_bytes())
        except FileNotFoundError:
            gone.update(parent for parent in path.parents if parent.parent.name == "checkpoint")
    kept = {name: file for name, file in found.items() if not gone.intersection((root / name).parents)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, LISTING, "\n".join(kept).encode())
        for name, (_, data) in sorted(kept.items(), key=lambda file: _place(file[0])):
            if data is not None:
                _add(tar, name, data)
    return buffer.getvalue(), {name: stamp for name, (stamp, _) in kept.items()}


def unpack(packed: bytes, root: Path, halves: Mapping[str, Path] | None = None) -> None:
    """Write packed files below `root`, each whole; remove checkpoints that are gone where they come from.

    `halves` is for each trial whose folder is claimed the claim's own folder (`files.in_place_of`). Raises
    `SqzxError` where a name leads out of `root`.
    """
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        members = tar.getmembers()
        listing = tar.extractfile(members[0])
        listed = set((listing.read() if listing else b"").decode().split("\n"))
        for member in members[1:]:
            name = PurePosixPath(member.name)
            file = tar.extractfile(member)
            if name.is_absolute() or ".." in name.parts or file is None:
                raise SqzxError(f"{member.name}: is no name of a file in a trial's folder")
            data = file.read()
            own = (halves or {}).get(name.parts[0])
            write_whole(root / name, lambda out, data=data: out.write(data), halves=own)
    for trial in {PurePosixPath(name).parts[0] for name in listed if name}:
        for checkpoint in (root / trial / "checkpoint").glob("[!.]*"):
            inside = f"{trial}/checkpoint/{checkpoint.name}/"
            if not any(name.startswith(inside) for name in listed):
                remove_whole(checkpoint, halves=(halves or {}).get(trial))


def _files(root: Path, trials: Sequence[str]) -> Iterator[Path]:
    for trial in trials:
        for folder, folders, files in os.walk(root / trial):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(folder, name) for name in files if not name.startswith("."))


def _place(name: str) -> tuple[int, str]:
    """Return where a file comes in the order of writing."""
    last = PurePosixPath(name).name
    return (LAST.index(last) + 1 if last in LAST else 0), name


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
