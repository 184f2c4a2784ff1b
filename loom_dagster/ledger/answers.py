"""The answer store: every answer that was paid for, on disk before anything else is done with it.

Cache, call log and crash journal in one SQLite file. Reads happen on the caller's thread (an
indexed lookup, tens of microseconds); writes are queued to one thread that commits everything
that is waiting in a single transaction, so that hundreds of calls share one fsync.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from loom_dagster.clock import Clock, SystemClock
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.grouped import Grouped
from loom_dagster.ledger.wal import use_wal
from loom_dagster.records import Answer, Usage

if TYPE_CHECKING:
    from typing import Protocol

    class Origin(Protocol):  # gateway.Origin fits; the ledger does not import the gateway
        @property
        def pipeline(self) -> str: ...
        @property
        def record_id(self) -> str: ...
        @property
        def purpose(self) -> str: ...
        @property
        def prompt(self) -> str: ...


__all__ = ["COLUMNS", "FOUND", "AnswerLog", "answer_of", "row_of"]

_T = TypeVar("_T")

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    cost REAL, latency REAL NOT NULL, simulated INTEGER NOT NULL, created_at REAL NOT NULL,
    pipeline TEXT NOT NULL, record_id TEXT NOT NULL, purpose TEXT NOT NULL, prompt TEXT NOT NULL
)
"""
COLUMNS = (
    "key", "model", "text", "finish", "input_tokens", "output_tokens", "cached_tokens", "cost", "latency",
    "simulated", "created_at", "pipeline", "record_id", "purpose", "prompt",
)  # fmt: skip
FOUND = COLUMNS[:11]
"""What makes an answer again, and when it was stored."""
_SELECT = f"SELECT {', '.join(FOUND)} FROM answers WHERE key = ?"  # noqa: S608 - fixed names
_STEP = 64  # rows a statement
_SELECT_MANY = _SELECT.replace("= ?", f"IN ({', '.join('?' * _STEP)})")
_STORED_AT = COLUMNS.index("created_at")
_BATCH = 4096  # rows a transaction, so that nobody waits for a commit that never comes


class AnswerLog:
    """The answers in the SQLite file at ``path``, made when missing. Any thread, any event loop, several processes.

    Raises Misconfigured when the file cannot be opened, read or written.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._closed = False
        self._reader = self._guard(self._connect, "opened")
        self._writer = self._guard(self._connect, "opened")
        self._puts = Grouped(self._commit, name="answer-log", most=_BATCH, closed=self._late)

    def get(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        """The stored answer with ``reused`` set; None if there is none or it is older than ``not_before`` (UNIX seconds)."""
        row = self._guard(lambda: self._reader.execute(_SELECT, (key,)).fetchone(), "read")
        return None if row is None else answer_of(row, not_before)

    async def put(self, answer: Answer, origin: Origin) -> None:
        """Return once the answer is on disk; one for a key that exists replaces it."""
        await self._puts.do(row_of(answer, origin, self._clock.now().timestamp()))

    async def put_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Return once all are on disk. ``rows`` as ``row_of`` makes them; stored now, whenever they say."""
        now = self._clock.now().timestamp()
        await self._puts.do_all([(*row[:_STORED_AT], now, *row[_STORED_AT + 1 :]) for row in rows])

    async def get_many(self, keys: Iterable[bytes]) -> dict[bytes, tuple[Any, ...]]:
        """What is stored of ``keys``, as ``answer_of`` takes it."""
        wanted = list(keys)

        def read() -> dict[bytes, tuple[Any, ...]]:
            found: dict[bytes, tuple[Any, ...]] = {}
            for start in range(0, len(wanted), _STEP):
                step = wanted[start : start + _STEP]
                step += step[-1:] * (_STEP - len(step))  # one statement, whatever the number
                found.update((row[0], row) for row in self._reader.execute(_SELECT_MANY, step).fetchall())
            return found

        return await asyncio.to_thread(self._guard, read, "read")

    def count(self) -> int:
        """How many answers there are."""
        row = self._guard(lambda: self._reader.execute("SELECT count(*) FROM answers").fetchone(), "read")
        return int(row[0])

    def close(self) -> None:
        """Write what is queued and close the file. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._puts.close()
        self._reader.close()
        self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found > _VERSION:
                raise Misconfigured(
                    "the answer store was written by a newer loom_dagster",
                    where=str(self.path),
                    fix="upgrade loom-dagster, or move the file away",
                )
            if found < _VERSION:  # so that the file can shrink in steps; before anything is in it
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            use_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -4096")
            if found < _VERSION:
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _guard(self, action: Callable[[], _T], verb: str) -> _T:
        try:
            return action()
        except (sqlite3.Error, OSError) as error:
            raise self._broken(verb, error) from error

    def _broken(self, verb: str, error: Exception) -> Misconfigured:
        return Misconfigured(
            f"the answer store cannot be {verb}",
            where=str(self.path),
            why=str(error),
            fix="check the folder's permissions and free space; nothing already stored is lost",
        )

    def _late(self) -> Misconfigured:
        return Misconfigured("the answer store is closed", where=str(self.path))

    def _commit(self, rows: list[tuple[Any, ...]]) -> Sequence[None]:
        """In one transaction."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for start in range(0, len(rows), _STEP):
                step = rows[start : start + _STEP]
                self._writer.execute(_insert(len(step)), [value for row in step for value in row])
            self._writer.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise self._broken("written", error) from error
        return [None] * len(rows)


@functools.cache
def _insert(rows: int) -> str:
    # One statement for many rows: between two statements the interpreter lock has to be won back
    # from a busy event loop (5 ms each), which would make a commit of 256 rows last 0.4 s.
    marks = ", ".join(["(" + ", ".join("?" * len(COLUMNS)) + ")"] * rows)
    return f"INSERT OR REPLACE INTO answers VALUES {marks}"  # noqa: S608 - question marks only


def row_of(answer: Answer, origin: Origin, created_at: float) -> tuple[Any, ...]:
    """As ``COLUMNS``. Raises Misconfigured for what is no text, so that it fails alone."""
    usage = answer.usage
    try:
        f"{answer.text}{origin.record_id}".encode()
    except UnicodeEncodeError as error:
        what = f"the answer for record {origin.record_id!r} is no text and cannot be stored"
        raise Misconfigured(what, why=str(error)) from error
    return (
        answer.key,
        answer.model,
        answer.text,
        answer.finish,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        answer.cost,
        answer.latency,
        answer.simulated,
        created_at,
        origin.pipeline,
        origin.record_id,
        origin.purpose,
        origin.prompt,
    )


def answer_of(row: Sequence[Any], not_before: float | None = None) -> Answer | None:
    """The answer of a row as ``FOUND``, ``reused``; None when it is older than ``not_before`` (UNIX seconds)."""
    key, model, text, finish, tokens, made, cached, cost, latency, simulated, created_at = row
    if not_before is not None and created_at < not_before:
        return None
    return Answer(
        key=key,
        model=model,
        text=text,
        finish=finish,
        usage=Usage(input_tokens=tokens, output_tokens=made, cached_tokens=cached),
        cost=cost,
        latency=latency,
        simulated=bool(simulated),
        reused=True,
    )
