"""The answer store as something that is looked after: what is in it, and how answers leave it.

Beside running pipelines: answers go in small transactions, so that nobody who writes one waits for long, and the
file shrinks in small steps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger.answers import AnswerLog

__all__ = ["AnswerGroup", "Selection", "Upkeep"]

_T = TypeVar("_T")

_STEP = 20_000  # rows looked at in a transaction
_PAGES = 1_000  # given back in one
_INCREMENTAL = 2  # PRAGMA auto_vacuum
_BYTES = "length(text) + 200"  # of an answer: its text, and about so much for the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGroup:
    """The answers that one model gave to one prompt of a pipeline (judges have no prompt of the project). ``cost``: USD
    that was paid for them, None where a price is not known; times in UNIX seconds."""

    pipeline: str
    prompt: str
    model: str
    answers: int
    cost: float | None
    input_tokens: int
    output_tokens: int
    oldest: float
    newest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Answers for which all that is given holds; of some ``pipelines`` only. ``before`` in UNIX seconds; those of the ``spared`` pipelines, and all
    from ``spared_from`` on, stay."""

    record: str | None = None
    prompt: str | None = None
    model: str | None = None
    before: float | None = None
    pipelines: Sequence[str] | None = None
    spared: Sequence[str] = ()
    spared_from: float | None = None

    def condition(self) -> tuple[str, list[str | float]]:
        """In SQL, and its values. Raises Misconfigured when nothing is given: everything is never meant."""
        times = [at for at in (self.before, self.spared_from) if at is not None]
        wanted: dict[str, str | float | None] = {
            "record_id = ?": self.record,
            "? IN (prompt, substr(prompt, 1, instr(prompt, '@') - 1))": self.prompt,
            "model = ?": self.model,
            "created_at < ?": min(times, default=None),
        }
        chosen = {sql: value for sql, value in wanted.items() if value is not None}
        if not chosen:
            raise Misconfigured("which answers?", fix="give a record, a prompt or a model")
        sql, values = " AND ".join(chosen), list(chosen.values())
        if self.pipelines is not None:
            sql += f" AND pipeline IN ({', '.join('?' * len(self.pipelines))})"
            values += self.pipelines
        for name in self.spared:
            sql += " AND pipeline <> ?"
            values.append(name)
        return sql, values


class Upkeep:
    """The store at ``path``, which need not be there. Raises Misconfigured when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        """Bytes on disk."""
        files = (self._path.with_name(self._path.name + end) for end in ("", "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def groups(self) -> list[AnswerGroup]:
        """What is there, the most answers first."""
        query = """
            SELECT pipeline, prompt, model, count(*), CASE WHEN count(cost) = count(*) THEN sum(cost) END,
                   sum(input_tokens), sum(output_tokens), min(created_at), max(created_at)
            FROM answers GROUP BY pipeline, prompt, model ORDER BY count(*) DESC, pipeline, prompt, model
        """
        rows: list[tuple[Any, ...]] = self._with(lambda db: db.execute(query).fetchall(), [])
        names = AnswerGroup.__dataclass_fields__
        return [AnswerGroup(**dict(zip(names, row, strict=True))) for row in rows]

    def meant(self, selection: Selection) -> tuple[int, int]:
        """How many answers, and about how many bytes."""
        condition, values = selection.condition()
        query = f"SELECT count(*), coalesce(sum({_BYTES}), 0) FROM answers WHERE {condition}"  # noqa: S608 - fixed names
        found: tuple[int, int] = self._with(lambda db: db.execute(query, values).fetchone(), (0, 0))
        return found

    def delete(self, selection: Selection) -> int:
        """Take them away, overwritten on disk; gives how many there were."""
        condition, values = selection.condition()
        statement = f"DELETE FROM answers WHERE rowid BETWEEN ? AND ? AND {condition}"  # noqa: S608 - fixed names

        def work(db: sqlite3.Connection) -> int:
            db.execute("PRAGMA secure_delete = ON")
            first, last = db.execute("SELECT min(rowid), max(rowid) FROM answers").fetchone()
            if first is None:
                return 0
            steps = range(first, last + 1, _STEP)
            return sum(db.execute(statement, [at, at + _STEP - 1, *values]).rowcount for at in steps)

        return self._with(work, 0)

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

        return self._with(work, True)

    def _with(self, work: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        if not self._path.exists():
            return nothing
        AnswerLog(self._path).close()  # one of a newer version is refused
        try:
            with self._opened() as db:
                return work(db)
        except (sqlite3.Error, OSError) as error:
            raise Misconfigured(
                "the answer store cannot be looked after",
                where=str(self._path),
                why=str(error),
                fix="check the folder's permissions and free space; what is left of it can be used",
            ) from error

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=30.0, isolation_level=None)
        try:
            yield db
        finally:
            db.close()


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])
