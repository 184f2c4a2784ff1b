"""What the books say to those who look: sums by what is asked for, and how far budgets are used."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from loom_dagster.ledger import Budgets
from loom_dagster.records import Account, Usage

ASKED, JUDGED = Account("transform", "m", "p@v1"), Account("evaluate:tone", "judge")
USAGE = Usage(input_tokens=100, cached_tokens=40, output_tokens=7)


def nothing_stored(key, since):
    return None


@pytest.fixture
def pay(ledger):
    """``pay("reviews", 0.5, ASKED)``: a run that spends; gives its handle."""

    def run(pipeline, cost, account, *, stored=nothing_stored, times=1):
        handle = ledger.begin_run(pipeline, "", "f", fresh=True)
        with ledger.spend(handle, Budgets(), stored) as spend:
            for _ in range(times):
                spend.settle(0, cost, account, USAGE)
        ledger.leave_run(handle)
        return handle

    return run


def test_sums_by_what_is_asked_for(ledger, clock, pay):
    pay("reviews", 0.5, ASKED, times=3)
    pay("reviews", 0.25, JUDGED)
    clock.time = datetime(2026, 11, 22, tzinfo=UTC)
    pay("orders", None, ASKED)
    rows = {row.pipeline: row.entry for row in ledger.books.rows(["pipeline"])}
    assert (rows["reviews"].spent, rows["reviews"].calls) == (1_750_000_000_000, 4)
    assert (rows["orders"].spent, rows["orders"].unpriced) == (0, 1)
    by = {
        (row.day, row.model, row.prompt): row.entry.calls
        for row in ledger.books.rows(["day", "model", "prompt"])
    }
    assert by == {
        ("2026-11-21", "m", "p@v1"): 3,
        ("2026-11-21", "judge", ""): 1,
        ("2026-11-22", "m", "p@v1"): 1,
    }
    since = ledger.books.rows([], since=date(2026, 11, 22))
    until = ledger.books.rows([], until=date(2026, 11, 21), pipeline="reviews")
    assert (since[0].entry.calls, until[0].entry.calls) == (1, 4)
    assert ledger.books.rows([], pipeline="nobody")[0].entry.calls == 0


async def test_what_a_killed_run_owed_is_settled_for_those_who_look(ledger):
    run = ledger.begin_run("reviews", "", "f")
    killed = ledger.spend(run, Budgets(), nothing_stored)
    for key in (b"stored", b"lost"):
        await killed.reserve(key, 0.5, ASKED)
    assert ledger.books.in_flight("reviews") == 1.0
    with ledger._database.writing() as connection:  # as if its process were gone
        connection.exec_driver_sql("UPDATE reservations SET pid = 4194305")
    ledger.books.settle(lambda key, since: 0.125 if key == b"stored" else None)
    (row,) = ledger.books.rows(["model"])
    assert (row.model, row.entry.spent, row.entry.unconfirmed) == ("m", 125_000_000_000, 500_000_000_000)
    assert (row.entry.calls, row.entry.lost) == (1, 1)
    assert ledger.books.in_flight() == 0
    ledger.books.settle(nothing_stored)
    assert ledger.books.rows([])[0].entry.lost == 1, "once"
    killed._calls.clear()
    killed.close()


async def test_how_far_budgets_are_used(ledger, clock, pay):
    pay("orders", 0.25, ASKED)
    clock.time = datetime(2026, 11, 22, tzinfo=UTC)
    handle = pay("reviews", 0.5, ASKED)
    going = ledger.begin_run("orders", "", "f")
    spend = ledger.spend(going, Budgets(), nothing_stored)
    await spend.reserve(b"k", 0.125, ASKED)
    used = ledger.books.used("reviews", ledger.run(handle.run_id))
    assert {name: round(sum(each), 9) for name, each in used.items()} == {
        "run": 0.5,
        "day": 0.5,
        "month": 0.875,
    }
    assert sum(ledger.books.used("reviews", None)["run"]) == 0
    spend.close()


def test_batches_that_are_not_settled_count_but_for_those_of_the_run_that_goes_on(ledger):
    earlier = ledger.begin_run("reviews", "a", "f")
    run, other = ledger.begin_run("reviews", "b", "f"), ledger.begin_run("orders", "", "f")
    for handle, reserved in ((earlier, 1), (run, 2), (other, 4)):
        batch = ledger.batches.begin(handle, provider="openai", endpoint="h", model="m")
        ledger.batches.seal(batch, requests=1, reserved=reserved * 10**12)
    assert (ledger.books.ordered(), ledger.books.ordered("reviews")) == (7.0, 3.0)
    used = ledger.books.used("reviews", ledger.run(run.run_id))
    assert {name: sum(each) for name, each in used.items()} == {"run": 0, "day": 1.0, "month": 5.0}
    ledger.batches.settle(batch, "refused")
    assert sum(ledger.books.used("reviews", None)["month"]) == 3.0
