import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.paper_check import paper_check
from analysis.paper_table2 import KEPT, compressed_checks
from analysis.table import load

DENSE = {"alexnet": 0.95, "squeezenet": 0.945}
SPREAD = (-0.02, 0.0, 0.03)
"""Of the dense seeds: far more than a method costs, so that only pairs of seeds can see it."""


@pytest.fixture
def compressed(make_study):
    """A table of both families, dense and by every method; `loss` is what each costs each of three seeds."""
    one = load(make_study()).head(3)

    def make(loss, sizes=None, bits=5):
        sizes = {"svd": 40_000, "pruning": 20_000, "deep_compression": 5_000} | (sizes or {})
        parts = []
        for family, accuracy in DENSE.items():
            for recipe in (None, *sizes):
                cost = np.zeros(3) if recipe is None else np.asarray(loss[recipe])
                part = one.assign(
                    id=[f"t{family}{recipe}{seed}" for seed in range(3)],
                    config_id=f"c{family}{recipe}",
                    name=f"{family} {recipe}",
                    seed=range(3),
                    test_top1=accuracy + np.asarray(SPREAD) - cost,
                    bytes_fp32=200_000 if family == "alexnet" else 10_000,
                    bytes_compressed=pd.array([sizes.get(recipe)] * 3, dtype="Int64"),
                )
                part["model.family"] = pd.Series([family] * 3, dtype="str", index=part.index)
                part["compress.recipe"] = pd.Series([recipe] * 3, dtype="str", index=part.index)
                shared = bits if recipe == "deep_compression" else None
                part["compress.bits"] = pd.array([shared] * 3, dtype="Int64")
                parts.append(part)
        return pd.concat(parts, ignore_index=True)

    return make


SMALL = np.array([0.001, 0.002, 0.003])
AS_PUBLISHED = {"svd": SMALL + 0.02, "pruning": SMALL, "deep_compression": SMALL}


def found(frame):
    return {check.what.partition(" (")[0]: check for check in compressed_checks(frame)}


def test_the_papers_costs_agree_with_themselves(compressed):
    checks = found(compressed(AS_PUBLISHED))
    for approach in ("SVD", "network pruning", "Deep Compression"):
        assert checks[f"AlexNet, {approach}"].agrees == "yes"
    assert checks["AlexNet: SVD makes the largest file, Deep Compression the smallest"].agrees == "yes"


def test_a_loss_is_that_of_each_seed_with_a_paired_interval(compressed):
    """Unpaired, three seeds as different as these could tell nothing."""
    check = found(compressed(AS_PUBLISHED))["AlexNet, network pruning"]
    low, high = stats.t.interval(0.95, 2, loc=-SMALL.mean(), scale=stats.sem(SMALL))
    assert check.ours.startswith("20 kB, 95.1 % (n = 3 seeds); 10 times smaller, -0.2 points")
    assert check.ours.endswith(f"({100 * low:+.1f} to {100 * high:+.1f})")


def test_a_method_that_loses_where_the_papers_does_not_is_contradicted(compressed):
    lossy = {"svd": SMALL, "pruning": SMALL + 0.03, "deep_compression": np.array([0.0, 0.1, 0.05])}
    checks = found(compressed(lossy))
    assert checks["AlexNet, SVD"].agrees == "no"  # the paper's loses
    assert checks["AlexNet, network pruning"].agrees == "no"
    assert checks["AlexNet, Deep Compression"].agrees == "cannot say"
    assert SMALL.mean() < KEPT < 0.03


def test_files_in_another_order_are_contradicted(compressed):
    checks = found(compressed(AS_PUBLISHED, sizes={"svd": 1_000}))
    order = checks["AlexNet: SVD makes the largest file, Deep Compression the smallest"]
    assert (order.agrees, order.ours) == ("no", "1 kB, 20 kB, 5 kB")


def test_a_row_stands_for_its_number_of_bits(compressed):
    def rows(bits):
        every = compressed_checks(compressed(AS_PUBLISHED, bits=bits))
        return [
            c.what.rpartition(", ")[2]
            for c in every
            if c.ours and "Deep Compression" in c.what and "," in c.what
        ]

    assert rows(8) == ["5-8 bit", "8 bit", "Deep Compression the smallest"]
    assert rows(6) == ["5-8 bit", "6 bit", "Deep Compression the smallest"]


def test_squeezenet_is_compared_with_alexnet(compressed):
    check = found(compressed(AS_PUBLISHED))["SqueezeNet, none"]
    assert "20 times smaller, -0.5 points" in check.ours
    assert check.agrees == "cannot say"  # with spreads like these


def test_a_study_without_compressed_networks_says_so(make_study, paper_study):
    whys = {check.why for check in paper_check(load(paper_study)) if check.where == "Table 2"}
    assert "the study has no compressed networks" in whys
    assert not any(check.ours for check in paper_check(load(paper_study)) if check.where == "Table 2")


def test_one_seed_has_a_loss_and_no_interval(compressed):
    frame = compressed(AS_PUBLISHED)
    check = found(frame[frame["seed"] == 0])["AlexNet, network pruning"]
    assert check.ours.endswith("-0.1 points")
    assert (check.agrees, check.why) == ("cannot say", "one seed: no interval")


def test_it_is_in_the_papers_check(compressed):
    ours = [c.ours for c in paper_check(compressed(AS_PUBLISHED)) if c.where == "Table 2" and c.ours]
    assert len(ours) == 6
