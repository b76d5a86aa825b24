import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis.columns import COLUMNS, columns_table
from analysis.table import RESULTS, load
from analysis.table_files import read_table, write_table
from sqzx.config import KEYS
from sqzx.errors import InputError
from sqzx.trial import Status

SUFFIXES = pytest.mark.parametrize("suffix", [".csv", ".parquet"])
TRIALS = Path(__file__).parents[2] / "results" / "fashion_mnist_first" / "trials.csv"


@SUFFIXES
def test_the_table_comes_back_the_same(paper_study, tmp_path, suffix):
    frame = load(paper_study)
    write_table(frame, tmp_path / f"table{suffix}")
    pd.testing.assert_frame_equal(read_table(tmp_path / f"table{suffix}"), frame, check_exact=True)


@SUFFIXES
def test_unset_is_not_the_text_na_and_odd_names_are_themselves(make_study, tmp_path, suffix, result):
    reasons = ["NA", "nan", "null", "<img src=x onerror=alert(1)>"]

    def outcome(trial):
        if trial.config.seed == 2:
            return None
        return Status(status="failed", reason=reasons.pop()) if reasons else result(trial, test_top5=None)

    frame = load(make_study(outcome=outcome))
    frame["name"] = ["NA", "a,b", 'say "x"', "卷积", " space ", "two\nlines"]
    frame["sweeps"] = ["", "Ba$$in", "_none", "=1+1", "#", "001"]
    write_table(frame, tmp_path / f"t{suffix}")
    found = read_table(tmp_path / f"t{suffix}")
    pd.testing.assert_frame_equal(found, frame, check_exact=True)
    assert "NA" in found["reason"].tolist()
    assert found["reason"].isna().sum() == 2
    assert found["train.momentum"].isna().all()


@SUFFIXES
@settings(max_examples=15, deadline=None)
@given(numbers=st.lists(st.floats(allow_nan=True), min_size=6, max_size=6), counts=st.integers(0, 2**62))
def test_numbers_come_back_to_the_last_bit(tmp_path_factory, suffix, paper_study, numbers, counts):
    path = tmp_path_factory.mktemp("t") / f"t{suffix}"
    frame = load(paper_study).iloc[:6].reset_index(drop=True)
    frame["val_loss"] = numbers
    frame["steps"] = pd.array([counts, None] * 3, dtype="Int64")
    write_table(frame, path)
    found = read_table(path)
    assert [str(x) for x in found["val_loss"]] == [str(x) for x in numbers]  # -0.0 is no 0.0, nan is nan
    assert found["steps"].tolist() == frame["steps"].tolist()


@SUFFIXES
def test_no_trial_is_a_table_too(paper_study, tmp_path, suffix):
    frame = load(paper_study).iloc[:0]
    write_table(frame, tmp_path / f"t{suffix}")
    pd.testing.assert_frame_equal(read_table(tmp_path / f"t{suffix}"), frame)


def test_a_table_of_an_older_version_has_the_columns_that_it_lacks(paper_study, tmp_path):
    frame = load(paper_study)
    write_table(frame.drop(columns=["peak_memory_mb", "train.precision"]), tmp_path / "t.csv")
    found = read_table(tmp_path / "t.csv")
    assert found["peak_memory_mb"].isna().all()
    assert found["peak_memory_mb"].dtype == "float64"
    assert "train.precision" not in found


def test_a_column_of_a_later_version_stays_text(paper_study, tmp_path):
    write_table(load(paper_study).assign(**{"model.later": "0.10"}), tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv")["model.later"].unique().tolist() == ["0.10"]


def test_a_table_that_was_saved_by_a_spreadsheet_is_read(paper_study, tmp_path):
    """Such a program writes a byte order mark and lines that end in CR and LF."""
    path = tmp_path / "t.csv"
    write_table(load(paper_study), path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(read_table(path), load(paper_study))


def test_the_published_study_is_read_with_its_types():
    frame = analysis.read_table(TRIALS)
    assert len(frame) == 39
    assert frame["test_top1"].dtype == "float64"
    assert frame["learned"].all()
    assert frame["test_top1"][0] == 0.8198


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", None, r"t\.csv: no such file"),
        ("t.parquet", b"PAR1 cut", r"t\.parquet: not readable as a table"),
        ("t.csv", b"", r"t\.csv: not readable as a table"),
        ("t.csv", b"\xff\xfe", r"t\.csv: not readable as a table"),
        ("t.csv", b"a,b\n1,2\n", r"t\.csv: is no table of trials: column id is missing"),
        ("t.xlsx", b"", r"t\.xlsx: a table is written as \.csv or \.parquet, found '\.xlsx'"),
        ("t", b"", "found 'no suffix'"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_table(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("column", "value"), [("test_top1", "high"), ("learned", "1"), ("seed", "1.5")])
def test_a_value_of_another_type_is_named_with_its_row(paper_study, tmp_path, column, value):
    frame = load(paper_study).astype({column: "object"})
    frame.loc[4, column] = value
    write_table(frame, tmp_path / "t.csv")
    with pytest.raises(InputError, match=f"row 5: {column}: '{value}' is no "):
        read_table(tmp_path / "t.csv")


def test_another_suffix_is_refused(paper_study, tmp_path):
    with pytest.raises(InputError, match=r"table\.xlsx: a table is written as \.csv or \.parquet"):
        write_table(load(paper_study), tmp_path / "table.xlsx")
    assert list(tmp_path.iterdir()) == []


class TestColumns:
    def test_every_column_of_a_table_has_its_type_and_its_meaning(self, paper_study):
        frame = load(paper_study)
        assert set(frame.columns) <= set(COLUMNS)
        assert {name: COLUMNS[name].type for name in frame.columns} == {
            name: str(kind) for name, kind in frame.dtypes.items()
        }
        assert all(column.meaning for column in COLUMNS.values())
        assert set(KEYS) | set(RESULTS) <= set(COLUMNS)

    def test_numbers_have_units_and_keys_their_choices(self):
        assert COLUMNS["train_seconds"].unit == "seconds"
        assert COLUMNS["test_top1"].unit == "share, 0 to 1"
        assert COLUMNS["model.pct_3x3"].meaning == "configuration; 0 to 1"
        assert COLUMNS["model.bypass"].meaning == "configuration; one of none, simple, complex"
        assert "may be unset" in COLUMNS["train.momentum"].meaning
        assert COLUMNS["train.learning_rate"].meaning == "configuration; above 0"

    def test_print_as_a_table(self):
        assert columns_table(["id", "params"]).row_count == 2


def test_infinity_and_nan_are_told_apart_in_csv(paper_study, tmp_path):
    frame = load(paper_study)
    frame.loc[:2, "val_loss"] = [np.inf, -np.inf, np.nan]
    write_table(frame, tmp_path / "t.csv")
    found = read_table(tmp_path / "t.csv")["val_loss"]
    assert found[:2].tolist() == [math.inf, -math.inf]
    assert math.isnan(found[2])
