"""The committed curves, stopped again: what results/halving_digits/README.md says is what comes out."""

import dataclasses
import json
import subprocess
import sys

import pytest

from benchmarks.halving import TABLE, Trial, front_of, read_table, replay, write_table
from sweeps.halving import Halving

SIZES = ("params", "macs", "flops", "bytes_fp32", "peak_activations")


def halving(min_epochs=4, reduction=2, bins=6, quantity="params") -> Halving:
    return Halving(min_epochs=min_epochs, reduction=reduction, bins=bins, quantity=quantity)


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return read_table(TABLE)


def test_the_table_has_thirty_configurations_of_two_seeds(trials):
    assert len(trials) == 60
    assert len({trial.config_id for trial in trials}) == 30
    assert {len(trial.curve) for trial in trials} == {27}
    assert TABLE.stat().st_size < 300_000


def test_halving_keeps_the_front_at_less_than_half_of_the_epochs(trials):
    found = replay(trials, halving(), workers=2)
    assert (found.epochs, found.epochs_whole) == (762, 1620)
    assert found.share < 0.5
    assert len(found.front_whole) == 6
    assert found.front == found.front_whole
    assert found.finished < found.configurations == 30


@pytest.mark.parametrize("workers", [1, 3, 8, 60])
def test_on_any_number_of_workers(trials, workers):
    found = replay(trials, halving(), workers)
    assert found.share < 0.5
    assert found.front == found.front_whole


def test_in_one_bin_the_small_networks_lose(trials):
    for first, reduction in ((2, 3), (3, 4), (4, 4)):  # of --all those that spend less than half, but for two
        found = replay(trials, halving(first, reduction, bins=1), workers=2)
        assert found.share < 0.5
        assert min(found.front_whole) not in found.front


def made_up(widths: int, curve) -> list[Trial]:
    """Trials of one seed, by width and by quality 0 to 3."""
    return [
        Trial(f"c{width}{quality}", "", 0, dict.fromkeys(SIZES, width), True, curve(width, quality))
        for width in range(1, widths + 1)
        for quality in range(4)
    ]


def test_with_all_of_a_bin_at_once_it_spends_the_closed_form():
    """Four of a bin, reduction 2, rungs 1, 2, 4 of 8 epochs: 4 x 1 + 2 x 1 + 1 x 2 + 1 x 4."""
    ordered = [t._replace(seed=0) for t in made_up(3, lambda width, quality: (width + quality / 8,) * 8)]
    best_first = sorted(ordered, key=lambda t: -t.curve[0])
    found = replay(best_first, halving(1, 2, bins=3), workers=12)
    assert found.epochs == 3 * (4 * 1 + 2 * 1 + 1 * 2 + 1 * 4)
    assert found.finished == 3
    assert found.front == {(width, width + 3 / 8) for width in (1, 2, 3)}


def test_a_study_too_short_for_a_rung_is_trained_whole(trials):
    found = replay(trials, halving(min_epochs=27), workers=2)
    assert found.epochs == found.epochs_whole
    assert found.front == found.front_whole


def test_seeds_that_learnt_nothing_are_in_no_front():
    trials = made_up(1, lambda width, quality: (quality / 8,))
    assert front_of({t.config_id: [t] for t in trials}, "params") == {(1, 3 / 8)}
    dead = [*trials[:3], trials[3]._replace(learned=False)]
    assert front_of({t.config_id: [t] for t in dead}, "params") == {(1, 2 / 8)}


def test_the_quantity_bins_and_tells_the_size(trials):
    swapped = [t._replace(sizes=t.sizes | {"macs": -t.sizes["params"]}) for t in trials]
    found = replay(swapped, dataclasses.replace(halving(), quantity="macs"), workers=2)
    assert {size for size, _ in found.front} < {-t.sizes["params"] for t in trials}


def test_a_table_reads_back_as_it_was_written(trials, tmp_path):
    write_table(trials[:3], tmp_path / "some.csv")
    assert read_table(tmp_path / "some.csv") == trials[:3]


def test_the_command_says_what_it_saved():
    command = [sys.executable, "-m", "benchmarks.halving"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "762 of 1620 epochs (47%; goal: below 50%)" in text
    assert "the same front (6 of 6 points)" in text
    found = json.loads(subprocess.run([*command, "--bins", "1", "--json"], capture_output=True).stdout)
    assert found["bins"] == 1
    assert found["epochs"] > 762
    wrong = subprocess.run([*command, "nowhere.csv"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "nowhere.csv" in wrong.stderr
