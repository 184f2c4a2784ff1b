from __future__ import annotations

import asyncio
import socket

import pytest

from loom_dagster.errors import Outage, Transient
from loom_dagster.gateway.breaker import Breaker
from loom_dagster.gateway.failures import Throttled, Unreachable
from loom_dagster.gateway.retry import Effort
from tests.servers.llm import LLMServer


@pytest.mark.parametrize("records", [1, 3, 40])
async def test_nobody_there_from_the_first_call_on_is_an_outage_within_patience(make_asking, records):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        server = LLMServer(port=taken.getsockname()[1])
        asking = make_asking(server, patience=60.0)
        started = asking.clock.time
        outcomes = await asking.outcomes(map(str, range(records)))
    assert [type(error) for error in outcomes] == [Outage] * records
    assert asking.clock.time - started < 60 + 60
    assert len(asking.notes) == 1
    assert "waiting for it" in asking.notes[0]


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_provider_that_goes_down_defers_every_record(make_asking, status):
    with LLMServer() as server:
        asking = make_asking(server)
        assert (await asking.ask("while it was up")).text == "ok"
        server.change(status=status)
        outcomes = await asking.outcomes(map(str, range(100)))
        assert {type(error) for error in outcomes} == {Outage}
        assert {type(error) for error in await asking.outcomes(["a later one"])} == {Outage}
        assert server.stats()["requests"] < 250


async def test_nothing_is_lost_when_it_comes_back_in_time(make_asking):
    with LLMServer(status=503) as server:
        asking = make_asking(server)
        back = asyncio.get_running_loop().create_task(up_again(server))
        outcomes = await asking.outcomes(map(str, range(100)))
        await back
    assert {getattr(answer, "text", answer) for answer in outcomes} == {"ok"}
    assert asking.notes[-1].endswith("is back")


async def up_again(server):
    while server.stats()["requests"] < 20:  # noqa: ASYNC110 - the server is in another thread
        await asyncio.sleep(0.001)
    server.change(status=0)


async def test_records_that_always_fail_do_not_make_an_outage(make_asking):
    with LLMServer(poison={"poison": "500"}) as server:
        asking = make_asking(server)
        texts = [f"poison {i}" if i % 3 == 0 else f"fine {i}" for i in range(60)]
        outcomes = await asking.outcomes(texts)
    failed = [error for error in outcomes if isinstance(error, Exception)]
    assert len(failed) == 20
    assert {type(error) for error in failed} == {Transient}


async def test_one_probe_at_a_time_with_growing_pauses(clock):
    breaker = broken(clock)
    waiting = [asyncio.ensure_future(breaker.admit()) for _ in range(3)]
    for pause in (1.0, 2.0, 4.0):
        await settled()
        done = [task for task in waiting if task.done()]
        assert [task.result() for task in done] == [True]
        assert clock.sleeps[-1] == pause
        waiting.remove(done[0])
        waiting.append(asyncio.ensure_future(breaker.admit()))
        breaker.failed(Effort(5), Transient("still down"), probe=True)
    await settled()
    breaker.succeeded(probe=True)
    assert sorted(await asyncio.gather(*waiting)) == [False, False, True]
    assert not breaker.is_open


async def test_a_cancelled_probe_lets_the_next_one_probe(clock):
    breaker = broken(clock)
    assert await breaker.admit()
    waiting = asyncio.ensure_future(breaker.admit())
    await settled()
    assert not waiting.done()
    breaker.abandoned(probe=True)
    assert await waiting


def broken(clock) -> Breaker:
    breaker = Breaker("x", clock=clock, patience=100.0, note=lambda text: None)
    for _ in range(16):
        breaker.failed(Effort(5), Transient("down"))
    assert breaker.is_open
    return breaker


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_burst_of_429_is_no_outage_but_nothing_else_for_long_is(clock):
    breaker = Breaker("x", clock=clock, patience=100.0, note=lambda text: None)
    for _ in range(100):
        breaker.failed(Effort(5), Throttled("429"))
    assert not breaker.is_open
    clock.time += 11
    breaker.failed(Effort(5), Throttled("429"))
    assert breaker.is_open


def test_whose_fault_it_is(clock):
    breaker = Breaker("x", clock=clock, patience=100.0, note=lambda text: None)
    lone = Effort(1)
    breaker.failed(lone, Transient("500"))
    assert breaker.suspects_outage(lone, Transient("500")), "nothing has ever succeeded"
    breaker.succeeded()
    assert not breaker.suspects_outage(lone, Transient("500")), "others succeed: it is the record"
    last = Effort(1)
    breaker.failed(last, Transient("500"))
    assert not breaker.suspects_outage(last, Transient("500")), "one bad record at the end of a run"
    assert breaker.suspects_outage(last, Unreachable("refused")), "no record closes a port"
    others = [Effort(1) for _ in range(3)]
    for effort in others:
        breaker.failed(effort, Throttled("429"))
    assert breaker.suspects_outage(last, Transient("500")), "several in a row"
    assert not breaker.suspects_outage(lone, Unreachable("refused")), "others succeeded after it first failed"
