"""The worst case of a call is reserved before it is sent, and what came of it is settled."""

from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured, OverBudget, Transient
from loom_dagster.gateway import AnswerSchema, Price
from loom_dagster.gateway.charge import worst_case
from loom_dagster.ledger import Budgets, Ledger

PRICE = Price(input=1e-6, output=1e-5)
WORST = (64 + 16 + 5) * 1e-6 + 1024 * 1e-5  # "hello", and as many tokens as a model may answer
COST = 2e-6 + 1e-5  # what the server says it used


@pytest.fixture
def spend(tmp_path, clock):
    with Ledger(tmp_path / "ledger.sqlite", clock=clock) as ledger:
        run = ledger.begin_run("p", "", "f")

        def budget(usd):
            return ledger.spend(run, Budgets(run=usd), lambda key, since: None)

        yield budget


def used(spend):
    (use,) = spend.use()
    return round(use.spent, 9), round(use.unconfirmed, 9)


async def test_a_call_is_settled_at_its_price(spend, server, make_asking):
    kept = spend(1.0)
    asking = make_asking(server, spend=kept)
    answer = await asking.ask("hello", model=asking.model(price=PRICE))
    assert answer.cost == pytest.approx(COST)
    kept.close()
    assert used(kept) == (round(COST, 9), 0.0)


@pytest.mark.parametrize("fault", ["429", "500", "503"])
async def test_a_call_that_the_provider_turned_down_costs_nothing(spend, server, make_asking, fault):
    kept = spend(1.0)
    asking = make_asking(server, spend=kept)
    server.change(script=[fault, fault])
    await asking.ask("hello", model=asking.model(price=PRICE))
    kept.close()
    assert used(kept) == (round(COST, 9), 0.0)


@pytest.mark.parametrize("fault", ["cut", "close", "html"])
async def test_a_call_that_may_have_been_paid_for_counts_at_its_worst(spend, server, make_asking, fault):
    kept = spend(1.0)
    asking = make_asking(server, spend=kept)
    server.change(script=[fault])
    await asking.ask("hello", model=asking.model(price=PRICE))
    kept.close()
    assert used(kept) == (round(COST, 9), round(WORST, 9))


async def test_a_server_that_is_not_there_costs_nothing(spend, server, make_asking):
    kept = spend(1.0)
    asking = make_asking(server, spend=kept)
    with pytest.raises(Transient):
        await asking.ask(
            "hello", model=asking.model(price=PRICE, api_base="http://127.0.0.1:9/v1", max_attempts=2)
        )
    kept.close()
    assert used(kept) == (0.0, 0.0)


async def test_nothing_is_asked_beyond_the_budget(spend, server, make_asking):
    kept = spend(3 * WORST)
    asking = make_asking(server, spend=kept)
    server.change(latency=0.01)
    model = asking.model(price=PRICE, in_flight=64)
    outcomes = await asking.outcomes([f"text {i:02}" for i in range(40)], model=model)
    answers = [o for o in outcomes if not isinstance(o, Exception)]
    assert len(answers) == 40, "each waited until the worst case of another had turned out cheap"
    assert server.stats()["max_in_flight"] <= 3
    kept.close()


async def test_what_does_not_fit_is_deferred_and_a_cheaper_model_is_not_asked_instead(
    spend, server, make_asking
):
    kept = spend(WORST / 2)
    asking = make_asking(server, spend=kept)
    cheap = asking.model(price=Price(input=0.0, output=0.0), name="cheap")
    with pytest.raises(OverBudget):
        await asking.ask("hello", model=asking.model(price=PRICE, fallbacks=(cheap,)))
    assert server.stats()["requests"] == 0
    kept.close()


async def test_a_stored_answer_needs_no_budget(spend, server, make_asking):
    first = make_asking(server)
    model = first.model(price=PRICE)
    await first.ask("hello", model=model)
    kept = spend(WORST / 2)
    assert (await make_asking(server, spend=kept).ask("hello", model=model)).reused
    kept.close()


async def test_an_unknown_price_is_refused_before_the_first_call(spend, server, make_asking):
    kept = spend(1.0)
    with pytest.raises(Misconfigured, match=r"the price of `any` is not known, .*prices"):
        await make_asking(server, spend=kept).ask("hello")
    assert server.stats()["requests"] == 0
    kept.close()


def test_the_worst_case_counts_bytes_and_the_schema():
    ask = [{"role": "user", "content": "日本語"}]
    plain = worst_case(PRICE, ask, None, 10)
    assert plain == pytest.approx((64 + 16 + 9) * 1e-6 + 10 * 1e-5)
    schema = AnswerSchema(name="x", body={"type": "object"})
    assert worst_case(PRICE, ask, schema, 10) == pytest.approx(plain + (600 + 17) * 1e-6)
    assert worst_case(None, ask, schema, 10) == 0.0
