"""Switches of all tests: no test reads or fills the user's caches, and JAX broadcasts no ranks by itself."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Set what JAX and subprocesses read when they start. Workers of pytest-xdist inherit it."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(tempfile.mkdtemp(prefix="sqzx-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ |= {
        "SQZX_DATA": str(folder / "data"),
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        # A program that one test has compiled is there for the next.
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
