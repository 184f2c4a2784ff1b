from __future__ import annotations

import pytest

from loom_dagster.connections import Connection, connection_of, read_connections, redacted, variable_of
from loom_dagster.errors import Misconfigured

URL = "postgresql://me@db:5432/shop"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@db:5432/shop", "postgresql://me@db:5432/shop"),
        ("postgresql://me:p/ss@word#?x@db/shop", "postgresql://me@db/shop"),
        ("postgresql://me@db/shop?password=secret", "postgresql://me@db/shop"),
        ("mysql+pymysql://:secret@db/shop", "mysql+pymysql://@db/shop"),
        ("sqlite:///data/shop.db", "sqlite:///data/shop.db"),
    ],
)
def test_a_password_is_never_shown(url, shown):
    connection = Connection(name="shop", url=url)
    assert redacted(url) == shown == str(connection)
    assert "secret" not in repr(connection)


def test_every_spelling_of_a_password_counts_as_one():
    assert set(Connection(name="x", url="mysql://me:p%40ss@db/x").secrets) == {"p%40ss", "p@ss"}
    assert "p/ss" in Connection(name="x", url="mysql://me:p/ss@db/x").secrets


def test_connections_come_from_the_file_and_from_the_environment():
    found = read_connections(
        {"customers": URL, "analytics": {"url": URL, "password_env": "PW", "query_timeout": 5}},
        {
            "PW": "s3cret/@",
            "LOOM_CONNECTION_LAKE": "mysql://lake/x",
            "LOOM_CONNECTION_CUSTOMERS": "mysql://else/x",
        },
    )
    assert found["customers"].url == "mysql://else/x"
    assert found["analytics"].url == "postgresql://me:s3cret%2F%40@db:5432/shop"
    assert found["analytics"].query_timeout == 5
    assert connection_of("lake", found).url == "mysql://lake/x"
    assert connection_of("LAKE", found).url == "mysql://lake/x"
    assert variable_of("my-shop db") == "LOOM_CONNECTION_MY_SHOP_DB"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("x", "is not a table"),
        ({"a": "postgresql://me:secret@db/shop"}, "a password stands in pyproject.toml"),
        ({"a": {}}, "a connection needs a `url`"),
        ({"a": 5}, "a URL or a table"),
        ({"a": "shop.db"}, "cannot be read"),
        ({"a": {"url": URL, "pasword_env": "X"}}, "unknown setting `pasword_env`"),
        ({"a": {"url": URL, "password_env": "X"}}, "X is not in the environment"),
        ({"a": {"url": "postgresql://db/x", "password_env": "PW"}}, "needs a user"),
        ({"a": {"url": URL, "connect_timeout": 0}}, "not a number of seconds above zero"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(table, said):
    with pytest.raises(Misconfigured, match=said) as told:
        read_connections(table, {"PW": "secret"})
    assert "secret" not in str(told.value)


def test_an_unknown_connection_names_the_nearest_and_how_to_declare_one():
    known = read_connections({"customers": URL}, {})
    with pytest.raises(Misconfigured, match="did you mean `customers`"):
        connection_of("customer", known)
    with pytest.raises(Misconfigured, match="LOOM_CONNECTION_LAKE"):
        connection_of("lake", known)
