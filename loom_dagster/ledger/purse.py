"""The money of a run that several workers spend: reservations and settlements of all of them, written together.

As SpendLog is for a run in one process, with the same tables, so that all runs of a project keep their budgets together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from loom_dagster.clock import Clock
from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.ledger import spend
from loom_dagster.ledger.database import Database
from loom_dagster.ledger.entries import Entry, count
from loom_dagster.ledger.exchange import Fault, Message, Want, fault_of
from loom_dagster.ledger.process import Process
from loom_dagster.ledger.room import Room
from loom_dagster.ledger.rows import Budgets, RunHandle
from loom_dagster.ledger.spend import Stored, Sums
from loom_dagster.ledger.worker_rows import Held, WorkerRows
from loom_dagster.records import Account

__all__ = ["Decided", "Purse"]

_BEAT = 60.0  # seconds; a row that is silent for 15 minutes counts as a dead one's, on another host


@dataclass(slots=True)
class _Worker:
    """``changed``: not in the ledger as it is here."""

    exchange: int = 0
    calls: dict[int, Held] = field(default_factory=dict)
    changed: bool = True


class Decided(NamedTuple):
    """Of those who waited: tickets by worker, and who need not wait any longer, with the reason."""

    granted: Mapping[str, list[int]]
    refused: Mapping[str, list[tuple[int, Fault]]]


class _Written(NamedTuple):
    granted: dict[str, dict[int, Held]]
    refused: dict[str, list[tuple[int, Fault]]]


class Purse:
    """One thread at a time. ``begin`` first. What blocks says so."""

    def __init__(
        self,
        database: Database,
        run: RunHandle,
        budgets: Budgets,
        owner: Process,
        stored: Stored,
        *,
        clock: Clock,
    ) -> None:
        self._database, self._run, self._stored, self._clock = database, run, stored, clock
        self._limits = spend.limits(budgets)
        self._rows = WorkerRows(run, owner)
        self._workers: dict[str, _Worker] = {}
        self._counted: dict[Account, Entry] = {}  # told, and not in the ledger yet
        self._waiting: dict[tuple[str, int], Want] = {}  # first come, first served
        self._ours = 0  # picodollars, reserved by all workers
        self._beaten = clock.monotonic()

    def begin(self) -> dict[str, list[bytes]]:
        """Take over what was there (blocks): the keys of the calls in flight, by worker."""
        now = self._clock.now()
        if self._database.read(lambda connection: spend.is_owed(connection, now)):
            self._database.write(lambda connection: spend.recover(connection, now, self._stored))
        # as a writer: what a till that was killed had sent to commit is committed then, or never
        for name, row in self._database.write(self._rows.read).items():
            self._workers[name] = _Worker(row.exchange, dict(row.calls), changed=False)
            self._ours += sum(call.amount for call in row.calls.values())
        return {
            name: [bytes.fromhex(orjson.loads(call.text)[0]) for call in worker.calls.values()]
            for name, worker in self._workers.items()
        }

    @property
    def workers(self) -> tuple[str, ...]:
        """Those who have not left."""
        return tuple(self._workers)

    def knows(self, worker: str) -> bool:
        return worker in self._workers

    def take(self, name: str, message: Message) -> list[int]:
        """What a worker says; which of its wants it has already been granted, as this is said a second time. Nothing is counted twice."""
        worker = self._workers.setdefault(name, _Worker())
        if message.number > worker.exchange:
            worker.exchange = message.number
            if message.counted:
                count(self._counted, message.counted)
                worker.changed = True
        for ticket in message.ended:
            self._end(name, worker, ticket)
        for want in message.wants:
            if want[0] not in worker.calls:
                self._waiting.setdefault((name, want[0]), Want(*want))
        return [want[0] for want in message.wants if want[0] in worker.calls]

    def release(self, name: str, tickets: Iterable[int]) -> None:
        """Reservations that nobody was told of."""
        if name in self._workers:
            for ticket in tickets:
                self._end(name, self._workers[name], ticket)

    def write(self, gone: Collection[str] = ()) -> Decided:
        """Everything that was told, in one transaction, with what is granted of what is wanted (blocks). Of the calls
        of workers that are ``gone`` nobody will hear: they are settled by what is stored. Raises Misconfigured only
        when there are some of these, and nothing is changed then."""
        gone = [name for name in gone if name in self._workers]
        if gone:
            self._waiting = {of: want for of, want in self._waiting.items() if of[0] not in gone}
        changed = [name for name, worker in self._workers.items() if worker.changed and name not in gone]
        beat = self._clock.monotonic() - self._beaten > _BEAT
        if not (gone or changed or self._counted or self._waiting or beat):
            return Decided({}, {})
        try:
            done = self._database.write(lambda connection: self._write(connection, changed, gone, beat=beat))
        except Exception as error:
            if gone:
                raise
            return self._failed(error)
        for name in changed:
            self._workers[name].changed = False
        for name in gone:
            self._ours -= sum(call.amount for call in self._workers.pop(name).calls.values())
        self._counted = {}
        if beat:
            self._beaten = self._clock.monotonic()
        return self._done(done)

    def _end(self, name: str, worker: _Worker, ticket: int) -> None:
        call = worker.calls.pop(ticket, None)
        if call is not None:
            self._ours -= call.amount
            worker.changed = True
        else:
            self._waiting.pop((name, ticket), None)

    def _write(self, connection: Connection, changed: list[str], gone: list[str], *, beat: bool) -> _Written:
        """Nothing of ours is changed here: it may have to be done again."""
        now = self._clock.now()
        self._add(connection, f"{now:%Y-%m-%d}", self._counted)
        if gone:
            calls = [orjson.loads(c.text) for name in gone for c in self._workers[name].calls.values()]
            for day, entries in spend.come_of(calls, self._stored).items():
                self._add(connection, day, entries)
            self._rows.drop(connection, gone)
        if beat:
            self._rows.beat(connection, now)
        done = self._decide(connection, now) if self._waiting else _Written({}, {})
        rows = []
        for name in dict.fromkeys((*changed, *done.granted)):
            worker = self._workers[name]
            held = [*worker.calls.values(), *done.granted.get(name, {}).values()]
            amount = sum([call.amount for call in held])
            rows.append((name, worker.exchange, amount, f"[{','.join([call.text for call in held])}]"))
        self._rows.write(connection, rows, now)
        return done

    def _add(self, connection: Connection, day: str, entries: Mapping[Account, Entry]) -> None:
        run = self._run
        spend.add(connection, run.run_id, run.allowance, run.pipeline, day, entries)

    def _decide(self, connection: Connection, now: datetime) -> _Written:
        """Who waits for room keeps those behind waiting, whoever's they are."""
        if not self._ours:
            spend.recover(connection, now, self._stored)
        done, at = _Written({}, {}), repr(now.timestamp())
        room = Room(self._limits, self._sums(connection, now), ours=self._ours)
        for (name, ticket), want in self._waiting.items():
            if room.fits(want.amount):
                held = Held(want.amount, f"{want.head}{at}{want.tail}")
                done.granted.setdefault(name, {})[ticket] = held
            elif room.may_fit_later(want.amount):
                break
            else:
                fault = fault_of(room.refusal(want.amount, self._run.pipeline))
                done.refused.setdefault(name, []).append((ticket, fault))
        return done

    def _sums(self, connection: Connection, now: datetime) -> dict[str, Sums]:
        if not self._limits:
            return {}
        return spend.sums(connection, self._run, f"{now:%Y-%m-%d}", self._rows.first, self._rows.last)

    def _done(self, done: _Written) -> Decided:
        for name, calls in done.granted.items():
            worker = self._workers[name]
            for ticket, call in calls.items():
                del self._waiting[name, ticket]
                worker.calls[ticket] = call
                self._ours += call.amount
        for name, refused in done.refused.items():
            for ticket, _ in refused:
                del self._waiting[name, ticket]
        return Decided({name: list(calls) for name, calls in done.granted.items()}, done.refused)

    def _failed(self, error: Exception) -> Decided:
        """Nothing was written. Without a budget nobody has to wait for a ledger that is away."""
        if not self._limits:
            at = repr(self._clock.now().timestamp())
            granted: dict[str, dict[int, Held]] = {}
            for (name, ticket), want in self._waiting.items():
                granted.setdefault(name, {})[ticket] = Held(want.amount, f"{want.head}{at}{want.tail}")
                self._workers[name].changed = True
            return self._done(_Written(granted, {}))
        fault = fault_of(error if isinstance(error, LoomError) else _broken(error))
        refused: dict[str, list[tuple[int, Fault]]] = {}
        for name, ticket in self._waiting:
            refused.setdefault(name, []).append((ticket, fault))
        return self._done(_Written({}, refused))


def _broken(error: Exception) -> Misconfigured:
    return Misconfigured(
        "the ledger's reservations cannot be kept", why=f"{type(error).__name__}: {error}", kind="ledger"
    )
