"""What people did: who released, resolved, reset, muted, forgot or removed what, when and why.

Written in the transaction of the deed itself. Each entry carries the hash of the one before it, and the database refuses
to change or delete one; who goes around both is found by ``Audit.verify``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Column, Connection, Integer, Row, String, Table, func, insert, select

from loom_dagster.clock import Clock
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.tables import Json, Moment, metadata
from loom_dagster.records import to_json, utf8

__all__ = ["Audit", "AuditRow", "Deed", "Tampering", "keep", "some"]

_SHOWN = 100  # ids of records in an entry; their number is always there
_AT_ONCE = 1_000

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("who", String, nullable=False),
    Column("action", String, nullable=False),
    Column("pipeline", String, nullable=False),
    Column("partition", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("why", String, nullable=False),
    Column("detail", Json, nullable=False),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What somebody did. ``action``: a word such as release, resolve, state_set, clean; ``subject``: the run, alert or
    setting that it was done to; ``detail``: numbers and ids, ready for JSON."""

    action: str
    who: str
    why: str = ""
    pipeline: str = ""
    partition: str = ""
    subject: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """A deed as it was kept. ``hash`` is over everything else in it, ``previous`` that of the entry before."""

    number: int
    at: datetime
    who: str
    action: str
    pipeline: str
    partition: str
    subject: str
    why: str
    detail: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tampering:
    """The first entry that is not as it was written."""

    number: int
    why: str


def some(ids: Sequence[str]) -> dict[str, Any]:
    """Records as an entry names them."""
    return {"records": len(ids), "ids": list(ids[:_SHOWN])}


def keep(connection: Connection, deed: Deed, now: datetime) -> None:
    """Write ``deed`` down, in a transaction that writes: there is one at a time, so the chain has no forks."""
    last = connection.execute(select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1))
    row = last.first()
    values: dict[str, Any] = {name: _text(value) for name, value in asdict(deed).items() if name != "detail"}
    values |= {
        "number": 1 if row is None else row.number + 1,
        "at": now.astimezone(UTC),
        "detail": orjson.loads(to_json(dict(deed.detail))),
        "previous": "" if row is None else row.hash,
    }
    connection.execute(insert(audit).values(**values, hash=_hash(values)))


class Audit:
    """The deeds of a project, which nobody changes afterwards."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def note(self, deed: Deed) -> None:
        """A deed on something that is not in the ledger: to be called before it is done."""
        now = self._clock.now()
        self._database.write(lambda connection: keep(connection, deed, now))

    def entries(
        self,
        *,
        pipeline: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[AuditRow]:
        """Newest first."""
        query = select(audit).order_by(audit.c.number.desc()).limit(limit)
        if pipeline is not None:
            query = query.where(audit.c.pipeline == pipeline)
        if action is not None:
            query = query.where(audit.c.action == action)
        if since is not None:
            query = query.where(audit.c.at >= since)
        rows = self._database.read(lambda c: c.execute(query).mappings().all())
        return [AuditRow(**row) for row in rows]

    def actions(self) -> list[str]:
        """Those that there are, sorted."""
        query = select(audit.c.action).distinct().order_by(audit.c.action)
        return self._database.read(lambda c: list(c.scalars(query)))

    def verify(self) -> tuple[int, str, Tampering | None]:
        """How many entries there are, the hash of the last one, and what is wrong with the first that is not as it was
        written. Whether entries were cut off at the end is told by the number and the hash of an earlier look."""

        def work(connection: Connection) -> tuple[int, str, Tampering | None]:
            number, previous = 0, ""
            query = select(audit).order_by(audit.c.number).execution_options(yield_per=_AT_ONCE)
            for row in connection.execute(query):
                if (wrong := _wrong(row, number, previous)) is not None:
                    return _count(connection), previous, wrong
                number, previous = row.number, row.hash
            return number, previous, None

        return self._database.read(work)


def _wrong(row: Row[Any], before: int, previous: str) -> Tampering | None:
    if row.number != before + 1:
        return Tampering(number=before + 1, why="the entry is missing")
    if row.previous != previous:
        return Tampering(number=row.number, why="it does not follow the entry before it")
    values = {c.name: getattr(row, c.name) for c in audit.c if c.name != "hash"}
    if row.hash != _hash(values):
        return Tampering(number=row.number, why="it was changed after it was written")
    return None


def _count(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(audit)) or 0


def _hash(values: Mapping[str, Any]) -> str:
    at = values["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(to_json({**values, "at": at})).hexdigest()


def _text(text: str) -> str:
    """As both databases keep it: Postgres has no NUL."""
    return str(utf8(text)).replace("\0", "\\u0000")
