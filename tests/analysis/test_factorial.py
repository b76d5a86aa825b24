import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.factorial import effects


def grid(study_frame, axes, value, seeds=2):
    keys = {
        "-".join(map(str, point)): dict(zip(axes, point, strict=True))
        for point in itertools.product(*axes.values())
    }
    values = {name: [value(seed, **{k.split(".")[1]: v for k, v in own.items()}) for seed in range(seeds)]
              for name, own in keys.items()}  # fmt: skip
    return study_frame(values, metric="test_top1", keys=keys)


AXES = {"model.squeeze_ratio": [0.125, 0.5, 1.0], "model.freq": [1, 2]}


def rows(found, term):
    return found.levels[found.levels["term"] == term].set_index("level")


def test_an_additive_model_has_its_own_effects_and_no_interaction(study_frame):
    def value(seed, squeeze_ratio, freq):
        return 0.5 + {0.125: -0.1, 0.5: 0.0, 1.0: 0.1}[squeeze_ratio] + 0.02 * freq + 0.01 * (-1) ** seed

    (found,) = effects(grid(study_frame, AXES, value))
    assert found.keys == ("model.squeeze_ratio", "model.freq")
    assert (found.cells, found.trials) == (6, 12)
    assert found.mean == pytest.approx(0.53)
    assert rows(found, "model.squeeze_ratio")["effect"].tolist() == pytest.approx([-0.1, 0, 0.1])
    assert rows(found, "model.freq")["effect"].tolist() == pytest.approx([-0.01, 0.01])
    interaction = rows(found, "model.squeeze_ratio x model.freq")
    assert interaction["effect"].to_numpy() == pytest.approx(np.zeros(6), abs=1e-12)
    assert found.terms["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize("counts", [(2, 2, 2, 2, 2, 2), (2, 3, 2, 4, 2, 2)])
def test_effects_and_intervals_agree_with_least_squares(study_frame, counts):
    """The twin: one parameter a cell by least squares, then the contrast and its covariance."""
    rng = np.random.default_rng(5)
    keys = {str(p): dict(zip(AXES, p, strict=True)) for p in itertools.product(*AXES.values())}
    values = {k: rng.uniform(0.4, 0.9, n).tolist() for k, n in zip(keys, counts, strict=True)}
    (found,) = effects(study_frame(values, metric="test_top1", keys=keys))
    y = np.concatenate(list(values.values()))
    x = np.repeat(np.eye(6), counts, axis=0)
    cell, residual, *_ = np.linalg.lstsq(x, y)
    covariance = residual[0] / (len(y) - 6) * np.linalg.inv(x.T @ x)
    t = stats.t.ppf(0.975, len(y) - 6)
    for level, (i, j) in zip(rows(found, "model.squeeze_ratio x model.freq").itertuples(),
                             itertools.product(range(3), range(2)), strict=True):  # fmt: skip
        c = np.kron(np.eye(3)[i] - 1 / 3, np.eye(2)[j] - 1 / 2)
        half = t * np.sqrt(c @ covariance @ c)
        assert (level.effect, level.low, level.high) == pytest.approx(
            (c @ cell, c @ cell - half, c @ cell + half)
        )
    for i, level in enumerate(rows(found, "model.squeeze_ratio").itertuples()):
        c = np.kron(np.eye(3)[i] - 1 / 3, np.full(2, 1 / 2))
        half = t * np.sqrt(c @ covariance @ c)
        assert (level.effect, level.low, level.high) == pytest.approx(
            (c @ cell, c @ cell - half, c @ cell + half)
        )


def test_shares_are_those_of_the_sums_of_squares(study_frame):
    """By the F statistic of one axis: its sum of squares between over within, from scipy."""
    rng = np.random.default_rng(1)
    groups = [rng.uniform(0.4, 0.9, 3).tolist() for _ in range(4)]
    keys = {str(i): {"model.freq": i + 1} for i in range(4)}
    frame = study_frame({str(i): g for i, g in enumerate(groups)}, metric="test_top1", keys=keys)
    (found,) = effects(frame)
    assert found.terms["share"].tolist() == pytest.approx([1])
    # Between the cells F expects 1 of seeds alone, so their part of what is seen there is 1 / F.
    assert found.noise == pytest.approx(1 / stats.f_oneway(*groups).statistic)


def test_an_exclusive_or_is_all_interaction(study_frame):
    axes = {"model.freq": [1, 2], "model.num_fires": [4, 8]}
    (found,) = effects(
        grid(study_frame, axes, lambda seed, freq, num_fires: 0.5 + 0.1 * ((freq == 1) == (num_fires == 4)))
    )
    assert found.terms.set_index("term")["share"].to_dict() == pytest.approx(
        {"model.freq": 0, "model.num_fires": 0, "model.freq x model.num_fires": 1}
    )
    assert found.note == "equal seeds: no interval"
    assert found.levels["low"].isna().all()


def test_three_axes_leave_a_rest_of_higher_orders(study_frame):
    axes = {"model.freq": [1, 2], "model.num_fires": [4, 8], "model.base_e": [8, 16]}

    def parity(seed, freq, num_fires, base_e):
        return 0.5 + 0.1 * (((freq == 1) + (num_fires == 4) + (base_e == 8)) % 2)

    (found,) = effects(grid(study_frame, axes, parity))
    assert found.terms.set_index("term")["share"]["higher orders"] == pytest.approx(1)


def test_values_that_look_alike_are_told_apart(study_frame):
    axes = {"train.learning_rate": [1.0000001e-5, 1.0000002e-5]}
    (found,) = effects(grid(study_frame, axes, lambda seed, learning_rate: learning_rate * 1e4 + seed / 100))
    assert found.cells == 2


def test_one_seed_a_cell_has_effects_without_intervals(study_frame):
    (found,) = effects(grid(study_frame, AXES, lambda seed, squeeze_ratio, freq: squeeze_ratio / 2, seeds=1))
    assert found.note == "one seed a cell: no interval"
    assert found.levels[["low", "high"]].isna().all().all()
    assert found.noise is None
    assert rows(found, "model.squeeze_ratio")["effect"].notna().all()


def test_a_random_design_of_many_axes_is_no_grid(study_frame):
    """2,000 values on each of 7 axes are more combinations than 64 bits count."""
    names = ("freq", "base_e", "incr_e", "num_fires", "stem_features", "stem_kernel", "stem_stride")
    keys = {str(i): {f"model.{name}": i for name in names} for i in range(2000)}
    (found,) = effects(study_frame({name: [0.5] for name in keys}, metric="test_top1", keys=keys))
    assert found.note == f"no full grid: 2,000 of {2000**7:,} combinations"


def test_a_grid_with_a_hole_is_named_as_such(study_frame):
    frame = grid(study_frame, AXES, lambda seed, squeeze_ratio, freq: 0.5)
    (found,) = effects(frame[frame["name"] != "1.0-2"])
    assert found.note == "no full grid: 5 of 6 combinations"
    assert found.levels.empty


def test_a_cell_without_a_trial_that_counts_is_named(study_frame):
    frame = grid(study_frame, AXES, lambda seed, squeeze_ratio, freq: 0.5 + seed / 10)
    frame.loc[frame["name"] == "1.0-2", "status"] = "failed"
    (found,) = effects(frame)
    assert found.note == "1 of 6 configurations without a trial that counts"


def test_a_failed_seed_is_left_out_of_its_cell(study_frame):
    frame = grid(study_frame, AXES, lambda seed, squeeze_ratio, freq: 0.5 + seed / 10, seeds=3)
    frame.loc[(frame["name"] == "1.0-2") & (frame["seed"] == 2), "status"] = "timed_out"
    (found,) = effects(frame)
    assert found.trials == 17
    assert found.levels["low"].notna().all()


def test_each_sweep_is_a_grid_of_its_own(paper_study):
    from analysis.table import load

    found = effects(load(paper_study))
    assert [(e.sweep, e.keys, e.cells, e.note) for e in found] == [
        ("squeeze_ratio", ("model.squeeze_ratio",), 5, ""),
        ("pct_3x3", ("model.pct_3x3",), 9, ""),
    ]
    squeeze = rows(found[0], "model.squeeze_ratio")
    assert list(squeeze.index) == ["0.125", "0.25", "0.5", "0.75", "1"]
    assert squeeze["effect"].is_monotonic_increasing


def test_a_study_in_which_nothing_varies_has_no_effects(study_frame):
    assert effects(study_frame({"a": [0.5, 0.6]}, metric="test_top1")) == []
    assert isinstance(effects(study_frame({"a": [None], "b": [None]}))[0].levels, pd.DataFrame)
