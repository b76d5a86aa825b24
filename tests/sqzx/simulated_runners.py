"""Processes on several hosts that share one simulated folder, each advanced one file operation at a time.

A process is a thread that waits before each of its file operations until it is told to go on, so a test
decides which one comes next, and where one is killed or stopped. The folder knows no process: it does what a
file system does, and checks at each write that comes into place what must never happen.
"""

import errno
import itertools
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from sqzx.claim_protocol import FREE, Holder, Watch, claimed, release
from sqzx.processes import Process

GOAL = 4
"""The number of checkpoints after which the trial is done."""
PATIENCE, PERIOD = 12.0, 2.0


@dataclass
class Inside:
    """An entry of `.writer/`: which `halves` it has, by a number never used again, and its beat."""

    halves: int | None = None
    beat: str = ""

    def is_empty(self) -> bool:
        """Whether another folder may be renamed onto it."""
        return self.halves is None and not self.beat


@dataclass
class Disk:
    """A trial's folder. `remembering`: clients find folders that were renamed, as those of NFS may."""

    remembering: bool
    torn_listing: bool
    writer: dict[str, Inside] = field(default_factory=dict)
    halves: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    checkpoint: int = 0
    metrics: list[int] = field(default_factory=list)
    holder: str | None = None  # the last to whom `claimed` has said yes
    writers: list[str] = field(default_factory=list)

    def accepts(self, name: str, halves: int | None) -> bool:
        """Whether a rename out of these halves succeeds: they are there, and found under that name."""
        there = [inside.halves for key, inside in self.writer.items() if self.remembering or key == name]
        return halves is not None and halves in there

    def put_metrics(self, name: str, halves: int | None, lines: list[int]) -> bool:
        """Replace `metrics.jsonl`; lines that come later go on in the same list."""
        if not self.accepts(name, halves):
            return False
        assert name == self.holder, "a write by one that is not the holder"
        self.metrics = lines
        return True

    def put_checkpoint(self, name: str, halves: int | None, number: int) -> bool:
        """Put a checkpoint in place."""
        if not self.accepts(name, halves):
            return False
        assert name == self.holder, "a write by one that is not the holder"
        assert number == self.checkpoint + 1, "work done twice, or lost"
        self.checkpoint = number
        self.writers.append(name)
        return True


class Killed(BaseException):
    """Ends the thread of a killed process."""


class NoSpaceError(OSError):
    """A change that a full disk did not let be made."""


class SimulatedProcess:
    """A process that claims the trial, or waits until it may, and works on it; see `sqzx.claim_protocol`."""

    def __init__(self, world: "World", host: int):
        self.world, self.disk, self.host = world, world.disk, host
        self.identity = Process(f"{host:012x}", next(world.numbers), "1")
        self.alive, self.stopped, self.waiting_to_die = True, False, False
        self.name: str | None = None  # under which it believes to hold the claim
        self.beats = 0
        self.failing = self.busy = 0  # so many changes fail for want of space, so many folders are not empty
        self.error: BaseException | None = None
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._paused.acquire()

    def step(self) -> None:
        """Let it make one file operation."""
        if self.alive and not self.stopped:
            self._resume()

    def kill(self) -> None:
        """End it before its next file operation; nothing of its own is told to it."""
        if self.alive:
            self.waiting_to_die = True
            self._resume()

    def tick(self) -> None:
        """Beat, as the thread of its own does that each process has for it."""
        if self.alive and not self.stopped and self.name is not None:
            self.beats += 1
            if (inside := self.disk.writer.get(self.name)) is not None:
                inside.beat = str(self.beats)

    def _resume(self) -> None:
        self._go.release()
        self._paused.acquire()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self.pause()
            self._work()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.alive = False
        self._paused.release()

    def pause(self) -> None:
        """Wait until the next operation may come."""
        self._paused.release()
        self._go.acquire()
        if self.waiting_to_die:
            raise Killed

    def _work(self) -> None:
        while self.disk.checkpoint < GOAL:
            me = self._new_name()
            try:
                if not claimed(self, me):
                    self._wait()
                    continue
            except NoSpaceError:
                continue
            self.disk.holder = self.name = me
            self._train(me)
            self.name = None
            with suppress(NoSpaceError):
                release(self, me, me)

    def _new_name(self) -> str:
        return Holder(f"{next(self.world.numbers):016x}", self.identity).name

    def _train(self, me: str) -> None:
        disk, halves = self.disk, None
        if (inside := disk.writer.get(me)) is not None:
            halves = inside.halves  # what a client that remembers believes from now on
        done = disk.checkpoint
        lines = [line for line in disk.metrics if line <= done]
        self.pause()
        if not disk.put_metrics(me, halves, lines):
            return
        while done < GOAL:
            done += 1
            self.pause()
            lines.append(done)
            self.pause()
            if not disk.put_checkpoint(me, halves, done):
                return

    def _wait(self) -> None:
        watch = Watch(PATIENCE, PERIOD)
        while self.disk.checkpoint < GOAL:
            match watch.look(self, self.world.time + 86_400 * self.host):
                case "free":
                    return
                case "abandoned":
                    for name in watch.beats:
                        with suppress(NoSpaceError):
                            release(self, self._new_name(), name)
            self.pause()

    # What the protocol asks of files, each operation after a pause.

    def found(self) -> None:
        if not self.names():
            self._change()
            self.disk.writer.setdefault(FREE, Inside())

    def names(self) -> list[str]:
        self.pause()
        before = sorted(self.disk.writer)
        if self.disk.torn_listing:
            self.pause()
            return [name for name in before if name in self.disk.writer]
        return before

    def rename(self, old: str, new: str) -> bool:
        self._change()
        if old not in self.disk.writer:
            return False
        if old != new and new in self.disk.writer and not self.disk.writer[new].is_empty():
            return False
        self.disk.writer[new] = self.disk.writer.pop(old)
        return True

    def renew(self, name: str) -> None:
        for halves in (None, next(self.disk.halves)):
            self._change()
            if name not in self.disk.writer:
                raise FileNotFoundError(errno.ENOENT, "no such folder", name)
            if self.busy:
                self.busy -= 1
                raise OSError(errno.ENOTEMPTY, "a late writer's file is there", name)
            self.disk.writer[name].halves = halves

    def remove(self, name: str) -> None:
        self._change()
        if name in self.disk.writer:
            self.disk.writer[name].halves = None
        self._change()
        self.disk.writer.pop(name, None)

    def beat(self, name: str, count: int) -> bool:
        self._change()
        if name not in self.disk.writer:
            return False
        self.disk.writer[name].beat = str(count)
        return True

    def _change(self) -> None:
        self.pause()
        if self.failing:
            self.failing -= 1
            raise NoSpaceError(errno.ENOSPC, "no space left")

    def heard(self, name: str) -> str:
        self.pause()
        inside = self.disk.writer.get(name)
        return "" if inside is None else inside.beat

    def lives(self, name: str) -> bool | None:
        self.pause()
        holder = Holder.of(name)
        assert holder is not None
        if holder.process.place != self.identity.place:
            return None
        return any(p.alive and p.identity == holder.process for p in self.world.processes)


class World:
    """The folder, its processes on all hosts, and the time."""

    def __init__(self, *, remembering: bool, torn_listing: bool):
        self.disk = Disk(remembering, torn_listing)
        self.numbers = itertools.count(1)
        self.processes: list[SimulatedProcess] = []
        self.time = 0.0

    def start(self, host: int) -> SimulatedProcess:
        """Start a process on a host, whose clock is so many days ahead."""
        process = SimulatedProcess(self, host)
        self.processes.append(process)
        return process

    def copy_over(self, host: int | None) -> None:
        """Copy an earlier state over the folder: free, or held by what is no more a process of a host."""
        name = FREE
        if host is not None:
            name = Holder(f"{next(self.numbers):016x}", Process(f"{host:012x}", next(self.numbers), "0")).name
        self.disk.writer.setdefault(name, Inside()).beat = "17"

    def pass_fairly(self, rounds: int) -> None:
        """Let time pass in which every process that is not stopped makes a few operations and beats."""
        for _ in range(rounds):
            self.time += PERIOD / 2
            for process in self.processes:
                process.tick()
                for _ in range(6):
                    process.step()

    def end(self) -> None:
        """Kill what lives, so that no thread is left."""
        for process in self.processes:
            process.error = None
            process.kill()
