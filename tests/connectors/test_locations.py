from __future__ import annotations

import functools
import http.server
import os
import threading
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.connectors.files import expand, locate, normalise_location
from loom_dagster.connectors.files.formats import Reading, format_of
from loom_dagster.errors import Misconfigured


def found(uri: str, root: Path) -> list[str]:
    return [file.uri for file in expand(locate(uri, root))]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "data/b.csv",
        "data/a.csv",
        "data/deep/c.csv",
        "data/.hidden.csv",
        "data/_tmp/x.csv",
        "data/[x].csv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a,b\n1,2\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_paths_globs_and_folders_in_order(tree):
    assert found("data/a.csv", tree) == ["data/a.csv"]
    assert found("data/*.csv", tree) == ["data/[x].csv", "data/a.csv", "data/b.csv"]
    assert found("data/**/c.csv", tree) == ["data/deep/c.csv"]
    assert found("data/", tree) == ["data/[x].csv", "data/a.csv", "data/b.csv", "data/deep/c.csv"]
    assert found("data/[x].csv", tree) == ["data/[x].csv"]
    assert found(str(tree / "data/a.csv"), tree / "empty") == [str(tree / "data/a.csv")]
    assert found(f"file://{tree}/data/a.csv", tree) == ["data/a.csv"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("data/none.csv", "data/none.csv does not exist"),
        ("data/*.parquet", "data/*.parquet matches no file"),
        ("empty", "empty is a folder without files"),
        ("data/a.csv/", "data/a.csv is a file, not a folder"),
        ("foo://x/y.csv", "`foo://` is not a kind of location"),
        ("gs://bucket/y.csv", "pip install 'loom-dagster[gcs]'"),
        ("az://bucket/y.csv", "pip install 'loom-dagster[azure]'"),
        ("pipeline://other", "a pipeline's own table"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(tree, uri, message):
    with pytest.raises(Misconfigured) as caught:
        found(uri, tree)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_other_file_systems():
    memory = fsspec.filesystem("memory")
    memory.pipe({"/loc/a.csv": b"a\n1\n", "/loc/b.csv": b"a\n2\n"})
    files = expand(locate("memory://loc/*.csv", Path("/")))
    assert [f.uri for f in files] == ["memory://loc/a.csv", "memory://loc/b.csv"]
    with files[1].open() as stream:
        assert stream.read() == b"a\n2\n"
    memory.pipe("/loc/a.csv", b"a\n3\n4\n")
    with pytest.raises(Misconfigured, match="changed while being read"):
        files[0].assert_unchanged()
    memory.rm("/loc", recursive=True)


def test_a_file_that_changes_or_goes_is_noticed(tree):
    [file] = expand(locate("data/a.csv", tree))
    file.assert_unchanged()
    os.utime(tree / "data/a.csv", ns=(1, 1))
    with pytest.raises(Misconfigured, match="changed while being read"):
        file.assert_unchanged()
    (tree / "data/a.csv").unlink()
    with pytest.raises(Misconfigured, match="does not exist"):
        file.assert_unchanged()


@pytest.mark.parametrize(
    ("spellings", "canonical"),
    [
        (
            [
                "data/a.csv",
                "./data/a.csv",
                "data//x/../a.csv",
                "file://{root}/data/a.csv",
                "{root}/data/a.csv",
            ],
            "data/a.csv",
        ),
        (["link/a.csv"], "data/a.csv"),
        (["data/", "data", "link"], "data"),
        (
            ["s3://bucket/a/b.csv", "S3://bucket//a/./b.csv", "s3a://key:secret@bucket/a/b.csv"],
            "s3://bucket/a/b.csv",
        ),
        (["gs://bucket/a/", "gcs://bucket/a"], "gs://bucket/a"),
        (
            ["https://Example.org:443/a?v=1", "https://me:secret@example.org/a?v=1"],
            "https://example.org/a?v=1",
        ),
    ],
)
def test_one_spelling_for_each_place(tree, spellings, canonical):
    (tree / "link").symlink_to(tree / "data")
    assert {normalise_location(s.format(root=tree), tree) for s in spellings} == {canonical}


def test_places_outside_the_project_are_absolute(tmp_path):
    (tmp_path / "project").mkdir()
    assert (
        normalise_location("../x.csv", tmp_path / "project") == f"file://{os.path.realpath(tmp_path)}/x.csv"
    )


@pytest.fixture
def web(tree):
    """A web server that gives files as a whole only."""
    handler = functools.partial(_Quiet, directory=str(tree))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_the_web_gives_files_whose_address_is_signed(tree, web):
    pq.write_table(pa.table({"a": [1, 2]}), tree / "data/t.parquet")
    for name in ("t.parquet", "a.csv"):
        [file] = expand(locate(f"{web}/data/{name}?sig=secret", tree))
        form = format_of(file.name)
        schema = form.schema([file], Reading())
        assert sum(c.rows for c in form.chunks([file], schema, Reading())) in (1, 2)
        assert "secret" not in file.uri
    with pytest.raises(Misconfigured, match="does not exist") as caught:
        found(f"{web}/none.csv?sig=secret", tree)
    assert "secret" not in str(caught.value)
    with pytest.raises(Misconfigured, match="not a valid URL"):
        found("http://[::1/x.csv", tree)
