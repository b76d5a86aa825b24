"""The process of a trial, or of a stack of them: `python -m sweeps.worker CORES PARENT TRIAL_FOLDER...`.

Started by a runner, or by a task of a Ray cluster. Before anything heavy is imported it ties itself to its
cores (JAX sizes its thread pool by the cores that it may use) and to its parent's life, so that no worker
outlives a killed runner.
"""

import time

STARTED = time.monotonic()

import ctypes  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

PR_SET_PDEATHSIG = 1

CLAIMED = 75
"""The exit code where other processes are at work on all its trials (sysexits.h: try again later)."""


def main(arguments: list[str]) -> int:
    """Run the trials; return 0 where all are done or paused, 130 where they were asked to stop, else 1."""
    cores, parent, *paths = arguments
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(map(int, cores.split(","))))
    die_with(int(parent))
    stop_asked = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop_asked.append(True))

    from sqzx.attempt import attempt_stack
    from sqzx.trial import TrialFolder
    from sweeps.identity import trial_id

    trials = []
    for folder in map(TrialFolder, map(Path, paths)):
        config = folder.read_config()
        if trial_id(config) != folder.id:
            print(f"{folder.config_file}: is not the configuration of {folder.id}; delete the folder")
            return 1
        trials.append((config, folder))
    statuses = attempt_stack(
        trials, started=STARTED, should_stop=lambda: bool(stop_asked), say=lambda line: None
    )
    states = {status.status for status in statuses if status is not None}
    if not states:
        return CLAIMED
    return 130 if stop_asked and "interrupted" in states else int(not states <= {"done", "censored"})


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before this line
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
