"""What a model says of images, and how often it is right."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from sqzx.counting import parametric_layers
from sqzx.data.examples import Images
from sqzx.data.info import dataset_info
from sqzx.data.store import load_set
from sqzx.errors import ArchitectureError, InputError, NonFiniteError
from sqzx.evaluation import Scores, logits_of, score
from sqzx.model import Model
from sqzx.network import Parameters, pure
from sqzx.preprocessing import read_for
from sqzx.tensor_files import npy_header

BATCH = 16


class Guess(NamedTuple):
    """One class and how sure the model is of it: the softmax of its logits."""

    number: int
    name: str
    probability: float
    logit: float


class Answer(NamedTuple):
    """The likeliest classes of one image, the likeliest first. `source` is the file; `index` of an array."""

    source: str
    index: int | None
    guesses: tuple[Guess, ...]


def predict(model: Model, inputs: list[Path]) -> tuple[np.ndarray, list[tuple[str, int | None]]]:
    """Return the logits (n, classes) of all inputs in order, and where each row came from.

    An input is an image file, or a `.npy` of float32 (n, height, width, channels) that is preprocessed
    already. All are read before the network is compiled. Raises `InputError` for what is neither.
    """
    arrays, origins = [], []
    for path in inputs:
        if path.suffix == ".npy":
            array = _preprocessed(model, path)
            origins += [(str(path), index) for index in range(len(array))]
        else:
            array = read_for(model.preprocessing, path)[None]
            origins.append((str(path), None))
        arrays.append(array)
    logits = np.concatenate([model_logits(model, group) for group in _grouped(arrays)])
    return logits, origins


def answers(
    model: Model, logits: np.ndarray, origins: list[tuple[str, int | None]], top: int
) -> list[Answer]:
    """Return the `top` likeliest classes of each row of logits."""
    found = []
    for (source, index), row in zip(origins, logits.astype(np.float64), strict=True):
        probabilities = np.exp(row - row.max())
        probabilities /= probabilities.sum()
        best = np.argsort(-row, kind="stable")[:top]
        guesses = (Guess(int(n), model.class_name(n), float(probabilities[n]), float(row[n])) for n in best)
        found.append(Answer(source, index, tuple(guesses)))
    return found


def print_answers(answers: list[Answer]) -> None:
    """Print a block an image: the likeliest classes with their probabilities."""
    for answer in answers:
        print(answer.source if answer.index is None else f"{answer.source}[{answer.index}]")
        for guess in answer.guesses:
            print(f"  {100 * guess.probability:5.1f} %  {guess.name}")


def evaluate(model: Model, data: str | None = None) -> tuple[Scores, int, str]:
    """Return the scores on a set's test images, their number, and the set's name.

    `data` is the model's own set by default. `InputError` where its images or classes are not the model's.
    """
    name = data or model.data
    if name is None:
        raise InputError("--data: this model doesn't say what it was trained on; name a prepared data set")
    info = dataset_info(name)
    needed = model.preprocessing.image_shape
    if tuple(info.image_shape) != needed:
        shapes = ("x".join(map(str, shape)) for shape in (info.image_shape, needed))
        raise InputError("--data {}: has images of {}, the model takes {}".format(name, *shapes))
    if info.num_classes != model.config.num_classes:
        raise InputError(
            f"--data {name}: has {info.num_classes} classes, the model {model.config.num_classes}"
        )
    _, examples, _ = load_set(name)
    logits = model_logits(model, examples.test_images)
    return score(logits, examples.test_labels), len(examples.test_labels), name


def _grouped(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Put images of one type and shape that follow each other together, so that they share a program."""
    groups: list[list[np.ndarray]] = []
    for array in arrays:
        if groups and array.dtype == np.uint8 and groups[-1][0].dtype == np.uint8:
            groups[-1].append(array)
        else:
            groups.append([array])
    return [np.concatenate(group) if len(group) > 1 else group[0] for group in groups]


def model_logits(model: Model, images: Images) -> np.ndarray:
    """Return the logits (n, classes) of images (n, h, w, c): uint8, or float32 that is preprocessed already.

    `NonFiniteError` where one is not finite.
    """
    return predictor(model, images)(model.parameters)


def predictor(model: Model, images: Images) -> Callable[[Parameters], np.ndarray]:
    """Return what gives the logits of images for any parameters of a model's network; it compiles once.

    See `model_logits`.
    """
    apply = pure(model.config, images.shape[1:], model.ranks)
    prepare = model.preprocessing.normalise if images.dtype == np.uint8 else lambda images: images
    run = jax.jit(lambda parameters, images: apply(parameters, prepare(images)))

    def logits(parameters: Parameters) -> np.ndarray:
        parameters = jax.device_put(parameters)
        found = logits_of(lambda batch: run(parameters, batch), images, min(BATCH, len(images)))
        if not np.isfinite(found).all():
            raise NonFiniteError("the logits are not finite")
        return found

    return logits


def _preprocessed(model: Model, path: Path) -> np.ndarray:
    """Open an array of preprocessed images without reading it whole."""
    where = str(path)
    try:
        with path.open("rb") as file:
            shape, dtype = npy_header(file, path.stat().st_size, where)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: can't be opened ({error.strerror})") from None
    channels = model.preprocessing.image_shape[2]
    if len(shape) != 4 or shape[3] != channels or not shape[0]:
        raise InputError(f"{path}: needs images x height x width x {channels}, found {shape}")
    if dtype != np.float32:
        raise InputError(f"{path}: needs float32, preprocessed, found {dtype}")
    try:
        found, needed = (
            [layer.kernel_shape for layer in parametric_layers(model.config, size)]
            for size in (shape[1:], model.preprocessing.image_shape)
        )
    except ArchitectureError as error:  # maps that shrink to nothing
        raise InputError(f"{path}: {error}") from None
    if found != needed:
        size = "x".join(map(str, model.preprocessing.size))
        raise InputError(f"{path}: this network takes {size} images alone, found {shape[1]}x{shape[2]}")
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    for start in range(0, len(images), BATCH):
        if not np.isfinite(images[start : start + BATCH]).all():
            last = min(start + BATCH, len(images)) - 1
            raise InputError(f"{path}: images {start} to {last} hold values that are not finite")
    return images
