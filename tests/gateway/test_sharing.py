"""Gateways on their own event loops, threads and ledgers keep one limit together."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue

import pytest

from loom_dagster.clock import SystemClock
from loom_dagster.errors import Misconfigured
from loom_dagster.gateway import Gateway, Model, Origin, ProviderLimits, Question
from loom_dagster.gateway.limiter import Limiter
from loom_dagster.gateway.sharing import Demand, Sharing
from loom_dagster.ledger import AnswerLog, Ledger


class Run(threading.Thread):
    """A run of its own: thread, event loop, ledger, answer store."""

    def __init__(self, name, folder, model, *, enough):
        super().__init__(name=name)
        self.folder, self.model, self.enough = folder, model, enough
        self.answered = 0

    def run(self):
        asyncio.run(self._run())

    async def _run(self):
        store = AnswerLog(self.folder / f"{self.name}.sqlite")
        with Ledger(self.folder / "ledger.sqlite") as ledger:
            async with Gateway(store, environ={}, shares=ledger.limit_shares()) as gateway:
                await asyncio.gather(*(self._work(gateway, n) for n in range(24)))
        store.close()

    async def _work(self, gateway, n):
        origin, asked = Origin(pipeline="p", record_id=str(n), purpose="transform"), 0
        while not self.enough():
            asked += 1
            text = f"{self.name} {n} {asked}"
            await gateway.ask(
                Question(model=self.model, messages=[{"role": "user", "content": text}], origin=origin)
            )
            self.answered += 1


@pytest.mark.slow
@pytest.mark.parametrize("of_provider", [False, True], ids=["the model's", "the provider's"])
def test_runs_that_ask_one_server_keep_a_limit_together(tmp_path, server, of_provider):
    server.change(latency=0.01)
    limits = {"provider": ProviderLimits(name="any", in_flight=16)} if of_provider else {"in_flight": 16}
    model = Model(name="any", api_base=server.base_url, **limits)
    Ledger(tmp_path / "ledger.sqlite").close()
    runs: list[Run] = []

    def enough():  # each has made headway beside the other
        return min(run.answered for run in runs) >= 200

    runs += [Run(name, tmp_path, model, enough=enough) for name in ("one", "other")]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert enough()
    assert server.stats()["max_in_flight"] == 16


class Dead:
    """Shares in a ledger that cannot be used."""

    def beat(self, demands):
        raise Misconfigured("the ledger cannot be used", kind="ledger")

    def leave(self):
        raise Misconfigured("the ledger cannot be used", kind="ledger")


async def test_without_a_ledger_a_run_goes_on_alone_and_says_so_once(clock):
    notes = []
    sharing, limiter = Sharing(Dead(), clock=clock, note=notes.append), Limiter(in_flight=4, clock=clock)
    sharing.add({"m": limiter})
    for _ in range(4):
        await limiter.acquire(0)
    sharing.add({"n": (other := Limiter(in_flight=2, clock=clock))})
    await other.acquire(0)
    await sharing.leave()
    assert (limiter.limit, other.limit) == (4, 2)
    assert notes == ["limits are not shared with other runs as they should be: the ledger cannot be used"]


class Few:
    """Grants two slots and keeps what it is told."""

    slots, share = 2, 0.5

    def __init__(self):
        self.told = SimpleQueue()

    def beat(self, demands):
        self.told.put(demands["m"])
        return {"m": self}

    def leave(self):
        self.told.put(None)

    async def heard(self):
        return await asyncio.to_thread(self.told.get)


async def test_what_is_in_flight_is_held_until_it_ends(clock):
    shares, limiter = Few(), Limiter(in_flight=4, clock=clock)
    for _ in range(4):
        await limiter.acquire(0)
    sharing = Sharing(shares, clock=clock, note=print)
    sharing.add({"m": limiter})
    assert [(await shares.heard()).held for _ in range(3)] == [4, 4, 4]
    for _ in range(3):
        limiter.release()
    while (told := await shares.heard()).wanted > 1:  # what was on its way
        assert told.held == 4
    assert told == Demand(most=4, held=2, wanted=1)
    await sharing.leave()
    while await shares.heard() is not None:
        pass


async def test_a_share_of_the_slots_is_a_share_of_the_rates(clock):
    limiter, started = Limiter(in_flight=100, requests_per_minute=60, clock=clock), clock.time
    limiter.resize(25, 0.25)
    for _ in range(5):
        await limiter.acquire(0)
    assert limiter.limit == 25
    assert clock.time - started == pytest.approx(4 * 4, abs=1.1)


async def test_cached_answers_join_nothing(make_asking, server, tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        asking = make_asking(server, clock=SystemClock())
        await asking.ask("hello")
        shares = ledger.limit_shares()
        shares.beat = None  # nobody calls it
        again = make_asking(server, clock=SystemClock(), shares=shares)
        assert (await again.ask("hello")).reused
