"""A compressed trial: a recipe on the network of a finished dense trial, into the trial's own folder.

Beside the files of every trial it leaves `compressed.sqz`, from which all its numbers come, and no model and
no checkpoint of its own. Until it is done, the stages lie in `work/`.
"""

from sqzx.compression import recipes
from sqzx.compression.recipes import Made
from sqzx.compression.stages import Listener
from sqzx.config import TrialConfig
from sqzx.counting import count
from sqzx.files import write_json
from sqzx.model import Model
from sqzx.training import peak_memory_mb, write_predictions
from sqzx.trial import TrialFolder


def compress_trial(config: TrialConfig, folder: TrialFolder, dense: Model, listener: Listener) -> None:
    """Compress the network of the dense trial as `config` has it; errors as `recipes.compress`.

    What an earlier, interrupted attempt left in the folder is gone on with.
    """
    assert config.compress is not None
    out, work = folder.compressed_file, folder.path / "work"
    halves = folder.halves
    made = recipes.compress(dense, config.dense(), config.compress, out, work, listener, halves=halves)
    write_predictions(folder, made.test_logits, made.splits.test.labels)
    write_json(folder.result_file, _result(config, made), halves=halves)


def _result(config: TrialConfig, made: Made) -> dict[str, object]:
    network, splits = count(config.model, config.data.image_shape), made.splits
    return {
        **made.validation.named("val"),
        **made.test.named("test"),
        "learned": bool(made.test_logits.any()),
        "params": network.params,
        "params_kept": made.params_kept,
        "macs": network.macs,
        "bytes_fp32": network.bytes_fp32,
        "bytes_compressed": made.bytes,
        "compression_ratio": network.bytes_fp32 / made.bytes,
        "peak_activations": network.peak_activations,
        "stages": [
            {**measured.stage, **measured.validation.named("val"), "bytes": measured.bytes}
            for measured in made.stages
        ],
        "epochs": made.epochs,
        "steps": made.steps,
        "train_examples": len(splits.train.labels),
        "validation_examples": len(splits.validation.labels),
        "test_examples": len(splits.test.labels),
        "data_fingerprint": splits.info.fingerprint,
        **made.seconds,
        "images_per_second": made.images_per_second,
        "peak_memory_mb": peak_memory_mb(),
    }
