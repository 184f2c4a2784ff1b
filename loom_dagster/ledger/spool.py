"""The questions of batches: on disk from the moment they are gathered until the run they belong to has ended.

What is asked lies in a file a batch, a line a question, as the provider takes it; which questions are where is kept in
one SQLite file beside them. A question is in one batch at a time, whoever asks it.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.wal import use_wal
from loom_dagster.records import Usage

__all__ = ["Spool", "Spooled", "Told", "Totals"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS questions (
    key BLOB PRIMARY KEY, state TEXT NOT NULL, slot TEXT NOT NULL, run_id TEXT NOT NULL, batch TEXT NOT NULL,
    worst INTEGER NOT NULL, tries INTEGER NOT NULL, paid INTEGER NOT NULL, unsure INTEGER NOT NULL,
    record_id TEXT NOT NULL, prompt TEXT NOT NULL, error TEXT, unpriced INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0, cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS of_batch ON questions (batch, state);
CREATE INDEX IF NOT EXISTS of_slot ON questions (slot, state);
CREATE TABLE IF NOT EXISTS orders (batch TEXT PRIMARY KEY, slot TEXT NOT NULL, asked TEXT NOT NULL)
"""
_FIND = "SELECT state, run_id, batch, tries, error FROM questions WHERE key = ?"
_ADD = """
INSERT INTO questions (key, state, slot, run_id, batch, worst, tries, paid, unsure, record_id, prompt)
VALUES (?, 'waiting', ?, ?, ?, ?, 0, 0, 0, ?, ?)
ON CONFLICT (key) DO UPDATE SET state = 'waiting', slot = excluded.slot, run_id = excluded.run_id,
    batch = excluded.batch, worst = excluded.worst, paid = 0, unsure = 0, error = NULL, unpriced = 0,
    input_tokens = 0, cached_tokens = 0, output_tokens = 0,
    tries = CASE WHEN questions.run_id = excluded.run_id THEN questions.tries ELSE 0 END,
    record_id = excluded.record_id, prompt = excluded.prompt
WHERE questions.state NOT IN ('waiting', 'sent')
"""
_TELL = """
UPDATE questions SET state = ?, paid = ?, unsure = CASE WHEN ? THEN worst ELSE 0 END, error = ?,
    unpriced = ?, input_tokens = ?, cached_tokens = ?, output_tokens = ?
WHERE key = ? AND batch = ? AND (state <> 'answered' OR ? = 'answered')
"""
_TOTALS = """
SELECT prompt, sum(state = 'answered'), sum(unpriced), sum(paid), sum(input_tokens), sum(cached_tokens),
    sum(output_tokens), sum(unsure > 0), sum(unsure), sum(state = 'sent'),
    sum(CASE WHEN state = 'sent' THEN worst ELSE 0 END)
FROM questions WHERE batch = ? GROUP BY prompt
"""


class Spooled(NamedTuple):
    """What is known of a question. ``state``: waiting (gathered), sent, answered, again (to be asked once more) or
    failed, of which ``error`` says why, as JSON."""

    state: str
    run_id: str
    batch: str
    tries: int
    error: str | None


class Told(NamedTuple):
    """What a batch said of a question: ``paid`` in picodollars (None: the price is not known); ``unsure``: it may have
    been paid for."""

    key: bytes
    state: str
    paid: int | None = 0
    unsure: bool = False
    error: str | None = None
    usage: Usage = Usage()


class Totals(NamedTuple):
    """Of the questions of a batch that have a prompt; money in picodollars. ``lost`` may have been paid, for
    ``unsure`` at most, and of the ``missing`` nothing was said."""

    prompt: str
    answered: int
    unpriced: int
    paid: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    lost: int
    unsure: int
    missing: int
    missing_worst: int


class Spool:
    """The folder, made when it is first used. For any thread, and several processes.

    Raises Misconfigured when it cannot be opened, read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    @functools.cached_property
    def _db(self) -> sqlite3.Connection:
        with self._guard("opened"):
            self.folder.mkdir(parents=True, exist_ok=True)
            opened = sqlite3.connect(
                self.folder / "questions.sqlite", timeout=30.0, isolation_level=None, check_same_thread=False
            )
            use_wal(opened)
            opened.execute("PRAGMA synchronous = FULL")
            opened.execute("PRAGMA cache_size = -8192")
            opened.executescript(_SCHEMA)
        return opened

    def close(self) -> None:
        """Closing what was never used, or twice, is fine."""
        opened = self.__dict__.pop("_db", None)
        if opened is not None:
            opened.close()

    def file(self, batch: str) -> Path:
        """The questions of a batch, as they are sent."""
        return self.folder / f"{batch}.jsonl"

    def find(self, key: bytes) -> Spooled | None:
        with self._guard("read"):
            row = self._db.execute(_FIND, (key,)).fetchone()
        return None if row is None else Spooled(*row)

    def begin(self, slot: str, run_id: str, open_batches: Collection[str]) -> None:
        """A run begins or goes on: what was gathered for its slot and not sent is forgotten, and what is of other
        runs and not under way. Questions of batches that are over and gave nothing are to be asked again."""
        with self._write() as db:
            over = [b for (b,) in db.execute("SELECT DISTINCT batch FROM questions WHERE state = 'sent'")]
            gone = [(batch,) for batch in over if batch not in open_batches]
            db.executemany("UPDATE questions SET state = 'again' WHERE state = 'sent' AND batch = ?", gone)
            ordered = db.execute("SELECT batch FROM orders WHERE slot = ?", (slot,))
            waiting = [(batch,) for (batch,) in ordered.fetchall() if batch not in open_batches]
            for change in (
                "DELETE FROM questions WHERE batch = ? AND state = 'waiting' AND tries = 0",
                "UPDATE questions SET state = 'again' WHERE batch = ? AND state = 'waiting'",
            ):
                db.executemany(change, waiting)
            db.execute(
                "DELETE FROM questions WHERE slot = ? AND run_id <> ? AND state NOT IN ('sent', 'waiting')",
                (slot, run_id),
            )
            db.executemany("DELETE FROM orders WHERE batch = ?", waiting)
        for (batch,) in waiting:
            self.file(batch).unlink(missing_ok=True)

    def end(self, slot: str, run_id: str) -> None:
        """The run has ended: nothing of it is asked again."""
        with self._write() as db:
            db.execute(
                "DELETE FROM questions WHERE slot = ? AND run_id = ? AND state <> 'sent'", (slot, run_id)
            )

    def order(self, batch: str, slot: str, asked: Mapping[str, Any]) -> None:
        """A batch is gathered from now on; ``asked`` says how its answers are read."""
        with self._write() as db:
            db.execute("INSERT INTO orders VALUES (?, ?, ?)", (batch, slot, orjson.dumps(asked).decode()))

    def asked(self, batch: str) -> dict[str, Any] | None:
        """None for a batch that was not gathered here."""
        with self._guard("read"):
            row = self._db.execute("SELECT asked FROM orders WHERE batch = ?", (batch,)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def add(self, rows: Sequence[tuple[Any, ...]]) -> list[bool]:
        """Of each (key, slot, run_id, batch, worst, record_id, prompt) whether it is new: one that is in a batch
        already stays there."""
        with self._write() as db:
            return [db.execute(_ADD, row).rowcount == 1 for row in rows]

    def count(self, batch: str) -> tuple[int, int]:
        """How many questions a batch has, and the worst they can cost, in picodollars."""
        query = "SELECT count(*), coalesce(sum(worst), 0) FROM questions WHERE batch = ?"
        with self._guard("read"):
            number, worst = self._db.execute(query, (batch,)).fetchone()
        return int(number), int(worst)

    def send(self, batch: str) -> None:
        """From now on the questions of a batch may be with the provider."""
        with self._write() as db:
            db.execute("UPDATE questions SET state = 'sent' WHERE batch = ? AND state = 'waiting'", (batch,))

    def origins(self, batch: str, keys: Iterable[bytes]) -> dict[bytes, tuple[str, str]]:
        """Record and prompt of those of ``keys`` that are in the batch."""
        query = "SELECT record_id, prompt FROM questions WHERE key = ? AND batch = ?"
        found: dict[bytes, tuple[str, str]] = {}
        with self._guard("read"):
            for key in keys:
                row = self._db.execute(query, (key, batch)).fetchone()
                if row is not None:
                    found[key] = row
        return found

    def tell(self, batch: str, told: Iterable[Told]) -> None:
        """What became of questions; told twice, it is the same."""
        with self._write() as db:
            db.executemany(_TELL, [_row(batch, t) for t in told])

    def reopen(self, batch: str) -> None:
        """What the batch refused was not the fault of its questions: they are to be asked again."""
        with self._write() as db:
            db.execute("UPDATE questions SET state = 'again' WHERE state = 'failed' AND batch = ?", (batch,))

    def totals(self, batch: str) -> list[Totals]:
        """One a prompt."""
        with self._guard("read"):
            return [Totals(*row) for row in self._db.execute(_TOTALS, (batch,))]

    def settled(self, batch: str, *, tried: bool) -> None:
        """The batch is in the books: what it did not answer is to be asked again; ``tried``: it counts as a try."""
        with self._write() as db:
            db.execute(
                "UPDATE questions SET state = 'again', tries = tries + ? WHERE state IN ('sent', 'again') AND batch = ?",
                (int(tried), batch),
            )
            db.execute("DELETE FROM orders WHERE batch = ?", (batch,))
        self.file(batch).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._guard("written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _guard(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise Misconfigured(
                f"the questions of batches cannot be {verb}",
                where=str(self.folder),
                why=str(error),
                fix="check the folder's permissions and free space; nothing already answered is lost",
            ) from error


def _row(batch: str, told: Told) -> tuple[Any, ...]:
    usage, unpriced = told.usage, told.state == "answered" and told.paid is None
    return (
        told.state,
        told.paid or 0,
        told.unsure,
        told.error,
        unpriced,
        usage.input_tokens,
        usage.cached_tokens,
        usage.output_tokens,
        told.key,
        batch,
        told.state,
    )
