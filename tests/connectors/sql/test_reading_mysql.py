"""MySQL and MariaDB as sources: their types and what is read of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from loom_dagster.connectors import Window
from loom_dagster.errors import Misconfigured
from tests.connectors.sql.reading import Database

pytestmark = pytest.mark.service

TABLE = """
    CREATE TABLE reviews (
        id int PRIMARY KEY, ok tinyint(1), tiny tinyint, small smallint unsigned, wide int unsigned,
        huge bigint unsigned, price decimal(10,2), big decimal(65,3), f float, d double, v varchar(20), t longtext,
        j json, e enum('a','b'), s set('x','y'), bin varbinary(10), b blob, flag bit(1), bits bit(12),
        day date, at datetime(6), stamp timestamp(3), span time(3), y year, c char(4), u uuid
    )"""
FULL = """
    INSERT INTO reviews VALUES (
        1, 1, -5, 65535, 4294967295, 18446744073709551615, 12.30, 1.5, 0.1, 0.25, 'ünï', 'text',
        '{"a": 1}', 'b', 'x,y', x'00ff', x'01', b'1', b'101', '2026-02-03', '2026-02-03 04:05:06.000007',
        '2026-02-03 04:05:06.123', '-101:02:03.500', 2026, 'c', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
    )"""


@pytest.fixture
def shop(mariadb):
    return Database(mariadb.database())


def test_types_stay_what_they_are(shop):
    shop.run("SET time_zone = '+00:00'", TABLE, FULL, "INSERT INTO reviews (id, stamp) VALUES (2, NULL)")
    with shop.open() as found:
        kinds = dict(zip(found.schema.names, found.schema.types, strict=True))
        [row, empty] = [row for chunk in found.chunks() for row in chunk.table.to_pylist()]
    expected = {
        "id": (pa.int64(), 1),
        "ok": (pa.bool_(), True),
        "tiny": (pa.int16(), -5),
        "small": (pa.int32(), 65535),
        "wide": (pa.int64(), 4294967295),
        "huge": (pa.uint64(), 18446744073709551615),
        "price": (pa.decimal128(10, 2), Decimal("12.30")),
        "big": (pa.string(), "1.500"),
        "f": (pa.float64(), 0.1),
        "d": (pa.float64(), 0.25),
        "v": (pa.string(), "ünï"),
        "t": (pa.string(), "text"),
        "j": (pa.string(), '{"a": 1}'),
        "e": (pa.string(), "b"),
        "s": (pa.string(), "x,y"),
        "bin": (pa.binary(), b"\x00\xff"),
        "b": (pa.binary(), b"\x01"),
        "flag": (pa.bool_(), True),
        "bits": (pa.uint64(), 5),
        "day": (pa.date32(), date(2026, 2, 3)),
        "at": (pa.timestamp("us"), datetime(2026, 2, 3, 4, 5, 6, 7)),  # noqa: DTZ001 - it has none
        "stamp": (pa.timestamp("us", "UTC"), datetime(2026, 2, 3, 4, 5, 6, 123000, tzinfo=UTC)),
        "span": (pa.string(), "-101:02:03.500000"),
        "y": (pa.int32(), 2026),
        "c": (pa.string(), "c"),
        "u": (pa.string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    }
    assert kinds == {name: kind for name, (kind, _) in expected.items()}
    assert row == {name: value for name, (_, value) in expected.items()}
    assert set(empty.values()) == {2, None}


def test_days_that_there_are_not_are_null(shop):
    shop.run(
        "SET sql_mode = ''",
        "CREATE TABLE reviews (id int PRIMARY KEY, day date, at datetime)",
        "INSERT INTO reviews VALUES (1, '0000-00-00', '0000-00-00'), (2, '2026-00-00', NULL)",
    )
    assert [(row["day"], row["at"]) for row in shop.rows()] == [(None, None), (None, None)]


def test_a_row_that_does_not_fit_is_kept_apart_whole(shop):
    shop.run(
        "CREATE TABLE reviews (id int PRIMARY KEY, ok tinyint(1))",
        "INSERT INTO reviews VALUES (1, 1), (2, 5), (3, 0)",
    )
    [chunk] = shop.chunks()
    assert chunk.table.to_pylist() == [{"id": 1, "ok": True}, {"id": 3, "ok": False}]
    [bad] = chunk.unreadable
    assert (bad.offset, bad.raw) == (1, '{"id":2,"ok":5}') and "`ok` holds 5" in bad.reason


def test_placeholders_windows_and_literal_signs(shop):
    shop.run(TABLE, FULL)
    at = datetime(2026, 2, 3, 5, 5, 6, tzinfo=UTC)
    query = "SELECT id, '50%:x' AS p, stamp, at FROM reviews WHERE v LIKE '%n%' AND id = {{ params.id }} AND at < {{ execution_date }} # :y"
    values = {"params.id": "1", "execution_date": at}
    [row] = shop.query(query, values=values)
    assert row["p"] == "50%:x"
    window = Window(column="at", start=datetime(2026, 2, 3, tzinfo=UTC), end=at)
    assert len(shop.query(query, values=values, window=window, key="id")) == 1
    assert not shop.query(query, values=values, window=Window(column="stamp", start=at))


def test_a_query_keeps_its_own_order_also_with_columns_and_a_limit(shop):
    shop.run("CREATE TABLE reviews AS SELECT seq AS id, seq % 5 AS stars FROM seq_1_to_50")
    query = "SELECT id, stars FROM reviews ORDER BY stars DESC, id DESC"
    assert shop.query(query, columns=["id"], limit=3, rows=2) == [{"id": 49}, {"id": 44}, {"id": 39}]


def test_two_columns_of_one_name_are_refused(shop):
    with pytest.raises(Misconfigured, match=r"two columns called `a` \(give one another name"):
        shop.query("SELECT 1 AS a, 2 AS a")


def test_nothing_can_be_changed_by_reading(shop):
    shop.run(
        "CREATE TABLE reviews (id int)",
        "CREATE FUNCTION wipe() RETURNS int BEGIN DELETE FROM reviews; RETURN 1; END",
        "INSERT INTO reviews VALUES (1)",
    )
    with pytest.raises(Misconfigured, match="READ ONLY transaction"):
        shop.query("SELECT wipe()")
    assert len(shop.rows()) == 1


def test_tables_with_strange_names(shop):
    shop.run(
        "CREATE TABLE `my ``reviews;--` (`a``b'%s` int PRIMARY KEY, `ünï :x` int)",
        "INSERT INTO `my ``reviews;--` VALUES (1, 2)",
    )
    name = "my%20%60reviews;--"
    assert shop.rows(name, key="a`b'%s", window=Window(column="ünï :x", start=1)) == [
        {"a`b'%s": 1, "ünï :x": 2}
    ]
    with pytest.raises(Misconfigured, match="no table `my`"):
        shop.rows("my")
