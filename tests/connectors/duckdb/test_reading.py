from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from loom_dagster.connections import Connection
from loom_dagster.connectors import Wanted, Window, place_of, source_at
from loom_dagster.errors import Misconfigured, Transient
from loom_dagster.spec.models import Extract

URI = "duckdb:///shop.duckdb/reviews"


@pytest.fixture
def rows(tmp_path):
    """Opens the source and reads all of it twice."""

    def read(uri=URI, *, window=None, connections=None, values=None, **extract):
        place = place_of(uri, tmp_path, table="pipeline", connections=connections)
        wanted = Wanted(extract=Extract(source=uri, **extract), window=window, values=values or {}, rows=1000)
        source = source_at(place).open(place, wanted)
        first, again = ([row for c in source.chunks() for row in c.table.to_pylist()] for _ in range(2))
        assert first == again
        assert all(c.table.schema == source.schema for c in source.chunks())
        source.close()
        return first

    return read


def test_types_are_kept_and_odd_ones_are_text(rows, ask):
    ask(
        "CREATE TABLE reviews AS SELECT 1::UTINYINT AS id, 1.50::DECIMAL(9, 2) AS d, DATE '2026-01-01' AS day, "
        "TIMESTAMPTZ '2026-01-01 12:00:00+02' AS at, {'a': [1, 2]} AS s, 'x'::ENUM ('x', 'y') AS e, "
        "UUID '0b8f9c1e-0000-4000-8000-000000000000' AS u, INTERVAL 1 MONTH AS i, '{\"k\": 1}'::JSON AS j, "
        "2::HUGEINT AS h, NULL AS n, 'b'::BLOB AS b, union_value(k := 1) AS un"
    )
    assert rows() == [
        {
            "id": 1,
            "d": Decimal("1.50"),
            "day": date(2026, 1, 1),
            "at": datetime(2026, 1, 1, 10, tzinfo=UTC),
            "s": {"a": [1, 2]},
            "e": "x",
            "u": "0b8f9c1e-0000-4000-8000-000000000000",
            "i": "1 month",
            "j": '{"k": 1}',
            "h": Decimal(2),
            "n": None,
            "b": b"b",
            "un": "1",
        }
    ]


def test_columns_windows_queries_and_limits(rows, ask):
    ask(
        "CREATE TABLE reviews AS SELECT i AS id, 'review ' || i AS text, DATE '2026-01-01' + i::INT AS day FROM range(5000) r(i)"
    )
    assert [r["id"] for r in rows()] == list(range(5000))
    window = Window(column="day", start=date(2026, 1, 3), end=date(2026, 1, 5))
    assert rows(window=window, columns=["id"]) == [{"id": 2}, {"id": 3}]
    assert rows(limit=1, columns="text") == [{"text": "review 0"}]
    query = "SELECT id % 3 AS rest, count(*) AS n FROM reviews GROUP BY 1 ORDER BY 1 -- thirds\n;"
    assert rows(query=query) == [{"rest": 0, "n": 1667}, {"rest": 1, "n": 1667}, {"rest": 2, "n": 1666}]
    assert rows(query="SELECT id, day FROM reviews", window=window, limit=1) == [
        {"id": 2, "day": date(2026, 1, 3)}
    ]


def test_values_of_a_query_are_bound(rows, ask, tmp_path):
    ask("CREATE TABLE reviews AS SELECT i AS id, 'review ' || i AS text FROM range(9) r(i)")
    query = "SELECT id, {{ params.what }} AS what FROM reviews WHERE text = {{ params.what }} OR id < {{ params.n }} -- $$'"
    evil = "x' OR true; DROP TABLE reviews; --"
    assert rows(query=query, values={"params.what": evil, "params.n": 2, "other": 1}) == [
        {"id": 0, "what": evil},
        {"id": 1, "what": evil},
    ]
    assert rows(query="SELECT '{}' AS a, $$it's$$ AS b, 1 AS c", values={}) == [
        {"a": "{}", "b": "it's", "c": 1}
    ]
    place = place_of(URI, tmp_path)
    source_at(place).check(
        place, Extract(source=URI, query=query), reach=False
    )  # before the values are known
    for wrong, message in (
        ("SELECT '{{ params.x }}' AS a", "stands in quotes"),
        ("SELECT {{ params.x }} AS a", "has no value"),
        ("SELECT 1 AS a; SELECT 2 AS b", "several statements"),
        ("DROP TABLE reviews", "does not read"),
    ):
        with pytest.raises(Misconfigured, match=message):
            rows(query=wrong)


def test_a_connection_names_the_file_and_the_pipeline_the_table(rows, ask, tmp_path):
    ask("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS id; CREATE TABLE pipeline AS SELECT 2 AS id")
    for url in ("duckdb:///shop.duckdb", f"duckdb:///{tmp_path}/shop.duckdb"):
        known = {"shop": Connection(name="shop", url=url)}
        assert rows("duckdb://shop/s/t", connections=known) == [{"id": 1}]
        assert rows("duckdb://shop", connections=known) == [{"id": 2}]


@pytest.mark.parametrize(
    ("uri", "extract", "message"),
    [
        ("duckdb:///none.duckdb/reviews", {}, "none.duckdb does not exist"),
        ("duckdb:///shop.duckdb/none", {}, "Table with name none does not exist"),
        ("duckdb:///text.duckdb/reviews", {}, "not a valid DuckDB database"),
        (URI, {"columns": ["nope"]}, "has no column `nope`"),
        (URI, {"query": "SELECT id FROM wanted"}, "wanted does not exist"),  # a variable of ours is no table
        (URI, {"query": "SELECT 1 AS id) AS x; DROP TABLE reviews; --"}, "several statements"),
        (URI, {"query": "INSERT INTO reviews VALUES (1)"}, "does not read"),
        (URI, {"query": "WITH x AS (SELECT 1 AS id) INSERT INTO reviews FROM x"}, "cannot be read"),
        ("duckdb://postgres/x", {}, "is not a DuckDB file"),
    ],
)
def test_what_is_wrong_is_known_when_it_is_opened(rows, ask, tmp_path, uri, extract, message):
    ask("CREATE TABLE reviews AS SELECT 1 AS id")
    (tmp_path / "text.duckdb").write_text("hello, this is no database at all" * 200)
    known = {"postgres": Connection(name="postgres", url="postgresql://u:secret@h/d")}
    with pytest.raises(Misconfigured, match=message) as caught:
        rows(uri, connections=known, **extract)
    assert "secret" not in str(caught.value)
    assert ask("FROM reviews") == [(1,)]


def test_a_file_that_is_being_written_is_waited_for(rows, ask, tmp_path):
    ask("CREATE TABLE reviews AS SELECT 1 AS id")
    holding = "import duckdb, sys; c = duckdb.connect('shop.duckdb'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holding], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(Transient, match="another process or run"):
            rows()
        other.stdin.close()
        other.wait()
    assert rows() == [{"id": 1}]


READING = """
import resource
from pathlib import Path
from loom_dagster.connectors import Wanted, place_of, source_at
from loom_dagster.spec.models import Extract

place = place_of("duckdb:///shop.duckdb/reviews", Path.cwd())
chunks = source_at(place).open(place, Wanted(extract=Extract(source=place.uri))).chunks()
next(chunks)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sum(chunk.rows for chunk in chunks), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.slow
def test_rows_are_streamed(ask, tmp_path):
    ask("CREATE TABLE reviews AS SELECT i AS id, repeat('text ', 60) || i AS text FROM range(2000000) r(i)")
    done = subprocess.run(
        [sys.executable, "-c", READING], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    rows, grown = map(int, done.stdout.split())
    assert rows > 1_990_000 and grown < 150  # MB; all rows together are 600
