import math
from dataclasses import dataclass

import pytest

from sqzx.config import KEYS, read_setting
from sqzx.errors import InputError
from sqzx.schema import above_zero, flatten, keys_of, nearest, ranged

WRONG = [
    ("model.base_e", True, "needs a whole number, found true"),
    ("model.base_e", "3", "needs a whole number, found '3'"),
    ("model.base_e", 2.5, "needs a whole number, found 2.5"),
    ("model.base_e", None, "needs a whole number, found nothing (null)"),
    ("model.base_e", [3], "needs a whole number, found [3]"),
    ("model.base_e", math.nan, "needs a whole number, found nan, which is not finite"),
    ("model.base_e", 1e400, "needs a whole number, found inf, which is not finite"),
    ("model.base_e", 0, "needs at least 1, found 0"),
    ("model.num_fires", 1001, "needs 1 to 1000, found 1001"),
    ("model.pct_3x3", True, "needs a number, found true"),
    ("model.pct_3x3", "0.5", "needs a number, found '0.5'"),
    ("model.pct_3x3", -math.inf, "needs a number, found -inf, which is not finite"),
    ("model.pct_3x3", 1.5, "needs 0 to 1, found 1.5"),
    ("model.pct_3x3", -0.1, "needs 0 to 1, found -0.1"),
    ("train.learning_rate", 0, "needs more than 0, found 0.0"),
    ("train.gradient_clip", False, "needs a number, found false"),
    ("train.gradient_clip", 0.0, "needs more than 0, found 0.0"),
    ("data.train_examples", 0, "needs at least 1, found 0"),
    ("model.final_relu", 1, "needs true or false, found 1"),
    ("model.final_relu", "true", "needs true or false, found 'true'"),
    ("data.name", 3, "needs a text in quotes, found 3"),
    ("seed", -1, "needs 0 to 9223372036854775807, found -1"),
    ("model.bypass", "simpel", "'simpel' is not possible here; did you mean simple?"),
    ("model.bypass", True, "true is not possible here; valid: none, simple, complex"),
    ("model.preset", "squeezenet_v1.0", "is not possible here; did you mean squeezenet_v1_0?"),
    ("model.pool_after", 3, "needs a list, found 3"),
    ("model.pool_after", "14", "needs a list, found '14'"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_a_wrong_value_is_one_line_with_file_key_and_what_was_found(key, value, message):
    with pytest.raises(InputError) as error:
        read_setting(key, value, "study.toml")
    assert str(error.value).startswith(f"study.toml: {key}: ")
    assert str(error.value).endswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, "4"], "f: model.pool_after[1]: needs a whole number, found '4'"),
        ([0], "f: model.pool_after[0]: needs at least 1, found 0"),
        ([1, [4]], "f: model.pool_after[1]: needs a whole number, found [4]"),
    ],
)
def test_a_wrong_element_of_a_list_is_named_by_its_place(value, message):
    with pytest.raises(InputError) as error:
        read_setting("model.pool_after", value, "f")
    assert str(error.value) == message


@pytest.mark.parametrize("value", [10**400, 10**19, -(10**400), 2**63])
@pytest.mark.parametrize("key", ["model.base_e", "model.pct_3x3", "train.weight_decay", "seed"])
def test_a_number_that_is_too_large_is_one_short_line(key, value):
    with pytest.raises(InputError) as error:
        read_setting(key, value, "f")
    assert str(error.value).startswith(f"f: {key}: ")
    assert len(str(error.value)) < 120


def test_a_double_of_any_size_is_a_number_and_no_whole_one():
    assert read_setting("train.weight_decay", 1e300, "f") == 1e300
    with pytest.raises(InputError, match="needs a whole number below"):
        read_setting("model.base_e", 1e300, "f")


@pytest.mark.parametrize("key", [k for k in KEYS if k != "seed"])
def test_every_key_refuses_a_value_of_no_type(key):
    with pytest.raises(InputError, match=key):
        read_setting(key, {"a": 1}, "f")


def test_equal_numbers_are_equal_values():
    whole = read_setting("model.base_e", 128.0, "f")
    assert (whole, type(whole)) == (128, int)
    number = read_setting("model.squeeze_ratio", 1, "f")
    assert (number, type(number)) == (1.0, float)
    zero = read_setting("model.pct_3x3", -0.0, "f")
    assert math.copysign(1, zero) == 1
    assert str(read_setting("model.base_e", 128.0, "f")) == "128"


def test_a_list_becomes_a_tuple_of_its_type():
    read = read_setting("model.pool_after", [1.0, 4, 8], "f")
    assert read == (1, 4, 8)
    assert [type(n) for n in read] == [int, int, int]


@pytest.mark.parametrize("key", ["train.gradient_clip", "train.momentum", "data.train_examples"])
def test_nothing_is_possible_where_it_means_something(key):
    assert read_setting(key, None, "f") is None


def test_the_largest_seed_is_kept_exactly():
    assert read_setting("seed", 2**63 - 1, "f") == 2**63 - 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("model.squeeze_rato", "; did you mean model.squeeze_ratio?"),
        ("model.pct3x3", "; did you mean model.pct_3x3?"),
        ("modl.freq", "; did you mean model.freq?"),
        ("train.freq", "; did you mean model.freq?"),
        ("squeeze_ratio", "; did you mean model.squeeze_ratio?"),
        ("learning_rate", "; did you mean train.learning_rate?"),
        ("xyzzy", f"; valid: {', '.join(KEYS)}"),
    ],
)
def test_an_unknown_key_names_the_nearest_valid_one(name, hint):
    with pytest.raises(InputError) as error:
        read_setting(name, 1, "f.toml")
    assert str(error.value) == f"f.toml: {name}: unknown key{hint}"


def test_an_unknown_key_shows_a_letter_that_only_looks_right():
    with pytest.raises(InputError) as error:
        read_setting("model.squeeze_r\N{CYRILLIC SMALL LETTER A}tio", 1, "f.toml")
    assert str(error.value) == (
        "f.toml: model.squeeze_r\N{CYRILLIC SMALL LETTER A}tio: unknown key with the odd character "
        "'\N{CYRILLIC SMALL LETTER A}' (U+0430 CYRILLIC SMALL LETTER A); did you mean model.squeeze_ratio?"
    )


@pytest.mark.parametrize("name", ["model.freq\0", "model.freq\n", "model.freq\x1b[31m"])
def test_an_unknown_key_with_a_control_character_is_one_harmless_line(name):
    with pytest.raises(InputError) as error:
        read_setting(name, 1, "f.toml")
    text = str(error.value)
    assert text.isprintable()
    assert f"U+{ord(name[10]):04X}" in text


def test_nested_tables_flatten_to_dotted_keys():
    assert flatten({"model": {"freq": 2, "a": {"b": [1]}}, "seed": 0}) == {
        "model.freq": 2,
        "model.a.b": [1],
        "seed": 0,
    }


def test_a_key_given_twice_is_refused():
    with pytest.raises(InputError, match=r"model\.freq: is set twice"):
        flatten({"model.freq": 2, "model": {"freq": 3}})


def test_ranges_hold_at_their_ends():
    @dataclass
    class Sample:
        part: float = ranged(0.5, low=0, high=1)
        rate: float = above_zero(1.0)

    keys = keys_of(Sample, "a.")
    assert list(keys) == ["a.part", "a.rate"]
    assert [keys["a.part"].read(x, "f") for x in (0, 1)] == [0.0, 1.0]
    assert keys["a.rate"].read(5e-324, "f") == 5e-324
    for key, value in (("a.part", math.nextafter(1, 2)), ("a.part", -5e-324), ("a.rate", 0.0)):
        with pytest.raises(InputError):
            keys[key].read(value, "f")


def test_nearest_prefers_the_whole_name():
    assert nearest("data.nam", ["data.name", "model.name"]) == "; did you mean data.name?"
