"""Batches at providers: what was meant, what was sent, what it may cost, and what came of it.

What a batch may cost is reserved in its row, which lives on when the process that sent it is gone: it counts in
every budget until the transaction that settles it, and there is one such transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, delete, insert, or_, select, update

from loom_dagster.clock import Clock
from loom_dagster.errors import OverBudget
from loom_dagster.ledger import spend
from loom_dagster.ledger.audit import Deed, keep
from loom_dagster.ledger.batch_tables import OPEN_BATCHES, BatchRow, batches
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.process import Process, is_gone, this_process
from loom_dagster.ledger.room import Room
from loom_dagster.ledger.rows import RunHandle
from loom_dagster.ledger.spend import SILENT, UNIT, Entry
from loom_dagster.records import Account

__all__ = ["Batches"]

_MONEY = ("reserved", "spent", "unconfirmed")
_OF_PROCESSES = ("host", "pid", "process_start", "beat_at")


class Batches:
    """Of every pipeline and partition."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def begin(self, run: RunHandle, *, provider: str, endpoint: str, model: str) -> str:
        """A batch that is gathered from now on; gives its id, by which it is found again at the provider."""
        batch_id = uuid.uuid4().hex[:16]
        values = {
            "batch_id": batch_id,
            "run_id": run.run_id,
            "allowance": run.allowance,
            "pipeline": run.pipeline,
            "partition": run.partition,
            "provider": provider,
            "endpoint": endpoint,
            "model": model,
            "state": "spooling",
            **dict.fromkeys(("requests", "done", "failed", *_MONEY), 0),
            "created_at": self._clock.now(),
            **self._me(),
        }
        self._database.write(lambda connection: connection.execute(insert(batches).values(values)))
        return batch_id

    def reserve(self, batch_id: str, run: RunHandle, amount: int, limits: Mapping[str, int]) -> bool:
        """Whether ``amount`` picodollars more are reserved now; False when there may yet be room for them, as calls in
        flight give something back. Raises OverBudget when there will be none."""

        def work(connection: Connection) -> bool | OverBudget:
            if limits:
                day = f"{self._clock.now():%Y-%m-%d}"
                room = Room(limits, spend.sums(connection, run, day, ""), ours=0)
                if not room.fits(amount):
                    return not room.may_fit_later(amount) and room.refusal(amount, run.pipeline)
            connection.execute(
                update(batches)
                .where(batches.c.batch_id == batch_id)
                .values(reserved=batches.c.reserved + amount, beat_at=self._clock.now())
            )
            return True

        found = self._database.write(work)
        if isinstance(found, OverBudget):
            raise found
        return found

    def seal(self, batch_id: str, *, requests: int, reserved: int) -> None:
        """It is about to be sent, with so many questions that may cost so much (picodollars)."""
        now = self._clock.now()
        self._set(
            batch_id, state="submitting", requests=requests, reserved=reserved, submitted_at=now, beat_at=now
        )

    def forget(self, pipeline: str, partition: str) -> None:
        """Of what was gathered for a slot and not sent, nothing is left."""
        spooled = and_(
            batches.c.state == "spooling",
            batches.c.pipeline == pipeline,
            batches.c.partition == partition,
        )
        self._database.write(lambda connection: connection.execute(delete(batches).where(spooled)))

    def claim(self, batch_id: str) -> bool:
        """Whether this process is the one that sends it: who began to, and is alive, goes on."""
        me = this_process()

        def work(connection: Connection) -> bool:
            now = self._clock.now()
            found = connection.execute(
                select(batches).where(batches.c.batch_id == batch_id, batches.c.state == "submitting")
            ).first()
            if found is None:
                return False
            owner = Process(host=found.host, pid=found.pid, start=found.process_start)
            if owner != me and not is_gone(owner, silent=now - found.beat_at >= SILENT):
                return False
            connection.execute(update(batches).where(batches.c.batch_id == batch_id).values(self._me()))
            return True

        return self._database.write(work)

    def uploaded(self, batch_id: str, file_id: str) -> None:
        """The provider has its file."""
        self._set(batch_id, file_id=file_id, beat_at=self._clock.now())

    def sent(self, batch_id: str, provider_id: str) -> None:
        """The provider has it."""
        self._set(batch_id, only=("submitting",), state="submitted", provider_id=provider_id)

    def saw(self, batch_id: str, provider_state: str, *, done: int, failed: int, ended: bool) -> None:
        """What the provider says of it."""
        now, more = self._clock.now(), {}
        if ended:
            more = {"state": "ended", "ended_at": now}
        self._set(
            batch_id,
            only=("submitted", "ended"),
            provider_state=provider_state,
            done=done,
            failed=failed,
            checked_at=now,
            **more,
        )

    def cancelled(self, batch_id: str, who: str) -> None:
        """Somebody asked for its end; what is left of it is not sent again by itself."""
        now, this = self._clock.now(), batches.c.batch_id == batch_id

        def work(connection: Connection) -> None:
            connection.execute(update(batches).where(this).values(cancelled_by=who))
            row = connection.execute(select(batches).where(this)).one()
            detail = {"requests": row.requests, "provider": row.provider}
            of = {"pipeline": row.pipeline, "partition": row.partition, "subject": batch_id}
            keep(connection, Deed(action="batch_cancel", who=who, detail=detail, **of), now)

        self._database.write(work)

    def settle(
        self,
        batch_id: str,
        state: str,
        entries: Mapping[Account, Entry] | None = None,
        *,
        note: str | None = None,
    ) -> bool:
        """It has come to its end: collected, refused, dropped or lost. What it cost, ``entries``, goes to the books of its run
        in the transaction that gives back what was reserved. None: of a batch that is lost all of it may have been
        paid, of another one nothing was. False when it was settled before; nothing is counted then."""

        def work(connection: Connection) -> bool:
            row = connection.execute(select(batches).where(batches.c.batch_id == batch_id)).first()
            if row is None or row.state not in OPEN_BATCHES:
                return False
            now, found = self._clock.now(), entries or {}
            if entries is None and state == "lost":
                account = Account("transform", row.model, "")
                found = {account: Entry(unconfirmed=row.reserved, lost=row.requests)}
            spend.add(connection, row.run_id, row.allowance, row.pipeline, f"{now:%Y-%m-%d}", found)
            values = {
                "state": state,
                "reserved": 0,
                "spent": sum(entry.spent for entry in found.values()),
                "unconfirmed": sum(entry.unconfirmed for entry in found.values()),
                "note": note,
            }
            connection.execute(
                update(batches).where(batches.c.batch_id == batch_id).values(settled_at=now, **values)
            )
            return True

        return self._database.write(work)

    def rows(
        self,
        *,
        pipeline: str | None = None,
        states: Collection[str] | None = None,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> list[BatchRow]:
        """Newest first; those that are only gathered are none yet."""
        query = select(batches).where(batches.c.state != "spooling")
        if pipeline is not None:
            query = query.where(batches.c.pipeline == pipeline)
        if states is not None:
            query = query.where(batches.c.state.in_(states))
        if run_id is not None:
            query = query.where(batches.c.run_id == run_id)
        query = query.order_by(batches.c.created_at.desc(), batches.c.batch_id).limit(limit)
        return self._database.read(lambda c: [_row(row) for row in c.execute(query).mappings()])

    def open(self, pipeline: str | None = None) -> list[BatchRow]:
        """Those that are not settled."""
        return self.rows(pipeline=pipeline, states=OPEN_BATCHES)

    def needed(self) -> set[str]:
        """The ids of those whose questions are needed yet: that are gathered, or not settled."""
        query = select(batches.c.batch_id).where(batches.c.settled_at.is_(None))
        return self._database.read(lambda c: set(c.scalars(query)))

    def get(self, beginning: str) -> list[BatchRow]:
        """Those whose id, or the provider's id of them, begins so."""
        query = select(batches).where(
            batches.c.state != "spooling",
            or_(
                batches.c.batch_id.startswith(beginning, autoescape=True),
                batches.c.provider_id.startswith(beginning, autoescape=True),
            ),
        )
        return self._database.read(lambda c: [_row(row) for row in c.execute(query).mappings()])

    def _set(self, batch_id: str, *, only: Collection[str] | None = None, **values: Any) -> None:
        statement = update(batches).where(batches.c.batch_id == batch_id)
        if only is not None:
            statement = statement.where(batches.c.state.in_(only))
        self._database.write(lambda connection: connection.execute(statement.values(values)))

    def _me(self) -> dict[str, Any]:
        me = this_process()
        return {"host": me.host, "pid": me.pid, "process_start": me.start, "beat_at": self._clock.now()}


def _row(found: RowMapping) -> BatchRow:
    kept: dict[str, Any] = {str(name): value for name, value in found.items() if name not in _OF_PROCESSES}
    return BatchRow(**{**kept, **{name: kept[name] * UNIT for name in _MONEY}})
