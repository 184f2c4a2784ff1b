"""A connection as an SQLAlchemy engine: driver, timeouts, pool; and what goes wrong with it as our errors."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from loom_dagster.connections import Connection
from loom_dagster.errors import LoomError, Misconfigured, Transient

__all__ = ["asking", "engine_of", "libpq_url", "translated", "url_of"]

_DRIVERS = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",  # one spelling of SQL for both
}
_EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "duckdb": "duckdb"}
# what Arrow's drivers put around the words of the database
_DRIVERS_WORDS = re.compile(
    r"^[A-Z_]+: |\[libpq\] |Failed to (?:execute|prepare) query(?: '.*?')?: |could not begin COPY: "
    r"|Execution error \[\w+\]: |Query was: .*|\. SQLSTATE: \w+$",
    re.DOTALL,
)
# SQLSTATE classes that pass by themselves: connection, resources, operator intervention, serialization
_PASSING = ("08", "53", "57P", "40", "55P03")
_PASSING_MYSQL = frozenset({1040, 1053, 1205, 1213, 2002, 2003, 2006, 2013, 2055})


def url_of(connection: Connection) -> URL:
    """With the driver that we ship. Raises Misconfigured."""
    try:
        url = make_url(connection.url)
    except ArgumentError as error:
        raise Misconfigured(f"the URL of connection `{connection.name}` cannot be read") from error
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
        return create_engine(
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


def libpq_url(connection: Connection, settings: dict[str, str]) -> str:
    """A PostgreSQL connection as its own library writes it, with its password, for drivers that take that."""
    url = url_of(connection)
    options = [str(url.query.get("options", "")), *(f"-c {name}={value}" for name, value in settings.items())]
    ours = {
        "connect_timeout": str(max(2, round(connection.connect_timeout))),
        "application_name": "loom_dagster",
        "keepalives_idle": "30",
    }
    url = url.set(drivername="postgresql", query={**ours, **url.query, "options": " ".join(options).strip()})
    return url.render_as_string(hide_password=False).replace("+", "%20")


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


@contextmanager
def asking(connection: Connection, what: str) -> Iterator[None]:
    """What goes wrong while ``what`` (such as: customers/reviews cannot be read) becomes Transient or Misconfigured.

    The database's words are kept, a password that is in them is not.
    """
    try:
        yield
    except LoomError:
        raise
    except Exception as error:
        if not isinstance(error, (SQLAlchemyError, OSError, *_of_arrow())):
            raise
        raise translated(error, connection, what) from error


def _of_arrow() -> tuple[type[Exception], ...]:
    """The errors of Arrow's database drivers, where one is in use."""
    adbc = sys.modules.get("adbc_driver_manager")
    return () if adbc is None else (adbc.Error,)


def translated(
    error: Exception, connection: Connection, what: str, *, lost: bool = False
) -> Transient | Misconfigured:
    """``error`` as one of ours. A server that is away, restarts or is full is Transient, and so is a connection
    that is known to be ``lost``."""
    original: BaseException = (error.orig or error) if isinstance(error, DBAPIError) else error
    why = _safe(str(original), connection)
    if _is_late(original):
        fix = f"raise `query_timeout` of connection `{connection.name}`, or ask for less"
        return Misconfigured(what, why=why, fix=fix, kind="query_timeout")
    if lost or _passes(error, original):
        return Transient(what, why=why, fix="it is tried again", kind="database_away")
    return Misconfigured(what, why=why, kind="database")


def _is_late(original: BaseException) -> bool:
    """Whether a query took longer than a connection's ``query_timeout``."""
    if _state(original) == "57014":
        return True
    args = original.args
    return len(args) > 1 and args[0] == 2013 and "timed out" in str(args[1])


def _state(original: BaseException) -> str:
    return getattr(original, "pgcode", None) or getattr(original, "sqlstate", None) or ""


def _passes(error: Exception, original: BaseException) -> bool:
    if isinstance(error, PoolTimeout) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return True
    if state := _state(original):
        return state.startswith(_PASSING)
    number = original.args[0] if original.args else None
    if isinstance(number, int):
        return number in _PASSING_MYSQL
    text = str(original).lower()
    signs = ("could not connect", "connection refused", "server closed the connection", "terminating connection",
             "connection to server", "the database system is", "database is locked", "timeout expired",
             "could not receive data", "connection has been closed", "connection not open")  # fmt: skip
    refused = (
        "password authentication failed",
        "does not exist",
        "no pg_hba.conf entry",
        "no password supplied",
    )
    return any(sign in text for sign in signs) and not any(sign in text for sign in refused)


def _safe(text: str, connection: Connection) -> str:
    hidden = [str(v) for k, v in make_url(connection.url).query.items() if "password" in k.lower()]
    for secret in (*connection.secrets, *hidden):
        text = text.replace(secret, "***")
    text = _DRIVERS_WORDS.sub("", text)
    return " ".join(text.split())[:500]
