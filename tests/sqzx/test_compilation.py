import os

from sqzx.compilation import keep_memory, use_compilation_cache


def test_processes_share_their_programs_through_one_bounded_folder(tmp_path):
    environment = {"OTHER": "stays"}
    use_compilation_cache(environment, tmp_path / "a" / "compiled")
    assert environment["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "a" / "compiled")
    assert int(environment["JAX_COMPILATION_CACHE_MAX_SIZE"]) > 2**30
    assert environment["OTHER"] == "stays"
    assert (tmp_path / "a" / "compiled").is_dir()


def test_what_a_killed_writer_left_is_removed(tmp_path):
    for name in ("whole-cache", "whole-atime", "half-cache", "notes"):
        (tmp_path / name).write_bytes(b"x")
    use_compilation_cache({}, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["notes", "whole-atime", "whole-cache"]


def test_without_a_folder_to_write_everything_works_uncached(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    environment = {}
    use_compilation_cache(environment, tmp_path / "file" / "compiled")
    assert environment == {}


def test_a_users_own_memory_settings_win():
    environment = {"GLIBC_TUNABLES": "glibc.malloc.top_pad=1:glibc.malloc.check=3"}
    keep_memory(environment)
    settings = environment["GLIBC_TUNABLES"].split(":")
    assert "glibc.malloc.top_pad=1" in settings
    assert "glibc.malloc.check=3" in settings
    assert len({s.partition("=")[0] for s in settings}) == len(settings) > 2


def test_without_settings_there_is_no_empty_one():
    environment = {}
    keep_memory(environment)
    assert all("=" in setting for setting in environment["GLIBC_TUNABLES"].split(":"))
