import json
import math
import os
import threading

import pytest

from sqzx.errors import InputError
from sqzx.files import read_json, write_json, write_text, write_whole


def test_a_file_is_written_and_its_folder_made(tmp_path):
    path = tmp_path / "a" / "b" / "f.json"
    write_json(path, {"name": "卷积", "x": [1, 0.1]})
    assert path.read_text(encoding="utf-8") == '{\n  "name": "卷积",\n  "x": [\n    1,\n    0.1\n  ]\n}\n'
    assert read_json(path) == {"name": "卷积", "x": [1, 0.1]}
    assert os.listdir(path.parent) == ["f.json"]


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt(), SystemExit(3)])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "f"
    write_text(path, "old")

    def write(file):
        file.write(b"ne")
        file.flush()
        raise error

    with pytest.raises(type(error)):
        write_whole(path, write)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_failure_to_flush_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_text(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "f"
    write_text(path, "old")
    seen = []
    write_whole(path, lambda file: (file.write(b"new"), file.flush(), seen.append(path.read_text())))
    assert (seen, path.read_text()) == (["old"], "new")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_nan_and_no_infinity(tmp_path, value):
    path = tmp_path / "f.json"
    write_json(path, {"loss": 1.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": [value]})
    assert read_json(path) == {"loss": 1.5}
    assert os.listdir(tmp_path) == ["f.json"]


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path):
    path = tmp_path / "f.json"
    writers = [
        threading.Thread(target=lambda n=n: [write_json(path, [n] * 5000) for _ in range(5)])
        for n in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(set(read_json(path))) == 1
    assert os.listdir(tmp_path) == ["f.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1,}'])
def test_what_is_no_json_is_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "f.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_json(path)
    assert str(error.value).startswith(f"{path}: not readable as JSON (")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError) as error:
        read_json(tmp_path / "f.json")
    assert str(error.value) == f"{tmp_path / 'f.json'}: no such file"


def test_floats_survive_exactly(tmp_path):
    values = [0.1 + 0.2, 1.00001e-5, 1.46532e-5, 5e-324, 1e308]
    write_json(tmp_path / "f.json", values)
    assert json.loads((tmp_path / "f.json").read_text()) == values
