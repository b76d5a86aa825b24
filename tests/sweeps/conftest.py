"""A tiny study, run by real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

STUDY = """
schema = 1
name = "tiny"
seeds = {seeds}

[config]
model.preset = "squeezenet_small"
model.base_e = 4
model.incr_e = 4
model.num_fires = 2
model.stem_features = 4
model.pool_after = [1]
data.name = "digits"
data.train_examples = 100
train.epochs = {epochs}
train.batch_size = 50
{config}

[[sweep]]
name = "squeeze ratio"
grid.model.squeeze_ratio = {ratios}
{more}
"""


class TinyStudy:
    """A study file and its folder; commands run as a user would run them."""

    def __init__(self, folder: Path, compiled: Path | None):
        folder.mkdir(exist_ok=True)
        self.file, self.out = folder / "tiny.toml", folder / "out"
        self.write()
        if compiled is not None:
            shutil.copytree(compiled, self.out / "cache")
            shutil.copy(self.file, self.out / "study.toml")

    def write(self, ratios=(0.25, 0.5), *, seeds=1, epochs=2, config="", more="") -> "TinyStudy":
        text = STUDY.format(ratios=list(ratios), seeds=seeds, epochs=epochs, config=config, more=more)
        self.file.write_text(text)
        return self

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sqzx", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def start_run(self, *options: str) -> subprocess.Popen[str]:
        return self.start("sweep", "run", str(self.file), "--out", str(self.out), *options)

    def run(self, *options: str) -> tuple[int, str]:
        return self.finished(self.start_run(*options))

    def command(self, *arguments: str) -> tuple[int, str]:
        return self.finished(self.start(*arguments))

    def status(self) -> dict[str, Any]:
        code, text = self.command("sweep", "status", str(self.out), "--json")
        assert code == 0, text
        return json.loads(text)

    def trials(self) -> dict[str, Path]:
        return {path.name: path for path in (self.out / "trials").iterdir()}

    @staticmethod
    def read_status(folder: Path) -> dict[str, Any]:
        return json.loads((folder / "status.json").read_text())

    def attempts(self) -> dict[str, int]:
        return {
            name: json.loads((p / "status.json").read_text())["attempts"] for name, p in self.trials().items()
        }

    def wait_for_training(
        self, process: subprocess.Popen[str], trials: int = 1, *, but: int | None = None
    ) -> list[int]:
        """Wait until so many trials train, and return the numbers of their processes, another than `but`."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[0]
            found = []
            for path in self.out.glob("trials/*/metrics.jsonl"):
                if path.stat().st_size:
                    status = json.loads((path.parent / "status.json").read_text())
                    if status["status"] == "running" and status["pid"] != but:
                        found.append(status["pid"])
            if len(found) >= trials:
                return found
            time.sleep(0.05)
        raise AssertionError("no trial began to train in 60 s")

    def processes(self) -> list[str]:
        """Return the living processes of this study (Linux)."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if str(self.out).encode() in command and state != "Z":
                    found.append(command.replace(b"\0", b" ").decode())
        return found

    def wait_for_no_process(self, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while self.processes():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.05)

    @staticmethod
    def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
        try:
            text = process.communicate(timeout=120)[0]
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, text

    @staticmethod
    def stable(folder: Path) -> dict[str, Any]:
        """Return what a cut and an uncut run of a trial must agree on."""
        result = json.loads((folder / "result.json").read_text())
        unstable = ("seconds", "second", "time", "memory", "fault")
        return {
            "result": {k: v for k, v in result.items() if not any(word in k for word in unstable)},
            "metrics": (folder / "metrics.jsonl").read_text(),
            "predictions": (folder / "predictions.npz").read_bytes(),
        }


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Path:
    """Compiled programs of the tiny networks, so that each test need not compile them."""
    study = TinyStudy(tmp_path_factory.mktemp("compiled"), None).write((0.25, 0.5, 0.75))
    code, text = study.run()
    assert code == 0, text
    return study.out / "cache"


@pytest.fixture(scope="session")
def uncut(tmp_path_factory, compiled) -> dict[str, Any]:
    """The stable files of one trial of 150 epochs that was never stopped."""
    study = TinyStudy(tmp_path_factory.mktemp("uncut"), compiled).write((0.25,), epochs=150)
    code, text = study.run()
    assert code == 0, text
    (folder,) = study.trials().values()
    return study.stable(folder)


@pytest.fixture
def tiny(tmp_path, compiled) -> TinyStudy:
    return TinyStudy(tmp_path, compiled)
