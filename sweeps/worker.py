"""The process of one trial: `python -m sweeps.worker TRIAL_FOLDER CORE PARENT`.

Started by a runner. Before anything heavy is imported it ties itself to its core (JAX sizes its thread
pool by the cores that it may use) and to its parent's life, so that no worker outlives a killed runner.
"""

import time

STARTED = time.monotonic()

import ctypes  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

PR_SET_PDEATHSIG = 1

EXIT_CODES = {"done": 0, "interrupted": 130}
"""Every other status exits with 1."""

CLAIMED = 75
"""The exit code where another process is at work on the trial (sysexits.h: try again later)."""


def main(arguments: list[str]) -> int:
    """Run the trial and return the exit code."""
    path, core, parent = arguments
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    die_with(int(parent))
    stop_asked = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop_asked.append(True))

    from sqzx.attempt import ClaimedElsewhere, attempt
    from sqzx.trial import TrialFolder
    from sweeps.identity import trial_id

    folder = TrialFolder(Path(path))
    config = folder.read_config()
    if trial_id(config) != folder.id:
        print(f"{folder.config_file}: is not the configuration of {folder.id}; delete the folder")
        return 1
    try:
        status = attempt(config, folder, started=STARTED, should_stop=lambda: bool(stop_asked))
    except ClaimedElsewhere as error:
        print(error, file=sys.stderr)
        return CLAIMED
    return EXIT_CODES.get(status.status, 1)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before this line
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
