"""Training of trials, from their configurations to the numbers and files of their folders.

The loop reads from top to bottom in `_train_together`. It may be stopped between any two steps and goes on
from its newest checkpoint to the same parameters, metrics and predictions, bit for bit, that it would have
reached uncut (on the same number of cores, and beside the same trials where a stack is one program): every
random stream depends on the seed, its name and the step alone.

A stack of trials (`sqzx.stacking`) is one process and one loop over the same compiled programs; each trial
has its own order of images, its own folder, its own end and its own share of the seconds.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np

from sqzx import checkpoints
from sqzx.batches import epoch_batches, made_ahead
from sqzx.checkpoints import Restored
from sqzx.config import TrialConfig
from sqzx.data.splits import Split
from sqzx.duration import CHECKPOINT_SECONDS
from sqzx.errors import Interrupted, NonFiniteError, Paused
from sqzx.evaluation import Scores, full_batches, score
from sqzx.files import write_json, write_whole
from sqzx.forms import PLAIN, Form
from sqzx.metrics import MetricsLog, reached
from sqzx.model import Model, write_model
from sqzx.network import Parameters
from sqzx.task import Task, TrainState, fresh_state, task_of
from sqzx.together import stack_of
from sqzx.trial import TrialFolder

STEPS_PER_FLUSH = 100
"""Losses wait on the device for so many steps, so that no step waits for the one before it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial to train: its configuration and folder, and who hears of it.

    `say` gets a line an epoch, `on_fault` hears of damage that was got round, and `on_end` of the trial's
    end: None where its files are complete, or what ended it. At the end of the epoch `pause`, if there is
    one, the trial saves its state and ends as `Paused`. One that is not `scored` never looks at the test
    images, and leaves its states and validation scores alone: it is a stage of something larger.
    """

    config: TrialConfig
    folder: TrialFolder
    say: Callable[[str], None]
    on_fault: Callable[[str], None]
    on_end: Callable[[NonFiniteError | Paused | None], None]
    pause: int | None = None
    scored: bool = True


def train(
    config: TrialConfig,
    folder: TrialFolder,
    *,
    origin: Model | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_fault: Callable[[str], None] = lambda fault: None,
    say: Callable[[str], None] = print,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    started: float | None = None,
) -> None:
    """Train the network of one configuration and write its files into `folder`; see `train_stack`.

    Raises `NonFiniteError` where a loss, or a logit of the validation or test images, is not finite.
    """
    ends: list[NonFiniteError | Paused | None] = []
    job = Job(config=config, folder=folder, say=say, on_fault=on_fault, on_end=ends.append)
    train_stack(
        [job],
        origin=origin,
        should_stop=should_stop,
        checkpoint_seconds=checkpoint_seconds,
        started=started,
    )
    if (error := ends[0]) is not None:
        raise error


def retrain(
    config: TrialConfig,
    folder: TrialFolder,
    form: Form,
    *,
    origin: Model,
    should_stop: Callable[[], bool] = lambda: False,
    on_fault: Callable[[str], None] = lambda fault: None,
    say: Callable[[str], None] = print,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Any:
    """Train what a form makes a network of, and return the trained values; no test image is looked at.

    It goes on with what is in `folder`; see `train_stack`. `origin` is the model whose preprocessing is kept.
    """
    ends: list[NonFiniteError | Paused | None] = []
    job = Job(config=config, folder=folder, say=say, on_fault=on_fault, on_end=ends.append, scored=False)
    task = task_of(config, origin, form)
    _train(task, [job], should_stop, checkpoint_seconds, time.monotonic())
    if (error := ends[0]) is not None:
        raise error
    start = fresh_state(task, config)
    return checkpoints.restore(folder.checkpoints, start, halves=folder.halves).state.parameters


def train_stack(
    jobs: Sequence[Job],
    *,
    origin: Model | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    started: float | None = None,
) -> None:
    """Train trials of one program (of one `stacking.program_key`) together.

    `origin` is a model from whose parameters they start, and whose preprocessing they keep: weights mean
    nothing without it. `should_stop` is asked between steps; where it says so, all states are saved and
    `Interrupted` raised. `started` is the `time.monotonic()` at which the process began. Trials that stand
    at different steps (one lost its newest checkpoint, say) are trained one group after the other.
    """
    started = time.monotonic() if started is None else started
    form = PLAIN if origin is None else Form(start=origin.parameters)
    _train(task_of(jobs[0].config, origin, form), jobs, should_stop, checkpoint_seconds, started)


def _train(
    task: Task,
    jobs: Sequence[Job],
    should_stop: Callable[[], bool],
    checkpoint_seconds: float,
    started: float,
) -> None:
    standing = _standing(task, jobs)
    for step in list(standing):
        with ExitStack() as files:
            logs = [files.enter_context(MetricsLog(job.folder, step)) for job, _ in standing[step]]
            _train_together(task, standing.pop(step), logs, should_stop, checkpoint_seconds, started)
        started = time.monotonic()


def _standing(task: Task, jobs: Sequence[Job]) -> dict[int, list[tuple[Job, Restored]]]:
    """Return the trials by the step at which they stand, without those that have paused there."""
    standing: dict[int, list[tuple[Job, Restored]]] = {}
    for job in jobs:
        restored = _restored(job, fresh_state(task, job.config), task.per_epoch)
        if job.pause is not None and job.pause * task.per_epoch <= restored.step < task.total:
            job.on_end(Paused(restored.step // task.per_epoch, job.config.train.epochs))
            continue
        standing.setdefault(restored.step, []).append((job, restored))
    return standing


def _restored(job: Job, start: TrainState, per_epoch: int) -> Restored:
    """Return the state from which a trial goes on, and tell of what was damaged."""
    where, halves = job.folder.checkpoints, job.folder.halves
    if found := checkpoints.steps(where):
        told = reached(job.folder, per_epoch)
        for step in [step for step in found if step > told]:
            job.on_fault(f"metrics.jsonl lacks lines before the checkpoint of step {step}, which was removed")
            checkpoints.forget(where, step, halves=halves)
    restored = checkpoints.restore(where, start, halves=halves)
    for fault in restored.faults:
        job.on_fault(fault)
    return restored


@dataclass
class Spent:
    """Seconds of a trial's training so far, its share of its stack's.

    `train_seconds` are all of them, `step_seconds` those without validation and checkpoints, and
    `wait_seconds` those of these in which a batch was waited for.
    """

    step_seconds: float = 0.0
    train_seconds: float = 0.0
    wait_seconds: float = 0.0


def _train_together(
    task: Task,
    members: list[tuple[Job, Restored]],
    logs: Sequence[MetricsLog],
    should_stop: Callable[[], bool],
    checkpoint_seconds: float,
    started: float,
) -> None:
    """Train trials from the step at which all of them stand to their ends."""
    jobs = [job for job, _ in members]
    configs = [job.config for job in jobs]
    config, splits = configs[0], task.splits
    step = members[0][1].step
    spent = [Spent(**restored.progress) for _, restored in members]
    states = [restored.state for _, restored in members]
    living = dict(enumerate(jobs))  # by their place in the stack
    start_seconds = time.monotonic() - started

    clock = time.monotonic()
    stack = stack_of(task, configs, states)
    del members, states  # what is trained takes their place in memory: nobody else has them
    compile_seconds = time.monotonic() - clock
    saved = counted = time.monotonic()
    waiting: list[tuple[int, int, Any, Any]] = []  # step, epoch, losses, rates: the last two on the device

    def count_time(*, stepping: bool = False) -> None:
        """Share the time since the last call among the living."""
        nonlocal counted
        now = time.monotonic()
        share, counted = (now - counted) / max(len(living), 1), now
        for place in living:
            spent[place].train_seconds += share
            spent[place].step_seconds += share * stepping

    def waited_for(batches: Iterator[Any]) -> Iterator[Any]:
        """Yield batches, and share the time that they are waited for among the living."""
        while True:
            clock = time.monotonic()
            batch = next(batches, None)
            share = (time.monotonic() - clock) / len(living)
            for place in living:
                spent[place].wait_seconds += share
            if batch is None:
                return
            yield batch

    def end(place: int, error: NonFiniteError | Paused | None) -> None:
        stack.leave(place)
        living.pop(place).on_end(error)

    def flush() -> None:
        fetched = jax.device_get(waiting)
        count_time(stepping=bool(waiting))
        waiting.clear()
        for place in list(living):
            try:
                logs[place].train([(s, e, losses[place], rates[place]) for s, e, losses, rates in fetched])
            except NonFiniteError as error:
                end(place, error)

    def save() -> None:
        flush()
        for place, state in stack.states().items():
            logs[place].sync()
            where, halves = living[place].folder.checkpoints, living[place].folder.halves
            checkpoints.save(where, step, state, asdict(spent[place]), halves=halves)
        count_time()

    def save_if_due() -> None:
        nonlocal saved
        stop = should_stop()
        if stop or time.monotonic() - saved > checkpoint_seconds:
            save()
            saved = time.monotonic()
        if stop and living:
            raise Interrupted(f"stopped at step {step} of {task.total}")

    def pause_at(ended: int) -> None:
        due = [place for place, job in living.items() if job.pause is not None and job.pause <= ended]
        if due and ended < config.train.epochs:
            save()
            for place in due:
                end(place, Paused(ended, config.train.epochs))

    def logits(split: Split, of: str) -> dict[int, np.ndarray]:
        """Return the logits of the living; one whose logits are not finite ends."""
        parts: dict[int, list[np.ndarray]] = {place: [] for place in living}
        for images, count in full_batches(split.images, stack.evaluation_batch):
            for place, said in stack.predict(images).items():
                parts[place].append(said[:count])
        found = {place: np.concatenate(said) for place, said in parts.items()}
        count_time()
        for place, said in found.items():
            if not np.isfinite(said).all():
                end(place, NonFiniteError(f"the logits of the {of} are not finite"))
        return {place: found[place] for place in living}

    scores: dict[int, tuple[Scores, bool]] = {}  # and whether it says anything: not all logits are 0

    def validate() -> None:
        for place, said in logits(splits.validation, f"validation images after step {step}").items():
            scores[place] = score(said, splits.validation.labels), bool(said.any())

    for epoch in range(step // task.per_epoch, config.train.epochs):
        done = step % task.per_epoch
        orders = {
            place: epoch_batches(
                splits.train, job.config.data, task.size, seed=job.config.seed, epoch=epoch, first=done
            )
            for place, job in living.items()
        }
        # Made ahead, batches may be there for trials that have ended since, but no more are made.
        of_living = (
            {place: next(order) for place, order in orders.items() if place in living}
            for _ in range(done, task.per_epoch)
        )
        with made_ahead(of_living, splits.train.images) as found:
            for batches in waited_for(found):
                losses, rates = stack.step(batches, np.int32(step))
                step += 1
                waiting.append((step, epoch, losses, rates))
                if len(waiting) == STEPS_PER_FLUSH:
                    flush()
                if step % task.per_epoch:  # a checkpoint at the end of an epoch comes after its validation
                    save_if_due()
                if not living:
                    return
        flush()
        validate()
        if not living:
            return
        for place, job in living.items():
            logs[place].validation(step, epoch, scores[place][0])
            job.say(f"epoch {epoch + 1}/{config.train.epochs}: {_told(*scores[place])}")
        pause_at(epoch + 1)
        if not living:
            return
        save_if_due()
    if any(step not in checkpoints.steps(job.folder.checkpoints) for job in living.values()):
        save()
    count_time()
    seconds = {
        place: {
            "start_seconds": start_seconds / len(jobs),
            "compile_seconds": compile_seconds / len(jobs),
            "train_seconds": spent[place].train_seconds,
            "data_wait_seconds": spent[place].wait_seconds,
            "images_per_second": task.total * task.size / spent[place].step_seconds,
        }
        for place in living
    }
    if not scores:  # all epochs were there already
        validate()
    trained = stack.states()
    tests = logits(splits.test, "test images") if any(job.scored for job in living.values()) else {}
    for place in list(living):
        parameters = trained[place].parameters
        _finish(task, jobs[place], parameters, *scores[place], tests.get(place), seconds[place])
        end(place, None)


def _finish(
    task: Task,
    job: Job,
    parameters: Parameters,
    validation: Scores,
    learned: bool,
    test_logits: np.ndarray | None,
    seconds: dict[str, float],
) -> None:
    """Write what a finished trial leaves: predictions, model, and last of all its result."""
    config, folder, splits, network = job.config, job.folder, task.splits, task.network
    tested: dict[str, float | None] = {}
    if test_logits is not None:
        tested = score(test_logits, splits.test.labels).named("test")
        write_predictions(folder, test_logits, splits.test.labels)
        trained = Model(
            config=config.model,
            parameters=parameters,
            preprocessing=task.preprocessing,
            class_names=splits.info.class_names,
            source=f"trained on {config.data.name}, seed {config.seed}{task.origin}",
            data=config.data.name,
        )
        write_model(folder.model_file, trained, halves=folder.halves)
    result = {
        **validation.named("val"),
        **tested,
        "learned": learned,
        "params": network.params,
        "macs": network.macs,
        "bytes_fp32": network.bytes_fp32,
        "peak_activations": network.peak_activations,
        "epochs": config.train.epochs,
        "steps": task.total,
        "train_examples": len(splits.train.labels),
        "validation_examples": len(splits.validation.labels),
        "test_examples": len(splits.test.labels),
        "data_fingerprint": splits.info.fingerprint,
        **seconds,
        "peak_memory_mb": peak_memory_mb(),
    }
    write_json(folder.result_file, result, halves=folder.halves)


def peak_memory_mb() -> float:
    """Return the largest resident size of this process so far, in MB (1e6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def write_predictions(folder: TrialFolder, logits: np.ndarray, labels: np.ndarray) -> None:
    """Write a trial's logits (n, classes) on the test images, and their labels."""
    write_whole(
        folder.predictions_file,
        lambda file: np.savez_compressed(file, test_logits=logits, test_labels=labels),
        halves=folder.halves,
    )


def _told(scores: Scores, learned: bool) -> str:
    silent = "" if learned else "; NOT LEARNING: all logits are 0"
    return f"validation loss {scores.loss:.4f}, top-1 {scores.top1:.4f}{silent}"
