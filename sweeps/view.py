"""What a run shows: a live view on a terminal, one plain line an event elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from sqzx.terminal import duration
from sqzx.trial import Status, TrialFolder
from sweeps.curves import log_lines
from sweeps.listing import counts_text, skipped_lines, trial_label
from sweeps.plan import Plan, PlannedTrial

if TYPE_CHECKING:
    from sweeps.executors import Handle

REFRESH_SECONDS = 0.5
TAIL_BYTES = 64 * 1024


class View(Protocol):
    """What a run tells as it goes."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def planned(self, plan: Plan) -> None:
        """Take the plan before anything starts."""

    def started(self, handle: "Handle") -> None:
        """Take a stack whose process has just started."""

    def ended(self, handle: "Handle", trial: PlannedTrial, status: Status) -> None:
        """Take a trial of a stack that has just ended."""

    def tick(self, running: "Sequence[Handle]", statuses: Mapping[str, Status]) -> None:
        """Take the running trials and what has become of all, many times a second."""

    def note(self, text: str) -> None:
        """Take a line that belongs to no running trial."""

    def summary(self, plan: Plan, out: Path) -> None:
        """Take the plan after the run."""


def view_for_output() -> View:
    """Return the view that fits standard output."""
    return LiveView() if sys.stdout.isatty() else PlainView()


class Progress(NamedTuple):
    """How far a running trial is, from the last lines of its metrics; None is not known yet."""

    epoch: int | None
    epochs: int
    loss: float | None
    val_top1: float | None
    seconds_left: float | None


def progress(
    folder: TrialFolder, epochs: int, epochs_before: int = 0, elapsed: float | None = None
) -> Progress:
    """Return how far a trial is, `elapsed` seconds into an attempt that began after `epochs_before`.

    Who doesn't know that isn't told what is left.
    """
    lines = _last_lines(folder.metrics_file)
    train = next((x for x in reversed(lines) if x["kind"] == "train"), None)
    validation = next((x for x in reversed(lines) if x["kind"] == "validation"), None)
    done = validation["epoch"] + 1 if validation else 0
    told = elapsed is not None and done > epochs_before
    return Progress(
        epoch=train["epoch"] + 1 if train else None,
        epochs=epochs,
        loss=train["loss"] if train else None,
        val_top1=validation["val_top1"] if validation else None,
        seconds_left=elapsed / (done - epochs_before) * (epochs - done) if told else None,
    )


def _last_lines(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    # The first may be cut by the window, the last by its writer.
    return log_lines(lines[1 if size > TAIL_BYTES else 0 : -1])


def outcome_text(folder: TrialFolder, status: Status) -> str:
    """Return what became of a trial in a few words: its accuracy, or the reason that it has none."""
    if status.status != "done":
        return status.reason or ""
    result = folder.read_result() or {}
    silent = "" if result["learned"] else "  NOT LEARNING (all logits 0)"
    return f"validation top-1 {result['val_top1']:.4f}{silent}"


def running_table(rows: Iterable[tuple[str, str, Progress]], *, with_left: bool) -> Any:
    """Return a rich table of what runs: name, seeds, how far it is, and `with_left` what time is left."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("running", header_style="dim")
    for name in ("seed", "epoch", "loss", "val top-1", *(["left"] if with_left else [])):
        table.add_column(name, justify="right", header_style="dim")
    for name, seeds, now in rows:
        table.add_row(
            Text(name),
            seeds,
            "starting" if now.epoch is None else f"{now.epoch}/{now.epochs}",
            _number(now.loss),
            _number(now.val_top1),
            *([duration(now.seconds_left)] if with_left else []),
        )
    return table


def summary_text(plan: Plan, out: Path) -> str:
    """Return the last line of a run: the counts, and what to do next where something failed."""
    text = counts_text(plan)
    if plan.skipped:
        text += f"; {len(plan.skipped)} points skipped"
    if any(t.status.status == "censored" for t in plan.trials):
        text += f"\ntrain the censored ones to their end with: sqzx sweep run STUDY --out {out} --finish"
    if any(t.status.status in ("failed", "timed_out") for t in plan.trials):
        text += f"\nrun the failed ones again with: sqzx sweep retry {out}"
    return text


class PlainView:
    """One line an event; no control codes, so a pipe or a log file can hold it."""

    def __enter__(self) -> Self:
        """Start without ceremony."""
        self._total = self._done = 0
        return self

    def __exit__(self, *error: object) -> None:
        """End without ceremony."""

    def planned(self, plan: Plan) -> None:
        """Say how much there is to do."""
        counts = plan.counts()
        self._total, self._done = len(plan.trials) - counts["removed"], counts["done"]
        _say(f"{plan.study.name}: {self._total} trials, {counts['done']} done before")
        for line in skipped_lines(plan):
            _say(line)

    def started(self, handle: "Handle") -> None:
        """Say which trials have started."""
        for trial in handle.trials:
            _say(f"started  {trial_label(trial)}")

    def ended(self, handle: "Handle", trial: PlannedTrial, status: Status) -> None:
        """Say what became of a trial."""
        self._done += status.status == "done"
        took = duration(handle.seconds)
        folder = handle.folders[handle.trials.index(trial)]
        _say(f"{status.status:<8} {trial_label(trial)}  {outcome_text(folder, status)}  ({took}) "
             f"[{self._done}/{self._total}]")  # fmt: skip

    def tick(self, running: "Sequence[Handle]", statuses: Mapping[str, Status]) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say it."""
        _say(text)

    def summary(self, plan: Plan, out: Path) -> None:
        """Say the counts."""
        _say(summary_text(plan, out))


class LiveView:
    """A bar for the study, a line a running trial, and a line that stays for each ended one that failed."""

    def __enter__(self) -> Self:
        """Take over the bottom of the terminal."""
        from rich.console import Console
        from rich.live import Live

        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._gone = False
        self._show(self._live.start)
        self._drawn, self._begun, self._ended_here = 0.0, time.monotonic(), 0
        return self

    def __exit__(self, *error: object) -> None:
        """Give the terminal back."""
        self._show(self._live.stop)

    def planned(self, plan: Plan) -> None:
        """Take the name and the number of trials."""
        self._name, self._total = plan.study.name, len(plan.trials) - plan.counts()["removed"]

    def started(self, handle: "Handle") -> None:
        """Wait for the next drawing."""

    def ended(self, handle: "Handle", trial: PlannedTrial, status: Status) -> None:
        """Keep a line of each trial that went wrong."""
        self._ended_here += 1
        if status.status not in ("done", "censored"):
            from rich.text import Text

            line = Text(f"{status.status} {trial_label(trial)}: {status.reason}", style="red")
            self._show(lambda: self._console.print(line))

    def tick(self, running: "Sequence[Handle]", statuses: Mapping[str, Status]) -> None:
        """Draw, twice a second."""
        if time.monotonic() - self._drawn > REFRESH_SECONDS:
            self._drawn = time.monotonic()
            self._show(lambda: self._live.update(self._picture(running, statuses), refresh=True))

    def summary(self, plan: Plan, out: Path) -> None:
        """Say the counts."""
        self._show(lambda: self._console.print(summary_text(plan, out), markup=False, highlight=False))

    def note(self, text: str) -> None:
        """Keep the line above the live part."""
        self._show(lambda: self._console.print(text, markup=False, highlight=False))

    def _show(self, draw: Callable[[], object]) -> None:
        """Draw, unless the terminal has gone: a run outlives its audience until it has saved everything."""
        if not self._gone:
            try:
                draw()
            except OSError:
                self._gone = True

    def _picture(self, running: "Sequence[Handle]", statuses: Mapping[str, Status]) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        counts = Counter(status.status for status in statuses.values())
        done, failed = counts["done"], counts["failed"] + counts["timed_out"]
        waiting = self._total - done - failed - counts["censored"]
        elapsed = time.monotonic() - self._begun
        left = elapsed / self._ended_here * waiting if self._ended_here else None
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(self._name, style="bold"),
            ProgressBar(total=self._total, completed=done + failed, width=30),
            f"{done + failed}/{self._total}",
            Text(f"{done} done", style="green"),
            Text(f"{failed} failed", style="red" if failed else "dim"),
            f"{duration(left)} left",
        )
        rows = (
            (
                handle.trials[0].name,
                ", ".join(str(trial.config.seed) for trial in handle.trials),
                progress(
                    handle.folders[0],
                    handle.trials[0].config.train.epochs,
                    handle.epochs_before,
                    handle.seconds,
                ),
            )
            for handle in running
        )
        return Group(head, running_table(rows, with_left=True))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError:  # the reader of the pipe, or the terminal, has gone: the run goes on
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115
