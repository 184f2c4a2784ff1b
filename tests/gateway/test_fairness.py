"""Records that are transformed and records that are judged ask one model: neither waits for the others' end."""

from __future__ import annotations

import asyncio


async def test_neither_transform_nor_judge_calls_starve(asking):
    order: list[str] = []
    asking.server.change(latency=0.005)
    model, judge = asking.model(in_flight=4), asking.model(in_flight=4, temperature=0.9)

    async def one(n):
        await asking.ask(f"transform {n}", model=model)
        order.append("transform")
        await asyncio.gather(*(asking.ask(f"judge {n} {j}", model=judge) for j in range(2)))
        order.append("judge")

    records = iter(range(120))

    async def work():
        for n in records:
            await one(n)

    await asyncio.gather(*(work() for _ in range(6)))
    assert asking.server.stats()["max_in_flight"] == 4
    # at any time no more records are between the two than there are workers, and both go on all the time
    for end in range(len(order)):
        assert 0 <= order[: end + 1].count("transform") - order[: end + 1].count("judge") <= 6
    for start in range(0, len(order) - 24, 24):
        window = order[start : start + 24]
        assert min(window.count("transform"), window.count("judge")) >= 6


async def test_a_judge_call_waits_for_those_that_came_before_it_and_no_others(asking):
    asking.server.change(latency=0.002)
    done: list[str] = []
    model, judge = asking.model(in_flight=1), asking.model(in_flight=1, temperature=0.9)

    async def ask(text, of):
        await asking.ask(text, model=of)
        done.append(text)

    before = [asyncio.ensure_future(ask(f"before {n}", model)) for n in range(5)]
    await asyncio.sleep(0)
    judged = asyncio.ensure_future(ask("judge", judge))
    await asyncio.sleep(0)
    after = [asyncio.ensure_future(ask(f"after {n}", model)) for n in range(5)]
    await asyncio.gather(*before, judged, *after)
    assert done.index("judge") == 5
