"""The files of trials travel whole, and only those that have changed."""

import io
import tarfile

import pytest

from sqzx.errors import SqzxError
from sweeps.transfer import pack, unpack


@pytest.fixture
def there(tmp_path):
    """A trial's folder on another machine."""
    root = tmp_path / "there"
    for name in (
        "config.json",
        "metrics.jsonl",
        "status.json",
        "checkpoint/10/state/a",
        "checkpoint/10/MANIFEST.json",
    ):
        (root / "t1" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "t1" / name).write_text(name)
    (root / "t2").mkdir()
    (root / "t2" / "config.json").write_text("another")
    return root


def names(packed):
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        return tar.getnames()[1:]


def files(root):
    return {p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_what_is_packed_comes_out_alike(there, tmp_path):
    packed, _ = pack(there, ["t1", "t2"], {})
    unpack(packed, tmp_path / "here")
    assert files(tmp_path / "here") == files(there)


def test_only_the_trials_asked_for_travel(there):
    assert names(pack(there, ["t2"], {})[0]) == ["t2/config.json"]


def test_only_what_has_changed_travels_again(there, tmp_path):
    packed, stamps = pack(there, ["t1"], {})
    unpack(packed, tmp_path / "here")
    assert names(pack(there, ["t1"], stamps)[0]) == []
    (there / "t1" / "metrics.jsonl").write_text("longer than before")
    packed, _ = pack(there, ["t1"], stamps)
    assert names(packed) == ["t1/metrics.jsonl"]
    unpack(packed, tmp_path / "here")
    assert (tmp_path / "here/t1/metrics.jsonl").read_text() == "longer than before"
    assert (tmp_path / "here/t1/checkpoint/10/state/a").exists()


def test_a_manifest_comes_after_its_files_and_the_status_last(there):
    found = names(pack(there, ["t1"], {})[0])
    assert found[-1] == "t1/status.json"
    assert found.index("t1/checkpoint/10/state/a") < found.index("t1/checkpoint/10/MANIFEST.json")


def test_halves_and_claims_stay(there):
    (there / "t1" / ".writer" / "free").mkdir(parents=True)
    (there / "t1" / ".writer" / "free" / "beat").touch()
    (there / "t1" / ".status.json.1.half").touch()
    (there / "t1" / "checkpoint" / ".20.half").mkdir()
    (there / "t1" / "checkpoint" / ".20.half" / "a").touch()
    assert not any("/." in name for name in names(pack(there, ["t1"], {})[0]))


def test_a_checkpoint_that_is_gone_there_goes_here(there, tmp_path):
    packed, stamps = pack(there, ["t1"], {})
    unpack(packed, tmp_path / "here")
    (there / "t1/checkpoint/10").rename(there / "t1/checkpoint/20")
    unpack(pack(there, ["t1"], stamps)[0], tmp_path / "here")
    assert files(tmp_path / "here" / "t1") == files(there / "t1")
    assert not (tmp_path / "here/t1/checkpoint/10").exists()


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "t1/../../escaped"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(".listing"))
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(SqzxError, match="is no name of a file in a trial's folder"):
        unpack(buffer.getvalue(), tmp_path / "here")
    assert not (tmp_path / "escaped").exists()
