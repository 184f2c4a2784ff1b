from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.errors import Misconfigured

ROWS = [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]
MORE = [{"id": 2, "v": "c"}, {"id": 3, "v": "d"}]


def names(folder) -> list[str]:
    return sorted(n for n in [p.name for p in (folder).iterdir()] if not n.startswith("."))


def test_a_folder_gets_a_part_for_each_appended_snapshot_and_each_record_once(load, rows_in, tmp_path):
    for _ in range(2):
        load("out/", ROWS, mode="append", snapshot="s1")
        assert rows_in("out/") == ROWS
    load("out", [*ROWS, {"id": 3, "v": "d"}], mode="append", snapshot="s2")
    assert names(tmp_path / "out") == ["loom-s1.parquet", "loom-s2.parquet"]
    assert [r["id"] for r in rows_in("out")] == [1, 2, 3]
    load("out", ROWS, mode="append", snapshot="s3")
    assert len(names(tmp_path / "out")) == 2
    load("out", ROWS, mode="append", snapshot="s3", fingerprint="g")
    assert len(rows_in("out")) == 5


def test_a_partition_is_replaced_whole(load, rows_in, tmp_path):
    for mode in ("append", "overwrite", "upsert"):
        load("out/", ROWS, mode=mode, partition="2026-01-01", snapshot="s1")
        load("out/", MORE, mode=mode, partition="2026-01-02", snapshot="s2")
        load("out/", MORE, mode=mode, partition="2026-01-01", snapshot="s3")
        assert names(tmp_path / "out") == ["loom-2026-01-01.parquet", "loom-2026-01-02.parquet"]
        assert rows_in("out") == [*MORE, *MORE]


def test_overwrite_and_upsert_keep_one_file(load, rows_in, tmp_path):
    load("out/", ROWS, mode="append", snapshot="s1")
    load("out/", ROWS, mode="overwrite", snapshot="s2")
    assert names(tmp_path / "out") == ["loom-all.parquet"] and rows_in("out") == ROWS
    load("out/", MORE, mode="upsert", snapshot="s3")
    assert names(tmp_path / "out") == ["loom-all.parquet"]
    assert rows_in("out") == [{"id": 1, "v": "a"}, *MORE]


def test_files_of_others_in_the_folder_are_never_deleted_or_doubled(load, tmp_path):
    (tmp_path / "out").mkdir()
    pq.write_table(pa.table({"id": [9], "v": ["theirs"]}), tmp_path / "out/part-0.parquet")
    for mode, message in (("overwrite", "part-0.parquet among them"), ("upsert", "other files")):
        with pytest.raises(Misconfigured, match=message):
            load("out", ROWS, mode=mode)
    load("out", ROWS, mode="append")
    assert names(tmp_path / "out") == ["loom-s1.parquet", "part-0.parquet"]


def test_other_formats_and_odd_names(load, rows_in, tmp_path):
    load("out/", ROWS, mode="append", form="jsonl", snapshot="a/b c")
    [name] = names(tmp_path / "out")
    assert name.startswith("loom-a-b-c-") and name.endswith(".jsonl") and rows_in("out") == ROWS


def test_file_and_folder_are_not_mixed_up(load, tmp_path):
    (tmp_path / "x.csv").mkdir()
    (tmp_path / "file").write_text("")
    for destination, message in (
        ("x.csv", "x.csv is a folder, not a file"),
        ("file/", "file is a file, not a folder"),
        ("what", "the format of what cannot be told"),
        ("a*.csv", "is a pattern"),
        ("x.csv.gz", "would be compressed"),
    ):
        with pytest.raises(Misconfigured, match=message.replace("*", r"\*")):
            load(destination, ROWS)
