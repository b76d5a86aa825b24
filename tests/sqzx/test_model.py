"""A model's file: what it holds, that equal models are equal files, and that no damage passes."""

import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load, load_file, save

from sqzx import preprocessing
from sqzx.config import resolve, resolve_model
from sqzx.errors import InputError
from sqzx.model import METADATA, Model, model_digest, read_model, write_model
from sqzx.network import initial_parameters
from sqzx.tensor_files import open_safetensors
from sqzx.trial import Status, TrialFolder

KEYS = {
    "model.preset": "squeezenet_small",
    "model.base_e": 4,
    "model.incr_e": 4,
    "model.num_fires": 2,
    "model.stem_features": 4,
    "model.pool_after": (1,),
    "model.squeeze_ratio": 0.5,
    "model.num_classes": 3,
}


def same_parameters(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_parameters(a[k], b[k]) for k in a)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def same(a, b):
    plain = replace(a, parameters={}) == replace(b, parameters={})
    return plain and same_parameters(a.parameters, b.parameters)


@pytest.fixture(scope="module")
def model():
    config = resolve_model(KEYS, "test")
    parameters = initial_parameters(config, (8, 8, 1), seed=1)
    parameters["conv10"]["bias"] += np.float32([0.25, -0.0, 1e-30])
    return Model(
        config=config,
        parameters=parameters,
        preprocessing=preprocessing.unit((8, 8, 1)),
        class_names=("cat", "Löwe", "犬"),
        source="made by a test",
        data="digits",
    )


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """The bytes of the model's file."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    write_model(path, model)
    return path.read_bytes()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Write bytes as a file."""
    path = tmp_path_factory.mktemp("damaged") / "model.safetensors"

    def write(data):
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def saying(whole, damaged):
    """Write the model with another text about it, or with parts of it changed (`...` leaves one out)."""

    def write(text=None, **changes):
        if text is None:
            told = {k: v for k, v in (said(whole) | changes).items() if v is not ...}
            text = json.dumps(told)
        return damaged(save(load(whole), {METADATA: text}))

    return write


def said(data):
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    return json.loads(header["__metadata__"][METADATA])


def refusal(path):
    """Return the one line that refuses a file, without the path that it begins with."""
    with pytest.raises(InputError) as error:
        read_model(path)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert line.isprintable()  # no line break, no terminal's control character
    assert len(line) < 3000
    return line.removeprefix(f"{path}: ")


def refused_or_the_same(path, model):
    try:
        found = read_model(path)
    except InputError:
        refusal(path)
    else:
        assert same(found, model)


class TestTheFile:
    def test_out_and_back(self, model, damaged, whole):
        assert same(read_model(damaged(whole)), model)

    def test_equal_models_are_equal_files(self, model, whole, tmp_path):
        write_model(tmp_path / "elsewhere" / "other_name.safetensors", model)
        assert (tmp_path / "elsewhere" / "other_name.safetensors").read_bytes() == whole
        write_model(tmp_path / "again", read_model(tmp_path / "elsewhere" / "other_name.safetensors"))
        assert (tmp_path / "again").read_bytes() == whole
        assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "elsewhere"]  # no halves

    def test_other_programs_read_it(self, model, damaged, whole):
        found = load_file(damaged(whole))
        assert {name: tensor.shape for name, tensor in found.items()} == {
            "features.0.weight": (4, 1, 3, 3),
            "features.0.bias": (4,),
            "features.3.squeeze.weight": (2, 4, 1, 1),
            "features.3.squeeze.bias": (2,),
            "features.3.expand1x1.weight": (2, 2, 1, 1),
            "features.3.expand1x1.bias": (2,),
            "features.3.expand3x3.weight": (2, 2, 3, 3),
            "features.3.expand3x3.bias": (2,),
            "features.4.squeeze.weight": (2, 4, 1, 1),
            "features.4.squeeze.bias": (2,),
            "features.4.expand1x1.weight": (2, 2, 1, 1),
            "features.4.expand1x1.bias": (2,),
            "features.4.expand3x3.weight": (2, 2, 3, 3),
            "features.4.expand3x3.bias": (2,),
            "classifier.1.weight": (3, 4, 1, 1),
            "classifier.1.bias": (3,),
        }
        assert {tensor.dtype for tensor in found.values()} == {np.dtype(np.float32)}
        kernel = model.parameters["fire3"]["expand3x3"]["kernel"]
        assert (found["features.4.expand3x3.weight"] == kernel.transpose(3, 2, 0, 1)).all()

    def test_it_says_what_is_needed_to_use_it(self, damaged, whole):
        with safe_open(damaged(whole), framework="numpy") as file:
            assert list(file.metadata()) == [METADATA]
        told = said(whole)
        assert told["version"] == 1
        assert told["model"]["squeeze_ratio"] == 0.5
        assert told["model"]["final_relu"] is False
        assert told["preprocessing"]["mean"] == [0.0]
        assert told["class_names"] == ["cat", "Löwe", "犬"]
        assert (told["source"], told["data"]) == ("made by a test", "digits")

    def test_whatever_it_says_changes_the_file(self, model, whole, tmp_path):
        for change in (
            {"config": replace(model.config, final_relu=True)},
            {"preprocessing": replace(model.preprocessing, mean=(0.5,))},
            {"class_names": ()},
            {"source": "elsewhere"},
            {"data": None},
        ):
            other = replace(model, **change)
            write_model(tmp_path / "m", other)
            assert (tmp_path / "m").read_bytes() != whole
            assert same(read_model(tmp_path / "m"), other)

    def test_names_as_lists_of_classes_have_them(self, model, tmp_path):
        names = ("n01440764\ttench", "great\N{NO-BREAK SPACE}white", "e\N{COMBINING ACUTE ACCENT}")
        write_model(tmp_path / "m", replace(model, class_names=names))
        read = read_model(tmp_path / "m")
        assert read.class_names == names
        assert [read.class_name(n) for n in range(2)] == ["n01440764 tench", "great white"]

    def test_a_name_that_would_colour_the_terminal_is_shown_without(self, model):
        assert replace(model, class_names=("a\x1b[31mb\nc", "", "")).class_name(0) == "a\ufffd[31mb c"

    def test_a_class_without_a_name_is_called_by_its_number(self, model):
        assert model.class_name(1) == "Löwe"
        assert replace(model, class_names=()).class_name(1) == "class 1"

    def test_the_digest_is_that_of_the_parameters(self, model, tmp_path):
        def digest(other):
            write_model(tmp_path / "m", other)
            return model_digest(read_model(tmp_path / "m"))

        found = digest(model)
        assert found.startswith("sha256:")
        assert len(found) == len("sha256:") + 16
        assert digest(replace(model, source="elsewhere", class_names=())) == found
        bias = {
            "bias": model.parameters["conv10"]["bias"] * 2,
            "kernel": model.parameters["conv10"]["kernel"],
        }
        assert digest(replace(model, parameters=model.parameters | {"conv10": bias})) != found


class TestFolders:
    def test_the_folder_of_an_import(self, model, whole, tmp_path):
        (tmp_path / "model.safetensors").write_bytes(whole)
        assert same(read_model(tmp_path), model)

    def test_a_folder_without_a_model(self, tmp_path):
        assert refusal(tmp_path) == "holds no model (no model.safetensors in it)"

    def test_nothing_there(self, tmp_path):
        assert refusal(tmp_path / "no") == "no such file"

    @pytest.mark.parametrize("state", ["failed", "interrupted", "timed_out", "pending"])
    def test_an_unfinished_trial(self, whole, tmp_path, state):
        folder = TrialFolder(tmp_path)
        folder.write_config(resolve({"model.preset": "squeezenet_small"}, "test"))
        folder.write_status(Status(status=state))
        folder.model_file.write_bytes(whole)  # as an earlier attempt may have left it
        assert refusal(tmp_path) == f"this trial is {state}; a finished one has a model"
        folder.write_status(Status(status="done"))
        assert read_model(tmp_path).source == "made by a test"

    def test_a_finished_trial_that_lost_its_model(self, tmp_path):
        folder = TrialFolder(tmp_path)
        folder.write_config(resolve({"model.preset": "squeezenet_small"}, "test"))
        folder.write_status(Status(status="done"))
        assert "holds no model" in refusal(tmp_path)


class TestDamage:
    """`read_model`: "Anything else is an `InputError`, as is a file in which a byte has changed." """

    @settings(max_examples=150)
    @given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def test_a_flipped_bit_among_the_numbers(self, whole, damaged, place, bit):
        start = 8 + struct.unpack("<Q", whole[:8])[0]
        data = bytearray(whole)
        data[start + int(place * (len(whole) - start))] ^= 1 << bit
        assert "damaged" in refusal(damaged(data))

    @pytest.mark.parametrize("position", range(8))
    def test_a_flipped_bit_in_the_header_s_length(self, whole, damaged, position):
        for bit in range(8):
            data = bytearray(whole)
            data[position] ^= 1 << bit
            refusal(damaged(data))

    @settings(max_examples=300)
    @given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def test_a_flipped_bit_in_the_header(self, model, whole, damaged, place, bit):
        length = struct.unpack("<Q", whole[:8])[0]
        data = bytearray(whole)
        data[8 + int(place * length)] ^= 1 << bit
        refused_or_the_same(damaged(data), model)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('\\"divisor\\": 255.0', '\\"divisor\\": 254.0'),
            ('\\"mean\\": [0.0]', '\\"mean\\": [0.5]'),
            ('\\"conv10_padding\\": 0', '\\"conv10_padding\\": 1'),
            ('\\"final_relu\\": false', '\\"final_relu\\": true '),
            ('\\"stem_padding\\": 1', '\\"stem_padding\\": 3'),
            ("cat", "bat"),
            ("digits", "digitt"),
            ("made by a test", "made by a pest"),
        ],
    )
    def test_a_changed_word_that_is_as_sensible_as_the_old(self, whole, damaged, old, new):
        assert whole.count(old.encode()) == 1
        assert len(old) == len(new)
        assert "damaged" in refusal(damaged(whole.replace(old.encode(), new.encode())))

    @pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, 0.5, -100, -4, -1])
    def test_cut_short(self, whole, damaged, kept):
        length = int(kept * len(whole)) if isinstance(kept, float) else kept
        refusal(damaged(whole[:length]))

    @pytest.mark.parametrize("more", [b"\0", b"more", bytes(4096)])
    def test_longer_than_it_says(self, whole, damaged, more):
        refusal(damaged(whole + more))

    @settings(max_examples=100)
    @given(data=st.binary(max_size=300))
    @example(b"\x02\0\0\0\0\0\0\0{}")
    @example(b"\x02\0\0\0\0\0\0\0[]")
    @example(struct.pack("<Q", 2**32) + b"{}" + bytes(100))
    @example(struct.pack("<Q", 2**64 - 1) + b"{}")
    def test_anything_at_all(self, damaged, data):
        refusal(damaged(data))

    @settings(max_examples=100)
    @given(
        header=st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
        )
    )
    def test_any_json_for_a_header(self, damaged, header):
        text = json.dumps(header).encode()
        refusal(damaged(struct.pack("<Q", len(text)) + text))

    def test_a_header_of_four_gigabytes_is_not_asked_for(self, damaged):
        assert "4,294,967,296 bytes" in refusal(damaged(struct.pack("<Q", 2**32) + b'{"a":' + bytes(1000)))

    def test_nor_one_of_100_megabytes_that_is_there(self, tmp_path):
        path = tmp_path / "m.safetensors"
        with path.open("wb") as file:
            file.write(struct.pack("<Q", 10**8) + b"{")
            file.truncate(8 + 10**8)  # a hole, no disk
        assert "100,000,000 bytes" in refusal(path)

    @pytest.mark.parametrize(
        "entry",
        [
            {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
            {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]},
            {"dtype": "F32", "shape": [1], "data_offsets": [2**63, 2**63 + 4]},
            {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
            {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
            {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]},
            {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
            {"dtype": "F32", "shape": [1]},
            5,
        ],
    )
    def test_a_tensor_that_is_not_there(self, damaged, entry):
        text = json.dumps({"features.0.weight": entry}).encode()
        assert "not readable as safetensors" in refusal(
            damaged(struct.pack("<Q", len(text)) + text + bytes(4))
        )

    def test_tensors_of_another_network(self, whole, damaged):
        tensors = load(whole)
        for changed in (
            {k: v for k, v in tensors.items() if k != "classifier.1.bias"},
            tensors | {"classifier.2.bias": np.zeros(3, np.float32)},
            tensors | {"classifier.1.bias": np.zeros(4, np.float32)},
        ):
            data = save(changed, {METADATA: json.dumps(said(whole))})
            assert "its tensors are not those of its network" in refusal(damaged(data))

    def test_tensors_that_changed_places(self, whole, damaged):
        tensors = load(whole)
        pair = ("features.3.squeeze.weight", "features.4.squeeze.weight")
        swapped = tensors | {pair[0]: tensors[pair[1]], pair[1]: tensors[pair[0]]}
        data = save(swapped, {METADATA: json.dumps(said(whole))})
        assert "damaged" in refusal(damaged(data))

    def test_a_model_without_a_word_about_it(self, whole, damaged):
        assert "says nothing of its network" in refusal(damaged(save(load(whole))))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_may_not_be_read(self, whole, damaged):
        path = damaged(whole)
        path.chmod(0)
        try:
            refusal(path)
        finally:
            path.chmod(0o600)


class TestWhatItSays:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "null",
            "5",
            '"text"',
            "[]",
            '["version"]',
            "{",
            "{}",
            "[" * 100_000,
            "1" * 5000,
            '{"version": NaN}',
        ],
        ids=lambda text: text[:12] or "nothing",
    )
    def test_no_table(self, saying, text):
        assert "damaged" in refusal(saying(text))

    @pytest.mark.parametrize(
        "key", ["version", "model", "preprocessing", "class_names", "source", "data", "sha256"]
    )
    def test_a_key_is_missing(self, saying, key):
        assert key in refusal(saying(**{key: ...}))

    def test_a_key_too_many(self, saying):
        assert "damaged" in refusal(saying(licence="MIT"))

    @pytest.mark.parametrize("version", [0, 2, "1", None, True, [1], "a\nb"])
    def test_another_version(self, saying, version):
        assert "needs 1" in refusal(saying(version=version))

    @pytest.mark.parametrize("value", [None, 5, "text", [], {}, {"family": "alexnet"}, {"family": "x"}])
    def test_no_network(self, saying, value):
        refusal(saying(model=value))

    def test_every_key_of_the_network_is_needed(self, saying, whole):
        for key in (told := said(whole)["model"]):
            refusal(saying(model={k: v for k, v in told.items() if k != key}))

    @pytest.mark.parametrize(
        "change",
        [
            {"squeze_ratio": 0.5},
            {"final_relu": "false"},
            {"base_e": 10**30},
            {"num_fires": 1001},
            {"squeeze_ratio": 0},
            {"pool_after": [1, 1]},
            {"pool_after": 5},
            {"stem_stride": 100},
            {"a": {"b": 1}, "a.b": 2},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_a_network_that_is_none(self, saying, whole, change):
        refusal(saying(model=said(whole)["model"] | change))

    @pytest.mark.parametrize(
        "change",
        [
            {"mean": [], "std": []},
            {"channel_order": "BGR"},
            {"channel_order": "purple"},
            {"size": [8]},
            {"size": [9, 9]},
            {"size": [1, 1]},
            {"size": [10**30, 8]},
            {"std": [0]},
            {"mean": ["a"]},
            {"mean": [float("nan")]},
            {"channel_order": "other", "mean": [0, 0], "std": [1, 1]},
        ],
        ids=str,
    )
    def test_a_preprocessing_that_is_none(self, saying, whole, change):
        refusal(saying(preprocessing=said(whole)["preprocessing"] | change))

    def test_every_key_of_the_preprocessing_is_needed(self, saying, whole):
        for key in (told := said(whole)["preprocessing"]):
            assert key in refusal(saying(preprocessing={k: v for k, v in told.items() if k != key}))

    @pytest.mark.parametrize(
        "change",
        [
            {"class_names": None},
            {"class_names": "cat"},
            {"class_names": ["cat"]},
            {"class_names": [1, 2, 3]},
            {"class_names": {"cat": 1}},
            {"class_names": ["cat", "dog", "\ud800"]},
            {"source": None},
            {"source": ["a"]},
            {"data": 5},
            {"data": "\ud800"},
            {"source": "\udfff"},
            {"data": []},
            {"sha256": None},
            {"sha256": "0" * 64},
        ],
        ids=str,
    )
    def test_other_values(self, saying, change):
        refusal(saying(**change))


def test_shapes_and_metadata_without_reading_a_tensor(whole, damaged):
    shapes, told = open_safetensors(damaged(whole))
    assert shapes["features.4.expand3x3.weight"] == (2, 2, 3, 3)
    assert len(shapes) == 16
    assert list(told) == [METADATA]
