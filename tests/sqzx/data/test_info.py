import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sqzx.data.info import (
    KNOWN,
    data_root,
    dataset_info,
    prepared_sets,
    read_info,
    set_folder,
    write_info,
)
from sqzx.errors import InputError, MissingDataError


def test_metadata_needs_neither_numpy_nor_scikit_learn_nor_tfds():
    code = (
        "import sys, sqzx.data, sqzx.data.info as info; info.dataset_info('fashion_mnist');"
        "sys.exit(' '.join({'numpy', 'sklearn', 'tensorflow_datasets', 'jax'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SQZX_DATA": "/data"}, "/data"),
        ({"SQZX_DATA": "~/data", "HOME": "/home/ada"}, "/home/ada/data"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/sqzx/data"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/home/ada"}, "/home/ada/.cache/sqzx/data"),
        ({"SQZX_DATA": "", "HOME": "/home/ada"}, "/home/ada/.cache/sqzx/data"),
    ],
)
def test_data_root_follows_the_environment(monkeypatch, environment, expected):
    for key in ("SQZX_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert data_root() == Path(expected)


def test_known_sets_can_be_planned_with_before_they_are_prepared():
    assert dataset_info("fashion_mnist").image_shape == (28, 28, 1)
    assert dataset_info("imagenet2012").num_classes == 1000
    assert [name for name, info in KNOWN.items() if name != info.name] == []


def test_a_prepared_set_is_described_by_its_own_file(toy):
    assert dataset_info("toy") == toy
    assert prepared_sets() == [toy]


def test_no_set_is_prepared_where_there_is_no_folder():
    assert prepared_sets() == []


def test_temporary_folders_are_not_listed(toy, root):
    write_info_folder = root / ".toy.1.half"
    write_info_folder.mkdir()
    write_info(write_info_folder, toy)
    assert prepared_sets() == [toy]


def test_an_unknown_set_is_missing_with_the_command_that_prepares_it(root):
    with pytest.raises(MissingDataError) as error:
        dataset_info("cifar10")
    assert str(error.value) == f"data set 'cifar10' is not prepared in {root}: run sqzx data prepare cifar10"


def test_a_near_miss_of_a_known_name_is_suggested():
    with pytest.raises(MissingDataError, match="did you mean 'fashion_mnist'"):
        dataset_info("fashion_mnits")
    with pytest.raises(InputError, match="did you mean 'fashion_mnist'"):
        dataset_info("Fashion-MNIST")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b/c", "/etc", "a\\b", "a\0b", "a/..", "é", "a\n", "-rf", "a" * 101]
)
def test_names_that_could_leave_the_root_are_refused(name):
    with pytest.raises(InputError, match="a name is letters, digits and _"):
        set_folder(name)


def test_a_configuration_has_a_folder_of_its_own(root):
    assert set_folder("emnist/balanced") == root / "emnist+balanced"
    assert set_folder("emnist__balanced") != set_folder("emnist/balanced")


def test_info_survives_a_round_trip(tmp_path):
    for info in KNOWN.values():
        folder = tmp_path / info.name
        folder.mkdir()
        info = replace(info, fingerprint=info.fingerprint or "0" * 64)
        write_info(folder, info)
        assert read_info(folder) == info


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"num_classes": 3', '"num_classes": true', "num_classes is True"),
        ('"num_classes": 3', '"num_classes": 4', "3 names for 4 classes"),
        ('"train_examples": 30', '"train_examples": 0', "train_examples is 0"),
        ('"source"', '"sauce"', "other keys"),
        ('"name": "toy"', '"name": "boy"', "that of 'boy'"),
        ("{", "", "can't be read as JSON"),
    ],
)
def test_a_damaged_info_file_says_what_to_delete(toy, root, old, new, reason):
    file = root / "toy" / "info.json"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=reason) as error:
        dataset_info("toy")
    assert str(error.value).startswith(f"{root / 'toy'}: this data set is damaged")
    assert str(error.value).endswith("delete the folder and run sqzx data prepare toy")
