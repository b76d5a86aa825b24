import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.quantity import QUANTITIES, quantity_of, round_values, size_axis, sized
from analysis.statistics import summarise
from analysis.table import load
from analysis.table_files import read_table, write_table
from sqzx.errors import InputError


def test_round_values_are_the_fewest_that_are_enough():
    assert round_values(900, 1.1e6) == [1e3, 1e4, 1e5, 1e6]
    assert round_values(90e3, 1.1e6) == [100e3, 200e3, 500e3, 1e6]
    assert round_values(140e3, 600e3) == [150e3, 200e3, 300e3, 500e3]
    assert round_values(0.002, 0.06) == [0.002, 0.005, 0.01, 0.02, 0.05]


def test_a_range_too_narrow_for_round_values_has_even_ones():
    ticks = round_values(8.1, 8.9)
    assert len(ticks) >= 3
    assert all(8.1 <= tick <= 8.9 for tick in ticks)


@pytest.mark.parametrize(
    ("name", "low", "high", "texts"),
    [
        ("bytes_fp32", 90e3, 1.1e6, ["100 kB", "200 kB", "500 kB", "1 MB"]),
        ("params", 20e3, 300e3, ["20k", "50k", "100k", "200k"]),
        ("mib", 120e3, 2.2e6, ["128KB", "256KB", "512KB", "1.0MB", "2.0MB"]),
        ("latency_ms", 0.09, 1.1, ["0.1 ms", "0.2 ms", "0.5 ms", "1 ms"]),
    ],
)
def test_ticks_are_written_in_the_words_of_the_quantity(name, low, high, texts):
    axes = Figure().subplots()
    axes.set(xscale="log", xlim=(low, high))
    size_axis(axes, QUANTITIES[name])
    assert [axes.xaxis.get_major_formatter()(tick) for tick in axes.get_xticks()] == texts


def test_an_unknown_quantity_names_the_nearest():
    with pytest.raises(InputError, match=r"size parms: .* did you mean params\?"):
        quantity_of("parms")


def test_a_quantity_that_no_trial_has_is_refused(paper_study):
    frame = load(paper_study)
    with pytest.raises(InputError, match="size latency_ms: no trial of this study has it"):
        sized(summarise(frame, "test_top1"), frame, quantity_of("latency_ms"), "test_top1")


def test_what_is_measured_is_the_mean_over_the_trials_that_count(make_study, result):
    out = make_study(outcome=lambda trial: result(trial, learned=trial.config.seed != 2))
    frame = load(out)
    frame["latency_ms"] = pd.Series([1.0, 3.0, 100.0, None, None, 100.0], dtype="float64")
    found = sized(summarise(frame, "test_top1"), frame, quantity_of("latency_ms"), "test_top1")
    assert found["size"].tolist() == [2.0]  # the other configuration has none


def test_a_network_that_is_not_compressed_has_the_size_of_its_parameters(make_study):
    frame = load(make_study())
    frame["bytes_compressed"] = pd.Series([1000, 1000, 1000, None, None, None], dtype="Int64")
    found = sized(summarise(frame, "test_top1"), frame, quantity_of("bytes_compressed"), "test_top1")
    assert found["size"].tolist() == [1000, frame["bytes_fp32"].iloc[-1]]


def test_a_measure_that_was_added_to_a_csv_is_read_as_numbers(paper_study, tmp_path):
    frame = load(paper_study).assign(latency_ms=[f"{i / 10}" for i in range(39)])
    write_table(frame, tmp_path / "trials.csv")
    frame = read_table(tmp_path / "trials.csv")
    found = sized(summarise(frame, "test_top1"), frame, quantity_of("latency_ms"), "test_top1")
    assert found["size"].iloc[0] == pytest.approx(0.1)
    frame["latency_ms"] = "fast"
    with pytest.raises(InputError, match="size latency_ms: 'fast' is no number"):
        sized(summarise(frame, "test_top1"), frame, quantity_of("latency_ms"), "test_top1")
