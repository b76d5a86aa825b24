"""Bits of each layer under a budget, against every other choice there is."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqzx.compression.bit_budget import bits_within_bytes, bits_within_error, coded_bytes
from sqzx.compression.budget import Option, least, within_cost, within_loss
from sqzx.compression.weight_sharing import share, squared_error
from sqzx.errors import InputError


def convex(steps):
    """A layer whose steps pay less and less, so that the greedy choice is the best at each of its stops."""
    costs, losses = np.cumsum([1, *(cost for cost, _ in steps)]), [100.0]
    worth = sorted((worth for _, worth in steps), reverse=True)
    for (cost, _), each in zip(steps, worth, strict=True):
        losses.append(losses[-1] - cost * each)
    return [Option(i, int(c), loss) for i, (c, loss) in enumerate(zip(costs, losses, strict=True))]


layers = st.lists(st.tuples(st.integers(1, 5), st.floats(0.01, 3)), max_size=3).map(convex)
some_layers = st.lists(layers, min_size=1, max_size=4).map(lambda of: dict(zip("abcd", of, strict=False)))


def total(options, given):
    found = [next(o for o in options[layer] if o.value == value) for layer, value in given.items()]
    return sum(o.cost for o in found), sum(o.loss for o in found)


def every_choice(options):
    for choice in itertools.product(*options.values()):
        yield sum(o.cost for o in choice), sum(o.loss for o in choice)


@given(options=some_layers, share_of=st.floats(0, 1.1))
def test_within_a_cost_nothing_better_leaves_out_more_than_one_step(options, share_of):
    floor = least(options).cost
    most = floor + share_of * (sum(of[-1].cost for of in options.values()) - floor)
    cost, loss = total(options, within_cost(options, most))
    assert cost <= most
    # Greedy choices are best for what they cost, but for the last steps that no longer fit (cost at most 5).
    assert loss <= min(loss for cost, loss in every_choice(options) if cost <= max(floor, most - 5)) + 1e-9


@given(options=some_layers, share_of=st.floats(0, 1))
def test_within_a_loss_nothing_costs_less_by_more_than_one_step(options, share_of):
    floor = sum(of[-1].loss for of in options.values())
    most = floor + share_of * (least(options).loss - floor) + 1e-6
    cost, loss = total(options, within_loss(options, most))
    assert loss <= most
    assert cost <= min(cost for cost, loss in every_choice(options) if loss <= most) + 5


def test_steps_that_pay_late_are_taken_in_one():
    # One more alone saves nothing; two more save all.
    options = {"a": [Option(1, 1, 9.0), Option(2, 2, 9.0), Option(3, 3, 0.0)], "b": [Option(1, 1, 0.0)]}
    assert within_cost(options, 4) == {"a": 3, "b": 1}
    assert within_cost(options, 3) == {"a": 1, "b": 1}
    assert within_loss(options, 1.0) == {"a": 3, "b": 1}


def test_steps_that_pay_the_same_but_for_rounding_are_taken_one_by_one():
    options = {
        "a": [Option(0, 1, 100.0), Option(1, 3, 99.98), Option(2, 5, 99.96000000000001), Option(3, 9, 99.92)]
    }
    assert [within_cost(options, most)["a"] for most in (2, 3, 5, 8, 9)] == [0, 1, 2, 2, 3]
    losses = [7.0, 7.0 - 0.1, 7.0 - 0.1 - 0.1, 7.0 - 0.1 - 0.1 - 0.1]
    tenths = {name: [Option(i, i, loss) for i, loss in enumerate(losses)] for name in "ab"}
    assert [sum(within_cost(tenths, most).values()) for most in range(7)] == list(range(7))


def test_of_equal_steps_the_cheapest_is_taken_first_in_whatever_order_they_are_told():
    options = {"a": [Option(0, 1, 9.0), Option(2, 3, 7.0), Option(1, 2, 8.0)]}
    assert [within_cost(options, most)["a"] for most in (1, 2, 3)] == [0, 1, 2]


def test_what_costs_nothing_is_taken_first():
    options = {"a": [Option(1, 1, 9.0), Option(2, 2, 0.0)], "b": [Option(1, 1, 1.0), Option(2, 1, 0.5)]}
    assert within_cost(options, 2) == {"a": 1, "b": 2}


@pytest.fixture(scope="module")
def kernels():
    random = np.random.default_rng(0)
    return {
        "small": random.normal(size=(5, 5)).astype(np.float32),
        "large": random.laplace(size=(60, 50)).astype(np.float32),
        "faint": (0.01 * random.normal(size=(50, 40))).astype(np.float32),
        "empty": np.zeros((3, 3), np.float32),
    }


def measured(kernels, bits, start="linear"):
    shared = {name: share(kernels[name], n, start=start) for name, n in bits.items()}
    lost = sum(squared_error(kernels[name], layer) for name, layer in shared.items())
    energy = sum(float(np.square(k, dtype=np.float64).sum()) for k in kernels.values())
    return sum(coded_bytes(layer) for layer in shared.values()), lost / energy


@pytest.mark.parametrize("most", [600, 1000, 1500, 3000, 1e6])
def test_bytes_are_spent_where_the_weights_are_large(kernels, most):
    bits = bits_within_bytes(kernels, most)
    size, lost = measured(kernels, bits)
    assert size <= most
    assert bits["large"] > bits["faint"] or most == 1e6
    assert bits["empty"] == 1
    # No layer has all the same: that is at best as good.
    for same in range(1, 9):
        their_size, their_error = measured(kernels, dict.fromkeys(kernels, same))
        assert their_size > most or their_error >= lost


@pytest.mark.parametrize("most", [0.5, 0.1, 0.01, 0.001])
def test_an_error_is_kept_at_fewer_bytes_than_with_the_same_bits_for_all(kernels, most):
    bits = bits_within_error(kernels, most)
    size, lost = measured(kernels, bits)
    assert lost <= most
    for same in range(1, 9):
        their_size, their_error = measured(kernels, dict.fromkeys(kernels, same))
        assert their_error > most or their_size >= size


def test_the_start_is_that_of_the_clustering(kernels):
    most = measured(kernels, dict.fromkeys(kernels, 4))[1]
    optimal = bits_within_error(kernels, most, start="optimal")
    assert optimal != bits_within_error(kernels, most)
    assert measured(kernels, optimal, "optimal")[1] <= most
    budgets = (700, 1000, 2000)
    linear = [bits_within_bytes(kernels, most) for most in budgets]
    assert linear != [bits_within_bytes(kernels, most, start="optimal") for most in budgets]


def test_budgets_that_cannot_be_kept_are_refused_with_the_numbers(kernels):
    size, _ = measured(kernels, dict.fromkeys(kernels, 1))
    with pytest.raises(InputError, match=f"bytes: 20 are too few, {size:.0f} are needed with 1 bit a layer"):
        bits_within_bytes(kernels, 20)
    _, lost = measured(kernels, dict.fromkeys(kernels, 8))
    with pytest.raises(InputError, match=f"error: 1e-09 is too little, 8 bits a layer leave {lost:.3g}"):
        bits_within_error(kernels, 1e-9)


def test_bytes_are_the_entropy_of_the_codes_and_the_codebook():
    shared = share(np.float32([0, 0, 0, 1, 1, 2, 3]), 2)
    # Codes 1, 1, 2, 3: 1.5 bits each; four values of four bytes.
    assert coded_bytes(shared) == 4 * 1.5 / 8 + 16
    assert coded_bytes(share(np.zeros(5), 4)) == 4
