"""A connection as an SQLAlchemy engine: driver, timeouts, pool."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from loom_dagster.connections import Connection
from loom_dagster.connectors.sql.failures import without_secrets
from loom_dagster.errors import Misconfigured

__all__ = ["engine_of", "libpq_url", "url_of"]

_DRIVERS = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",  # one spelling of SQL for both
}
_EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "duckdb": "duckdb"}


def url_of(connection: Connection) -> URL:
    """With the driver that we ship. Raises Misconfigured."""
    try:
        url = make_url(connection.url)
    except (ArgumentError, ValueError):  # whose words may hold a part of it
        raise Misconfigured(
            f"the URL of connection `{connection.name}` cannot be read",
            fix="write signs like @ and / of a password as %40 and %2F",
        ) from None
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


@functools.cache
def engine_of(connection: Connection, *, reading: bool = False) -> Engine:
    """The engine of a connection, one a process. Nothing is connected yet; raises Misconfigured for an
    unknown kind of database and for a driver that is not installed.

    One for ``reading`` keeps no connection that was used, for a long reading changes its session; it opens
    an SQLite file as it is and never makes one.
    """
    url = url_of(connection)
    backend = url.get_backend_name()
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_recycle": 1800}
    if reading:
        options = {"poolclass": NullPool}
        url = _of_file(url, connection) if backend == "sqlite" else url
    try:
        engine = create_engine(
            url, hide_parameters=True, connect_args=_arguments(backend, connection), **options
        )
    except (ImportError, NoSuchModuleError) as error:
        extra = _EXTRAS.get(backend)
        fix = (
            f"pip install 'loom-dagster[{extra}]'"
            if extra
            else "install SQLAlchemy's dialect and driver for it"
        )
        raise Misconfigured(
            f"connection `{connection.name}` needs a driver that is not installed", fix=fix
        ) from error

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _: Any, positional: Any, named: Any) -> Any:
        try:
            return dialect.connect(*positional, **named)
        except TypeError as error:  # that is how PyMySQL says it
            raise Misconfigured(
                f"the URL of connection `{connection.name}` has a parameter that its driver does not know",
                why=without_secrets(str(error), connection),
            ) from None

    return engine


def libpq_url(connection: Connection, settings: dict[str, str]) -> str:
    """A PostgreSQL connection as its own library writes it, with its password, for drivers that take that."""
    url = url_of(connection)
    options = [str(url.query.get("options", "")), *(f"-c {name}={value}" for name, value in settings.items())]
    given = {"user": url.username, "password": url.password, "host": url.host, "port": url.port}
    said = {
        "connect_timeout": max(2, round(connection.connect_timeout)),
        "application_name": "loom_dagster",
        "keepalives_idle": 30,
        **{name: value for name, value in given.items() if value is not None},
        **{name: value if isinstance(value, str) else ",".join(value) for name, value in url.query.items()},
        "options": " ".join(options).strip(),
    }
    return f"postgresql:///{quote(url.database or '', safe='')}?{urlencode(said, quote_via=quote)}"


def _of_file(url: URL, connection: Connection) -> URL:
    """An SQLite file, opened to be read only."""
    name = url.database or ""
    if name in ("", ":memory:") or name.startswith("file:"):
        return url
    if not Path(name).is_file():
        raise Misconfigured(f"there is no database file {connection.name}", why=f"{name} does not exist")
    return url.set(database=f"file:{quote(name)}", query={**url.query, "mode": "ro", "uri": "true"})


def _arguments(backend: str, connection: Connection) -> dict[str, Any]:
    connect, query = connection.connect_timeout, connection.query_timeout
    match backend:
        case "postgresql":
            return {
                "connect_timeout": max(2, round(connect)),  # libpq takes one second for two
                "options": f"-c statement_timeout={round(query * 1000)} -c lock_timeout={round(query * 1000)}",
                "application_name": "loom_dagster",
                "keepalives_idle": 30,
            }
        case "mysql":
            wait = round(query) or 1
            return {
                "connect_timeout": max(1, round(connect)),
                "read_timeout": wait,
                "write_timeout": wait,
                "charset": "utf8mb4",
            }
        case "sqlite":
            return {"timeout": connect, "check_same_thread": False}  # one thread after the other uses it
    return {}
