"""What a study refuses to train, and that it says so by reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.config import resolve
from sqzx.counting import count, parametric_layers
from sqzx.data.info import dataset_info
from sqzx.errors import InputError
from sweeps.constraints import QUANTITIES, Sizes
from sweeps.plan import Plan, plan_study
from sweeps.study import parse_study

HEAD = 'schema = 1\nname = "s"\n'
CONFIG = '[config]\nmodel.preset = "squeezenet_small"\n'


def plan(text: str, *, exclude: str = "", config: str = "") -> Plan:
    return plan_study(parse_study(HEAD + exclude + "\n" + CONFIG + config + "\n" + text, "s.toml"))


def required(requirement: str) -> list[tuple[int, int]]:
    """Return (base_e, incr_e) of what is left of a grid."""
    found = plan(
        "[[sweep]]\ngrid.model.base_e = [16, 32]\ngrid.model.incr_e = [16, 32]\n"
        f"[constraints]\nrequire = ['{requirement}']"
    )
    return [(t.config.model.base_e, t.config.model.incr_e) for t in found.trials]


class TestRequire:
    @pytest.mark.parametrize(
        ("requirement", "left"),
        [
            ("model.base_e <= model.incr_e", [(16, 16), (16, 32), (32, 32)]),
            ("model.base_e<model.incr_e", [(16, 32)]),
            ("model.base_e >= model.incr_e", [(16, 16), (32, 16), (32, 32)]),
            ("model.base_e > model.incr_e", [(32, 16)]),
            ("model.base_e == model.incr_e", [(16, 16), (32, 32)]),
            ("model.base_e != model.incr_e", [(16, 32), (32, 16)]),
            ("model.base_e > 16", [(32, 16), (32, 32)]),
            ("model.base_e <= 1.6e1", [(16, 16), (16, 32)]),
            ("data.train_examples >= 5", [(16, 16), (16, 32), (32, 16), (32, 32)]),  # "none" says nothing
            ("train.momentum < model.base_e", [(16, 16), (16, 32), (32, 16), (32, 32)]),
        ],
    )
    def test_compares_keys_with_keys_and_numbers(self, requirement, left):
        assert required(requirement) == left

    def test_says_what_was_found(self):
        found = plan(
            "[[sweep]]\ngrid.model.base_e = [16, 32]\n[constraints]\n"
            "require = ['model.base_e <  model.incr_e']"
        )
        (skipped,) = found.skipped
        assert skipped.reason == (
            "constraints.require: model.base_e <  model.incr_e: model.base_e is 32, model.incr_e is 32"
        )

    def test_holds_for_values_that_a_preset_gives(self):
        with pytest.raises(InputError, match="stem_kernel is 3"):
            plan("[constraints]\nrequire = ['model.stem_kernel > 3']")

    def test_says_nothing_of_networks_without_the_key(self):
        found = plan(
            '[[sweep]]\ngrid.model.preset = ["squeezenet_small", "alexnet_small"]\n'
            "[constraints]\nrequire = ['model.base_e > 100']"
        )
        assert [t.config.model.family for t in found.trials] == ["alexnet"]

    @pytest.mark.parametrize(
        ("requirement", "message"),
        [
            ("'model.base_e'", "does not compare a key with a key or a number"),
            ("'model.base_e = 3'", "does not compare"),
            ("'model.base_e < 3 < 4'", "does not compare"),
            ("'model.base_e < 3x'", "'3x' is neither a key nor a number"),
            ("'model.base < 3'", "model.base: unknown key; did you mean model.base_e?"),
            ("'model.base_e < model.incr'", "model.incr: unknown key; did you mean model.incr_e?"),
            ("'model.family == 3'", "model.family: is no number, so it can't be compared; use exclude"),
            ("'model.pool_after == 3'", "is no number"),
            ("'seed < 3'", "seed: replicates are set for the whole study"),
            ("'__import__ < 3'", "unknown key"),
            ("3", "needs a text in quotes, found 3"),
        ],
    )  # fmt: skip
    def test_is_read_strictly(self, requirement, message):
        with pytest.raises(InputError) as error:
            plan(f"[constraints]\nrequire = [{requirement}]")
        assert str(error.value).startswith("s.toml [constraints] require 1: ")
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("value", ["[]", "'model.base_e < 3'", "3"])
    def test_is_a_list(self, value):
        with pytest.raises(InputError, match="require: needs a list of comparisons"):
            plan(f"[constraints]\nrequire = {value}")


class TestExclude:
    GRID = "[[sweep]]\ngrid.model.squeeze_ratio = [0.25, 0.5]\ngrid.train.epochs = [1, 2]"

    def test_leaves_out_the_points_with_all_of_the_settings(self):
        found = plan(self.GRID, exclude="exclude = [{ model.squeeze_ratio = 0.5, train.epochs = 2 }]")
        assert [t.name for t in found.trials] == [
            "squeeze_ratio=0.25, epochs=1",
            "squeeze_ratio=0.25, epochs=2",
            "squeeze_ratio=0.5, epochs=1",
        ]
        (skipped,) = found.skipped
        assert skipped.settings == {"model.squeeze_ratio": 0.5, "train.epochs": 2}
        assert skipped.reason == "exclude 1: has model.squeeze_ratio = 0.5, train.epochs = 2"

    def test_entries_add_up(self):
        found = plan(self.GRID, exclude="exclude = [{ model.squeeze_ratio = 0.5 }, { train.epochs = 2 }]")
        assert [t.name for t in found.trials] == ["squeeze_ratio=0.25, epochs=1"]
        assert {rule: len(points) for rule, points in found.skipped_by_rule().items()} == {
            "exclude 1": 2,
            "exclude 2": 1,
        }

    def test_sees_through_presets_and_spellings(self):
        text = '[[sweep]]\ngrid.model.preset = ["squeezenet_small", "squeezenet_v1_1"]\n'
        text += 'set.data.name = "imagenet2012"\n'
        resolved = plan(
            text + "[[sweep]]\nset.model.base_e = 16", exclude="exclude = [{ model.base_e = 32.0 }]"
        )
        assert [t.config.model.base_e for t in resolved.trials] == [128, 16]
        by_preset = plan(text, exclude='exclude = [{ model.preset = "squeezenet_small" }]')
        assert [t.config.model.base_e for t in by_preset.trials] == [128]

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ("{ model.freq = 2 }", "model.freq: no block sets this key, so it tells no points apart"),
            ("{}", "is an empty table, which every point has"),
            ("{ train.epoch = 2 }", "train.epoch: unknown key; did you mean train.epochs?"),
            ("{ train.epochs = 2.5 }", "train.epochs: needs a whole number, found 2.5"),
            ("{ seed = 1 }", "use `seeds = N`"),
            ("3", "needs a table, found 3"),
        ],
    )  # fmt: skip
    def test_is_read_strictly(self, entry, message):
        with pytest.raises(InputError, match=r"^s\.toml:? exclude 1") as error:
            plan(self.GRID, exclude=f"exclude = [{entry}]")
        assert message in str(error.value)


class TestRanges:
    def test_est_seconds_takes_fractions_and_the_counts_do_not(self):
        plan("[constraints]\nest_seconds = { max = 0.5 }")  # nothing is known, so nothing is skipped
        with pytest.raises(InputError, match=r"params\.max: needs a whole number, found 1.5"):
            plan("[constraints]\nparams = { max = 1.5 }")

    def test_sizes_are_those_of_the_counted_network(self):
        for preset in ("squeezenet_v1_0", "squeezenet_small", "alexnet"):
            settings = {"model.preset": preset, "data.name": "imagenet2012"}
            config = resolve(settings, "test")
            network = count(config.model, config.data.image_shape)
            sizes = Sizes.of(network)._asdict()
            layers = sizes.pop("parametric_layers")
            assert layers == len(parametric_layers(config.model, config.data.image_shape))
            assert sizes == {name: getattr(network, name) for name in sizes}

    @settings(max_examples=25, deadline=None)
    @given(name=st.sampled_from(sorted(QUANTITIES)), low=st.integers(0, 10**7), span=st.integers(0, 10**7))
    def test_what_is_left_lies_within_both_ends(self, name, low, span):
        grid = "[[sweep]]\ngrid.model.squeeze_ratio = [0.125, 0.25, 0.5, 1.0]\n"
        everything = [
            QUANTITIES[name].of(t.config, t.sizes, dataset_info(t.config.data.name))
            for t in plan(grid).trials
        ]
        expected = [value for value in everything if low <= value <= low + span]
        text = f"{grid}[constraints]\n{name} = {{ min = {low}, max = {low + span} }}"
        if not expected:
            with pytest.raises(InputError, match="no point is left"):
                plan(text)
            return
        left = plan(text)
        assert [
            QUANTITIES[name].of(t.config, t.sizes, dataset_info(t.config.data.name)) for t in left.trials
        ] == expected
        assert {s.rule for s in left.skipped} <= {f"constraints.{name}.min", f"constraints.{name}.max"}
