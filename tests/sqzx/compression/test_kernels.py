import numpy as np

from sqzx.compression.kernels import kernels_of, with_kernels

PARAMETERS = {
    "stem": {"bias": np.zeros(2), "kernel": np.ones(1)},
    "fire2": {"squeeze": {"kernel": np.ones(2), "bias": np.zeros(1)}},
    "conv10": {"first": {"kernel": np.ones(3)}, "second": {"kernel": np.ones(4), "bias": np.ones(1)}},
}


def test_kernels_are_named_by_the_path_of_their_layer_in_running_order():
    assert {name: kernel.size for name, kernel in kernels_of(PARAMETERS).items()} == {
        "stem": 1, "fire2.squeeze": 2, "conv10.first": 3, "conv10.second": 4,
    }  # fmt: skip
    assert list(kernels_of(PARAMETERS)) == ["stem", "fire2.squeeze", "conv10.first", "conv10.second"]


def test_some_kernels_are_replaced_and_nothing_else():
    found = with_kernels(PARAMETERS, {"fire2.squeeze": 7, "conv10.second": 8})
    assert found["fire2"]["squeeze"] == {"kernel": 7, "bias": PARAMETERS["fire2"]["squeeze"]["bias"]}
    assert found["conv10"]["second"]["kernel"] == 8
    assert found["stem"] == PARAMETERS["stem"]
    assert list(found) == list(PARAMETERS)
    assert PARAMETERS["fire2"]["squeeze"]["kernel"] is not found["fire2"]["squeeze"]["kernel"]
    assert with_kernels(PARAMETERS, kernels_of(PARAMETERS)) == PARAMETERS
