"""A database of a kind that has no module of its own: its first rows tell the types."""

from __future__ import annotations

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from loom_dagster.connectors import Window
from loom_dagster.errors import Misconfigured
from tests.connectors.sql.reading import Database


class Other(SQLiteDialect_pysqlite):
    """Another name for what is there anyway."""

    name = "other"
    supports_statement_cache = True


@pytest.fixture
def shop(tmp_path):
    registry.impls["other"] = lambda: Other
    engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db", poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE reviews (id INTEGER PRIMARY KEY, n, text, missing)")
        rows = [(n, 1.5, f"review {n}", None) for n in range(2000, 0, -1)]
        connection.exec_driver_sql("INSERT INTO reviews VALUES (?, ?, ?, ?)", rows)
        connection.exec_driver_sql("UPDATE reviews SET n = 'many', text = 7 WHERE id = 1500")
    yield Database(f"other:///{tmp_path}/shop.db")
    del registry.impls["other"]


def test_types_are_those_of_the_first_rows_and_what_does_not_fit_is_kept_apart(shop):
    with shop.open() as found:
        assert dict(zip(found.schema.names, found.schema.types, strict=True)) == {
            "id": pa.int64(),
            "n": pa.float64(),
            "text": pa.string(),
            "missing": pa.string(),
        }
        chunks = list(found.chunks())
    assert sum(chunk.rows for chunk in chunks) == 2000
    [bad] = [row for chunk in chunks for row in chunk.unreadable]
    assert bad.raw == '{"id":1500,"missing":null,"n":"many","text":7}' and "`n` holds 'many'" in bad.reason


def test_keys_windows_limits_and_placeholders(shop):
    query = "SELECT * FROM reviews WHERE id > {{ params.x }} ORDER BY id DESC"
    assert shop.query(query, values={"params.x": 1997}, columns=["id"]) == [
        {"id": n} for n in (2000, 1999, 1998)
    ]
    window = Window(column="id", start=10, end=20)
    rows = shop.query(query, values={"params.x": 5}, key="id", window=window, limit=2)
    assert [row["id"] for row in rows] == [10, 11]


def test_two_columns_of_one_name_are_refused(shop):
    with pytest.raises(Misconfigured, match="two columns called `a`"):
        shop.query("SELECT 1 AS a, 2 AS a")
