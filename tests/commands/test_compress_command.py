"""compress and inspect, and a .sqz wherever a model may be, end to end, and how they refuse."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from sqzx.compression import sqz
from sqzx.compression.kernels import kernels_of
from sqzx.model import read_model


@pytest.fixture(scope="module")
def trial(sqzx, tiny_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial") / "trial"
    sqzx("train", "--preset", "squeezenet_small", *tiny_set, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def compressed(sqzx, trial):
    """A trial as a file, and what the command printed."""
    path = trial.parent / "a.sqz"
    return path, sqzx("compress", trial, "--out", path, "--set", "compress.bits=4")[1]


def refused(sqzx, *arguments):
    """Return the one line of a command that was refused."""
    code, out, err = sqzx(*arguments, check=False)
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("sqzx: ")
    return line.removeprefix("sqzx: ")


def test_it_says_what_it_wrote_and_what_it_does_not_know(compressed):
    path, text = compressed
    assert f"{path.stat().st_size:,} bytes, read back and compared; relative squared error " in text
    assert "accuracy was not measured" in text
    assert sqz.read_sqz(path).history == ({"stage": "share", "bits": 4, "tables": "f16"},)


def test_it_says_how_far_the_logits_of_images_move(sqzx, trial, tmp_path):
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", random.normal(size=(3, 8, 8, 1)).astype(np.float32))
    images = [tmp_path / "a.npy", tmp_path / "b.npy"]

    def told(bits):
        keys = ("--out", tmp_path / "x.sqz", f"--set=compress.bits={bits}", "--images", *images)
        return sqzx("compress", trial, *keys)[1].splitlines()[-1]

    coarse, fine = told(1), told(8)
    assert "logits of 6 images: relative error " in fine
    assert fine.endswith("the likeliest class stays in 6")
    errors = [float(line.split("relative error ")[1].split(",")[0]) for line in (fine, coarse)]
    assert 0 < errors[0] < 0.05 < errors[1]
    line = refused(sqzx, "compress", trial, "--out", tmp_path / "y.sqz", "--images", tmp_path / "missing.png")
    assert "missing.png" in line
    assert not (tmp_path / "y.sqz").exists()


def test_sensitivity_prunes_to_the_densities_asked(sqzx, trial, tmp_path):
    text = sqzx("sensitivity", trial, "--out", tmp_path / "s", "--density", "0.5", "0.25")[1]
    assert "conv1: 0.5: 0." in text
    assert "sensitivity.png" in text
    lines = (tmp_path / "s" / "sensitivity.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in lines[1:]} == {"0.5", "0.25"}
    line = refused(sqzx, "sensitivity", trial, "--out", tmp_path / "t", "--density", "2")
    assert line.startswith("density: needs more than 0 and at most 1, found 2")


def test_the_same_input_is_the_same_file(sqzx, trial, compressed, tmp_path):
    sqzx("compress", trial, "--out", tmp_path / "b.sqz", "--set=compress.bits=4")
    assert (tmp_path / "b.sqz").read_bytes() == compressed[0].read_bytes()
    sqzx(
        "compress", trial, "--out", tmp_path / "c.sqz", "--set=compress.bits=4", "--set=compress.coder=range"
    )
    assert sqz.open_sqz((tmp_path / "c.sqz").read_bytes(), "c").coder == "range"


def test_accuracy_and_logits_come_from_the_file(sqzx, compressed, tmp_path):
    path, _ = compressed
    told = json.loads(sqzx("evaluate", path, "--json")[1])
    assert told["data"] == "digits"
    np.save(tmp_path / "x.npy", np.linspace(-1, 1, 5 * 64, dtype=np.float32).reshape(5, 8, 8, 1))
    sqzx("predict", path, tmp_path / "x.npy", "--out", tmp_path / "logits.npy")
    from sqzx.prediction import evaluate, predict

    in_memory = sqz.read_sqz(path).model
    expected, _ = predict(in_memory, [tmp_path / "x.npy"])
    assert np.load(tmp_path / "logits.npy").tobytes() == expected.tobytes()
    assert evaluate(in_memory)[0].named("test") == {k: v for k, v in told.items() if k.startswith("test")}


def test_it_is_exported_with_the_decoded_weights(sqzx, compressed, tmp_path):
    sqzx("export", compressed[0], "--format", "safetensors", "--out", tmp_path / "m.safetensors")
    decoded = kernels_of(sqz.read_sqz(compressed[0]).model.parameters)
    exported = load_file(tmp_path / "m.safetensors")
    assert (exported["classifier.1.weight"] == decoded["conv10"].transpose(3, 2, 0, 1)).all()
    for name, kernel in kernels_of(read_model(tmp_path / "m.safetensors").parameters).items():
        assert kernel.tobytes() == decoded[name].tobytes()


def test_inspect_adds_up(sqzx, compressed):
    path, _ = compressed
    told = json.loads(sqzx("inspect", path, "--json")[1])
    size = path.stat().st_size
    assert told["header_bytes"] + told["metadata_bytes"] + sum(x["bytes"] for x in told["layers"]) == size
    assert told["bytes"] == size
    text = sqzx("inspect", path)[1]
    for part in (f"{size:,}", "fire3.expand3x3", "bits a weight", "243,860,896", "zlib", "LZMA", "Huffman"):
        assert part in text


def test_lossless_needs_weights_that_are_shared_already(sqzx, trial, compressed, tmp_path):
    out = tmp_path / "l.sqz"
    sqzx("compress", compressed[0], "--lossless", "--out", out)
    for name, kernel in kernels_of(read_model(out).parameters).items():
        assert kernel.tobytes() == kernels_of(read_model(compressed[0]).parameters)[name].tobytes()
    line = refused(sqzx, "compress", compressed[0], "--lossless", "--set=compress.bits=4", "--out", out)
    assert line == "--lossless: is compress.bits=8, found 4; leave out either"


def test_a_sqz_is_compressed_again(sqzx, compressed, tmp_path):
    sqzx("compress", compressed[0], "--out", tmp_path / "b.sqz", "--set=compress.bits=2")
    kernel = kernels_of(read_model(tmp_path / "b.sqz").parameters)["conv10"]
    assert len(np.unique(kernel[kernel != 0])) <= 3


def test_it_is_imported_with_another_classifier(sqzx, compressed, tmp_path):
    text = sqzx("import", compressed[0], "--num-classes", "4", "--out", tmp_path / "four")[1]
    assert "conv10 starts afresh with 4 classes" in text
    found = kernels_of(read_model(tmp_path / "four").parameters)
    decoded = kernels_of(read_model(compressed[0]).parameters)
    assert found["conv10"].shape[-1] == 4
    assert found["conv1"].tobytes() == decoded["conv1"].tobytes()


def test_a_recipe_says_each_stage_and_its_accuracy_comes_from_the_file(sqzx, trial, tmp_path):
    out = tmp_path / "r.sqz"
    keys = ["--set=compress.density=0.5", "--set=compress.bits=3", "--set=compress.retrain_epochs=1"]
    text = sqzx("compress", trial, "--recipe", "deep_compression", *keys, "--out", out)[1]
    for stage in ("none", "prune", "retrain", "share (bits 3)", "tune", "round"):
        assert stage in text
    told = json.loads(sqzx("evaluate", out, "--json")[1])
    assert f"test top-1 {told['test_top1']:.4f} of {told['images']} images" in text
    assert f"{out.stat().st_size:,} bytes" in text
    assert not (tmp_path / "r.sqz.work").exists()


def test_a_recipe_needs_the_data_that_a_model_was_trained_on(sqzx, trial, tmp_path):
    from dataclasses import replace

    from sqzx.model import write_model

    for name, data in {"unknown": None, "elsewhere": "no_such_set"}.items():
        write_model(tmp_path / f"{name}.safetensors", replace(read_model(trial), data=data))
    out = tmp_path / "x.sqz"
    line = refused(sqzx, "compress", tmp_path / "unknown.safetensors", "--recipe", "svd", "--out", out)
    assert "this model doesn't say on what data it was trained" in line
    line = refused(sqzx, "compress", tmp_path / "elsewhere.safetensors", "--recipe", "svd", "--out", out)
    assert "no_such_set" in line
    line = refused(sqzx, "compress", trial, "--recipe", "svdd", "--out", out)
    assert line.startswith("--recipe: the recipe: 'svdd' is not possible here; did you mean svd?")
    line = refused(sqzx, "train", "--set=compress.recipe=svd", "--out", tmp_path / "t")
    assert line == "compress.recipe: train has no such part; use sqzx compress MODEL --recipe"


def test_mistakes_leave_nothing_behind(sqzx, trial, compressed, tmp_path):
    out = tmp_path / "x.sqz"
    bits = "--set=compress.bits=9"
    assert (
        refused(sqzx, "compress", trial, "--out", out, bits) == "--set: compress.bits: needs 1 to 8, found 9"
    )
    assert "did you mean compress.bits" in refused(
        sqzx, "compress", trial, "--out", out, "--set=compress.bit=4"
    )
    assert "ends in .sqz" in refused(sqzx, "compress", trial, "--out", tmp_path / "x.bin")
    assert "is a folder" in refused(sqzx, "compress", trial, "--out", tmp_path)
    assert "holds no model" in refused(sqzx, "compress", tmp_path, "--out", out)
    assert "no such file" in refused(sqzx, "inspect", tmp_path / "none.sqz")
    data = compressed[0].read_bytes()
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    for name, bad in {"flipped": changed, "cut": data[:-1], "long": data + b"\0", "empty": b""}.items():
        path = tmp_path / f"{name}.sqz"
        path.write_bytes(bad)
        for command in (["evaluate", path], ["inspect", path]):
            assert refused(sqzx, *command).startswith(f"{path}: ")
    assert not out.exists()
