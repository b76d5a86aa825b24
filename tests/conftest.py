"""Switches of all tests: no test reads or fills the user's caches, and JAX broadcasts no ranks by itself.

They are environment variables, set before anything imports JAX, and subprocesses inherit them.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

SESSION = "SQZX_TEST_SESSION"

if SESSION not in os.environ:  # a worker of pytest-xdist shares the folder of the process that started it
    folder = Path(tempfile.mkdtemp(prefix="sqzx-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ |= {
        SESSION: str(folder),
        "SQZX_DATA": str(folder / "data"),
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        # A program that one test has compiled is there for the next; bounded, since only then JAX locks.
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(1 << 30),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
