import numpy as np
import pytest

from analysis.importance import importance


@pytest.fixture(scope="module")
def random_design(study_frame):
    def make(value, n=40, noise=0.0):
        rng = np.random.default_rng(3)
        keys = {
            str(i): {
                "model.squeeze_ratio": rng.uniform(0.1, 1),
                "model.pct_3x3": rng.uniform(0.1, 0.9),
                "model.bypass": str(rng.choice(["none", "simple", "complex"])),
            }
            for i in range(n)
        }
        values = {name: [value(*own.values()) + noise * rng.normal()] for name, own in keys.items()}
        return study_frame(values, metric="test_top1", keys=keys)

    return make


def test_the_key_that_decides_is_the_most_important(random_design):
    found = importance(random_design(lambda squeeze, pct, bypass: 0.5 + 0.3 * squeeze))
    assert found.keys["key"][0] == "model.squeeze_ratio"
    assert found.r2 > 0.9
    assert found.n == 40
    # Shuffling the only cause among m others doubles the variance: an importance of about 2.
    assert 1 < found.keys["importance"][0] < 3
    assert found.keys["importance"][1:].abs().max() < 0.1
    assert (found.keys["low"] <= found.keys["importance"]).all()


def test_a_key_of_names_counts_too(random_design):
    level = {"none": 0.0, "simple": 0.1, "complex": 0.05}
    found = importance(random_design(lambda squeeze, pct, bypass: 0.5 + level[bypass]))
    assert found.keys["key"][0] == "model.bypass"


def test_noise_is_said_to_be_none_to_read(random_design):
    found = importance(random_design(lambda *own: 0.5, noise=0.1))
    assert found.r2 <= 0
    assert found.keys.empty
    assert "explains nothing" in found.note


def test_the_same_table_gives_the_same_numbers(random_design):
    frame = random_design(lambda squeeze, pct, bypass: squeeze * pct)
    first, again, other = (importance(frame, seed=s) for s in (0, 0, 1))
    assert first.keys.equals(again.keys)
    assert not first.keys.equals(other.keys)


def test_stated_answers(study_frame, random_design):
    assert importance(study_frame({"a": [0.5], "b": [None]})).note == "no key varies"
    few = importance(random_design(lambda *own: 0.5, n=19))
    assert few.note == "not enough configurations to say (19)"
    assert importance(random_design(lambda *own: 0.5, n=20)).note == "all means are equal"
    frame = random_design(lambda squeeze, pct, bypass: squeeze)
    frame.loc[frame.index[:3], "test_top1"] = np.inf
    found = importance(frame)
    assert (found.n, found.left_out) == (37, 3)


def test_unset_values_are_a_value_of_their_own(random_design):
    frame = random_design(lambda squeeze, pct, bypass: 0.5)
    frame["train.momentum"] = np.where(np.arange(40) % 2, np.nan, 0.9)
    frame["test_top1"] = np.where(frame["train.momentum"].isna(), 0.8, 0.4)
    assert importance(frame).keys["key"][0] == "train.momentum"
