"""A scan prunes one layer at a time, and scores what is left on the validation images."""

from dataclasses import replace

import numpy as np
import pytest

from sqzx.compression.kernels import kernels_of
from sqzx.compression.pruning import density_masks, kept_count, pruned
from sqzx.compression.sensitivity import scan, sensitivity
from sqzx.data.splits import load_splits_of
from sqzx.errors import InputError
from sqzx.evaluation import score
from sqzx.model import Model
from sqzx.network import initial_parameters
from sqzx.prediction import model_logits
from sqzx.preprocessing import of_training_images


def network():
    random = np.random.default_rng(0)

    def layer(*shape):
        kernel = random.normal(size=shape).astype(np.float32)
        return {"kernel": kernel, "bias": random.normal(size=shape[-1]).astype(np.float32)}

    return {"stem": layer(3, 3, 1, 4), "fire2": {"squeeze": layer(1, 1, 4, 5)}, "fc": layer(20, 3)}


def test_one_layer_is_pruned_at_a_time():
    parameters, seen = network(), []

    def score(pruned_parameters):
        seen.append({n: int((k != 0).sum()) for n, k in kernels_of(pruned_parameters).items()})
        return sum(seen[-1].values())

    rows = sensitivity(parameters, score, [0.5, 0.1])
    assert [(row.layer, row.density) for row in rows] == [
        (layer, density) for layer in ("stem", "fire2.squeeze", "fc") for density in (0.5, 0.1)
    ]
    whole = {"stem": 36, "fire2.squeeze": 20, "fc": 60}
    for row, counts in zip(rows, seen, strict=True):
        assert counts == whole | {row.layer: row.kept}
        assert row.kept == kept_count(row.density, row.weights)
        assert row.weights == whole[row.layer]
        assert row.score == sum(counts.values())
    assert all(np.all(kernel != 0) for kernel in kernels_of(parameters).values())  # nothing is changed


def test_of_some_layers():
    rows = sensitivity(network(), lambda _: 0.0, iter([0.5]), layers=["fc"])
    assert [row.layer for row in rows] == ["fc"]


@pytest.fixture(scope="module")
def trial(tiny):
    return tiny()


@pytest.fixture(scope="module")
def model(trial):
    return Model(
        config=trial.model,
        parameters=initial_parameters(trial.model, trial.data.image_shape, 0),
        preprocessing=of_training_images(load_splits_of(trial.data)),
        source="a test",
        data="digits",
    )


def test_a_scan_scores_the_validation_images(trial, model):
    told = []
    found = scan(model, trial, iter([0.3, 1.0]), told.append)
    validation = load_splits_of(trial.data).validation

    def top1(parameters):
        logits = model_logits(replace(model, parameters=parameters), validation.images)
        return score(logits, validation.labels).top1

    assert (found.dense, found.images) == (top1(model.parameters), len(validation.labels))
    layers = list(kernels_of(model.parameters))
    assert [(row.layer, row.density) for row in found.rows] == [(n, d) for n in layers for d in (0.3, 1.0)]
    assert {row.score for row in found.rows if row.density == 1} == {found.dense}
    one = found.rows[2]
    masks = density_masks(model.parameters, {one.layer: 0.3})
    assert one.score == top1(pruned(model.parameters, masks))
    assert [line.partition(":")[0] for line in told] == layers


def test_no_density(trial, model):
    with pytest.raises(InputError, match="density: needs more than 0 and at most 1, found 1"):
        scan(model, trial, [0.5, 1.5])
