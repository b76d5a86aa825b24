"""import, predict, evaluate and export, end to end, and how they refuse."""

import hashlib
import json
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from sqzx import layouts
from sqzx.config import resolve_model
from sqzx.model import read_model
from sqzx.network import initial_parameters

SMALL = {  # a SqueezeNet v1.1 with fewer filters
    "model.preset": "squeezenet_v1_1",
    "model.base_e": 8,
    "model.incr_e": 8,
    "model.stem_features": 8,
    "model.num_classes": 1000,
}


@pytest.fixture(scope="module")
def trial(sqzx, tiny_set, tmp_path_factory):
    """A small AlexNet, trained on digits: it has dense kernels."""
    folder = tmp_path_factory.mktemp("trial") / "trial"
    keys = {
        "model.conv_features": [4, 6],
        "model.conv_kernels": [3, 3],
        "model.conv_paddings": [1, 1],
        "model.conv_groups": [1, 2],
        "model.lrn_after": [1],
        "model.pool_after": [2],
        "model.fc_features": [12],
        "data.train_examples": 200,
        "train.epochs": 2,
    }
    sqzx(
        "train", "--preset", "alexnet_small", *(f"--set={k}={v}" for k, v in keys.items()), "--out", folder
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A file with torchvision's names and 1000 classes, and the options that say what it is."""
    config = resolve_model(SMALL, "test")
    places = layouts.slots(config, (64, 64, 3), "torchvision")
    path = tmp_path_factory.mktemp("foreign") / "small.safetensors"
    save_file(layouts.tensors(initial_parameters(config, (64, 64, 3), 1), places), path)
    keys = [f"--set={key}={value}" for key, value in SMALL.items() if key != "model.num_classes"]
    return path, [*keys, "--input-size", "64x64"]


@pytest.fixture(scope="module")
def imported(sqzx, foreign, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported") / "model"
    file, options = foreign
    return folder, sqzx("import", file, *options, "--out", folder)[1]


def refused(sqzx, *arguments):
    """Return the one line of a command that was refused."""
    code, out, err = sqzx(*arguments, check=False)
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("sqzx: ")
    return line.removeprefix("sqzx: ")


class TestImport:
    def test_what_it_prints(self, imported):
        folder, text = imported
        assert "safetensors with torchvision names" in text
        assert "images: 64x64 RGB" in text
        assert "others scaled to cover 73x73" in text
        assert "1000 classes" in text
        assert [path.name for path in folder.iterdir()] == ["model.safetensors"]

    def test_a_number_of_classes_that_does_not_fit_and_one_that_is_asked_for(self, sqzx, foreign, tmp_path):
        file, options = foreign
        line = refused(
            sqzx, "import", file, *options, "--set=model.num_classes=10", "--out", tmp_path / "model"
        )
        assert line.startswith(f"{file}: ")
        assert "(1000, 32, 1, 1), needs (10, 32, 1, 1)" in line
        assert "--num-classes 10" in line
        assert not (tmp_path / "model").exists()
        (tmp_path / "names.txt").write_text("".join(f"thing {n}\n" for n in range(10)))
        text = sqzx(
            "import",
            file,
            *options,
            "--num-classes=10",
            "--class-names",
            tmp_path / "names.txt",
            "--out",
            tmp_path / "model",
        )[1]
        assert "conv10 starts afresh with 10 classes (seed 0); the other 25 layers are the file's" in text
        assert read_model(tmp_path / "model").class_name(9) == "thing 9"

    def test_mistakes_leave_nothing_behind(self, sqzx, foreign, tmp_path):
        out = tmp_path / "model"
        good = foreign[0].read_bytes()
        length = struct.unpack("<Q", good[:8])[0]
        bad = {
            "empty.npz": b"",
            "cut.safetensors": good[:-1],
            "long.safetensors": good + b"\0",
            "huge.safetensors": struct.pack("<Q", 2**32) + good[8:],
            "header.safetensors": good[:8] + b"[" + good[9:],
            "pickle.pth": b"\x80\x04N." + bytes(100),
            "noise": bytes(range(256)) * 4,
        }
        assert length < len(good)
        for name, data in bad.items():
            (tmp_path / name).write_bytes(data)
            assert refused(sqzx, "import", tmp_path / name, "--out", out).startswith(f"{tmp_path / name}: ")
            assert not out.exists()

    def test_archives_that_lie_leave_nothing_behind(self, sqzx, tmp_path):
        for number, (name, data) in enumerate(
            {
                "conv1.npy": b"\x93NUMPY\x01\x00\x05\x00{[(\n\n",
                "con\nv1.npy": b"\x93NUMPY",
                "conv1.weight.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
            }.items()
        ):
            path = tmp_path / f"{number}.npz"
            with zipfile.ZipFile(path, "w") as file:
                file.writestr(name, data)
            assert refused(sqzx, "import", path, "--out", tmp_path / "model").startswith(f"{path}: ")
            assert not (tmp_path / "model").exists()

    def test_wrong_options(self, sqzx, foreign, imported, tmp_path):
        file, out = foreign[0], tmp_path / "model"
        assert "--num-classes: model.num_classes: needs 2 to 1000000, found 1" in refused(
            sqzx, "import", file, "--num-classes=1", "--out", out
        )
        assert "caffe, torchvision, unit" in refused(sqzx, "import", file, "--preprocessing=x", "--out", out)
        assert not out.exists()
        (tmp_path / "notes.txt").write_text("mine")
        assert "is not empty" in refused(sqzx, "import", file, "--out", tmp_path)
        assert "says itself what it is" in refused(
            sqzx, "import", imported[0], "--input-size=9x9", "--out", out
        )


class TestPredict:
    @pytest.fixture
    def picture(self, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "p.jpg", quality=95)
        return tmp_path / "p.jpg"

    def test_images_and_arrays(self, sqzx, imported, picture, tmp_path):
        np.save(tmp_path / "a.npy", np.random.default_rng(1).normal(size=(2, 50, 41, 3)).astype(np.float32))
        inputs = (tmp_path / "a.npy", picture)
        out = tmp_path / "logits.npy"
        found = json.loads(sqzx("predict", imported[0], *inputs, "--top=2", "--json", "--out", out)[1])
        logits = np.load(out)
        assert logits.shape == (3, 1000)
        assert logits.dtype == np.float32
        assert [(answer["source"], answer["index"]) for answer in found] == [
            (str(inputs[0]), 0),
            (str(inputs[0]), 1),
            (str(picture), None),
        ]
        for answer, row in zip(found, logits, strict=True):
            best = np.argsort(-row, kind="stable")[:2]
            assert [guess["number"] for guess in answer["guesses"]] == best.tolist()
            assert [guess["name"] for guess in answer["guesses"]] == [f"class {n}" for n in best]
            assert [guess["logit"] for guess in answer["guesses"]] == pytest.approx(row[best].tolist())

        lines = sqzx("predict", imported[0], picture, "--top=3")[1].splitlines()
        assert lines[0] == str(picture)
        assert len(lines) == 4
        assert all("%  class " in line for line in lines[1:])

    def test_mistakes(self, sqzx, imported, picture, trial, tmp_path):
        model, out = imported[0], tmp_path / "logits.npy"
        Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
        assert "each side needs 2 pixels" in refused(
            sqzx, "predict", model, picture, tmp_path / "dot.png", "--out", out
        )
        assert not out.exists()
        assert "needs an image" in refused(sqzx, "predict", model)
        assert "--top: needs at least 1" in refused(sqzx, "predict", model, picture, "--top=0")
        assert "ends in .npy" in refused(sqzx, "predict", model, picture, "--out", tmp_path / "logits.txt")
        np.save(tmp_path / "a.npy", np.ones((1, 20, 20, 1), np.float32))
        assert "takes 8x8 images alone, found 20x20" in refused(sqzx, "predict", trial, tmp_path / "a.npy")
        (tmp_path / "folder.npy").mkdir()
        for path in (tmp_path / "folder.npy", tmp_path / "no.npy", tmp_path / "no.png"):
            assert str(path) in refused(sqzx, "predict", model, path)


class TestEvaluate:
    def test_a_trial_scores_what_it_said(self, sqzx, trial):
        result = json.loads((trial / "result.json").read_text())
        found = json.loads(sqzx("evaluate", trial, "--json")[1])
        assert found["data"] == "digits"
        assert found["images"] == 359
        assert (found["test_top1"], found["test_top5"]) == (result["test_top1"], result["test_top5"])
        assert found["test_loss"] == pytest.approx(result["test_loss"], rel=1e-5)
        assert sqzx("evaluate", trial / "model.safetensors", "--data=digits")[1] == (
            f"digits: test top-1 {result['test_top1']:.4f}, top-5 {result['test_top5']:.4f}, "
            f"loss {result['test_loss']:.4f}, 359 images\n"
        )

    def test_mistakes(self, sqzx, trial, imported, tmp_path):
        assert "28x28x1, the model takes 8x8x1" in refused(sqzx, "evaluate", trial, "--data=fashion_mnist")
        assert "doesn't say what it was trained on" in refused(sqzx, "evaluate", imported[0])
        assert f"{tmp_path / 'no'}: no such file" in refused(sqzx, "evaluate", tmp_path / "no")
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).write_bytes((trial / name).read_bytes())
        status = json.loads((trial / "status.json").read_text()) | {"status": "interrupted"}
        (tmp_path / "status.json").write_text(json.dumps(status))
        assert "this trial is interrupted" in refused(sqzx, "evaluate", tmp_path)


class TestExport:
    @pytest.mark.parametrize("which", ["trial", "imported"])
    def test_out_and_back(self, sqzx, which, request, tmp_path):
        folder = request.getfixturevalue(which)
        folder = folder[0] if which == "imported" else folder
        files = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
        for file in files:
            text = sqzx("export", folder, "--format=safetensors", "--out", file)[1]
            assert "images: " in text
        assert files[0].read_bytes() == files[1].read_bytes()
        sqzx("import", files[0], "--out", tmp_path / "again")
        first, second = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "again"))
        outside = load_file(files[0])
        assert first.keys() == second.keys() == outside.keys()
        for name, tensor in first.items():
            assert tensor.dtype == np.float32
            assert tensor.tobytes() == second[name].tobytes() == outside[name].tobytes()
        digests = {
            hashlib.sha256(f.read_bytes()).hexdigest() for f in (*files, tmp_path / "again/model.safetensors")
        }
        assert len(digests) == 1

    def test_dense_kernels_run_over_channels_first(self, sqzx, trial, tmp_path):
        sqzx("export", trial, "--format=safetensors", "--out", tmp_path / "a.safetensors")
        outside, ours = load_file(tmp_path / "a.safetensors"), read_model(trial).parameters
        assert {name: tensor.shape for name, tensor in outside.items()} == {
            "features.0.weight": (4, 1, 3, 3),
            "features.0.bias": (4,),
            "features.2.weight": (6, 2, 3, 3),
            "features.2.bias": (6,),
            "classifier.1.weight": (12, 6 * 4 * 4),
            "classifier.1.bias": (12,),
            "classifier.3.weight": (10, 12),
            "classifier.3.bias": (10,),
        }
        kernel = ours["fc3"]["kernel"].reshape(4, 4, 6, 12)  # rows, columns, channels, out
        assert (outside["classifier.1.weight"] == kernel.transpose(3, 2, 0, 1).reshape(12, 96)).all()
        assert (outside["classifier.3.weight"] == ours["fc4"]["kernel"].T).all()
        assert np.unique(outside["classifier.1.weight"]).size > 1000  # an order that can be told

    def test_mistakes(self, sqzx, trial, tmp_path):
        assert "is safetensors so far" in refused(
            sqzx, "export", trial, "--format=onnx", "--out", tmp_path / "a"
        )
        assert "is a folder" in refused(sqzx, "export", trial, "--format=safetensors", "--out", tmp_path)
        assert not list(tmp_path.iterdir())
