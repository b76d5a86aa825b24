"""Random axes: each draw lies in its range, and the same study draws the same points everywhere."""

import itertools
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.errors import InputError
from sweeps.random_axes import read_random


def draws(count: int = 8, *, seed: int = 0, sobol: bool = False, **kinds) -> list[dict]:
    tree = {"count": count, "seed": seed, "sobol": sobol, **kinds}
    axes = read_random(tree, "s.toml random")
    assert axes is not None
    return list(axes.points())


def column(key: str, count: int = 64, **kinds) -> list:
    return [point[key] for point in draws(count, **kinds)]


RATE, RATIO, BASE = "train.learning_rate", "model.squeeze_ratio", "model.base_e"


def test_draws_are_golden():
    assert draws(2, log={RATE: [1e-4, 1e-2]}, integer={BASE: [16, 64, 8]}) == [
        {RATE: 0.00166756, BASE: 40},
        {RATE: 0.00113499, BASE: 64},
    ]
    assert draws(2, sobol=True, uniform={RATIO: [0.1, 0.9]}) == [{RATIO: 0.117249}, {RATIO: 0.517249}]


class TestRanges:
    def test_a_step_counts_in_decimal(self):
        values = set(column(RATIO, 200, uniform={RATIO: [0.1, 0.9, 0.1]}))
        assert values == {float(f"0.{tenth}") for tenth in range(1, 10)}

    def test_a_range_that_fits_its_step_exactly_keeps_both_ends(self):
        assert set(column(RATIO, uniform={RATIO: [0.1, 0.3, 0.2]})) == {0.1, 0.3}

    def test_whole_numbers_step_by_one_unless_told_otherwise(self):
        assert set(column(BASE, integer={BASE: [16, 18]})) == {16, 17, 18}
        assert set(column(BASE, integer={BASE: [16, 31, 5]})) == {16, 21, 26, 31}
        assert all(type(value) is int for value in column(BASE, integer={BASE: [16.0, 18.0]}))

    def test_powers_of_two_include_fractions(self):
        assert set(column(RATIO, power_of_two={RATIO: [0.1, 1]})) == {0.125, 0.25, 0.5, 1.0}
        assert set(column(BASE, power_of_two={BASE: [16, 128]})) == {16, 32, 64, 128}

    def test_choices_may_be_anything(self):
        found = set(column("model.pool_after", choices={"model.pool_after": [[1], [1, 4], []]}))
        assert found == {(1,), (1, 4), ()}

    def test_a_logarithmic_range_has_as_many_draws_in_each_decade(self):
        values = column(RATE, 600, log={RATE: [1e-4, 1e-1]})
        decades = [sum(low <= v < 10 * low for v in values) for low in (1e-4, 1e-3, 1e-2)]
        assert all(150 < n < 250 for n in decades)  # 200 expected, standard deviation 12

    def test_a_logarithmic_range_of_a_whole_key_draws_whole_numbers(self):
        values = column(BASE, log={BASE: [16, 64]})
        assert all(type(v) is int and 16 <= v <= 64 for v in values)

    @settings(max_examples=60, deadline=None)
    @given(
        low=st.floats(1e-6, 0.4, allow_subnormal=False),
        span=st.floats(1e-6, 0.5, allow_subnormal=False),
        kind=st.sampled_from(["uniform", "log"]),
        sobol=st.booleans(),
    )
    def test_every_draw_lies_in_its_range_and_is_short(self, low, span, kind, sobol):
        for value in column(RATIO, 8, sobol=sobol, **{kind: {RATIO: [low, low + span]}}):
            assert low <= value <= low + span
            if value not in (low, low + span):
                resolution = Decimal(repr(value)).as_tuple().exponent
                smallest = Decimal(repr(span if kind == "uniform" else low)).adjusted() - 6
                assert resolution >= smallest

    @settings(max_examples=60, deadline=None)
    @given(
        first=st.integers(0, 50), steps=st.integers(1, 9), tenths=st.integers(1, 9), seed=st.integers(0, 99)
    )
    def test_a_step_gives_only_its_own_multiples(self, first, steps, tenths, seed):
        low, step = Decimal(first) / 1000, Decimal(tenths) / 100
        high = low + steps * step
        allowed = {float(low + n * step) for n in range(steps + 1)}
        found = column(RATIO, 5, seed=seed, uniform={RATIO: [float(low), float(high), float(step)]})
        assert set(found) <= allowed


class TestReproducibility:
    @settings(max_examples=40, deadline=None)
    @given(n=st.integers(1, 20), more=st.integers(1, 20), seed=st.integers(0, 2**63 - 1), sobol=st.booleans())
    def test_the_first_points_of_a_larger_count_are_the_same(self, n, more, seed, sobol):
        kinds = {"uniform": {RATIO: [0.1, 0.9]}, "log": {RATE: [1e-4, 1e-2]}}
        few = draws(n, seed=seed, sobol=sobol, **kinds)
        assert draws(n + more, seed=seed, sobol=sobol, **kinds)[:n] == few

    @pytest.mark.parametrize("sobol", [False, True])
    def test_another_seed_draws_other_points(self, sobol):
        uniform = {RATIO: [0.1, 0.9]}
        assert draws(seed=0, sobol=sobol, uniform=uniform) != draws(seed=1, sobol=sobol, uniform=uniform)

    @pytest.mark.parametrize("sobol", [False, True])
    def test_an_axis_added_at_the_end_leaves_the_others_alone(self, sobol):
        alone = draws(sobol=sobol, uniform={RATIO: [0.1, 0.9]})
        both = draws(sobol=sobol, uniform={RATIO: [0.1, 0.9]}, log={RATE: [1e-4, 1e-2]})
        assert [point[RATIO] for point in both] == [point[RATIO] for point in alone]

    def test_sobol_puts_one_point_into_each_of_equal_parts(self):
        values = column(RATIO, 16, sobol=True, uniform={RATIO: [0.0, 1.0]})
        gaps = sorted(values)
        # 16 points of the sequence are equally spaced; a move modulo 1 keeps that.
        assert [round(b - a, 4) for a, b in itertools.pairwise(gaps)] == [0.0625] * 15

    def test_equal_draws_are_one_point(self):
        assert len(draws(50, integer={BASE: [16, 17]})) == 2


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"count": 0, "uniform": {RATIO: [0.1, 0.9]}}, "count: needs 1 to 1000000, found 0"),
        ({"uniform": {RATIO: [0.1, 0.9]}}, "count: needs a whole number, found nothing"),
        ({"count": 2}, "has no range; give one of uniform, log"),
        ({"count": 2, "unifrom": {RATIO: [0.1, 0.9]}}, "unifrom: unknown key; did you mean uniform?"),
        ({"count": 2, "seed": -1, "uniform": {RATIO: [0.1, 0.9]}}, "seed: needs 0 to"),
        ({"count": 2, "sobol": 1, "uniform": {RATIO: [0.1, 0.9]}}, "sobol: needs true or false, found 1"),
        ({"count": 2, "uniform": {RATIO: [0.9, 0.1]}}, "low 0.9 is not below high 0.1"),
        ({"count": 2, "uniform": {RATIO: [0.1]}}, "needs [low, high] or [low, high, step], found [0.1]"),
        ({"count": 2, "uniform": {RATIO: [0.1, True]}}, "needs numbers, found True"),
        ({"count": 2, "uniform": {RATIO: [0.1, math.inf]}}, "needs numbers, found inf"),
        ({"count": 2, "uniform": {RATIO: [0.1, 0.9, 0]}}, "the step has to be above 0 and fit the range"),
        ({"count": 2, "uniform": {RATIO: [0.1, 0.9, 2]}}, "the step has to be above 0 and fit the range"),
        ({"count": 2, "uniform": {RATIO: [0.5, 1.5]}}, "model.squeeze_ratio: needs 0 to 1, found 1.5"),
        ({"count": 2, "uniform": {BASE: [8, 16]}}, "takes whole numbers; use random.integer"),
        ({"count": 2, "integer": {BASE: [8, 16.5]}}, "needs whole numbers, found 16.5"),
        ({"count": 2, "log": {RATE: [0, 1]}}, "a logarithmic range begins above 0, found 0"),
        ({"count": 2, "log": {RATE: [0.1, 1, 0.1]}}, "a logarithmic range has no step"),
        ({"count": 2, "power_of_two": {BASE: [33, 63]}}, "no power of two is in [33, 63]"),
        ({"count": 2, "power_of_two": {BASE: [0, 63]}}, "needs [low, high] with low above 0"),
        ({"count": 2, "uniform": {"model.bypass": [0, 1]}}, "takes no single number; use random.choices"),
        ({"count": 2, "choices": {"model.bypass": ["none", "complx"]}}, "did you mean complex?"),
        ({"count": 2, "choices": {BASE: []}}, "is an empty list"),
        ({"count": 2, "choices": {"seed": [1]}}, "use `seeds = N`"),
        ({"count": 2, "choices": {BASE: [8]}, "integer": {BASE: [8, 9]}}, "is in integer and in choices"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_that_names_the_table(tree, message):
    with pytest.raises(InputError) as error:
        read_random(tree, "s.toml random")
    assert str(error.value).startswith("s.toml random")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
