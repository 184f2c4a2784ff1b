"""Names and values are data: nothing in them is SQL, nothing is cut, and no secret is told."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import sqlalchemy as sa

from loom_dagster.errors import Misconfigured
from tests.connectors.sql.loading.conftest import Database

NAMES = [
    'a"; DROP TABLE victim; --',
    "a'b`c",
    "100% %s %(x)s %%",
    ":id :1 ?",
    "straße 表",
    "select",
    "Two Words",
    "a.b[c](d)",
    "back\\slash",
]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, "upsert") for name in NAMES),
        *((name, mode) for name in NAMES[:3] for mode in ("append", "overwrite")),
    ],
)
def test_names_and_values_are_inert(db, name, mode):
    db.run("CREATE TABLE victim (id INTEGER)")
    key, table = f"k {name}", quote(name, safe="")
    values = [*NAMES, "\\", "\\N", "\\.", "", " ", "null", "\t\r\n", "🙂"]
    rows = [{key: value, name: value, "f": [{"x": value}]} for value in values]
    for n in range(3):
        more = {f"new {name}": "later"} if n == 2 else {}
        loaded = db.load([{**row, **more} for row in rows], table=table, mode=mode, key=(key,), snapshot=f"s{n}",
                         partition="" if mode == "upsert" else name, fingerprint=name)  # fmt: skip
        assert loaded.rows == len(values), loaded.refused
    found = sa.table(
        sa.quoted_name(name, True),
        sa.column(sa.quoted_name(key, True)),
        sa.column(sa.quoted_name(name, True)),
    )
    with db.engine.connect() as connection:
        there = sorted(map(tuple, connection.execute(sa.select(found))))
    assert there == sorted((value, value) for value in values)
    assert db.run("SELECT count(*) FROM victim") == [(0,)]


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        pytest.param("postgres", 63, marks=pytest.mark.service),
        pytest.param("mysql", 64, marks=pytest.mark.service),
    ],
)
def test_a_name_that_would_be_cut_is_refused(database, kind, longest):
    db = database(kind)
    letter = "ü" if kind == "mysql" else "x"
    db.load([{"id": 1, letter * longest: "a"}], table=quote(letter * longest))
    for table, column in (
        (letter * (longest + 1), "v"),
        ("t", letter * (longest + 1)),
        ("t", "ü" * (longest // 2 + 1) * 2),
    ):
        with pytest.raises(Misconfigured, match=r"would cut it.*shorter"):
            db.load([{"id": 1, column: "a"}], table=quote(table))
    with pytest.raises(Misconfigured, match="would cut it"):
        db.check(quote(letter * (longest + 1)), reach=False)


def test_our_own_tables_are_not_loaded(db):
    with pytest.raises(Misconfigured, match="choose another name"):
        db.load([{"id": 1}], table="_loom_loads")


@pytest.mark.service
def test_a_table_in_another_schema_has_its_own_side_tables(database):
    db = database("postgres")
    db.run('CREATE SCHEMA "My Schema"')
    for name in ("My%20Schema/t", "t"):
        db.load([{"id": 1, "v": "a"}], table=name, mode="append")
    assert (
        db.run('SELECT count(*) FROM "My Schema"._loom_loads')
        == [(1,)]
        == db.run("SELECT count(*) FROM _loom_marks")
    )
    assert db.run('SELECT id FROM "My Schema".t') == [(1,)]


@pytest.mark.service
@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_no_error_tells_the_password(database, kind):
    db = database(kind)
    word = db.server.password
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(4))")
    [one] = db.load([{"id": 1, "v": word}]).refused
    assert word not in one.reason
    wrong = Database(kind, db.url.replace(word, "another-word"))
    with pytest.raises(Misconfigured) as refused:
        wrong.load([{"id": 1, "v": "a"}])
    assert "another-word" not in str(refused.value)
    with pytest.raises(Misconfigured) as refused:
        wrong.check()
    assert "another-word" not in str(refused.value)


def test_checking_writes_nothing(db, tmp_path):
    db.check()
    db.check(schema={"v": "string", "facts": "object"})
    assert db.kind != "sqlite" or not (tmp_path / "x.db").exists()
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)")
    db.check(schema={"v": "integer", "new": "string"})
    with pytest.raises(Misconfigured, match="never changes the type"):
        db.check(schema={"v": "string"})
    assert db.run("SELECT * FROM t") == []


@pytest.mark.service
def test_checking_says_which_rights_are_missing(database):
    db = database("postgres")
    db.run("CREATE TABLE t (id INTEGER PRIMARY KEY)", "DROP ROLE IF EXISTS reader",
           "CREATE ROLE reader LOGIN PASSWORD 'word'", "GRANT SELECT, INSERT ON t TO reader")  # fmt: skip
    reader = Database("postgres", db.url.replace(f"loom:{db.server.password}", "reader:word"))
    with pytest.raises(Misconfigured, match="UPDATE, DELETE"):
        reader.check()
    with pytest.raises(Misconfigured, match="CREATE in schema public"):
        reader.check("new")
    with pytest.raises(Misconfigured, match="permission denied"):
        reader.load([{"id": 1}])
    db.run("DROP OWNED BY reader", "DROP ROLE reader")


def test_a_file_in_a_folder_that_is_not_there(tmp_path):
    db = Database("sqlite", f"sqlite:///{tmp_path}/no/x.db")
    with pytest.raises(Misconfigured, match="folder"):
        db.check()
