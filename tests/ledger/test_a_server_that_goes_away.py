"""A ledger on Postgres outlives its server's restarts and lost connections, and writes nothing twice."""

from __future__ import annotations

import asyncio
import signal
import threading

import psycopg2
import pytest
from sqlalchemy import func, select

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Budgets, IndexRow, Ledger, server
from loom_dagster.ledger.tables import last_writes, leases
from tests.servers.line import Line

pytestmark = pytest.mark.service

FAST, CRASH = signal.SIGINT, signal.SIGQUIT


@pytest.fixture
def ledger(on_postgres, clock):
    with Ledger(on_postgres, clock=clock) as opened:
        yield opened


@pytest.fixture
def line(on_postgres):
    with Line(on_postgres) as opened:
        yield opened


@pytest.fixture
def by_line(line, clock):
    """The ledger over a line that breaks."""
    with Ledger(line.url, clock=clock) as opened:
        yield opened


def nothing_stored(key, since):
    return None


def restart(server, how=CRASH):
    server.stop(how)
    server.start()


@pytest.mark.parametrize("how", [FAST, CRASH])
def test_a_run_goes_through_a_restart(postgres, ledger, snapshot_of, clock, how):
    run = ledger.begin_run("reviews", "", "f")
    restart(postgres, how)
    clock.move(30)
    ledger.heartbeat(run)
    with ledger._database.reading() as connection:
        assert connection.scalar(select(leases.c.beat_at)) == clock.now()
    restart(postgres, how)
    assert ledger.run(run.run_id).status == "running"
    restart(postgres, how)
    rows = (IndexRow(record_id=f"r{i}", stage="evaluate", kind="k", reason="no") for i in range(3))
    ledger.finish_run(run, "succeeded", outcome={}, snapshot=snapshot_of(run), quarantine_rows=rows)
    assert ledger.run(run.run_id).status == "succeeded"
    assert len(ledger.quarantine("reviews")) == 3


def test_a_heartbeat_waits_for_the_server(postgres, ledger, clock):
    run = ledger.begin_run("reviews", "", "f")
    clock.move(30)
    postgres.stop(FAST)
    beats = threading.Thread(target=ledger.heartbeat, args=(run,))
    beats.start()
    postgres.start()
    beats.join()
    with ledger._database.reading() as connection:
        assert connection.scalar(select(leases.c.beat_at)) == clock.now()


async def test_money_is_counted_to_the_picodollar_while_the_server_crashes(postgres, ledger):
    run = ledger.begin_run("reviews", "", "f")
    with ledger.spend(run, Budgets(run=1000.0), nothing_stored) as spend:

        async def call(n):
            ticket = await spend.reserve(b"%d" % n, 0.5)
            if n % 100 == 50:
                restart(postgres)  # while the log, in a thread of its own, writes what the others want
            spend.settle(ticket, 0.000_001)

        async def calls(first):
            for n in range(first, 300, 8):
                await call(n)

        await asyncio.gather(*(calls(first) for first in range(8)))
    [use] = spend.use()
    assert (round(use.spent, 12), use.unconfirmed) == (0.0003, 0.0)


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_commit_whose_answer_is_lost_is_neither_lost_nor_done_twice(by_line, line, arrives):
    run = by_line.begin_run("reviews", "", "f")
    with by_line.spend(run, Budgets(run=1.0), nothing_stored) as spend:
        ticket = await spend.reserve(b"a", 0.5)
        line.break_at(b"COMMIT", arrives=arrives)
        spend.settle(ticket, 0.25)
        await spend.reserve(b"b", 0.5)
        [use] = spend.use()
        assert (use.spent, use.unconfirmed) == (0.25, 0.5)
    assert line.broken == 1


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("word", [b"COMMIT", b"UPDATE", b"advisory"])
def test_a_run_begins_and_ends_over_a_line_that_breaks(by_line, line, clock, word, arrives):
    line.break_at(b"COMMIT" if word == b"UPDATE" else word, arrives=arrives)
    run = by_line.begin_run("reviews", "", "f")
    line.break_at(word, arrives=arrives)
    by_line.finish_run(run, "succeeded", outcome={"n": 1})
    assert line.broken == 2
    [row] = by_line.runs()
    assert (row.run_id, row.status, row.outcome) == (run.run_id, "succeeded", {"n": 1})
    assert not by_line.begin_run("reviews", "", "f").resumed


def test_a_read_that_breaks_off_is_read_again(by_line, line):
    run = by_line.begin_run("reviews", "", "f")
    line.break_at(b"SELECT runs", arrives=True)
    assert by_line.run(run.run_id).status == "running"
    assert line.broken == 1


def test_a_server_that_stays_away_is_told_without_its_password(postgres, ledger, monkeypatch):
    run = ledger.begin_run("reviews", "", "f")
    monkeypatch.setattr(server, "_PATIENCE", 0.3)
    postgres.stop(FAST)
    try:
        with pytest.raises(Misconfigured) as told:
            ledger.heartbeat(run)
        monkeypatch.setattr(server, "_PATIENCE", 1e9)
        with pytest.raises(Misconfigured):
            ledger.leave_run(run)  # at once: it was waited for
    finally:
        postgres.start()
    assert told.value.kind == "ledger"
    assert "refused" in str(told.value)
    assert f"127.0.0.1:{postgres.port}" in str(told.value)
    assert postgres.password not in str(told.value)
    ledger.heartbeat(run)


def test_a_session_that_is_ended_by_somebody_is_replaced(postgres, ledger, on_postgres):
    run = ledger.begin_run("reviews", "", "f")
    connection = psycopg2.connect(on_postgres.partition("?")[0])
    connection.autocommit = True
    connection.cursor().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'loom_dagster' AND datname = current_database()"
    )
    connection.close()
    ledger.heartbeat(run)
    assert ledger.run(run.run_id).status == "running"


def test_marks_of_yesterday_are_swept(on_postgres, ledger):
    ledger.begin_run("reviews", "", "f")
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("UPDATE last_writes SET written_at = '2020-01-01T00:00:00.000000+00:00'")
    with Ledger(on_postgres) as second:
        second.begin_run("orders", "", "f")
        second.begin_run("others", "", "f")
    with ledger._database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(last_writes)) == 1
