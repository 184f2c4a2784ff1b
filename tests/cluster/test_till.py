"""The till of a run with workers: budgets to the picodollar, each question once, and what becomes of lost workers."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, update

from loom_dagster.errors import Misconfigured, OverBudget
from loom_dagster.gateway.sharing import Demand
from loom_dagster.ledger import Budgets
from loom_dagster.ledger.exchange import Message, Reply
from loom_dagster.ledger.tables import limit_shares, reservations
from loom_dagster.records import Account, Usage
from tests.cluster.conftest import ORIGIN, answer, gathered

ASKED = Account("transform", "m", "p@v1")
PICO = 1e-12


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def server_url(request):
    return request.getfixturevalue("on_postgres") if request.param == "postgres" else None


async def soon(work):
    return await asyncio.wait_for(work, 20)


async def waits(line):
    """``line`` has told the till all it has to tell, and has its reply."""
    said = line._number
    while line._number < said + 2:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)


def rows(shop):
    with shop.ledger.database.reading() as connection:
        return connection.execute(select(reservations)).all()


# --- reservations


@pytest.mark.parametrize("budgets", [{}, {"run": 1.0}])
async def test_a_permit_is_on_disk_before_it_is_given(open_shop, budgets):
    shop = open_shop(**budgets)
    line = shop.line()
    work = asyncio.create_task(line.spend.reserve(b"a", 0.25, ASKED))
    while not (found := rows(shop)):
        assert not work.done()
        await asyncio.sleep(0)
    assert found[0].amount == 250_000_000_000
    await soon(work)


async def test_workers_spend_a_budget_to_its_end_and_no_further(open_shop):
    shop = open_shop(run=100 * PICO)
    lines = [shop.line(f"w{n}") for n in range(4)]
    paid, refused = 0, 0

    async def call(line, n):
        nonlocal paid, refused
        try:
            ticket = await line.spend.reserve(b"%d" % n, 3 * PICO, ASKED)
        except OverBudget:
            refused += 1
            return
        line.spend.settle(ticket, 1 * PICO, ASKED)
        paid += 1

    await gathered(*(call(line, n) for n in range(60) for line in lines))
    assert (paid, refused) == (98, 142), "one of three fits as long as 97 are spent"
    for line in lines:
        await line.close()
    assert await shop.used() == (98 * PICO, 0.0)


async def test_who_does_not_fit_waits_for_the_calls_of_other_workers(open_shop):
    shop = open_shop(run=1.0)
    one, two = shop.line("one"), shop.line("two")
    first = await one.spend.reserve(b"a", 0.6)
    waiting = asyncio.create_task(two.spend.reserve(b"b", 0.6))
    await waits(two)
    behind = asyncio.create_task(one.spend.reserve(b"c", 0.3))
    await waits(one)
    assert not waiting.done() and not behind.done(), "first come, first served"
    one.spend.settle(first, 0.05)
    await gathered(waiting, behind)


async def test_it_is_refused_once_nothing_is_in_flight(open_shop):
    shop = open_shop(run=1.0)
    one, two = shop.line("one"), shop.line("two")
    one.spend.settle(await one.spend.reserve(b"a", 0.6), 0.5)
    with pytest.raises(OverBudget) as told:
        await two.spend.reserve(b"b", 0.6)
    assert told.value.sentence() == (
        "the budget of $1.00 a run is used up: $0.50 is spent, and the next call may cost up to $0.60 "
        "(raise `cost_budget`, or run again with as much again)"
    )
    assert told.value.budget == "run"
    assert await two.spend.reserve(b"c", 0.4), "a smaller one still fits"


async def test_other_runs_keep_the_budgets_of_day_and_month_together_with_it(open_shop):
    shop = open_shop(day=2.0, month=1.0)
    other = shop.ledger.begin_run("orders", "", "f")
    with shop.ledger.spend(other, Budgets(month=1.0), lambda key, since: None) as spend:
        line = shop.line()
        first = await spend.reserve(b"a", 0.7)
        waiting = asyncio.create_task(line.spend.reserve(b"b", 0.7))
        await waits(line)
        assert not waiting.done()
        spend.settle(first, 0.2)
        ticket = await soon(waiting)
        refused = asyncio.create_task(spend.reserve(b"c", 0.5))
        line.spend.settle(ticket, 0.6)
        with pytest.raises(OverBudget, match=r"\$1.00 a month is used up: \$0.80 is spent"):
            await soon(refused)


async def test_who_is_cancelled_while_it_waits_gives_its_ticket_back(open_shop):
    shop = open_shop(run=1.0)
    one, two = shop.line("one"), shop.line("two")
    first = await one.spend.reserve(b"a", 0.6)
    waiting = asyncio.create_task(two.spend.reserve(b"b", 0.6))
    await waits(two)
    waiting.cancel()
    await asyncio.wait([waiting])
    one.spend.settle(first, 0.0)
    assert await soon(one.spend.reserve(b"c", 1.0))


async def test_a_ticket_that_comes_too_late_is_given_back(open_shop):
    shop = open_shop(run=1.0)
    line = shop.line()
    work = asyncio.create_task(line.spend.reserve(b"a", 0.6))
    while not rows(shop):  # noqa: ASYNC110 - the till writes in a thread
        await asyncio.sleep(0)
    work.cancel()
    assert await soon(line.spend.reserve(b"c", 1.0))


# --- exchanges that are repeated


async def test_an_exchange_whose_reply_was_lost_is_applied_once(open_shop):
    shop = open_shop(run=1.0)
    line = shop.line()
    ticket = await line.spend.reserve(b"a", 0.5, ASKED)
    shop.lose_replies = 3
    line.spend.settle(ticket, 0.125, ASKED, Usage(input_tokens=7))
    second = await soon(line.spend.reserve(b"b", 0.5, ASKED))
    line.spend.release(second)
    await line.close()
    books = (await shop.till.books())[ASKED]
    assert (books.spent, books.calls, books.input_tokens) == (125_000_000_000, 1, 7)
    assert shop.ledger.books.in_flight() == 0.0


@pytest.mark.parametrize("anew", [False, True])
async def test_a_repeated_exchange_has_the_same_reply_also_from_a_till_that_begins_anew(open_shop, anew):
    shop = open_shop(run=1.0)
    want = (1, 10, '["6b",10,', ',"transform","m","p@v1",1]')
    message = tuple(Message(1, counted=((*ASKED, 3, 0, 1, 0, 0, 5, 0, 2),), wants=(want,)))
    first = Reply(*await shop.till.exchange("w", message))
    if anew:
        shop.kill_till()
    second = Reply(*await shop.till.exchange("w", message))
    assert first.granted == second.granted == (1,)
    assert (first.till == second.till) is not anew
    books = (await shop.till.books())[ASKED]
    assert (books.spent, books.calls, books.output_tokens) == (3, 1, 2)
    assert rows(shop)[0].amount == 10


async def test_a_till_that_begins_anew_takes_over_what_is_in_flight(open_shop):
    shop = open_shop(run=1.0)
    one, two = shop.line("one"), shop.line("two")
    assert await one.store.find(b"k") is None
    ticket = await one.spend.reserve(b"k", 0.75, ASKED)
    shop.kill_till()
    waiting = asyncio.create_task(two.spend.reserve(b"b", 0.5, ASKED))
    found = asyncio.create_task(two.store.find(b"k"))
    await waits(two)
    assert not waiting.done() and not found.done(), "the money is reserved, and the question is asked"
    await one.store.put(answer(b"k", cost=0.25), ORIGIN)
    one.spend.settle(ticket, 0.25, ASKED)
    one.store.asked(b"k")
    assert (await soon(found)).text == "ok"
    two.spend.release(await soon(waiting))
    await one.close()
    assert await shop.used() == (0.25, 0.0)


async def test_what_waits_when_the_till_is_killed_waits_with_the_next_one(open_shop):
    shop = open_shop(run=1.0)
    one, two = shop.line("one"), shop.line("two")
    first = await one.spend.reserve(b"a", 0.9, ASKED)
    assert await one.store.find(b"k") is None
    waiting = asyncio.create_task(two.spend.reserve(b"b", 0.9, ASKED))
    found = asyncio.create_task(two.store.find(b"k"))
    await waits(two)
    shop.kill_till()
    one.spend.release(first)
    one.store.asked(b"k")
    assert await soon(waiting)
    assert await soon(found) is None, "now it is its turn to ask"


async def test_a_till_that_cannot_be_reached_stops_the_worker_before_it_asks(open_shop):
    shop = open_shop()
    line = shop.line(patience=0.2)
    await line.spend.reserve(b"a", 0.1)
    shop.lose_replies = 10**9
    with pytest.raises(Misconfigured, match="the till of the run cannot be reached: ConnectionError"):
        await soon(line.spend.reserve(b"b", 0.1))
    with pytest.raises(Misconfigured):
        await line.store.find(b"k")
    assert await asyncio.to_thread(line.shares.beat, {"m": Demand(most=1, held=0, wanted=1)}) == {}
    shop.lose_replies = 0


# --- questions


async def test_identical_questions_of_several_workers_are_asked_once(open_shop):
    shop = open_shop()
    lines = [shop.line(f"w{n}") for n in range(3)]
    finds = [asyncio.create_task(line.store.find(b"k")) for line in lines]
    done, others = await asyncio.wait(finds, return_when=asyncio.FIRST_COMPLETED)
    (asks,) = (line for line, find in zip(lines, finds, strict=True) if find in done)
    await asks.store.put(answer(b"k"), ORIGIN)
    asks.store.asked(b"k")
    assert [found.text for found in await gathered(*others)] == ["ok", "ok"]


async def test_a_claim_that_came_to_nothing_goes_to_the_next(open_shop):
    shop = open_shop()
    one, two, three = (shop.line(name) for name in ("one", "two", "three"))
    assert await one.store.find(b"k") is None
    second = asyncio.create_task(two.store.find(b"k"))
    await waits(two)
    third = asyncio.create_task(three.store.find(b"k"))
    await waits(three)
    one.store.asked(b"k")
    assert await soon(second) is None
    assert not third.done()
    second_again = asyncio.create_task(one.store.find(b"k"))
    await two.store.put(answer(b"k"), ORIGIN)
    assert [found.text for found in await gathered(third, second_again)] == ["ok", "ok"]


async def test_a_claim_ends_with_its_worker(open_shop):
    shop = open_shop()
    one, two = shop.line("one"), shop.line("two")
    assert await one.store.find(b"k") is None
    waiting = asyncio.create_task(two.store.find(b"k"))
    await waits(two)
    await shop.till.lost("one")
    assert await soon(waiting) is None


async def test_who_was_cancelled_keeps_no_claim(open_shop):
    shop = open_shop()
    one, two = shop.line("one"), shop.line("two")
    assert await one.store.find(b"k") is None
    waiting = asyncio.create_task(two.store.find(b"k"))
    await waits(two)
    waiting.cancel()
    await asyncio.wait([waiting])
    one.store.asked(b"k")
    assert await soon(one.store.find(b"k")) is None


async def test_an_answer_that_is_too_old_is_asked_for_again_by_one(open_shop, clock):
    shop = open_shop()
    one, two = shop.line("one"), shop.line("two")
    await one.store.put(answer(b"k", "old"), ORIGIN)
    clock.ahead = 100.0
    since = clock.now().timestamp() - 50
    assert await one.store.find(b"k", not_before=since) is None
    waiting = asyncio.create_task(two.store.find(b"k", not_before=since))
    await waits(two)
    assert not waiting.done()
    assert (await soon(two.store.find(b"k2"))) is None
    await one.store.put(answer(b"k", "new"), ORIGIN)
    assert (await soon(waiting)).text == "new"
    assert (await soon(two.store.find(b"k", not_before=since))).text == "new"


# --- workers that are lost


async def test_what_a_lost_worker_had_in_flight_is_settled_by_what_is_stored(open_shop):
    shop = open_shop(run=1.0)
    one, two = shop.line("one"), shop.line("two")
    await one.spend.reserve(b"stored", 0.3, ASKED)
    await one.spend.reserve(b"lost", 0.2, ASKED)
    await one.store.put(answer(b"stored", cost=0.01), ORIGIN)
    waiting = asyncio.create_task(two.spend.reserve(b"b", 0.79, ASKED))
    await waits(two)
    await shop.till.lost("one")
    await shop.till.lost("one")
    assert await shop.used() == (0.01, 0.2)
    assert await soon(waiting), "the rest is free again"
    shop.kill_till()
    await shop.till.lost("one")
    assert await shop.used() == (0.01, 0.2)
    with pytest.raises(Misconfigured, match="worker one was given up"):
        await soon(one.spend.reserve(b"c", 0.01, ASKED))


async def test_a_permit_that_nobody_was_told_of_costs_nothing(open_shop):
    shop = open_shop(run=1.0)
    one = shop.line("one")
    first = await one.spend.reserve(b"a", 0.6, ASKED)
    want = (1, 600_000_000_000, '["6b",600000000000,', ',"transform","m","p@v1",1]')
    assert Reply(*await shop.till.exchange("two", tuple(Message(1, wants=(want,))))).granted == ()
    one.spend.release(first)
    await waits_for(lambda: any(row.token.endswith("/two") and row.amount for row in rows(shop)))
    await shop.till.lost("two")
    assert await shop.used() == (0.0, 0.0)


async def waits_for(condition):
    while not condition():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)


async def test_the_next_run_settles_what_the_workers_of_a_killed_one_had_in_flight(open_shop):
    shop = open_shop(run=1.0)
    line = shop.line()
    for key, worst in ((b"stored", 0.3), (b"lost", 0.2)):
        await line.spend.reserve(key, worst, ASKED)
    with shop.ledger.database.writing() as connection:  # as if the driver were gone
        connection.execute(update(reservations).values(pid=4194305))
    stored = {b"stored": 0.01}
    with shop.ledger.spend(shop.run, Budgets(run=1.0), lambda key, since: stored.get(key)) as spend:
        (use,) = spend.use()
    assert (round(use.spent, 9), round(use.unconfirmed, 9)) == (0.01, 0.2)
    assert rows(shop) == []
    shop.lines.clear()


async def test_silent_workers_of_another_host_are_forgotten_once_their_driver_is(open_shop, clock):
    shop = open_shop(month=1.0)
    line = shop.line()
    await line.spend.reserve(b"a", 0.9, ASKED)
    with shop.ledger.database.writing() as connection:
        connection.execute(update(reservations).values(host="elsewhere"))
    other = shop.ledger.begin_run("orders", "", "f")
    with shop.ledger.spend(other, Budgets(month=1.0), lambda key, since: 0.0) as spend:
        waiting = asyncio.create_task(spend.reserve(b"b", 0.9))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        clock.ahead = 15 * 60.0
        assert await soon(waiting)
    shop.lines.clear()


# --- limits


async def beat(line, held, wanted=100, most=16):
    demand = {"m": Demand(most=most, held=held, wanted=wanted)}
    return (await soon(asyncio.to_thread(line.shares.beat, demand)))["m"].slots


async def test_workers_never_hold_more_than_there_is(open_shop):
    shop = open_shop()
    one, two = shop.line("one"), shop.line("two")
    assert await beat(one, 0) == 16
    assert await beat(two, 0) == 0
    assert await beat(one, 16) == 8
    assert await beat(two, 0) == 0, "sixteen are in flight still"
    assert await beat(one, 11) == 8
    assert await beat(two, 0) == 5
    assert (await beat(one, 8), await beat(two, 5)) == (8, 8)


async def test_the_workers_of_a_run_are_one_among_the_runs(open_shop, clock):
    shop = open_shop()
    lines = [shop.line(f"w{n}") for n in range(3)]
    other = shop.ledger.limit_shares()
    held, others = [0, 0, 0], 0
    for _ in range(6):
        clock.ahead += 1.0
        held = [await beat(line, mine) for line, mine in zip(lines, held, strict=True)]
        others = other.beat({"m": Demand(most=16, held=others, wanted=100)})["m"].slots
        assert sum(held) + others <= 16
    assert (sum(held), others) == (8, 8)
    with shop.ledger.database.reading() as connection:
        assert len(connection.execute(select(limit_shares)).all()) == 2


async def test_what_a_lost_worker_held_is_free(open_shop):
    shop = open_shop()
    one, two = shop.line("one"), shop.line("two")
    assert (await beat(one, 0), await beat(two, 0)) == (16, 0)
    await shop.till.lost("one")
    assert await beat(two, 0) == 16


async def test_a_till_that_begins_anew_gives_nothing_away_before_all_have_said_what_they_hold(open_shop):
    shop = open_shop()
    one, two = shop.line("one"), shop.line("two")
    await beat(one, 0)
    await beat(two, 0)
    await beat(one, 8)
    assert await beat(two, 0) == 8
    shop.kill_till()
    assert await beat(two, 8) == 8, "the other one has not been heard yet"
    assert await beat(one, 8) == 8
    await shop.till.lost("one")
    assert await beat(two, 8) == 16


async def test_more_workers_than_slots_all_get_their_turn(open_shop):
    shop = open_shop()
    lines = [shop.line(f"w{n}") for n in range(4)]
    held = [0] * 4
    for _ in range(3):
        held = [await beat(line, mine, 1, most=2) for line, mine in zip(lines, held, strict=True)]
    assert sorted(held) == [0, 0, 1, 1]
    idle = [0 if mine else 1 for mine in held]
    for _ in range(3):
        held = [await beat(line, 0, want, most=2) for line, want in zip(lines, idle, strict=True)]
    assert held == idle
