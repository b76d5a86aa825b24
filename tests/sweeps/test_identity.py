"""The identity of a trial: same point, same id; another point, another id."""

import dataclasses
import hashlib
import json
from importlib.resources import as_file, files

import pytest

from sqzx.architectures import SqueezeNetConfig
from sqzx.config import parse_assignment, resolve
from sweeps.identity import config_id, ids_of_seeds, trial_id
from sweeps.plan import plan_study
from sweeps.study import read_study

SMALL = {"model.preset": "squeezenet_small", "data.name": "digits"}


def trial(*assignments: str, **settings: object):
    return resolve(SMALL | dict(parse_assignment(a) for a in assignments) | settings, "test")


def test_ids_are_golden():
    assert trial_id(trial()) == "t9fd1c5417f903bb7"
    assert config_id(trial()) == "c0109031d4f56829c"
    assert (
        trial_id(trial("seed=3", "model.pool_after=[1,3]", "train.learning_rate=1e-3")) == "t105c9a1219f82c0a"
    )


@pytest.mark.parametrize(
    ("study", "first", "last", "all_ids"),
    [
        ("paper_digits", "t5f38f40c744f953c", "t92303c1537eaa8d4", "fe65c28c1c684667"),
        ("paper_fashion_mnist", "te7d03c14423a2f3c", "t8eb3a8849a46ea6e", "65acb6a2a757835d"),
        ("paper_imagenet", "tbf993b2f83658d2f", "t9ceea98f5032c95b", "abee4b05092fc294"),
        ("compression_digits", "t9d7d94c431ff4da7", "t8ed2eb418f2b90d1", "19376d81ba93426f"),
        ("alexnet_digits", "t5f38f40c744f953c", "tcff941f340c860ed", "485662468e9eb828"),
    ],
)
def test_ids_of_the_studies_of_the_package_are_golden(study, first, last, all_ids):
    with as_file(files("sweeps") / "studies" / f"{study}.toml") as path:
        ids = [trial.id for trial in plan_study(read_study(path)).trials]
    digest = hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]
    assert (ids[0], ids[-1], digest) == (first, last, all_ids)


def test_ids_of_seeds_are_those_of_single_trials():
    config = trial("model.pool_after=[1,3]")
    expected = [trial_id(dataclasses.replace(config, seed=seed)) for seed in range(3)]
    assert ids_of_seeds(config, 3) == (config_id(config), expected)


def test_id_is_a_hash_of_canonical_json():
    config = trial("seed=5")
    tree = {"schema": 1, **dataclasses.asdict(config)}
    del tree["train"]["precision"], tree["compress"]  # came later, and are at the values of before
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    assert trial_id(config) == "t" + hashlib.sha256(text.encode()).hexdigest()[:16]


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
