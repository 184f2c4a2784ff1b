"""What comes from outside is data: it becomes no SQL, and what is secret is in no message."""

from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from loom_dagster.connectors.sql.engines import engine_of
from loom_dagster.errors import LoomError, Misconfigured, Transient
from tests.connectors.sql.reading import Database

TRIES = [
    "1; DROP TABLE reviews; --",
    "' OR '1'='1",
    "'; DELETE FROM reviews; --",
    '" OR ""="',
    "\\'; DROP TABLE reviews; --",
    "') UNION SELECT 2, 'x' --",
    "$$; DROP TABLE reviews; $$",
    "%s %(p0)s :p0 $1 ? {{ params.y }}",
    "/* */ -- #",
    "ünï ☃ \u2019 \uff07",
]


@pytest.fixture(params=["postgres", "mariadb", "sqlite"])
def shop(request, tmp_path):
    if request.param == "sqlite":
        (tmp_path / "shop.db").touch()
        return Database(f"sqlite:///{tmp_path}/shop.db")
    return Database(request.getfixturevalue(request.param).database())


@pytest.mark.slow
@pytest.mark.service
def test_a_value_is_never_sql(shop):
    shop.run("CREATE TABLE reviews (id int, text varchar(200))", "INSERT INTO reviews VALUES (1, 'a')")
    query = "SELECT id, {{ params.x }} AS said FROM reviews WHERE text = {{ params.x }} OR id = 1"
    for tried in TRIES:
        assert shop.query(query, values={"params.x": tried}) == [{"id": 1, "said": tried}]
        found = shop.query("SELECT id FROM reviews WHERE text = {{ params.x }}", values={"params.x": tried})
        assert found == []
    assert shop.rows() == [{"id": 1, "text": "a"}]


@pytest.mark.slow
@pytest.mark.service
def test_a_name_is_never_sql(shop):
    shop.run("CREATE TABLE reviews (id int)", "INSERT INTO reviews VALUES (1)")
    for tried in TRIES:
        with pytest.raises(Misconfigured, match="there is no table"):
            shop.rows(quote(tried, safe=""))
        for wanted in ({"columns": [tried]}, {"key": tried}, {"incremental": {"cursor": tried}}):
            with pytest.raises(Misconfigured, match="has no column"):
                shop.rows(**wanted)
    assert shop.rows() == [{"id": 1}]


@pytest.mark.slow
@pytest.mark.service
def test_a_name_like_sql_is_a_name(shop):
    mysql = shop.connection.url.startswith("mysql")
    sign = "`" if mysql else '"'
    for name in TRIES:
        quoted = sign + name.replace(sign, 2 * sign) + sign
        shop.run(
            f"CREATE TABLE {quoted} ({quoted} int, text varchar(200))",
            f"INSERT INTO {quoted} VALUES (2, 'b'), (1, 'a')",
        )
        rows = shop.rows(quote(name, safe=""), key=name, columns=["text", name])
        assert rows == [{"text": "a", name: 1}, {"text": "b", name: 2}]


@pytest.mark.service
def test_what_a_record_says_is_data(shop):
    shop.run("CREATE TABLE reviews (id int, text varchar(200))")
    engine = engine_of(shop.connection)
    with engine.begin() as connection:
        statement = sa.text("INSERT INTO reviews VALUES (:id, :text)")
        connection.execute(statement, [{"id": n, "text": text} for n, text in enumerate(TRIES)])
    engine.dispose()
    assert [row["text"] for row in shop.rows(key="id")] == TRIES


def told(shop: Database, **wanted) -> str:
    """All that is said of what goes wrong, and of what it came from."""
    with pytest.raises(LoomError) as raised:
        shop.rows(**wanted)
    return "".join(traceback.format_exception(raised.value))


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_no_message_shows_a_secret(request, server):
    url = request.getfixturevalue(server).database()
    secret = request.getfixturevalue(server).password
    others = {
        "wrong password": url.replace(secret, "hu%2Fsh%20hush"),
        "unknown host": url.replace("127.0.0.1", "nowhere.invalid"),
        "unknown database": f"{url}_none",
        "unknown user": url.replace("loom:", "nobody:"),
        "nobody listens": f"{url.rpartition(':')[0]}:1/none",
    }
    for other in others.values():
        said = told(Database(other, connect_timeout=2))
        assert "cannot be read" in said
        assert not any(word in said for word in (secret, "hu%2Fsh", "hu/sh", "hush"))
    said = told(Database(url), name="none") + told(Database(url), name="", query="SELECT nope")
    assert secret not in said


@pytest.mark.service
@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_what_passes_by_itself_is_transient_and_what_does_not_is_not(request, server):
    url = request.getfixturevalue(server).database()
    secret = request.getfixturevalue(server).password
    with pytest.raises(Transient):
        Database(f"{url.rpartition(':')[0]}:1/none").rows()
    for other in (url.replace(secret, "hush"), f"{url}_none"):
        with pytest.raises(Misconfigured):
            Database(other).rows()


def test_a_driver_that_is_not_installed_is_named():
    with pytest.raises(Misconfigured, match="needs a driver that is not installed"):
        Database("oracle+cx_oracle://loom:hush@host/db").rows()
