"""Checkpoints: orbax's files with a manifest of our own, since orbax restores a flipped bit silently.

    checkpoint/<step>/state/          the arrays, as orbax writes them
    checkpoint/<step>/progress.json   what goes with them: seconds so far
    checkpoint/<step>/MANIFEST.json   SHA-256 of every other file; written last

A folder without a manifest, or with a file that its manifest does not know, is no checkpoint. The two
newest are kept: should the newest be damaged, the one before it serves.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from sqzx.files import in_place_of, read_json, remove_whole, sweep_halves, write_json

KEPT = 2
MANIFEST = "MANIFEST.json"


def save(
    folder: Path, step: int, state: Any, progress: dict[str, Any], *, halves: Path | None = None
) -> None:
    """Write `state` (a pytree of arrays) and `progress` (JSON) as the checkpoint of `step`.

    It is written in the folder `halves` (default: `folder`) and renamed into place; see `files.in_place_of`.
    """
    sweep_halves(folder)
    final = folder / str(step)
    with in_place_of(final, halves=halves) as half:
        half.mkdir()
        with ocp.PyTreeCheckpointer() as checkpointer:
            checkpointer.save(half.absolute() / "state", by_path(state))
        write_json(half / "progress.json", progress)
        write_json(half / MANIFEST, _digests(half))
        if final.exists():  # damaged, or from a training that began again
            remove_whole(final, halves=halves)
    kept = steps(folder)[:KEPT]
    for other in _numbered(folder):
        if other not in kept:
            remove_whole(folder / str(other), halves=halves)


def steps(folder: Path) -> list[int]:
    """Return the steps that have a checkpoint with a manifest, damaged or not, newest first."""
    return [step for step in _numbered(folder) if (folder / str(step) / MANIFEST).exists()]


def _numbered(folder: Path) -> list[int]:
    """Return the steps that have anything under their names, newest first."""
    if not folder.exists():
        return []
    return sorted((int(p.name) for p in folder.iterdir() if p.name.isdigit()), reverse=True)


class Restored(NamedTuple):
    """A state to go on from. `faults` has a line for each newer checkpoint that was damaged."""

    step: int
    state: Any
    progress: dict[str, Any]
    faults: tuple[str, ...]


def restore(folder: Path, start: Any, *, halves: Path | None = None) -> Restored:
    """Return the newest whole checkpoint, or step 0 with the state `start` where there is none.

    `start` is a pytree with the structure, shapes and types of the stored state. Damaged checkpoints are
    removed, by way of the folder `halves` as in `save`.
    """
    faults: list[str] = []
    for step in _numbered(folder):
        path = folder / str(step)
        if not (fault := damage(path)):
            try:
                state = by_structure(_read(path), start)
            except KeyError as missing:
                fault = f"it has no {missing}, as another version of sqzx left it"
            else:
                return Restored(step, state, read_json(path / "progress.json"), tuple(faults))
        faults.append(f"the checkpoint of step {step} is damaged ({fault}) and was removed")
        # It must not stand for the step, nor take a whole one's place among the newest.
        remove_whole(path, halves=halves)
    return Restored(0, start, {}, tuple(faults))


def forget(folder: Path, step: int, *, halves: Path | None = None) -> None:
    """Remove the checkpoint of a step, by way of the folder `halves` as in `save`."""
    remove_whole(folder / str(step), halves=halves)


def damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint's files, or None where each is as it was written."""
    try:
        manifest = read_json(path / MANIFEST)
    except Exception as error:
        return str(error)
    if not isinstance(manifest, dict):
        return "MANIFEST.json is no table"
    found = _digests(path)
    for name in sorted(manifest.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if manifest.get(name) != found[name]:
            return f"{name} has changed"
    return None


def _digests(path: Path) -> dict[str, str]:
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != MANIFEST)
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def by_path(state: Any) -> dict[str, np.ndarray]:
    """Name each array by its path, so that the files need no class of optax to be read."""
    return {name: np.asarray(leaf) for name, leaf in _paths(state)}


def by_structure(stored: dict[str, np.ndarray], like: Any) -> Any:
    """Return arrays that are named by path in the structure of `like`; ValueError where one does not fit."""
    leaves = []
    for name, leaf in _paths(like):
        array = np.asarray(stored[name])
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise ValueError(f"{name}: stored {array.dtype}{array.shape}, needed {leaf.dtype}{leaf.shape}")
        leaves.append(array)
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _paths(state: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf


def _read(path: Path) -> dict[str, np.ndarray]:
    with ocp.PyTreeCheckpointer() as checkpointer:
        return checkpointer.restore(path.absolute() / "state")
