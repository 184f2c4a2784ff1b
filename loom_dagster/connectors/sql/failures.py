"""What goes wrong with a database as our errors: by its codes, never with a secret."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from loom_dagster.connections import Connection
from loom_dagster.errors import LoomError, Misconfigured, Transient

__all__ = ["asking", "translated", "without_secrets"]

# what Arrow's drivers put around the words of the database
_DRIVERS_WORDS = re.compile(
    r"^[A-Z_]+: |\[libpq\] |Failed to (?:execute|prepare) query(?: '.*?')?: |could not begin COPY: "
    r"|Execution error \[\w+\]: |Query was: .*|\. SQLSTATE: \w+$",
    re.DOTALL,
)
# SQLSTATE classes that pass by themselves: connection, resources, operator intervention, serialization
_PASSING = ("08", "53", "57P", "40", "55P03")
_PASSING_MYSQL = frozenset({1040, 1053, 1205, 1213, 2002, 2003, 2006, 2013, 2055})


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
        shown = any(secret in str(error) for secret in _secrets(connection))
        raise translated(error, connection, what) from (None if shown else error)


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
    why = without_secrets(str(original), connection)
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


def _secrets(connection: Connection) -> tuple[str, ...]:
    """Also those that stand behind the question mark of its URL."""
    query = make_url(connection.url).query
    return (*connection.secrets, *(str(v) for k, v in query.items() if "password" in k.lower() and v))


def without_secrets(text: str, connection: Connection) -> str:
    for secret in _secrets(connection):
        text = text.replace(secret, "***")
    text = _DRIVERS_WORDS.sub("", text)
    return " ".join(text.split())[:500]
