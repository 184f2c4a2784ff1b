"""A row that the database refuses is given back with its words; all others are loaded."""

from __future__ import annotations

import random
import re

import pyarrow as pa
import pytest
from sqlalchemy import event

from loom_dagster.connectors.sql import refusals
from loom_dagster.connectors.sql.engines import engine_of
from loom_dagster.errors import Misconfigured

GOOD = [{"id": i, "v": "good"} for i in range(200)]


def with_bad(bad, rows=GOOD):
    return [{**row, **bad.get(row["id"], {})} for row in rows]


def refused(loaded):
    return {r.record_id: r.reason for r in loaded.refused}


@pytest.mark.parametrize("mode", ["upsert", "append", "overwrite"])
def test_the_rest_is_loaded(db, mode):
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(20), CONSTRAINT short CHECK (v <> 'bad'))",
           "INSERT INTO t VALUES (1000, 'theirs')")  # fmt: skip
    rows = with_bad({n: {"v": "bad"} for n in (0, 57, 58, 199)})
    for _ in range(2):
        loaded = db.load(rows, mode=mode, at_once=50)
        assert loaded.rows == 196
        assert list(refused(loaded)) == ["0", "57", "58", "199"]
        assert all("short" in reason and "\n" not in reason for reason in refused(loaded).values())
        assert len(db.rows()) == 196 + (mode != "overwrite")
    assert db.load(GOOD, mode=mode, snapshot="s2").refused == []
    assert len(db.rows()) == 200 + (mode != "overwrite")


CASES = {
    "too long": ("v VARCHAR(5)", {"v": "too long for it"}, r"(?i)too long"),
    "out of range": ("v VARCHAR(20), n SMALLINT", {"n": 2**40}, r"(?i)out of range"),
    "foreign key": ("v VARCHAR(20), n INTEGER REFERENCES other (id)", {"n": 77}, r"(?i)foreign key"),
    "unique": ("v VARCHAR(20) UNIQUE", {"v": "taken"}, r"(?i)unique|duplicate entry"),
    "null": ("v VARCHAR(20) NOT NULL", {"v": None}, r"(?i)null"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_refusal(db, case):
    columns, bad, words = CASES[case]
    if db.kind == "sqlite" and case in ("too long", "out of range"):
        pytest.skip("SQLite takes them")
    if db.kind == "mysql":
        columns = columns.replace("REFERENCES other (id)", ", FOREIGN KEY (n) REFERENCES other (id)")
    db.run("CREATE TABLE other (id INTEGER PRIMARY KEY)", f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})",
           "INSERT INTO t (id, v) VALUES (1000, 'taken')")  # fmt: skip
    rows = with_bad({3: bad, 17: bad}, [{"id": i, "v": f"v{i}", "n": None} for i in range(20)])
    schema = pa.schema([("id", pa.int64()), ("v", pa.string()), ("n", pa.int64())])
    table = pa.Table.from_pylist(rows, schema).select(["id", "v", *(["n"] if "n " in columns else [])])
    loaded = db.load(table)
    assert list(refused(loaded)) == ["3", "17"]
    assert all(re.search(words, reason) for reason in refused(loaded).values()), loaded.refused
    assert db.run("SELECT count(*) FROM t") == [(19,)]


def test_an_update_that_takes_the_value_of_another_row_changes_neither(db):
    db.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(20) UNIQUE)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    )
    loaded = db.load([{"id": 1, "v": "b"}, {"id": 3, "v": "c"}])
    assert list(refused(loaded)) == ["1"]
    assert db.rows() == [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.service
def test_a_nul_in_a_text_of_postgres(database):
    loaded = (db := database("postgres")).load(with_bad({7: {"v": "a\0b"}}), at_once=50)
    assert refused(loaded) == {"7": 'invalid byte sequence for encoding "UTF8": 0x00'}
    assert len(db.rows()) == 199
    loaded = db.load([{"id": 1, "f": {"x": "\0"}}, {"id": 2, "f": {"x": "y"}}], table="u")
    assert list(refused(loaded)) == ["1"] and db.run("SELECT id FROM u") == [(2,)]


@pytest.mark.service
def test_a_key_that_is_too_long_for_an_index(database):
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    for kind in ("postgres", "mysql"):
        db = database(kind)
        loaded = db.load([{"id": "short", "v": "a"}, {"id": long, "v": "b"}])
        assert list(refused(loaded)) == [long] and db.rows() == [("short", "a")]


@pytest.mark.service
def test_what_mysql_has_no_value_for(database):
    db = database("mysql")
    packet = db.run("SELECT @@max_allowed_packet")[0][0]
    loaded = db.load(
        [
            {"id": 1, "v": "a", "n": float("nan")},
            {"id": 2, "v": "x" * packet, "n": 1.0},
            {"id": 3, "v": "b", "n": 2.0},
        ]
    )
    assert list(refused(loaded)) == ["1", "2"]
    assert "max_allowed_packet" in refused(loaded)["2"]
    assert db.rows() == [(3, "b")]
    db.run("SET GLOBAL sql_mode = ''")  # a server that cuts in silence
    try:
        db.run("CREATE TABLE u (id INTEGER PRIMARY KEY, v VARCHAR(3))")
        assert list(refused(db.load([{"id": 1, "v": "abcdef"}, {"id": 2, "v": "abc"}], table="u"))) == ["1"]
    finally:
        db.run("SET GLOBAL sql_mode = DEFAULT")


@pytest.mark.service
def test_a_constraint_that_waits_for_the_end_and_a_trigger_refuse_at_once(database):
    db = database("postgres")
    db.run("CREATE TABLE other (id INTEGER PRIMARY KEY)",
           "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n INTEGER REFERENCES other (id) DEFERRABLE INITIALLY DEFERRED)",
           "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 'bad' THEN RAISE EXCEPTION 'not today'; END IF; RETURN NEW; END $$",
           "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()")  # fmt: skip
    loaded = db.load(
        [{"id": 1, "v": "a", "n": 5}, {"id": 2, "v": "bad", "n": None}, {"id": 3, "v": "c", "n": None}]
    )
    assert list(refused(loaded)) == ["1", "2"] and refused(loaded)["2"] == "not today"
    assert db.rows() == [(3, "c")]


def test_a_table_that_refuses_everything_is_left_alone(db, monkeypatch):
    monkeypatch.setattr(refusals, "MOST", 50)
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(20), CHECK (v <> 'good'))",
           "INSERT INTO t VALUES (1000, 'theirs')")  # fmt: skip
    with pytest.raises(Misconfigured, match="more than 50 rows"):
        db.load(GOOD, mode="overwrite")
    assert db.rows() == [(1000, "theirs")]


@pytest.mark.service
def test_what_is_not_a_rows_fault_loads_nothing(database):
    db = database("postgres")
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, 'theirs')",
           "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM nowhere; RETURN NEW; END $$",
           "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()")  # fmt: skip
    with pytest.raises(Misconfigured, match=r'relation "nowhere" does not exist'):
        db.load(GOOD)
    assert db.rows() == [(1, "theirs")]


def statements(db):
    seen = []
    event.listen(engine_of(db.connection), "before_cursor_execute", lambda *a: seen.append(a[2]))
    return seen


def test_no_row_is_loaded_alone_while_none_is_refused(db):
    seen = statements(db)
    db.load(GOOD[:2])
    few = len(seen)
    seen.clear()
    db.load([{"id": i, "v": "x"} for i in range(5000)], at_once=4096, snapshot="s2")
    assert len(seen) <= few + 2
