"""SQLite as a source: declared types, and values that are of any other."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from loom_dagster.connectors import Window
from loom_dagster.errors import Misconfigured
from tests.connectors.sql.reading import Database


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.db").touch()
    return Database(f"sqlite:///{tmp_path}/shop.db")


def test_declared_types(shop):
    shop.run(
        "CREATE TABLE reviews (id INTEGER PRIMARY KEY, n BIGINT, ok BOOLEAN, r REAL, price DECIMAL(10,2), t VARCHAR(9), "
        "b BLOB, day DATE, at DATETIME, j JSON, x)",
        "INSERT INTO reviews VALUES (1, 9007199254740993, 1, 1, 12.3, 'ünï', x'00ff', '2026-02-03', "
        "'2026-02-03 04:05:06.5', '{}', 2.5)",
        "INSERT INTO reviews (id, at, x) VALUES (2, '2026-02-03T04:05:06+02:00', 3)",
    )
    with shop.open() as found:
        kinds = dict(zip(found.schema.names, found.schema.types, strict=True))
        [row, other] = [row for chunk in found.chunks() for row in chunk.table.to_pylist()]
    expected = {
        "id": (pa.int64(), 1),
        "n": (pa.int64(), 9007199254740993),
        "ok": (pa.bool_(), True),
        "r": (pa.float64(), 1.0),
        "price": (pa.decimal128(10, 2), Decimal("12.30")),
        "t": (pa.string(), "ünï"),
        "b": (pa.binary(), b"\x00\xff"),
        "day": (pa.date32(), date(2026, 2, 3)),
        "at": (pa.timestamp("us"), datetime(2026, 2, 3, 4, 5, 6, 500000)),  # noqa: DTZ001 - it has none
        "j": (pa.string(), "{}"),
        "x": (pa.float64(), 2.5),
    }
    assert kinds == {name: kind for name, (kind, _) in expected.items()}
    assert row == {name: value for name, (_, value) in expected.items()}
    assert other["at"] == datetime(2026, 2, 3, 2, 5, 6)  # noqa: DTZ001 - it has none


def test_a_query_has_the_types_of_its_tables_and_of_its_values(shop):
    shop.run("CREATE TABLE reviews (id INTEGER PRIMARY KEY, ok BOOLEAN)", "INSERT INTO reviews VALUES (1, 0)")
    with shop.open(
        "", query="SELECT ok, id * 2 AS twice, 'a' AS text, NULL AS missing FROM reviews"
    ) as found:
        assert found.schema.types == [pa.bool_(), pa.int64(), pa.string(), pa.string()]
        assert next(found.chunks()).table.to_pylist() == [
            {"ok": False, "twice": 2, "text": "a", "missing": None}
        ]


def test_dates_that_are_numbers_stay_numbers(shop):
    shop.run("CREATE TABLE reviews (at DATETIME)", "INSERT INTO reviews VALUES (1767225600)")
    assert shop.rows() == [{"at": 1767225600}]


def test_values_that_are_not_of_their_column_are_kept_apart_whole(shop):
    shop.run(
        "CREATE TABLE reviews (id INTEGER PRIMARY KEY, n INT, day DATE, t TEXT)",
        "INSERT INTO reviews VALUES (1, 'many', NULL, 'a'), (2, 2, 'yesterday', 'a'), (3, 3, '2026-01-01', 5), "
        "(4, 4, NULL, CAST(x'ff' AS TEXT))",
    )
    [chunk] = shop.chunks()
    assert chunk.table.to_pylist() == [{"id": 3, "n": 3, "day": date(2026, 1, 1), "t": "5"}]
    assert [(row.offset, row.reason.split("`")[1]) for row in chunk.unreadable] == [
        (0, "n"),
        (1, "day"),
        (3, "t"),
    ]
    assert chunk.unreadable[0].raw == '{"day":null,"id":1,"n":"many","t":"a"}'


@pytest.mark.parametrize(
    "written", ["2026-02-01", "2026-02-01 00:00:00", "2026-02-01T00:00:00", "2026-02-01T10:00:00Z"]
)
def test_a_window_of_days_fits_however_dates_are_written(shop, written):
    shop.run("CREATE TABLE reviews (at DATETIME)", f"INSERT INTO reviews VALUES ('{written}')")
    days = [datetime(2026, 2, n, tzinfo=UTC) for n in (1, 2, 3)]
    assert len(shop.rows(window=Window(column="at", start=days[0], end=days[1]))) == 1
    assert not shop.rows(window=Window(column="at", start=days[1], end=days[2]))


def test_placeholders(shop):
    shop.run(
        "CREATE TABLE reviews (id INTEGER PRIMARY KEY, price REAL)",
        "INSERT INTO reviews VALUES (1, 1.5), (2, 2.5)",
    )
    query = "SELECT id, '50%:x?' AS p FROM reviews WHERE id = {{ params.id }} AND price > {{ params.price }}"
    assert shop.query(query, values={"params.id": "2", "params.price": Decimal("2.1")}) == [
        {"id": 2, "p": "50%:x?"}
    ]


def test_two_columns_of_one_name_are_refused(shop):
    with pytest.raises(Misconfigured, match=r"two columns called `a` \(give one another name"):
        shop.query("SELECT 1 AS a, 2 AS a")


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    shop = Database(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(Misconfigured, match="there is no database file"):
        shop.rows()
    assert not list(tmp_path.iterdir())


def test_a_file_is_read_and_never_written(shop, tmp_path):
    shop.run("CREATE TABLE reviews (id INT)")
    (tmp_path / "shop.db").chmod(0o444)
    before = (tmp_path / "shop.db").read_bytes()
    assert shop.rows() == [] and shop.query("SELECT 1 AS a") == [{"a": 1}]
    assert [path.name for path in tmp_path.iterdir()] == ["shop.db"]
    assert (tmp_path / "shop.db").read_bytes() == before
