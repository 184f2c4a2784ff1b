"""Batches in the ledger, in a file and on Postgres: reserved in every budget, settled once, sent by one process."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from loom_dagster.errors import OverBudget
from loom_dagster.ledger import Budgets
from loom_dagster.ledger.spend import UNIT, Entry
from loom_dagster.records import Account

USD = round(1 / UNIT)
ACCOUNT = Account("transform", "openai/m", "classify v1")


@pytest.fixture
def run(ledger):
    return ledger.begin_run("reviews", "", "f")


def begin(ledger, run):
    return ledger.batches.begin(run, provider="openai", endpoint="api.openai.com", model="openai/m")


def sealed(ledger, run, *, usd=2.0, requests=10):
    batch = begin(ledger, run)
    ledger.batches.seal(batch, requests=requests, reserved=round(usd * USD))
    return batch


def use(ledger, handle, **budgets):
    with ledger.spend(handle, Budgets(**budgets), lambda key, since: None) as spend:
        return {budget.name: budget for budget in spend.use()}


def test_a_batch_goes_from_state_to_state(ledger, run, clock):
    batch = begin(ledger, run)
    assert ledger.batches.rows() == []  # nothing is meant to be sent yet
    ledger.batches.seal(batch, requests=3, reserved=USD)
    assert ledger.batches.claim(batch)
    ledger.batches.uploaded(batch, "file-1")
    ledger.batches.sent(batch, "batch-1")
    ledger.batches.saw(batch, "in_progress", done=1, failed=0, ended=False)
    [row] = ledger.batches.open("reviews")
    assert (row.state, row.provider_id, row.file_id, row.done) == ("submitted", "batch-1", "file-1", 1)
    assert row.reserved == 1.0 and row.submitted_at == clock.now()
    ledger.batches.saw(batch, "completed", done=3, failed=0, ended=True)
    assert ledger.batches.open()[0].state == "ended"
    assert ledger.batches.settle(batch, "collected", {ACCOUNT: Entry(spent=USD // 2, calls=3)})
    assert ledger.batches.open() == []
    [row] = ledger.batches.get("batch-1")
    assert (row.state, row.spent, row.reserved) == ("collected", 0.5, 0.0)


def test_it_is_settled_once(ledger, run):
    batch = sealed(ledger, run)
    ledger.batches.sent(batch, "b")
    assert ledger.batches.settle(batch, "collected", {ACCOUNT: Entry(spent=USD, calls=3)})
    assert not ledger.batches.settle(batch, "collected", {ACCOUNT: Entry(spent=USD, calls=3)})
    assert not ledger.batches.settle(batch, "lost")
    found = use(ledger, run, run=10.0)["run"]
    assert (found.spent, found.unconfirmed, found.ordered) == (1.0, 0.0, 0.0)


def test_what_nobody_knows_the_end_of_counts_at_its_worst_case(ledger, run):
    batch = sealed(ledger, run, usd=3.0)
    assert ledger.batches.settle(batch, "lost")
    assert use(ledger, run, run=10.0)["run"].unconfirmed == 3.0


def test_it_counts_in_every_budget_until_it_is_settled(ledger, run):
    sealed(ledger, run, usd=2.0)
    for name, budget in use(ledger, run, run=10.0, day=10.0, month=10.0).items():
        assert (name, budget.ordered, budget.used) == (name, 2.0, 2.0)
    other = ledger.begin_run("others", "", "f")
    found = use(ledger, other, run=10.0, day=10.0, month=10.0)
    assert {name: budget.ordered for name, budget in found.items()} == {"run": 0.0, "day": 0.0, "month": 2.0}


def test_what_does_not_fit_beside_it_is_refused_and_does_not_wait_a_day(ledger, run):
    batch = begin(ledger, run)
    limits = {"run": 5 * USD}
    assert ledger.batches.reserve(batch, run, 3 * USD, limits)
    assert ledger.batches.reserve(batch, run, 2 * USD, limits)
    with pytest.raises(OverBudget, match=r"is spent, or reserved for batches"):
        ledger.batches.reserve(batch, run, 1, limits)
    assert ledger.batches.reserve(batch, run, USD, {})


def test_room_that_calls_in_flight_may_give_back_is_waited_for(ledger, run):
    import asyncio

    batch = begin(ledger, run)

    async def go() -> bool:
        with ledger.spend(run, Budgets(run=5.0), lambda key, since: None) as spend:
            ticket = await spend.reserve(b"k" * 32, 4.0)
            fits = ledger.batches.reserve(batch, run, 2 * USD, {"run": 5 * USD})
            spend.release(ticket)
            return fits

    assert asyncio.run(go()) is False
    assert ledger.batches.reserve(batch, run, 2 * USD, {"run": 5 * USD})


def test_of_a_process_that_died_what_it_gathered_is_forgotten_and_what_it_sent_is_not(ledger, run):
    gathered, sent = begin(ledger, run), sealed(ledger, run, usd=2.0)
    ledger.batches.reserve(gathered, run, USD, {})
    die(ledger)
    found = use(ledger, run, run=10.0)["run"]
    assert (found.ordered, found.unconfirmed) == (2.0, 0.0)
    assert [row.batch_id for row in ledger.batches.open()] == [sent]


def test_one_process_sends_it_and_another_only_when_that_is_gone(ledger, run):
    batch = sealed(ledger, run)
    assert ledger.batches.claim(batch) and ledger.batches.claim(batch)  # its own
    set_owner(ledger, pid=1, start="0")  # alive once, not now
    assert ledger.batches.claim(batch)
    set_owner(
        ledger, host="elsewhere"
    )  # who says nothing for a while is gone, and it said something just now
    assert not ledger.batches.claim(batch)
    ledger.batches.sent(batch, "b")
    assert not ledger.batches.claim(batch)  # there is nothing to send any more


def die(ledger) -> None:
    set_owner(ledger, pid=1, start="0")


def set_owner(ledger, *, host=None, pid=None, start=None) -> None:
    values = {"host": host, "pid": pid, "process_start": start}
    given = {name: value for name, value in values.items() if value is not None}
    words = ", ".join(f"{name} = :{name}" for name in given)
    ledger._database.write(lambda c: c.execute(text(f"UPDATE batches SET {words}"), given))
