"""How a model that is to be compressed was trained: what retraining goes on with."""

from pathlib import Path

from sqzx.config import DataConfig, TrainConfig, TrialConfig
from sqzx.data.info import dataset_info
from sqzx.errors import InputError
from sqzx.model import Model
from sqzx.trial import TrialFolder


def training_of(path: Path, model: Model) -> TrialConfig:
    """Return how the model at `path` was trained: a trial's folder says so, else as trials are by default.

    `InputError` for a model that doesn't say on what data, or of which that data has other images or classes.
    """
    folder = TrialFolder(path)
    if folder.config_file.is_file():
        return folder.read_config().dense()
    if model.data is None:
        raise InputError(f"{path}: this model doesn't say on what data it was trained; give a trial's folder")
    info = dataset_info(model.data)
    there = *info.image_shape, info.num_classes
    here = *model.preprocessing.image_shape, model.config.num_classes
    if there != here:
        told = ("{}x{}x{} images of {} classes".format(*numbers) for numbers in (there, here))
        raise InputError("{}: {} has {}, the model takes {}".format(path, model.data, *told))
    data = DataConfig(name=model.data, image_shape=info.image_shape)
    return TrialConfig(model=model.config, data=data, train=TrainConfig())
