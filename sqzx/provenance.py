"""Where a result comes from: versions, machine, code and command line."""

import functools
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("sqzx", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets")

DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "XLA_PYTHON_CLIENT_MEM_FRACTION")
"""What decides the device that a program runs on, and its share of that device's memory."""

COMMAND_VARIABLE = "SQZX_COMMAND"
"""Where a runner leaves its own command line for its workers, whose own says nothing."""


def command_text(arguments: list[str]) -> str:
    """Return a command line as a shell would take it."""
    return shlex.join([Path(arguments[0]).name, *arguments[1:]])


def provenance() -> dict[str, Any]:
    """Return what is known of this process without starting JAX, as JSON."""
    return {
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": available_cores(),
        "devices": {name: os.environ[name] for name in DEVICE_VARIABLES if name in os.environ},
        "git": _git_state(),
        "command": os.environ.get(COMMAND_VARIABLE) or command_text(sys.argv),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def device() -> dict[str, Any]:
    """Return what JAX computes on in this process; this starts JAX."""
    import jax

    found = jax.devices()
    return {"platform": found[0].platform, "kind": found[0].device_kind, "count": len(found)}


def available_cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (x.partition(":")[2].strip() for x in lines if x.startswith("model name")), platform.machine()
    )


@functools.cache
def _git_state() -> dict[str, Any] | None:
    """Return the commit of the checkout that this code runs from, or None outside of one."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        # An installed copy inside someone else's repository is not their commit.
        if Path(git("rev-parse", "--show-toplevel")).resolve() != here.parent:
            return None
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None
