"""The books: what was spent, by whom, when and for what; for those who look, where ``spend_log`` is for those who spend."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from loom_dagster.clock import Clock
from loom_dagster.ledger import spend as money
from loom_dagster.ledger.batch_tables import batches
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.rows import RunHandle, RunRow
from loom_dagster.ledger.spend import UNIT, Entry, Stored
from loom_dagster.ledger.tables import reservations, spend
from loom_dagster.records import Account

__all__ = ["BookRow", "Books", "Used"]

_NUMBERS = (
    "spent",
    "unconfirmed",
    "calls",
    "unpriced",
    "lost",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
)
_BY = ("day", "pipeline", "purpose", "model", "prompt", "run_id")


class BookRow(NamedTuple):
    """What was spent for one thing; what it was not asked by is empty. ``day`` is UTC's, as ``2026-01-31``."""

    day: str
    pipeline: str
    purpose: str
    model: str
    prompt: str
    run_id: str
    entry: Entry


class Used(NamedTuple):
    """Of one budget, in USD: paid for, paid for perhaps, and reserved for calls in flight and for batches."""

    spent: float
    unconfirmed: float
    in_flight: float


class Books:
    """Of every pipeline."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def settle(self, stored: Stored) -> None:
        """Settle what killed runs had in flight, as the next run would."""
        now = self._clock.now()
        if self._database.read(lambda connection: money.is_owed(connection, now)):
            self._database.write(lambda connection: money.recover(connection, now, stored))

    def rows(
        self,
        by: Sequence[str],
        *,
        pipeline: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> list[BookRow]:
        """What was spent from the day ``since`` to the day ``until``, both included, one row for each of ``by`` (fields
        of BookRow)."""
        table = spend.c
        columns = [table[name] for name in _BY if name in by]
        query = select(*columns, *[func.sum(table[name]).label(name) for name in _NUMBERS]).group_by(*columns)
        if pipeline is not None:
            query = query.where(table.pipeline == pipeline)
        if since is not None:
            query = query.where(table.day >= since.isoformat())
        if until is not None:
            query = query.where(table.day <= until.isoformat())
        found = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [
            BookRow(
                **{name: row.get(name, "") for name in _BY},
                entry=Entry(**{name: int(row[name] or 0) for name in _NUMBERS}),
            )
            for row in found
        ]

    def of_run(self, run: RunHandle) -> dict[Account, Entry]:
        """What a run has come to since it last had its budget anew, by what it was spent for."""
        table = spend.c
        query = (
            select(*[table[name] for name in Account._fields], *[func.sum(table[name]) for name in _NUMBERS])
            .where(table.run_id == run.run_id, table.allowance == run.allowance)
            .group_by(*[table[name] for name in Account._fields])
        )
        found = self._database.read(lambda connection: connection.execute(query).all())
        return {Account(*row[:3]): Entry(*(int(number) for number in row[3:])) for row in found}

    def in_flight(self, pipeline: str | None = None) -> float:
        """USD reserved for calls whose outcome is open, of runs that are going on."""
        query = select(func.coalesce(func.sum(reservations.c.amount), 0))
        if pipeline is not None:
            query = query.where(reservations.c.pipeline == pipeline)
        return int(self._database.read(lambda connection: connection.scalar(query)) or 0) * UNIT

    def ordered(self, pipeline: str | None = None) -> float:
        """USD reserved for batches that are not settled."""
        query = select(func.coalesce(func.sum(batches.c.reserved), 0))
        if pipeline is not None:
            query = query.where(batches.c.pipeline == pipeline)
        return int(self._database.read(lambda connection: connection.scalar(query)) or 0) * UNIT

    def used(self, pipeline: str, run: RunRow | None) -> dict[str, Used]:
        """How far the budgets ``run``, ``day`` and ``month`` are used; ``run`` is the one that the next start would
        continue. Its own batches are left out: whoever looks ahead still counts their questions."""
        day = f"{self._clock.now():%Y-%m-%d}"

        def of(connection: Connection) -> dict[str, Used]:
            month = spend.c.day.between(f"{day[:7]}-01", f"{day[:7]}-31")
            scopes: dict[str, list[ColumnElement[bool]]] = {
                "run": [
                    spend.c.run_id == (run.run_id if run else ""),
                    spend.c.allowance == (run.allowance if run else 0),
                ],
                "day": [spend.c.pipeline == pipeline, spend.c.day == day],
                "month": [month],
            }
            own = run.run_id if run else ""
            return {name: _used(connection, name, scope, pipeline, own) for name, scope in scopes.items()}

        return self._database.read(of)


def _used(
    connection: Connection, name: str, scope: Sequence[ColumnElement[bool]], pipeline: str, own: str
) -> Used:
    sums = select(func.sum(spend.c.spent), func.sum(spend.c.unconfirmed)).where(*scope)
    spent, unconfirmed = connection.execute(sums).one()
    if name == "run":
        return Used(*(int(value or 0) * UNIT for value in (spent, unconfirmed, 0)))
    held = select(func.sum(reservations.c.amount))
    ordered = select(func.sum(batches.c.reserved)).where(batches.c.run_id != own)
    if name == "day":
        held = held.where(reservations.c.pipeline == pipeline)
        ordered = ordered.where(batches.c.pipeline == pipeline)
    in_flight = int(connection.scalar(held) or 0) + int(connection.scalar(ordered) or 0)
    return Used(*(int(value or 0) * UNIT for value in (spent, unconfirmed, in_flight)))
