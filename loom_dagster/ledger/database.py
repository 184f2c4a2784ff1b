"""The connection to the ledger's database: one writer at a time, readers never wait.

Transactions are begun by us, not by the driver: those that write take the lock at once, so that
what they read stays true until they commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from loom_dagster.errors import Misconfigured

__all__ = ["Database"]

_BUSY_MS = 30_000


class Database:
    """A SQLite file, made with its folders when it is not there.

    Raises Misconfigured (kind ``ledger``) for everything that goes wrong with the file.
    """

    def __init__(self, where: Path | str) -> None:
        """``where``: a path, or a URL (only ``sqlite:///`` so far)."""
        url = _url(where)
        self.name = url.render_as_string(hide_password=True)
        if url.get_backend_name() != "sqlite" or not url.database:
            raise Misconfigured(
                "the ledger can only be a SQLite file so far",
                where=self.name,
                fix="use a path or sqlite:///path/to/ledger.sqlite",
                kind="ledger",
            )
        self.name = url.database
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        self._engine = create_engine(url)
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger."""
        with self._transaction(write=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that nobody else writes during; all of it happens, or nothing."""
        with self._transaction(write=True) as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                writer = connection.execution_options(loom_write=write)
                with writer.begin():
                    yield writer
        except DBAPIError as error:
            raise self._unusable(error.orig or error) from error

    def _unusable(self, error: BaseException) -> Misconfigured:
        return Misconfigured(
            "the ledger cannot be used",
            where=self.name,
            why=str(error),
            fix="check the file, its folder's permissions and the free space of its disk",
            kind="ledger",
        )


def _url(where: Path | str) -> URL:
    if isinstance(where, str) and "://" in where:
        try:
            return make_url(where)
        except ArgumentError as error:
            raise Misconfigured("the ledger's URL cannot be read", why="it is not a database URL") from error
    return URL.create("sqlite", database=str(where))


def _prepare(raw: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    raw.isolation_level = None
    cursor = raw.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("loom_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
