from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.connectors import place_of
from loom_dagster.errors import Misconfigured
from loom_dagster.extract import check_source
from loom_dagster.spec.models import Extract


@pytest.mark.parametrize(
    ("source", "extract", "message"),
    [
        ("none.csv", {}, "none.csv does not exist"),
        ("*.nothing", {}, "matches no file"),
        ("empty", {}, "is a folder without files"),
        ("mixed", {}, "several formats: csv, jsonl"),
        ("mixed", {"format": "parquet"}, "has no parquet files"),
        ("odd.txt", {}, "set `extract.format`"),
        ("half.parquet", {}, "it is cut off"),
        ("a.csv", {"key": "ids"}, "did you mean `id`?"),
        ("a.csv", {"key": "zzzz"}, "it has: id, text"),
        ("ours.csv", {}, "`_loom_run_id`, and names that begin with `_loom_` are ours"),
        ("twice.parquet", {}, "two columns called `a`"),
        ("a.csv", {"encoding": "nope"}, "is not an encoding"),
        ("pipeline://x", {}, "a pipeline's own table"),
    ],
)
def test_everything_wrong_is_said_at_once_and_in_one_line(tmp_path, opened, source, extract, message):
    (tmp_path / "a.csv").write_text("id,text\n1,x\n")
    (tmp_path / "ours.csv").write_text("id,_loom_run_id\n1,x\n")
    (tmp_path / "odd.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed/a.csv").write_text("id\n1\n")
    (tmp_path / "mixed/a.jsonl").write_text('{"id":1}\n')
    pq.write_table(pa.table({"a": [1]}), tmp_path / "half.parquet")
    half = (tmp_path / "half.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(half[: len(half) // 2])
    pq.write_table(
        pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "twice.parquet"
    )
    with pytest.raises(Misconfigured) as caught:
        opened(source, **extract)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "scratch").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read(tmp_path, opened):
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(Misconfigured, match="may not be read"):
        opened("a.csv")


def test_a_folder_of_one_format_ignores_what_is_no_data(tmp_path, opened):
    (tmp_path / "d/x").mkdir(parents=True)
    for name in ("d/b.csv", "d/a.csv", "d/x/c.csv"):
        (tmp_path / name).write_text(f"id\n{name}\n")
    for name in ("d/README", "d/_SUCCESS", "d/.a.csv.crc"):
        (tmp_path / name).write_text("nothing")
    for extract in ({}, {"format": "csv"}):
        source = opened("d", **extract) if not extract else None
        if source:
            assert [r.columns["id"] for b in source.batches() for r in b.records] == [
                "d/a.csv",
                "d/b.csv",
                "d/x/c.csv",
            ]


def test_a_format_can_be_named(tmp_path, opened):
    (tmp_path / "odd.txt").write_text('{"id":1}\n')
    assert opened("odd.txt", format="jsonl").schema == pa.schema({"id": pa.int64()})


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_an_empty_file_is_an_empty_source(tmp_path, opened, name):
    (tmp_path / name).write_bytes(b"")
    source = opened(name, key="id")
    assert source.schema == pa.schema([]) and list(source.batches()) == []


def test_a_header_alone_has_columns_and_no_rows(tmp_path, opened):
    (tmp_path / "a.csv").write_text("id,text\n")
    source = opened("a.csv", key="id")
    assert source.schema.names == ["id", "text"] and list(source.batches()) == []


def test_checks_say_where(tmp_path):
    def where(*loc: str) -> str:
        return f"pipelines/p.yaml:{len(loc)}"

    def check(source: str, **options):
        return check_source(Extract(source=source), place_of(source, tmp_path), where=where, **options)

    (tmp_path / "a.csv").write_text("id\n1\n")
    assert check("a.csv") == () and check("memory://not/there.csv") == ()
    [problem] = check("b.csv")
    assert str(problem).startswith("pipelines/p.yaml:1: b.csv does not exist (check the path")
    [problem] = check("memory://not/there.csv", connections=True)
    assert "does not exist" in problem.what
    [problem] = check("gs://x/y.csv")
    assert problem.fix == "pip install 'loom-dagster[gcs]'"
