"""Tables that are made and that evolve, and types that are kept on the way in."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest

from loom_dagster.errors import Misconfigured

EVERYTHING = pa.table(
    {
        "id": pa.array(["a", "b", "ü;'\"\\"]),
        "flag": pa.array([True, None, False]),
        "small": pa.array([1, None, -3], pa.int16()),
        "big": pa.array([2**62, None, -(2**63)]),
        "real": pa.array([0.1, None, -1e300]),
        "money": pa.array([Decimal("12.50"), None, Decimal("-0.01")], pa.decimal128(12, 2)),
        "exact": pa.array([Decimal("1" * 30), None, Decimal(0)], pa.decimal128(38, 4)),
        "day": pa.array([date(2026, 1, 2), None, date(1900, 2, 28)]),
        "at": pa.array([datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), None, datetime(1969, 12, 31, 23, 59, 59, 1, UTC)]),
        "local": pa.array([1767323045, None, 915148800], pa.timestamp("s")),
        "hour": pa.array([time(1, 2, 3, 4), None, time(23, 59)], pa.time64("us")),
        "raw": pa.array([b"\x00\xff'\\", None, b""]),
        "tags": pa.array([["x", None], None, []], pa.list_(pa.string())),
        "facts": pa.array([{"n": 1, "s": "ü"}, None, {"n": None, "s": ""}]),
        "word": pa.array(["x", None, "x"]).dictionary_encode(),
        "unknown": pa.nulls(3),
    }
)  # fmt: skip


def plain(value):
    """What databases and their drivers disagree about."""
    if isinstance(value, str) and value[:1] in "[{" and value:
        return json.loads(value)
    return value


@pytest.mark.parametrize("mode", ["upsert", "append", "overwrite"])
def test_types_are_kept(db, mode):
    for _ in range(2):
        db.load(EVERYTHING, mode=mode)
    names = [n for n in EVERYTHING.column_names if n != "unknown"]
    rows = {row[0]: dict(zip(names, map(plain, row), strict=True)) for row in db.rows(", ".join(names))}
    assert set(rows) == {"a", "b", "ü;'\"\\"}
    assert set(rows["b"].values()) == {"b", None}
    row = rows["a"]
    assert (row["flag"], row["small"], row["big"], row["real"]) == (True, 1, 2**62, 0.1)
    assert Decimal(str(row["money"])) == Decimal("12.50") and Decimal(str(row["exact"])) == Decimal("1" * 30)
    assert str(row["day"]) == "2026-01-02"
    assert str(row["at"]).replace("+00:00", "") == "2026-01-02 03:04:05.678901"
    assert str(row["local"])[:19] == "2026-01-02 03:04:05"
    assert str(row["hour"]) in ("01:02:03.000004", "1:02:03.000004")
    assert bytes(row["raw"]) == b"\x00\xff'\\" and bytes(rows["ü;'\"\\"]["raw"]) == b""
    assert row["tags"] == ["x", None] and row["facts"] == {"n": 1, "s": "ü"}
    assert rows["ü;'\"\\"]["real"] == -1e300 and rows["ü;'\"\\"]["big"] == -(2**63)
    assert str(rows["ü;'\"\\"]["at"]).replace("+00:00", "") == "1969-12-31 23:59:59.000001"


def test_new_columns_are_added_and_missing_ones_stay(db):
    db.load([{"id": 1, "v": "a"}, {"id": 2, "v": "b"}])
    db.load([{"id": 2, "w": 0.5}], snapshot="s2")
    assert db.rows("id, v, w") == [(1, "a", None), (2, "b", 0.5)]


def test_a_column_of_nulls_gets_its_type_when_values_come(db):
    db.load([{"id": 1, "v": "a", "w": None}])
    db.load([{"id": 2, "v": "b", "w": 7}], snapshot="s2")
    db.load([{"id": 3, "v": "c", "w": None}], snapshot="s3")
    assert db.rows("id, w") == [(1, None), (2, 7), (3, None)]


@pytest.mark.parametrize(
    ("kind", "value"), [("INTEGER", "text"), ("INTEGER", 0.5), ("FLOAT", "text"), ("VARCHAR(20)", 7), ("DATE", 7)]
)  # fmt: skip
def test_another_type_is_refused_with_the_statement_it_would_need(db, kind, value):
    db.run(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {kind})")
    with pytest.raises(Misconfigured) as refused:
        db.load([{"id": 1, "v": value, "new": 1}])
    assert "never changes the type" in str(refused.value)
    assert ("ALTER TABLE" in str(refused.value)) == (db.kind != "sqlite")
    assert db.run("SELECT * FROM t") == []
    with pytest.raises(Exception, match=r"new|column"):
        db.run("SELECT new FROM t")  # nothing was changed


@pytest.mark.parametrize(
    "kind",
    [pytest.param("postgres", marks=pytest.mark.service), pytest.param("mysql", marks=pytest.mark.service)],
)
def test_the_statement_works(database, kind):
    db = database(kind)
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY, `odd; ``name` INTEGER)" if kind == "mysql" else
           'CREATE TABLE t (id INTEGER PRIMARY KEY, "odd; ""name" INTEGER)')  # fmt: skip
    name = "odd; `name" if kind == "mysql" else 'odd; "name'
    with pytest.raises(Misconfigured) as refused:
        db.load([{"id": 1, name: "text"}])
    with db.engine.begin() as connection:
        connection.exec_driver_sql(refused.value.fix.partition("or: ")[2])
    assert db.load([{"id": 1, name: "text"}]).rows == 1


def test_widening_is_the_databases_own_affair(db):
    db.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a BIGINT, b DOUBLE PRECISION, c VARCHAR(5), d NUMERIC(12, 2))"
    )
    table = pa.table(
        {
            "id": pa.array([1], pa.int32()),
            "a": pa.array([7], pa.int8()),
            "b": pa.array([7]),
            "c": ["fits"],
            "d": [7],
        }
    )
    assert db.load(table).refused == []
    assert [float(x) if n != 3 else x for n, x in enumerate(db.rows("id, a, b, c, d")[0])] == [
        1,
        7,
        7,
        "fits",
        7,
    ]


def test_a_column_that_must_be_filled_is_said_before_anything(db):
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(20), must VARCHAR(20) NOT NULL, "
           "may VARCHAR(20) NOT NULL DEFAULT 'x')")  # fmt: skip
    with pytest.raises(Misconfigured, match=r"`must`.*no default"):
        db.load([{"id": 1, "v": "a"}])
    db.load([{"id": 1, "v": "a", "must": "b"}])
    assert db.rows("id, must, may") == [(1, "b", "x")]


@pytest.mark.service
def test_types_of_postgres(database):
    db = database("postgres")
    db.run("CREATE TYPE mood AS ENUM ('good', 'bad')",
           "CREATE TABLE t (id UUID PRIMARY KEY, mood mood, facts JSON, more JSONB, day DATE, at TIMESTAMP, c CHAR(3))")  # fmt: skip
    one, two = "6f9619ff-8b86-d011-b42d-00c04fc964ff", "not a uuid"
    rows = [
        {"id": i, "mood": m, "facts": {"a": 1}, "more": '{"b": 2}', "day": d, "at": datetime(2026, 1, 1, tzinfo=UTC), "c": "ab"}
        for i, m, d in ((one, "good", "2026-01-02"), (two, "good", "2026-01-02"),
                        (one.replace("6", "7"), "soso", "2026-01-02"), (one.replace("6", "8"), "bad", "yesterday week"))
    ]  # fmt: skip
    for _ in range(2):
        loaded = db.load(rows)
        assert loaded.rows == 1
        assert [r.record_id[:3] for r in loaded.refused] == ["not", "7f9", "8f9"]
        assert 'invalid input syntax for type uuid: "not a uuid"' in loaded.refused[0].reason
        assert db.rows("mood, facts, more, day, at, c") == [
            ("good", {"a": 1}, {"b": 2}, date(2026, 1, 2), datetime.fromisoformat("2026-01-01"), "ab ")
        ]


@pytest.mark.service
def test_keys_that_are_equal_to_the_database_are_one(database):
    db = database("mysql")
    db.run("CREATE TABLE t (id VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v VARCHAR(20))",
           "INSERT INTO t VALUES ('ONE', 'theirs')")  # fmt: skip
    loaded = db.load([{"id": "one", "v": "1"}, {"id": "One", "v": "2"}, {"id": "two", "v": "3"}])
    assert [(r.record_id, r.reason) for r in loaded.refused] == [
        ("One", "another row of this load has the same key")
    ]
    assert db.rows() == [("ONE", "1"), ("two", "3")]


@pytest.mark.service
def test_a_table_without_transactions_is_refused(database):
    db = database("mysql")
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(20)) ENGINE=MyISAM")
    with pytest.raises(Misconfigured, match="ENGINE=InnoDB"):
        db.load([{"id": 1, "v": "a"}])


def test_names_in_other_letters_are_the_same_column_where_the_database_says_so(database):
    db = database("sqlite")
    db.run("CREATE TABLE T (ID INTEGER PRIMARY KEY, V TEXT)")
    db.load([{"id": 1, "v": "a"}])
    assert db.rows() == [(1, "a")]
    with pytest.raises(Misconfigured, match="upper and lower case"):
        db.load([{"id": 1, "v": "a", "V": "b"}])
