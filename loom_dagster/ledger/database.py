"""The connection to the ledger's database: one writer at a time, readers never wait.

Transactions that write take the lock at once, so that what they read stays true until they commit. A server may
go away and come back: ``read`` and ``write`` wait for it, and what they were given to do is done once.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.postgres import make_schema, postgres_engine, schema_of
from loom_dagster.ledger.server import Busy, Patience, Secrets, away, read_url, shown
from loom_dagster.ledger.sqlite import sqlite_engine
from loom_dagster.ledger.tables import last_writes

__all__ = ["Database", "repeatable"]

_T = TypeVar("_T")

_KEPT = timedelta(days=1)


class Database:
    """A SQLite file, made with its folders when it is not there, or a schema of a Postgres database.

    Raises Misconfigured (kind ``ledger``) for everything that goes wrong with it.
    """

    def __init__(self, where: Path | str) -> None:
        """``where``: a path, ``sqlite:///PATH``, or ``postgresql://USER:PASSWORD@HOST/DATABASE?schema=NAME``."""
        url = _url(where)
        self.schema: str | None = None
        self._secrets, self._patiently = Secrets(url), Patience()
        self._id = uuid.uuid4().hex
        match url.get_backend_name():
            case "sqlite" if url.database:
                self.name = url.database
                self._fix = "check the file, its folder's permissions and the free space of its disk"
                try:
                    self._engine = sqlite_engine(url)
                except OSError as error:
                    raise self._unusable(error) from error
            case "postgres" | "postgresql":
                self.schema = schema_of(url)
                self.name = f"{shown(url)}, schema {self.schema}"
                self._fix = (
                    "check that the server is up, the user, the password, and its rights in the schema"
                )
                self._engine = postgres_engine(url)
            case _:
                raise Misconfigured(
                    "the ledger can only be a SQLite file or on Postgres",
                    where=shown(url),
                    kind="ledger",
                )

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger."""
        with self._transaction(write=False) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that nobody else writes during; all of it happens, or nothing."""
        with self._transaction(write=True) as connection:
            yield connection

    def read(self, work: Callable[[Connection], _T]) -> _T:
        """``work`` in a transaction that reads, again when the connection is lost in the middle."""

        def attempt() -> _T:
            with self.reading() as connection:
                return work(connection)

        return self._patiently(attempt)

    def write(self, work: Callable[[Connection], _T]) -> _T:
        """``work`` in a transaction that writes, again when it did not commit because the connection was lost.

        Whether it did is known by a mark that it leaves: when the connection is lost while it commits, no one else can tell.
        """
        mark, done = uuid.uuid4().hex, list[_T]()

        def attempt() -> _T:
            with self.writing() as connection:
                if self.schema is None:
                    return work(connection)
                if not (done and self._marked(connection, mark)):
                    done[:] = [work(connection)]
                    self._mark(connection, mark)
            return done[0]

        return self._patiently(attempt)

    def begin(self, work: Callable[[], _T]) -> _T:
        """``work``, which may be done twice, once the server has a connection free. A wrong address is not waited for."""
        return self._patiently(attempt=work, of=Busy)

    def close(self) -> None:
        self._engine.dispose()

    def make_place(self, connection: Connection) -> None:
        """Where the tables will be, when it is not there."""
        if self.schema is not None:
            make_schema(connection, self.schema)

    @contextlib.contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        connected = False
        try:
            with self._engine.connect() as connection:
                connected = True
                with connection.execution_options(loom_write=write).begin():
                    yield connection
        except DBAPIError as error:
            lost = self.schema is not None and (not connected or error.connection_invalidated)
            why = error.orig or error
            raise self._unusable(why, away(why) if lost else Misconfigured) from error

    def _unusable(self, error: BaseException, kind: type[Misconfigured] = Misconfigured) -> Misconfigured:
        why = self._secrets.out_of(error)
        return kind("the ledger cannot be used", where=self.name, why=why, fix=self._fix, kind="ledger")

    @property
    def _writer(self) -> str:
        """One thread: its transactions follow each other."""
        return f"{self._id}-{threading.get_ident()}"

    def _marked(self, connection: Connection, mark: str) -> bool:
        mine = select(last_writes.c.mark).where(last_writes.c.writer == self._writer)
        return connection.scalar(mine) == mark

    def _mark(self, connection: Connection, mark: str) -> None:
        now = datetime.now(UTC)
        values = {"mark": mark, "written_at": now}
        mine = update(last_writes).where(last_writes.c.writer == self._writer).values(values)
        if connection.execute(mine).rowcount == 0:
            connection.execute(delete(last_writes).where(last_writes.c.written_at < now - _KEPT))
            connection.execute(insert(last_writes).values(writer=self._writer, **values))


def _url(where: Path | str) -> URL:
    if not isinstance(where, str) or "://" not in where:
        return URL.create("sqlite", database=str(where))
    return read_url(where, "ledger")


def repeatable(rows: Iterable[_T]) -> Iterable[_T]:
    """Something that can be written more than once, as ``Database.write`` may have to."""
    return list(rows) if isinstance(rows, Iterator) else rows
