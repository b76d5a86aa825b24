"""The command line. It alone knows all three rooms, and imports each inside the commands that need it.

A command reads its input, calls one function of a room and prints the value that comes back. Exit codes:
0 all done, 1 some trials failed, 2 the input was wrong (one line), 130 interrupted.
"""

import errno
import io
import json
import os
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

import sqzx
from sqzx.errors import InputError, SqzxError

Out = Annotated[Path, Parameter(name="--out", help="The folder to write into.")]
ModelPath = Annotated[
    Path,
    Parameter(
        name="MODEL", help="A trial's folder, that of an imported model, or a file: .sqz, .safetensors."
    ),
]
InputSize = Annotated[str | None, Parameter(help="HEIGHTxWIDTH of the images, as in 227x227.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for a program to read.")]
Config = Annotated[Path | None, Parameter(name="--config", help="A TOML file, or a trial's config.json.")]
Preset = Annotated[str | None, Parameter(name="--preset", help="The network to start from.")]
Set = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        consume_multiple=False,
        negative="",
        help="KEY=VALUE, as in model.freq=4; may come again.",
    ),
]
StudyFile = Annotated[Path, Parameter(help="The study file (TOML).")]
Folder = Annotated[Path, Parameter(help="The folder of a study.")]
Workers = Annotated[
    int | None, Parameter(name="--workers", help="Trials at once; by default as many as fit.")
]
Executor = Annotated[
    Literal["local", "ray"],
    Parameter(name="--executor", help="This machine, or a Ray cluster (RAY_ADDRESS; else one started here)."),
]
CoresPerWorker = Annotated[
    int,
    Parameter(
        name="--cores-per-worker",
        help="Cores of its own for each trial. The same number on a resume gives the same bits.",
    ),
]
GpusPerWorker = Annotated[
    float | None,
    Parameter(
        name="--gpus-per-worker",
        help="An NVIDIA device for each trial (1), a share of one with its memory (0.5), or none (0).",
    ),
]
TimeLimit = Annotated[
    float | None, Parameter(name="--time-limit", help="Seconds for one attempt at a trial.")
]
StallLimit = Annotated[
    float | None,
    Parameter(
        name="--stall-limit",
        help="Seconds without a new line of metrics; a trial writes some each 15 s while it steps.",
    ),
]
FailFast = Annotated[
    bool, Parameter(name="--fail-fast", negative="", help="End the run at the first failure.")
]
Stack = Annotated[
    str,
    Parameter(
        name="--stack",
        help="Train up to N trials that differ in seed or optimiser numbers in one process; or auto.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The options that `sweep run` and `sweep retry` share."""

    executor: Executor = "local"
    workers: Workers = None
    cores_per_worker: CoresPerWorker = 1
    gpus_per_worker: GpusPerWorker = None
    time_limit: TimeLimit = None
    stall_limit: StallLimit = None
    fail_fast: FailFast = False
    stack: Stack = "1"


app = App(
    name="sqzx",
    version=sqzx.__version__,
    help="How much accuracy does a byte of convolutional network buy?\n\n"
    "Explores the SqueezeNet design space: describe and train one network, sweep many, see what was learnt.",
    help_format="plaintext",
)
data = App(name="data", help="Get and check data sets.")
sweep = App(name="sweep", help="Plan, run and watch a study.")
app.command(data)
app.command(sweep)


def main() -> None:
    """Run the command line of this process, and exit; a warning is one plain line, too."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that can't show a name shows a question mark
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    warnings.formatwarning = lambda message, *_, **__: f"sqzx: {message}\n"  # ty: ignore[invalid-assignment]
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; an error that one line explains is that line."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        print(f"sqzx: {' '.join(str(error).split())} (see sqzx --help)", file=sys.stderr)
        return 2
    except SqzxError as error:
        print(f"sqzx: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `sqzx ... | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a path that cannot be used as it was meant
        print(f"sqzx: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1 if error.errno == errno.ENOSPC else 2
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0


# --- one network -----------------------------------------------------------------------------------------


@app.command
def describe(
    *,
    config: Config = None,
    preset: Preset = None,
    set_: Set = (),
    input_size: InputSize = None,
    channels: Annotated[int | None, Parameter(help="Channels of the images.")] = None,
    compare: Annotated[str | None, Parameter(help="A preset to show beside it.")] = None,
    measure: Annotated[
        bool, Parameter(negative="", help="Time one image on this device, too: median and quartiles.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Print a network's layers and totals, counted by shape alone.

    Without data.name the images are 227x227x3 of 1000 classes, as in the paper.
    """
    from sqzx.config import read_setting, resolve, resolve_model
    from sqzx.counting import count
    from sqzx.describing import description, print_description, print_side_by_side

    settings = _settings(config, preset, set_)
    where = str(config or "describe")
    if "data.name" in settings:
        trial = resolve(settings, where)
        model, shape = trial.model, trial.data.image_shape
    else:
        model, shape = resolve_model(settings, where), (227, 227, 3)
    networks = {"this network": model}
    if compare is not None:
        other = read_setting("model.preset", compare, "--compare")
        networks[other] = resolve_model(
            {"model.preset": other, "model.num_classes": model.num_classes}, "--compare"
        )
    shape = _image_shape(shape, input_size, channels)
    counted = {told: count(config, shape) for told, config in networks.items()}
    measured = {}
    if measure:
        from sqzx import latency

        measured = {told: latency.measure(config, shape) for told, config in networks.items()}
    if json_:
        this, *others = (
            description(network) | ({"latency": measured[told]._asdict()} if measure else {})
            for told, network in counted.items()
        )
        _print_json(this | ({"compare": {"preset": compare, **others[0]}} if others else {}))
        return
    if compare is None:
        print_description(counted["this network"])
    else:
        print_side_by_side(counted)
    for told, found in measured.items():
        print(found.told() if compare is None else f"{told}: {found.told()}")


@app.command
def train(
    *,
    out: Out,
    config: Config = None,
    preset: Preset = None,
    set_: Set = (),
    init_from: Annotated[
        Path | None, Parameter(help="A model (a finished trial, an import), whose parameters to start from.")
    ] = None,
) -> int:
    """Train one network into a trial folder, or go on where an earlier run of it stopped."""
    import signal
    import time

    from sqzx.attempt import attempt
    from sqzx.compilation import use_compilation_cache
    from sqzx.config import resolve
    from sqzx.counting import count
    from sqzx.data.splits import load_splits_of
    from sqzx.files import cache_home, holds_files
    from sqzx.trial import TrialFolder

    started = time.monotonic()
    trial = resolve(_settings(config, preset, set_), str(config or "train"))
    if trial.compress is not None:
        raise InputError("compress.recipe: train has no such part; use sqzx compress MODEL --recipe")
    count(trial.model, trial.data.image_shape)
    load_splits_of(trial.data)
    folder = TrialFolder(out)
    if holds_files(out) and not folder.config_file.exists():
        raise InputError(f"--out {out}: is not empty and no trial's folder; choose another")
    use_compilation_cache(os.environ, cache_home() / "compiled")
    origin = None
    if init_from is not None:  # refuse what does not fit before the folder is touched
        from sqzx.model import check_fits, read_model

        origin = read_model(init_from)
        try:
            for line in check_fits(origin, trial.model, trial.data.image_shape):
                print(f"--init-from {init_from}: {line}")
        except InputError as error:
            raise InputError(f"--init-from {init_from}: {error}") from None
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))

    status = attempt(trial, folder, started=started, origin=origin, should_stop=lambda: bool(asked), say=_say)
    if (result := folder.read_result()) and status.status == "done":
        print(
            f"test top-1 {result['test_top1']:.4f}, {result['params']:,} parameters; see {folder.result_file}"
        )
    return {"done": 0, "interrupted": 130}.get(status.status, 1)


@app.command
def predict(
    model: ModelPath,
    *inputs: Annotated[Path, Parameter(help="Image files, or .npy arrays that are preprocessed already.")],
    out: Annotated[Path | None, Parameter(help="A .npy file for the logits, a row an image.")] = None,
    top: Annotated[int, Parameter(help="Classes to name for each image.")] = 5,
    json_: AsJson = False,
) -> None:
    """Print the likeliest classes of images, or write their logits.

    Images may be PNG, JPEG, BMP, GIF or WebP of any size. A .npy holds float32 values as
    (images, height, width, channels).
    """
    from sqzx.model import read_model

    if not inputs:
        raise InputError("predict: needs an image or a .npy file after the model")
    if top < 1:
        raise InputError(f"--top: needs at least 1, found {top}")
    if out is not None and out.suffix != ".npy":
        raise InputError(f"--out {out}: needs a name that ends in .npy")
    found = read_model(model)
    from sqzx import prediction

    logits, origins = prediction.predict(found, list(inputs))
    if out is not None:
        import numpy as np

        from sqzx.files import write_whole

        write_whole(out, lambda file: np.save(file, logits, allow_pickle=False))
    answers = prediction.answers(found, logits, origins, top)
    if json_:
        _print_json([{**a._asdict(), "guesses": [g._asdict() for g in a.guesses]} for a in answers])
    elif out is None:
        prediction.print_answers(answers)
    else:
        print(f"{logits.shape[0]} x {logits.shape[1]} logits in {out}")


@app.command
def evaluate(
    model: ModelPath,
    *,
    data: Annotated[str | None, Parameter(help="A prepared data set; by default what it trained on.")] = None,
    json_: AsJson = False,
) -> None:
    """Print how often a model is right on the test images of a data set."""
    from sqzx.model import read_model

    found = read_model(model)
    from sqzx.prediction import evaluate

    scores, images, name = evaluate(found, data)
    if json_:
        _print_json({"data": name, "images": images, **scores.named("test")})
    else:
        top5 = f", top-5 {scores.top5:.4f}" if scores.top5 is not None else ""
        print(f"{name}: test top-1 {scores.top1:.4f}{top5}, loss {scores.loss:.4f}, {images:,} images")


@app.command(name="import")
def import_(
    file: Annotated[Path, Parameter(help="The authors' compressed network, safetensors, or .npz.")],
    *,
    out: Out,
    config: Config = None,
    preset: Preset = None,
    set_: Set = (),
    num_classes: Annotated[
        int | None, Parameter(help="Start the last layer afresh, for so many classes.")
    ] = None,
    input_size: InputSize = None,
    preprocessing: Annotated[
        str | None, Parameter(help="caffe, torchvision or unit (0 to 1); by default what the names suggest.")
    ] = None,
    class_names: Annotated[Path | None, Parameter(help="A text file, a class a line.")] = None,
) -> None:
    """Make a model of a network from elsewhere.

    Names may be torchvision's (features.3.squeeze.weight) or those of the authors' Caffe files
    (fire2/squeeze1x1).
    """
    from sqzx.config import read_setting
    from sqzx.counting import count
    from sqzx.files import holds_files
    from sqzx.importing import PREPROCESSING, import_model
    from sqzx.model import write_model
    from sqzx.trial import TrialFolder

    if num_classes is not None:
        read_setting("model.num_classes", num_classes, "--num-classes")
    if preprocessing is not None and preprocessing not in PREPROCESSING:
        raise InputError(f"--preprocessing {preprocessing}: is one of {', '.join(PREPROCESSING)}")
    if holds_files(out):
        raise InputError(f"--out {out}: is not empty; choose another folder")
    imported = import_model(
        file,
        _settings(config, preset, set_),
        num_classes=num_classes,
        image_size=_size(input_size, "--input-size") if input_size else None,
        prepared=preprocessing,
        class_names=_lines(class_names) if class_names else (),
    )
    written = TrialFolder(out).model_file
    write_model(written, imported.model)
    for note in imported.notes:
        print(note)
    params = count(imported.model.config, imported.model.preprocessing.image_shape).params
    print(f"images: {imported.model.preprocessing.told()}")
    print(f"{params:,} parameters, {imported.model.config.num_classes} classes, in {written}")


@app.command
def export(
    model: ModelPath,
    *,
    format_: Annotated[str, Parameter(name="--format", help="safetensors, with torchvision's names.")],
    out: Annotated[Path, Parameter(name="--out", help="The file.")],
) -> None:
    """Write a model for other programs."""
    from sqzx.model import read_model, write_model

    if format_ != "safetensors":
        raise InputError(f"--format {format_}: is safetensors so far")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; name a file")
    found = read_model(model)
    write_model(out, found)
    print(f"{out}: kernels as (out, in, height, width), torchvision's names")
    if found.ranks:
        print(f"{', '.join(found.ranks)}: two layers each there, one here, their kernels multiplied out")
    print(f"images: {found.preprocessing.told()}, as (images, channels, height, width) there")


@app.command
def compress(
    model: ModelPath,
    *,
    out: Annotated[Path, Parameter(name="--out", help="The file, F.sqz.")],
    recipe: Annotated[
        str | None, Parameter(help="deep_compression, dsd, pruning or svd; trains on the model's own data.")
    ] = None,
    set_: Set = (),
    lossless: Annotated[
        bool,
        Parameter(negative="", help="Keep every weight to the bit (at most 255 values a layer, and 0)."),
    ] = False,
    images: Annotated[
        tuple[Path, ...],
        Parameter(
            consume_multiple=True,
            negative="",
            help="Images, or .npy arrays as for predict: how far their logits move is told.",
        ),
    ] = (),
) -> None:
    """Write a model as a .sqz file: by a recipe with retraining, or just its weights shared and coded.

    Without a recipe zeros stay zeros, and no data is needed. A recipe prunes, shares or factors, and trains
    in between; a run that was cut goes on from the folder F.sqz.work beside the file.
    sqzx/compression/config.py has the keys: compress.density, compress.bits (1 to 8), compress.coder
    (huffman or range), compress.tables (f16 or f32), ...
    """
    from sqzx.compression.assignments import read_assignments
    from sqzx.model import read_model

    config = read_assignments(set_, recipe=recipe, lossless=lossless)
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; name a file")
    if out.suffix != ".sqz":
        raise InputError(f"--out {out}: needs a name that ends in .sqz")
    found = read_model(model)
    logits = _logits(found, images) if images else None  # before long work: an image may be none
    if config.recipe is not None:
        _compress_by_recipe(model, found, config, out)
    else:
        from sqzx.compression import compressing, sqz

        try:
            made = compressing.lossless(found) if lossless else compressing.compress(found, config)
            size = sqz.write_sqz(out, made, coder=config.coder)
        except InputError as error:
            raise type(error)(f"{model}: {error}") from None
        error = compressing.squared_error(found, made.model)
        print(f"{out}: {size:,} bytes, read back and compared; relative squared error {error:.2e}")
        print("accuracy was not measured; sqzx evaluate does, on a data set")
    if logits is not None:
        from sqzx.compression.logit_change import logit_change

        print(logit_change(logits, _logits(read_model(out), images)).told())


def _logits(model: Any, images: tuple[Path, ...]) -> Any:
    from sqzx.prediction import predict

    return predict(model, list(images))[0]


def _compress_by_recipe(path: Path, model: Any, config: Any, out: Path) -> None:
    import signal

    from sqzx.compilation import use_compilation_cache
    from sqzx.compression.dense_training import training_of
    from sqzx.files import cache_home

    trial = training_of(path, model)
    use_compilation_cache(os.environ, cache_home() / "compiled")
    from sqzx.compression import recipes, summary

    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))
    listener = recipes.Listener(
        say=_say, on_fault=lambda fault: _say(f"fault: {fault}"), should_stop=lambda: bool(asked)
    )
    summary.print_made(recipes.compress_alone(model, trial, config, out, listener), out)


@app.command
def sensitivity(
    model: ModelPath,
    *,
    out: Out,
    density: Annotated[
        tuple[float, ...],
        Parameter(consume_multiple=True, negative="", help="Shares of a layer's weights that stay."),
    ] = (),
) -> None:
    """Prune one layer at a time, without retraining, and draw what that costs: which layers can be small.

    The scores are of the validation images; the numbers go into sensitivity.csv beside the figure.
    """
    from sqzx.compression.dense_training import training_of
    from sqzx.model import read_model

    found = read_model(model)
    trial = training_of(model, found)
    from analysis.sensitivity import write_sensitivity
    from sqzx.compression.sensitivity import DENSITIES, scan

    for path in write_sensitivity(scan(found, trial, density or DENSITIES, _say), out):
        print(path)


@app.command
def inspect(
    file: Annotated[Path, Parameter(name="F.sqz", help="A .sqz file.")], *, json_: AsJson = False
) -> None:
    """Print where the bytes of a .sqz file go, a row a layer, and how it compares."""
    from sqzx.compression.inspection import inspect, print_inspection, to_json

    found = inspect(file)
    if json_:
        _print_json(to_json(found))
    else:
        print_inspection(found)


# --- data ------------------------------------------------------------------------------------------------


@data.command
def prepare(
    name: Annotated[str, Parameter(help="digits, fashion_mnist, or a set of TensorFlow Datasets.")],
    *,
    from_: Annotated[Path | None, Parameter(name="--from", help="A folder with the published files.")] = None,
    image_size: Annotated[
        str | None, Parameter(help="HEIGHTxWIDTH, where a set's images differ in size.")
    ] = None,
    storage: Annotated[
        Literal["arrays", "records"] | None,
        Parameter(help="Arrays in memory, or records that are read a batch at a time: above 4 GiB."),
    ] = None,
) -> None:
    """Get a data set, check it, and store it so that training reads it without a network."""
    from sqzx.data.info import set_folder
    from sqzx.data.prepare import prepare

    size = _size(image_size) if image_size else None
    info = prepare(name, source=from_, image_size=size, storage=storage)
    _print_set(info)
    if info.rule:
        print(info.rule)
    print(f"ready in {set_folder(name)}")


@data.command(name="list")
def list_(*, json_: AsJson = False) -> None:
    """Print the data sets on this machine."""
    import dataclasses

    from sqzx.data.info import data_root, prepared_sets

    sets = prepared_sets()
    if json_:
        _print_json([dataclasses.asdict(info) for info in sets])
        return
    for info in sets:
        _print_set(info)
    print(f"{len(sets)} prepared in {data_root()}; digits is made when it is first used")


# --- many networks ---------------------------------------------------------------------------------------


@sweep.command
def plan(
    study: StudyFile,
    *,
    out: Out | None = None,
    workers: Workers = None,
    calibrate: Annotated[
        bool, Parameter(negative="", help="Time a few steps, where no trial is done; kept with --out.")
    ] = False,
    csv: Annotated[Path | None, Parameter(help="Also write a row a trial into this file.")] = None,
    json_: AsJson = False,
) -> None:
    """Print every trial with its size and expected cost, what is done, what is skipped and why.

    With --out, what is done there is counted, and its times price the rest. No trial is trained.
    """
    from sqzx.provenance import available_cores
    from sweeps.elsewhere import as_seen
    from sweeps.listing import plan_json, print_plan, write_plan_csv
    from sweeps.plan import affordable, plan_study, priced
    from sweeps.study import read_study

    _check_workers(workers)
    found = plan_study(read_study(study), out)
    calibrations = ()
    if calibrate:
        from sweeps.calibrating import calibrated

        calibrations = calibrated(found, out)
    found = affordable(priced(found, out, calibrations))
    if out is not None:
        found = as_seen(found, out)
    workers = workers or len(available_cores())
    if csv is not None:
        write_plan_csv(found, csv)
    if json_:
        sys.stdout.writelines(plan_json(found, workers))
    else:
        print_plan(found, workers)


@sweep.command(name="run")
def run_(
    study: StudyFile,
    *,
    out: Out,
    settings: RunSettings = RunSettings(),
    finish: Annotated[
        bool, Parameter(negative="", help="Train to their ends what [halving] stops or has stopped.")
    ] = False,
) -> int:
    """Run what is missing of a study, and nothing else."""
    from sweeps.runner import run
    from sweeps.study import read_study
    from sweeps.view import view_for_output

    options = _run_options(settings, finish=finish)
    return run(read_study(study), out, options, view_for_output()).exit_code


@sweep.command
def retry(folder: Folder, *, settings: RunSettings = RunSettings()) -> int:
    """Mark the failed trials of a study as pending, and run what is missing."""
    from sweeps.runner import retry
    from sweeps.view import view_for_output

    return retry(folder, _run_options(settings), view_for_output()).exit_code


@sweep.command
def status(
    folder: Folder,
    *,
    log: Annotated[
        str | None, Parameter(help="A trial's id: what it came to, and the end of its log.")
    ] = None,
    watch: Annotated[
        bool, Parameter(negative="", help="Look again and again, until every trial has ended.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Print what has become of a study's trials. Reads only, and may be asked while it runs.

    With --watch a terminal shows it as it goes; elsewhere each change is a line, with --json one of JSON.
    """
    from sweeps.elsewhere import as_seen
    from sweeps.listing import log_json, print_log, print_status, status_json
    from sweeps.plan import plan_folder

    if watch:
        from sweeps.watching import watch as show

        if log is not None:
            raise InputError("--log: tells of one trial that is over or not; leave --watch out")
        show(folder, as_json=json_)
        return
    plan = plan_folder(folder)
    if log is not None:
        told = log_json(plan, folder, log)
        _print_json(told) if json_ else print_log(told)
        return
    found = as_seen(plan, folder)
    if json_:
        _print_json(status_json(found))
    else:
        print_status(found, folder)


# --- what was learnt -------------------------------------------------------------------------------------


@app.command
def table(
    folder: Folder,
    *,
    out: Annotated[Path | None, Parameter(help="A .csv or .parquet file.")] = None,
    columns: Annotated[
        bool, Parameter(negative="", help="Print what the columns are, with their units, instead.")
    ] = False,
    against_dense: Annotated[
        bool,
        Parameter(
            negative="", help="A row a configuration that is compressed, tested against what it was made of."
        ),
    ] = False,
) -> None:
    """Print or write the tidy table of a study, one row a trial, every configuration key a column."""
    from analysis.table import load
    from analysis.table_files import write_table

    if against_dense and columns:
        raise InputError("--columns: tells of the table of trials; leave --against-dense out")
    if against_dense:
        from analysis import against_dense as compressed
        from sweeps.plan import plan_folder

        frame = compressed.table(compressed.against_dense(plan_folder(folder), folder))
        if frame.empty:
            raise InputError(f"{folder}: nothing in this study is compressed and done")
    else:
        frame = load(folder)
    if columns:
        from analysis.columns import columns_table
        from sqzx.terminal import print_table

        print_table(columns_table([str(name) for name in frame.columns]))
    elif out is None:
        frame.to_csv(sys.stdout, index=False)
    else:
        write_table(frame, out)
        print(f"{len(frame)} {'configurations' if against_dense else 'trials'} in {out}")


@app.command
def plot(
    folder: Annotated[Path, Parameter(help="The folder of a study, or a table that `sqzx table` wrote.")],
    *,
    out: Out,
    metric: Annotated[str, Parameter(help="test_top1, test_top5, val_top1 or val_top5.")] = "test_top1",
    size: Annotated[
        str,
        Parameter(
            help="What accuracy is drawn against: bytes_fp32, mib (written as the paper does), params, macs, "
            "bytes_compressed, or latency_ms where a table was given that column."
        ),
    ] = "bytes_fp32",
    error: Annotated[
        bool,
        Parameter(negative="", help="Draw error on a logarithmic axis along the axes and against size."),
    ] = False,
) -> None:
    """Draw the figures that a study has the data for, each as PNG and SVG."""
    from analysis.figures import Options, draw_all

    for path in draw_all(folder, out, Options(metric, size, error)):
        print(path)


@app.command
def report(
    folder: Folder,
    *,
    out: Annotated[Path | None, Parameter(help="The file; DIR/report.html by default.")] = None,
) -> None:
    """Write the whole study into one self-contained HTML file. Works on a half-finished study too."""
    from analysis.report import write_report

    print(write_report(folder, out or folder / "report.html"))


@app.command
def compare(
    folder: Folder,
    a: Annotated[str, Parameter(help="A trial, or a configuration with all its seeds.")],
    b: Annotated[str, Parameter(help="Another.")],
    *more: Annotated[str, Parameter(name="C", help="Any further ones.")],
    html: Annotated[
        Path | None, Parameter(help="A file to write it into as one self-contained page.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Print what differs between trials or configurations: keys, layers, metrics, answers, environment.

    A and B are each a trial's id, a configuration's name, a selection such as model.squeeze_ratio=0.5, or
    the folder of a trial of another study.
    """
    from analysis.compare import compare, to_json

    found = compare(folder, (a, b, *more))
    if html is not None:
        from analysis.comparison_page import write_page

        write_page(found, html)
    if json_:
        _print_json(to_json(found))
    elif html is not None:
        print(html)
    else:
        from rich.console import Console

        from analysis.side_by_side import render

        render(found, Console())


def _settings(config: Path | None, preset: str | None, assignments: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of a command: the file, over it the preset, over both the single keys."""
    from sqzx.config import parse_assignment, read_setting, read_settings

    settings = read_settings(config) if config else {}
    if preset is not None:
        settings["model.preset"] = read_setting("model.preset", preset, "--preset")
    return settings | dict(parse_assignment(text) for text in assignments)


def _run_options(settings: RunSettings, *, finish: bool = False) -> Any:
    from sqzx.claims import patience_seconds
    from sweeps.runner import RunOptions

    patience_seconds()  # refused here, before each worker would
    _check_workers(settings.workers)
    if settings.cores_per_worker < 1:
        raise InputError(f"--cores-per-worker: needs at least 1, found {settings.cores_per_worker}")
    for name, limit in {"time": settings.time_limit, "stall": settings.stall_limit}.items():
        if limit is not None and not limit > 0:
            raise InputError(f"--{name}-limit: needs more than 0 seconds, found {limit:g}")
    gpus, stack = settings.gpus_per_worker, settings.stack
    if gpus is not None and not 0 <= gpus <= 1:
        raise InputError(f"--gpus-per-worker: needs 0 to 1 (a trial trains on one device), found {gpus:g}")
    if stack != "auto" and not (stack.isdecimal() and int(stack)):
        raise InputError(f"--stack {stack}: needs a whole number of at least 1, or auto")
    options: dict[str, Any] = asdict(settings) | {
        "stack": stack if stack == "auto" else int(stack),
        "finish": finish,
    }
    return RunOptions(**options)


def _check_workers(workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise InputError(f"--workers: needs at least 1, found {workers}")


def _image_shape(shape: tuple[int, ...], size: str | None, channels: int | None) -> tuple[int, ...]:
    if channels is not None and channels < 1:
        raise InputError(f"--channels: needs at least 1, found {channels}")
    return (*(_size(size, "--input-size") if size else shape[:2]), channels or shape[2])


def _size(text: str, where: str = "--image-size") -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InputError(f"{where} {text}: needs HEIGHTxWIDTH, as in 227x227")
    return int(height), int(width)


def _lines(path: Path) -> tuple[str, ...]:
    from sqzx.config import read_text

    return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())


def _print_set(info: Any) -> None:
    shape = "x".join(map(str, info.image_shape))
    print(
        f"{info.name}: {info.train_examples:,} training and {info.test_examples:,} test images of {shape}, "
        f"{info.num_classes} classes, as {info.storage} ({info.source})"
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
