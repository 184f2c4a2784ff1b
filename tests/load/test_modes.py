from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.errors import Misconfigured

FORMATS = ("csv", "json", "jsonl", "parquet")
ONE = [{"id": 1, "label": "positive", "why": 'é,\n"x"'}, {"id": 2, "label": "", "why": None}]
TWO = [{"id": 2, "label": "negative", "why": "changed"}, {"id": 3, "label": "neutral", "why": None}]


@pytest.mark.parametrize("form", FORMATS)
def test_overwrite_is_the_snapshot_and_nothing_else(load, rows_in, form):
    assert load(f"out/x.{form}", ONE, mode="overwrite") == 2
    assert rows_in(f"out/x.{form}") == ONE
    for _ in range(2):
        assert load(f"out/x.{form}", TWO, mode="overwrite") == 2
        assert rows_in(f"out/x.{form}") == TWO


@pytest.mark.parametrize("form", FORMATS)
def test_append_adds_a_record_once(load, rows_in, tmp_path, form):
    for _ in range(3):
        assert load(f"x.{form}", ONE, mode="append") == 2
        assert rows_in(f"x.{form}") == ONE
    before = (tmp_path / f"x.{form}").stat()
    load(f"x.{form}", ONE, mode="append", snapshot="s2")
    assert (tmp_path / f"x.{form}").stat().st_mtime_ns == before.st_mtime_ns
    assert (
        load(f"x.{form}", [*ONE, {"id": 3, "label": "neutral", "why": None}], mode="append", snapshot="s3")
        == 3
    )
    assert [r["id"] for r in rows_in(f"x.{form}")] == [1, 2, 3]
    load(f"x.{form}", ONE, mode="append", snapshot="s4", fingerprint="another prompt")
    assert [r["id"] for r in rows_in(f"x.{form}")] == [1, 2, 3, 1, 2]


def test_one_file_takes_no_partition(load, rows_in):
    load("x.csv", ONE)
    with pytest.raises(Misconfigured, match="in which a partition's rows cannot be told from others"):
        load("x.csv", TWO, snapshot="s2", partition="2026-01-01")
    assert rows_in("x.csv") == ONE


@pytest.mark.parametrize("form", FORMATS)
def test_upsert_replaces_in_place_and_adds_the_rest(load, rows_in, form):
    load(f"x.{form}", ONE)
    for _ in range(2):
        assert load(f"x.{form}", TWO) == 2
        assert rows_in(f"x.{form}") == [ONE[0], *TWO]


@pytest.mark.parametrize("form", FORMATS)
def test_rows_and_columns_of_others_stay(load, rows_in, tmp_path, form):
    theirs = [
        {"id": 7, "label": "mine", "note": "keep"},
        {"id": 1, "label": "old", "note": "keep too"},
        {"id": None, "label": "no key", "note": None},
    ]
    load(f"theirs.{form}", [{**r, "id": r["id"] or 0} for r in theirs], mode="overwrite")
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(theirs), tmp_path / "theirs.parquet")
    load(f"theirs.{form}", ONE)
    found = {(r["id"], r["label"], r["note"], r["why"]) for r in rows_in(f"theirs.{form}")}
    null = None if form == "parquet" else 0
    assert found == {
        (7, "mine", "keep", None),
        (1, "positive", "keep too", 'é,\n"x"'),
        (null, "no key", None, None),
        (2, "", None, None),
    }


def test_json_rows_of_others_stay_byte_for_byte(load, tmp_path):
    lines = [
        '{"id": 7,  "x": 1.0, "y": 123456789012345678901234567890}',
        '{"x":[1,"a",{}]}',
        '{"id":1,"z":[1,"a"]}',
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\n")
    load("x.jsonl", ONE)
    found = (tmp_path / "x.jsonl").read_text().splitlines()
    assert found[:2] == lines[:2]
    assert found[2] == '{"id":1,"z":[1,"a"],"label":"positive","why":"é,\\n\\"x\\""}' and len(found) == 4


def test_an_upsert_into_a_huge_integer_row_keeps_it_exact(load, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"id":1,"y":123456789012345678901234567890}\n')
    load("x.jsonl", [{"id": 1, "label": "a"}])
    assert (tmp_path / "x.jsonl").read_text() == '{"id":1,"y":123456789012345678901234567890,"label":"a"}\n'


def test_columns_are_those_asked_for_in_that_order(load, rows_in):
    load("x.csv", ONE, columns=["label", "id", "_loom_run_id"])
    assert list(rows_in("x.csv")[0]) == ["label", "id", "_loom_run_id"]


def test_types_survive(load, tmp_path):
    row = {
        "id": 1,
        "d": Decimal("1.10"),
        "t": datetime(2026, 1, 2, tzinfo=UTC),
        "n": {"a": ["é", None]},
        "b": b"\x00",
        "long": "x" * (1 << 20),
    }
    schema = pa.schema(
        {
            "id": pa.int16(),
            "d": pa.decimal128(9, 2),
            "t": pa.timestamp("us", "UTC"),
            "n": pa.struct({"a": pa.list_(pa.string())}),
            "b": pa.binary(),
            "long": pa.large_string(),
        }
    )
    for _ in range(2):
        load("x.parquet", [row], schema=schema)
        table = pq.read_table(tmp_path / "x.parquet")
        assert table.schema.equals(schema) and table.to_pylist() == [row]


def test_default_mode_is_upsert_with_a_key_and_append_without(load, rows_in):
    load("k.csv", ONE)
    load("k.csv", ONE, fingerprint="g")
    assert len(rows_in("k.csv")) == 2
    load("n.csv", ONE, key=())
    load("n.csv", ONE, key=(), fingerprint="g")
    assert len(rows_in("n.csv")) == 4


def test_many_rows_across_batches(load, rows_in):
    rows = [{"id": i, "v": i} for i in range(30_000)]
    load("x.parquet", rows)
    load("x.parquet", [{"id": i, "v": -i} for i in reversed(range(1, 40_000, 3))])
    found = rows_in("x.parquet")
    assert [r["id"] for r in found[:30_000]] == list(range(30_000))
    assert all(r["v"] == (-r["id"] if r["id"] % 3 == 1 else r["id"]) for r in found)
    assert len(found) == 30_000 + len([i for i in range(1, 40_000, 3) if i >= 30_000])


def test_keys_of_several_columns(load, rows_in):
    load("x.parquet", [{"id": 1, "day": "a", "v": 1}, {"id": 1, "day": "b", "v": 2}], key=("id", "day"))
    load("x.parquet", [{"id": 1, "day": "b", "v": 3}], key=("id", "day"))
    assert [r["v"] for r in rows_in("x.parquet")] == [1, 3]


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_passed_still_makes_a_file(load, rows_in, form):
    schema = pa.schema({"id": pa.int64(), "label": pa.string()})
    assert load(f"x.{form}", [], schema=schema, mode="overwrite") == 0
    assert rows_in(f"x.{form}") == []
    load(f"x.{form}", [{"id": 1, "label": "a"}])
    assert rows_in(f"x.{form}") == [{"id": 1, "label": "a"}]


def test_other_file_systems_in_every_mode(load, rows_in):
    for mode in ("overwrite", "append", "upsert"):
        for _ in range(2):
            load(f"memory://load/{mode}.csv", ONE, mode=mode)
            assert rows_in(f"memory://load/{mode}.csv") == ONE
    fsspec.filesystem("memory").rm("/load", recursive=True)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ([{"id": 1, "v": "x"}], [{"id": 2, "v": 5}], "`v` is string in x.parquet and would become int64"),
        ([{"id": 1, "v": 1}], [{"id": 2, "v": 1.5}], "`v` is int64 in x.parquet and would become double"),
    ],
)
def test_a_change_of_type_is_refused_before_anything_is_written(load, tmp_path, before, after, message):
    load("x.parquet", before)
    data = (tmp_path / "x.parquet").read_bytes()
    for mode in ("append", "upsert"):
        with pytest.raises(Misconfigured, match=message):
            load("x.parquet", after, mode=mode)
    assert (tmp_path / "x.parquet").read_bytes() == data
    load("x.parquet", after, mode="overwrite")


def test_a_change_of_type_in_json_is_refused_and_numbers_are_numbers(load, rows_in):
    load("x.jsonl", [{"id": 1, "v": 1}])
    load("x.jsonl", [{"id": 2, "v": 1.5}])
    with pytest.raises(Misconfigured, match=r"`v` holds numbers in x\.jsonl and would get a text"):
        load("x.jsonl", [{"id": 3, "v": "x"}])
    assert [r["v"] for r in rows_in("x.jsonl")] == [1, 1.5]


def test_columns_of_nulls_and_structs_grow(load, rows_in):
    load("x.parquet", [{"id": 1, "v": None, "s": {"a": 1}}])
    load("x.parquet", [{"id": 2, "v": 5, "s": {"a": 2, "b": "x"}, "new": 1.5}])
    load("x.parquet", [{"id": 3, "v": None, "s": None}])
    assert rows_in("x.parquet") == [
        {"id": 1, "v": None, "s": {"a": 1, "b": None}, "new": None},
        {"id": 2, "v": 5, "s": {"a": 2, "b": "x"}, "new": 1.5},
        {"id": 3, "v": None, "s": None, "new": None},
    ]


def test_two_rows_of_a_destination_with_one_key_are_not_guessed_about(load, tmp_path):
    for name, data in (
        ("x.csv", "id,v\n1,a\n1,b\n2,c\n"),
        ("x.jsonl", '{"id":1,"v":"a"}\n{"id":1,"v":"b"}\n'),
    ):
        (tmp_path / name).write_text(data)
        with pytest.raises(Misconfigured, match="two rows with one key"):
            load(name, [{"id": 1, "v": "z"}])
        assert (tmp_path / name).read_text() == data
    load("x.csv", [{"id": 2, "v": "z"}])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.csv", "id,v\n1,a\nbroken\n", "a row that cannot be read"),
        ("x.jsonl", '{"id":1}\nbroken\n', "line 2 is not an object"),
        ("x.json", '[{"id":1},', "not valid JSON"),
        ("x.parquet", "hello", "not a readable Parquet file"),
    ],
)
def test_a_destination_that_cannot_be_read_is_left_alone(load, tmp_path, name, data, message):
    (tmp_path / name).write_text(data)
    for mode in ("append", "upsert"):
        with pytest.raises(Misconfigured, match=message):
            load(name, ONE, mode=mode)
        assert (tmp_path / name).read_text() == data
    assert sorted([p.name for p in (tmp_path).iterdir()]) == [".loom", name]


def test_what_cannot_be_asked_for(load):
    for options, message in (
        ({"columns": ["id", "lable"]}, "did you mean `label`?"),
        ({"columns": ["label"]}, "an upsert needs the key column `id`"),
        ({"key": (), "mode": "upsert"}, "needs a key"),
    ):
        with pytest.raises(Misconfigured) as caught:
            load("x.csv", ONE, **options)
        assert message in str(caught.value)
