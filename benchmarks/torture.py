"""Kill the processes of a sweep at random moments, and count what is lost, repeated or different afterwards.

    nice python -m benchmarks.torture [--kills 100] [--runners 2] [--seed 0] [--json]

A small study of digits runs once undisturbed. Then several runners share a folder, and until so many SIGKILLs
have been sent, random processes are killed: a worker, a runner (its workers die with it), or all at once. Now
and then a runner is asked to stop (SIGTERM), or a process is stopped (SIGSTOP) for longer than others are
patient and woken up again (SIGCONT). Runners that end are started anew. When all is done, the next round
begins in an empty folder.

lost: trials that are not done after all. repeated: steps that `metrics.jsonl` has twice or out of order, and
trials that were trained again after they were done. differing: trials whose parameters, metrics, predictions
or results are not those of the undisturbed run, to the bit. left: half files, and processes that still live.
The exit code is 1 where any of them is not 0.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

STUDY = """\
schema = 1
name = "torture"
seeds = 2

[config]
model.preset = "squeezenet_small"
model.base_e = 4
model.incr_e = 4
model.num_fires = 2
model.stem_features = 4
model.pool_after = [1]
data.name = "digits"
data.train_examples = 100
train.epochs = 400
train.batch_size = 50

[[sweep]]
name = "squeeze ratio"
grid.model.squeeze_ratio = [0.25, 0.5]
"""
PATIENCE = 1.5
"""Seconds that a beat may stand still; the usual 90 would make each SIGSTOP as long."""
MOST_SECONDS = 4.0
"""Between two deeds: less than a trial takes from its start to its end on one core."""
KILLS_A_ROUND = 12
"""After so many a round may end in peace."""
UNSTABLE = ("seconds", "second", "time", "memory", "fault")
DEEDS = {"kill worker": 8, "kill runner": 5, "kill all": 2, "ask": 2, "stop worker": 2, "stop runner": 1}
"""What is done to the processes, and how often."""


class Study:
    """A study's folder, and its runners."""

    def __init__(self, folder: Path, cache: Path | None = None):
        self.file, self.out = folder / "study.toml", folder / "out"
        folder.mkdir(parents=True)
        self.file.write_text(STUDY)
        if cache is not None:  # every round would compile anew
            self.out.mkdir()
            (self.out / "study.toml").write_text(STUDY)
            (self.out / "cache").symlink_to(cache)
        self.runners: list[subprocess.Popen[bytes]] = []
        self.done: dict[str, bytes] = {}

    def start(self, *, again: bool) -> None:
        """Start a runner, which also runs what has failed where a runner did before (`again`)."""
        to = ["retry", str(self.out)] if again else ["run", str(self.file), "--out", str(self.out)]
        command = [sys.executable, "-m", "sqzx", "sweep", *to, "--workers", "1"]
        self.runners.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    @staticmethod
    def run(*arguments: str) -> str:
        """Run a command to its end, and return what it printed."""
        command = [sys.executable, "-m", "sqzx", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def workers(self) -> list[int]:
        """Return the numbers of the living workers."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if b"sweeps.worker" in command and os.fsencode(self.out) in command and state != "Z":
                    found.append(int(entry.name))
        return found

    def living(self) -> list[subprocess.Popen[bytes]]:
        """Return the runners that have not ended."""
        self.runners = [runner for runner in self.runners if runner.poll() is None]
        return self.runners

    def trials(self) -> list[Path]:
        """Return the trial folders."""
        return sorted((self.out / "trials").glob("*"))

    def statuses(self) -> Counter[str]:
        """Return the number of trials of each status."""
        told = json.loads(self.run("sweep", "status", str(self.out), "--json") or "{}")
        return Counter({state: n for state, n in told.get("counts", {}).items() if n})

    def note_done(self) -> int:
        """Remember the results of finished trials; return how many have changed since they were."""
        changed = 0
        for trial in self.trials():
            try:
                if json.loads((trial / "status.json").read_text())["status"] != "done":
                    changed += trial.name in self.done
                    continue
                result = (trial / "result.json").read_bytes()
            except FileNotFoundError:
                continue
            changed += self.done.setdefault(trial.name, result) != result
        return changed


def outcome(trial: Path) -> dict[str, object]:
    """Return what a cut and an uncut run of a trial must agree on."""
    result = json.loads((trial / "result.json").read_text())
    files = ("metrics.jsonl", "predictions.npz", "model.safetensors")
    return {
        "result": {k: v for k, v in result.items() if not any(word in k for word in UNSTABLE)},
        **{name: hashlib.sha256((trial / name).read_bytes()).hexdigest() for name in files},
    }


def repeated_steps(trial: Path) -> int:
    """Return how many training steps are in a trial's metrics twice or out of order."""
    lines = map(json.loads, (trial / "metrics.jsonl").read_text().splitlines())
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    return sum(step != number for number, step in enumerate(steps, 1))


def send(pid: int, number: int) -> bool:
    """Send a signal; False where there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def disturb(study: Study, chance: random.Random, sleeping: dict[int, float]) -> Counter[str]:
    """Do one of `DEEDS` to the processes of a study; return how often which signal was sent."""
    (deed,) = chance.choices(list(DEEDS), weights=list(DEEDS.values()))
    runners, workers = [runner.pid for runner in study.living()], study.workers()
    victims = workers if "worker" in deed else runners if "runner" in deed or deed == "ask" else None
    chosen = [*runners, *workers] if victims is None else victims and [chance.choice(victims)]
    number = {"kill": signal.SIGKILL, "ask": signal.SIGTERM, "stop": signal.SIGSTOP}[deed.split()[0]]
    sent = [pid for pid in chosen if send(pid, number)]
    if number == signal.SIGSTOP:
        sleeping.update(dict.fromkeys(sent, time.monotonic() + chance.uniform(0.5, 5 * PATIENCE)))
    return Counter({number.name: len(sent)})


def wake(sleeping: dict[int, float], now: float) -> None:
    """Wake the stopped processes whose time has come."""
    for pid in [pid for pid, until in sleeping.items() if until <= now]:
        del sleeping[pid]
        send(pid, signal.SIGCONT)


def torture_round(study: Study, trials: int, runners: int, kills: int, chance: random.Random) -> Counter[str]:
    """Disturb a study until so many kills are sent or it is done, let it end, and return what was counted."""
    told: Counter[str] = Counter()
    sleeping: dict[int, float] = {}
    started = 0
    while told["SIGKILL"] < kills:
        while len(study.living()) < runners:
            study.start(again=started >= runners)
            started += 1
        until = time.monotonic() + chance.uniform(0.1, MOST_SECONDS)
        while time.monotonic() < until:
            wake(sleeping, time.monotonic())
            time.sleep(0.05)
        told["repeated"] += study.note_done()
        if len(study.done) == len(study.trials()) == trials:
            break
        told += disturb(study, chance, sleeping)
    wake(sleeping, float("inf"))
    for runner in study.living():
        runner.wait()
    while any(study.statuses()[state] for state in ("failed", "interrupted", "pending", "timed_out")):
        study.start(again=True)
        study.runners[-1].wait()
    told["repeated"] += study.note_done()
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--runners", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the victims")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["SQZX_PATIENCE"] = str(PATIENCE)
    chance, began = random.Random(arguments.seed), time.monotonic()
    told: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="sqzx-torture-") as temporary:
        whole = Study(Path(temporary) / "whole")
        whole.start(again=False)
        whole.runners[-1].wait()
        expected = {trial.name: outcome(trial) for trial in whole.trials()}
        while told["SIGKILL"] < arguments.kills:
            study = Study(Path(temporary) / f"round{told['rounds']}", whole.out / "cache")
            left = min(KILLS_A_ROUND, arguments.kills - told["SIGKILL"])
            told += torture_round(study, len(expected), arguments.runners, left, chance)
            told["rounds"] += 1
            there = {trial.name: trial for trial in study.trials()}
            told["trials"] += len(expected)
            told["lost"] += len(expected) - study.statuses()["done"]
            for name in expected.keys() & study.done.keys():
                told["repeated"] += repeated_steps(there[name])
                told["differing"] += outcome(there[name]) != expected[name]
            told["left"] += len(list((study.out / "trials").rglob("*.half"))) + len(study.workers())
            if not arguments.json:
                print(f"round {told['rounds']}: {dict(told)}", file=sys.stderr, flush=True)
    faults = ("lost", "repeated", "differing", "left")
    shown = {name: told[name] for name in (*faults, "rounds", "trials")} | {
        "kills": told["SIGKILL"],
        "stops": told["SIGSTOP"],
        "asked": told["SIGTERM"],
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(shown) if arguments.json else ", ".join(f"{n} {name}" for name, n in shown.items()))
    return int(any(told[name] for name in faults))


if __name__ == "__main__":
    sys.exit(main())
