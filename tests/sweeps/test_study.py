"""The study file: what it spans, and one clear line for each mistake."""

import pytest

from sqzx.errors import InputError
from sweeps.plan import plan_study
from sweeps.study import parse_study, read_study

HEAD = """
schema = 1
name = "s"
[config]
model.preset = "squeezenet_small"
"""


def study(text: str = "", head: str = HEAD):
    return parse_study(head + text, "s.toml")


def points(text: str) -> list[dict]:
    return [{k: v for k, v in p.items() if k != "model.preset"} for _, p in study(text).points()]


class TestPoints:
    def test_grid_is_a_product_with_the_last_axis_fastest(self):
        assert points("[[sweep]]\ngrid.model.freq = [1, 2]\ngrid.train.epochs = [3, 4]") == [
            {"model.freq": 1, "train.epochs": 3},
            {"model.freq": 1, "train.epochs": 4},
            {"model.freq": 2, "train.epochs": 3},
            {"model.freq": 2, "train.epochs": 4},
        ]

    def test_zip_advances_together_and_combines_with_the_grid(self):
        found = points(
            "[[sweep]]\nzip.model.freq = [1, 2]\nzip.train.epochs = [3, 4]\ngrid.model.base_e = [8, 9]"
        )
        assert [(p["model.freq"], p["train.epochs"], p["model.base_e"]) for p in found] == [
            (1, 3, 8), (1, 3, 9), (2, 4, 8), (2, 4, 9),
        ]  # fmt: skip

    def test_set_is_fixed_in_its_block_alone(self):
        found = points("[[sweep]]\nset.model.freq = 4\n[[sweep]]\ngrid.train.epochs = [1]")
        assert found == [{"model.freq": 4}, {"train.epochs": 1}]

    def test_a_study_without_blocks_is_one_point(self):
        assert points("") == [{}]

    def test_a_list_can_be_a_value(self):
        assert points("[[sweep]]\ngrid.model.pool_after = [[1, 4], [1]]") == [
            {"model.pool_after": (1, 4)},
            {"model.pool_after": (1,)},
        ]

    def test_a_byte_order_mark_and_windows_line_ends_are_fine(self, tmp_path):
        file = tmp_path / "s.toml"
        file.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
        assert read_study(file).name == "s"


class TestPlan:
    def test_seeds_multiply_every_configuration(self):
        plan = plan_study(study(head=HEAD.replace('name = "s"', 'name = "s"\nseeds = 3')))
        assert [t.config.seed for t in plan.trials] == [0, 1, 2]
        assert len({t.config_id for t in plan.trials}) == 1
        assert len({t.id for t in plan.trials}) == 3

    def test_a_point_of_two_blocks_is_one_trial_and_member_of_both(self):
        plan = plan_study(
            study(
                '[[sweep]]\nname = "a"\ngrid.model.squeeze_ratio = [0.25, 0.5]\n'
                '[[sweep]]\nname = "b"\nset.model.squeeze_ratio = 0.5\ngrid.model.pct_3x3 = [0.25, 0.5]'
            )
        )
        assert [t.sweeps for t in plan.trials] == [("a",), ("a", "b"), ("b",)]

    def test_names_tell_configurations_apart_by_what_varies(self):
        plan = plan_study(study("[[sweep]]\nset.train.epochs = 3\ngrid.model.squeeze_ratio = [0.25, 0.5]"))
        assert [t.name for t in plan.trials] == ["squeeze_ratio=0.25", "squeeze_ratio=0.5"]

    def test_impossible_points_are_skipped_with_their_reason(self):
        plan = plan_study(study("[[sweep]]\ngrid.model.squeeze_ratio = [0.001, 0.5]\n"))
        (skipped,) = plan.skipped
        assert "width of 0" in skipped.reason
        assert skipped.settings == {"model.squeeze_ratio": 0.001}
        assert len(plan.trials) == 1

    @pytest.mark.parametrize(
        ("bounds", "left"),
        [
            ("{ max = 50_000 }", [0.125]),
            ("{ min = 50_000 }", [0.25, 0.5]),
            ("{ min = 1, max = 93_000 }", [0.125, 0.25]),
        ],
    )
    def test_constraints_bound_what_is_trained(self, bounds, left):
        text = f"[[sweep]]\ngrid.model.squeeze_ratio = [0.125, 0.25, 0.5]\n[constraints]\nparams = {bounds}"
        plan = plan_study(study(text))
        assert [t.config.model.squeeze_ratio for t in plan.trials] == left
        assert all(s.reason.startswith("constraints.params: ") for s in plan.skipped)
        assert len(plan.skipped) == 3 - len(left)

    @pytest.mark.parametrize("name", ["params", "macs", "flops", "bytes_fp32", "peak_activations"])
    def test_each_counted_quantity_can_be_bounded(self, name):
        with pytest.raises(InputError, match=f"constraints.{name}: .* above the maximum of 1"):
            plan_study(study(f"[constraints]\n{name} = {{ max = 1 }}"))

    def test_without_data_the_known_sets_can_be_planned(self, monkeypatch, tmp_path):
        monkeypatch.setenv("SQZX_DATA", str(tmp_path / "empty"))
        plan = plan_study(read_study_of_the_package("paper_imagenet"))
        assert [t.network.params for t in plan.trials] == [
            1_248_424, 1_967_080, 3_404_392, 4_841_704, 6_279_016,
            1_478_248, 1_929_832, 2_421_352, 2_912_872, 3_895_912, 4_387_432, 4_878_952, 5_330_536,
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["paper_digits", "paper_fashion_mnist"])
    def test_the_paper_studies_are_13_configurations_of_3_seeds(self, name):
        plan = plan_study(read_study_of_the_package(name))
        assert len({t.config_id for t in plan.trials}) == 13
        assert len(plan.trials) == 39
        assert not plan.skipped


AXIS = "[[sweep]]\ngrid.model."
WHERE = "s.toml [[sweep]] 1 (sweep 1) grid"
ZIP = "[[sweep]]\nzip.model.freq = [1]\nzip.train.epochs = [1, 2]"
TWICE = "[[sweep]]\nset.model.freq = 1\ngrid.model.freq = [1]"


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (f"{AXIS}squeze_ratio = [0.5]", f"{WHERE}: model.squeze_ratio: unknown key; did you mean"),
            (f"{AXIS}freq = []", "is an empty list"),
            (f"{AXIS}freq = 2", "model.freq: needs a list of values, found 2; use [2]"),
            (f"{AXIS}freq = [2, true]", "grid[1]: model.freq: needs a whole number, found true"),
            (f"{AXIS}squeeze_ratio = [nan]", "needs a number, found nan, which is not finite"),
            ("[[sweep]]\ngrid.train.learning_rate = [1e400]", "which is not finite"),
            (ZIP, "model.freq has 1, train.epochs has 2"),
            (TWICE, "model.freq: is in set and in grid; keep one"),
            ("[[sweep]]\ngrid.seed = [1, 2]", "seed: replicates are set for the whole study; use `seeds"),
            ("[[sweep]]\ngird.model.freq = [1]", "gird: unknown key; did you mean grid?"),
            ('[[sweep]]\nname = "a"\n[[sweep]]\nname = "a"', "'a' names two blocks"),
            ('[[sweep]]\nname = "a\\u0000"', "printable characters"),
            ("[constraints]\nparam = { max = 1 }", "param: unknown key; did you mean params?"),
            ("[constraints]\nparams = { maximum = 1 }", "maximum: unknown key; did you mean max?"),
            ("[constraints]\nparams = { min = 2, max = 1 }", "min 2 is above max 1"),
            ("[constraints]\nparams = {}", "needs min, max or both"),
            ("[sweep]\nname = 'a'", "needs [[sweep]]"),
            ('[[sweep]]\nname = "a;b"', "has a semicolon"),
            ("[[sweep]", "not readable as TOML"),
        ],
    )  # fmt: skip
    def test_each_is_one_line_that_names_file_and_key(self, text, message):
        with pytest.raises(InputError) as error:
            study(text)
        assert str(error.value).startswith("s.toml")
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("head", "message"),
        [
            ("name = 's'", "schema: needs 1, found nothing"),
            ("schema = 2\nname = 's'", "schema: needs 1, found 2"),
            ("schema = 1", "name: needs a text in quotes, found nothing"),
            ("schema = 1\nname = 's'\nseeds = 0", "seeds: needs 1 to"),
            ("schema = 1\nname = 's'\nseeds = [0, 1]", "seeds: needs a whole number"),
            ("schema = 1\nname = 's'\n[config]\nmodel.freqq = 1", "model.freqq: unknown key; did you mean"),
            ("schema = 1\nname = 's'\n[config]\nseed = 1\nmodel.x = 1", "model.x: unknown key"),
        ],
    )  # fmt: skip
    def test_the_head_is_read_as_strictly(self, head, message):
        with pytest.raises(InputError, match=r"^s\.toml") as error:
            parse_study(head, "s.toml")
        assert message in str(error.value)

    def test_a_study_of_which_nothing_is_left_says_why(self):
        with pytest.raises(InputError, match=r"no point is left to train; .* width of 0"):
            plan_study(study("[[sweep]]\ngrid.model.squeeze_ratio = [0.0]"))

    def test_a_seed_in_config_is_refused(self):
        with pytest.raises(InputError, match="seed: replicates are set"):
            study(head="schema = 1\nname = 's'\n[config]\nseed = 3\n")


def read_study_of_the_package(name: str):
    from importlib.resources import as_file, files

    with as_file(files("sweeps") / "studies" / f"{name}.toml") as path:
        return read_study(path)
