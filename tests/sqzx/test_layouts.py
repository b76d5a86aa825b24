"""Names and axes outside: torchvision's and Caffe's lists as literals, permutations written out, and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.agreement import random_alexnet, random_squeezenet
from sqzx.config import resolve_model
from sqzx.layouts import layout_of, parameters, plain_name, slots, tensors
from sqzx.network import initial_parameters

FIRES = {  # inputs, squeeze, expand of each kind; SqueezeNet v1.0
    "fire2": (96, 16, 64),
    "fire3": (128, 16, 64),
    "fire4": (128, 32, 128),
    "fire5": (256, 32, 128),
    "fire6": (256, 48, 192),
    "fire7": (384, 48, 192),
    "fire8": (384, 64, 256),
    "fire9": (512, 64, 256),
}
TORCHVISION_1_0 = (3, 4, 5, 7, 8, 9, 10, 12)
TORCHVISION_1_1 = (3, 4, 6, 7, 9, 10, 11, 12)
TORCHVISION_ALEXNET = {
    "model.preset": "alexnet",
    "model.conv_features": (64, 192, 384, 256, 256),
    "model.conv_paddings": (2, 2, 1, 1, 1),
    "model.conv_groups": (1, 1, 1, 1, 1),
    "model.lrn_after": (),
    "model.pool_rounding": "floor",
}


def network(preset, **keys):
    return resolve_model({"model.preset": preset} | {f"model.{k}": v for k, v in keys.items()}, "test")


def shapes(config, image_shape, layout):
    return {name: slot.shape for name, slot in slots(config, image_shape, layout).items()}


def numbered(config, image_shape):
    """Parameters in which no two values of a network are equal, so that none can change places unseen."""
    start = 0
    tree = initial_parameters(config, image_shape, seed=0)

    def fill(branch):
        nonlocal start
        for name, leaf in branch.items():
            if isinstance(leaf, dict):
                fill(leaf)
            else:
                branch[name] = np.arange(start, start + leaf.size, dtype=np.float32).reshape(leaf.shape)
                start += leaf.size

    fill(tree)
    assert start < 2**24  # whole numbers that float32 has
    return tree


def same_tree(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_tree(a[k], b[k]) for k in a)
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


def squeezenet_shapes(stem, names, fire_names, parts):
    """The tensors of a SqueezeNet in running order; `stem` is the shape of conv1's kernel."""
    found = {f"{names[0]}.weight": stem, f"{names[0]}.bias": stem[:1]}
    for fire, (inputs, squeeze, expand) in zip(fire_names, FIRES.values(), strict=True):
        inputs = stem[0] if fire == fire_names[0] else inputs
        for part, kernel in zip(
            parts,
            ((squeeze, inputs, 1, 1), (expand, squeeze, 1, 1), (expand, squeeze, 3, 3)),
            strict=True,
        ):
            found |= {f"{fire}{part}.weight": kernel, f"{fire}{part}.bias": kernel[:1]}
    return found | {f"{names[1]}.weight": (1000, 512, 1, 1), f"{names[1]}.bias": (1000,)}


@pytest.mark.parametrize(
    ("preset", "stem", "numbers"),
    [
        ("squeezenet_v1_0", (96, 3, 7, 7), TORCHVISION_1_0),
        ("squeezenet_v1_1", (64, 3, 3, 3), TORCHVISION_1_1),
    ],
)
def test_torchvision_s_names_of_squeezenet(preset, stem, numbers):
    expected = squeezenet_shapes(
        stem,
        ("features.0", "classifier.1"),
        [f"features.{n}" for n in numbers],
        (".squeeze", ".expand1x1", ".expand3x3"),
    )
    found = shapes(network(preset), (224, 224, 3), "torchvision")
    assert found == expected
    assert list(found) == list(expected)
    assert len(found) == 52


def test_the_authors_names_in_caffe():
    expected = squeezenet_shapes(
        (96, 3, 7, 7),
        ("conv1", "conv10"),
        [f"fire{n}" for n in range(2, 10)],
        ("/squeeze1x1", "/expand1x1", "/expand3x3"),
    )
    found = shapes(network("squeezenet_v1_0"), (227, 227, 3), "caffe")
    assert found == expected
    assert list(found) == list(expected)


def test_torchvision_s_names_of_alexnet():
    config = resolve_model(TORCHVISION_ALEXNET, "test")
    assert shapes(config, (224, 224, 3), "torchvision") == {
        "features.0.weight": (64, 3, 11, 11),
        "features.0.bias": (64,),
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


def test_caffe_s_names_of_alexnet_have_the_inputs_of_one_group():
    found = shapes(network("alexnet"), (227, 227, 3), "caffe")
    assert {name: shape for name, shape in found.items() if name.endswith("weight")} == {
        "conv1.weight": (96, 3, 11, 11),
        "conv2.weight": (256, 48, 5, 5),
        "conv3.weight": (384, 256, 3, 3),
        "conv4.weight": (384, 192, 3, 3),
        "conv5.weight": (256, 192, 3, 3),
        "fc6.weight": (4096, 9216),
        "fc7.weight": (4096, 4096),
        "fc8.weight": (1000, 4096),
    }


def test_local_response_normalisation_has_no_number():
    keys = {"lrn_after": (1, 2)}, {"lrn_after": ()}
    with_it, without = (list(slots(network("alexnet", **k), (227, 227, 3), "torchvision")) for k in keys)
    assert with_it == without


@pytest.mark.parametrize(
    ("widths", "dense"),
    [((), ["classifier.0"]), ((5,), ["classifier.1", "classifier.3"])],
)
def test_an_alexnet_with_fewer_dense_layers_is_numbered_in_the_same_way(widths, dense):
    names = slots(network("alexnet_small", fc_features=widths), (32, 32, 3), "torchvision")
    assert [n for n in names if n.startswith("classifier") and n.endswith("weight")] == [
        f"{name}.weight" for name in dense
    ]


@pytest.mark.parametrize(
    ("layout", "name"), [("torchvision", "features.3.bypass.weight"), ("caffe", "fire2/bypass1x1.weight")]
)
def test_a_bypass_has_a_name(layout, name):
    found = shapes(network("squeezenet_v1_0", bypass="complex"), (227, 227, 3), layout)
    assert found[name] == (128, 96, 1, 1)


@pytest.mark.parametrize("layout", ["torchvision", "caffe"])
def test_a_kernel_outside_is_out_in_height_width(layout):
    config = network("squeezenet_small", base_e=4, incr_e=4, stem_features=3, num_fires=2, squeeze_ratio=0.5,
                     pool_after=())  # fmt: skip
    tree = numbered(config, (8, 8, 2))
    found = tensors(tree, slots(config, (8, 8, 2), layout))
    name = {"torchvision": "features.2.expand3x3.weight", "caffe": "fire2/expand3x3.weight"}[layout]
    ours, theirs = tree["fire2"]["expand3x3"]["kernel"], found[name]
    assert theirs.shape == (2, 2, 3, 3)
    for o, i, h, w in np.ndindex(theirs.shape):
        assert theirs[o, i, h, w] == ours[h, w, i, o]
    assert theirs.flags.c_contiguous


@pytest.mark.parametrize("layout", ["torchvision", "caffe"])
def test_a_dense_kernel_outside_runs_over_channels_then_rows_then_columns(layout):
    config = network(
        "alexnet_small",
        conv_features=(2, 4),
        conv_kernels=(3, 3),
        conv_paddings=(1, 1),
        conv_groups=(1, 2),
        lrn_after=(),
        pool_after=(),
        fc_features=(5,),
        num_classes=3,
    )
    shape = (2, 3, 1)
    tree = numbered(config, shape)
    found = tensors(tree, slots(config, shape, layout))
    theirs = found["classifier.1.weight" if layout == "torchvision" else "fc3.weight"]
    ours = tree["fc3"]["kernel"]
    height, width, channels = 2, 3, 4
    assert theirs.shape == (5, channels * height * width)
    for c, h, w in np.ndindex(channels, height, width):
        assert (theirs[:, (c * height + h) * width + w] == ours[(h * width + w) * channels + c]).all()
    # Whole numbers, so that the sums are exact in any order.
    seen = np.random.default_rng(0).integers(-9, 9, (height, width, channels)).astype(np.float64)
    assert (seen.reshape(-1) @ ours == theirs @ seen.transpose(2, 0, 1).reshape(-1)).all()
    # The last layer sees no map: its kernel is turned around and nothing more.
    last = found["classifier.3.weight" if layout == "torchvision" else "fc4.weight"]
    assert (last == tree["fc4"]["kernel"].T).all()


@pytest.mark.parametrize("layout", ["torchvision", "caffe"])
@pytest.mark.parametrize("draw", [random_squeezenet, random_alexnet])
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_out_and_back_is_the_identity(draw, layout, seed):
    config, shape = draw(seed)
    tree = numbered(config, shape)
    places = slots(config, shape, layout)
    outside = tensors(tree, places)
    assert {name: tensor.shape for name, tensor in outside.items()} == shapes(config, shape, layout)
    assert same_tree(parameters(outside, places), tree)
    again = tensors(parameters(outside, places), places)
    assert again.keys() == outside.keys()
    assert all((again[name] == outside[name]).all() for name in outside)
    # Each value has its place: none is left out, and none is there twice.
    assert len(np.unique(np.concatenate([t.reshape(-1) for t in outside.values()]))) == sum(
        tensor.size for tensor in outside.values()
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_what_comes_in_is_float32_of_this_machine(dtype):
    config = network("squeezenet_small", num_fires=1, pool_after=())
    places = slots(config, (8, 8, 1), "torchvision")
    given_ = {name: np.full(slot.shape, 0.5, dtype) for name, slot in places.items()}
    tree = parameters(given_, places)
    for leaf in (tree["conv1"]["kernel"], tree["conv1"]["bias"], tree["fire2"]["squeeze"]["kernel"]):
        assert leaf.dtype == np.dtype("=f4")
        assert (leaf == 0.5).all()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("features.3.squeeze.weight", "features.3.squeeze.weight"),
        ("module.features.3.squeeze.weight", "features.3.squeeze.weight"),
        ("module.classifier.1.bias", "classifier.1.bias"),
        ("conv1", "conv1.weight"),
        ("conv1.weight", "conv1.weight"),
        ("conv1/weights", "conv1.weight"),
        ("conv1_w", "conv1.weight"),
        ("conv1_b", "conv1.bias"),
        ("conv1/bias", "conv1.bias"),
        ("conv1.biases", "conv1.bias"),
        ("fire2/squeeze1x1", "fire2/squeeze1x1.weight"),
        ("fire2/squeeze1x1_0", "fire2/squeeze1x1.weight"),
        ("fire2/squeeze1x1_1", "fire2/squeeze1x1.bias"),
        ("fire2/squeeze1x1/0", "fire2/squeeze1x1.weight"),
        ("fire2/squeeze1x1.1", "fire2/squeeze1x1.bias"),
        ("fire9/expand3x3/kernel", "fire9/expand3x3.weight"),
        ("module.fire9/expand3x3_b", "fire9/expand3x3.bias"),
        ("conv10", "conv10.weight"),
        ("fc6_0", "fc6.weight"),
        ("fc8/b", "fc8.bias"),
        ("epoch", "epoch"),
        ("", ""),
    ],
)
def test_plain_names(name, plain):
    assert plain_name(name) == plain
    assert plain_name(plain) == plain


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["features.0.weight", "classifier.1.bias"], "torchvision"),
        (["conv1.weight", "fire2/squeeze1x1.weight"], "caffe"),
        (["fc6.weight"], "caffe"),
        (["fire9/expand3x3"], "caffe"),
        (["conv.weight", "fire.weight"], "torchvision"),  # without a number they are no layers of Caffe's
        ([], "torchvision"),
    ],
)
def test_a_layout_is_told_by_its_names(names, layout):
    assert layout_of(names) == layout
