"""The ledger in a SQLite file. Transactions are begun by us, not by the driver: those that write take the
lock at once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from loom_dagster.ledger.wal import use_wal

__all__ = ["sqlite_engine"]

_BUSY_MS = 30_000


def sqlite_engine(url: URL) -> Engine:
    """Makes the file's folders when they are not there. Raises OSError."""
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(raw: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    raw.isolation_level = None
    cursor = raw.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    use_wal(raw)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("loom_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
