"""PostgreSQL as a source: its types, its order, and what is read of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest

from loom_dagster.connectors import Window
from loom_dagster.errors import Misconfigured
from tests.connectors.sql.reading import Database

pytestmark = pytest.mark.service

REVIEWS = (
    "CREATE TABLE reviews (id int PRIMARY KEY, text text, stars smallint, created_at timestamptz)",
    "INSERT INTO reviews SELECT g, 'review ' || g, g % 5, timestamptz '2026-01-01 00:00Z' + g * interval '1 hour' FROM generate_series(50, 1, -1) g",
)
TYPES = """
    SELECT 1::smallint AS a, 2::int AS b, 3::bigint AS c, 1.5::real AS d, 2.5::float8 AS e, true AS f,
        12.30::numeric(10, 2) AS g, 1.10::numeric AS h, 'x'::varchar(3) AS i, 'y'::char(3) AS j, 'z'::text AS k,
        '2026-02-03'::date AS l, '2026-02-03 04:05:06.000007'::timestamp AS m,
        '2026-02-03 04:05:06+02'::timestamptz AS n, '04:05:06'::time AS o,
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS p, '{"a": [1]}'::jsonb AS q, '{"b":  2}'::json AS r,
        '\\x0102'::bytea AS s, '{1,NULL,3}'::int[] AS t, '{a,b}'::text[] AS u, '{1.50}'::numeric(5,2)[] AS v,
        '10.0.0.1'::inet AS w, interval '1 day 2 hours' AS x, int4range(1, 5) AS y, 7::oid AS z, 'ok'::mood AS aa,
        ARRAY['ok'::mood] AS ab, '<a/>'::xml AS ac, point(1, 2) AS ad, B'101' AS ae, NULL AS af, 5::positive AS ag
"""


@pytest.fixture
def shop(postgres):
    return Database(postgres.database())


def test_types_stay_what_they_are(shop):
    shop.run("CREATE TYPE mood AS ENUM ('ok', 'bad')", "CREATE DOMAIN positive AS int CHECK (value > 0)")
    with shop.open("", query=TYPES) as found:
        kinds = dict(zip(found.schema.names, found.schema.types, strict=True))
        [row] = [row for chunk in found.chunks() for row in chunk.table.to_pylist()]
    expected = {
        "a": (pa.int16(), 1),
        "b": (pa.int32(), 2),
        "c": (pa.int64(), 3),
        "d": (pa.float32(), 1.5),
        "e": (pa.float64(), 2.5),
        "f": (pa.bool_(), True),
        "g": (pa.decimal128(10, 2), Decimal("12.30")),
        "h": (pa.string(), "1.10"),
        "i": (pa.string(), "x"),
        "j": (pa.string(), "y  "),
        "k": (pa.string(), "z"),
        "l": (pa.date32(), date(2026, 2, 3)),
        "m": (pa.timestamp("us"), datetime(2026, 2, 3, 4, 5, 6, 7)),  # noqa: DTZ001 - it has none
        "n": (pa.timestamp("us", "UTC"), datetime(2026, 2, 3, 2, 5, 6, tzinfo=UTC)),
        "o": (pa.time64("us"), time(4, 5, 6)),
        "p": (pa.string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        "q": (pa.string(), '{"a": [1]}'),
        "r": (pa.string(), '{"b":  2}'),
        "s": (pa.binary(), b"\x01\x02"),
        "t": (pa.list_(pa.int32()), [1, None, 3]),
        "u": (pa.list_(pa.string()), ["a", "b"]),
        "v": (pa.list_(pa.string()), ["1.50"]),
        "w": (pa.string(), "10.0.0.1/32"),
        "x": (pa.string(), "1 day 02:00:00"),
        "y": (pa.string(), "[1,5)"),
        "z": (pa.int64(), 7),
        "aa": (pa.string(), "ok"),
        "ab": (pa.list_(pa.string()), ["ok"]),
        "ac": (pa.string(), "<a/>"),
        "ad": (pa.string(), "(1,2)"),
        "ae": (pa.string(), "101"),
        "af": (pa.string(), None),
        "ag": (pa.int32(), 5),
    }
    assert kinds == {name: kind for name, (kind, _) in expected.items()}
    assert row == {name: value for name, (_, value) in expected.items()}


def test_a_row_that_arrow_cannot_hold_is_kept_apart_whole(shop):
    shop.run(
        "CREATE TABLE reviews (id int PRIMARY KEY, at timestamptz, day date, price numeric(8,2), tags int[])",
        "INSERT INTO reviews VALUES (1, 'infinity', NULL, 1, '{1}'), (2, '2026-01-01', '-infinity', 1, '{1}'), "
        "(3, '2026-01-01', NULL, 'NaN', '{1}'), (4, '2026-01-01', NULL, 1, '{{1,2},{3,4}}'), "
        "(5, '2026-01-01', '2026-01-01', 1.25, '{}'), (6, NULL, NULL, NULL, NULL)",
    )
    [chunk] = shop.chunks()
    assert chunk.table.column("id").to_pylist() == [5, 6]
    assert [(row.offset, row.reason.split("`")[1]) for row in chunk.unreadable] == [
        (0, "at"), (1, "day"), (2, "price"), (3, "tags"),
    ]  # fmt: skip
    assert '"at": "infinity"' in chunk.unreadable[0].raw and "[[1, 2], [3, 4]]" in chunk.unreadable[3].raw


def test_a_key_is_the_order_and_the_primary_key_where_there_is_none(shop):
    shop.run(*REVIEWS)
    assert [row["id"] for row in shop.rows()] == list(range(1, 51))
    assert [row["stars"] for row in shop.rows(key="stars")] == sorted(n % 5 for n in range(1, 51))


def test_a_query_without_a_key_keeps_its_own_order(shop):
    shop.run(*REVIEWS)
    rows = shop.query("SELECT id FROM reviews ORDER BY stars DESC, id DESC LIMIT 3; -- the worst last")
    assert [row["id"] for row in rows] == [49, 44, 39]


def test_columns_and_limit(shop):
    shop.run(*REVIEWS)
    assert shop.rows(columns=["text", "id"], key="id", limit=2) == [
        {"text": "review 1", "id": 1},
        {"text": "review 2", "id": 2},
    ]
    with pytest.raises(Misconfigured, match=r"leaves out `id`, which the key or the cursor needs \(add `id`"):
        shop.rows(columns=["text"], key="id")
    with pytest.raises(Misconfigured, match=r"leaves out `created_at`"):
        shop.rows(columns=["text"], incremental={"cursor": "created_at"})
    with pytest.raises(Misconfigured, match=r"no column `txt`.*`extract.columns`.*did you mean `text`"):
        shop.rows(columns=["txt"])


def test_a_window_holds_whatever_the_query_says(shop):
    shop.run(*REVIEWS)
    window = Window(
        column="created_at",
        start=datetime(2026, 1, 1, 3, tzinfo=UTC),
        end=datetime(2026, 1, 1, 5, tzinfo=UTC),
    )
    assert [row["id"] for row in shop.rows(window=window)] == [3, 4]
    query = "SELECT * FROM reviews WHERE id < 4 OR id > 0"
    assert [row["id"] for row in shop.query(query, window=window)] == [4, 3]
    assert [row["id"] for row in shop.query(query, window=Window(column="id", start=49))] == [50, 49]
    with pytest.raises(
        Misconfigured, match=r"no column `created`, which the window.*did you mean `created_at`"
    ):
        shop.rows(window=Window(column="created", start=1))


@pytest.mark.parametrize(
    ("kind", "stored"), [("timestamptz", "2026-01-01 03:00Z"), ("timestamp", "2026-01-01 03:00"), ("date", "2026-01-02"), ("text", "2026-01-01 03:00:00+00:00")]
)  # fmt: skip
def test_a_moment_is_compared_with_any_kind_of_time(shop, kind, stored):
    shop.run(f"CREATE TABLE reviews (at {kind})", f"INSERT INTO reviews VALUES ('{stored}')")
    start, end = datetime(2026, 1, 1, 3, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    assert len(shop.rows(window=Window(column="at", start=start, end=end))) == 1
    assert not shop.rows(window=Window(column="at", start=end))
    assert (
        len(
            shop.query(
                "SELECT * FROM reviews WHERE at >= {{ execution_date }}", values={"execution_date": start}
            )
        )
        == 1
    )


def test_two_columns_of_one_name_are_refused(shop):
    with pytest.raises(Misconfigured, match=r"two columns called `a` \(give one another name"):
        shop.query("SELECT 1 AS a, 2 AS a")


def test_chunks_are_as_small_as_wanted(shop):
    shop.run(*REVIEWS)
    assert [chunk.rows for chunk in shop.chunks(rows=20)] == [20, 20, 10]


def test_tables_of_other_schemas_and_with_strange_names(shop):
    shop.run(
        'CREATE SCHEMA "Etc"',
        'CREATE TABLE "Etc"."my reviews" ("a""b;--" int, "ünï %s :x" int, "_loom_rows" int)',
        'INSERT INTO "Etc"."my reviews" VALUES (1, 2, 3)',
    )
    assert shop.rows("Etc/my%20reviews") == [{'a"b;--': 1, "ünï %s :x": 2, "_loom_rows": 3}]
    assert shop.rows("Etc/my%20reviews", key='a"b;--', window=Window(column="ünï %s :x", start=1))


def test_a_table_that_is_not_there_is_named_with_the_nearest_one(shop):
    shop.run(*REVIEWS)
    with pytest.raises(Misconfigured, match=r"no table `reviws` \(did you mean `reviews`"):
        shop.rows("reviws")


def test_nothing_can_be_changed_by_reading(shop):
    shop.run(
        *REVIEWS,
        "CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM reviews RETURNING 1'",
    )
    with pytest.raises(Misconfigured, match="read-only transaction"):
        shop.query("SELECT wipe()")
    with pytest.raises(Misconfigured):
        shop.query("WITH gone AS (DELETE FROM reviews RETURNING *) SELECT * FROM gone")
    assert len(shop.rows()) == 50


def test_a_row_that_the_database_cannot_compute_is_no_lost_connection(shop):
    with pytest.raises(Misconfigured, match="cannot be read: ERROR: division by zero"):
        shop.query("SELECT 1 / (200000 - g) AS a FROM generate_series(1, 300000) g")


def test_a_query_that_takes_too_long_is_ended(postgres):
    shop = Database(postgres.database(), query_timeout=0.3)
    with pytest.raises(
        Misconfigured, match=r"no rows came for 0.3 seconds \(raise `query_timeout` of connection"
    ):
        shop.query("SELECT pg_sleep(60)")
