"""What a database's URI means."""

from __future__ import annotations

import pytest

from loom_dagster.connections import Connection
from loom_dagster.connectors import place_of
from loom_dagster.connectors.sql.addresses import table_at
from loom_dagster.errors import Misconfigured

KNOWN = {
    name: Connection(name=name, url=f"postgresql://loom:hush@host/{name}") for name in ("customers", "sales")
}


def at(uri, root, connections=KNOWN):
    return table_at(place_of(uri, root, table="my_pipeline", connections=connections))


@pytest.mark.parametrize(
    ("uri", "schema", "name", "shown"),
    [
        ("postgres://customers/reviews", None, "reviews", "postgres://customers/reviews"),
        ("postgres://customers/etc/reviews", "etc", "reviews", "postgres://customers/etc/reviews"),
        ("postgres://customers/etc.reviews", "etc", "reviews", "postgres://customers/etc.reviews"),
        ("postgres://customers/a.b.c", None, "a.b.c", "postgres://customers/a.b.c"),
        ("postgres://customers/my%20reviews", None, "my reviews", "postgres://customers/my%20reviews"),
        ("postgres://customers/a%2Fb", None, "a/b", "postgres://customers/a%2Fb"),
        ("postgres://customers", None, "my_pipeline", "postgres://customers/my_pipeline"),
        ("postgres://customers/", None, "my_pipeline", "postgres://customers/my_pipeline"),
        ("mysql://sales/x%40y", None, "x@y", "mysql://sales/x%40y"),
    ],
)
def test_a_connection_and_a_table(tmp_path, uri, schema, name, shown):
    table = at(uri, tmp_path)
    assert table.connection is KNOWN[table.connection.name]
    assert (table.schema, table.name, table.uri) == (schema, name, shown)


@pytest.mark.parametrize(
    ("uri", "file", "name"),
    [
        ("sqlite:///data/shop.db/reviews", "data/shop.db", "reviews"),
        ("sqlite:///data/shop.db", "data/shop.db", "my_pipeline"),
        ("sqlite:///shop.sqlite3", "shop.sqlite3", "my_pipeline"),
        ("sqlite:///a@b.db/reviews", "a@b.db", "reviews"),
        ("duckdb:///shop.duckdb/reviews", "shop.duckdb", "reviews"),
    ],
)
def test_a_file_of_the_project(tmp_path, uri, file, name):
    table = at(uri, tmp_path)
    scheme = uri.partition(":")[0]
    assert table.connection.url == f"{scheme}:///{tmp_path}/{file}"
    assert (table.name, table.uri) == (name, f"{scheme}:///{file}/{name}")


def test_a_file_with_its_whole_path(tmp_path):
    table = at("sqlite:////var/shop.db/reviews", tmp_path)
    assert table.connection.url == "sqlite:////var/shop.db" and table.name == "reviews"


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("sqlite:///data/shop.db", "sqlite:///{root}/data/shop.db"),
        ("sqlite:///data/shop.db?timeout=3", "sqlite:///{root}/data/shop.db?timeout=3"),
        ("sqlite:////var/shop.db", "sqlite:////var/shop.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://"),
    ],
)
def test_the_file_of_a_connection_belongs_to_the_project(tmp_path, url, whole):
    table = at("sqlite://shop/reviews", tmp_path, {"shop": Connection(name="shop", url=url)})
    assert table.connection.url == whole.format(root=tmp_path)


@pytest.mark.parametrize(
    "uri",
    ["postgres://loom:hush@host/reviews", "postgres://loom:hu/sh@host/db", "mysql://x/y?password=hush@z"],
)
def test_a_user_and_a_host_are_refused_without_showing_them(tmp_path, uri):
    with pytest.raises(Misconfigured, match="names a connection, not a user and a host") as raised:
        at(uri, tmp_path)
    assert "hu" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("postgres://custmers/reviews", r"no connection `custmers` \(did you mean `customers`"),
        ("postgres://other/reviews", r"declare \[tool.loom.connections.other\].*LOOM_CONNECTION_OTHER"),
        ("postgres:///reviews", r"names no connection \(write postgres://CONNECTION/TABLE"),
        ("postgres://customers/a/b/c", "too many parts"),
        ("postgres://customers/reviews?sslmode=off", r"^postgres://customers/reviews takes no parameters"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(tmp_path, uri, message):
    with pytest.raises(Misconfigured, match=message) as raised:
        at(uri, tmp_path)
    assert "hush" not in str(raised.value)
