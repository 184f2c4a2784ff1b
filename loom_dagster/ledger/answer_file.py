"""The file with the answers, for those who look at it or look after it beside running pipelines: answers go in small
transactions, so that nobody who writes one waits for long, and the file shrinks in small steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from loom_dagster.clock import Clock
from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.answers import COLUMNS, AnswerLog

__all__ = ["AnswerFile"]

_T = TypeVar("_T")

_STEP = 20_000  # rows looked at in a transaction
_PAGES = 1_000  # given back, or rows read, in one
_INCREMENTAL = 2  # PRAGMA auto_vacuum


class AnswerFile:
    """The SQLite file at ``path``, which need not be there and is not made. Raises Misconfigured when it cannot be used."""

    table, newest = "answers", "rowid DESC"

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)

    def open(self, *, clock: Clock | None = None) -> AnswerLog:
        """The store, made when it is missing; the caller closes it."""
        return AnswerLog(self.path, clock=clock)

    def exists(self) -> bool:
        return self.path.exists()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds; its values stand for question marks."""

        def work(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            db.execute("PRAGMA query_only = ON")
            return db.execute(sql, values).fetchall()

        return self._with(work, "read", [])

    def pages(self) -> Iterator[list[tuple[Any, ...]]]:
        """All answers as ``COLUMNS``, the oldest first, in pieces."""
        query = (
            f"SELECT rowid, {', '.join(COLUMNS)} FROM answers WHERE rowid > ? ORDER BY rowid LIMIT {_PAGES}"  # noqa: S608
        )
        last = 0
        while rows := self.rows(query, (last,)):
            last = rows[-1][0]
            yield [row[1:] for row in rows]

    def size(self) -> int:
        """Bytes on disk."""
        files = (self.path.with_name(self.path.name + end) for end in ("", "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def delete(self, condition: str, values: Sequence[Any]) -> int:
        """Those for which it holds, overwritten on disk."""
        statement = f"DELETE FROM answers WHERE rowid BETWEEN ? AND ? AND {condition}"  # noqa: S608 - fixed names

        def work(db: sqlite3.Connection) -> int:
            db.execute("PRAGMA secure_delete = ON")
            first, last = db.execute("SELECT min(rowid), max(rowid) FROM answers").fetchone()
            if first is None:
                return 0
            steps = range(first, last + 1, _STEP)
            return sum(db.execute(statement, [at, at + _STEP - 1, *values]).rowcount for at in steps)

        return self._looked_after(work, 0)

    def shrink(self, *, alone: bool) -> bool:
        """Give free room back to the disk; whether that was possible. A store that was made before it could shrink in
        steps is written anew, for which we have to be ``alone``."""

        def work(db: sqlite3.Connection) -> bool:
            steps = _number(db, "auto_vacuum") == _INCREMENTAL
            while steps and (free := _number(db, "freelist_count")):
                db.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
                if _number(db, "freelist_count") >= free:
                    break
            if not steps and alone:
                db.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
                db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return steps or alone

        return self._looked_after(work, True)

    def _looked_after(self, work: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        if self.exists():
            AnswerLog(self.path).close()  # one of a newer version is refused
        return self._with(work, "looked after", nothing)

    def _with(self, work: Callable[[sqlite3.Connection], _T], verb: str, nothing: _T) -> _T:
        if not self.exists():
            return nothing
        try:
            with closing(sqlite3.connect(self.path, timeout=30.0, isolation_level=None)) as db:
                return work(db)
        except (sqlite3.Error, OSError) as error:
            raise Misconfigured(
                f"the answer store cannot be {verb}",
                where=self.name,
                why=str(error),
                fix="check the folder's permissions and free space; what is left of it can be used",
            ) from error


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])
