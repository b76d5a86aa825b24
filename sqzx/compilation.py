"""JAX's persistent compilation cache, and memory that XLA may keep: settings of a process's environment.

They are read when JAX (or the C library) starts, so they must be in the environment before that.
"""

from collections.abc import MutableMapping
from pathlib import Path

CACHE_BYTES = 2 << 30
"""The size at which the oldest entries go. A bounded cache also locks and writes atomically; JAX's
unbounded one does neither."""

_KEEP_MEMORY = {
    # XLA asks for its scratch memory anew at each step. glibc returns large blocks to the system and gets
    # them back page by page, which costs more than the arithmetic; with these it keeps them.
    "glibc.malloc.mmap_threshold": str(1 << 30),
    "glibc.malloc.trim_threshold": str(8 << 30),
    "glibc.malloc.top_pad": str(64 << 20),
    "glibc.malloc.hugetlb": "1",
}


def use_compilation_cache(environment: MutableMapping[str, str], folder: Path) -> None:
    """Let the processes of `environment` share compiled programs through `folder`, if it can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_orphans(folder)
    except OSError:  # a read-only home, say: everything works without, only slower
        return
    environment["JAX_COMPILATION_CACHE_DIR"] = str(folder.absolute())
    environment["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(CACHE_BYTES)
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    # Otherwise the folder's own path would be a part of each key, and a moved study compile again.
    environment["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"


def keep_memory(environment: MutableMapping[str, str]) -> None:
    """Let a process that is started with `environment` keep the memory that it has once got (glibc)."""
    own = environment.get("GLIBC_TUNABLES", "")
    set_already = {part.partition("=")[0] for part in own.split(":")}
    ours = [f"{name}={value}" for name, value in _KEEP_MEMORY.items() if name not in set_already]
    environment["GLIBC_TUNABLES"] = ":".join(filter(None, [own, *ours]))


def _remove_orphans(folder: Path) -> None:
    """Remove entries without a time stamp: their writer was killed, and JAX fails to write beside them."""
    for entry in folder.glob("*-cache"):
        if not entry.with_name(entry.name.removesuffix("-cache") + "-atime").exists():
            entry.unlink(missing_ok=True)
