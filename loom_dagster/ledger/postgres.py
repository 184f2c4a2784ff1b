"""The ledger in a schema of a Postgres database. One lock a schema lets one transaction write at a time, as in
a SQLite file; readers see one state and wait for nobody.

Everything is said in the transaction itself and nothing in the session, so that a pooler in between does no harm.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.schema import CreateSchema

from loom_dagster.errors import Misconfigured
from loom_dagster.records import digest

__all__ = ["make_schema", "plain_engine", "postgres_engine", "schema_of"]

_LOCK_MS = 120_000  # another run may be writing a long quarantine
_FROZEN_MS = 60_000  # a process that is stopped within a transaction loses it, and its lock, after this

_ARGUMENTS: dict[str, str | int] = {
    "connect_timeout": 10,
    "application_name": "loom_dagster",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def schema_of(url: URL, of: str = "ledger") -> str:
    """``?schema=NAME``, else ``public``. Raises Misconfigured for what is no plain name."""
    schema = url.query.get("schema", "public")
    if not isinstance(schema, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", schema):
        raise Misconfigured(
            f"the {of}'s schema has no plain name",
            fix="letters, digits and `_`, such as loom_reviews",
            kind="ledger",
        )
    return schema


def postgres_engine(url: URL) -> Engine:
    """Nothing is connected yet. Raises Misconfigured without a driver."""
    lock = int.from_bytes(digest("ledger", schema := schema_of(url))[:8], signed=True)
    tables = f'SET LOCAL search_path TO "{schema}"'
    # one message each. READ COMMITTED: a statement after the lock sees what the holder before us committed
    write = (
        f"{tables}; SET LOCAL lock_timeout = {_LOCK_MS}; "
        f"SET LOCAL idle_in_transaction_session_timeout = {_FROZEN_MS}; SELECT pg_advisory_xact_lock({lock})"
    )
    read = f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; {tables}"
    engine = plain_engine(url)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(write if connection.get_execution_options()["loom_write"] else read)

    return engine


def plain_engine(url: URL, of: str = "a ledger", **given: Any) -> Engine:
    """Nothing is connected yet. Raises Misconfigured without a driver."""
    arguments = {name: value for name, value in _ARGUMENTS.items() if name not in url.query}
    url = url.set(drivername="postgresql+psycopg2").difference_update_query(["schema"])
    try:
        # connections that went bad in the pool are found out, and replaced, by those who use them: no ping before each use
        return create_engine(url, connect_args=arguments, **given)
    except ImportError as error:
        raise Misconfigured(
            f"{of} on Postgres needs a driver that is not installed",
            fix="pip install 'loom-dagster[postgres]'",
            kind="ledger",
        ) from error


def make_schema(connection: Connection, schema: str) -> None:
    """Asked for first, as who may use a schema may not always make one."""
    if not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))
