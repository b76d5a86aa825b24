"""Logits of images and arrays, in order; scores as training found them; the authors' network by a twin."""

import json
import struct
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sqzx import preprocessing
from sqzx.attempt import attempt
from sqzx.config import resolve_model
from sqzx.data.examples import Examples
from sqzx.data.info import DatasetInfo
from sqzx.data.store import write_set
from sqzx.errors import InputError, MissingDataError, NonFiniteError
from sqzx.importing import import_model
from sqzx.model import Model, read_model
from sqzx.network import initial_parameters
from sqzx.prediction import answers, evaluate, predict, print_answers
from sqzx.preprocessing import read_for
from sqzx.trial import Status, TrialFolder

PUBLISHED = (
    Path(__file__).parents[2].parent
    / "shared"
    / "data"
    / "deep_compressed_squeezenet"
    / "compressed_SqueezeNet.net"
)
SQUEEZENET = {
    "model.preset": "squeezenet_small",
    "model.base_e": 4,
    "model.incr_e": 4,
    "model.num_fires": 2,
    "model.stem_features": 4,
    "model.pool_after": (1,),
    "model.squeeze_ratio": 0.5,
    "model.activation": "elu",  # no unit is dead
    "model.num_classes": 7,
}
EXPECTED = {  # what PyTorch says of two photographs, the five largest logits by class; see `twin`
    "china": {442: 16.22706, 832: 15.35707, 449: 14.24546, 663: 13.41806, 437: 13.30448},
    "flower": {109: 16.41209, 328: 14.88384, 396: 13.90672, 107: 13.04209, 998: 12.97540},
}
ALEXNET = {
    "model.preset": "alexnet_small",
    "model.conv_features": (4, 6),
    "model.conv_kernels": (3, 3),
    "model.conv_paddings": (1, 1),
    "model.conv_groups": (1, 2),
    "model.lrn_after": (1,),
    "model.pool_after": (2,),
    "model.fc_features": (5,),
    "model.num_classes": 7,
}


def made(keys, prepared):
    """A model with parameters that tell channels and images apart."""
    config = resolve_model(keys, "test")
    parameters = initial_parameters(config, prepared.image_shape, seed=3)
    *_, classifier = parameters.values()
    classifier["kernel"] *= 100  # so that logits are about 1
    return Model(config=config, parameters=parameters, preprocessing=prepared, source="made by a test")


@pytest.fixture(scope="module")
def squeezenet():
    return made(SQUEEZENET, replace(preprocessing.torchvision((8, 9)), channel_order="BGR"))


@pytest.fixture(scope="module")
def alexnet():
    return made(ALEXNET, preprocessing.unit((8, 6, 3)))


@pytest.fixture(scope="module")
def inputs():
    """33 images of the network's size."""
    return np.random.default_rng(0).integers(0, 256, (33, 8, 9, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def files(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, image in enumerate(inputs):
        Image.fromarray(image).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(len(inputs))]


@pytest.fixture
def array(tmp_path):
    def write(values, name="a.npy"):
        np.save(tmp_path / name, values)
        return tmp_path / name

    return write


def refusal(model, path):
    """Return the one line that refuses an input, without the path that it begins with."""
    with pytest.raises(InputError) as error:
        predict(model, [path])
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    return line.removeprefix(f"{path}: ")


@pytest.fixture(scope="module")
def all_at_once(squeezenet, files):
    return predict(squeezenet, files)[0]


class TestBatches:
    def test_images_differ(self, all_at_once):
        assert all_at_once.shape == (33, 7)
        assert all_at_once.dtype == np.float32
        assert np.unique(all_at_once, axis=0).shape == (33, 7)

    @pytest.mark.parametrize("number", [1, 16, 17])
    def test_the_number_of_images_changes_none_of_them(self, squeezenet, files, all_at_once, number):
        logits, origins = predict(squeezenet, files[:number])
        assert origins == [(str(file), None) for file in files[:number]]
        np.testing.assert_allclose(logits, all_at_once[:number], rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("number", [15, 16, 32])
    def test_one_at_a_time(self, squeezenet, files, all_at_once, number):
        logits, _ = predict(squeezenet, [files[number]])
        np.testing.assert_allclose(logits[0], all_at_once[number], rtol=1e-5, atol=1e-5)

    def test_rows_have_the_order_of_the_inputs(self, squeezenet, files, inputs, all_at_once, array):
        prepared = squeezenet.preprocessing.normalise(inputs)
        three, one = array(prepared[[5, 4, 3]], "three.npy"), array(prepared[[9]], "one.npy")
        logits, origins = predict(squeezenet, [files[7], three, files[2], files[1], one, files[7]])
        np.testing.assert_allclose(logits, all_at_once[[7, 5, 4, 3, 2, 1, 9, 7]], rtol=1e-5, atol=1e-5)
        assert origins == [
            (str(files[7]), None),
            (str(three), 0),
            (str(three), 1),
            (str(three), 2),
            (str(files[2]), None),
            (str(files[1]), None),
            (str(one), 0),
            (str(files[7]), None),
        ]

    def test_an_array_of_more_than_one_batch(self, squeezenet, inputs, all_at_once, array):
        prepared = np.asfortranarray(squeezenet.preprocessing.normalise(inputs[:17]))
        logits, origins = predict(squeezenet, [array(prepared)])
        np.testing.assert_allclose(logits, all_at_once[:17], rtol=1e-5, atol=1e-5)
        assert [index for _, index in origins] == list(range(17))

    def test_the_preprocessing_is_the_model_s(self, squeezenet, files, all_at_once):
        other = replace(squeezenet, preprocessing=preprocessing.torchvision((8, 9)))
        assert np.abs(predict(other, files[:1])[0] - all_at_once[:1]).max() > 1e-3


class TestImages:
    def test_other_sizes_and_formats(self, squeezenet, tmp_path):
        picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 31, 3), dtype=np.uint8))
        picture.save(tmp_path / "p.bmp")
        picture.save(tmp_path / "p.webp", lossless=True)
        picture.save(tmp_path / "called.npz", format="PNG")  # told by its content
        logits, _ = predict(squeezenet, [tmp_path / name for name in ("p.bmp", "p.webp", "called.npz")])
        np.testing.assert_allclose(logits[1:], logits[[0, 0]], rtol=1e-5, atol=1e-5)
        fitted = read_for(squeezenet.preprocessing, tmp_path / "p.bmp")
        Image.fromarray(fitted).save(tmp_path / "fitted.png")
        np.testing.assert_allclose(predict(squeezenet, [tmp_path / "fitted.png"])[0], logits[:1], rtol=1e-5)

    def test_one_pixel(self, squeezenet, tmp_path):
        Image.new("RGB", (1, 1)).save(tmp_path / "p.png")
        assert "each side needs 2 pixels" in refusal(squeezenet, tmp_path / "p.png")

    def test_no_image(self, squeezenet, tmp_path):
        (tmp_path / "p.png").write_bytes(b"no image")
        assert "not an image" in refusal(squeezenet, tmp_path / "p.png")
        assert refusal(squeezenet, tmp_path / "q.png") == "no such file"
        assert "a folder" in refusal(squeezenet, tmp_path)

    def test_one_bad_image_among_good_ones(self, squeezenet, files, tmp_path):
        (tmp_path / "p.png").write_bytes(files[0].read_bytes()[:120])
        with pytest.raises(InputError, match=r"p\.png: truncated or damaged PNG"):
            predict(squeezenet, [files[0], tmp_path / "p.png"])


class TestArrays:
    @pytest.mark.parametrize("shape", [(2, 8, 9, 3), (1, 13, 7, 3), (1, 30, 5, 3)])
    def test_squeezenet_takes_any_size(self, squeezenet, array, shape):
        assert predict(squeezenet, [array(np.ones(shape, np.float32))])[0].shape == (shape[0], 7)

    def test_alexnet_takes_its_own_alone(self, alexnet, array):
        assert predict(alexnet, [array(np.ones((2, 8, 6, 3), np.float32))])[0].shape == (2, 7)
        for height, width in ((8, 8), (30, 30), (4, 6)):
            line = refusal(alexnet, array(np.ones((2, height, width, 3), np.float32)))
            assert line == f"this network takes 8x6 images alone, found {height}x{width}"

    def test_not_even_with_height_and_width_exchanged(self, alexnet, array):
        """The dense layer would have as many inputs, from other places."""
        assert "8x6" in refusal(alexnet, array(np.ones((2, 6, 8, 3), np.float32)))

    def test_too_small_for_a_map(self, squeezenet, array):
        for shape in ((1, 1, 1, 3), (1, 0, 8, 3)):
            assert "leaves a map" in refusal(squeezenet, array(np.ones(shape, np.float32)))

    @pytest.mark.parametrize(
        "shape", [(8, 9, 3), (2, 8, 9, 1), (2, 3, 8, 9), (0, 8, 9, 3), (), (2, 8, 9, 3, 1)]
    )
    def test_another_shape(self, squeezenet, array, shape):
        line = refusal(squeezenet, array(np.ones(shape, np.float32)))
        assert line == f"needs images x height x width x 3, found {shape}"

    @pytest.mark.parametrize("dtype", ["uint8", "float64", "float16", ">f4", "int32", "complex64"])
    def test_another_type(self, squeezenet, array, dtype):
        line = refusal(squeezenet, array(np.ones((2, 8, 9, 3), dtype)))
        assert line == f"needs float32, preprocessed, found {np.dtype(dtype)}"

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite(self, squeezenet, array, value):
        images = np.ones((33, 8, 9, 3), np.float32)
        images[17, 3, 3, 1] = value
        assert refusal(squeezenet, array(images)).startswith(
            "images 16 to 31 hold values that are not finite"
        )

    def test_a_pickle(self, squeezenet, tmp_path):
        np.save(tmp_path / "a.npy", np.array([[[[{}]]]], object), allow_pickle=True)
        assert "Python objects" in refusal(squeezenet, tmp_path / "a.npy")

    def test_damage(self, squeezenet, array):
        path = array(np.ones((2, 8, 9, 3), np.float32))
        data = path.read_bytes()
        for damaged in (
            b"",
            data[:5],
            data[:9],
            data[:60],
            data[:-1],
            data + b"\0",
            b"\x93NUMPY\x09" + data[7:],
        ):
            path.write_bytes(damaged)
            refusal(squeezenet, path)

    @pytest.mark.parametrize(
        "text",
        [
            b"{",
            b"[" * 300,
            b"{'descr': ('<f4',), 'fortran_order': False, 'shape': (1,)}",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8, -9, 3)}",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2**3, 9, 3)}",
        ],
        ids=["open", "deep", "descr", "negative", "a program"],
    )
    def test_a_header_that_says_nothing_sensible(self, squeezenet, tmp_path, text):
        (tmp_path / "a.npy").write_bytes(
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n" + bytes(864)
        )
        refusal(squeezenet, tmp_path / "a.npy")

    @pytest.mark.parametrize("length", [100_000, 2**32 - 1])
    def test_a_header_that_is_very_long(self, squeezenet, tmp_path, length):
        data = b"\x93NUMPY\x02\x00" + struct.pack("<I", length) + b"{" + b" " * 200_000
        (tmp_path / "a.npy").write_bytes(data)
        line = refusal(squeezenet, tmp_path / "a.npy")
        assert len(line) < 400

    def test_a_folder_with_such_a_name(self, squeezenet, tmp_path):
        (tmp_path / "a.npy").mkdir()
        refusal(squeezenet, tmp_path / "a.npy")

    def test_logits_that_are_not_finite(self, squeezenet, array):
        conv10 = squeezenet.parameters["conv10"]
        broken = conv10 | {"bias": np.full_like(conv10["bias"], np.nan)}
        model = replace(squeezenet, parameters=squeezenet.parameters | {"conv10": broken})
        with pytest.raises(NonFiniteError, match="not finite"):
            predict(model, [array(np.ones((1, 8, 9, 3), np.float32))])


class TestAnswers:
    LOGITS = np.float32([[0, 2, 1, 2], [5, -1, 0, 0]])
    ORIGINS = (("a.png", None), ("b.npy", 3))

    @pytest.fixture
    def named(self, squeezenet):
        return replace(squeezenet, class_names=("ant", "bee", "cat", "dog", "eel", "fox", "gnu"))

    def test_the_likeliest_first_and_the_smaller_number_of_equals(self, squeezenet):
        first, second = answers(squeezenet, self.LOGITS, list(self.ORIGINS), 3)
        assert [guess.number for guess in first.guesses] == [1, 3, 2]
        assert [guess.number for guess in second.guesses] == [0, 2, 3]
        assert (first.source, first.index, second.source, second.index) == ("a.png", None, "b.npy", 3)

    def test_probabilities_are_the_softmax(self, squeezenet):
        found = answers(squeezenet, self.LOGITS, list(self.ORIGINS), 4)
        for answer, row in zip(found, self.LOGITS.astype(float), strict=True):
            for guess in answer.guesses:
                assert guess.probability == pytest.approx(np.exp(row[guess.number]) / np.exp(row).sum())
                assert guess.logit == row[guess.number]
            assert sum(guess.probability for guess in answer.guesses) == pytest.approx(1)

    def test_large_logits(self, squeezenet):
        (answer,) = answers(squeezenet, np.float32([[1e4, -1e4]]), [("a", None)], 2)
        assert [guess.probability for guess in answer.guesses] == [1, 0]

    @pytest.mark.parametrize(("top", "number"), [(1, 1), (4, 4), (9, 4)])
    def test_top(self, squeezenet, top, number):
        assert {len(a.guesses) for a in answers(squeezenet, self.LOGITS, list(self.ORIGINS), top)} == {number}

    def test_names(self, squeezenet, named):
        def name(model):
            return answers(model, self.LOGITS, list(self.ORIGINS), 1)[0].guesses[0].name

        assert name(named) == "bee"
        assert name(squeezenet) == "class 1"

    def test_printed(self, named, capsys):
        print_answers(answers(named, self.LOGITS, list(self.ORIGINS), 2))
        assert capsys.readouterr().out == (
            "a.png\n   39.9 %  bee\n   39.9 %  dog\nb.npy[3]\n   98.4 %  ant\n    0.7 %  cat\n"
        )


@pytest.fixture(scope="module")
def trial(tiny, tmp_path_factory):
    """A trial on digits, really run."""
    folder = TrialFolder(tmp_path_factory.mktemp("trial") / "t")
    assert attempt(tiny(seed=5), folder, started=time.monotonic()).status == "done"
    return folder


class TestEvaluate:
    def test_a_finished_trial_scores_what_its_result_says(self, trial):
        scores, images, name = evaluate(read_model(trial.path))
        result = json.loads(trial.result_file.read_text())
        assert (images, name) == (359, "digits")
        assert scores.top1 == result["test_top1"]
        assert scores.top5 == result["test_top5"]
        assert scores.loss == pytest.approx(result["test_loss"], rel=1e-5)
        assert evaluate(read_model(trial.model_file), "digits")[0] == scores

    def test_predict_says_the_same_of_the_test_images(self, trial, array):
        from sqzx.data.store import load_set

        model = read_model(trial.path)
        images = load_set("digits").examples.test_images
        logits, _ = predict(model, [array(model.preprocessing.normalise(images))])
        with np.load(trial.predictions_file) as stored:
            np.testing.assert_allclose(logits, stored["test_logits"], rtol=1e-4, atol=1e-4)

    def test_other_parameters_score_otherwise(self, trial):
        model = read_model(trial.path)
        fresh = initial_parameters(model.config, (8, 8, 1), seed=0)
        assert evaluate(replace(model, parameters=fresh))[0].loss != evaluate(model)[0].loss

    def test_images_of_another_shape(self, trial):
        with pytest.raises(InputError, match="fashion_mnist: has images of 28x28x1, the model takes 8x8x1"):
            evaluate(read_model(trial.path), "fashion_mnist")

    def test_another_number_of_classes(self, trial, tmp_path, monkeypatch):
        monkeypatch.setenv("SQZX_DATA", str(tmp_path))
        images, labels = (
            np.arange(640, dtype=np.uint8).reshape(10, 8, 8, 1),
            np.arange(10, dtype=np.int32) % 3,
        )
        info = DatasetInfo(
            name="toy",
            image_shape=(8, 8, 1),
            num_classes=3,
            class_names=(),
            train_examples=10,
            test_examples=2,
            fingerprint=None,
            source="made by a test",
            rule=None,
        )
        write_set(info, Examples(images, labels, images[:2], labels[:2]))
        with pytest.raises(InputError, match="toy: has 3 classes, the model 10"):
            evaluate(read_model(trial.path), "toy")

    def test_a_set_that_is_not_there(self, trial):
        with pytest.raises(MissingDataError, match="mnist_corrupted"):
            evaluate(read_model(trial.path), "mnist_corrupted")

    def test_a_model_that_does_not_say_what_it_learnt_from(self, squeezenet):
        with pytest.raises(InputError, match="--data: this model doesn't say"):
            evaluate(squeezenet)

    def test_an_unfinished_trial(self, trial, tmp_path):
        folder = TrialFolder(tmp_path)
        folder.write_config(trial.read_config())
        folder.write_status(Status(status="interrupted"))
        with pytest.raises(InputError, match="this trial is interrupted; a finished one has a model"):
            read_model(tmp_path)


def twin(decoded, image):
    """The authors' v1.0 prototxt in PyTorch, for one image of 227x227 pixels, RGB, uint8."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional  # noqa: N806

    def conv(x, name, **options):
        layer = decoded[name]
        return F.relu(F.conv2d(x, torch.tensor(layer.kernel), torch.tensor(layer.bias), **options))

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    x = torch.tensor(image[None, :, :, ::-1].astype(np.float32)) - torch.tensor([104.0, 117.0, 123.0])
    x = pool(conv(x.permute(0, 3, 1, 2), "conv1", stride=2))
    for n in range(2, 10):
        squeezed = conv(x, f"fire{n}.squeeze")
        parts = (conv(squeezed, f"fire{n}.expand1x1"), conv(squeezed, f"fire{n}.expand3x3", padding=1))
        x = torch.cat(parts, dim=1)
        x = pool(x) if n in (4, 8) else x
    return conv(x, "conv10", padding=1).mean(dim=(2, 3)).numpy()[0]


@pytest.fixture(scope="module")
def photographs():
    from sklearn.datasets import load_sample_images

    return {
        name: np.asarray(Image.fromarray(image).resize((227, 227), Image.Resampling.BILINEAR))
        for name, image in zip(("china", "flower"), load_sample_images().images, strict=True)
    }


@pytest.fixture(scope="module")
def photographs_logits(photographs, tmp_path_factory):
    import sklearn.datasets

    folder, paths = tmp_path_factory.mktemp("photographs"), []
    for name, image in photographs.items():
        Image.fromarray(image).save(folder / f"{name}.png")
        paths.append(folder / f"{name}.png")
    whole = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    model = import_model(PUBLISHED, {}).model
    logits, _ = predict(model, [*paths, whole])
    return dict(zip((*photographs, "whole china"), logits, strict=True))


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published file is not in ../shared")
class TestTheAuthorsNetwork:
    """On scikit-learn's two photographs, scaled to 227x227 pixels; the numbers are PyTorch's (`twin`)."""

    @pytest.mark.parametrize("name", ["china", "flower"])
    def test_the_five_likeliest_classes_and_their_logits(self, photographs_logits, name):
        expected = EXPECTED[name]
        best = np.argsort(-photographs_logits[name])[:5]
        assert best.tolist() == list(expected)
        np.testing.assert_allclose(photographs_logits[name][best], list(expected.values()), rtol=1e-3)

    @pytest.mark.parametrize("name", ["china", "flower"])
    def test_all_logits_are_pytorch_s(self, photographs_logits, photographs, name):
        from sqzx.authors_file import decode

        theirs = twin(decode(PUBLISHED.read_bytes(), "test"), photographs[name])
        np.testing.assert_allclose(photographs_logits[name], theirs, rtol=1e-3, atol=1e-4)
        best = np.argsort(-theirs)[:5]
        assert dict(zip(best.tolist(), theirs[best].tolist(), strict=True)) == pytest.approx(
            EXPECTED[name], rel=1e-4
        )

    def test_a_photograph_of_640x427_pixels(self, photographs_logits):
        assert np.argsort(-photographs_logits["whole china"])[:5].tolist() == [442, 663, 628, 538, 832]
