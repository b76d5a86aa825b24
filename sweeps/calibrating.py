"""Time a few steps of a study's smallest and largest network, each in a process like a worker's."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sqzx.compilation import keep_memory
from sqzx.errors import InputError
from sqzx.files import holds_files
from sqzx.provenance import available_cores
from sqzx.trial import TrialFolder
from sweeps.estimates import Calibration, write_calibrations
from sweeps.plan import Plan, PlannedTrial, study_file


def calibrated(plan: Plan, out: Path | None) -> tuple[Calibration, ...]:
    """Time what is still to run, and keep the result in the folder `out` where there is one.

    Data that is not there, or a network that can't be trained, is an `InputError`.
    """
    if out is not None and holds_files(out):
        study_file(out)  # nothing is written into a folder that is no study's
    waiting = sorted(plan.waiting(), key=lambda trial: trial.sizes.macs)
    ends = {trial.sizes.macs: trial for trial in (waiting[:1] + waiting[-1:])}
    calibrations = tuple(_timed(trial) for trial in ends.values())
    if out is not None and calibrations:
        write_calibrations(out, calibrations)
    return calibrations


def _timed(trial: PlannedTrial) -> Calibration:
    environment = dict(os.environ)
    keep_memory(environment)
    with tempfile.TemporaryDirectory(prefix="sqzx-calibration-") as temporary:
        folder = TrialFolder(Path(temporary))
        folder.write_config(trial.config)
        done = subprocess.run(
            [sys.executable, "-m", "sqzx.calibration", str(folder.config_file), str(available_cores()[0])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
        )
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["no word"]
    if done.returncode:
        raise InputError(f"--calibrate: {trial.name}: {lines[-1].removeprefix('sqzx: ')}")
    return Calibration(macs=trial.sizes.macs, **json.loads(lines[-1]))
