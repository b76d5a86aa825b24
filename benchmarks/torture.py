"""Kill the processes of a sweep at random moments, and count what is lost, repeated or different afterwards.

    nice python -m benchmarks.torture [--kills 100] [--runners 2] [--seed 0] [--stack 1]
                                      [--halving | --compressed] [--json]

A small study of digits runs once undisturbed. Then several runners share a folder, and until so many SIGKILLs
have been sent, random processes are killed: a worker, a runner (its workers die with it), or all at once. Now
and then a runner is asked to stop (SIGTERM), or a process is stopped (SIGSTOP) for longer than others are
patient and woken up again (SIGCONT). Runners that end are started anew. After the last kill of a round these
end, one more is started, and what it leaves undone is lost. The next round begins in an empty folder.
With `--stack` trials share a process, with `--halving` they pause by rungs (and one runner more finishes
them), with `--compressed` each has a compressed one after it.

lost: trials that are not done after the last runner. repeated: steps that `metrics.jsonl` has twice or out of
order, and trials that were trained again after they were done. differing: trials whose parameters, metrics,
predictions or results are not those of the undisturbed run, to the bit. left: half files, and processes that
still live. unprovoked: trials that a runner called failed, stalled or overtaken more often than a signal had
ended or stopped their processes. hung: runners that had not ended by themselves after so long.
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
WAIT_SECONDS = 300.0
"""By then a runner that is left alone has ended."""
HALVING = """
[halving]
min_epochs = 100
reduction = 2
bins = 1
"""
COMPRESSED = """
[[sweep]]
name = "compressed"
grid.model.squeeze_ratio = [0.25, 0.5]
set.compress.recipe = "deep_compression"
set.compress.density = 0.5
set.compress.bits = 3
"""
FILES = ("metrics.jsonl", "predictions.npz", "model.safetensors", "compressed.sqz")
FAULTS = ("lost", "repeated", "differing", "left", "unprovoked", "hung")
UNSTABLE = ("seconds", "second", "time", "memory", "fault")
DEEDS = {"kill worker": 8, "kill runner": 5, "kill all": 2, "ask": 2, "stop worker": 2, "stop runner": 1}
"""What is done to the processes, and how often."""


class Study:
    """A study's folder, and its runners."""

    def __init__(self, folder: Path, text: str, stack: int, cache: Path | None = None):
        self.file, self.out, self.told = folder / "study.toml", folder / "out", folder / "told"
        self.stack = stack
        self.told.mkdir(parents=True)
        self.file.write_text(text)
        if cache is not None:  # every round would compile anew
            self.out.mkdir()
            (self.out / "study.toml").write_text(text)
            (self.out / "cache").symlink_to(cache)
        self.runners: list[subprocess.Popen[bytes]] = []
        self.done: dict[str, bytes] = {}

    def start(self, *options: str, again: bool) -> None:
        """Start a runner, which also runs what has failed where a runner did before (`again`)."""
        to = ["retry", str(self.out)] if again else ["run", str(self.file), "--out", str(self.out)]
        command = [sys.executable, "-m", "sqzx", "sweep", *to, "--workers", "1", "--stack", str(self.stack)]
        with (self.told / str(time.monotonic_ns())).open("wb") as file:
            self.runners.append(subprocess.Popen([*command, *options], stdout=file, stderr=file))

    def wait(self) -> int:
        """Wait until all runners have ended, and return how many had to be killed."""
        hung = 0
        for runner in self.living():
            try:
                runner.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                hung += 1
                runner.kill()
                runner.wait()
        return hung

    def unprovoked(self, killed: int, stopped: int) -> list[str]:
        """Return what runners told of trials that went wrong, beyond so many kills and stops of workers."""
        texts = (file.read_text(errors="replace") for file in self.told.iterdir())
        told = [line for text in texts for line in text.splitlines()]
        wrong = [line for line in told if line.startswith(("failed", "timed_out", "Traceback", "sqzx: "))]
        by_kill = [line for line in wrong if "was ended by SIGKILL" in line]
        of_themselves = [line for line in wrong if line not in by_kill]
        overtaken = [line for line in told if "stood still" in line]
        return of_themselves + by_kill[killed:] + overtaken[stopped * self.stack :]

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
    return {
        "result": {k: v for k, v in result.items() if not any(word in k for word in UNSTABLE)},
        **{f.name: hashlib.sha256(f.read_bytes()).hexdigest() for n in FILES if (f := trial / n).exists()},
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
    return Counter({number.name: len(sent), f"{number.name} of workers": len({*sent} & {*workers})})


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
    told["hung"] += study.wait()
    study.start(again=True)
    told["hung"] += study.wait()
    if study.statuses()["censored"]:
        study.start("--finish", again=False)
        told["hung"] += study.wait()
    told["repeated"] += study.note_done()
    for line in study.unprovoked(told["SIGKILL of workers"], told["SIGSTOP of workers"]):
        told["unprovoked"] += 1
        print(f"unprovoked: {line}", file=sys.stderr, flush=True)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--runners", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the victims")
    parser.add_argument("--stack", type=int, default=1, help="trials that share a process, at most")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--halving", action="store_true", help="trials pause by rungs")
    kind.add_argument("--compressed", action="store_true", help="each trial has a compressed one after it")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    text = STUDY + HALVING * arguments.halving + COMPRESSED * arguments.compressed
    os.environ["SQZX_PATIENCE"] = str(PATIENCE)
    chance, began = random.Random(arguments.seed), time.monotonic()
    told: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="sqzx-torture-") as temporary:
        whole = Study(Path(temporary) / "whole", text, arguments.stack)
        whole.start("--finish", again=False)
        whole.wait()
        expected = {trial.name: outcome(trial) for trial in whole.trials()}
        if not expected:
            sys.exit("the undisturbed run came to nothing")
        while told["SIGKILL"] < arguments.kills:
            folder = Path(temporary) / f"round{told['rounds']}"
            study = Study(folder, text, arguments.stack, whole.out / "cache")
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
    shown = {name: told[name] for name in (*FAULTS, "rounds", "trials")} | {
        "kills": told["SIGKILL"],
        "stops": told["SIGSTOP"],
        "asked": told["SIGTERM"],
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(shown) if arguments.json else ", ".join(f"{n} {name}" for name, n in shown.items()))
    return int(any(told[name] for name in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
