"""A schema of a Postgres database that holds answers: its tables, and how they are asked.

Every statement is a transaction and a message of its own, nothing is said in the session (so that a pooler in between
does no harm), and each may be done twice: who loses the connection in the middle asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.postgres import plain_engine, schema_of
from loom_dagster.ledger.server import Away, Busy, Patience, Secrets, away, read_url, shown
from loom_dagster.records import digest

__all__ = ["AnswerServer", "given", "marked"]

_T = TypeVar("_T")

_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS {schema}.answers (
    key BYTEA PRIMARY KEY, model {text}, text {text}, finish {text},
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    cost DOUBLE PRECISION, latency DOUBLE PRECISION NOT NULL, simulated BOOLEAN NOT NULL,
    created_at DOUBLE PRECISION NOT NULL, pipeline {text}, record_id {text}, purpose {text}, prompt {text}
);
CREATE INDEX IF NOT EXISTS answers_in_order ON {schema}.answers (created_at);
CREATE TABLE IF NOT EXISTS {schema}.answers_version (version INTEGER PRIMARY KEY);
INSERT INTO {schema}.answers_version VALUES (1) ON CONFLICT DO NOTHING
"""
_LOOK = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{name}'),
       to_regclass('{schema}.answers_version') IS NOT NULL, current_setting('transaction_read_only') = 'on'
"""
_RIGHTS = ("SELECT", "INSERT", "UPDATE")
# deadlock; a standby that is not promoted yet; shut down, crashed, starting; no connection free
_AGAIN = {"40P01", "25006", "57P01", "57P02", "57P03", "53300"}
_MARK = "\ue000"  # of the private use area


class AnswerServer:
    """``url``: postgresql://USER:PASSWORD@HOST/DATABASE?schema=NAME. Nothing is connected before it is needed.

    Raises Misconfigured (kind ``ledger``) for everything that goes wrong with it. Texts may hold whatever a text can.
    """

    def __init__(self, url: str) -> None:
        read = read_url(url, "answer store")
        self.schema = schema_of(read, "answer store")
        self.name = f"{shown(read)}, schema {self.schema}"
        self.table = f'"{self.schema}".answers'
        self._secrets, self._patiently = Secrets(read), Patience()
        # two threads of a store, and whoever asks at once
        self._engine = plain_engine(read, "an answer store", isolation_level="AUTOCOMMIT", pool_size=2)
        self._there = False

    def exists(self) -> bool:
        """Whether answers were ever stored there; nothing is made."""
        if not self._there and self._looked()[1]:
            self._check()
        return self._there

    def prepare(self) -> None:
        """Make what is missing, and see that answers can be written. At once: a wrong address is not waited for."""
        has_schema, has_tables, read_only = self._looked()
        if read_only:
            raise self._unusable("the server takes nothing: it is a standby, or read-only")
        if not has_tables:
            self._make(has_schema=has_schema)
        self._check()
        asked = ", ".join(f"has_table_privilege('{self.table}', '{right}')" for right in _RIGHTS)
        rights = self._once(f"SELECT {asked}")
        for right, granted in zip(_RIGHTS, rights, strict=True):
            if not granted:
                raise self._unusable(f"permission denied: the user may not {right} in {self.table}")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds; its values stand for question marks. Nothing where there is no table."""
        if not self.exists():
            return []
        return self.run(lambda c: [_read(row) for row in c.exec_driver_sql(_spelled(sql), given(values))])

    def change(self, sql: str, values: Sequence[Any] = ()) -> int:
        """How many rows a statement changed; ``values`` as they are."""
        return self.run(lambda c: c.exec_driver_sql(_spelled(sql), tuple(values)).rowcount)

    def run(self, work: Callable[[Connection], _T], *, patient: bool = True) -> _T:
        """``work``, which may be done twice, on a connection; again when that is lost in the middle. Not ``patient``: only
        for a server that is there and has no connection free."""

        def attempt() -> _T:
            connected = False
            try:
                with self._engine.connect() as connection:
                    connected = True
                    return work(connection)
            except DBAPIError as error:
                again = error.connection_invalidated or getattr(error.orig, "pgcode", None) in _AGAIN
                why = error.orig or error
                raise self._unusable(why, away(why) if again or not connected else Misconfigured) from error
            except PoolTimeoutError as error:
                raise self._unusable(error) from error

        return self._patiently(attempt, Away if patient else Busy)

    def close(self) -> None:
        self._engine.dispose()

    def _looked(self) -> Sequence[Any]:
        """Whether the schema is there, whether the tables are, and whether nothing can be written."""
        return self._once(_LOOK.format(name=self.schema, schema=f'"{self.schema}"'))

    def _once(self, sql: str) -> Sequence[Any]:
        return self.run(lambda c: c.exec_driver_sql(sql).one(), patient=False)

    def _make(self, *, has_schema: bool) -> None:
        """In one message, which is one transaction; who may use a schema may not always make one."""
        lock = int.from_bytes(digest("answers", self.schema)[:8], signed=True)
        schema = f'"{self.schema}"'
        sql = f"SELECT pg_advisory_xact_lock({lock});"
        sql += "" if has_schema else f"CREATE SCHEMA IF NOT EXISTS {schema};"
        sql += _TABLES.format(schema=schema, text='TEXT COLLATE "C" NOT NULL')
        self.run(lambda c: c.exec_driver_sql(sql), patient=False)

    def _check(self) -> None:
        [version] = self._once(f'SELECT max(version) FROM "{self.schema}".answers_version')  # noqa: S608 - a plain name
        if (version or 0) > _VERSION:
            raise Misconfigured(
                "the answer store was written by a newer loom_dagster",
                where=self.name,
                fix="upgrade loom-dagster, or name another schema",
                kind="ledger",
            )
        self._there = True

    def _unusable(self, why: BaseException | str, kind: type[Misconfigured] = Misconfigured) -> Misconfigured:
        return kind(
            "the answer store cannot be used",
            where=self.name,
            why=why if isinstance(why, str) else self._secrets.out_of(why),
            fix="check that the server is up, the user, the password, and its rights in the schema; "
            "nothing already stored is lost",
            kind="ledger",
        )


def marked(text: str) -> str:
    """Postgres keeps no NUL; ``_plain`` makes the text again."""
    if "\0" in text or _MARK in text:
        return text.replace(_MARK, f"{_MARK}1").replace("\0", f"{_MARK}0")
    return text


def _plain(text: str) -> str:
    if _MARK in text:
        return text.replace(f"{_MARK}0", "\0").replace(f"{_MARK}1", _MARK)
    return text


def _spelled(sql: str) -> str:
    return sql.replace("?", "%s")


def given(values: Sequence[Any]) -> tuple[Any, ...]:
    """Values as they are bound."""
    return tuple(marked(value) if isinstance(value, str) else value for value in values)


def _read(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        _plain(value) if isinstance(value, str) else bytes(value) if isinstance(value, memoryview) else value
        for value in row
    )
