"""Gateways in several workers, with a real model server: as one gateway would ask, wherever the answers are."""

from __future__ import annotations

import asyncio

import pytest

from loom_dagster.errors import OverBudget, Permanent
from loom_dagster.gateway import Gateway, Model, Origin, Price, Question
from tests.cluster.conftest import gathered
from tests.servers.llm import LLMServer


@pytest.fixture
def server():
    with LLMServer(record=True) as running:
        yield running


@pytest.fixture
async def gateway(server, open_shop):
    """``gateway(shop, name)``: of a worker."""
    made = []

    def make(shop, worker):
        line = shop.line(worker)
        made.append(
            Gateway(
                line.store, spend=line.spend, shares=line.shares, clock=shop.clock, patience=5.0, environ={}
            )
        )
        return made[-1]

    yield make
    for each in made:
        await each.close()


def question(server, text, **given):
    price = Price(input=0.000_001, output=0.000_002)
    model = {"name": "any", "api_base": server.base_url, "price": price, "max_tokens": 100}
    return Question(
        model=Model(**model | given.pop("model", {})),
        messages=[{"role": "user", "content": text}],
        origin=Origin(pipeline="reviews", record_id=text, purpose="transform"),
        **given,
    )


async def test_each_question_is_asked_once_whoever_asks_it(server, open_shop, gateway):
    shop = open_shop(run=1.0)
    gateways = [gateway(shop, f"w{n}") for n in range(3)]
    server.change(latency=0.02)
    texts = [f"text {n % 20}" for n in range(60)]
    answers = await gathered(*(each.ask(question(server, text)) for text in texts for each in gateways))
    assert server.stats()["requests"] == 20
    assert sum(not answer.reused for answer in answers) == 20
    for each in gateways:
        await each.close()
    for line in shop.lines.values():
        await line.close()
    (books,) = (await shop.till.books()).values()
    assert (books.calls, books.lost) == (20, 0)
    assert books.spent == sum(round(answer.cost * 1e12) for answer in answers if not answer.reused)
    assert shop.ledger.books.in_flight() == 0.0


async def test_an_error_is_that_of_who_asked_and_the_next_asks_itself(server, open_shop, gateway):
    shop = open_shop()
    one, two = gateway(shop, "one"), gateway(shop, "two")
    server.change(script=["too_long"], latency=0.05)
    outcomes = await asyncio.gather(
        *(each.ask(question(server, "same")) for each in (one, one, two)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) in (
        ["Answer", "Permanent", "Permanent"],
        ["Answer", "Answer", "Permanent"],
    )
    assert isinstance(next(o for o in outcomes if isinstance(o, Exception)), Permanent)
    assert server.stats()["requests"] == 2


async def test_an_answer_that_is_too_old_is_asked_for_once(server, open_shop, gateway, clock):
    shop = open_shop()
    one, two = gateway(shop, "one"), gateway(shop, "two")
    old = await one.ask(question(server, "same"))
    clock.ahead = 100.0
    asked_at = clock.now().timestamp()
    late = [
        each.ask(question(server, "same", max_age=50, asked_at=asked_at)) for each in (one, two, one, two)
    ]
    answers = await gathered(*late)
    assert not old.reused
    assert sum(not answer.reused for answer in answers) == 1
    assert server.stats()["requests"] == 2


async def test_what_the_limit_allows_is_never_exceeded(server, open_shop, gateway):
    shop = open_shop()
    gateways = [gateway(shop, f"w{n}") for n in range(3)]
    server.change(latency=0.02)
    asked = (
        each.ask(question(server, f"{n} {m}", model={"in_flight": 5}))
        for n in range(20)
        for m, each in enumerate(gateways)
    )
    await gathered(*asked)
    assert server.stats()["requests"] == 60
    assert server.stats()["max_in_flight"] <= 5


async def test_workers_stop_at_the_end_of_the_budget(server, open_shop, gateway):
    shop = open_shop(run=0.0005)
    gateways = [gateway(shop, f"w{n}") for n in range(3)]
    outcomes = await asyncio.gather(
        *(each.ask(question(server, f"{n} {m}")) for n in range(40) for m, each in enumerate(gateways)),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, OverBudget)]
    paid = sum(outcome.cost for outcome in outcomes if not isinstance(outcome, Exception))
    assert len(refused) == sum(isinstance(outcome, Exception) for outcome in outcomes) > 0
    worst = 0.0004  # of one call
    assert 0.0005 - worst < paid <= 0.0005


async def test_a_worker_that_is_killed_leaves_its_questions_to_others(server, open_shop, gateway):
    shop = open_shop(run=1.0)
    one, two = gateway(shop, "one"), gateway(shop, "two")
    server.change(latency=30.0)
    dead = asyncio.create_task(one.ask(question(server, "same")))
    while server.stats()["in_flight"] == 0:  # noqa: ASYNC110 - the server is in another thread
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(two.ask(question(server, "same")))
    server.change(latency=0.0)
    await shop.till.lost("one")
    assert not (await asyncio.wait_for(waiting, 20)).reused
    dead.cancel()
    await asyncio.wait([dead])
