"""What append, overwrite and upsert leave in a table, however often they are done."""

from __future__ import annotations

import pyarrow as pa
import pytest

from loom_dagster.connectors import Shipment
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Load
from tests.connectors.sql.loading.conftest import Incoming

OLD = [{"id": i, "v": "old"} for i in range(5)]
NEW = [{"id": i, "v": "new"} for i in range(3, 8)]
LATER = [{"id": i, "v": "later"} for i in (5, 6)]
PARTS = "id, v, _loom_partition"


def ids(db):
    return [row[0] for row in db.rows()]


def test_upsert_makes_the_table_and_replaces_rows_of_an_equal_key(db):
    assert db.load(OLD).rows == 5
    for _ in range(2):
        assert db.load(NEW, snapshot="s2").rows == 5
        assert db.rows() == [(0, "old"), (1, "old"), (2, "old"), *[(i, "new") for i in range(3, 8)]]


def test_upsert_leaves_other_columns_alone(db):
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(20), mine VARCHAR(20) DEFAULT 'x')",
           "INSERT INTO t VALUES (0, 'theirs', 'kept')")  # fmt: skip
    db.load(OLD)
    assert db.rows("id, v, mine")[:2] == [(0, "old", "kept"), (1, "old", "x")]


@pytest.mark.parametrize("mode", ["upsert", "append", "overwrite"])
def test_a_load_of_nothing_makes_the_table(db, mode):
    schema = pa.schema([("id", pa.int64()), ("v", pa.string())])
    assert db.load(schema.empty_table(), mode=mode).rows == 0
    assert db.rows() == []


def test_a_key_of_several_columns(db):
    rows = [{"a": a, "b": b, "v": "1"} for a in ("x", "y") for b in (1, 2)]
    db.load(rows, key=("a", "b"))
    db.load([{"a": "x", "b": 2, "v": "2"}, {"a": "x", "b": 3, "v": "2"}], key=("a", "b"), snapshot="s2")
    assert db.rows("a, b, v") == [("x", 1, "1"), ("x", 2, "2"), ("x", 3, "2"), ("y", 1, "1"), ("y", 2, "1")]


def test_a_table_whose_columns_are_all_key(db):
    for _ in range(2):
        db.load([{"id": 1}, {"id": 2}])
    assert db.rows("id") == [(1,), (2,)]


def test_upsert_into_a_table_without_a_unique_index(db):
    db.run("CREATE TABLE t (id INTEGER, v VARCHAR(20))", "INSERT INTO t VALUES (3, 'theirs')")
    for _ in range(2):
        db.load(OLD)
        assert db.rows() == [(i, "old") for i in range(5)]
    db.run("INSERT INTO t VALUES (3, 'again')")
    with pytest.raises(Misconfigured, match="two rows of one key"):
        db.load(NEW, snapshot="s2")
    assert len(db.rows()) == 6
    db.load([{"id": 1, "v": "other"}], snapshot="s3")  # the repeated key is not touched
    assert (1, "other") in db.rows()


def test_append_adds_a_record_once_per_fingerprint(db):
    for snapshot in ("s1", "s1", "s2"):
        assert db.load(OLD, mode="append", snapshot=snapshot).rows == 5
        assert ids(db) == [0, 1, 2, 3, 4]
    db.load(NEW, mode="append", snapshot="s3")
    assert ids(db) == [0, 1, 2, 3, 4, 5, 6, 7]
    db.load(OLD[:1], mode="append", fingerprint="g")
    assert ids(db) == [0, 0, 1, 2, 3, 4, 5, 6, 7]


def test_append_adds_to_rows_that_were_there(db):
    db.run("CREATE TABLE t (id INTEGER, v VARCHAR(20))", "INSERT INTO t VALUES (3, 'theirs')")
    for _ in range(2):
        db.load(OLD, mode="append")
        assert ids(db) == [0, 1, 2, 3, 3, 4]


def test_a_table_that_was_emptied_or_dropped_by_hand_is_filled_again(db):
    for statement in ("DELETE FROM t", "DROP TABLE t"):
        db.load(OLD, mode="append")
        db.run(statement)
        db.load(OLD, mode="append")
        assert ids(db) == [0, 1, 2, 3, 4]


def test_rows_removed_by_hand_stay_away(db):
    db.load(OLD, mode="append")
    db.run("DELETE FROM t WHERE id = 0")
    db.load(OLD, mode="append")
    assert ids(db) == [1, 2, 3, 4]


def test_two_tables_of_one_database_do_not_share_marks(db):
    db.load(OLD, mode="append")
    db.load(OLD, mode="append", table="u")
    assert len(db.rows(table="u")) == 5


def test_overwrite_replaces_everything(db):
    db.run("CREATE TABLE t (id INTEGER, v VARCHAR(20))", "INSERT INTO t VALUES (99, 'theirs')")
    for rows in (OLD, NEW, NEW):
        db.load(rows, mode="overwrite")
        assert db.rows() == [(row["id"], row["v"]) for row in rows]


@pytest.mark.parametrize("mode", ["append", "overwrite", "upsert"])
def test_a_partition_is_replaced_alone_whatever_the_mode(db, mode):
    db.load(OLD, mode=mode, partition="a")
    db.load(LATER, mode=mode, partition="b")
    for _ in range(2):
        changed = [{"id": 0, "v": "changed"}, {"id": 9, "v": "new"}]
        db.load(changed, mode=mode, partition="a", snapshot="s2", fingerprint="g")
        assert ids(db) == [0, 5, 6, 9]
        assert (0, "changed", "a") in db.rows(PARTS)
    db.load(pa.Table.from_pylist(LATER).slice(0, 0), mode=mode, partition="b", snapshot="s2")
    assert ids(db) == [0, 9]
    db.load(OLD, mode="overwrite", snapshot="s3")  # without a partition: everything
    assert ids(db) == [0, 1, 2, 3, 4]


def test_a_row_that_moves_to_another_partition_stays_when_the_first_is_loaded_again(db):
    db.load(OLD, partition="a")
    db.load([{"id": 4, "v": "moved"}], partition="b")
    db.load(OLD[:2], partition="a", snapshot="s2")
    assert [(row[0], row[2]) for row in db.rows(PARTS)] == [(0, "a"), (1, "a"), (4, "b")]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_partition_leaves_rows_that_were_there(db, mode):
    db.run("CREATE TABLE t (id INTEGER, v VARCHAR(20))", "INSERT INTO t VALUES (99, 'theirs')")
    for _ in range(2):
        db.load(OLD, mode=mode, partition="a")
        assert ids(db) == [0, 1, 2, 3, 4, 99]


def test_modes_can_be_mixed(db):
    db.load(OLD, mode="append")
    db.load(NEW, mode="overwrite")
    db.load(OLD, mode="append")
    assert ids(db) == [0, 1, 2, 3, 4, 5, 6, 7]
    db.load([{"id": 9, "v": "upserted"}])
    db.load([{"id": 9, "v": "again"}], mode="append")
    assert [v for i, v in db.rows() if i == 9] == ["upserted"]


def test_the_manifest_has_a_line_a_shipment(db):
    for _ in range(2):
        db.load(OLD, mode="append", partition="p1", snapshot="s1", fingerprint="f1")
    db.load(NEW, snapshot="s2", fingerprint="f2")
    lines = db.run(
        "SELECT pipeline, target, `partition`, snapshot, fingerprint, mode, `rows`, loaded_at FROM _loom_loads ORDER BY id"
    )
    assert [line[:7] for line in lines] == [
        ("p", "t", "p1", "s1", "f1", "append", 5),
        ("p", "t", "", "s2", "f2", "upsert", 5),
    ]
    assert all(line[7] for line in lines)


def test_readers_see_the_old_rows_until_all_is_done(db):
    db.load(OLD, mode="overwrite")
    seen = []

    class Watched(Incoming):
        def with_ids(self):
            for one in super().with_ids():
                seen.append(len(db.rows()))
                yield one

    incoming = Watched(pa.Table.from_pylist(NEW[:2]), 1)
    shipment = Shipment(
        incoming=incoming, mode="overwrite", key=(), pipeline="p", snapshot="s", fingerprint="f"
    )
    db.destination.load(db.place(), Load(destination="x"), shipment)
    assert seen == [5, 5]
    assert len(db.rows()) == 2
