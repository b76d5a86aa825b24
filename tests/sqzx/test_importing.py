"""Networks from files of others: what fits is taken bit for bit, what doesn't is named, and nothing runs."""

import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from sqzx import authors_file, preprocessing
from sqzx.architectures import AlexNetConfig, SqueezeNetConfig
from sqzx.config import resolve_model
from sqzx.counting import count
from sqzx.errors import InputError
from sqzx.importing import import_model
from sqzx.model import read_model, write_model
from sqzx.network import initial_parameters

PUBLISHED = (
    Path(__file__).parents[2].parent
    / "shared"
    / "data"
    / "deep_compressed_squeezenet"
    / "compressed_SqueezeNet.net"
)
FIRES = {  # inputs, squeeze, expand of each kind, and torchvision's number; SqueezeNet v1.1
    "fire2": (64, 16, 64, 3),
    "fire3": (128, 16, 64, 4),
    "fire4": (128, 32, 128, 6),
    "fire5": (256, 32, 128, 7),
    "fire6": (256, 48, 192, 9),
    "fire7": (384, 48, 192, 10),
    "fire8": (384, 64, 256, 11),
    "fire9": (512, 64, 256, 12),
}


def numbers(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def layers_1_1(channels=3, classes=1000):
    """The kernels and biases of a SqueezeNet v1.1, by the paper's names."""
    shapes = {"conv1": (64, channels, 3, 3)}
    for fire, (inputs, squeeze, expand, _) in FIRES.items():
        shapes[f"{fire}.squeeze"] = (squeeze, inputs, 1, 1)
        shapes[f"{fire}.expand1x1"] = (expand, squeeze, 1, 1)
        shapes[f"{fire}.expand3x3"] = (expand, squeeze, 3, 3)
    shapes["conv10"] = (classes, 512, 1, 1)
    return {name: (numbers(s, [n, 0]), numbers(s[0], [n, 1])) for n, (name, s) in enumerate(shapes.items())}


def torchvision_name(layer):
    module, _, part = layer.partition(".")
    whole = {"conv1": "features.0", "conv10": "classifier.1"}
    return whole.get(module) or f"features.{FIRES[module][3]}.{part}"


def caffe_name(layer):
    module, _, part = layer.partition(".")
    return {"": module, "squeeze": f"{module}/squeeze1x1"}.get(part, f"{module}/{part}")


def torchvision_1_1(prefix="", **options):
    """A state dict of torchvision's squeezenet1_1."""
    return {
        f"{prefix}{torchvision_name(layer)}.{word}": tensor
        for layer, pair in layers_1_1(**options).items()
        for word, tensor in zip(("weight", "bias"), pair, strict=True)
    }


def caffe_1_1(weight=".weight", bias=".bias", **options):
    return {
        caffe_name(layer) + word: tensor
        for layer, pair in layers_1_1(**options).items()
        for word, tensor in zip((weight, bias), pair, strict=True)
    }


def same_parameters(parameters, layers, without=()):
    """Whether parameters are these layers, bit for bit; our axes are (height, width, in, out)."""
    for name, (kernel, bias) in layers.items():
        if name in without:
            continue
        found = parameters
        for step in name.split("."):
            found = found[step]
        if found["kernel"].tobytes() != np.ascontiguousarray(kernel.transpose(2, 3, 1, 0)).tobytes():
            return False
        if found["bias"].tobytes() != bias.tobytes():
            return False
    return True


def same_trees(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_trees(a[k], b[k]) for k in a)
    return a.tobytes() == b.tobytes()


def refusal(path, settings=None, **options):
    """Return the one line that refuses a file, without the path that it begins with."""
    with pytest.raises(InputError) as error:
        import_model(path, settings or {}, **options)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert line.isprintable()  # no line break, no terminal's control character
    return line.removeprefix(f"{path}: ")


@pytest.fixture
def safetensors(tmp_path):
    def write(tensors, **options):
        save_file(tensors, tmp_path / "w.safetensors", **options)
        return tmp_path / "w.safetensors"

    return write


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("torchvision") / "squeezenet1_1.safetensors"
    save_file(torchvision_1_1(), path, metadata={"format": "pt"})
    return path


@pytest.fixture(scope="module")
def torchvision_1_0_file(tmp_path_factory):
    """torchvision's squeezenet1_0: another first layer, and other numbers for the Fire modules."""
    path = tmp_path_factory.mktemp("torchvision") / "squeezenet1_0.safetensors"
    tensors = torchvision_1_1()
    renumbered = {3: 3, 4: 4, 6: 5, 7: 7, 9: 8, 10: 9, 11: 10, 12: 12}
    found = {}
    for name, tensor in tensors.items():
        top, number, *rest = name.split(".")
        number = renumbered.get(int(number), number) if top == "features" else number
        found[".".join((top, str(number), *rest))] = tensor
    found["features.0.weight"], found["features.0.bias"] = numbers((96, 3, 7, 7), 0), numbers(96, 1)
    found["features.3.squeeze.weight"] = numbers((16, 96, 1, 1), 2)
    save_file(found, path)
    return path


class TestTorchvision:
    def test_every_tensor_bit_for_bit(self, torchvision_file):
        model, notes = import_model(torchvision_file, {})
        assert same_parameters(model.parameters, layers_1_1())
        assert model.config == resolve_model({"model.preset": "squeezenet_v1_1"}, "test")
        assert model.preprocessing == preprocessing.torchvision((224, 224))
        assert "torchvision names" in notes[0]
        assert "squeezenet_v1_1" in notes[0]
        assert "squeezenet1_1.safetensors" in model.source
        assert model.class_names == ()
        assert model.data is None

    def test_version_1_0_is_told_by_its_names_and_has_no_border_around_conv10(self, torchvision_1_0_file):
        model, notes = import_model(torchvision_1_0_file, {})
        assert count(model.config, (224, 224, 3)).params == 1_248_424
        assert model.config.conv10_padding == 0  # in Caffe's file it is 1
        assert "conv10_padding=0" in notes[1]
        assert "squeeze_activation=same" in notes[1]  # another has the same names and shapes

    @pytest.mark.parametrize(("settings", "padding"), [({}, 0), ({"model.preset": "squeezenet_v1_0"}, 1)])
    def test_one_key_set_changes_that_key_alone(self, torchvision_1_0_file, settings, padding):
        """A preset is what it is everywhere else, and the note says what its file could not."""
        plain = import_model(torchvision_1_0_file, settings)
        other = import_model(torchvision_1_0_file, settings | {"model.final_relu": False})
        assert (plain.model.config.final_relu, other.model.config.final_relu) == (True, False)
        assert other.model.config.conv10_padding == plain.model.config.conv10_padding == padding
        assert f"conv10_padding={padding}" in plain.notes[1]
        assert "final_relu=true" in plain.notes[1]
        assert "final_relu" not in other.notes[1]

    def test_one_key_set_needs_no_preset_for_version_1_1(self, torchvision_file):
        model = import_model(torchvision_file, {"model.final_relu": False}).model
        assert model.config.final_relu is False
        assert model.config.pool_after == (1, 3, 5)

    def test_a_border_that_is_asked_for_is_kept(self, torchvision_1_0_file):
        keys = {"model.preset": "squeezenet_v1_0", "model.conv10_padding": 1}
        assert import_model(torchvision_1_0_file, keys).model.config.conv10_padding == 1

    def test_the_prefix_of_data_parallel(self, safetensors):
        model = import_model(safetensors(torchvision_1_1(prefix="module.")), {}).model
        assert same_parameters(model.parameters, layers_1_1())

    def test_alexnet(self, tmp_path):
        """All shapes but one fit, so that one complaint is left; the file is a hole of 244 MB."""
        shapes = {
            "features.0.weight": (64, 3, 11, 11),
            "features.3.weight": (192, 64, 5, 5),
            "features.3.bias": (192,),
            "features.6.weight": (384, 192, 3, 3),
            "features.6.bias": (384,),
            "features.8.weight": (256, 384, 3, 3),
            "features.8.bias": (256,),
            "features.10.weight": (256, 256, 3, 3),
            "features.10.bias": (256,),
            "classifier.1.weight": (4096, 9216),
            "classifier.1.bias": (4096,),
            "classifier.4.weight": (4096, 4096),
            "classifier.4.bias": (4096,),
            "classifier.6.weight": (1000, 4096),
            "classifier.6.bias": (1000,),
        }
        header, end = {}, 0
        for name, shape in shapes.items():
            start, end = end, end + 4 * int(np.prod(shape))
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        with (tmp_path / "a.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)
        assert refusal(tmp_path / "a.safetensors") == (
            "doesn't fit torchvision's alexnet: features.0.bias (64,) is missing"
        )

    def test_options_of_a_foreign_file(self, torchvision_file):
        model = import_model(
            torchvision_file,
            {},
            image_size=(128, 96),
            prepared="unit",
            class_names=tuple(f"thing {n}" for n in range(1000)),
        ).model
        assert model.preprocessing == preprocessing.unit((128, 96, 3))
        assert model.class_name(999) == "thing 999"

    def test_class_names_of_another_number(self, torchvision_file):
        with pytest.raises(InputError, match="2 names for 1000 classes"):
            import_model(torchvision_file, {}, class_names=("a", "b"))

    def test_images_that_are_too_small(self, torchvision_file):
        with pytest.raises(InputError, match="leaves a map of"):
            import_model(torchvision_file, {}, image_size=(5, 5))


class TestAnotherNumberOfClasses:
    def test_is_refused_with_both_shapes(self, torchvision_1_0_file):
        line = refusal(torchvision_1_0_file, {"model.num_classes": 10})
        assert "classifier.1.weight (conv10) is (1000, 512, 1, 1), needs (10, 512, 1, 1)" in line
        assert "classifier.1.bias (conv10) is (1000,), needs (10,)" in line
        assert "--num-classes 10 starts conv10 afresh" in line
        assert line.count("needs") == 2

    def test_all_but_the_classifier_can_be_kept(self, torchvision_1_0_file):
        whole = import_model(torchvision_1_0_file, {}).model
        (model, notes), (again, _) = (
            import_model(torchvision_1_0_file, {}, num_classes=10) for _ in range(2)
        )
        assert count(model.config, model.preprocessing.image_shape).params == 740_554
        kept = {name: layer for name, layer in model.parameters.items() if name != "conv10"}
        assert len(kept) == 9  # conv1 and eight Fire modules, 25 convolutions
        assert same_trees(kept, {name: whole.parameters[name] for name in kept})
        kernel = model.parameters["conv10"]["kernel"]
        assert kernel.shape == (1, 1, 512, 10)
        assert 0.009 < kernel.std() < 0.011  # N(0, 0.01)
        assert not model.parameters["conv10"]["bias"].any()
        assert same_trees(model.parameters, again.parameters)
        fresh = initial_parameters(model.config, model.preprocessing.image_shape, seed=0)
        assert same_trees(model.parameters["conv10"], fresh["conv10"])
        assert "conv10 starts afresh with 10 classes (seed 0); the other 25 layers are the file's" in notes

    def test_the_other_layers_must_fit(self, safetensors):
        tensors = torchvision_1_1()
        del tensors["features.0.bias"]
        assert "features.0.bias (64,) is missing" in refusal(safetensors(tensors), num_classes=10)

    def test_a_data_set_that_says_otherwise_is_not_overruled_in_silence(self, safetensors):
        path = safetensors(torchvision_1_1(channels=1))
        keys = {"model.preset": "squeezenet_v1_1", "data.name": "fashion_mnist"}
        assert import_model(path, keys, num_classes=10).model.preprocessing.image_shape == (28, 28, 1)
        for options in ({"num_classes": 7}, {"num_classes": 10, "image_size": (99, 99)}):
            with pytest.raises(InputError):
                import_model(path, keys, **options)


class TestWhatDoesNotFit:
    """Case M05: each missing and each superfluous tensor is listed, none ignored."""

    def test_everything_in_one_line(self, safetensors):
        tensors = torchvision_1_1()
        del tensors["features.3.squeeze.bias"]
        tensors["features.99.bias"] = np.zeros((7, 2), np.float32)
        tensors["features.4.expand1x1.weight"] = np.zeros((64, 17, 1, 1), np.float32)
        tensors["features.0.bias"] = np.zeros((65,), np.float32)
        line = refusal(safetensors(tensors))
        assert line == (
            "doesn't fit squeezenet_v1_1: features.0.bias (conv1) is (65,), needs (64,); "
            "features.3.squeeze.bias (16,) is missing; "
            "features.4.expand1x1.weight (fire3.expand1x1) is (64, 17, 1, 1), needs (64, 16, 1, 1); "
            "features.99.bias (7, 2) has no place"
        )

    @pytest.mark.parametrize("name", ["features.0.bias", "features.12.expand3x3.weight", "classifier.1.bias"])
    def test_one_is_missing(self, safetensors, name):
        tensors = torchvision_1_1()
        shape = tensors.pop(name).shape
        assert refusal(safetensors(tensors)).endswith(f": {name} {shape} is missing")

    def test_one_is_there_twice(self, safetensors):
        tensors = torchvision_1_1(prefix="module.")
        tensors["classifier.1.bias"] = tensors["module.classifier.1.bias"] + 1
        line = refusal(safetensors(tensors))
        assert "classifier.1.bias and module.classifier.1.bias" in line
        assert "keep one" in line

    def test_a_kernel_with_its_axes_in_another_order(self, safetensors):
        tensors = torchvision_1_1()
        tensors["features.0.weight"] = np.ascontiguousarray(
            tensors["features.0.weight"].transpose(2, 3, 1, 0)
        )
        line = refusal(safetensors(tensors), {"model.preset": "squeezenet_v1_1"})
        assert "(3, 3, 3, 64), needs (64, 3, 3, 3)" in line

    def test_a_name_with_a_line_break_is_still_one_line(self, safetensors):
        line = refusal(safetensors(torchvision_1_1() | {"bad\n\x1b[31mname": np.zeros(3, np.float32)}))
        assert "(3,) has no place" in line

    def test_nothing_in_it(self, safetensors):
        assert "none of its 0 tensors has a name of" in refusal(safetensors({}))


class TestOptions:
    def test_keys_that_say_nothing_of_a_network_are_refused(self, torchvision_file):
        with pytest.raises(InputError, match=r"^train\.epochs: has no effect on what a file holds"):
            import_model(torchvision_file, {"train.epochs": 3})

    def test_two_numbers_of_classes_are_refused(self, torchvision_file):
        with pytest.raises(InputError, match=r"^--num-classes 10: model\.num_classes is 20"):
            import_model(torchvision_file, {"model.num_classes": 20}, num_classes=10)


class TestChannels:
    """Case M10: one-channel networks and RGB weights; never a silent broadcast."""

    def test_rgb_weights_for_one_channel(self, torchvision_1_0_file):
        line = refusal(
            torchvision_1_0_file,
            {"model.preset": "squeezenet_v1_0", "data.name": "fashion_mnist"},
            num_classes=10,
        )
        assert "features.0.weight (conv1) is (96, 3, 7, 7), needs (96, 1, 7, 7)" in line
        assert line.count("needs") == 1

    def test_weights_for_one_channel_are_a_network_for_one_channel(self, safetensors):
        model = import_model(safetensors(torchvision_1_1(channels=1)), {}).model
        assert count(model.config, model.preprocessing.image_shape).params == 1_234_344
        assert model.preprocessing == preprocessing.unit((224, 224, 1))

    def test_which_have_no_preprocessing_of_colours(self, safetensors):
        path = safetensors(torchvision_1_1(channels=1))
        assert "torchvision needs 3 channels, not 1; use unit" in refusal(path, prepared="torchvision")


class TestValues:
    @pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
    def test_other_floating_point_numbers_are_converted(self, safetensors, dtype):
        import ml_dtypes

        kind = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
        tensors = {name: tensor.astype(kind) for name, tensor in torchvision_1_1().items()}
        model = import_model(safetensors(tensors), {}).model
        rounded = {
            name: (k.astype(kind).astype(np.float32), b.astype(kind).astype(np.float32))
            for name, (k, b) in layers_1_1().items()
        }
        assert same_parameters(model.parameters, rounded)

    @pytest.mark.parametrize("dtype", ["int32", "int8", "uint64", "bool", "complex64"])
    def test_others_are_refused(self, safetensors, dtype):
        tensors = torchvision_1_1()
        tensors["features.7.squeeze.bias"] = tensors["features.7.squeeze.bias"].astype(dtype)
        line = refusal(safetensors(tensors))
        assert line == f"features.7.squeeze.bias: needs floating-point numbers, found {dtype}"

    @pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "F8_E8M0"])
    def test_bytes_that_numpy_has_no_type_for(self, tmp_path, kind):
        """Whole, well-formed files; only their numbers are eight bits wide."""
        header, end = {}, 0
        for name, tensor in torchvision_1_1().items():
            start, end = end, end + tensor.size
            header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
        refusal(tmp_path / "w.safetensors")

    @pytest.mark.parametrize(
        ("value", "dtype"), [(np.nan, "f4"), (np.inf, "f4"), (-np.inf, "f2"), (1e300, "f8"), (-1e39, "f8")]
    )
    def test_what_is_not_finite_is_named(self, safetensors, value, dtype):
        tensors = torchvision_1_1()
        tensors["features.9.expand3x3.bias"] = tensors["features.9.expand3x3.bias"].astype(dtype)
        tensors["features.9.expand3x3.bias"][[3, 5]] = value
        line = refusal(safetensors(tensors))
        assert line == "features.9.expand3x3.bias: 2 of 192 values are not finite float32"


class TestNpz:
    @pytest.mark.parametrize(
        ("weight", "bias"),
        [
            (".weight", ".bias"),
            ("", "_b"),
            ("_0", "_1"),
            ("/0", "/1"),
            ("_w", "_b"),
            ("/weights", "/biases"),
            (".kernel", ".bias"),
        ],
    )
    def test_the_names_of_caffe_in_several_spellings(self, tmp_path, weight, bias):
        # np.savez would take the slash for a folder of its own on some systems; the archive has it as it is.
        np.savez(tmp_path / "w.npz", **caffe_1_1(weight, bias))
        model, notes = import_model(tmp_path / "w.npz", {})
        assert same_parameters(model.parameters, layers_1_1())
        assert model.preprocessing == preprocessing.caffe((227, 227))
        assert ".npz with Caffe names" in notes[0]

    def test_torchvision_s_names_and_compression(self, tmp_path):
        np.savez_compressed(tmp_path / "w", **torchvision_1_1(prefix="module."))
        (tmp_path / "w.npz").rename(tmp_path / "w.weights")  # told by its content, not by its name
        model = import_model(tmp_path / "w.weights", {}).model
        assert same_parameters(model.parameters, layers_1_1())
        assert model.preprocessing == preprocessing.torchvision((224, 224))

    def test_columns_first_and_the_other_byte_order(self, tmp_path):
        tensors = {name: np.asfortranarray(tensor.astype(">f4")) for name, tensor in caffe_1_1().items()}
        np.savez(tmp_path / "w.npz", **tensors)
        assert same_parameters(import_model(tmp_path / "w.npz", {}).model.parameters, layers_1_1())

    def test_two_spellings_of_one_name(self, tmp_path):
        tensors = caffe_1_1()
        np.savez(tmp_path / "w.npz", **tensors, conv10_b=tensors["conv10.bias"])
        assert "both conv10.bias" in refusal(tmp_path / "w.npz")

    def test_whole_numbers(self, tmp_path):
        tensors = caffe_1_1() | {"conv1.bias": np.zeros(64, np.int32)}
        np.savez(tmp_path / "w.npz", **tensors)
        assert refusal(tmp_path / "w.npz") == "conv1.bias: needs floating-point numbers, found int32"


def npy(array, *, shape=None, descr="<f4"):
    """An array as .npy, perhaps with a header that lies."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape or array.shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n" + array.tobytes()


@pytest.fixture(scope="module")
def members():
    """The members of a good archive; any of them can be replaced."""
    return {f"{name}.npy": npy(tensor) for name, tensor in caffe_1_1().items()}


@pytest.fixture
def archive(tmp_path):
    def write(members, compression=zipfile.ZIP_STORED):
        path = tmp_path / "w.npz"
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path

    return write


class TestDamagedArchives:
    BIAS = "conv10.bias.npy"

    def test_these_members_would_be_read(self, members, archive):
        assert same_parameters(import_model(archive(members), {}).model.parameters, layers_1_1())

    @pytest.mark.parametrize(
        "bias",
        [
            npy(numbers(1000, 0), shape=(1001,)),
            npy(numbers(1000, 0), shape=(999,)),
            npy(numbers(1000, 0), shape=(-1000,)),
            npy(numbers(1000, 0), shape=(-1, -1000)),
            npy(numbers(1000, 0), shape=(2**70,)),
            npy(numbers(1000, 0), shape=(1000.0,)),
            npy(numbers(1000, 0), shape=[1000]),
            npy(numbers(1000, 0), descr="<f8"),
            npy(numbers(1000, 0), descr="|V4"),
            npy(numbers(1000, 0), descr="|S4"),
            npy(numbers(1000, 0), descr="a4"),
            npy(numbers(1000, 0), descr="O"),
            npy(numbers(1000, 0), descr=("<f4",)),
            npy(numbers(1000, 0), descr=("<f4", -1)),
            npy(numbers(2000, 0), shape=(1000,), descr=("<f4", (2,))),
            npy(numbers(1000, 0), descr=[("a", "<f4")]),
            npy(numbers(1000, 0), descr={}),
            npy(numbers(1000, 0))[:-4],
            npy(numbers(1000, 0)) + bytes(4),
            npy(numbers(1000, 0)).replace(b"NUMPY\x01", b"NUMPY\x07"),
            npy(numbers(1000, 0)).replace(b"{", b"("),
            npy(numbers(1000, 0)).replace(b"1000", b"1e99"),
            b"",
            b"\x93NUMPY",
            b"no array",
        ],
        ids=range(25),
    )
    def test_a_member_that_is_no_such_array(self, members, archive, bias):
        line = refusal(archive(members | {self.BIAS: bias}))
        assert "conv10.bias" in line

    def test_an_array_of_python_2_is_read_without_a_warning_or_refused(self, members, archive, monkeypatch):
        old = npy(numbers(1000, 0)).replace(b"(1000,)}\n", b"(1000L,)}").replace(b"}", b"}\n", 1)
        size = struct.unpack("<H", old[8:10])[0] + 1
        path = archive(members | {self.BIAS: old[:8] + struct.pack("<H", size) + old[10:]})
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                import_model(path, {})
            except InputError:
                refusal(path)
        assert seen == []

    @pytest.mark.parametrize("kept", [4, 30, 2000, 0.5, -100, -22, -1])
    def test_cut_short(self, members, archive, kept):
        path = archive(members)
        data = path.read_bytes()
        path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
        assert "not readable as .npz" in refusal(path)

    @pytest.mark.parametrize(
        "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    def test_a_flipped_bit(self, archive, compression):
        """Of a small archive, which fits no network, so that many bits can be tried."""
        small = {"conv1.weight.npy": npy(numbers((4, 3), 0)), "conv1.bias.npy": npy(numbers(4, 0))}
        path = archive(small, compression)
        data = path.read_bytes()
        for position in range(0, len(data), 2):
            changed = bytearray(data)
            changed[position] ^= 1 << (position // 2 % 8)
            path.write_bytes(changed)
            refusal(path)

    @pytest.mark.parametrize(
        "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    def test_a_flipped_bit_among_the_numbers(self, members, archive, compression):
        path = archive({self.BIAS: members[self.BIAS]} | members, compression)
        with zipfile.ZipFile(path) as file:
            info = file.getinfo(self.BIAS)
        changed = bytearray(path.read_bytes())
        changed[info.header_offset + 30 + len(self.BIAS) + info.compress_size // 2] ^= 0x40
        path.write_bytes(changed)
        assert "conv10.bias" in refusal(path) or compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)

    @pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)], ids=["encrypted", "compression 99"])
    def test_what_zipfile_cannot_open(self, members, archive, offset, value):
        path = archive(members)
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + offset] = value
        path.write_bytes(data)
        assert "not readable as .npz" in refusal(path)

    @pytest.mark.parametrize("name", ["notes.txt", "folder/", "bad\nname", "bad\x1b[31m\nname.npy"])
    def test_a_member_that_does_not_belong(self, members, archive, name):
        refusal(archive(members | {name: npy(numbers(3, 0))}))

    def test_a_member_that_is_there_twice(self, members, archive):
        path = archive(members)
        with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file.writestr(self.BIAS, npy(numbers(1000, 5)))
        assert "conv10.bias" in refusal(path)

    def test_an_empty_archive(self, archive):
        refusal(archive({}))


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestPickles:
    """ "Never a pickle": they are told from the outside, and nothing in them runs."""

    @pytest.fixture
    def trap(self, tmp_path):
        yield Trap(tmp_path / "trace")
        assert not (tmp_path / "trace").exists()

    def test_the_trap_works(self, tmp_path):
        pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
        assert (tmp_path / "sprung").exists()

    def test_a_file_of_pytorch(self, trap, tmp_path):
        path = tmp_path / "squeezenet1_1.pth"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps(trap))
            file.writestr("archive/version", "3\n")
        assert "PyTorch" in refusal(path)
        assert "safetensors.torch.save_file" in refusal(path)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("name", ["w.pth", "w.npz", "w.safetensors", "w.net", "w"])
    def test_a_plain_pickle(self, trap, tmp_path, protocol, name):
        (tmp_path / name).write_bytes(pickle.dumps(trap, protocol) + bytes(200))
        refusal(tmp_path / name)

    def test_an_older_file_of_pytorch(self, trap, tmp_path):
        magic, version = 0x1950A86A20F9469CFC6C, 1001
        data = b"".join(pickle.dumps(x, 2) for x in (magic, version, {"little_endian": True}, trap))
        (tmp_path / "w.pth").write_bytes(data)
        assert "a pickle, which can run any program" in refusal(tmp_path / "w.pth")

    def test_an_array_of_objects(self, trap, tmp_path):
        tensors = caffe_1_1() | {"conv1.bias": np.array([trap] * 64, object)}
        np.savez(tmp_path / "w.npz", **tensors)
        assert "conv1.bias.npy: holds Python objects" in refusal(tmp_path / "w.npz")

    def test_an_array_of_records_with_an_object(self, trap, tmp_path):
        records = np.zeros(64, [("number", "f4"), ("thing", "O")])
        records["thing"] = [trap] * 64
        np.savez(tmp_path / "w.npz", **caffe_1_1() | {"conv1.bias": records})
        assert "conv1.bias" in refusal(tmp_path / "w.npz")


class TestOtherFiles:
    @pytest.mark.parametrize("name", ["w", "w.net", "w.npz", "w.safetensors"])
    def test_an_empty_file(self, tmp_path, name):
        (tmp_path / name).touch()
        refusal(tmp_path / name)

    def test_none(self, tmp_path):
        assert refusal(tmp_path / "w.npz") == "no such file"

    def test_a_folder(self, tmp_path):
        assert "holds no model" in refusal(tmp_path)

    def test_text(self, tmp_path):
        (tmp_path / "w").write_text('{"weights": [1, 2, 3]}\n')
        assert "no format that is read" in refusal(tmp_path / "w")

    def test_a_single_array(self, tmp_path):
        np.save(tmp_path / "w.npy", numbers((3, 3), 0))
        assert "no format that is read" in refusal(tmp_path / "w.npy")

    @settings(max_examples=150)
    @given(
        start=st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x80\x04", b"\x10" + bytes(7) + b"{"]),
        rest=st.binary(max_size=300),
        name=st.sampled_from(["w", "w.net", "w.npz", "w.safetensors"]),
    )
    @example(start=b"", rest=b"\x80", name="w")
    @example(start=b"", rest=b"\xff" * 8 + b"{}", name="w")
    def test_anything_at_all(self, tmp_path_factory, start, rest, name):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(start + rest)
        refusal(path)

    @pytest.mark.skipif(sys.platform != "linux", reason="file names that are no text")
    def test_a_name_that_is_no_text(self, torchvision_file, tmp_path):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff.safetensors"))
        path.write_bytes(torchvision_file.read_bytes())
        write_model(tmp_path / "model", import_model(path, {}).model)
        assert same_parameters(read_model(tmp_path / "model").parameters, layers_1_1())


def stored(counts):
    """A valid file of the authors' format, with this many entries a layer."""
    parts = [struct.pack("<26I", *counts)]
    for shape, entries in zip(authors_file.SHAPES.values(), counts, strict=True):
        codebook = np.zeros(256, "<f4")
        codebook[7] = 0.125
        parts += [codebook.tobytes(), bytes(4 * shape[0]), b"\x07" * entries, bytes((entries + 1) // 2)]
    return b"".join(parts)


class TestTheAuthorsFile:
    @pytest.mark.skipif(not PUBLISHED.exists(), reason="the published file is not in ../shared")
    def test_the_published_network(self):
        model, notes = import_model(PUBLISHED, {})
        decoded = authors_file.decode(PUBLISHED.read_bytes(), "test")
        assert same_parameters(model.parameters, {name: layer[:2] for name, layer in decoded.items()})
        assert len(decoded) == 26
        assert model.config == SqueezeNetConfig()
        assert model.preprocessing == preprocessing.caffe((227, 227))
        assert notes == (f"{PUBLISHED}: the authors' compressed network, squeezenet_v1_0",)

    @pytest.mark.skipif(not PUBLISHED.exists(), reason="the published file is not in ../shared")
    def test_a_damaged_copy(self, tmp_path):
        data = bytearray(PUBLISHED.read_bytes())
        data[108] ^= 1  # a bit of a value of the first codebook: another number, and as good
        (tmp_path / "copy").write_bytes(data)
        assert "damaged copy" in refusal(tmp_path / "copy")
        (tmp_path / "copy").write_bytes(data[:300_000])
        assert "cut short or damaged" in refusal(tmp_path / "copy")

    @pytest.mark.parametrize(
        "first",
        [(10, 10, 10), (10, 10, 0x17B), (640, 10, 10), (1408, 10, 635), (0x4B50, 10, 10)],
        ids=["plain", "a brace where safetensors has it", "a pickle's first bytes", "both", "PK"],
    )
    def test_another_network_in_the_format(self, tmp_path, first):
        """Nothing but the counts is at the beginning, and they may look like anything."""
        counts = [min(c, 14_112) for c in (*first, *[10] * 23)]
        (tmp_path / "other.net").write_bytes(stored(counts))
        model = import_model(tmp_path / "other.net", {}).model
        kernel = model.parameters["conv1"]["kernel"].transpose(3, 2, 0, 1).reshape(-1)
        assert (kernel[: counts[0]] == 0.125).all()
        assert not kernel[counts[0] :].any()


class TestOurOwn:
    @pytest.fixture
    def own(self, torchvision_1_0_file, tmp_path):
        names = tuple(f"thing {n}" for n in range(1000))
        model = import_model(torchvision_1_0_file, {}, class_names=names).model
        write_model(tmp_path / "own" / "model.safetensors", model)
        return tmp_path / "own"

    def test_is_taken_as_it_is(self, own, tmp_path):
        for path in (own, own / "model.safetensors"):
            write_model(tmp_path / "again", import_model(path, {}).model)
            assert (tmp_path / "again").read_bytes() == (own / "model.safetensors").read_bytes()

    @pytest.mark.parametrize(
        ("settings", "options"),
        [({"model.freq": 2}, {}), ({}, {"image_size": (99, 99)}), ({}, {"prepared": "unit"})],
    )
    def test_nothing_else_can_be_said_of_it(self, own, settings, options):
        assert "says itself what it is" in refusal(own, settings, **options)

    def test_with_other_classes(self, own):
        whole = read_model(own)
        model, notes = import_model(own, {}, num_classes=4, class_names=("a", "b", "c", "d"))
        assert model.class_names == ("a", "b", "c", "d")
        assert model.config.num_classes == 4
        assert model.parameters["conv10"]["kernel"].shape == (1, 1, 512, 4)
        kept = [name for name in whole.parameters if name != "conv10"]
        assert all(same_trees(model.parameters[name], whole.parameters[name]) for name in kept)
        assert model.preprocessing == whole.preprocessing
        assert "conv10 starts afresh with 4 classes (seed 0); the other 25 layers are the file's" in notes
        assert import_model(own, {}, num_classes=4).model.class_names == ()  # the old ones mean nothing now

    def test_with_other_names(self, own):
        names = tuple(f"other {n}" for n in range(1000))
        assert import_model(own, {}, class_names=names).model.class_names == names
        with pytest.raises(InputError, match="3 names for 1000 classes"):
            import_model(own, {}, class_names=("a", "b", "c"))


def test_an_alexnet_by_configuration(tmp_path):
    keys = {
        "model.preset": "alexnet_small",
        "model.conv_features": (4, 6),
        "model.conv_kernels": (3, 3),
        "model.conv_paddings": (1, 1),
        "model.conv_groups": (1, 2),
        "model.lrn_after": (1,),
        "model.pool_after": (2,),
        "model.fc_features": (5,),
        "model.num_classes": 3,
    }
    shapes = {"conv1": (4, 3, 3, 3), "conv2": (6, 2, 3, 3), "fc3": (5, 6 * 4 * 3), "fc4": (3, 5)}
    tensors = {f"{name}.weight": numbers(shape, 1) for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": numbers(shape[0], 2) for name, shape in shapes.items()}
    np.savez(tmp_path / "w.npz", **tensors)
    model = import_model(tmp_path / "w.npz", keys, image_size=(8, 6)).model
    assert isinstance(model.config, AlexNetConfig)
    expected = tensors["fc3.weight"].reshape(5, 6, 4, 3).transpose(2, 3, 1, 0).reshape(72, 5)
    assert (model.parameters["fc3"]["kernel"] == expected).all()


MEASURE = """
import re, sys, warnings
from pathlib import Path
from sqzx.errors import InputError
from sqzx.importing import import_model
from sqzx.tensor_files import open_safetensors

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e3

before = peak()
try:
    import_model(Path(sys.argv[1]), {})
    print("taken")
except InputError as error:
    print("refused" if "\\n" not in str(error) else "in several lines")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
class TestMemory:
    """A file of a few megabytes can't ask for hundreds."""

    @pytest.fixture
    def cost(self, tmp_path):
        def run(path):
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, path], capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr[-500:]
            assert done.stderr == ""
            outcome, megabytes = done.stdout.split()
            return outcome, float(megabytes)

        return run

    def test_a_header_that_unpacks_to_half_a_gigabyte(self, cost, tmp_path):
        with (
            zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
            file.open("conv1.weight.npy", "w") as member,
        ):
            member.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", 400_000_000))
            for _ in range(20):
                member.write(b" " * 20_000_000)
        outcome, megabytes = cost(tmp_path / "w.npz")
        assert outcome == "refused"
        assert megabytes < 300

    def test_a_classifier_that_unpacks_to_half_a_gigabyte(self, cost, members, tmp_path):
        """As many classes as the file says, all zeros."""
        classes = 200_000
        with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for name, data in members.items():
                if not name.startswith("conv10"):
                    file.writestr(name, data)
            for name, shape in (("conv10.weight", (classes, 512, 1, 1)), ("conv10.bias", (classes,))):
                with file.open(f"{name}.npy", "w") as member:
                    member.write(npy(np.zeros(0, np.float32), shape=shape))
                    for _ in range(int(np.prod(shape)) // 200_000):
                        member.write(bytes(800_000))
        outcome, megabytes = cost(tmp_path / "w.npz")
        assert outcome == "refused"
        assert megabytes < 300

    def test_terabytes_that_are_not_there(self, cost, members, tmp_path):
        """The archive's directory and the array's header agree on a size that the file hasn't."""
        classes = 2**33
        with zipfile.ZipFile(tmp_path / "w.npz", "w") as file:
            for name, data in members.items():
                shape = {"conv10.weight.npy": (classes, 512, 1, 1), "conv10.bias.npy": (classes,)}.get(name)
                if shape:
                    data = npy(np.zeros(25, np.float32), shape=shape)
                file.writestr(name, data)
                if shape:
                    file.getinfo(name).file_size = len(data) - 100 + 4 * int(np.prod(shape))
        outcome, megabytes = cost(tmp_path / "w.npz")
        assert outcome == "refused"
        assert megabytes < 300

    def test_a_safetensors_header_of_100_megabytes(self, cost, tmp_path):
        with (tmp_path / "w.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", 10**8) + b'{"a":')
            file.truncate(10**8 + 8)
        outcome, megabytes = cost(tmp_path / "w.safetensors")
        assert outcome == "refused"
        assert megabytes < 100
