import dataclasses
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqzx.architectures import FAMILIES, MODEL_PRESETS, AlexNetConfig
from sqzx.config import (
    KEYS,
    TRAIN_RECIPES,
    DataConfig,
    SqueezeNetConfig,
    TrainConfig,
    TrialConfig,
    from_settings,
    parse_assignment,
    read_settings,
    read_toml,
    resolve,
    resolve_model,
)
from sqzx.errors import ArchitectureError, InputError, MissingDataError
from sqzx.files import write_json

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "model.base_e": st.integers(8, 300),
        "model.incr_e": st.integers(0, 300),
        "model.pct_3x3": st.floats(0.1, 0.9),
        "model.freq": st.integers(1, 9),
        "model.squeeze_ratio": st.floats(0.1, 1),
        "model.num_fires": st.integers(8, 12),
        "model.stem_features": st.integers(1, 200),
        "model.stem_kernel": st.integers(1, 11),
        "model.stem_stride": st.integers(1, 4),
        "model.stem_padding": st.integers(0, 3),
        "model.pool_after": st.lists(st.integers(1, 9), unique=True).map(tuple),
        "model.pool_rounding": st.sampled_from(["ceil", "floor"]),
        "model.bypass": st.sampled_from(["none", "simple", "complex"]),
        "model.dropout_rate": st.floats(0, 0.999),
        "model.conv10_padding": st.integers(0, 2),
        "model.final_relu": st.booleans(),
        "model.activation": st.sampled_from(["relu", "elu"]),
        "model.squeeze_activation": st.sampled_from(["same", "none"]),
        "model.init": st.sampled_from(["xavier", "kaiming"]),
        "data.validation_fraction": st.floats(0.001, 0.9),
        "data.train_examples": st.none() | st.integers(1, 10**6),
        "data.crop_padding": st.integers(0, 9),
        "data.mirror": st.booleans(),
        "train.epochs": st.integers(1, 10**6),
        "train.batch_size": st.integers(1, 10**6),
        "train.optimizer": st.just("sgd"),
        "train.momentum": st.none() | st.floats(0, 0.9999),
        "train.learning_rate": st.floats(0, 1e9, exclude_min=True),
        "train.schedule": st.sampled_from(["cosine", "linear"]),
        "train.warmup_fraction": st.floats(0, 1),
        "train.weight_decay": st.floats(0, 1e9),
        "train.gradient_clip": st.none() | st.floats(0, 1e9, exclude_min=True),
        "seed": st.integers(0, 2**63 - 1),
    },
).filter(lambda s: s.get("train.momentum") is None or "train.optimizer" in s)


def refusal(settings, where="f.toml"):
    with pytest.raises(InputError) as error:
        resolve(settings, where)
    assert "\n" not in str(error.value)
    return str(error.value)


@given(settings=SETTINGS)
def test_config_json_reads_back_as_the_same_trial(tmp_path_factory, settings):
    trial = resolve(settings, "f")
    path = tmp_path_factory.getbasetemp() / "config.json"
    write_json(path, trial.to_json())
    assert from_settings(read_settings(path)) == trial
    assert from_settings(trial.settings()) == trial
    # A user's command may take it, too: the data's own values are no contradiction.
    assert resolve(read_settings(path), "f") == trial


def test_settings_have_every_key_of_their_family_but_the_starting_points():
    squeezenet, alexnet = (list(resolve({"model.family": f}, "f").settings()) for f in FAMILIES)
    compressed = list(resolve({"compress.recipe": "svd"}, "f").settings())
    assert {*squeezenet, *alexnet, *compressed} == KEYS.keys() - {"model.preset", "train.recipe"}
    assert not any(key.startswith("compress.") for key in [*squeezenet, *alexnet])
    assert [key for key in KEYS if key in squeezenet] == squeezenet
    assert "model.base_e" not in alexnet
    assert "model.fc_features" not in squeezenet


def test_the_defaults_are_squeezenet_v1_0():
    assert resolve_model({"model.preset": "squeezenet_v1_0"}, "f") == SqueezeNetConfig()


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_a_preset_is_resolved_away(preset):
    by_preset = resolve({"model.preset": preset}, "f")
    assert by_preset == resolve(MODEL_PRESETS[preset], "f")
    assert "preset" not in json.dumps(by_preset.to_json())


@pytest.mark.parametrize("recipe", TRAIN_RECIPES)
def test_a_recipe_is_resolved_away(recipe):
    assert resolve({"train.recipe": recipe}, "f") == resolve(TRAIN_RECIPES[recipe], "f")


def test_single_keys_win_over_presets_in_any_order():
    for settings in (
        {"model.preset": "squeezenet_small", "model.base_e": 7, "model.pct_3x3": 0.6},
        {"model.pct_3x3": 0.6, "model.base_e": 7, "model.preset": "squeezenet_small"},
    ):
        model = resolve(settings, "f").model
        assert (model.base_e, model.incr_e, model.stem_features) == (7, 32, 32)


def test_a_default_value_wins_over_a_preset_when_it_is_spelled_out():
    assert resolve({"model.preset": "squeezenet_small", "model.base_e": 128}, "f").model.base_e == 128


def test_the_paper_recipe_is_the_authors_solver():
    train = resolve({"train.recipe": "paper"}, "f").train
    assert (train.optimizer, train.learning_rate, train.schedule) == ("sgd", 0.04, "linear")
    assert (train.momentum, train.weight_decay, train.warmup_fraction) == (0.9, 2e-4, 0.0)
    assert train.gradient_clip is None


class TestTheDataDecides:
    def test_classes_and_image_shape_are_filled_in(self):
        trial = resolve({"data.name": "fashion_mnist"}, "f")
        assert (trial.model.num_classes, trial.data.image_shape) == (10, (28, 28, 1))
        assert resolve({}, "f").data.image_shape == (8, 8, 1)

    def test_the_same_values_are_no_contradiction(self):
        spelled = {"model.num_classes": 10, "data.image_shape": (8, 8, 1)}
        assert resolve(spelled, "f") == resolve({}, "f")

    def test_another_number_of_classes_is_refused(self):
        assert refusal({"model.num_classes": 9}) == (
            "f.toml: model.num_classes: digits has 10, found 9; leave it out"
        )

    def test_another_image_shape_is_refused(self):
        assert refusal({"data.image_shape": (8, 8, 3)}).startswith(
            "f.toml: data.image_shape: digits has (8, 8, 1), found (8, 8, 3)"
        )

    def test_an_unknown_set_says_how_to_prepare_it(self):
        with pytest.raises(MissingDataError, match=r"^f: data set 'cifar9' .* sqzx data prepare cifar9"):
            resolve({"data.name": "cifar9"}, "f")

    def test_a_model_alone_needs_no_data(self):
        assert resolve_model({"model.num_classes": 7, "data.name": "nowhere"}, "f").num_classes == 7


class TestMomentum:
    def test_momentum_with_adamw_is_refused(self):
        message = refusal({"train.momentum": 0.9})
        assert message.startswith("f.toml: train.momentum: 0.9 has no effect with adamw")

    def test_no_momentum_and_a_momentum_of_zero_are_the_same_sgd(self):
        sgd = {"train.optimizer": "sgd"}
        assert resolve(sgd, "f") == resolve(sgd | {"train.momentum": 0.0}, "f")

    def test_a_recipes_momentum_goes_with_its_optimizer(self):
        trial = resolve({"train.recipe": "paper", "train.optimizer": "adamw"}, "f")
        assert (trial.train.optimizer, trial.train.momentum) == ("adamw", None)


class TestPoolAfter:
    @pytest.mark.parametrize("order", [(1, 4, 8), (8, 4, 1), (4, 8, 1)])
    def test_any_order_is_the_same_network(self, order):
        assert SqueezeNetConfig(pool_after=order).pool_after == (1, 4, 8)
        assert resolve({"model.pool_after": order}, "f") == resolve({}, "f")

    def test_a_layer_named_twice_is_refused(self):
        assert refusal({"model.pool_after": (4, 1, 4)}) == (
            "f.toml: model.pool_after: [1, 4, 4] names a layer twice"
        )

    def test_a_layer_that_is_not_there_is_refused(self):
        assert refusal({"model.pool_after": (1, 10)}) == (
            "f.toml: model.pool_after: there is no layer 10; conv1 counts as 1 and the last Fire module as 9"
        )

    def test_the_last_fire_module_may_be_pooled_and_none_at_all(self):
        assert SqueezeNetConfig(pool_after=(9,)).pool_after == (9,)
        assert SqueezeNetConfig(pool_after=()).pool_after == ()


class TestWidths:
    """'Squeeze layers have s = SR * e filters, expand layers e * pct3x3 and e * (1 - pct3x3)' (5.1)."""

    def test_fires_are_those_of_table_1(self):
        widths = [(w.squeeze, w.expand1x1, w.expand3x3) for w in SqueezeNetConfig().fires().values()]
        each = [(16, 64, 64), (32, 128, 128), (48, 192, 192), (64, 256, 256)]
        assert widths == [w for w in each for _ in range(2)]
        assert list(SqueezeNetConfig().fires()) == list(range(2, 10))

    @given(
        base_e=st.integers(1, 500),
        incr_e=st.integers(0, 500),
        freq=st.integers(1, 9),
        pct=st.floats(0, 1),
        ratio=st.floats(0, 1),
    )
    def test_expand_filters_sum_to_e_and_every_width_is_at_least_1(self, base_e, incr_e, freq, pct, ratio):
        values = {"base_e": base_e, "incr_e": incr_e, "freq": freq, "pct_3x3": pct, "squeeze_ratio": ratio}
        try:
            fires = SqueezeNetConfig(**values).fires()
        except ArchitectureError:
            smallest = base_e
            assert min(ratio, pct, 1 - pct) * smallest <= 0.5
            return
        for number, widths in fires.items():
            e = base_e + incr_e * ((number - 2) // freq)
            assert widths.expand == e
            assert min(widths.squeeze, widths.expand1x1, widths.expand3x3) >= 1
            assert abs(widths.expand3x3 - e * pct) <= 0.5
            assert abs(widths.squeeze - e * ratio) <= 0.5

    def test_half_a_filter_rounds_up(self):
        fire = SqueezeNetConfig(base_e=5, incr_e=0, pct_3x3=0.5, squeeze_ratio=0.5, num_fires=8).fires()[2]
        assert (fire.squeeze, fire.expand1x1, fire.expand3x3) == (3, 2, 3)

    def test_a_squeeze_ratio_of_1_is_allowed(self):
        assert SqueezeNetConfig(squeeze_ratio=1).fires()[2].squeeze == 128

    @pytest.mark.parametrize(
        ("key", "value", "part"),
        [
            ("squeeze_ratio", 0.001, "squeeze1x1"),
            ("squeeze_ratio", 0.0, "squeeze1x1"),
            ("pct_3x3", 0.0, "expand3x3"),
            ("pct_3x3", 1.0, "expand1x1"),
        ],
    )
    def test_a_width_of_0_names_the_key_and_the_layer(self, key, value, part):
        with pytest.raises(ArchitectureError) as error:
            resolve({f"model.{key}": value}, "f.toml")
        assert str(error.value) == (
            f"f.toml: model.{key}: {value} gives fire2's {part} a width of 0 "
            "(of 128 expand filters); each needs at least 1"
        )


class TestAssignments:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("model.squeeze_ratio=0.5", ("model.squeeze_ratio", 0.5)),
            ("model.squeeze_ratio = 1", ("model.squeeze_ratio", 1.0)),
            ("model.pool_after=[1, 3]", ("model.pool_after", (1, 3))),
            ("model.bypass=simple", ("model.bypass", "simple")),
            ('model.bypass="simple"', ("model.bypass", "simple")),
            ("model.final_relu=false", ("model.final_relu", False)),
            ("model.base_e=1_000", ("model.base_e", 1000)),
            ("data.name=fashion_mnist", ("data.name", "fashion_mnist")),
            ("train.learning_rate=1e-3", ("train.learning_rate", 0.001)),
            ("train.gradient_clip=none", ("train.gradient_clip", None)),
        ],
    )
    def test_the_value_is_toml_or_a_bare_word(self, text, expected):
        assert parse_assignment(text) == expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("model.freq", "--set model.freq: needs KEY=VALUE, as in model.squeeze_ratio=0.5"),
            ("model.freq=", "--set: model.freq: needs a whole number, found ''"),
            ("model.freq=two", "--set: model.freq: needs a whole number, found 'two'"),
            ("model.freq=nan", "--set: model.freq: needs a whole number, found nan, which is not finite"),
            ("model.frq=2", "--set: model.frq: unknown key; did you mean model.freq?"),
            ("=2", "--set: : unknown key; valid: " + ", ".join(KEYS)),
        ],
    )
    def test_a_wrong_one_is_one_line(self, text, message):
        with pytest.raises(InputError) as error:
            parse_assignment(text)
        assert str(error.value) == message

    def test_a_number_of_thousands_of_digits_is_one_short_line(self):
        with pytest.raises(InputError) as error:
            parse_assignment("model.freq=" + "9" * 5000)
        assert len(str(error.value)) < 150


class TestFiles:
    def write(self, tmp_path, content, name="trial.toml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def refusal(self, path):
        with pytest.raises(InputError) as error:
            read_settings(path)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
        return str(error.value).removeprefix(f"{path}: ")

    def test_tables_and_dotted_keys_are_the_same(self, tmp_path):
        dotted = self.write(tmp_path, "model.freq = 4\ntrain.epochs = 2\nseed = 3\n", "a.toml")
        tables = self.write(tmp_path, "seed = 3.0\n[train]\nepochs = 2\n[model]\nfreq = 4.0\n", "b.toml")
        assert read_settings(dotted) == read_settings(tables)

    def test_a_byte_order_mark_and_crlf_are_fine(self, tmp_path):
        path = self.write(tmp_path, b"\xef\xbb\xbfmodel.freq = 4\r\nseed = 1\r\n")
        assert read_settings(path) == {"model.freq": 4, "seed": 1}

    def test_an_unknown_key_names_the_file_and_the_whole_key(self, tmp_path):
        path = self.write(tmp_path, "[model]\nsqueeze_rato = 0.5\n")
        assert self.refusal(path) == "model.squeeze_rato: unknown key; did you mean model.squeeze_ratio?"

    @pytest.mark.parametrize("text", ["model = 3", "[modle]\n", "[model.freq]\nx = 1", "[[model]]\nfreq = 2"])
    def test_a_table_in_the_wrong_place_is_an_unknown_key_or_a_wrong_value(self, tmp_path, text):
        assert "model" in self.refusal(self.write(tmp_path, text))

    @pytest.mark.parametrize("value", ["true", '"3"', "nan", "inf", "1e400", "2020-01-01", "{}", "[]"])
    def test_what_is_no_number_is_refused(self, tmp_path, value):
        assert "model.base_e" in self.refusal(self.write(tmp_path, f"model.base_e = {value}"))

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.toml", "model.freq ="),
            ("a.toml", "model.freq = 1\nmodel.freq = 2\n"),
            ("a.toml", b"\xff\xfe\x00"),
            ("a.toml", "model.freq = " + "9" * 5000),
            ("config.json", ""),
            ("config.json", "[1, 2]"),
            ("config.json", "{}"),
            ("config.json", '{"schema": 2}'),
            ("config.json", '{"schema": true}'),
            ("config.json", b"\xff"),
        ],
    )
    def test_an_unreadable_file_is_one_line(self, tmp_path, name, content):
        self.refusal(self.write(tmp_path, content, name))

    @pytest.mark.parametrize("name", ["no.toml", "no.json"])
    def test_a_missing_file_and_a_folder_are_one_line(self, tmp_path, name):
        self.refusal(tmp_path / name)
        (tmp_path / name).mkdir()
        self.refusal(tmp_path / name)

    def test_read_toml_gives_the_tables_as_they_are(self, tmp_path):
        assert read_toml(self.write(tmp_path, "[a]\nb = [1, 'x']\n")) == {"a": {"b": [1, "x"]}}


@pytest.mark.parametrize("schema", [SqueezeNetConfig, DataConfig, TrainConfig, TrialConfig])
def test_configurations_are_frozen_and_keyword_only(schema):
    assert schema.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(schema))


@pytest.mark.parametrize(
    ("bypass", "widths", "expected"),
    [
        ("none", (128, 128), "none"),
        ("simple", (128, 128), "identity"),
        ("simple", (96, 128), "none"),
        ("complex", (128, 128), "identity"),
        ("complex", (96, 128), "conv1x1"),
    ],
)
def test_identities_go_where_widths_are_equal_and_convolutions_elsewhere(bypass, widths, expected):
    assert SqueezeNetConfig(bypass=bypass).bypass_of(*widths) == expected


def test_equal_trials_have_equal_json_however_they_were_spelled():
    settings = {"model.base_e": 64, "train.epochs": 3, "seed": 5, "data.mirror": True}
    shuffled = list(settings.items())
    random.Random(0).shuffle(shuffled)
    assert json.dumps(resolve(dict(shuffled), "f").to_json()) == json.dumps(resolve(settings, "f").to_json())


def test_a_section_with_nothing_in_it_says_nothing(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("[model]\n# freq = 4\n[train]\nepochs = 3\n")
    assert read_settings(file) == {"train.epochs": 3}
    file.write_text("[modle]\n")
    with pytest.raises(InputError, match="modle: unknown key"):
        read_settings(file)


def test_an_assignment_is_one_line():
    with pytest.raises(InputError, match="needs KEY=VALUE"):
        parse_assignment("seed=1\nmodel.freq=2")


class TestFamilies:
    def test_a_key_of_another_family_is_no_network(self):
        with pytest.raises(ArchitectureError) as error:
            resolve({"model.preset": "alexnet_small", "model.squeeze_ratio": 0.5}, "f")
        assert str(error.value) == "f: model.squeeze_ratio: a network of family alexnet has no such key"

    def test_a_word_of_another_family_is_no_network(self):
        assert resolve_model({"model.preset": "alexnet", "model.init": "gaussian"}, "f").init == "gaussian"
        with pytest.raises(ArchitectureError, match=r"f: family squeezenet: model\.init: 'gaussian' is not"):
            resolve_model({"model.init": "gaussian"}, "f")

    def test_a_preset_and_another_family_contradict_each_other(self):
        with pytest.raises(ArchitectureError) as error:
            resolve({"model.preset": "squeezenet_small", "model.family": "alexnet"}, "f")
        assert str(error.value) == "f: model.family: the preset squeezenet_small is no alexnet"

    def test_a_family_alone_is_its_original(self):
        assert resolve_model({"model.family": "alexnet"}, "f") == AlexNetConfig()
        assert resolve_model({"model.preset": "alexnet"}, "f") == AlexNetConfig()

    def test_a_recipe_beside_a_family_is_no_contradiction(self):
        trial = resolve({"model.family": "alexnet", "train.recipe": "paper", "model.init": "xavier"}, "f")
        assert trial.train.optimizer == "sgd"

    def test_an_alexnet_reads_back(self, tmp_path):
        trial = resolve({"model.preset": "alexnet_small"}, "f")
        path = tmp_path / "config.json"
        path.write_text(json.dumps(trial.to_json()))
        assert from_settings(read_settings(path)) == trial

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"conv_features": ()}, "model.conv_features: an AlexNet needs at least one convolution"),
            (
                {"conv_kernels": (3, 3)},
                "model.conv_kernels: [3, 3] has 2 entries, model.conv_features has 5; "
                "each convolution needs one",
            ),
            ({"lrn_after": (1, 6)}, "model.lrn_after: there is no layer 6; the last convolution is 5"),
            ({"pool_after": (2, 2)}, "model.pool_after: [2, 2] names a layer twice"),
            (
                {"conv_groups": (1, 5, 1, 2, 2)},
                "model.conv_groups: conv2 can't have 5 groups: they don't divide 96 channels",
            ),
            (
                {"conv_groups": (5, 2, 1, 2, 2)},
                "model.conv_groups: conv1 can't have 5 groups: they don't divide 96 channels",
            ),
            (
                {"conv_features": (96, 255, 384, 384, 256)},
                "model.conv_groups: conv2 can't have 2 groups: they don't divide 255 channels",
            ),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_lists_that_do_not_fit_together(self, settings, message):
        with pytest.raises(ArchitectureError) as error:
            AlexNetConfig(**settings)
        assert str(error.value) == message
