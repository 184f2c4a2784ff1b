from __future__ import annotations

import stat
from pathlib import Path

import fsspec
import pytest

from loom_dagster.connectors.files import locate, replacing
from loom_dagster.errors import Misconfigured


def put(root: Path, uri: str, data: bytes) -> None:
    with replacing(locate(uri, root)) as stream:
        stream.write(data)


def put_half(root: Path, uri: str) -> None:
    with replacing(locate(uri, root)) as stream:
        stream.write(b"half")
        raise ZeroDivisionError


def test_the_file_appears_whole_with_its_folders_and_rights(tmp_path):
    put(tmp_path, "a/b/x.csv", b"one")
    path = tmp_path / "a/b/x.csv"
    path.chmod(0o640)
    put(tmp_path, "a/b/x.csv", b"two")
    assert path.read_bytes() == b"two" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in (tmp_path / "a/b").iterdir()] == ["x.csv"]


def test_after_an_error_the_old_file_is_as_it_was(tmp_path):
    put(tmp_path, "x.csv", b"one")
    with pytest.raises(ZeroDivisionError):
        put_half(tmp_path, "x.csv")
    assert (tmp_path / "x.csv").read_bytes() == b"one" and [p.name for p in (tmp_path).iterdir()] == ["x.csv"]


def test_leftovers_of_a_killed_writer_go(tmp_path):
    (tmp_path / ".x.csv.abcd.loom-tmp").write_bytes(b"half")
    (tmp_path / ".y.csv.abcd.loom-tmp").write_bytes(b"of another file")
    put(tmp_path, "x.csv", b"one")
    assert sorted([p.name for p in (tmp_path).iterdir()]) == [".y.csv.abcd.loom-tmp", "x.csv"]


def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    put(tmp_path, "real/x.csv", b"one")
    (tmp_path / "x.csv").symlink_to("real/x.csv")
    put(tmp_path, "x.csv", b"two")
    assert (tmp_path / "x.csv").is_symlink() and (tmp_path / "real/x.csv").read_bytes() == b"two"


def test_what_cannot_be_written_is_misconfigured(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for uri, message in (
        ("folder", "folder is a folder"),
        ("file/x.csv", "cannot write file/x.csv"),
        ("https://example.org/x.csv", "the web is read only"),
    ):
        with pytest.raises(Misconfigured, match=message):
            put(tmp_path, uri, b"x")


def test_elsewhere_it_is_one_upload(tmp_path):
    put(tmp_path, "memory://replacing/deep/x.csv", b"one")
    put(tmp_path, "memory://replacing/deep/x.csv", b"two")
    memory = fsspec.filesystem("memory")
    assert memory.cat("/replacing/deep/x.csv") == b"two" and memory.find("/replacing") == [
        "/replacing/deep/x.csv"
    ]
    with pytest.raises(ZeroDivisionError):
        put_half(tmp_path, "memory://replacing/deep/x.csv")
    assert memory.cat("/replacing/deep/x.csv") == b"two"
    memory.rm("/replacing", recursive=True)
