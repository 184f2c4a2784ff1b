"""Workers and their till: what is told is on disk, what is asked for comes, and nothing twice."""

from __future__ import annotations

import asyncio

from loom_dagster.records import Account
from tests.cluster.conftest import ORIGIN, answer, gathered

ASKED = Account("transform", "m", "p@v1")


async def test_an_answer_that_was_put_is_found_by_others(open_shop):
    shop = open_shop()
    one, two = shop.line("one"), shop.line("two")
    assert await one.store.find(b"k") is None
    await one.store.put(answer(b"k"), ORIGIN)
    one.store.asked(b"k")
    found = await two.store.find(b"k")
    assert (found.text, found.reused, found.usage.input_tokens) == ("ok", True, 3)
    assert shop.stores[-1].get(b"k").text == "ok", "on disk, not only in the till"


async def test_what_is_reserved_and_settled_is_in_the_ledger(open_shop):
    shop = open_shop()
    line = shop.line()
    first, second = await gathered(
        line.spend.reserve(b"a", 0.5, ASKED), line.spend.reserve(b"b", 0.25, ASKED)
    )
    assert shop.ledger.books.in_flight() == 0.75
    line.spend.settle(first, 0.125, ASKED)
    line.spend.lose(second, ASKED)
    await line.close()
    assert await shop.used() == (0.125, 0.25)
    assert shop.ledger.books.in_flight() == 0.0


async def test_limits_are_divided_among_workers(open_shop):
    from loom_dagster.gateway.sharing import Demand

    shop = open_shop()
    one, two = shop.line("one"), shop.line("two")

    async def beat(line, held):
        demand = {"m": Demand(most=16, held=held, wanted=100)}
        return (await asyncio.to_thread(line.shares.beat, demand))["m"].slots

    assert await beat(one, 0) == 16
    assert await beat(two, 0) == 0
    assert await beat(one, 16) == 8
    assert await beat(one, 8) == 8
    assert await beat(two, 0) == 8
