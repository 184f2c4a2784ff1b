"""What is reserved, settled and recovered: to the picodollar, by several runs at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from loom_dagster.errors import Misconfigured, OverBudget
from loom_dagster.ledger import Budgets, Ledger
from loom_dagster.ledger.tables import spend as table
from loom_dagster.records import Account, Usage


def nothing_stored(key, since):
    return None


@pytest.fixture
def open_spend(ledger):
    """``open_spend("reviews", run=1.0)``: the money of a run that has just begun."""
    opened = []

    def make(pipeline="reviews", *, stored=nothing_stored, of=ledger, handle=None, **budgets):
        run = handle or of.begin_run(pipeline, "", "f")
        opened.append(of.spend(run, Budgets(**budgets), stored))
        return opened[-1]

    yield make
    for spend in opened:
        spend.close()


def used(spend, name="run"):
    return next((round(u.spent, 9), round(u.unconfirmed, 9)) for u in spend.use() if u.name == name)


async def test_what_is_paid_is_settled_and_the_rest_is_free_again(open_spend):
    spend = open_spend(run=1.0)
    ticket = await spend.reserve(b"a", 0.9)
    assert used(spend) == (0.0, 0.9)
    spend.settle(ticket, 0.1)
    second = await spend.reserve(b"b", 0.9)
    assert used(spend) == (0.1, 0.9)
    spend.release(second)
    assert await spend.reserve(b"c", 0.9)


async def test_a_call_that_does_not_fit_waits_for_those_in_flight(open_spend):
    spend = open_spend(run=1.0)
    first = await spend.reserve(b"a", 0.6)
    waiting = asyncio.ensure_future(spend.reserve(b"b", 0.6))
    behind = asyncio.ensure_future(spend.reserve(b"c", 0.1))
    await asyncio.sleep(0)
    spend.settle(first, 0.05)
    assert await waiting and await behind
    assert used(spend) == (0.05, 0.7)


async def test_it_is_refused_once_nothing_is_in_flight(open_spend):
    spend = open_spend(run=1.0)
    spend.settle(await spend.reserve(b"a", 0.6), 0.5)
    with pytest.raises(OverBudget) as told:
        await spend.reserve(b"b", 0.6)
    assert told.value.sentence() == (
        "the budget of $1.00 a run is used up: $0.50 is spent, and the next call may cost up to $0.60 "
        "(raise `cost_budget`, or run again with as much again)"
    )
    assert await spend.reserve(b"c", 0.4), "a smaller one still fits"


async def test_a_budget_too_small_for_one_call_says_so(open_spend):
    with pytest.raises(
        OverBudget, match=r"\$0.0010 a run is too small for one call: which may cost up to \$0.50"
    ):
        await open_spend(run=0.001).reserve(b"a", 0.5)


async def test_a_call_whose_end_is_unknown_counts_at_its_worst(open_spend):
    spend = open_spend(run=1.0)
    spend.lose(await spend.reserve(b"a", 0.7))
    with pytest.raises(OverBudget):
        await spend.reserve(b"b", 0.4)
    spend.close()
    assert used(spend) == (0.0, 0.7)


async def test_a_million_small_prices_add_up(open_spend):
    spend = open_spend()
    for _ in range(1_000_000):
        spend.settle(0, 0.0000001)
    spend.close()
    assert used(open_spend("other", month=1.0), "month") == (0.1, 0.0)


async def test_a_resumed_run_keeps_its_budget(ledger, open_spend):
    run = ledger.begin_run("reviews", "", "f")
    spend = open_spend(handle=run, run=1.0)
    spend.settle(await spend.reserve(b"a", 0.9), 0.8)
    spend.close()
    ledger.leave_run(run)
    again = ledger.begin_run("reviews", "", "f")
    assert again.resumed
    with pytest.raises(OverBudget):
        await open_spend(handle=again, run=1.0).reserve(b"b", 0.9)


@pytest.mark.parametrize(("used_up", "allowance"), [(True, 1), (False, 0)])
async def test_only_a_run_that_used_its_budget_up_has_it_anew(ledger, open_spend, used_up, allowance):
    run = ledger.begin_run("reviews", "", "f")
    spend = open_spend(handle=run, run=1.0)
    spend.settle(await spend.reserve(b"a", 0.9), 0.8)
    spend.close()
    ledger.finish_run(run, "deferred", outcome={}, budget_used_up=used_up)
    again = ledger.begin_run("reviews", "", "f")
    assert (again.run_id, again.allowance) == (run.run_id, allowance)
    assert used(open_spend(handle=again, run=1.0)) == ((0.0, 0.0) if used_up else (0.8, 0.0))


async def test_the_day_is_the_pipelines_and_the_month_the_projects(ledger, clock, open_spend):
    budgets = {"day": 1.0, "month": 10.0}
    spend = open_spend("reviews", **budgets)
    spend.settle(await spend.reserve(b"a", 0.9), 0.9)
    other = open_spend("orders", **budgets)
    other.settle(await other.reserve(b"b", 0.8), 0.8)
    spend.close()
    other.close()
    assert used(spend, "day") == (0.9, 0.0)
    assert used(other, "day") == (0.8, 0.0)
    assert used(spend, "month") == (1.7, 0.0)
    with pytest.raises(OverBudget, match=r"\$1.00 a day for reviews is used up"):
        await open_spend(handle=spend._run, **budgets).reserve(b"c", 0.2)
    clock.time = datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC)
    tomorrow = open_spend(handle=spend._run, **budgets)
    assert await tomorrow.reserve(b"c", 0.2)
    clock.time = datetime(2026, 12, 1, tzinfo=UTC)
    assert used(tomorrow, "month") == (0.0, 0.2)


async def test_a_clock_that_is_set_back_gives_no_run_more_money(clock, open_spend):
    spend = open_spend(run=1.0)
    spend.settle(await spend.reserve(b"a", 0.9), 0.9)
    clock.move(-40 * 86400)
    with pytest.raises(OverBudget):
        await spend.reserve(b"b", 0.2)


async def test_runs_keep_a_common_budget_together(path, clock, ledger, open_spend):
    with Ledger(path, clock=clock) as second:
        one = open_spend("reviews", month=1.0)
        two = open_spend("orders", of=second, month=1.0)
        first = await one.reserve(b"a", 0.7)
        waiting = asyncio.ensure_future(two.reserve(b"b", 0.7))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done, "what the other run has reserved is not there for this one"
        one.settle(first, 0.2)
        assert await waiting
        two.close()


SPEND = """
import asyncio, sys
from loom_dagster.errors import OverBudget
from loom_dagster.ledger import Budgets, Ledger

async def calls(spend):
    paid = 0
    async def call(n):
        nonlocal paid
        try:
            ticket = await spend.reserve(b"%d" % n, 0.01)
        except OverBudget:
            return
        paid += 1
        spend.settle(ticket, 0.01)
    for n in range(0, 100, 4):
        await asyncio.gather(*(call(n + i) for i in range(4)))
    return paid

with Ledger(sys.argv[1]) as ledger:
    run = ledger.begin_run(sys.argv[2], "", "f")
    print("ready", flush=True)
    sys.stdin.readline()
    with ledger.spend(run, Budgets(month=1.0), lambda key, since: None) as spend:
        print(asyncio.run(calls(spend)), flush=True)
"""


def test_four_processes_spend_a_common_budget_to_its_end_and_no_further(path):
    Ledger(path).close()
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SPEND, str(path), f"p{n}"], stdin=pipe, stdout=pipe, text=True
        )
        for n in range(4)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    assert sum(int(child.communicate()[0]) for child in children) == 100
    assert [child.returncode for child in children] == [0, 0, 0, 0]


async def test_what_a_killed_run_had_in_flight_is_settled_by_what_is_stored(path, clock, ledger, open_spend):
    run = ledger.begin_run("reviews", "", "f")
    killed = open_spend(handle=run, run=1.0)
    for key, worst in ((b"stored", 0.3), (b"lost", 0.2)):
        await killed.reserve(key, worst, Account("transform", "m", "p@v1"))
    with ledger._database.writing() as connection:  # as if its process were gone
        connection.exec_driver_sql("UPDATE reservations SET pid = 4194305")
    asked = []

    def stored(key, since):
        asked.append((key, since))
        return 0.01 if key == b"stored" else None

    resumed = open_spend(handle=run, run=1.0, stored=stored)
    assert used(resumed) == (0.01, 0.2)
    assert asked == [(b"stored", clock.now().timestamp()), (b"lost", clock.now().timestamp())]
    assert used(open_spend(handle=run, run=1.0, stored=stored)) == (0.01, 0.2), "and only once"
    with ledger._database.reading() as connection:
        (row,) = connection.execute(select(table))
    assert (row.purpose, row.model, row.prompt, row.calls, row.lost) == ("transform", "m", "p@v1", 1, 1)
    killed._calls.clear()


async def test_whoever_was_cancelled_while_waiting_takes_nothing(open_spend):
    spend = open_spend(run=1.0)
    first = await spend.reserve(b"a", 0.6)
    waiting = asyncio.ensure_future(spend.reserve(b"b", 0.6))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    spend.settle(first, 0.0)
    assert await spend.reserve(b"c", 1.0)


async def test_a_ledger_that_cannot_be_written_stops_the_run(path, ledger, open_spend):
    spend = open_spend(run=1.0)
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE reservations")
    with pytest.raises(Misconfigured, match="the ledger cannot be used"):
        await spend.reserve(b"a", 0.1)
    spend._limits = {}


async def test_a_reservation_that_cannot_be_read_stops_the_run_and_never_hangs_it(path, ledger, open_spend):
    run = ledger.begin_run("reviews", "", "f")
    killed = open_spend(handle=run, run=1.0)
    await killed.reserve(b"a", 0.3)
    resumed = open_spend(handle=run, run=1.0)
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("UPDATE reservations SET pid = 4194305, calls = 'no JSON'")
    with pytest.raises(Misconfigured, match="the ledger's reservations cannot be kept"):
        await asyncio.wait_for(resumed.reserve(b"b", 0.1), 20)


async def test_without_a_budget_nothing_waits_and_everything_is_counted(open_spend):
    spend = open_spend()
    assert not spend.limited
    first, _ = [await spend.reserve(key, 1e6) for key in (b"a", b"b")]
    spend.settle(first, 0.25)
    spend.settle(0, 0.5)
    spend.close()
    assert used(open_spend("other", month=1.0), "month") == (0.75, 1e6), "one is still in flight"


async def test_without_a_budget_a_ledger_that_is_away_keeps_no_call_waiting(ledger, open_spend):
    spend = open_spend()
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE reservations RENAME TO hidden")
    ticket = await spend.reserve(b"a", 0.1)
    assert ticket == 0
    spend.settle(ticket, 0.25)
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO reservations")
    spend.close()
    assert used(open_spend("other", month=1.0), "month") == (0.25, 0.0)


async def test_the_books_say_what_each_call_was_for(ledger, open_spend):
    asked, judged = Account("transform", "m", "p@v1"), Account("evaluate:tone", "judge")
    usage = Usage(input_tokens=100, cached_tokens=40, output_tokens=7)
    spend = open_spend()
    for n in range(3):
        spend.settle(await spend.reserve(b"%d" % n, 0.5, asked), 0.25, asked, usage)
    spend.lose(await spend.reserve(b"j", 0.125, judged), judged)
    spend.settle(0, None, judged, usage)
    spend.close()
    with ledger._database.reading() as connection:
        rows = {row.purpose: row for row in connection.execute(select(table))}
    paid, lost = rows["transform"], rows["evaluate:tone"]
    assert (paid.model, paid.prompt, paid.calls, paid.spent) == ("m", "p@v1", 3, 750_000_000_000)
    assert (paid.input_tokens, paid.cached_tokens, paid.output_tokens) == (300, 120, 21)
    assert (lost.calls, lost.unpriced, lost.lost, lost.spent) == (1, 1, 1, 0)
    assert lost.unconfirmed == 125_000_000_000
