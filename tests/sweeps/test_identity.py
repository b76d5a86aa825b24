"""The identity of a trial: same point, same id; another point, another id."""

import dataclasses

import pytest

from sqzx.architectures import SqueezeNetConfig
from sqzx.config import parse_assignment, resolve
from sweeps.identity import config_id, trial_id

SMALL = {"model.preset": "squeezenet_small", "data.name": "digits"}


def trial(*assignments: str, **settings: object):
    return resolve(SMALL | dict(parse_assignment(a) for a in assignments) | settings, "test")


def test_ids_are_golden():
    assert trial_id(trial()) == "t9fd1c5417f903bb7"
    assert config_id(trial()) == "c0109031d4f56829c"
    assert (
        trial_id(trial("seed=3", "model.pool_after=[1,3]", "train.learning_rate=1e-3")) == "t105c9a1219f82c0a"
    )


def test_id_starts_with_a_letter_and_is_64_bits():
    assert trial_id(trial())[0] == "t"
    assert len(bytes.fromhex(trial_id(trial())[1:])) == 8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["train.batch_size=64"], []),
        (["model.base_e=128"], ["model.base_e=128.0"]),
        (["train.weight_decay=0"], ["train.weight_decay=-0.0"]),
        (["model.squeeze_ratio=0.5"], ["model.squeeze_ratio=5e-1"]),
        (["model.pool_after=[4,1]"], ["model.pool_after=[1,4]"]),
        (["model.stem_kernel=3"], []),
        (["model.num_classes=10"], []),
        (["train.recipe=paper", "train.momentum=0"], ["train.recipe=paper", "train.momentum=0.0"]),
    ],
)
def test_two_spellings_of_one_point_are_one_trial(one, other):
    assert trial_id(trial(*one)) == trial_id(trial(*other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["train.learning_rate=1.00001e-5"], ["train.learning_rate=1.46532e-5"]),
        (["train.learning_rate=0.3"], ["train.learning_rate=0.30000000000000004"]),
        (["seed=0"], ["seed=1"]),
        (["data.train_examples=100"], []),
        (["train.gradient_clip=2"], []),
    ],
)
def test_two_points_are_two_trials(one, other):
    assert trial_id(trial(*one)) != trial_id(trial(*other))


def test_config_id_is_the_same_for_all_seeds():
    assert config_id(trial("seed=0")) == config_id(trial("seed=1"))
    assert config_id(trial("model.freq=3")) != config_id(trial())


def test_every_field_is_part_of_the_identity():
    base = trial()
    changed = {
        int: lambda v: v + 1,
        float: lambda v: v / 2 + 0.01,
        bool: lambda v: not v,
        str: lambda v: v + "x",
    }
    for part in ("model", "data", "train"):
        section = getattr(base, part)
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            other = (7,) if isinstance(value, tuple) else 3 if value is None else changed[type(value)](value)
            clone = dataclasses.replace(section)
            object.__setattr__(clone, field.name, other)  # past the checks: identity asks no questions
            assert trial_id(dataclasses.replace(base, **{part: clone})) != trial_id(base), field.name


def test_a_field_added_later_leaves_old_ids_alone():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Later(SqueezeNetConfig):
        groups: int = dataclasses.field(default=1, metadata={"introduced_as": 1})

    base = trial()
    fields = dataclasses.asdict(base.model)
    assert trial_id(dataclasses.replace(base, model=Later(**fields))) == trial_id(base)
    assert trial_id(dataclasses.replace(base, model=Later(**fields, groups=2))) != trial_id(base)
