"""A trial whose process is killed before any one of its changes to the folder goes on to the bits of an uncut one.

`KILLED` counts what the interpreter is about to do to files of the trial (open for writing, rename, make a folder,
remove) and sends itself SIGKILL before the n-th, in a fork for each n: JAX is imported once and started in each.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sqzx.attempt import attempt
from sqzx.trial import TrialFolder

KILLED = """
import json, os, signal, sys, time
from pathlib import Path
import sqzx.training
from sqzx.attempt import attempt
from sqzx.config import from_settings
from sqzx.trial import TrialFolder

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}
settings, root, first, by = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def kill_before(change, path):
    count = 0
    def watch(event, arguments):
        nonlocal count
        if event == "open":
            writes = isinstance(arguments[1], str) and set(arguments[1]) & set("wax+") or (
                isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        else:
            writes = event in CHANGES
        if writes and path in os.fsdecode(arguments[0] if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""):
            count += 1
            if count == change:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

for change in range(first, 1000, by):
    path = os.path.join(root, f"killed{change}")
    child = os.fork()
    if child == 0:
        kill_before(change, path)
        sqzx.training.CHECKPOINT_SECONDS = 0.0
        sqzx.training.train_stack.__kwdefaults__["checkpoint_seconds"] = 0.0
        status = attempt(from_settings(settings), TrialFolder(Path(path)), started=time.monotonic(), say=lambda _: None)
        os._exit(0 if status.status == "done" else 3)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(change, ended, flush=True)
    if ended != -signal.SIGKILL:
        sys.exit(ended)
"""
