"""Blocks: how the kinds of axes combine, conditional parts, and that order and union never surprise."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqzx.errors import InputError
from sweeps.plan import plan_study
from sweeps.study import Study, parse_study

HEAD = 'schema = 1\nname = "s"\n[config]\nmodel.preset = "squeezenet_small"\n[[sweep]]\n'


def study(block: str) -> Study:
    return parse_study(HEAD + block, "s.toml")


def points(block: str) -> list[dict]:
    return [{k: v for k, v in p.items() if k != "model.preset"} for _, p in study(block).points()]


class TestPoints:
    def test_points_by_hand_may_have_different_keys(self):
        assert points("points = [{ model.freq = 1, train.epochs = 3 }, { model.freq = 2 }]") == [
            {"model.freq": 1, "train.epochs": 3},
            {"model.freq": 2},
        ]

    def test_points_combine_with_every_other_kind(self):
        found = points(
            "set.data.mirror = true\npoints = [{ model.freq = 1 }, { model.freq = 2 }]\n"
            "zip.train.epochs = [3, 4]\nzip.train.batch_size = [8, 16]\n"
            "random.count = 2\nrandom.choices.model.incr_e = [24]\ngrid.model.base_e = [8, 9]"
        )
        assert [(p["model.freq"], p["train.epochs"], p["model.base_e"]) for p in found] == list(
            itertools.product((1, 2), (3, 4), (8, 9))
        )
        assert all(p["train.batch_size"] == {3: 8, 4: 16}[p["train.epochs"]] for p in found)
        assert all(p["model.incr_e"] == 24 and p["data.mirror"] is True for p in found)

    def test_a_zip_may_repeat_a_value(self):
        found = points("zip.model.freq = [1, 1]\nzip.train.epochs = [3, 4]")
        assert [(p["model.freq"], p["train.epochs"]) for p in found] == [(1, 3), (1, 4)]

    def test_a_random_point_is_the_same_trial_as_a_point_of_a_grid(self):
        plan = plan_study(
            study(
                'name = "grid"\ngrid.model.squeeze_ratio = [0.3]\n[[sweep]]\nname = "random"\n'
                "random.count = 50\nrandom.uniform.model.squeeze_ratio = [0.1, 0.5, 0.1]"
            )
        )
        assert len(plan.trials) == 5
        assert plan.trials[0].sweeps == ("grid", "random")
        assert plan.trials[0].name == "squeeze_ratio=0.3"


class TestWhen:
    FAMILIES = 'grid.model.preset = ["squeezenet_small", "alexnet_small"]\ngrid.train.epochs = [1, 2]\n'

    def test_refines_the_points_that_have_the_settings(self):
        found = points(
            "grid.model.freq = [1, 2, 3]\n[[sweep.when]]\nif.model.freq = 2\ngrid.train.epochs = [3, 4]"
        )
        assert found == [
            {"model.freq": 1},
            {"model.freq": 2, "train.epochs": 3},
            {"model.freq": 2, "train.epochs": 4},
            {"model.freq": 3},
        ]

    def test_each_family_has_axes_of_its_own(self):
        plan = plan_study(
            study(
                self.FAMILIES + '[[sweep.when]]\nif.model.preset = "squeezenet_small"\n'
                "grid.model.squeeze_ratio = [0.25, 0.5]\n"
                '[[sweep.when]]\nif.model.preset = "alexnet_small"\ngrid.model.fc_features = [[], [64], [32]]'
            )
        )
        assert not plan.skipped
        families = [trial.config.model.family for trial in plan.trials]
        assert families == ["squeezenet"] * 4 + ["alexnet"] * 6
        assert len({trial.name for trial in plan.trials}) == 10

    def test_parts_that_both_fit_multiply_and_may_build_on_each_other(self):
        found = points(
            "grid.model.freq = [1, 2]\n[[sweep.when]]\nif.model.freq = 2\ngrid.train.epochs = [3, 4]\n"
            "[[sweep.when]]\nif.train.epochs = 4\nset.train.batch_size = 8"
        )
        assert found == [
            {"model.freq": 1},
            {"model.freq": 2, "train.epochs": 3},
            {"model.freq": 2, "train.epochs": 4, "train.batch_size": 8},
        ]

    def test_a_condition_may_be_on_what_all_trials_share(self):
        found = points('[[sweep.when]]\nif.model.preset = "squeezenet_small"\ngrid.model.freq = [1, 2]')
        assert [p["model.freq"] for p in found] == [1, 2]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("grid.train.epochs = [1]", "when 1: if: needs a setting"),
            ("if.model.freq = 1", "when 1: has no axes; give one of set, points"),
            ("if.model.base_e = 8\ngrid.train.epochs = [1]", "if.model.base_e: nothing before it sets"),
            ("if.model.freq = 1\ngrid.model.freq = [3]", "model.freq: is in the block and in this part"),
            ("iff.model.freq = 1", "when 1: iff: unknown key; did you mean if?"),
            ("if.model.freq = true\ngrid.train.epochs = [1]", "needs a whole number, found true"),
            ("if.model.freq = 1\ngrid.seed = [1]", "use `seeds = N`"),
            (
                "if.model.freq = 1\ngrid.train.epochs = [1]\n"
                '[[sweep.when]]\nif.model.preset = "squeezenet_small"\ngrid.train.epochs = [2]',
                "when 2: train.epochs: is in when 1 and in this part; keep one",
            ),
        ],
    )  # fmt: skip
    def test_mistakes_are_one_line(self, text, message):
        with pytest.raises(InputError, match=r"^s\.toml \[\[sweep\]\] 1") as error:
            study(f"grid.model.freq = [1, 2]\n[[sweep.when]]\n{text}")
        assert message in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("points = []", "points: is an empty list"),
        ("points = [{}]", "points 1: is an empty table"),
        ("points = [3]", "points 1: needs a table, found 3"),
        ("points = { model.freq = 1 }", "points: needs a list of tables"),
        ("points = [{ model.freqq = 1 }]", "points 1: model.freqq: unknown key; did you mean model.freq?"),
        ("points = [{ seed = 1 }]", "points 1: seed: replicates are set for the whole study"),
        ("points = [{ model.freq = 1 }]\ngrid.model.freq = [2]", "model.freq: is in points and in grid"),
        ("random = 3", "random: needs a table, found 3"),
        (
            "random.count = 1\nrandom.integer.model.freq = [1, 2]\nzip.model.freq = [2]",
            "model.freq: is in zip and in random; keep one",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_a_block_are_one_line(text, message):
    with pytest.raises(InputError, match=r"^s\.toml \[\[sweep\]\] 1") as error:
        study(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


VALUES = {
    "model.freq": st.integers(1, 4),
    "train.epochs": st.integers(1, 4),
    "model.squeeze_ratio": st.sampled_from([0.125, 0.25, 0.5]),
    "data.crop_padding": st.integers(0, 2),
}
AXES = {key: st.lists(values, min_size=1, max_size=3, unique=True) for key, values in VALUES.items()}
GRID = (
    st.sets(st.sampled_from(sorted(AXES)), min_size=1, max_size=3)
    .flatmap(lambda keys: st.fixed_dictionaries({key: AXES[key] for key in keys}))
    .map(lambda axes: dict(sorted(axes.items())))  # TOML puts the keys of one section together
)


def block(axes: dict, kind: str = "grid") -> str:
    return "\n".join(f"{kind}.{key} = {values}" for key, values in axes.items())


class TestProperties:
    @settings(max_examples=40, deadline=None)
    @given(axes=GRID)
    def test_a_grid_is_every_combination_once(self, axes):
        found = points(block(axes))
        expected = [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]
        assert found == expected

    @settings(max_examples=25, deadline=None)
    @given(first=GRID, second=GRID)
    def test_blocks_add_up_to_a_union_whatever_their_order(self, first, second):
        def ids(*blocks: dict) -> list[str]:
            return [trial.id for trial in plan_study(study("\n[[sweep]]\n".join(map(block, blocks)))).trials]

        both = ids(first, second)
        assert len(both) == len(set(both))
        assert set(both) == set(ids(first)) | set(ids(second)) == set(ids(second, first))
        assert both[: len(ids(first))] == ids(first)

    @settings(max_examples=25, deadline=None)
    @given(axes=GRID)
    def test_names_tell_all_configurations_apart(self, axes):
        plan = plan_study(study(block(axes)))
        assert len({trial.name for trial in plan.trials}) == len({trial.config_id for trial in plan.trials})

    @settings(max_examples=25, deadline=None)
    @given(axes=GRID)
    def test_a_grid_and_its_points_by_hand_are_the_same_trials(self, axes):
        rows = [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]
        tables = ", ".join("{" + ", ".join(f"{k} = {v}" for k, v in row.items()) + "}" for row in rows)
        by_hand, by_grid = (plan_study(study(text)) for text in (f"points = [{tables}]", block(axes)))
        assert [t.id for t in by_hand.trials] == [t.id for t in by_grid.trials]
        assert [t.name for t in by_hand.trials] == [t.name for t in by_grid.trials]


def test_the_reference_of_the_study_file_is_a_study():
    import sweeps.study

    text = (sweeps.study.__doc__ or "").partition("\n\n")[2]
    found = parse_study(text, "reference")
    plan = plan_study(found)
    assert {skipped.rule for skipped in plan.skipped} >= {"exclude 1"}
    assert {block.name for block in found.sweeps} == {"squeeze_ratio", "random", "families"}
