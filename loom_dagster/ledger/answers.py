"""The answer store: every answer that was paid for, on disk before anything else is done with it.

Cache, call log and crash journal in one SQLite file. Reads happen on the caller's thread (an
indexed lookup, tens of microseconds); writes are queued to one thread that commits everything
that is waiting in a single transaction, so that hundreds of calls share one fsync.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from loom_dagster.clock import Clock, SystemClock
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.wal import use_wal
from loom_dagster.records import Answer, Usage

if TYPE_CHECKING:
    from typing import Protocol

    class _Origin(Protocol):  # gateway.Origin fits; the ledger does not import the gateway
        @property
        def pipeline(self) -> str: ...
        @property
        def record_id(self) -> str: ...
        @property
        def purpose(self) -> str: ...
        @property
        def prompt(self) -> str: ...


__all__ = ["AnswerLog"]

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
_COLUMNS = 15
_SELECT = """
SELECT model, text, finish, input_tokens, output_tokens, cached_tokens, cost, latency, simulated, created_at
FROM answers WHERE key = ?
"""
_STEP = 64  # rows a statement
_SELECT_MANY = f"""
SELECT key, model, text, finish, input_tokens, output_tokens, cached_tokens, cost, latency, simulated, created_at
FROM answers WHERE key IN ({", ".join("?" * _STEP)})
"""  # noqa: S608 - question marks only
_BATCH = 4096  # rows a transaction, so that nobody waits for a commit that never comes


class _Write(NamedTuple):
    row: tuple[Any, ...]
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


class AnswerLog:
    """The answers in the SQLite file at ``path``, made when missing. Any thread, any event loop, several processes.

    Raises Misconfigured when the file cannot be opened, read or written.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._reader = self._guard(self._connect, "opened")
        self._writer = self._guard(self._connect, "opened")

    def get(self, key: bytes, *, not_before: float | None = None) -> Answer | None:
        """The stored answer with ``reused`` set; None if there is none or it is older than ``not_before`` (UNIX seconds)."""
        row = self._guard(lambda: self._reader.execute(_SELECT, (key,)).fetchone(), "read")
        if row is None or (not_before is not None and row[9] < not_before):
            return None
        return Answer(
            key=key,
            model=row[0],
            text=row[1],
            finish=row[2],
            usage=Usage(input_tokens=row[3], output_tokens=row[4], cached_tokens=row[5]),
            cost=row[6],
            latency=row[7],
            simulated=bool(row[8]),
            reused=True,
        )

    async def put(self, answer: Answer, origin: _Origin) -> None:
        """Return once the answer is on disk; one for a key that exists replaces it."""
        loop = asyncio.get_running_loop()
        write = _Write(_row(answer, origin, self._clock.now().timestamp()), loop.create_future(), loop)
        with self._lock:
            if self._closed:
                raise Misconfigured("the answer store is closed", where=str(self.path))
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="answer-log", daemon=True)
                self._thread.start()
            self._writes.put(write)
        await write.done

    async def put_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Return once all are on disk, in one transaction. ``rows`` as ``row_of`` makes them; stored now, whenever
        they say."""
        now = self._clock.now().timestamp()
        error = await asyncio.to_thread(self._commit, [(*row[:10], now, *row[11:]) for row in rows])
        if error is not None:
            raise error

    async def get_many(self, keys: Collection[bytes]) -> dict[bytes, tuple[Any, ...]]:
        """What is stored of ``keys``, as ``answer_of`` takes it."""
        wanted = list(keys)

        def read() -> dict[bytes, tuple[Any, ...]]:
            found: dict[bytes, tuple[Any, ...]] = {}
            for start in range(0, len(wanted), _STEP):
                step = wanted[start : start + _STEP]
                step += step[-1:] * (_STEP - len(step))  # one statement, whatever the number
                found.update((row[0], row) for row in self._reader.execute(_SELECT_MANY, step))
            return found

        return await asyncio.to_thread(self._guard, read, "read")

    def forget(
        self, *, record: str | None = None, prompt: str | None = None, model: str | None = None
    ) -> int:
        """Delete the answers for which all that is given holds; how many there were. ``prompt`` is a name, for
        all its versions, or ``NAME@VERSION``.

        Raises Misconfigured when nothing is given: everything is never meant.
        """
        given = {
            "record_id = ?": record,
            "? IN (prompt, substr(prompt, 1, instr(prompt, '@') - 1))": prompt,
            "model = ?": model,
        }
        where = {condition: value for condition, value in given.items() if value is not None}
        if not where:
            raise Misconfigured("forget which answers?", fix="give a record, a prompt or a model")
        condition = " AND ".join(where)
        statement = f"DELETE FROM answers WHERE {condition}"  # noqa: S608 - fixed column names
        return self._guard(lambda: self._reader.execute(statement, tuple(where.values())).rowcount, "written")

    def count(self) -> int:
        """How many answers there are."""
        row = self._guard(lambda: self._reader.execute("SELECT count(*) FROM answers").fetchone(), "read")
        return int(row[0])

    def close(self) -> None:
        """Write what is queued and close the file. Closing twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._writes.put(None)
        if self._thread is not None:
            self._thread.join()
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

    def _write_all(self) -> None:
        """The writer thread: take what waits, commit once, wake those who waited."""
        while True:
            batch = [self._writes.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH:
                    batch.append(self._writes.get_nowait())
            writes = [write for write in batch if write is not None]
            if writes:
                _tell(writes, self._commit([write.row for write in writes]))
            if len(writes) < len(batch):
                return

    def _commit(self, rows: list[tuple[Any, ...]]) -> Misconfigured | None:
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                for start in range(0, len(rows), _STEP):
                    step = rows[start : start + _STEP]
                    self._writer.execute(_insert(len(step)), [value for row in step for value in row])
                self._writer.execute("COMMIT")
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                return self._broken("written", error)
        return None


@functools.cache
def _insert(rows: int) -> str:
    # One statement for many rows: between two statements the interpreter lock has to be won back
    # from a busy event loop (5 ms each), which would make a commit of 256 rows last 0.4 s.
    marks = ", ".join(["(" + ", ".join("?" * _COLUMNS) + ")"] * rows)
    return f"INSERT OR REPLACE INTO answers VALUES {marks}"  # noqa: S608 - question marks only


def _row(answer: Answer, origin: _Origin, created_at: float) -> tuple[Any, ...]:
    usage = answer.usage
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


def _tell(writes: list[_Write], error: Misconfigured | None) -> None:
    """Wake those who wait, with one call into each event loop (there is nearly always just one)."""
    for loop in {write.loop for write in writes}:
        waiting = [write.done for write in writes if write.loop is loop]
        with contextlib.suppress(RuntimeError):  # the loop has been closed; nobody waits there any more
            loop.call_soon_threadsafe(_wake, waiting, error)


def _wake(waiting: list[asyncio.Future[None]], error: Misconfigured | None) -> None:
    for done in waiting:
        if done.done():  # cancelled while it waited
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
