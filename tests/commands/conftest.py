"""Commands as a user types them, and one small finished study for those that read a study."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "tuple[int, str, str]"]

TINY = {
    "model.base_e": 4,
    "model.incr_e": 4,
    "model.num_fires": 2,
    "model.stem_features": 4,
    "model.pool_after": [1],
    "data.train_examples": 100,
    "train.batch_size": 50,
    "train.epochs": 2,
}
TINY_SET = [f"--set={key}={value}" for key, value in TINY.items()]


def run(*arguments: str | Path, check: bool = True) -> tuple[int, str, str]:
    """Run `sqzx` with the arguments; return exit code, standard output and standard error."""
    command = [sys.executable, "-m", "sqzx", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="session")
def sqzx() -> Command:
    return run


@pytest.fixture(scope="session")
def tiny_set() -> list[str]:
    return TINY_SET


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """A study of two configurations with two seeds each, one skipped point, really run."""
    folder = tmp_path_factory.mktemp("study")
    config = "\n".join(f"{key} = {value}" for key, value in TINY.items())
    (folder / "study.toml").write_text(
        f'schema = 1\nname = "tiny"\nseeds = 2\n[config]\nmodel.preset = "squeezenet_small"\n{config}\n'
        '[[sweep]]\nname = "squeeze ratio"\ngrid.model.squeeze_ratio = [0.0625, 0.25, 0.5]\n'
    )
    run("sweep", "run", folder / "study.toml", "--out", folder / "out")
    return folder / "out"
