"""Queries with placeholders: values are bound, everything else stays as it is written."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from loom_dagster.connectors import place_of
from loom_dagster.connectors.sql.query import parse_query, placeholders
from loom_dagster.connectors.sql.source import SqlSource
from loom_dagster.errors import Misconfigured
from loom_dagster.spec.models import Extract
from tests.connectors.sql.reading import Database


def test_names_of_placeholders_each_once():
    query = "SELECT * FROM r WHERE a > {{execution_date}} AND b = {{  params.b_2 }} AND c < {{\n execution_date }}"
    assert placeholders(query) == ("execution_date", "params.b_2")


@pytest.mark.parametrize(
    ("query", "dialect"),
    [
        ("SELECT a::int, '50% :x ;' FROM r WHERE \"c;\" LIKE '%it''s%' -- ; {a}", "postgresql"),
        ("SELECT $$ ; ' $$, $q$ $$ ; $q$, E'\\';' /* ; /* nested ; */ ' */", "postgresql"),
        ("SELECT '{{1,2},{3,4}}'::int[], data #>> '{a,b}'", "postgresql"),
        ("SELECT 'it\\'s; \\\\', `a;b` # it's ;", "mysql"),
        ("SELECT '\\', 'C:\\dir\\' AS a", "sqlite"),
        ("(SELECT 1) UNION (SELECT 2)", ""),
        ("\n-- what for\n/* and why */ WITH a AS (SELECT 1) SELECT * FROM a", ""),
        ("VALUES (1, 2)", ""),
        ("TABLE reviews", "postgresql"),
    ],
)
def test_a_query_without_placeholders_stays_as_it_is(query, dialect):
    assert parse_query(query, dialect).texts == (query,)


def test_a_semicolon_at_the_end_is_nothing():
    assert parse_query("SELECT 1 ; -- end;\n ;").texts == ("SELECT 1 ",)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM r WHERE d > '{{ execution_date }}'", r"stands in quotes.*\(leave out the quotes"),
        ('SELECT "{{ params.column }}" FROM r', "stands in quotes"),
        ("SELECT '{{ day }}'", "`{{ day }}` stands in quotes"),
        ("SELECT $${{ params.a }}$$", "stands in quotes"),
        ("SELECT 1 -- {{ params.a }}", "stands in a comment"),
        ("SELECT 1 /* {{ execution_date }} */", "stands in a comment"),
        ("SELECT {{ today }}", "`{{ today }}` in `extract.query` is not a placeholder"),
        ("SELECT {{ params.a | int }}", "is not a placeholder"),
        ("SELECT {{ params }}", "is not a placeholder"),
        ("SELECT {{ params.a.b }}", "is not a placeholder"),
        ("SELECT {% if a %} 1 {% endif %}", "is not a placeholder"),
        ("SELECT {# why #} 1", "is not a placeholder"),
        ("SELECT 1; DROP TABLE r", r"several statements \(leave one SELECT"),
        ("SELECT 1; {{ params.a }}", "several statements"),
        ("DELETE FROM r", r"does not read \(it begins with SELECT"),
        ("EXPLAIN ANALYZE DELETE FROM r", "does not read"),
        ("-- SELECT\nUPDATE r SET a = 1", "does not read"),
        ("", "does not read"),
        ("SELECT 'a", "a quote .* is not closed"),
        ("SELECT 1 /* a", "does not end"),
    ],
)
def test_what_is_not_one_reading_statement_is_refused(query, message):
    with pytest.raises(Misconfigured, match=message):
        parse_query(query, "postgresql")


def test_a_query_is_checked_before_anything_is_connected(tmp_path):
    shop = Database("postgresql://loom:hush@127.0.0.1:1/none")
    place = place_of("postgres://shop", tmp_path, connections={"shop": shop.connection})
    SqlSource().check(place, Extract(source="x", query="SELECT {{ params.a }}"), reach=False)
    with pytest.raises(Misconfigured, match="stands in quotes"):
        SqlSource().check(place, Extract(source="x", query="SELECT '{{ params.a }}'"), reach=False)
    with pytest.raises(
        Misconfigured, match=r"asks for `{{ params.a }}`, which has no value \(give it: --param a=\.\.\."
    ):
        shop.query("SELECT {{ params.a }}", values={"params.b": 1})


@pytest.fixture(params=["postgres", "mariadb", "sqlite"])
def shop(request, tmp_path):
    if request.param == "sqlite":
        (tmp_path / "shop.db").touch()
        return Database(f"sqlite:///{tmp_path}/shop.db")
    return Database(request.getfixturevalue(request.param).database())


@pytest.mark.service
@pytest.mark.parametrize("given", ["7", 7, Decimal(7), 7.0])
def test_a_number_is_compared_as_its_column_is(shop, given):
    shop.run(
        "CREATE TABLE reviews (id int, price numeric(5,2))", "INSERT INTO reviews VALUES (7, 7), (70, 70)"
    )
    query = (
        "SELECT id FROM reviews WHERE id = {{ params.x }} AND price <= {{ params.x }} LIMIT {{ params.most }}"
    )
    if shop.connection.url.startswith("mysql"):
        query = query.partition("LIMIT")[0]  # it takes a number there
    assert shop.query(query, values={"params.x": given, "params.most": 5}) == [{"id": 7}]


@pytest.mark.service
@pytest.mark.parametrize("given", [datetime(2026, 2, 3, 1, tzinfo=UTC), date(2026, 2, 3), "2026-02-03"])
def test_a_time_is_compared_as_its_column_is(shop, given):
    shop.run(
        "CREATE TABLE reviews (id int, day date, at timestamp)",
        "INSERT INTO reviews VALUES (1, '2026-02-02', '2026-02-02 12:00:00'), (2, '2026-02-04', '2026-02-04 12:00:00')",
    )
    query = "SELECT id FROM reviews WHERE at > {{ execution_date }} AND day > {{ execution_date }}"
    assert shop.query(query, values={"execution_date": given}) == [{"id": 2}]


@pytest.mark.service
def test_a_value_may_be_null(shop):
    shop.run("CREATE TABLE reviews (id int)", "INSERT INTO reviews VALUES (1)")
    query = "SELECT id FROM reviews WHERE id = {{ params.x }} OR {{ params.x }} IS NULL"
    assert shop.query(query, values={"params.x": None}) == [{"id": 1}]


@pytest.mark.service
def test_a_value_may_be_a_column_of_its_own(shop):
    shop.run("CREATE TABLE reviews (id int)", "INSERT INTO reviews VALUES (1)")
    assert shop.query(
        "SELECT id, {{ params.label }} AS label FROM reviews", values={"params.label": "ünï"}
    ) == [{"id": 1, "label": "ünï"}]


@pytest.mark.service
def test_a_source_is_checked_by_asking_its_database(shop):
    shop.run("CREATE TABLE reviews (id int, secret int)")
    connections = {"shop": shop.connection}

    def check(name, **extract):
        place = place_of(f"postgres://shop/{name}", shop.root, connections=connections)
        SqlSource().check(place, Extract(source=place.uri, **extract), reach=True)

    check("reviews", key="id")
    check("reviews", query="SELECT id FROM reviews WHERE id > {{ params.x }}")
    with pytest.raises(Misconfigured, match="did you mean `reviews`"):
        check("review")
    with pytest.raises(Misconfigured, match="did you mean `id`"):
        check("reviews", key="idd")
    with pytest.raises(Misconfigured, match="nope"):
        check("reviews", query="SELECT nope FROM reviews")
