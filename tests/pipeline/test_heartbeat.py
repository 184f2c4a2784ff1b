"""The lease of a run that goes on: kept without holding up its records, and worth stopping for when it is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from loom_dagster.ledger import Budgets, Ledger
from loom_dagster.ledger.tables import leases
from loom_dagster.pipeline import Stop
from loom_dagster.pipeline.heartbeat import keep_lease


class QuickClock:
    """Its sleeps take one turn of the loop, and their length on the clock."""

    def __init__(self):
        self.time = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)

    def now(self):
        return self.time

    def monotonic(self):
        return self.time.timestamp()

    async def sleep(self, seconds):
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def random(self):
        return 0.5


@pytest.fixture
def clock():
    return QuickClock()


@pytest.fixture
def ledger(tmp_path, clock):
    with Ledger(tmp_path / "ledger.sqlite", clock=clock) as ledger:
        yield ledger


async def test_a_run_that_has_lost_its_lease_stops(ledger, clock):
    run, stop, notes = ledger.begin_run("reviews", "", "f"), Stop(), []
    with ledger.spend(run, Budgets(), lambda key, since: None) as spend:
        ledger._database.write(lambda c: c.execute(update(leases).values(token="somebody else's")))
        await keep_lease(ledger, run, spend, stop, notes.append, clock)
    assert stop.requested
    assert "lease" in notes[0]


async def test_records_go_on_while_the_ledger_does_not_answer(ledger, clock, tmp_path):
    run, stop, notes = ledger.begin_run("reviews", "", "f"), Stop(), []
    began = beat_at(ledger)
    spend = ledger.spend(run, Budgets(), lambda key, since: None)
    spend.settle(0, 0.25)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        beating = asyncio.create_task(keep_lease(ledger, run, spend, stop, notes.append, clock))
        for _ in range(1000):  # turns of the loop that a write on it would never give
            await asyncio.sleep(0)
        assert beat_at(ledger) == began
        other.execute("ROLLBACK")
    while beat_at(ledger) == began:
        await clock.sleep(0)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    assert (stop.requested, notes) == (False, [])
    spend.close()
    assert spent(ledger) == 0.25


def beat_at(ledger):
    return ledger._database.read(lambda c: c.scalar(select(leases.c.beat_at)))


def spent(ledger):
    from loom_dagster.ledger.spend import UNIT
    from loom_dagster.ledger.tables import spend

    return ledger._database.read(lambda c: sum(c.scalars(select(spend.c.spent)))) * UNIT
